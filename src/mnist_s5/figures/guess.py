"""A guess: the reader sets a number or draws a curve, and then the true one appears over it."""

import math
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
import traitlets
from IPython.display import display

from ..live import LiveWidget, can_use
from . import ORANGE, WIDE, AltTextFigure, in_default_style, new_figure
from .charts import Line, line_plot

POINTS = 300  # of a curve that the browser gets, at most


def _finite(what: str, values: Any) -> np.ndarray:
    """Return the values as float64 [N].

    Raises:
        TypeError: If they are not numbers.
        ValueError: If one is NaN or infinite.
    """
    try:
        numbers = np.atleast_1d(np.asarray(values))
    except (TypeError, ValueError):
        numbers = np.empty(0, object)
    if numbers.dtype.kind not in "biuf":
        fix = "Pass plain numbers. A curve is a pair (x, y)."
        raise TypeError(f"Expected numbers for {what}, got {type(values).__name__}. {fix}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"The values of {what} contain NaN or infinity. Check the cell that computes them.")
    return numbers.astype(float)


def _curve(answer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a curve, float64 [N] each. A number has no x, float64 [0], and one y, float64 [1]."""
    if not isinstance(answer, tuple | list):
        number = _finite("the answer", answer)
        if len(number) != 1:
            raise ValueError(f"Expected one number, got {len(number)}. Pass a curve as a pair (x, y).")
        return np.empty(0), number
    if len(answer) != 2:
        raise ValueError(f"Expected a curve as a pair (x, y), got {len(answer)} values. Pass (steps, losses), say.")
    x, y = _finite("x", answer[0]), _finite("y", answer[1])
    if x.shape != y.shape or x.ndim > 1:
        raise ValueError(f"Expected one y for each x, got shapes {x.shape} and {y.shape}. Pass two equally long lists.")
    if len(x) < 2:
        raise ValueError(f"A curve needs at least two points, got {len(x)}. Pass more of them, or a single number.")
    if not (np.diff(x) > 0).all():
        raise ValueError("The values of x do not increase from each point to the next. Sort the points by x.")
    return x, y


def _check_limits(limits: tuple[float, float], y: np.ndarray) -> tuple[float, float]:
    """Return the limits, if they are in order and the answer is inside."""
    ends = _finite("the limits", limits)
    if len(ends) != 2:
        raise ValueError(f"Expected two limits, got {len(ends)}. Pass (low, high).")
    low, high = ends.tolist()
    if low >= high:
        raise ValueError(f"Expected limits (low, high), got ({low:g}, {high:g}). Pass the lower one first.")
    if y.min() < low or y.max() > high:
        wrong = y.min() if y.min() < low else y.max()
        raise ValueError(f"The answer, {wrong:g}, is outside the limits ({low:g}, {high:g}). Pass wider limits.")
    return low, high


def _told(value: float, digits: int, label: str) -> str:
    """Return the value in words, such as 82.03% or 1,200 seconds."""
    return f"{round(value, digits):,.15g}{label if label == '%' else f' {label}'}"


@in_default_style
def _scale(
    title: str, answer: float, limits: tuple[float, float], label: str, digits: int, dataset: str | None
) -> AltTextFigure:
    """Draw the answer as a mark on a horizontal scale."""
    told = _told(answer, digits, label)
    ends = f"from {_told(limits[0], digits, label)} to {_told(limits[1], digits, label)}"
    figure = new_figure(title, f"The answer: {told}, on a scale {ends}", dataset, (WIDE[0], 1.1))
    axes = figure.subplots()
    axes.plot(answer, 0, "o", color=ORANGE, markersize=9, clip_on=False)
    place: dict[str, Any] = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center"}
    axes.annotate(told, (answer, 0), **place, color=ORANGE, fontweight="bold", annotation_clip=False)
    axes.set(xlim=limits, ylim=(0, 1), yticks=[], xlabel="" if label == "%" else label)
    axes.xaxis.set_major_formatter("{x:,g}%" if label == "%" else "{x:,g}")
    axes.spines[["left", "top", "right"]].set_visible(False)
    return figure


class Guess(LiveWidget):
    """A question that the reader answers with a number or a curve, before the true one appears over it.

    If nobody can answer, as in papermill, it is a still figure of the answer.

    Args:
        title: The question, or the name of the curve.
        answer: A number, or the x and y of a curve, with increasing x.
        limits: Lowest and highest possible guess: the ends of the scale, or of the curve's y-axis.
        label: Unit of the number, such as "%", or label of the curve's y-axis.
        dataset: See `new_figure`.
        xlabel: Label of the curve's x-axis.

    Attributes:
        figure: The answer as a still figure.

    Raises:
        TypeError: If the answer or the limits are not numbers.
        ValueError: If the limits are in the wrong order, if the answer is outside them or not finite, or if a curve has
            fewer than two points, another number of x than of y, or x that do not increase.
    """

    _esm = Path(__file__).with_name("guess.js")
    css_class, note = "digit-guess", "Run this cell to guess."
    question = traitlets.Dict().tag(sync=True)  # all that the browser needs, so it works without a kernel

    def __init__(
        self,
        title: str,
        answer: float | Line,
        limits: tuple[float, float],
        label: str,
        *,
        dataset: str | None,
        xlabel: str = "x",
    ) -> None:
        x, y = _curve(answer)
        low, high = _check_limits(limits, y)
        digits = max(0, 4 - math.ceil(math.log10(high - low)))
        if len(x):
            self.figure = line_plot({"the curve": (x.tolist(), y.tolist())}, title, xlabel, label, dataset)
            self.figure.axes[0].set_ylim(low, high)
        else:
            self.figure = _scale(title, y.item(), (low, high), label, digits, dataset)
        title, self.nobody = self.figure.get_suptitle(), self.figure.alt
        lines = wrap(title, 75)
        self.figure.suptitle("\n".join(lines), fontsize=11)
        self.figure.set_figheight(self.figure.get_figheight() + 0.18 * (len(lines) - 1))
        few = np.linspace(0, len(y) - 1, min(len(y), POINTS)).round().astype(int)
        answers = {"x": x[few[: len(x)]].tolist(), "y": y[few].round(digits + 2).tolist()}
        labels = {"title": title, "label": label, "xlabel": xlabel}
        super().__init__(question={"low": low, "high": high, "digits": digits} | labels | answers)

    def _ipython_display_(self) -> None:
        if can_use():
            raise NotImplementedError  # IPython then takes the widget's mimebundle
        display(self.figure)
