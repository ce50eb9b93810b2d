"""Every solution passes its check, and the check names the mistakes that learners make."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
import torch.nn.functional as F
from test_project import script
from torch import Tensor, nn

from mnist_s5.exercises import LESSONS, RESULTS, Exercise, check, exercises

ALL = {name: each for lesson in LESSONS for name, each in exercises(lesson).items()}
make = script("make_exercises")


@pytest.mark.parametrize("lesson", LESSONS)
def test_two_to_four_a_notebook(lesson: str) -> None:
    assert 2 <= len(exercises(lesson)) <= 4


@pytest.mark.parametrize("name", ALL)
def test_the_solution_passes_and_each_mistake_is_named(name: str) -> None:
    each = ALL[name]
    assert each.judge(each.solution) == ""
    assert len(each.mistakes) >= 3
    for message, wrong in each.mistakes.items():
        assert each.judge(wrong) == message
        assert re.fullmatch(r"[A-Z].{20,120}[.]", message)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_students_notebooks_are_made_from_the_solutions(lesson: str) -> None:
    """If this fails, run `make exercises`."""
    notebook = nbformat.read(make.path_of(lesson), as_version=4)
    assert notebook == make.notebook_of(lesson)
    nbformat.validate(notebook)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_notebooks_hold_what_is_promised(lesson: str) -> None:
    notebook = nbformat.read(make.path_of(lesson), as_version=4)
    for name in exercises(lesson):
        cells = {cell.id: cell.source for cell in notebook.cells}
        stub, task = cells[name.replace("_", "-")], cells[f"{name.replace('_', '-')}-task"]
        assert "raise NotImplementedError" in stub
        assert stub.endswith(f"check({name})")
        assert len(stub.splitlines()) <= 15
        assert re.search(r"[●○]{3} · about \d+ minutes", task)
        assert task.count("<details>") == task.count("</details>") == 2


@pytest.mark.parametrize("name", ALL)
def test_a_stub_is_not_solved_yet_and_the_solution_shown_is_right(name: str) -> None:
    import math

    from torch import Generator
    from torch.optim import Optimizer

    names: dict[str, Any] = {
        "torch": torch, "F": F, "nn": nn, "Tensor": Tensor, "math": math, "Generator": Generator,
        "Optimizer": Optimizer,
    }  # fmt: skip
    exec(ALL[name].stub(), names)
    assert ALL[name].judge(names[name]) == "Not solved yet."
    exec(ALL[name].code(), names)
    assert ALL[name].judge(names[name]) == ""


def minimum_by_loops(images: Tensor, means: Tensor) -> Tensor:
    return torch.tensor([min(range(10), key=lambda n: float(((image - means[n]) ** 2).sum())) for image in images])


def farthest_by_loops(images: Tensor, means: Tensor) -> Tensor:
    return torch.tensor([max(range(10), key=lambda n: float(((image - means[n]) ** 2).sum())) for image in images])


def step_and_then_backward(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    optimizer.step()
    loss.backward()
    return loss.item()


def zeroed_between(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def one_trial_of_many(log_probs: Tensor, labels: Tensor) -> Tensor:
    return F.nll_loss(log_probs, labels, reduction="sum")


def counted_twice(labels: Tensor, predicted: Tensor) -> Tensor:
    counts = torch.zeros(10, 10, dtype=torch.int64)
    counts[labels, predicted] += 1  # counts a repeated pair only once
    return counts


def in_place(images: Tensor) -> Tensor:
    return images.div_(2)  # fails for bytes


def forgot_to_return(right: int, digits: int) -> None:
    (right / digits) ** 0.5


def halves(images: Tensor) -> Tensor:
    return ((images[:, None].float() / 255 - 0.1307) / 0.3081).half()


WRITTEN = [  # the exercise, what a learner wrote, and the expected message
    ("nearest_mean", minimum_by_loops, ""),
    ("nearest_mean", farthest_by_loops, "argmin"),
    ("training_step", step_and_then_backward, "backward is missing, or comes after step"),
    ("training_step", zeroed_between, "order is not zero_grad"),
    ("negative_log_likelihood", F.nll_loss, ""),
    ("negative_log_likelihood", one_trial_of_many, "sum over the batch"),
    ("confusion", counted_twice, "only once"),
    ("normalized", in_place, "The function raises RuntimeError"),
    ("normalized", halves, r"the dtype is torch.float16. It must be torch.float32"),
    ("half_width", forgot_to_return, "returns None"),
    ("accuracy", lambda batches: 100 * F.one_hot(torch.tensor(1)).sum(), r"expected 4.54.*, got 100."),
    ("conv_parameters", lambda inputs, outputs, side: nn.Conv2d(inputs, outputs, side).weight.numel(), "biases"),
    ("shuffled", lambda images, labels, generator: (images, labels), "expected float32"),
    ("rotation_matrices", lambda angles: torch.zeros(len(angles), 2, 3), r"got 0\."),
]


@pytest.mark.parametrize(("name", "function", "said"), WRITTEN)
def test_what_learners_write(name: str, function: Callable[..., Any], said: str) -> None:
    judged = ALL[name].judge(function)
    assert re.search(said, judged) if said else judged == "", judged


def test_an_input_that_is_changed_is_told_apart() -> None:
    def mean_images(images: Tensor, labels: Tensor) -> Tensor:
        result = ALL["mean_images"].solution(images, labels)
        images.zero_()
        return result

    assert "changes an input" in ALL["mean_images"].judge(mean_images)


def test_check_prints_records_and_knows_its_exercises(capsys: pytest.CaptureFixture[str]) -> None:
    check(ALL["confusion"].solution)
    assert capsys.readouterr().out == "confusion: Correct for 20 random inputs.\n"
    assert RESULTS.pop("confusion")
    with pytest.raises(ValueError, match=r"no exercise counted_twice. Choose from normalized,.*calibration_error"):
        check(counted_twice)


def test_a_mistake_is_added_below_its_exercise() -> None:
    each = Exercise(lambda x: x, "title", "task", "hint", 1, 5, lambda generator: (1,))

    @each.mistake("This is another number.")
    def _(x: int) -> int:
        return x + 1

    assert each.judge(lambda x: x + 1) == "This is another number."
    assert each.judge(lambda x: x) == ""


@pytest.mark.slow
def test_a_class_is_read_as_one_table(tmp_path: Path) -> None:
    """As in docs/teaching.md: run a student's copy, which writes metrics.json."""
    from mnist_s5.__main__ import main

    copy = nbformat.read(make.path_of("measures"), as_version=4)
    cell = next(cell for cell in copy.cells if cell.id == "half-width")
    cell.source = ALL["half_width"].code() + "\n\n\ncheck(half_width)"
    (tmp_path / "class").mkdir()
    nbformat.write(copy, tmp_path / "class" / "one.ipynb")
    assert main(["run", str(tmp_path / "class" / "one.ipynb"), "--out", str(tmp_path / "one")]) == 0
    found = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert found["exercises_06"] == {"half_width": True, "seeds_needed": False, "calibration_error": False}


def test_teaching_states_the_exercises_minutes() -> None:
    text = (Path(__file__).parents[1] / "docs" / "teaching.md").read_text()
    stated = [int(minutes) for minutes in re.findall(r"^\| 0\d · .*\| (\d+) \|$", text, re.MULTILINE)]
    assert stated == [sum(each.minutes for each in exercises(lesson).values()) for lesson in LESSONS]
