"""The figures of the course."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor
from torch.utils.data import DataLoader

from .loaders import DeviceLoader, source_of
from .picture import BLUE, GREY, ORANGE, TALL, WIDE, Picture, new_picture
from .training import History

PUBLISHED, PUBLISHED_RUNS = 99.35, (99.19, 99.34)  # test accuracy, percent: the reference's, and nine others' range


def gallery(
    images: Tensor | Sequence[Tensor],
    captions: Sequence[str],
    title: str,
    *,
    columns: int = 6,
    source: str = "mnist",
    size: tuple[float, float] = WIDE,
    signed: bool = False,
) -> Picture:
    """Images [H, W] (or [1, H, W]), each below its caption; signed: white is zero, orange above it, purple below."""
    rows, largest = -(-len(images) // columns), max(max(image.shape[-2:]) for image in images)
    shown = ", ".join(caption.replace("\n", " ") for caption in captions)
    picture = new_picture(title, f"{len(images)} images in {rows} rows of {columns}: {shown}", source, size)
    for image, caption, axes in zip(images, captions, picture.subplots(rows, columns, squeeze=False).flat):
        pixels = image.reshape(image.shape[-2:]).float().cpu().numpy()
        shades: dict[str, Any] = {"cmap": "gray_r"}
        if signed:
            reach = abs(pixels).max()
            shades = {"cmap": "PuOr_r", "vmin": -reach, "vmax": reach}
        axes.imshow(pixels, **shades)
        axes.set_title(caption, fontsize=9)
        rims = [(largest - side) / 2 for side in pixels.shape]  # smaller images are drawn smaller
        axes.set(xlim=(-0.5 - rims[1], pixels.shape[1] - 0.5 + rims[1]), xticks=[])
        axes.set(ylim=(pixels.shape[0] - 0.5 + rims[0], -0.5 - rims[0]), yticks=[])
        axes.spines[:].set_color("lightgrey")
    for axes in picture.axes[len(images) :]:
        axes.axis("off")
    return picture


def data_visualization(train_loader: DataLoader | DeviceLoader) -> Picture:
    """Twelve digits of the loader's first batch in a 3×4 grid with their labels, as the network gets them."""
    images, labels = next(iter(train_loader))
    source = source_of(train_loader)
    title = "Twelve training digits and their labels"
    return gallery(images[:12], [str(int(label)) for label in labels[:12]], title, columns=4, source=source, size=TALL)


def digit_as_numbers(image: Tensor, label: int, source: str = "mnist") -> Picture:
    """One digit, uint8 [28, 28], as the table of its 784 numbers, each on its own shade."""
    picture = new_picture(
        f"A {label} is 28 × 28 numbers from 0 to 255", "Where there is ink the numbers are high", source, TALL
    )
    axes = picture.subplots()
    axes.imshow(image.numpy(), cmap="gray_r", alpha=0.75, aspect="auto")
    for row, column in np.ndindex(28, 28):
        value = int(image[row, column])
        axes.text(
            column, row, str(value), ha="center", va="center", fontsize=6.5, color="white" if value > 150 else "black"
        )
    axes.set(xlabel="column", ylabel="row")
    return picture


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
    lines: Mapping[str, tuple[Sequence[float] | Sequence[str], Sequence[float]]],
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
    for row, rung in enumerate(rungs):
        errors.plot([100 - accuracy for accuracy in rung["held_out"]], [row] * len(rung["held_out"]), "o", color=ORANGE)
    errors.plot([error for _, error in medians], range(len(rungs)), "|", color="black", markersize=14)
    times.set(xlabel="seconds of training")
    times.invert_yaxis()
    errors.set(xlabel="percent wrong (dots: seeds; stroke: median)", xscale="log")
    errors.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    errors.xaxis.set_major_formatter("{x:g}")
    errors.xaxis.set_minor_formatter(NullFormatter())
    errors.grid(alpha=0.3)
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
        axes.set(ylabel="mean −log p" if what == "loss" else "percent", xlabel="epoch")
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


def confusion_matrix(labels: Tensor, predicted: Tensor, source: str = "mnist") -> Picture:
    """How often each label (row) got each answer (column); colour marks mistakes alone."""
    counts = torch.bincount(labels * 10 + predicted, minlength=100).view(10, 10)
    wrong = counts - counts.diag().diag()
    worst = divmod(int(wrong.argmax()), 10)
    alt = f"{int(wrong.sum())} of {len(labels)} are wrong; most often a {worst[0]} is read as a {worst[1]}"
    picture = new_picture("Which digit is read as which", f"{alt} ({int(wrong.max())} times)", source, TALL)
    axes = picture.subplots()
    axes.imshow(
        wrong.double().where(wrong > 0, math.nan).numpy(), cmap="Oranges", vmin=0, vmax=1.5 * int(wrong.max()) or 1
    )
    for row, column in np.ndindex(10, 10):
        if counts[row, column]:
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", fontsize=9)
    axes.set(xlabel="answer", ylabel="label", xticks=range(10), yticks=range(10))
    return picture
