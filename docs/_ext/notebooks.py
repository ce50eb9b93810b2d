"""How myst-nb gets the notebooks: with the alt texts of their figures, collapsed cells, and attached images."""

import re

import nbformat
from nbformat import NotebookNode

HOSTED = r"\n\n\*\*On the web:\*\*[^\n]*"  # what scripts/address.py adds to a first cell, a link to the page itself
TITLE = re.compile(r"# @title (.*)\n")


def read_notebook(text: str) -> NotebookNode:
    """Read a notebook from its JSON, and add what myst-nb leaves out.

    A cell that is collapsed in Jupyter is collapsed here, too, under its title. The setup cell is left out. Each figure
    gets its alt text, and each attached image its data.
    """
    notebook = nbformat.reads(text, as_version=4)
    first = notebook.cells[0]
    first.source = re.sub(HOSTED, "", first.source)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _with_attachments(cell)
        elif cell.cell_type == "code":
            _collapse(cell)
            _describe(cell)
    return notebook


def _with_attachments(cell: NotebookNode) -> str:
    """Return the text of a Markdown cell with data URIs in place of links to its attachments."""
    source = cell.source
    for name, files in cell.get("attachments", {}).items():
        ((kind, data),) = files.items()
        source = source.replace(f"](attachment:{name})", f"](data:{kind};base64,{''.join(data.split())})")
    return source


def _collapse(cell: NotebookNode) -> None:
    """Collapse a code cell if Jupyter does, under the title in its first line."""
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        tags = set(cell.metadata.get("tags", ()))
        cell.metadata.tags = sorted(tags | {"remove-cell" if cell.id == "setup" else "hide-input"})
        if title := TITLE.match(cell.source):
            cell.source = cell.source[title.end() :]
            cell.metadata.mystnb = {"code_prompt_show": title[1], "code_prompt_hide": title[1]}


def _describe(cell: NotebookNode) -> None:
    """Pass on the alt text of a cell's figure. myst-nb takes it from the cell, not from the output."""
    pictures = [output.metadata["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    if len(pictures) > 1:
        raise ValueError(
            f"Cell {cell.id} has {len(pictures)} figures, but myst-nb knows one alt text per cell. Split it."
        )
    for picture in pictures:
        cell.metadata.setdefault("mystnb", NotebookNode())["image"] = {"alt": picture["alt"]}
