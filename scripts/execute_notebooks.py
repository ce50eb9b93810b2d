"""Execute the notebooks in place on full MNIST, and remove everything that differs from machine to machine.

python scripts/execute_notebooks.py [NAME ...]. Without a name, it executes all notebooks.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

from mnist_s5 import load_mnist

FOLDER = Path(__file__).parents[1] / "notebooks"


def clean(notebook: nbformat.NotebookNode) -> None:
    """Remove all metadata except the language, the tags, and whether a cell is collapsed."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in ("tags", "cellView", "jupyter")}


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
        nbformat.write(notebook, path)
