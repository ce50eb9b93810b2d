"""The kernel's side of a guess. tests/browser has the front end."""

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import mnist_s5 as s5
from mnist_s5 import live
from mnist_s5.figures import AltTextFigure
from mnist_s5.figures.guess import POINTS, Guess

Front = Callable[[bool], None]


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Front:
    """Return a function that says whether the front end accepts input."""

    def accepts(somebody: bool) -> None:
        kernel = SimpleNamespace(_allow_stdin=somebody)
        monkeypatch.setattr(live, "get_ipython", lambda: SimpleNamespace(kernel=kernel))

    return accepts


def number(**changes: Any) -> Guess:
    given = {"title": "How many?", "answer": 82.03, "limits": (0, 100), "label": "%", "dataset": "mnist"}
    return Guess(**given | changes)


def curve(x: Any, y: Any, **changes: Any) -> Guess:
    given = {"title": "The loss", "limits": (0, 3), "label": "loss (nats)", "xlabel": "step", "dataset": "mnist"}
    return Guess(answer=(x, y), **given | changes)


def test_without_a_reader_the_answer_is_a_figure_and_no_state_is_saved(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    front(False)
    shown: list[Any] = []
    monkeypatch.setattr("mnist_s5.figures.guess.display", shown.append)
    guess = number(dataset="sample")
    guess._ipython_display_()
    assert shown == [guess.figure]
    assert isinstance(guess.figure, AltTextFigure)
    assert guess.comm is None
    told = "How many? · embedded sample, not full MNIST. The answer: 82.03%, on a scale from 0% to 100%"
    assert guess.figure.alt == guess._repr_mimebundle_()[0]["text/plain"] == told
    (axes,) = guess.figure.axes
    assert axes.texts[0].get_text() == "82.03%"
    assert axes.get_xlim() == (0, 100)


def test_a_reader_gets_the_widget_with_the_same_title_and_a_note_for_the_saved_notebook(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    front(True)
    notes: list[dict[str, str]] = []
    monkeypatch.setattr(live, "display", lambda data, raw: notes.append(data))
    guess = number(dataset="sample")
    assert guess.comm is not None
    with pytest.raises(NotImplementedError):  # IPython then takes the mimebundle
        guess._ipython_display_()
    data, _ = guess._repr_mimebundle_()
    assert data.keys() == {"text/plain", "application/vnd.jupyter.widget-view+json"}
    assert data["text/plain"] == "Guess"
    assert notes[0]["text/plain"] == "Run this cell to guess."
    assert guess.question["title"] == guess.figure.get_suptitle() == "How many? · embedded sample, not full MNIST"


def test_the_browser_gets_the_whole_question_as_json() -> None:
    expected = {"title": "How many?", "label": "%", "xlabel": "x", "low": 0, "high": 100, "digits": 2, "x": []}
    assert json.loads(json.dumps(number(answer=torch.tensor(82.0)).question)) == expected | {"y": [82]}
    question = curve(range(3), torch.tensor([2.5, 1, 0.5])).question
    assert (question["x"], question["y"]) == ([0, 1, 2], [2.5, 1, 0.5])
    assert json.loads(json.dumps(question)) == question


def test_a_long_curve_keeps_its_ends_and_a_few_hundred_points() -> None:
    steps = range(9000)
    guess = curve(steps, [3 * math.exp(-step / 900) for step in steps])
    assert len(guess.question["x"]) == len(guess.question["y"]) == POINTS
    assert (guess.question["x"][0], guess.question["x"][-1]) == (0, 8999)
    (line,) = guess.figure.axes[0].lines
    assert len(line.get_xdata()) == 9000
    assert guess.figure.axes[0].get_ylim() == (0, 3)
    assert guess.figure.alt == "The loss. loss (nats) over step: the curve from 3 to 0.0001364"


def test_a_long_question_is_wrapped_in_the_figure() -> None:
    title = "A program knows only the mean image of each digit. How many of 100 new digits does it get right?"
    guess = number(title=title)
    assert guess.question["title"] == title
    first, second = guess.figure.get_suptitle().split("\n")
    assert f"{first} {second}" == title


@pytest.mark.parametrize(
    ("value", "limits", "label", "told"),
    [
        (593_200, (0, 1_000_000), "parameters", "593,200 parameters"),
        (2.302585, (0, 3), "nats", "2.303 nats"),
        (0.1 + 0.2, (0, 1), "seconds", "0.3 seconds"),
        (100, (0, 100), "%", "100%"),
        (-3.25, (-10, 10), "points", "-3.25 points"),
    ],
)
def test_the_answer_is_told_with_as_many_digits_as_the_scale_shows(
    value: float, limits: tuple[float, float], label: str, told: str
) -> None:
    assert f"The answer: {told}, on a scale" in number(answer=value, limits=limits, label=label).figure.alt


@pytest.mark.parametrize(
    ("answer", "limits", "sentence"),
    [
        (182, (0, 100), r"The answer, 182, is outside the limits \(0, 100\). Pass wider limits."),
        (50, (100, 0), r"Expected limits \(low, high\), got \(100, 0\). Pass the lower one first."),
        (50, (0, math.nan), "The values of the limits contain NaN or infinity."),
        (50, (0, 50, 100), "Expected two limits"),
        (math.nan, (0, 100), "The values of the answer contain NaN or infinity. Check the cell that computes them."),
        ([], (0, 3), r"Expected a curve as a pair \(x, y\), got 0 values."),
        (torch.ones(3), (0, 3), r"Expected one number, got 3. Pass a curve as a pair \(x, y\)."),
        (([], []), (0, 3), "A curve needs at least two points, got 0."),
        (([1, 2, 3], [1, 2]), (0, 3), r"Expected one y for each x, got shapes \(3,\) and \(2,\)."),
        (([1, 3, 2], [1, 2, 1]), (0, 3), "The values of x do not increase from each point to the next. Sort the"),
        (([1, 2], [1, math.inf]), (0, 3), "The values of y contain NaN or infinity."),
        (([1, 2], [1, 4]), (0, 3), r"The answer, 4, is outside the limits \(0, 3\)."),
    ],
)
def test_a_wrong_value_is_named_with_its_fix(answer: Any, limits: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        number(answer=answer, limits=limits)


@pytest.mark.parametrize("answer", [None, "many", {"x": [1], "y": [2]}, (["a", "b"], [1, 2])])
def test_what_is_not_a_number_is_a_type_error(answer: Any) -> None:
    with pytest.raises(TypeError, match=r"Expected numbers for (the answer|x), got (NoneType|str|dict|list)\. Pass"):
        number(answer=answer)


def test_the_name_is_exported() -> None:
    assert s5.Guess is Guess
