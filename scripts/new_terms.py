"""Write the terms that each notebook links to the glossary into its last cell: python scripts/new_terms.py"""

import re
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LINK = re.compile(r"\[([^\]]+)\]\(\.\./docs/glossary\.md#([\w-]+)\)")
HEADINGS = re.findall(r"^## (.+)$", (NOTEBOOKS.parent / "docs" / "glossary.md").read_text(), re.MULTILINE)
NAMES = {heading.lower().replace(" ", "-"): heading for heading in HEADINGS}
LINE = re.compile(r"^\*\*New terms:\*\*.*\n\n", re.MULTILINE)


def update(notebook: nbformat.NotebookNode) -> None:
    """Write the line "New terms" above the questions in the last cell. It replaces an earlier one."""
    text = "\n".join(cell.source for cell in notebook.cells[:-1] if cell.cell_type == "markdown")
    terms = sorted({anchor for _, anchor in LINK.findall(text)})
    links = ", ".join(f"[{NAMES[anchor]}](../docs/glossary.md#{anchor})" for anchor in terms)
    last = notebook.cells[-1]
    rest = LINE.sub("", last.source)
    last.source = (
        rest.replace("**Test yourself.**", f"**New terms:** {links}.\n\n**Test yourself.**") if terms else rest
    )


if __name__ == "__main__":
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        update(notebook)
        nbformat.write(notebook, path)
