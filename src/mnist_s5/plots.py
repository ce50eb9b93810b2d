"""The figures that are made of digits: galleries, one digit as numbers, which is read as which."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .loaders import DeviceLoader, source_of
from .picture import TALL, WIDE, Picture, new_picture


def gallery(
    images: Tensor | Sequence[Tensor],
    captions: Sequence[str],
    title: str,
    *,
    columns: int = 6,
    source: str = "mnist",
    size: tuple[float, float] = WIDE,
    signed: bool = False,
    limits: tuple[float, float] | None = None,
) -> Picture:
    """Images [H, W] (or [1, H, W]), each below its caption; signed: white is zero, orange above it, purple below.

    limits: what is white and what is black; bytes have 0 and 255, all else its own lowest and highest value.
    """
    rows, largest = -(-len(images) // columns), max(max(image.shape[-2:]) for image in images)
    shown = ", ".join(caption.replace("\n", " ") for caption in captions)
    shape = f"{rows} rows" if rows > 1 else "1 row"
    picture = new_picture(title, f"{len(images)} images in {shape} of {columns}: {shown}", source, size)
    for image, caption, axes in zip(images, captions, picture.subplots(rows, columns, squeeze=False).flat):
        pixels = image.reshape(image.shape[-2:]).float().cpu().numpy()
        shades: dict[str, Any] = {"cmap": "gray_r"}
        if limits or image.dtype == torch.uint8:
            shades["vmin"], shades["vmax"] = limits or (0, 255)
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
            column, row, str(value), ha="center", va="center", fontsize=6.5, color="white" if value > 183 else "black"
        )
    axes.set(xlabel="column", ylabel="row")
    return picture


def confusion_matrix(labels: Tensor, predicted: Tensor, source: str = "mnist") -> Picture:
    """How often each label (row) got each answer (column); colour marks mistakes alone."""
    counts = torch.bincount(labels * 10 + predicted, minlength=100).view(10, 10)
    wrong = counts - counts.diag().diag()
    worst = divmod(int(wrong.argmax()), 10)
    alt = f"{int(wrong.sum())} of {len(labels)} are wrong"
    if wrong.any():
        alt += f"; most often a {worst[0]} is read as a {worst[1]} ({int(wrong.max())} times)"
    picture = new_picture("Which digit is read as which", alt, source, TALL)
    axes = picture.subplots()
    axes.imshow(
        wrong.double().where(wrong > 0, math.nan).numpy(), cmap="Oranges", vmin=0, vmax=1.5 * int(wrong.max()) or 1
    )
    for row, column in np.ndindex(10, 10):
        if counts[row, column]:
            axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", fontsize=9)
    axes.set(xlabel="answer", ylabel="label", xticks=range(10), yticks=range(10))
    return picture
