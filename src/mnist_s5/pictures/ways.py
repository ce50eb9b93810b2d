"""The ways to find the digits in a picture, which are tried one after the other: pages, lines, and turns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from .distance import gain_of_turning
from .lines import remove_lines, remove_thin
from .page import find_page
from .read import ImageError, Picture, open_picture
from .reading import Reading
from .strokes import MIN_CONTRAST, STROKE, contrast_of, even_contrast, peak_of

SMALL_HEIGHT, CLEAR_HEIGHT = 24, 36  # pixels: digits that are smaller become this high, if the picture is large enough
MAX_DETAIL = 3.0  # times the usual number of pixels per side, at most. Chosen so that a page takes a few seconds.
# By how much all digits on a page together become more like training digits by a turn (`gain_of_turning`), and their
# number, at least. Of random groups of three among 5,000 training digits, fewer than 0.1% would be turned.
TURNED, TURNED_DIGITS = 0.6, 3


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


def _quarter_turns(reading: Reading) -> int:
    """Return after how many counterclockwise quarter turns the digits are more like the training digits: 0 to 3."""
    some = reading.digits[:: len(reading.digits) // 20 + 1]  # 20 are enough
    if len(some) < TURNED_DIGITS:
        return 0
    gain, turns = gain_of_turning(torch.stack([each.image for each in some])).sum(dim=1).max(dim=0)
    return int(turns) + 1 if gain >= TURNED else 0


def _turned(reading: Reading, rgb: np.ndarray, name: str, scale: float, turns: int) -> list[Reading]:
    """Return all readings of the turned picture, or none if it does not show more digits that are like digits."""
    try:
        tried = _tried(rgb, name, scale, turns)
    except ImageError:
        return []
    best = best_of(tried)
    return tried if len(best.digits) >= TURNED_DIGITS and best.score > reading.score else []


def _tried(rgb: np.ndarray, name: str, scale: float, turns: int = 0) -> list[Reading]:
    """Return all readings, after counterclockwise quarter turns, until one is clear.

    If the page that was found shows no digit, others are tried. Without turns, the picture is turned if necessary.
    """
    rgb, rejected = np.rot90(rgb, turns), {0}
    tried: list[Reading] = []
    for where in _pages(rgb):
        try:
            for reading in _readings(rgb, where, name, scale):
                tried.append(reading)
                if not turns and (better := _quarter_turns(reading)) not in rejected:
                    rejected.add(better)
                    if upright := _turned(reading, rgb, name, scale, better):
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
        tried = _tried(rgb, name, scale, tried[0].turns)
    return tried, scale
