"""One way to find the digits in a picture: which shapes are which digit, by their distance to the training digits."""

from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .distance import distance_to_digits
from .prepare import to_mnist
from .read import ImageError
from .shapes import THIN, Shape, group_shapes, merge, reading_order
from .strokes import MIN_CONTRAST, STROKE, faint_strokes, peak_of

# All limits were chosen on pictures of training digits (benchmarks/render.py).
EDGE = 0.15  # width of what may be the edge of a sheet, at most, relative to its height
MAX_SPANNING = 8  # shapes that reach opposite edges, and are examined one by one
REST = 0.1  # part of the strokes that may be outside of the digits, if nothing else is looked for
WIDE = 1.2  # width of a digit, relative to its height. Few training digits are wider.
JOIN_GAP = 0.1  # distance between two parts of one digit, relative to its height
BROKEN = 1.25  # doubt of a broken digit, at most, relative to its parts
LINE_WIDTH = 0.33  # width of what is a printed line and not a 1, at most, relative to the strokes of other digits
LINE_LENGTH = 25  # height of what is a printed line and not a 1, at least, relative to its width


@dataclass(eq=False)
class Candidate:
    """A shape that may be a digit, as an image in MNIST's format, and how unlike a digit it is: 1 is the limit."""

    shape: Shape
    image: Tensor
    doubt: float

    @property
    def near(self) -> bool:
        return self.doubt <= 1

    @property
    def left_out(self) -> bool:
        """Whether it is rather not a digit. A digit that is cut off at the edge is less like the training digits."""
        if self.shape.small:
            return self.doubt > (0.7 if self.shape.at_edge else 1)
        return self.shape.at_edge and self.doubt > 2


def _factor(shape: Shape) -> float:
    """Return by how much the size and place of a shape increase the doubt."""
    if shape.spans:
        return 9.0
    return 1 + 0.5 * (shape.small or shape.at_edge) + 2 * max(0.0, shape.width / shape.height - WIDE)


