"""Which connected shapes are the parts of which digit, and in which order the digits are read."""

from typing import Any

import numpy as np

from .read import ImageError

MAX_SHAPES = 300  # shapes in a picture


def _groups(linked: np.ndarray) -> list[np.ndarray]:
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


def _shapes(labels: np.ndarray, page: np.ndarray, name: str) -> list[Any]:
    """Return the regions without specks, boxes around something, and what touches the edge of the page.

    If nothing large remains, what touches the edge is returned, too.
    """
    from scipy import ndimage
    from skimage.measure import regionprops

    regions = sorted(regionprops(labels), key=lambda region: region.area)
    regions = [region for region in regions if region.area > 0.01 * regions[-1].area]
    if len(regions) > MAX_SHAPES:
        raise ImageError(f"{name} shows more than {MAX_SHAPES} shapes. Crop it into several pictures.")

    def surrounds(outer: Any, inner: Any) -> bool:
        top, left, bottom, right = np.subtract(inner.bbox, outer.bbox[:2] * 2)
        height, width = outer.image.shape
        inside = top > 0 and left > 0 and bottom < height and right < width
        return inside and bottom - top > 0.15 * height and bool(outer.image_filled[top:bottom, left:right].all())

    regions = [outer for outer in regions if not any(surrounds(outer, inner) for inner in regions)]
    cut_off = np.unique(labels[ndimage.binary_dilation(~np.pad(page, 1), iterations=2)[1:-1, 1:-1]])
    kept = [region for region in regions if region.label not in cut_off]
    # A digit that fills the picture touches its edges, too.
    return kept if kept and 3 * kept[-1].area > regions[-1].area else regions


def group_shapes(labels: np.ndarray, page: np.ndarray, name: str) -> list[list[int]]:
    """Return the numbers of the regions of each digit, in reading order. `labels` has the region of each pixel."""
    shapes = _shapes(labels, page, name)
    boxes = np.array([shape.bbox for shape in shapes]).reshape(-1, 4)
    (height, width), area = (boxes[:, 2:] - boxes[:, :2]).T, np.array([shape.area for shape in shapes])
    tall = height > 0.3 * width
    if not tall.any():
        return []
    tallest, largest = height[tall].max(), area[tall].max()
    y, x = _overlaps(boxes)
    whole = tall & (height > 0.45 * tallest) & (area > 0.1 * largest)
    # A digit may have parts on top of each other, and small parts at its side.
    stacked = (x > 0.4 * np.minimum.outer(width, width)) & (y > -0.2 * tallest)
    linked = stacked & (np.add.outer(height, height) - y < 1.5 * tallest) & np.logical_and.outer(whole, whole)
    gap = np.where(area > area[:, None], np.maximum(-x, -y), np.inf)
    part = ~whole & (area > 0.02 * largest) & (gap.min(axis=1) < 0.15 * tallest)
    linked[part, gap.argmin(axis=1)[part]] = True
    groups = [group for group in _groups(linked) if area[group].sum() > 0.1 * largest]
    boxes = np.array([[*boxes[group, :2].min(axis=0), *boxes[group, 2:].max(axis=0)] for group in groups])
    height = boxes[:, 2] - boxes[:, 0]
    y, x = _overlaps(boxes)
    lower = np.minimum.outer(height, height)
    same_row = (y > 0.4 * lower) & ((x > -5 * tallest) | (y > 0.7 * lower))
    rows = sorted(_groups(same_row), key=lambda row: float(boxes[row][:, [0, 2]].mean()))
    return [
        [shapes[index].label for index in groups[digit]]
        for row in rows
        for digit in row[np.argsort(boxes[row, 1])]
        if height[digit] > 0.45 * tallest
    ]
