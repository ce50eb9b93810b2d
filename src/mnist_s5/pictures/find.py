"""Find the handwritten digits in a picture."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .lines import remove_lines
from .own import save_digit
from .page import find_page
from .prepare import to_mnist
from .read import ImageError, Picture, open_picture
from .shapes import group_shapes
from .strokes import contrast_of

SMALL = 64  # a picture with at most this number of pixels per side shows one digit on an even background
MIN_CONTRAST = 0.12  # of the strokes in a picture that is not blank; 1 is black on white
CONFIDENT = 0.9  # probability from which a digit counts as recognized


@dataclass
class FoundDigit:
    """A digit in a picture.

    Attributes:
        image: The digit in MNIST's format, uint8 [28, 28], 0 for background.
        box: Left, top, right, and bottom edge, in pixels of the upright picture.
        probabilities: Of each class, float [10], after `classify`.
    """

    image: Tensor
    box: tuple[int, int, int, int]
    probabilities: Tensor = field(default_factory=lambda: torch.full((10,), 0.1))

    @property
    def label(self) -> int:
        """The most likely class."""
        return int(self.probabilities.argmax())

    @property
    def sure(self) -> bool:
        """Whether the most likely class is likely enough."""
        return float(self.probabilities.max()) >= CONFIDENT

    def __str__(self) -> str:
        (p, second), (label, other) = (values.tolist() for values in self.probabilities.topk(2))
        return f"{label} ({p:.1%})" if self.sure else f"not sure: {label} ({p:.1%}) or {other} ({second:.1%})"

    def as_dict(self) -> dict[str, Any]:
        """Return everything except the image, for JSON."""
        probabilities = [round(p, 4) for p in self.probabilities.tolist()]
        return {"label": self.label, "sure": self.sure, "box": self.box, "probabilities": probabilities}

    def save(self, label: int, folder: str | Path = "") -> Path:
        """Add the digit to a folder of your own digits. See `save_digit`."""
        return save_digit(self.image, label, folder)


def _one_digit(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same as `_all_digits`. All strokes on the even background belong to one digit."""
    gray = rgb.mean(axis=2)
    contrast = abs(gray - np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]]))) / 255
    peak = contrast.max()
    return contrast, ((contrast > 0.3 * peak) & (peak > MIN_CONTRAST)).astype(int)


def _all_digits(rgb: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the contrast with the background, without lines, float [H, W], and the digit of each pixel, int [H, W].

    The digits are numbered from 1 in reading order. Pixels of no digit have 0.
    """
    from scipy import ndimage

    page = find_page(rgb)
    if not page.all():  # continue the light and the shadows of the page around it
        rgb = rgb[tuple(ndimage.distance_transform_edt(~page, return_distances=False, return_indices=True))]
    contrast = np.where(page, contrast_of(rgb), 0)
    peak = float(np.quantile(contrast, 1 - 60 / contrast.size))  # a digit has more pixels
    if peak < MIN_CONTRAST:
        return contrast.clip(max=peak), np.zeros(contrast.shape, int)
    contrast = remove_lines(contrast, page, 0.3 * peak)
    regions, count = ndimage.label(contrast > 0.3 * peak, np.ones((3, 3)))
    digit_of = np.zeros(count + 1, int)
    for number, parts in enumerate(group_shapes(regions, page, name), start=1):
        digit_of[parts] = number
    return contrast, digit_of[regions]


def find_digits(picture: Picture) -> list[FoundDigit]:
    """Find the digits in a picture, row by row.

    Args:
        picture: A file, its bytes, a Pillow image, or an array (uint8 [H, W], [H, W, 3], or [H, W, 4]). The strokes may
            be dark or light, the light uneven, and the paper lined. Digits must not touch each other.

    Raises:
        ImageError: If the picture cannot be read, is too large, is blank, or shows no digit.
    """
    from scipy import ndimage

    name = str(picture) if isinstance(picture, str | Path) else "The picture"
    rgb, scale = open_picture(picture, name)
    small = max(rgb.shape) * scale <= SMALL
    contrast, digits = _one_digit(rgb) if small else _all_digits(rgb, name)
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(digits), start=1):
        around = max(2, (rows.stop - rows.start) // 20)
        part = tuple(slice(max(0, side.start - around), side.stop + around) for side in (rows, columns))
        mask = digits[part] == number
        edges = ndimage.binary_dilation(mask, iterations=max(1, around // 2))
        strokes = np.where(edges, contrast[part], 0) / np.quantile(contrast[part][mask], 0.8)
        edges_of = (columns.start, rows.start, columns.stop, rows.stop)
        left, top, right, bottom = (round(float(side) * scale) for side in edges_of)
        with suppress(ImageError):  # a solid area
            found.append(FoundDigit(to_mnist(strokes), (left, top, right, bottom)))
    if not found and contrast.max() < MIN_CONTRAST:
        raise ImageError(f"{name} shows no digit: it is nearly uniform. Use dark strokes on a light background.")
    if not found:
        raise ImageError(f"{name} shows no digit. Write larger, or crop the picture to the digits.")
    return found
