"""Find the handwritten digits in a picture."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .distance import gain_of_turning
from .lines import remove_lines, remove_thin
from .own import save_digit
from .page import find_page
from .read import ImageError, Picture, open_picture
from .reading import Reading
from .strokes import MIN_CONTRAST, STROKE, contrast_of, even_contrast, peak_of

SMALL_HEIGHT, CLEAR_HEIGHT = 24, 36  # pixels: digits that are smaller become this high, if the picture is large enough
MAX_DETAIL = 3.0  # times the usual number of pixels per side, at most. Chosen so that a page takes a few seconds.
# By how much digits become more like training digits when they are turned (`gain_of_turning`), at least. Chosen on 5,000
# training digits: 0.1% of the upright ones would become "not sure", and fewer than 0.1% of groups of three be turned.
ON_ITS_SIDE = 0.35  # a digit, by a quarter turn
TURNED, TURNED_DIGITS = 0.6, 3  # all digits on a page together, and their number
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


def _readings(rgb: np.ndarray, page: np.ndarray, name: str, scale: float) -> Iterator[Reading]:
    """Yield ways to find the digits on a page, the simplest first."""
    from scipy import ndimage

    even = even_contrast(rgb) if page.all() else None
    if even is not None:
        simple = Reading("even background", even, page, name)
        same = simple.unchanged(scale)
        if same.clear:
            yield same
        simple.solve()
        whole = simple.as_one()
        better = len(simple.digits) == 1 and whole.digits and whole.score > simple.score
        yield from (whole, simple) if better else (simple, whole)
    if not page.all():  # continue the light and the shadows of the page around it
        rgb = rgb[tuple(ndimage.distance_transform_edt(~page, return_distances=False, return_indices=True))]
    contrast = np.where(page, contrast_of(rgb), 0)
    local = Reading("local background", contrast, page, name).solve()
    yield local
    for each in (contrast, even):
        if each is not None and (peak := peak_of(each)) >= MIN_CONTRAST:
            without = remove_lines(each, page, STROKE * peak)
            if not np.array_equal(without, each):
                yield Reading("without lines", without, page, name).solve()
    yield Reading("all colors alike", np.where(page, contrast_of(rgb, together=True), 0), page, name).solve()
    faint = local.faint()
    yield faint
    if faint.digits and not any(shape.spans for shape in faint.shapes):
        return
    bold = Reading("bold strokes", remove_thin(contrast, STROKE * local.peak), page, name).solve()
    if bold.score > faint.score:
        yield bold


def _pages(rgb: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what may be the page, bool [H, W]: a bright sheet on a table, the whole picture, or a dark board."""
    page = find_page(rgb)
    yield page
    if not page.all():
        yield np.ones_like(page)
    if not (board := find_page(255 - rgb)).all():
        yield board


def _turned(reading: Reading, rgb: np.ndarray, name: str, scale: float) -> list[Reading]:
    """Return all readings of the turned picture, or none if its digits are not more like the training digits."""
    some = reading.digits[:: len(reading.digits) // 20 + 1]  # 20 are enough
    if len(some) < TURNED_DIGITS:
        return []
    gain, turns = gain_of_turning(torch.stack([each.image for each in some])).sum(dim=1).max(dim=0)
    if gain < TURNED:
        return []
    try:
        tried = _tried(np.rot90(rgb, int(turns) + 1), name, scale, int(turns) + 1)
    except ImageError:
        return []
    best = best_of(tried)
    return tried if len(best.digits) >= TURNED_DIGITS and best.score > reading.score else []


def _tried(rgb: np.ndarray, name: str, scale: float, turns: int = 0) -> list[Reading]:
    """Return all readings until one is clear. If the page that was found shows no digit, try others.

    Args:
        rgb: The picture, which was turned by quarter turns counterclockwise if `turns` is not 0.
    """
    tried: list[Reading] = []
    for where in _pages(rgb):
        try:
            for reading in _readings(rgb, where, name, scale):
                tried.append(reading)
                if not turns and (upright := _turned(reading, rgb, name, scale)):
                    return upright
                if reading.clear:
                    rest = reading.rest()
                    if rest and rest.clear and rest.score > reading.score + 0.5:
                        tried.append(rest)
                    elif reading.overlooks:
                        tried.append(reading.faint())
                    break
        except ImageError:  # there are too many shapes
            if not any(reading.digits for reading in tried):
                raise
        if max(reading.score for reading in tried) > 0:
            break
    for reading in tried:
        reading.turns = turns
    return tried


def best_of(tried: list[Reading]) -> Reading:
    """Return the reading to use: the one that is clear, or else the first of those with the highest score."""
    best, last = max(tried, key=lambda reading: reading.score), tried[-1]
    return last if last.clear and last.score > 0.5 * best.score else best


def readings(picture: Picture) -> tuple[list[Reading], float]:
    """Return the ways that `find_digits` tries for a picture, and how many pixels of the picture each pixel is wide.

    It uses the one that is clear, or else the one with the highest score. If the digits are on their side or upside
    down, the picture is turned. If digits are small in a large picture, as on a whole page, it is read again with more
    pixels.

    Raises:
        ImageError: See `find_digits`.
    """
    name = str(picture) if isinstance(picture, str | Path) else "The picture"
    rgb, scale = open_picture(picture, name)
    tried = _tried(rgb, name, scale)
    heights = [each.shape.height for each in best_of(tried).digits]
    height = float(np.median(heights)) if heights else CLEAR_HEIGHT
    if height < SMALL_HEIGHT and scale > 1:
        rgb, scale = open_picture(picture, name, min(CLEAR_HEIGHT / height, scale, MAX_DETAIL))
        tried = _tried(np.rot90(rgb, tried[0].turns), name, scale, tried[0].turns)
    return tried, scale


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
    tried, scale = readings(picture)
    seen = [reading for reading in tried if reading.digits]
    if not seen and max(reading.peak for reading in tried) < MIN_CONTRAST:
        raise ImageError(f"{name} shows no digit: it is nearly uniform. Use dark strokes on a light background.")
    if not seen:
        raise ImageError(f"{name} shows no digit. Write larger, or crop the picture to the digits.")
    best, found = best_of(seen), []
    if best.turns:
        side = "upside down" if best.turns == 2 else "on its side"
        said = f"{name} is {side}. It is read after a turn by {90 * best.turns}° counterclockwise."
        print(f"NOTICE: {said}", file=sys.stderr)
    turned = gain_of_turning(torch.stack([each.image for each in best.digits]))[[0, 2]].amax(dim=0) > ON_ITS_SIDE
    for each, on_its_side in zip(best.digits, turned.tolist(), strict=True):
        top, left, bottom, right = (round(side * scale) for side in best.box(each))
        found.append(FoundDigit(each.image, (left, top, right, bottom), doubt=each.doubt + on_its_side))
    return found
