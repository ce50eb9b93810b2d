"""The figures that are made of numbers: bars, curves, seeds as dots, and how far a confidence can be relied on."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

from .picture import BLUE, GREY, ORANGE, TALL, WIDE, Picture, new_picture
from .training import History

PUBLISHED, PUBLISHED_RUNS = 99.35, (99.19, 99.34)  # test accuracy, percent: the reference's, and nine others' range
Line = tuple[Sequence[float] | Sequence[str], Sequence[float]]  # x and y


def bars(names: Sequence[str], values: Sequence[float], title: str, ylabel: str, source: str = "mnist") -> Picture:
    """A bar for each name, its value above it."""
    picture = new_picture(title, ", ".join(f"{name}: {value:,}" for name, value in zip(names, values)), source)
    axes = picture.subplots()
    axes.bar_label(
        axes.bar(list(names), list(values), color=BLUE), labels=[f"{value:,}" for value in values], fontsize=9
    )
    axes.set(ylabel=ylabel)
    axes.margins(y=0.12)
    return picture


def curves(
    lines: Mapping[str, Line],
    title: str,
    xlabel: str,
    ylabel: str,
    source: str = "mnist",
) -> Picture:
    """A line for each name: its x and its y values."""
    ends = ", ".join(f"{name} from {y[0]:.4g} to {y[-1]:.4g}" for name, (_, y) in lines.items())
    picture = new_picture(title, f"{ylabel} over {xlabel}: {ends}", source)
    axes = picture.subplots()
    for (name, (x, y)), color, style in zip(lines.items(), (BLUE, ORANGE, GREY), ("-", "--", ":")):
        axes.plot(x, y, style, color=color, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.legend()
    return picture


def panels(
    parts: Mapping[str, Mapping[str, Line]], title: str, xlabel: str, ylabels: Sequence[str], source: str = "mnist"
) -> Picture:
    """A small plot for each part, three in a row, a line for each name; its second is drawn behind, in grey."""
    ends = "; ".join(
        f"{name}: " + ", ".join(f"{label} ends at {y[-1]:.3g}" for label, (_, y) in lines.items())
        for name, lines in parts.items()
    )
    rows = -(-len(parts) // 3)
    picture = new_picture(title, ends, source, TALL if rows > 1 else WIDE)
    grid = picture.subplots(rows, 3, squeeze=False).flat
    for (name, lines), ylabel, axes in zip(parts.items(), ylabels, grid):
        for (label, (x, y)), color, style, order in zip(lines.items(), (ORANGE, GREY), ("-", "--"), (2, 1)):
            axes.plot(x, y, style, color=color, label=label, zorder=order)
        axes.set_title(name, fontsize=10)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in picture.axes[len(parts) :]:
        axes.axis("off")
    return picture


def _dots(axes: Axes, groups: Mapping[str, Sequence[float]]) -> None:
    """A row for each group, the first one above: a dot for each value, a stroke for their median."""
    for row, values in enumerate(groups.values()):
        axes.plot(values, [row] * len(values), "o", color=ORANGE, alpha=0.7)
        axes.plot(median(values), row, "|", color="black", markersize=14)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.grid(alpha=0.3)
    axes.margins(y=0.15)


def dots(groups: Mapping[str, Sequence[float]], title: str, xlabel: str, source: str = "mnist") -> Picture:
    """Every value of every group a dot, a group a row, a stroke for each median."""
    told = ", ".join(
        f"{name}: {min(values):.2f} to {max(values):.2f}, median {median(values):.2f}"
        for name, values in groups.items()
    )
    picture = new_picture(title, told, source, (WIDE[0], 1.4 + 0.45 * len(groups)))
    axes = picture.subplots()
    _dots(axes, groups)
    axes.invert_yaxis()
    axes.set(xlabel=xlabel)
    return picture


def reliability(confidence: Tensor, right: Tensor, title: str, source: str = "mnist") -> Picture:
    """What share of the answers is right, over the confidence they were given with; the diagonal is a kept promise.

    confidence: float [N], 0 to 1; right: bool [N]. Bins of equal width, empty ones left out; a stroke is a 95 %
    interval, and the number above it counts the bin's answers.
    """
    picture = new_picture(title, "", source, TALL)
    axes, told = picture.subplots(), []
    axes.plot([0, 1], [0, 1], "--", color=GREY, label="as sure as right")
    bins = (10 * confidence).long().clamp(max=9)
    for number in bins.unique().tolist():
        inside = bins == number
        n, sure, share = int(inside.sum()), confidence[inside].mean().item(), right[inside].double().mean().item()
        low, high = interval(share, n)
        axes.errorbar(sure, share, [[share - low], [high - share]], fmt="o", color=BLUE, capsize=3)
        axes.annotate(f"{n:,}", (sure, high), (0, 4), textcoords="offset points", ha="center", fontsize=8)
        told.append(f"{n:,} answers {100 * sure:.0f} % sure, {100 * share:.0f} % right")
    picture.alt += "; ".join(told)
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.08))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return picture


def interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share that was counted among n (E. B. Wilson, 1927)."""
    z = 1.96**2 / n
    reach = (z * share * (1 - share) + z * z / 4) ** 0.5
    return (share + z / 2 - reach) / (1 + z), (share + z / 2 + reach) / (1 + z)


