"""Write the students' notebooks in notebooks/exercises/ from the solutions in src/mnist_s5/exercises.

python scripts/make_exercises.py [--without-solutions FOLDER]

With a folder, write them there as homework, without the solutions.
"""

import argparse
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mnist_s5.exercises import LESSONS, Exercise, exercises

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

HOW = """# Exercises {number}

{count} exercises for [{title}](../{notebook}.ipynb), about {minutes} minutes. Replace each \
`raise NotImplementedError` with your code, and run the cell. It checks your function or class on random inputs, and \
prints whether it is correct, or which mistake it makes. A correct answer then runs on real digits, and you see what \
it does. Do not change the inputs, unless the task asks for it. If you are stuck, open the hint{or_solution} under \
each task."""

TASK = """## {title}

{dots} · about {minutes} minutes

{task}

<details><summary>Hint</summary>

{hint}

</details>"""

SOLUTION = """

<details><summary>Solution</summary>

```python
{code}
```

</details>"""

PARAMETERS = """student: str = ""  # name of the student
run_dir: str = ""  # folder for metrics.json; if empty, a new folder in runs/"""

START = """import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

import mnist_s5 as s5
from mnist_s5.exercises import RESULTS, check

s5.check_parameters()  # raises an error for an unknown parameter or an invalid value"""

END = """# @title Save the results to metrics.json
run = s5.new_run(run_dir)
solved = {{name: RESULTS.get(name) for name in {names}}}  # None if its check was not run to the end
s5.write_metrics(run, student=student, exercises_{number}=solved)
print(f"{{sum(map(bool, solved.values()))}} of {{len(solved)}} solved; saved {{run.name}}/metrics.json")"""


def cells_of(name: str, each: Exercise, solutions: bool) -> list[nbformat.NotebookNode]:
    """Return the cell with the task, the hint, and perhaps the solution, and the cell with the stub and the check."""
    dots = "●" * each.difficulty + "○" * (3 - each.difficulty)
    about = {"title": each.title, "dots": dots, "minutes": each.minutes, "task": each.task, "hint": each.hint}
    identity = name.replace("_", "-")
    return [
        new_markdown_cell((TASK + SOLUTION * solutions).format(code=each.code(), **about), id=f"{identity}-task"),
        new_code_cell(f"{each.stub()}\n\n\ncheck({each.solution.__name__})", id=identity),
    ]


def notebook_of(lesson: str, solutions: bool = True) -> nbformat.NotebookNode:
    """Return the student's notebook for a lesson."""
    original = nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)
    heading = original.cells[0].source.splitlines()[0].removeprefix("# ")
    setup = next(cell for cell in original.cells if cell.id == "setup")
    these = exercises(lesson)
    minutes = sum(each.minutes for each in these.values())
    facts = {"count": len(these), "minutes": minutes, "or_solution": " or the solution" * solutions}
    cells = [
        new_markdown_cell(HOW.format(title=heading, number=heading[:2], notebook=lesson, **facts), id="title"),
        new_code_cell(setup.source, id="setup", metadata=setup.metadata),
        new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(START, id="start"),
        *(cell for name, each in these.items() for cell in cells_of(name, each, solutions)),
        new_code_cell(END.format(number=lesson[:2], names=tuple(these)), id="results", metadata=setup.metadata),
    ]
    return new_notebook(cells=cells, metadata=original.metadata)


def path_of(lesson: str) -> Path:
    return NOTEBOOKS / "exercises" / f"ex{lesson}.ipynb"


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-solutions", type=Path, metavar="FOLDER", help="write homework to this folder")
    homework = parser.parse_args(words).without_solutions
    (homework or NOTEBOOKS / "exercises").mkdir(parents=True, exist_ok=True)
    for lesson in LESSONS:
        path = homework / path_of(lesson).name if homework else path_of(lesson)
        nbformat.write(notebook_of(lesson, solutions=not homework), path)


if __name__ == "__main__":
    main(sys.argv[1:])
