"""Which connected shapes are the parts of which digit, and in which order the digits are read."""

from dataclasses import dataclass, replace

import numpy as np

from .page import is_rectangle
from .read import ImageError

# All sizes were chosen on pictures of training digits (benchmarks/render.py).
FILLING = 10  # shapes that may fill a picture to its edges, at most
MAX_SHAPES = 3000  # in a picture. All pairs have to fit in memory.
SPECK = 0.01  # area of what is noise, at most, relative to the largest shape
WHOLE = 0.45  # height of a shape that is a digit by itself, relative to the tallest digit
LOWEST = 0.28  # height of a small digit beside larger ones, relative to the tallest digit
THINNEST = 0.02  # area of a thin digit beside bolder ones, relative to the largest digit
THIN = 0.35  # width of a 1, at most, relative to its height
NESTED = 0.15  # height of a shape in a frame, at least, relative to the frame
CLOSED = 0.8  # part of each side of a shape that a frame covers, at least
BOARD_WIDTH = 0.4  # width of a board, at least, relative to its height. Bold 1s are narrower.
BOARD_AREA = 0.3  # part of its box that a board covers, at least, at any angle, without what is written on it
BOARD_FILL = 0.93  # part of the smallest rectangle around a board that it fills, at least
PART_GAP = 0.15  # distance from a digit to its separate parts, relative to the tallest digit


