"""Figures of numbers: bars, lines, strip plots, reliability diagrams, ablations, and training curves."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

from ..course import recorded
from ..metrics import History
from . import (
    BLUE,
    GRAY,
    ORANGE,
    OUTLINED,
    SMALL,
    TALL,
    WIDE,
    AltTextFigure,
    check_not_empty,
    in_default_style,
    new_figure,
    place_image,
)

Line = tuple[Sequence[float] | Sequence[str], Sequence[float]]  # x and y


@in_default_style
def bar_chart(
    names: Sequence[str], values: Sequence[float], title: str, ylabel: str, dataset: str | None
) -> AltTextFigure:
    """Draw a bar for each name, with its value above it."""
    check_not_empty("values", values)
    told = [f"{value:,}" for value in values]
    alt = ", ".join(f"{name}: {value}" for name, value in zip(names, told, strict=True))
    figure = new_figure(title, alt, dataset)
    axes = figure.subplots()
    axes.bar_label(axes.bar(range(len(names)), list(values), color=BLUE), labels=told, fontsize=SMALL)
    axes.set_xticks(range(len(names)), list(names))
    axes.set(ylabel=ylabel)
    axes.margins(y=0.12)
    return figure


def _draw_lines(axes: Axes, lines: Mapping[str, Line], styles: Sequence[tuple[str, str]]) -> None:
    """Draw the lines in these colors and styles, the first one on top."""
    if len(lines) > len(styles):
        raise ValueError(f"A plot has room for {len(styles)} lines, got {len(lines)}. Draw several plots.")
    for order, ((name, (x, y)), (color, style)) in enumerate(zip(lines.items(), styles[: len(lines)], strict=True)):
        marker = "o" if len(y) <= 10 else ""  # a single point has no line
        axes.plot(x, y, style, color=color, label=name, marker=marker, markersize=4, zorder=3 - order)
    axes.grid(alpha=0.3)


def _name_lines(axes: Axes, lines: Mapping[str, Line]) -> None:
    """Write each line's name at its end, in its color. Names that would overlap are moved apart."""
    axes.spines[["top", "right"]].set_visible(False)  # the names would cross them
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    last = [
        [point for point in np.asarray(line.get_xydata()) if np.isfinite(point).all()][-1:] for line in axes.get_lines()
    ]
    shown = [
        (name, line, points[0]) for name, line, points in zip(lines, axes.get_lines(), last, strict=True) if points
    ]
    ends = [to_axes.transform(point) for _, _, point in shown]
    places = _spread([float(y) for _, y in ends], 0.09)  # the height of a line of text
    for (name, line, point), (_, y), place in zip(shown, ends, places, strict=True):
        beside = (5, 150 * (place - float(y)))  # in points: the plot is about 150 high
        how: dict[str, Any] = {"xytext": beside, "textcoords": "offset points", "va": "center", "fontsize": SMALL}
        axes.annotate(name, point, **how, color=line.get_color())


def _spread(places: Sequence[float], least: float) -> list[float]:
    """Move the places apart by as much as necessary, in their order, and keep their mean."""
    order = sorted(range(len(places)), key=lambda n: places[n])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    back = fmean(moved) - fmean(places)
    return [place - back for place in moved]


@in_default_style
def line_plot(lines: Mapping[str, Line], title: str, xlabel: str, ylabel: str, dataset: str | None) -> AltTextFigure:
    """Draw up to three lines, each given by its x and y values."""
    check_not_empty("values", lines, *(y for _, y in lines.values()))
    ends = ", ".join(f"{name} from {y[0]:.4g} to {y[-1]:.4g}" for name, (_, y) in lines.items())
    figure = new_figure(title, f"{ylabel} over {xlabel}: {ends}", dataset)
    axes = figure.subplots()
    _draw_lines(axes, lines, ((BLUE, "-"), (ORANGE, "--"), (GRAY, ":")))
    if len(lines) > 1:
        _name_lines(axes, lines)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure


