"""Write the students' notebooks, notebooks/exercises/, from the solutions in src/mnist_s5/exercises.

python scripts/make_exercises.py
"""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mnist_s5.exercises import LESSONS, Exercise, exercises

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

HOW = """# Exercises of {title}

{count} exercises, about {minutes} minutes, after [the notebook](../{notebook}.ipynb). Write your own lines instead of \
`raise NotImplementedError` and run the cell: the check below your function tries it on random inputs, and says that \
it is right or which mistake it makes. Stuck? A hint and a solution unfold under each task."""

TASK = """## {title}

{dots} · about {minutes} minutes

{task}

<details><summary>A hint</summary>

{hint}

</details>

<details><summary>A solution</summary>

```python
{code}
```

</details>"""

PARAMETERS = """student: str = ""  # whose answers these are
run_dir: str = ""  # where metrics.json goes; empty makes a new folder under runs/"""

START = """import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

import mnist_s5 as s5
from mnist_s5.exercises import RESULTS, check

s5.check_parameters()  # raises an error for an unknown parameter or an invalid value"""

END = """run = s5.new_run(run_dir)
right = {{name: RESULTS.get(name, False) for name in {names}}}
s5.write_metrics(run, student=student, exercises_{number}=right)
print(f"{{sum(right.values())}} of {{len(right)}} right; written to {{run.name}}/metrics.json")"""


def cells_of(name: str, each: Exercise) -> list[nbformat.NotebookNode]:
    """The task, with its hint and its solution folded, and the stub above its check."""
    dots = "●" * each.difficulty + "○" * (3 - each.difficulty)
    about = {"title": each.title, "dots": dots, "minutes": each.minutes, "task": each.task, "hint": each.hint}
    identity = name.replace("_", "-")
    return [
        new_markdown_cell(TASK.format(code=each.code(), **about), id=f"{identity}-task"),
        new_code_cell(f"{each.stub()}\n\n\ncheck({name})", id=identity),
    ]


def notebook_of(lesson: str) -> nbformat.NotebookNode:
    """The student's notebook of a lesson."""
    original = nbformat.read(NOTEBOOKS / f"{LESSONS[lesson]}.ipynb", as_version=4)
    heading = original.cells[0].source.splitlines()[0].removeprefix("# ")
    setup = next(cell.source for cell in original.cells if cell.id == "setup")
    these = exercises(lesson)
    facts = {"count": len(these), "minutes": sum(each.minutes for each in these.values())}
    cells = [
        new_markdown_cell(HOW.format(title=heading, notebook=LESSONS[lesson], **facts), id="title"),
        new_code_cell(setup, id="setup"),
        new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(START, id="start"),
        *(cell for name, each in these.items() for cell in cells_of(name, each)),
        new_code_cell(END.format(number=LESSONS[lesson][:2], names=tuple(these)), id="results"),
    ]
    return new_notebook(cells=cells, metadata=original.metadata)


def path_of(lesson: str) -> Path:
    return NOTEBOOKS / "exercises" / f"ex{LESSONS[lesson]}.ipynb"


if __name__ == "__main__":
    (NOTEBOOKS / "exercises").mkdir(exist_ok=True)
    for lesson in LESSONS:
        nbformat.write(notebook_of(lesson), path_of(lesson))