@dataclass(eq=False)
class Shape:
    """One or more connected shapes that may be a digit.

    Attributes:
        mask: Its pixels in its box, bool [height, width].
        top, left: Where its box is, in pixels.
        parts: The connected shapes.
        at_edge: Whether it reaches the edge of the page, although others do not.
        spans: Whether it reaches opposite edges, or the edge in many places, as printed lines do.
        small: Whether it is much smaller than other shapes.
    """

    mask: np.ndarray
    top: int
    left: int
    parts: "tuple[Shape, ...]" = ()
    at_edge: bool = False
    spans: bool = False
    small: bool = False

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, and right edge."""
        return self.top, self.left, self.top + self.height, self.left + self.width

    @property
    def is_board(self) -> bool:
        """Whether it is a filled rectangle, such as a sheet or a board. Something may be written on it."""
        from scipy import ndimage

        solid = self.area > BOARD_AREA * self.mask.size and self.width > BOARD_WIDTH * self.height
        return solid and is_rectangle(ndimage.binary_fill_holes(self.mask), BOARD_FILL)

    def of(self, image: np.ndarray) -> np.ndarray:
        """Return the part of an image, [H, W], that is in its box."""
        top, left, bottom, right = self.box
        return image[top:bottom, left:right]

    def where(self, selected: np.ndarray) -> "Shape | None":
        """Return the pixels that are selected by a mask of its box, or None if there are none."""
        mask = self.mask & selected
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not rows.size:
            return None
        mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Shape(mask, self.top + int(rows[0]), self.left + int(columns[0]))


def merge(shapes: list[Shape]) -> Shape:
    """Return several shapes as one."""
    if len(shapes) == 1:
        return replace(shapes[0], parts=tuple(shapes))
    boxes = np.array([shape.box for shape in shapes])
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    whole = Shape(np.zeros((bottom - top, right - left), bool), top, left, tuple(shapes))
    for shape in shapes:
        y, x = shape.top - top, shape.left - left
        whole.mask[y : y + shape.height, x : x + shape.width] |= shape.mask
    at_edge, spans = any(shape.at_edge for shape in shapes), any(shape.spans for shape in shapes)
    return replace(whole, at_edge=at_edge, spans=spans)


def _components(linked: np.ndarray) -> list[np.ndarray]:
    """Return the indices of each connected component of a graph, bool [N, N]."""
    from scipy.sparse.csgraph import connected_components

    number, component = connected_components(linked)
    return [np.flatnonzero(component == which) for which in range(number)]


def _overlaps(boxes: np.ndarray) -> list[np.ndarray]:
    """Return by how much each pair of boxes, [N, 4], overlaps vertically and horizontally. Gaps are negative."""
    return [
        np.minimum.outer(stop, stop) - np.maximum.outer(start, start)
        for start, stop in (boxes[:, [0, 2]].T, boxes[:, [1, 3]].T)
    ]


def _connected(mask: np.ndarray, name: str) -> list[Shape]:
    """Return the connected shapes, from small to large, without specks and without boxes around something."""
    from scipy import ndimage
    from skimage.measure import regionprops

    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    regions = sorted(regionprops(labels), key=lambda region: region.area)
    regions = [region for region in regions if region.area > SPECK * regions[-1].area]
    if len(regions) > MAX_SHAPES:
        raise ImageError(f"{name} shows more than {MAX_SHAPES:,} shapes. Crop it into several pictures.")
    shapes = [Shape(region.image, int(region.bbox[0]), int(region.bbox[1])) for region in regions]
    large = [shape for shape in shapes if shape.area > 0.1 * shapes[-1].area]
    return [shape for shape in shapes if not _surrounds_any(shape, large)]


def _surrounds_any(outer: Shape, others: list[Shape]) -> bool:
    """Return whether a shape is a frame around at least one large shape. The frame may have gaps."""
    for inner in others:
        top, left, bottom, right = np.subtract(inner.box, (outer.top, outer.left) * 2)
        inside = top > 0 and left > 0 and bottom < outer.height and right < outer.width
        if inside and bottom - top > NESTED * outer.height:
            beside, below = outer.mask[top:bottom], outer.mask[:, left:right]
            sides = beside[:, :left].any(1), beside[:, right:].any(1), below[:top].any(0), below[bottom:].any(0)
            if min(side.mean() for side in sides) > CLOSED:
                return True
    return False


def group_shapes(mask: np.ndarray, page: np.ndarray, name: str) -> list[Shape]:
    """Return what may be digits, each with all its parts.

    Args:
        mask: The strokes, bool [H, W].
        page: The page, bool [H, W].
        name: Of the picture, for messages.
    """
    shapes = _connected(mask, name)
    boxes = np.array([shape.box for shape in shapes]).reshape(-1, 4)
    (height, width), area = (boxes[:, 2:] - boxes[:, :2]).T, np.array([shape.area for shape in shapes])
    upright = height > 0.3 * width
    if not upright.any():
        return []
    edges = _Edges(page)
    at_edge = np.array([bool((shape.of(edges.edge) & shape.mask).any()) for shape in shapes])
    # What touches the edge is measured only if nothing large is left: a digit may fill the picture.
    inner = upright & ~at_edge
    if not inner.any() and upright.sum() > FILLING:  # a pattern
        return []
    fills = not inner.any() or 3 * area[inner].max() < area.max()
    measured = upright if fills else inner
    tallest, largest = height[measured].max(), area[measured].max()
    y, x = _overlaps(boxes)
    whole = upright & (height > WHOLE * tallest) & (area > THINNEST * largest)
    # A digit may have parts on top of each other, and small parts at its side.
    stacked = (x > 0.4 * np.minimum.outer(width, width)) & (y > -0.2 * tallest) & np.equal.outer(at_edge, at_edge)
    linked = stacked & (np.add.outer(height, height) - y < 1.3 * tallest) & np.logical_and.outer(whole, whole)
    gap = np.where(area > area[:, None], np.maximum(-x, -y), np.inf)
    part = ~whole & (area > 0.02 * largest) & (gap.min(axis=1) < PART_GAP * tallest)
    linked[part, gap.argmin(axis=1)[part]] = True
    found = []
    for indices in _components(linked):
        group = merge([shapes[index] for index in indices])
        group.at_edge = bool(at_edge[indices].any()) and not fills
        group.small = bool(group.height < WHOLE * tallest or group.area < 0.1 * largest)
        group.spans = bool(at_edge[indices].any()) and edges.spans(group)
        # A thin small shape may be a 1, but is rather a part of a printed line.
        too_small = group.height < LOWEST * tallest or group.area < THINNEST * largest
        thin = group.height < WHOLE * tallest and group.width < THIN * group.height
        if not (too_small or thin or (group.at_edge and edges.runs_along(group))):
            found.append(group)
    return found


class _Edges:
    """The edges of a page, and how a shape touches them."""

    def __init__(self, page: np.ndarray) -> None:
        from scipy import ndimage

        beyond = ~np.pad(page, 1)
        margin = 2 + min(page.shape) // 40  # pixels
        self.margin = ndimage.binary_dilation(beyond, iterations=margin)[1:-1, 1:-1]
        # The edge of a sheet is not known exactly.
        self.edge = ndimage.binary_dilation(beyond, iterations=2)[1:-1, 1:-1] if page.all() else self.margin
        self.size = [np.ptp(np.flatnonzero(page.any(axis))) + 1 for axis in (1, 0)]

    def runs_along(self, shape: Shape) -> bool:
        """Return whether a shape is near the edge as a whole."""
        return bool((shape.mask & shape.of(self.margin)).sum() > 0.4 * shape.area)

    def spans(self, shape: Shape) -> bool:
        """Return whether a shape reaches opposite edges, touches them in many places, or is thin and at a side."""
        from scipy import ndimage

        covered = shape.height / self.size[0], shape.width / self.size[1]
        places = ndimage.label(shape.mask & shape.of(self.edge))[1]
        thin = shape.at_edge and shape.width < THIN * shape.height and covered[0] < 0.95
        return bool((max(covered) > 0.95 and min(covered) < 0.8) or places > 6 or thin)


def reading_order(shapes: list[Shape]) -> list[Shape]:
    """Return the shapes row by row."""
    boxes = np.array([shape.box for shape in shapes]).reshape(-1, 4)
    height = boxes[:, 2] - boxes[:, 0]
    y, x = _overlaps(boxes)
    lower = np.minimum.outer(height, height)
    same_row = (y > 0.4 * lower) & ((x > -5 * height.max(initial=0)) | (y > 0.7 * lower))
    rows = sorted(_components(same_row), key=lambda row: float(boxes[row][:, [0, 2]].mean()))
    return [shapes[digit] for row in rows for digit in row[np.argsort(boxes[row, 1])]]
