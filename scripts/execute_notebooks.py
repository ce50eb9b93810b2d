"""Execute the notebooks in place on full MNIST, and remove everything that differs from machine to machine.

The picture in a notebook's first cell, `attachment:CELL.png`, is made again from the figure of the cell with this id.

python scripts/execute_notebooks.py [NAME ...]. Without a name, it executes all notebooks.
"""

import io
import os
import re
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from PIL import Image, ImageOps

from mnist_s5 import load_mnist

FOLDER = Path(__file__).parents[1] / "notebooks"
FIRST_SCREEN = (700, 340)  # pixels that are left for a picture on a screen of 1280 x 800, below the title's text


def clean(notebook: nbformat.NotebookNode) -> None:
    """Remove all metadata except the language, the tags, and whether a cell is collapsed."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in ("tags", "cellView", "jupyter")}


def figure_of(notebook: nbformat.NotebookNode, cell_id: str) -> bytes:
    """Return the PNG that a cell has drawn. Raises ValueError if there is none."""
    outputs = [output for cell in notebook.cells if cell.id == cell_id for output in cell.get("outputs", [])]
    for output in outputs:
        if "image/png" in output.get("data", {}):
            return b64decode(output.data["image/png"])
    raise ValueError(f"The first cell shows attachment:{cell_id}.png, but no cell {cell_id} has drawn a figure.")


def shrink(png: bytes) -> bytes:
    """Return a PNG with narrow margins, with 64 colors, and small enough for the first screen."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = ImageOps.expand(image.crop(ImageOps.invert(image).getbbox()), 10, "white")
    image.thumbnail(FIRST_SCREEN, Image.Resampling.LANCZOS)
    small = io.BytesIO()
    image.quantize(64, Image.Quantize.MAXCOVERAGE).save(small, "png", optimize=True)
    return small.getvalue()


def attach_figures(notebook: nbformat.NotebookNode) -> None:
    """Renew the pictures in the first cell. They are attachments, because Colab has no files beside the notebook."""
    title = notebook.cells[0]
    cell_ids = re.findall(r"\]\(attachment:([a-z-]+)\.png\)", title.source)
    title.pop("attachments", None)
    if cell_ids:
        small = {name: b64encode(shrink(figure_of(notebook, name))).decode() for name in cell_ids}
        title.attachments = {f"{name}.png": {"image/png": data} for name, data in small.items()}


if __name__ == "__main__":
    if os.environ.get("MNIST_S5_DATA"):
        os.environ["MNIST_S5_DATA"] = os.path.abspath(os.environ["MNIST_S5_DATA"])  # kernels start in another folder
    load_mnist("mnist")  # raises an error if full MNIST is unavailable
    for path in sorted(FOLDER.glob("*.ipynb")):
        if len(sys.argv) > 1 and path.stem not in sys.argv[1:]:
            continue
        print(path.name, flush=True)
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, resources={"metadata": {"path": str(FOLDER)}}, kernel_name="python3")
        client.record_timing, client.coalesce_streams, client.timeout = False, True, None
        client.extra_arguments = ["--log-level=ERROR"]
        with TemporaryDirectory() as runs:  # what the notebooks write is not kept
            os.environ["MNIST_S5_RUNS"] = runs
            client.execute()
        clean(notebook)
        attach_figures(notebook)
        nbformat.write(notebook, path)