class Reading:
    """The digits that are found in one way.

    Args:
        how: The way, in words.
        contrast: Of each pixel with the background, float [H, W].
        page: The page, bool [H, W].
        name: Of the picture, for messages.
        faint: Whether some digits may be much fainter than others.

    Attributes:
        digits: In reading order.
        missed: How many shapes are as large as digits, but are not among them.
        turns: By how many counterclockwise quarter turns the picture was turned before.
    """

    def __init__(self, how: str, contrast: np.ndarray, page: np.ndarray, name: str, *, faint: bool = False) -> None:
        self.how, self.contrast, self.page, self.name, self.peak = how, contrast, page, name, peak_of(contrast)
        self.mask = faint_strokes(contrast, self.peak) if faint else contrast > STROKE * self.peak
        self.mask &= self.peak >= MIN_CONTRAST
        self.shapes = group_shapes(self.mask, page, name) if self.mask.any() else []
        self.digits: list[Candidate] = []
        self.missed = self.turns = 0

    def box(self, digit: Candidate) -> tuple[int, int, int, int]:
        """Return the top, left, bottom, and right edge of a digit, before the picture was turned."""
        (top, left, bottom, right), sides = digit.shape.box, self.page.shape
        for turn in range(self.turns):
            width = sides[turn % 2]  # before this turn
            top, left, bottom, right = left, width - bottom, right, width - top
        return top, left, bottom, right

    def solve(self) -> "Reading":
        """Choose which shapes are digits. Some are cut, some are joined, and some are left out."""
        pattern = sum(shape.spans for shape in self.shapes) > MAX_SPANNING  # its shapes would take long
        shapes = [shape for shape in self.shapes if not (pattern and shape.spans)]
        candidates = self._broken(self._without_lines(self._join(self._split(self.judge(shapes)))))
        doubtful = [each for each in candidates if each.left_out]
        found = {each.shape: each for each in candidates if each not in doubtful}
        self.digits = [found[shape] for shape in reading_order([*found])]
        tallest = max((shape.height for shape in found), default=0)
        self.missed = sum(each.shape.spans or each.shape.height > 0.5 * tallest for each in doubtful)
        self.missed += len(self.shapes) - len(shapes)
        return self

    def faint(self) -> "Reading":
        """Return a reading of the same contrast in which digits may be much fainter than others."""
        return Reading("faint strokes", self.contrast, self.page, self.name, faint=True).solve()

    def rest(self) -> "Reading | None":
        """Return a reading of what is not among the digits, or None if that is little, or at the edge."""
        mask = self.mask.copy()
        for digit in self.digits:  # their small parts may belong to others
            largest = max(digit.shape.parts or (digit.shape,), key=lambda shape: shape.area)
            largest.of(mask)[largest.mask] = False
        if mask.sum() <= REST * self.mask.sum():
            return None
        rest = np.where(self.mask & ~mask, 0, self.contrast)
        found = Reading("what is left", rest, self.page, self.name).solve()
        height, width = mask.shape
        boxes = [digit.shape.box for digit in found.digits]  # printed bars reach the edge
        inside = all(min(box[:2]) > 2 and box[2] < height - 2 and box[3] < width - 2 for box in boxes)
        return found if inside else None

    @property
    def overlooks(self) -> bool:
        """Whether there are faint shapes that are as tall as the digits, but not among them."""
        from scipy import ndimage

        tallest = max((digit.shape.height for digit in self.digits), default=0)
        labels, _ = ndimage.label(faint_strokes(self.contrast, self.peak), np.ones((3, 3)))
        used = np.zeros(labels.shape, bool)
        for digit in self.digits:
            digit.shape.of(used)[:] |= digit.shape.mask
        for label, box in enumerate(ndimage.find_objects(labels), 1):
            shape = labels[box] == label
            height, width = shape.shape
            touches = any(side.start == 0 or side.stop == size for side, size in zip(box, labels.shape, strict=True))
            as_tall = 0.5 * tallest < height < 1.5 * tallest and width > EDGE * height
            part = used[box][shape].mean()  # 0 for a frame around a digit
            if as_tall and not touches and (0 < part < 0.5 or not used[box].any()):
                return True
        return False

    def as_one(self) -> "Reading":
        """Return a reading in which all strokes are one broken digit, if the few shapes together look like one."""
        border = self.mask[[0, -1]].any() or self.mask[:, [0, -1]].any()  # of the picture, which printed lines reach
        few = 0 < len(self.shapes) < 5 and not border
        everything = Shape(self.mask, 0, 0).where(self.mask)
        whole = copy(self)
        whole.how, whole.missed = "one broken digit", 0
        whole.digits = [each for each in self.judge([everything] if few and everything else []) if each.near]
        return whole

    def unchanged(self, scale: float) -> "Reading":
        """Return a reading in which a picture that is in MNIST's format already is one digit, as it is.

        Args:
            scale: How many pixels of the picture each pixel of `contrast` is wide.
        """
        same = copy(self)
        same.how, same.missed, same.digits = "MNIST's format", 0, []
        step = max(1, round(1 / scale))
        image = torch.from_numpy((255 * self.contrast[::step, ::step]).round().astype(np.uint8))
        everything = Shape(self.mask, 0, 0).where(self.mask)
        if image.shape != (28, 28) or not everything or max(everything.mask.shape) > 20 * step:
            return same
        weights = image.double() / image.sum()
        center = torch.stack([(weights.sum(axis) * torch.arange(28)).sum() for axis in (1, 0)])
        if (center - 14).abs().max() < 1:
            same.digits = [Candidate(everything, image, float(distance_to_digits(image[None])))]
        return same

    @property
    def score(self) -> float:
        """The number of digits, less their doubts. A digit that is unlike the training digits counts less than none."""
        return sum(1 - min(each.doubt, 1.5) for each in self.digits)

    @property
    def clear(self) -> bool:
        """Whether no other way needs to be tried."""
        far = sum(not each.near for each in self.digits)
        return len(self.digits) > 10 * (far + self.missed)

    def judge(self, shapes: list[Shape]) -> list[Candidate]:
        """Convert shapes to MNIST's format, and measure their distances. Solid areas are left out."""
        images: dict[Shape, Tensor] = {}
        for shape in shapes:
            if shape.is_board:
                continue
            try:
                images[shape] = self.image(shape)
            except ImageError:  # a solid area
                continue
        distances = distance_to_digits(torch.stack([*images.values()])).tolist() if images else []
        return [
            Candidate(shape, image, distance * _factor(shape))
            for (shape, image), distance in zip(images.items(), distances, strict=True)
        ]

    def image(self, shape: Shape) -> Tensor:
        """Return the strokes of a shape in MNIST's format: uint8 [28, 28]."""
        from scipy import ndimage

        around = max(2, shape.height // 20)
        mask = np.pad(shape.mask, around)
        top, left = shape.top - around, shape.left - around
        inside = np.s_[max(0, -top) :, max(0, -left) :]
        contrast = self.contrast[max(0, top) : top + len(mask), max(0, left) : left + mask.shape[1]]
        mask = mask[inside][: contrast.shape[0], : contrast.shape[1]]
        edges = ndimage.binary_dilation(mask, iterations=max(1, around // 2))
        return to_mnist(np.where(edges, contrast, 0) / np.quantile(contrast[mask], 0.8))

    def _split(self, candidates: list[Candidate]) -> list[Candidate]:
        """Separate a candidate that is unlike a digit, if its parts are like digits, or if it is two digits."""
        found = []
        for each in candidates:
            tall = [part for part in each.shape.parts if part.height > 0.25 * each.shape.height]
            parts = self.judge(tall) if len(tall) > 1 else []
            if not parts or max(part.doubt for part in parts) > min(1, 0.7 * each.doubt):
                parts = self._cut(each)
            found += parts or [each]
        return found

    def _cut(self, candidate: Candidate) -> list[Candidate]:
        """Cut two digits that touch each other, at the best of several straight lines, or return nothing."""
        shape, far = candidate.shape, candidate.doubt > 1.3
        aspect = shape.width / shape.height
        likely = (aspect > 0.7 and far) or (aspect > WIDE and candidate.doubt > 0.35)
        if not likely or aspect > 2.5 or shape.at_edge or shape.spans or shape.small:
            return []
        rows, columns = np.indices(shape.mask.shape)
        pairs: list[tuple[Shape, Shape]] = []
        for slant in (0.0, 0.25, -0.25):
            x: np.ndarray = (columns + slant * (rows - shape.height / 2)).astype(int)
            counts = np.bincount(x[shape.mask].clip(0), minlength=shape.width)
            middle = range(round(0.25 * shape.width), round(0.75 * shape.width))
            for at in sorted(middle, key=lambda at: counts[at])[:: max(1, shape.width // 12)][:4]:
                left, right = shape.where(x <= at), shape.where(x > at)
                crossed = np.flatnonzero((shape.mask & (x == at)).any(axis=1))
                once = not (np.diff(crossed) > 2).any()  # a line through a 0 crosses its stroke twice
                if once and left and right and min(left.height, right.height) > 0.5 * shape.height:
                    pairs.append((left, right))
        judged = {each.shape: each for each in self.judge([half for pair in pairs for half in pair])}
        both = [[judged[half] for half in pair] for pair in pairs if judged.keys() >= {*pair}]
        best = min(both, key=lambda pair: max(each.doubt for each in pair), default=[])
        limit = 0.6 if far else 0.35
        return best if best and max(each.doubt for each in best) < limit else []

    def _join(self, candidates: list[Candidate]) -> list[Candidate]:
        """Join two parts side by side, if they are much more like one digit than each of them."""
        joined: list[Candidate] = []
        for each in sorted(candidates, key=lambda each: each.shape.left):
            for other in [other for other in joined if _adjacent(other.shape, each.shape)]:
                limit = min(0.7, 0.5 * max(other.doubt, each.doubt))
                if both := [one for one in self.judge([merge([other.shape, each.shape])]) if one.doubt < limit]:
                    joined[joined.index(other)] = both[0]
                    break
            else:
                joined.append(each)
        return joined

    def _broken(self, candidates: list[Candidate]) -> list[Candidate]:
        """Take two candidates for one broken digit, if nothing else is there, and they are hardly more like digits."""
        worst = max((each.doubt for each in candidates), default=0)
        if len(candidates) != 2 or worst < 0.6:
            return candidates
        first, second = (np.array(each.shape.box) for each in candidates)
        gap = (np.maximum(first, second)[:2] - np.minimum(first, second)[2:]).max()
        if gap > JOIN_GAP * max(each.shape.height for each in candidates):
            return candidates
        whole = self.judge([merge([each.shape for each in candidates])])
        return whole if whole and whole[0].doubt < min(1, BROKEN * worst) else candidates

    def _without_lines(self, candidates: list[Candidate]) -> list[Candidate]:
        """Leave out straight lines that are much thinner than the strokes of the other candidates, or much longer."""
        from scipy import ndimage

        thin = np.array([each.shape.width < THIN * each.shape.height for each in candidates], bool)
        if not thin.any() or thin.all():
            return candidates
        inside = [ndimage.distance_transform_edt(np.pad(each.shape.mask, 1)) for each in candidates]
        widths = np.array([distance[distance > 0].mean() - 0.5 for distance in inside])
        long = np.array([each.shape.height > LINE_LENGTH * each.shape.width for each in candidates])
        keep = ~thin | ((widths > LINE_WIDTH * np.median(widths[~thin])) & ~long)
        return [each for each, kept in zip(candidates, keep, strict=True) if kept]


def _adjacent(left: Shape, right: Shape) -> bool:
    """Return whether two shapes are closely beside each other."""
    gap = right.left - left.box[3]
    overlap = min(left.box[2], right.box[2]) - max(left.top, right.top)
    beside = -0.5 * min(left.width, right.width) < gap < JOIN_GAP * max(left.height, right.height)
    close = beside and left.at_edge == right.at_edge
    return close and overlap > 0.4 * min(left.height, right.height)
