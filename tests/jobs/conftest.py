from pathlib import Path

import nbformat
import pytest


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook with a parameter of each type, and a cell that fails on demand."""
    cell = nbformat.v4.new_code_cell
    declared = "\n".join(
        [
            "from typing import Optional",
            'name: str = "x"',
            "count: int = 1",
            "rate: float = 0.5",
            "epochs: Optional[float] = None",
            "fast: bool = True",
            'run_dir: str = ""',
        ]
    )
    cells = [
        cell(declared, metadata={"tags": ["parameters"]}),
        cell("assert fast, 'slow'"),
        cell("print(name, count)"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "small.ipynb")
    return tmp_path / "small.ipynb"
