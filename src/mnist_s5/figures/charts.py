"""Figures of numbers: bars, lines, strip plots, reliability diagrams, ablations, and training curves."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

from ..course import recorded
from ..metrics import History
from . import BLUE, GRAY, ORANGE, SMALL, TALL, WIDE, AltTextFigure, check_not_empty, in_default_style, new_figure

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
        marker = "o" if len(y) == 1 else ""  # a single point has no line
        axes.plot(x, y, style, color=color, label=name, marker=marker, zorder=3 - order)
    axes.grid(alpha=0.3)


def _name_lines(axes: Axes, lines: Mapping[str, Line]) -> None:
    """Write each line's name at its end, or all names in a legend if some ends are too close to each other."""
    low, high = axes.get_ylim()
    ends = sorted(float(y[-1]) for _, y in lines.values())
    if min((b - a for a, b in pairwise(ends)), default=math.inf) < 0.1 * (high - low):
        axes.legend(fontsize=SMALL)
        return
    axes.spines[["top", "right"]].set_visible(False)  # the names would cross them
    for (name, (x, y)), line in zip(lines.items(), axes.get_lines(), strict=True):
        place: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(name, (x[-1], y[-1]), **place, fontsize=SMALL, color=line.get_color())


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
    parts: Mapping[str, Mapping[str, Line]], title: str, xlabel: str, ylabels: Sequence[str], dataset: str | None
) -> AltTextFigure:
    """Draw a small plot for each part, three per row, with up to three lines. A name has the same color in all parts.

    If all parts have the same ylabel, they share their y-axis.
    """
    check_not_empty("values", parts, *parts.values(), *(y for lines in parts.values() for _, y in lines.values()))
    ends = [", ".join(f"{label} ends at {y[-1]:.3g}" for label, (_, y) in lines.items()) for lines in parts.values()]
    alt = "; ".join(f"{name}: {end}" for name, end in zip(parts, ends, strict=True))
    rows, same = math.ceil(len(parts) / 3), len({*ylabels}) == 1
    names = dict.fromkeys(label for lines in parts.values() for label in lines)
    styles = dict(zip(names, ((ORANGE, "-"), (GRAY, "--"), (BLUE, ":")), strict=False))
    figure = new_figure(title, alt, dataset, (WIDE[0], 0.8 + 2.1 * rows))
    grid = figure.subplots(rows, 3, squeeze=False, sharey=same).flatten()
    for (name, lines), ylabel, axes in zip(parts.items(), ylabels, grid[: len(parts)], strict=True):
        _draw_lines(axes, lines, [styles[label] for label in lines if label in styles])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(xlabel)
        if not same or axes in grid[::3]:
            axes.set_ylabel(ylabel)
    _share_legend(figure)
    for axes in grid[len(parts) :]:
        axes.axis("off")
    return figure