def climb(rungs: Sequence[Mapping[str, Any]], title: str, source: str = "mnist") -> Picture:
    """Recorded recipes, one below the other: a bar for the median training time, a dot for each seed's error.

    rungs: name, seconds and held_out (accuracy in percent), the latter two with a value for each seed.
    """
    medians = [(median(rung["seconds"]), 100 - median(rung["held_out"])) for rung in rungs]
    alt = ", ".join(f"{rung['name']}: {time:.0f} s, {error:.2f} % wrong" for rung, (time, error) in zip(rungs, medians))
    picture = new_picture(title, alt, source, (WIDE[0], 1.4 + 0.33 * len(rungs)))
    times, errors = picture.subplots(1, 2, sharey=True)
    names = [rung["name"] for rung in rungs]
    times.bar_label(times.barh(names, [time for time, _ in medians], color=BLUE), fmt="{:.0f}", padding=3, fontsize=9)
    times.margins(x=0.12)
    _dots(errors, {rung["name"]: [100 - accuracy for accuracy in rung["held_out"]] for rung in rungs})
    times.set(xlabel="seconds of training")
    times.invert_yaxis()
    errors.set(xlabel="percent wrong (dots: seeds; stroke: median)", xscale="log")
    wrong = [100 - accuracy for rung in rungs for accuracy in rung["held_out"]]
    errors.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if max(wrong) > 5 * min(wrong) else (1, 1.2, 1.5, 2, 3, 5))
    )
    errors.xaxis.set_major_formatter("{x:g}")
    errors.xaxis.set_minor_formatter(NullFormatter())
    return picture


def train_test_plot(history: History, reference: History | None = None) -> Picture:
    """Training loss, test loss, training accuracy and test accuracy over epochs, in a 2×2 grid.

    reference: a recorded run of the reference recipe, drawn in grey behind, with its published end and the range of
    nine other published runs.
    """
    last = history[-1]
    picture = new_picture(
        "Loss and accuracy over epochs",
        f"After epoch {last.epoch:g}: training loss {last.train_loss:.4f}, test loss {last.test_loss:.4f}, training "
        f"accuracy {last.train_accuracy:.2f} %, test accuracy {last.test_accuracy:.2f} %",
        history.dataset,
        TALL,
    )
    fields = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    for axes, field in zip(picture.subplots(2, 2, sharex=True).flat, fields):
        part, what = field.split("_")
        for run, style, label in (
            (reference, {"color": GREY}, "reference, recorded"),
            (history, {"marker": "o"}, "this run"),
        ):
            if run:
                color = BLUE if part == "train" else ORANGE
                x, y = zip(*((entry.epoch, getattr(entry, field)) for entry in run))
                axes.plot(x, y, **{"color": color, "markersize": 5, "label": label} | style)
        axes.set_title(f"{'Training' if part == 'train' else 'Test'} {what}", fontsize=10)
        axes.set(ylabel="loss (nats)" if what == "loss" else "percent", xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if what == "loss":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
    if reference:
        axes.axhspan(*PUBLISHED_RUNS, color="gold", alpha=0.4, label="nine published runs, last epoch")
        axes.axhline(PUBLISHED, color="black", linestyle="--", linewidth=1, label=f"published: {PUBLISHED} %")
        axes.set_ylim(96, 100)
        end = reference[-1]
        picture.alt += f". In grey the reference, recorded: {end.test_accuracy:.2f} % after epoch {end.epoch:g}"
        picture.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return picture