@in_default_style
def panels(
    parts: Mapping[str, Mapping[str, Line]],
    title: str,
    xlabels: Sequence[str],
    ylabels: Sequence[str],
    dataset: str | None,
    *,
    ylim: tuple[float, float] | None = None,
    images: Mapping[str, Sequence[Tensor]] | None = None,
) -> AltTextFigure:
    """Draw a small plot for each part, three per row, with up to three lines. A name has the same color in all parts.

    If all parts have the same ylabel, they share their y-axis. Where a line becomes NaN, the plot says so.

    Args:
        parts: For each name of a plot, its lines by their names, as x and y values.
        title: Title of the figure.
        xlabels: Label of each x-axis.
        ylabels: Label of each y-axis.
        dataset: See `new_figure`.
        ylim: Range of all y-axes. What is outside is not drawn. None shows everything.
        images: For a part, an image uint8 [H, W] for each x value of its first line, drawn below it.
    """
    check_not_empty("values", parts, *parts.values(), *(y for lines in parts.values() for _, y in lines.values()))
    ends = [", ".join(f"{label} ends at {y[-1]:.3g}" for label, (_, y) in lines.items()) for lines in parts.values()]
    alt = "; ".join(f"{name}: {end}" for name, end in zip(parts, ends, strict=True))
    rows, same = math.ceil(len(parts) / 3), len({*ylabels}) == 1
    names = dict.fromkeys(label for lines in parts.values() for label in lines)
    styles = dict(zip(names, ((ORANGE, "-"), (GRAY, "--"), (BLUE, ":")), strict=False))
    figure = new_figure(title, alt, dataset, (WIDE[0], 0.5 + 2.1 * rows))
    grid = figure.subplots(rows, 3, squeeze=False, sharey=same).flatten()
    every = zip(parts.items(), xlabels, ylabels, grid[: len(parts)], strict=True)
    for (name, lines), xlabel, ylabel, axes in every:
        _draw_lines(axes, lines, [styles[label] for label in lines if label in styles])
        axes.set_title(name, fontsize=10)
        axes.set(xlabel=xlabel, ylabel=ylabel if not same or axes in grid[::3] else "")
        if ylim:
            axes.set_ylim(ylim)
        if images:
            _draw_along(axes, images[name], next(iter(lines.values()))[0])
    for lines, axes in zip(parts.values(), grid, strict=False):  # now that all limits are known
        written = _name_inside(axes, [label for label in lines if label in names])
        names = {label: None for label in names if label not in written}  # each name once
    for axes in grid[len(parts) :]:
        axes.axis("off")
    return figure


def _name_inside(axes: Axes, names: Sequence[str]) -> list[str]:
    """Write "→ nan" where a line becomes NaN, and the names of the other ones of these at their ends.

    A name is above its line, or below it if the line is near the top, or falls and leaves room.

    Returns the names that are written.
    """
    written = []
    low, high = axes.get_ylim()
    how: dict[str, Any] = {"fontsize": SMALL, "path_effects": OUTLINED}
    for line in axes.get_lines():
        x, y = (np.asarray(values, float) for values in line.get_data(orig=False))
        shown = np.flatnonzero((y >= low) & (y <= high))
        if np.isnan(y).any() and len(shown):
            place = x[shown[-1]], float(np.clip(y[shown[-1]], low + 0.1 * (high - low), high - 0.1 * (high - low)))
            axes.text(*place, " → nan", color=line.get_color(), va="center", **how)
        elif line.get_label() in names:
            falls = y[-1] < y[len(y) // 2 :].mean()
            below = y[-1] > low + (0.12 if falls else 0.8) * (high - low)
            offset: dict[str, Any] = {"xytext": (0, -5 if below else 5), "textcoords": "offset points"}
            offset |= {"ha": "right", "va": "top" if below else "bottom"}
            axes.annotate(str(line.get_label()), (x[-1], y[-1]), **offset, **how, color=line.get_color())
            written.append(str(line.get_label()))
    return written


def _draw_along(axes: Axes, images: Sequence[Tensor], places: Sequence[Any]) -> None:
    """Draw an image below each of these places on the x-axis, instead of its number."""
    axes.set_xticks(list(places), [""] * len(places))
    axes.xaxis.labelpad = 26
    for image, place in zip(images, places, strict=True):
        where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "xybox": (0, -14), "boxcoords": "offset points"}
        place_image(axes, image, (place, 0), 0.62, **where, frameon=False)