def _share_legend(figure: AltTextFigure) -> None:
    """Draw one legend for all plots, below them."""
    pairs = [pair for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    named = {label: line for line, label in pairs}
    figure.legend(named.values(), named, loc="outside lower center", ncols=3 if len(named) == 3 else 2, fontsize=SMALL)


def _draw_dots(axes: Axes, groups: Mapping[str, Sequence[float]]) -> None:
    """Draw a row for each group, from top to bottom: a dot for each value, and a mark for their median."""
    for row, values in enumerate(groups.values()):
        above = [row - 0.14 * list(values[:n]).count(value) for n, value in enumerate(values)]  # equal ones are stacked
        axes.plot(values, above, "o", color=ORANGE, alpha=0.7)
        axes.plot(median(values), row, "|", color="black", markersize=14)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.grid(alpha=0.3)
    axes.set_ylim(len(groups) - 0.4, -0.7)


@in_default_style
def strip_plot(groups: Mapping[str, Sequence[float]], title: str, xlabel: str, dataset: str | None) -> AltTextFigure:
    """Draw every value of every group as a dot, one row per group, with a mark for its median."""
    check_not_empty("values", groups, *groups.values())
    ends = {name: f"{min(values):.2f} to {max(values):.2f}" for name, values in groups.items()}
    alt = ", ".join(f"{name}: {ends[name]}, median {median(values):.2f}" for name, values in groups.items())
    figure = new_figure(title, alt, dataset, (WIDE[0], 1.4 + 0.45 * len(groups)))
    axes = figure.subplots()
    _draw_dots(axes, groups)
    axes.set(xlabel=xlabel)
    return figure


@in_default_style
def reliability_diagram(
    networks: Mapping[str, tuple[Tensor, Tensor]], title: str, dataset: str | None
) -> AltTextFigure:
    """Draw the fraction of correct predictions over their confidence, for up to three networks side by side.

    Points on the diagonal are well calibrated. Error bars are 95% intervals, and the number above each counts the
    predictions of its bin.

    Args:
        networks: For each name, the confidence, float [N] from 0 to 1, and whether the prediction is correct, bool [N].
            Confidences are sorted into ten bins of equal width. Empty bins are left out.
        title: Title of the figure.
        dataset: See `new_figure`.

    Raises:
        ValueError: If there are no predictions, or a confidence is not from 0 to 1.
    """
    check_not_empty("predictions", networks, *(confidence for confidence, _ in networks.values()))
    figure = new_figure(title, "", dataset, (WIDE[0], 1 + 6 / (len(networks) + 0.5)))
    grid = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    told = []
    for axes, (name, (confidence, correct)) in zip(grid, networks.items(), strict=True):
        bins = _draw_reliability(axes, confidence.cpu().double(), correct.cpu().double())  # MPS has no float64
        axes.set_title(name, fontsize=10)
        told.append(f"{name}: {'; '.join(bins)}")
    figure.alt += ". ".join(told)
    grid[0].set_ylabel("fraction correct")
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
    axes.text(0.03, 1.12, "underconfident", color=GRAY, fontsize=SMALL)
    axes.text(1.01, 0.04, "overconfident", ha="right", color=GRAY, fontsize=SMALL)
    told, bins = [], (10 * confidence).long().clamp(max=9)
    for number in bins.unique().tolist():
        inside = bins == number
        n, x, y = int(inside.sum()), confidence[inside].mean().item(), correct[inside].mean().item()
        low, high = binomtest(round(n * y), n).proportion_ci(method="wilson")
        reach = [[max(y - low, 0)], [max(high - y, 0)]]  # they may be off by a rounding at 0 and 1
        axes.errorbar(x, y, reach, fmt="o", color=BLUE, capsize=3)
        above = (0, 4 + 10 * (number % 2))  # neighbors would overlap
        axes.annotate(f"{n:,}", (x, high), above, textcoords="offset points", ha="center", fontsize=SMALL)
        told.append(f"{n:,} predictions with {100 * x:.0f}% confidence, {100 * y:.0f}% correct")
    axes.set(xlabel="confidence", xlim=(0, 1.04), ylim=(0, 1.22), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
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
def ablation_plot(rows: Sequence[Mapping[str, Any]], title: str, dataset: str) -> AltTextFigure:
    """Draw one row per recipe: a bar for the median training time, and a dot for each seed's error.

    Args:
        rows: Each with a name, and lists with a value per seed: seconds, and val_accuracy in percent.
        title: Title of the figure.
        dataset: See `new_figure`.
    """
    check_not_empty("rows", rows)
    errors = {row["name"]: [100 - accuracy for accuracy in row["val_accuracy"]] for row in rows}
    seconds = [median(row["seconds"]) for row in rows]
    ends = zip(errors.items(), seconds, strict=True)
    alt = ", ".join(f"{name}: {time:.0f} s, error {median(values):.2f}%" for (name, values), time in ends)
    figure = new_figure(title, alt, dataset, (WIDE[0], 1.4 + 0.33 * len(rows)))
    left, right = figure.subplots(1, 2, sharey=True)
    left.bar_label(left.barh(list(errors), seconds, color=BLUE), fmt="{:.0f}", padding=3, fontsize=SMALL)
    left.margins(x=0.16)
    left.set(xlabel="seconds of training")
    _draw_dots(right, errors)
    right.set(xlabel="error in percent", xscale="log")
    right.set_title("dots: seeds, mark: median", fontsize=SMALL)
    every = [error for values in errors.values() for error in values]
    _log_ticks(right.xaxis, (1, 2, 5) if max(every) > 5 * min(every) else (1, 1.2, 1.5, 2, 3, 5))
    return figure


@in_default_style
def train_test_plot(history: History, reference: History | None = None) -> AltTextFigure:
    """Draw training loss, test loss, training accuracy, and test accuracy over the epochs, in a 2×2 grid.

    Args:
        history: The run.
        reference: A recorded run of the reference recipe, drawn in gray behind, together with the accuracies of public
            runs (benchmarks/results/published.json).
    """
    check_not_empty("epochs", history)
    last = history[-1]
    alt = f"After epoch {last.epoch:g}: training loss {last.train_loss:.4f}, test loss {last.test_loss:.4f}, "
    alt += f"training accuracy {last.train_accuracy:.2f}%, test accuracy {last.test_accuracy:.2f}%"
    figure = new_figure("Loss and accuracy over epochs", alt, history.dataset, TALL)
    grid = figure.subplots(2, 2, sharex=True).flatten()
    for axes, field in zip(grid, ("train_loss", "test_loss", "train_accuracy", "test_accuracy"), strict=True):
        part, what = field.split("_")
        color, part = (BLUE, "training") if part == "train" else (ORANGE, "test")
        if reference:
            _draw_curve(axes, reference, field, color=GRAY, label="reference, recorded")
        _draw_curve(axes, history, field, color=color, marker="o", markersize=4, label=f"this run, {part}")
        axes.set_title(f"{part.capitalize()} {what}", fontsize=10)
        axes.set_ylabel("loss (nats)" if what == "loss" else "percent")
        axes.grid(alpha=0.3)
        if reference and last.epoch < reference[-1].epoch:
            axes.set_xscale("log")
            _log_ticks(axes.xaxis, (1, 2, 5))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=last.epoch >= 2))
        if what == "loss":
            axes.set_yscale("log")
            _log_ticks(axes.yaxis, (1, 2, 5))
        else:
            axes.set_xlabel("epoch")
    if reference:
        _compare(figure, grid[3], history, reference)
    _share_legend(figure)
    return figure


def _draw_curve(axes: Axes, run: History, field: str, **style: Any) -> None:
    axes.plot([entry.epoch for entry in run], [getattr(entry, field) for entry in run], **style)


def _compare(figure: AltTextFigure, axes: Axes, history: History, reference: History) -> None:
    """Add the accuracies of public runs of the reference to the plot of the test accuracy."""
    public = recorded("published")[1]
    ends = {run["repository"]: run["last"] for run in public["runs"]}
    own, others = ends.pop(public["assignment"]), ends.values()
    label = f"{len(others)} other public runs, last epoch"
    axes.axhspan(min(others), max(others), color="gold", alpha=0.4, label=label)
    axes.axhline(own, color="black", linestyle="--", linewidth=1, label=f"the assignment's own log: {own}%")
    axes.set_ylim(min(96, history[-1].test_accuracy - 1), 100)
    figure.alt += f". In gray the reference, recorded: {reference[-1].test_accuracy:.2f}% after epoch "
    figure.alt += f"{reference[-1].epoch:g}"
