"""Find the handwritten digits in a picture."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import ways
from .distance import gain_of_turning
from .own import save_digit
from .read import ImageError, Picture
from .strokes import MIN_CONTRAST

# By how much a digit on its side becomes more like a training digit by a quarter turn (`gain_of_turning`), at least. Of
# 5,000 training digits, which are upright, 0.1% exceed it.
ON_ITS_SIDE = 0.35
CONFIDENT = 0.9  # probability from which a digit counts as recognized


@dataclass
class FoundDigit:
    """A digit in a picture.

    Attributes:
        image: The digit in MNIST's format, uint8 [28, 28], 0 for background.
        box: Left, top, right, and bottom edge, in pixels of the picture (a photo is turned as its EXIF data says).
        probabilities: Of each class, float [10], after `classify`.
        doubt: How unlike the training digits it is: the distance to the nearest of them (see `distance_to_digits`),
            increased if the digit is small beside others, cut off, unusually wide, or on its side. 1 is the limit.
    """

    image: Tensor
    box: tuple[int, int, int, int]
    probabilities: Tensor = field(default_factory=lambda: torch.full((10,), 0.1))
    doubt: float = 0.0

    @property
    def label(self) -> int:
        """The most likely class."""
        return int(self.probabilities.argmax())

    @property
    def sure(self) -> bool:
        """Whether the most likely class is likely enough, and the image is like the training digits."""
        return float(self.probabilities.max()) >= CONFIDENT and self.doubt <= 1

    def __str__(self) -> str:
        (p, second), (label, other) = (values.tolist() for values in self.probabilities.topk(2))
        if self.sure:
            return f"{label} ({p:.1%})"
        if p >= CONFIDENT:
            return f"not sure: {label} ({p:.1%}), but unlike the training digits"
        return f"not sure: {label} ({p:.1%}) or {other} ({second:.1%})"

    def as_dict(self) -> dict[str, Any]:
        """Return everything except the image, for JSON."""
        probabilities = [round(p, 4) for p in self.probabilities.tolist()]
        facts = {"label": self.label, "sure": self.sure, "box": self.box, "doubt": round(self.doubt, 2)}
        return facts | {"probabilities": probabilities}

    def save(self, label: int, folder: str | Path = "") -> Path:
        """Add the digit to a folder of your own digits. See `save_digit`."""
        return save_digit(self.image, label, folder)


def find_digits(picture: Picture) -> list[FoundDigit]:
    """Find the digits in a picture, row by row.

    There are several ways to tell strokes from what else is in a picture, such as printed lines. The simplest one
    whose digits are like the training digits is used (see `distance_to_digits`), or else the best. Three or more digits
    that are on their side or upside down are turned, with a notice, before they are read.

    Args:
        picture: A file, its bytes, a Pillow image, or an array (uint8 [H, W], [H, W, 3], or [H, W, 4]). The strokes may
            be dark or light, the light uneven, and the paper lined.

    Raises:
        ImageError: If the picture cannot be read, is too large, is blank, or shows no digit.
    """
    name = str(picture) if isinstance(picture, str | Path) else "The picture"
    tried, scale = ways.readings(picture)
    seen = [reading for reading in tried if reading.digits]
    if not seen and max(reading.peak for reading in tried) < MIN_CONTRAST:
        raise ImageError(f"{name} shows no digit: it is nearly uniform. Use dark strokes on a light background.")
    if not seen:
        raise ImageError(f"{name} shows no digit. Write larger, or crop the picture to the digits.")
    best, found = ways.best_of(seen), []
    if best.turns:
        side = "upside down" if best.turns == 2 else "on its side"
        said = f"{name} is {side}. It is read after a turn by {90 * best.turns}° counterclockwise."
        print(f"NOTICE: {said}", file=sys.stderr)
    turned = gain_of_turning(torch.stack([each.image for each in best.digits]))[[0, 2]].amax(dim=0) > ON_ITS_SIDE
    for each, on_its_side in zip(best.digits, turned.tolist(), strict=True):
        top, left, bottom, right = (round(side * scale) for side in best.box(each))
        found.append(FoundDigit(each.image, (left, top, right, bottom), doubt=each.doubt + on_its_side))
    return found