def _draw_dots(axes: Axes, groups: Mapping[str, Sequence[float]], color: str = BLUE) -> None:
    """Draw a row for each group, from top to bottom: a dot for each value, and a mark for their median."""
    every = [value for values in groups.values() for value in values]
    for row, values in enumerate(groups.values()):
        ordered, many = sorted(values), len(values) > 20
        near = (max(every) - min(every)) / 100 if many else 0.0
        stacked = [0]  # how many dots are below, at nearly the same place
        for n, value in enumerate(ordered[1:], start=1):
            stacked.append(stacked[-1] + 1 if value - ordered[n - 1 - stacked[-1]] <= near else 0)
        if many:  # stack to both sides, within the row
            step = min(0.08, 0.8 / max(1, *stacked))
            above = [row + step * ((n + 1) // 2) * (-1) ** n for n in stacked]
        else:
            above = [row - 0.14 * n for n in stacked]
        alpha, size = (0.4, 3) if many else (0.7, 6)
        axes.plot(ordered, above, "o", color=color, alpha=alpha, markersize=size)
        axes.plot(median(values), row, "|", color="black", markersize=14)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.grid(alpha=0.3)
    axes.set_ylim(len(groups) - 0.4, -0.7)


@in_default_style
def strip_plot(
    groups: Mapping[str, Sequence[float]],
    title: str,
    xlabel: str,
    dataset: str | None,
    *,
    images: Sequence[Tensor] = (),
    line: tuple[float, str] | None = None,
) -> AltTextFigure:
    """Draw every value of every group as a dot, one row per group, with a mark for its median.

    Args:
        groups: For each name, its values.
        title: Title of the figure.
        xlabel: Label of the x-axis.
        dataset: See `new_figure`.
        images: An image uint8 [H, W] for each group, drawn beside its name.
        line: A value to mark with a vertical line, and its name.
    """
    check_not_empty("values", groups, *groups.values())
    ends = {name: f"{min(values):.2f} to {max(values):.2f}" for name, values in groups.items()}
    alt = ", ".join(f"{name}: {ends[name]}, median {median(values):.2f}" for name, values in groups.items())
    figure = new_figure(title, alt, dataset, (WIDE[0], 1.4 + 0.45 * len(groups)))
    axes = figure.subplots()
    _draw_dots(axes, groups)
    axes.set(xlabel=xlabel)
    if line:
        axes.axvline(line[0], color=ORANGE, linestyle="--")
        axes.text(line[0], -0.75, line[1], color=ORANGE, fontsize=SMALL, ha="center", va="bottom")
    for row, image in enumerate(images):
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xybox": (-16, 0)}
        place_image(axes, image, (0, row), 0.8, **where, boxcoords="offset points", frameon=False)
    if images:
        axes.tick_params(axis="y", pad=30, length=0)
    return figure


@in_default_style
def reliability_diagram(
    networks: Mapping[str, tuple[Tensor, Tensor]], title: str, dataset: str | None
) -> AltTextFigure:
    """Draw the fraction of correct predictions over their confidence, for up to three networks side by side.

    Points on the diagonal are well calibrated. Error bars are 95% intervals. The bars below count the predictions.

    Args:
        networks: For each name, the confidence, float [N] from 0 to 1, and whether the prediction is correct, bool [N].
            Confidences are sorted into ten bins of equal width. Empty bins are left out.
        title: Title of the figure.
        dataset: See `new_figure`.

    Raises:
        ValueError: If there are no predictions, or a confidence is not from 0 to 1.
    """
    check_not_empty("predictions", networks, *(confidence for confidence, _ in networks.values()))
    figure = new_figure(title, "", dataset, (WIDE[0], 1.8 + 6 / (len(networks) + 0.5)))
    grid = figure.subplots(2, len(networks), squeeze=False, sharex=True, sharey="row", height_ratios=(4, 1))
    told = []
    for (axes, below), (name, (confidence, correct)) in zip(grid.T, networks.items(), strict=True):
        bins = _draw_reliability(axes, confidence.cpu().double(), correct.cpu().double())  # MPS has no float64
        counts = (10 * confidence.cpu()).long().clamp(max=9).bincount(minlength=10)
        below.bar(np.arange(10) / 10 + 0.05, counts.numpy(), 0.09, color=BLUE)
        below.set(xlabel="confidence")
        axes.set_title(name, fontsize=10)
        told.append(f"{name}: {'; '.join(bins)}")
    figure.alt += ". ".join(told)
    grid[0, 0].set_ylabel("fraction correct")
    grid[1, 0].set_ylabel("predictions")
    return figure


def _draw_reliability(axes: Axes, confidence: Tensor, correct: Tensor) -> list[str]:
    """Draw a reliability diagram of one network, with Wilson's intervals (1927), and return each bin in words."""
    from scipy.stats import binomtest  # takes half a second to import

    outside = confidence[~((confidence >= 0) & (confidence <= 1 + 1e-6))]  # includes NaN
    if len(outside):
        raise ValueError(f"Expected confidences from 0 to 1, got {outside[0]:.8g}. Divide percentages by 100.")
    if confidence.shape != correct.shape:
        raise ValueError(f"Expected one value each, got {list(confidence.shape)} and {list(correct.shape)}.")
    axes.plot([0, 1], [0, 1], "--", color=GRAY)
    axes.text(0.03, 0.95, "underconfident", color=GRAY, fontsize=SMALL)
    axes.text(0.99, 0.04, "overconfident", ha="right", color=GRAY, fontsize=SMALL)
    told, bins = [], (10 * confidence).long().clamp(max=9)
    for number in bins.unique().tolist():
        inside = bins == number
        n, x, y = int(inside.sum()), confidence[inside].mean().item(), correct[inside].mean().item()
        low, high = binomtest(round(n * y), n).proportion_ci(method="wilson")
        reach = [[max(y - low, 0)], [max(high - y, 0)]]  # they may be off by a rounding at 0 and 1
        axes.errorbar(x, y, reach, fmt="o", color=BLUE, capsize=3)
        told.append(f"{n:,} predictions with {100 * x:.0f}% confidence, {100 * y:.0f}% correct")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
    axes.grid(alpha=0.3)
    return told


@in_default_style
def histograms(groups: Mapping[str, Sequence[float]], title: str, xlabel: str, dataset: str | None) -> AltTextFigure:
    """Draw a histogram of each group, one below the other, with the same bins, and a mark for its median."""
    check_not_empty("values", groups, *groups.values())
    middle = {name: median(values) for name, values in groups.items()}
    counts = {name: f"{len(values)} value{'s' * (len(values) > 1)}" for name, values in groups.items()}
    alt = ", ".join(f"{name}: {counts[name]}, median {value:.2f}" for name, value in middle.items())
    figure = new_figure(title, alt, dataset, (WIDE[0], 0.9 + 0.9 * len(groups)))
    every = [value for values in groups.values() for value in values]
    rows = figure.subplots(len(groups), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, values) in zip(rows, groups.items(), strict=True):
        axes.hist(values, MaxNLocator(25).tick_values(min(every), max(every)), color=ORANGE, alpha=0.7)
        axes.axvline(middle[name], color="black")
        label = f"{name}\nmedian {middle[name]:.2f}"
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
        axes.set_yticks([])
    rows[-1].set_xlabel(xlabel)
    return figure


def _log_ticks(axis: Axis, subs: Sequence[float]) -> None:
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


@in_default_style
def ablation_plot(
    rows: Sequence[Mapping[str, Any]], title: str, dataset: str, *, cumulative: bool = True
) -> AltTextFigure:
    """Draw one row per recipe: a dot for each seed's error, and small, a bar for the median training time.

    Args:
        rows: Each with a name, and lists with a value per seed: seconds, and val_accuracy in percent.
        title: Title of the figure.
        dataset: See `new_figure`.
        cumulative: Whether each row adds a change to the row above. Arrows then lead from median to median. Otherwise,
            a line marks the median of the first row.
    """
    check_not_empty("rows", rows)
    errors = {row["name"]: [100 - accuracy for accuracy in row["val_accuracy"]] for row in rows}
    seconds, middle = [median(row["seconds"]) for row in rows], [median(values) for values in errors.values()]
    ends = zip(errors, seconds, middle, strict=True)
    alt = ", ".join(f"{name}: {time:.0f} s, error {error:.2f}%" for name, time, error in ends)
    figure = new_figure(title, alt, dataset, (WIDE[0], 1.4 + 0.33 * len(rows)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    _draw_dots(left, errors, ORANGE)
    left.set(xlabel="error in percent; dots: seeds, mark: median", xscale="log")
    every = [error for values in errors.values() for error in values]
    _log_ticks(left.xaxis, (1, 2, 5) if max(every) > 5 * min(every) else (1, 1.2, 1.5, 2, 3, 5))
    if cumulative:
        for row, (before, after) in enumerate(pairwise(middle)):
            arrow = {"arrowstyle": "->", "color": GRAY, "shrinkA": 7, "shrinkB": 7}
            left.annotate("", (after, row + 1), (before, row), arrowprops=arrow)
    else:
        left.axvline(middle[0], color=GRAY, linestyle=":", zorder=0)
    right.bar_label(right.barh(list(errors), seconds, color=BLUE), fmt="{:.0f} s", padding=3, fontsize=SMALL)
    right.set(xlabel="training time", xticks=[])
    right.margins(x=0.4)
    right.spines[:].set_visible(False)
    right.tick_params(left=False)
    return figure


@in_default_style
def train_test_plot(history: History, reference: History | None = None) -> AltTextFigure:
    """Draw the test accuracy over the epochs, and small, the losses and the training accuracy.

    Args:
        history: The run.
        reference: A recorded run of the reference recipe, drawn in gray behind, together with the accuracies of public
            runs (benchmarks/results/published.json).
    """
    check_not_empty("epochs", history)
    last = history[-1]
    alt = f"After epoch {last.epoch:g}: training loss {last.train_loss:.4f}, test loss {last.test_loss:.4f}, "
    alt += f"training accuracy {last.train_accuracy:.2f}%, test accuracy {last.test_accuracy:.2f}%"
    figure = new_figure(
        f"{last.test_accuracy:.2f}% of the test digits after epoch {last.epoch:g}", alt, history.dataset, TALL
    )
    grid = figure.add_gridspec(2, 3, height_ratios=(2, 1))
    large, *small = (figure.add_subplot(grid[place]) for place in ((0, slice(None)), (1, 0), (1, 1), (1, 2)))
    fields = ("test_accuracy", "train_loss", "test_loss", "train_accuracy")
    for axes, field in zip((large, *small), fields, strict=True):
        part, what = field.split("_")
        if reference:
            _draw_curve(axes, reference, field, color=GRAY)
        _draw_curve(axes, history, field, color=ORANGE if part == "test" else BLUE, marker="o", markersize=4)
        part, unit = part.replace("train", "training"), "loss (nats)" if what == "loss" else "accuracy (%)"
        axes.set_title(f"{part} {unit}", fontsize=SMALL)
        axes.grid(alpha=0.3)
        if what == "loss":
            axes.set_yscale("log")
            _log_ticks(axes.yaxis, (1, 2, 5))
        if reference and last.epoch < reference[-1].epoch:
            axes.set_xscale("log")
            _log_ticks(axes.xaxis, (1, 2, 5) if axes is large else (1,))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=last.epoch >= 2))
    small[1].set_xlabel("epoch")
    if reference:
        _compare(figure, large, history, reference)
    return figure


def _draw_curve(axes: Axes, run: History, field: str, **style: Any) -> None:
    axes.plot([entry.epoch for entry in run], [getattr(entry, field) for entry in run], **style)


def _compare(figure: AltTextFigure, axes: Axes, history: History, reference: History) -> None:
    """Name both curves in the plot of the test accuracy, and add the accuracies of public runs of the reference."""
    public = recorded("published")[1]
    ends = {run["repository"]: run["last"] for run in public["runs"]}
    own, others = ends.pop(public["assignment"]), ends.values()
    axes.axhspan(min(others), max(others), color="gold", alpha=0.4)
    axes.axhline(own, color="black", linestyle="--", linewidth=1)
    axes.set_ylim(low := min(96, history[-1].test_accuracy - 1), 100)
    step, left = (100 - low) / 40, axes.get_xlim()[0]  # a fraction of the height
    axes.text(left, own + step, f" the assignment's log: {own}%", fontsize=SMALL)
    axes.text(left, min(others) - step, f" {len(others)} other public runs", fontsize=SMALL, va="top")
    for run, name, color, (dy, va) in (
        (history, "this run", ORANGE, (step, "bottom")),
        (reference, "reference, recorded", GRAY, (-10 * step, "top")),
    ):
        axes.text(run[-1].epoch, run[-1].test_accuracy + dy, name, color=color, fontsize=SMALL, va=va, ha="right")
    figure.alt += f". In gray the reference, recorded: {reference[-1].test_accuracy:.2f}% after epoch "
    figure.alt += f"{reference[-1].epoch:g}"
