"""Figures of digits: grids of images, one digit as numbers, and the confusion matrix."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from torch import Tensor
from torch.utils.data import DataLoader

from ..data.loaders import DeviceLoader
from . import (
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

CENTERED: dict[str, Any] = {"ha": "center", "va": "center"}


@in_default_style
def image_grid(
    images: Tensor | Sequence[Tensor],
    captions: Sequence[str],
    title: str,
    dataset: str | None,
    *,
    columns: int = 6,
    signed: bool = False,
    frames: Sequence[str] | None = None,
) -> AltTextFigure:
    """Draw images in rows, each below its caption. A smaller image is drawn smaller.

    Args:
        images: Each [H, W] or [1, H, W]. Bytes: 0 is black, 255 white. Floats are scaled to each image's own range.
        captions: One per image, or one per column.
        title: Title of the figure.
        dataset: See `new_figure`.
        columns: Images per row.
        signed: Draw zero white, positive floats orange, and negative ones purple.
        frames: Color of each image's frame, as matplotlib names it.
    """
    check_not_empty("images", images)
    rows, side = math.ceil(len(images) / columns), max(max(image.shape[-2:]) for image in images)
    shape = f"{rows} row{'s' * (rows > 1)} of {min(columns, len(images))}"
    alt = f"{len(images)} images in {shape}: {', '.join(captions)}".replace("\n", " ")
    lines = max(caption.count("\n") + 1 for caption in captions)
    named = 1 if len(captions) == columns else rows  # rows with captions
    height = 0.4 + rows * 0.93 * WIDE[0] / columns + 0.17 * lines * named  # the title, the images, and the captions
    if named < rows:
        captions = [*captions, *[""] * (len(images) - columns)]
    figure = new_figure(title, alt, dataset, (WIDE[0], height))
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for image, caption, axes in zip(images, captions, grid[: len(images)], strict=True):
        pixels = image.reshape(image.shape[-2:])
        shades: dict[str, Any] = {"cmap": "gray"}
        if image.dtype == torch.uint8:
            shades |= {"vmin": 0, "vmax": 255}
        elif signed:
            reach = float(pixels.detach().abs().max()) or 1.0
            shades = {"cmap": "PuOr_r", "vmin": -reach, "vmax": reach}
        _draw_image(axes, pixels.detach().float().cpu().numpy(), side, shades)
        axes.spines[:].set_color("lightgray")
        axes.set_title(caption, fontsize=SMALL, pad=3)
    for axes, color in zip(grid, frames or (), strict=False):
        axes.spines[:].set(color=color, linewidth=2)
    for axes in grid[len(images) :]:
        axes.axis("off")
    return figure


@in_default_style
def image_map(
    points: np.ndarray, labels: Tensor, shown: Mapping[int, Tensor], title: str, dataset: str | None
) -> AltTextFigure:
    """Draw a dot for each digit, in the color of its label, a cross for some, and the images of these around them.

    Args:
        points: Where to draw the digits, [N, 2].
        labels: Their labels, int64 [N].
        shown: Images uint8 [28, 28] of those with a cross, by index: up to 40.
        title: Title of the figure.
        dataset: See `new_figure`.
    """
    check_not_empty("points", points)
    alt = f"{len(points)} digits in the plane, in ten colors, and {len(shown)} of them with a cross and an image"
    figure = new_figure(title, alt, dataset, (WIDE[0], 5.6))
    axes = figure.subplots()
    low, high = points.min(axis=0), points.max(axis=0)
    places = 2 * (points - low) / np.maximum(high - low, 1e-9) - 1  # from -1 to 1
    axes.scatter(places[:, 0], places[:, 1], c=labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=4)
    for digit in labels.unique().tolist():
        x, y = np.median(places[labels == digit], axis=0)
        axes.text(x, y, str(digit), fontsize=16, path_effects=OUTLINED, **CENTERED)
    angles = {index: math.atan2(places[index, 1], places[index, 0]) for index in shown}
    for n, index in enumerate(sorted(shown, key=lambda index: angles[index])):
        at = _on_square((2 * n + 1) / len(shown) - 1, 1.25)
        axes.plot(*zip(places[index], at, strict=True), color="lightgray", linewidth=0.7, zorder=0)
        axes.plot(*places[index], "x", color="black", markersize=6)
        place_image(axes, shown[index], at, 0.75, bboxprops={"edgecolor": "lightgray"})
    axes.set(xlim=(-1.38, 1.38), ylim=(-1.38, 1.38))
    axes.axis("off")
    return figure


def _on_square(turn: float, reach: float) -> tuple[float, float]:
    """Return the point on the border of a square that is reached at this angle: from -1 to 1 once around, as atan2."""
    x, y = math.cos(math.pi * turn), math.sin(math.pi * turn)
    scale = reach / max(abs(x), abs(y))
    return scale * x, scale * y


def _draw_image(axes: Axes, pixels: np.ndarray, side: int, shades: dict[str, Any]) -> None:
    """Draw an image centered in a square of this side."""
    axes.imshow(pixels, **shades)
    top, left = ((side - length) / 2 for length in pixels.shape)
    axes.set(xlim=(-0.5 - left, pixels.shape[1] - 0.5 + left), xticks=[])
    axes.set(ylim=(pixels.shape[0] - 0.5 + top, -0.5 - top), yticks=[])


@in_default_style
def data_visualization(train_loader: DataLoader | DeviceLoader) -> AltTextFigure:
    """Draw the first twelve images of a batch, as the network receives them, in a 3×4 grid with their labels."""
    images, labels = next(iter(train_loader), ((), ()))
    captions = [str(int(label)) for label in labels[:12]]
    dataset = getattr(train_loader.dataset, "name", "other")
    return image_grid(images[:12], captions, "Digits and their labels", dataset, columns=4)


@in_default_style
def digit_as_numbers(image: Tensor, label: int, dataset: str) -> AltTextFigure:
    """Draw a digit, uint8 [28, 28], beside a table of the 144 numbers in its middle, each shaded by its value."""
    if image.shape != (28, 28) or image.dtype != torch.uint8:
        raise ValueError(f"Expected a digit uint8 [28, 28], got {str(image.dtype)[6:]} {list(image.shape)}.")
    alt = "On the right, the 12 × 12 numbers in its middle. They are high where the strokes are"
    figure = new_figure(f"A {label} is 28 × 28 numbers from 0 to 255", alt, dataset, (WIDE[0], 4.0))
    whole, middle = figure.subplots(1, 2, width_ratios=(1, 2))
    for axes in (whole, middle):
        axes.imshow(image.cpu().numpy(), cmap="gray", vmin=0, vmax=255)
        axes.set(xlabel="column", ylabel="row")
    whole.add_patch(Rectangle((7.5, 7.5), 12, 12, facecolor="none", edgecolor=ORANGE, linewidth=2))
    middle.set(xlim=(7.5, 19.5), ylim=(19.5, 7.5))
    for row, column in np.ndindex(12, 12):
        value = int(image[row + 8, column + 8])
        color = "black" if value > 117 else "white"
        middle.text(column + 8, row + 8, str(value), fontsize=SMALL, color=color, **CENTERED)
    return figure


@in_default_style
def confusion_matrix(
    labels: Tensor, predicted: Tensor, dataset: str, images: Tensor | Sequence[Tensor] = ()
) -> AltTextFigure:
    """Draw how often each label (row) was predicted as each digit (column). The most common mistake has a ring.

    Mistakes are orange, and correct predictions gray.

    Args:
        labels: int64 [N].
        predicted: int64 [N].
        dataset: See `new_figure`.
        images: An image of each class, such as its mean image. Those of the most common mistake are drawn beside it.
    """
    check_not_empty("predictions", labels)
    if labels.ndim != 1 or labels.shape != predicted.shape or predicted.is_floating_point():
        got = f"{list(labels.shape)} and {str(predicted.dtype)[6:]} {list(predicted.shape)}"
        raise ValueError(f"Expected labels [N] and predictions int64 [N], got {got}. Use log_probs.argmax(dim=1).")
    both = torch.stack([labels, predicted]).cpu().long()
    if len(wrong := both[(both < 0) | (both > 9)]):
        raise ValueError(f"Expected labels and predictions from 0 to 9, got {int(wrong[0])}.")
    counts = torch.bincount(both[0] * 10 + both[1], minlength=100).view(10, 10)
    wrong = counts - counts.diag().diag()
    label, prediction = divmod(int(wrong.argmax()), 10)
    title, alt = f"{int(wrong.sum()):,} of {len(labels):,} predictions are wrong", "Rows: labels, columns: predictions"
    if wrong.any():
        title += f", most often a {label} predicted as a {prediction} ({int(wrong.max())} times)"
    figure = new_figure(title, alt, dataset, TALL)
    grid = figure.add_gridspec(2, 2, width_ratios=(5, 1))
    axes = figure.add_subplot(grid[:, 0] if len(images) and wrong.any() else grid[:, :])
    axes.imshow(np.where(np.eye(10), 0.2, math.nan), cmap="gray_r", vmin=0, vmax=1)
    shades = wrong.double().where(wrong > 0, math.nan).numpy()
    axes.imshow(shades, cmap="Oranges", vmin=0, vmax=1.5 * int(wrong.max()) or 1)
    for row, column in np.ndindex(10, 10):
        if counts[row, column]:
            axes.text(column, row, str(int(counts[row, column])), fontsize=SMALL, **CENTERED)
    axes.set(xlabel="prediction", ylabel="label", xticks=range(10), yticks=range(10))
    if wrong.any():
        axes.add_patch(Circle((prediction, label), 0.48, facecolor="none", edgecolor="black", linewidth=2))
        for row, digit in enumerate((label, prediction) if len(images) else ()):
            beside = figure.add_subplot(grid[row, 1], title=f"{('label', 'prediction')[row]} {digit}")
            beside.imshow(images[digit].cpu().numpy(), cmap="gray")
            beside.set(xticks=[], yticks=[])
    return figure
