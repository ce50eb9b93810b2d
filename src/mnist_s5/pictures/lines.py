"""Remove printed lines, such as those of graph paper."""

import numpy as np


def _lines(strokes: np.ndarray, page: np.ndarray) -> list[tuple[float, float]]:
    """Return the straight lines that cross the whole page, as angle and distance: x cos + y sin = distance."""
    from scipy import ndimage
    from skimage.transform import hough_line, hough_line_peaks

    step = max(1, min(strokes.shape) // 200)
    small, page = ndimage.maximum_filter(strokes, step + 2)[::step, ::step], page[::step, ::step]
    angles = np.deg2rad(np.concatenate([np.arange(-90, -65, 0.5), np.arange(-25, 25, 0.5), np.arange(65, 90, 0.5)]))
    votes, _, distances = hough_line(small, angles)
    length, _, _ = hough_line(page, angles)
    coverage = np.where(length > 0.5 * min(page.shape), votes / np.maximum(length, 1), 0)
    peaks = hough_line_peaks(coverage, angles, distances, 3, 2, threshold=0.7, num_peaks=100)
    (rows, columns), near = np.nonzero(page), ndimage.maximum_filter(small, 3)
    found = []
    for _, angle, distance in zip(*peaks, strict=True):
        on = abs(columns * np.cos(angle) + rows * np.sin(angle) - distance) < 0.71
        along, marked = (rows * np.cos(angle) - columns * np.sin(angle))[on], near[rows[on], columns[on]]
        first, last = np.quantile(along, (0.06, 0.94))
        if min(marked[along < first].mean(), marked[along > last].mean()) > 0.5:  # a stroke does not reach the edges
            found.append((float(angle), float(distance) * step))
    return found


def _run_lengths(mask: np.ndarray) -> np.ndarray:
    """Return, for each pixel of a mask, the length of the vertical run of pixels that it is in: int [H, W]."""
    columns = np.pad(mask, ((1, 1), (0, 0))).T
    edges = np.flatnonzero(np.diff(columns.ravel()))
    lengths = np.zeros(columns.shape, int)
    lengths[columns] = np.repeat(edges[1::2] - edges[::2], edges[1::2] - edges[::2])
    return lengths.T[1:-1]


def remove_lines(contrast: np.ndarray, page: np.ndarray, threshold: float) -> np.ndarray:
    """Remove printed lines, but not the strokes that cross them."""
    strokes = contrast > threshold
    keep = np.ones(strokes.shape, bool)
    # Views in which the lines are nearly horizontal.
    views = {True: (strokes, contrast, keep), False: (strokes.T, contrast.T, keep.T)}
    runs = {horizontal: _run_lengths(view[0]) for horizontal, view in views.items()}
    for angle, distance in _lines(strokes, page):
        horizontal = bool(abs(np.sin(angle)) > 0.7)
        along, across = sorted((np.cos(angle), np.sin(angle)), key=abs)
        marked, values, kept = views[horizontal]
        rows, columns = np.ogrid[: marked.shape[0], : marked.shape[1]]
        off = abs(rows - (distance - columns * along) / across)
        line = (off < 1.5) & marked
        if line.any():
            width, level = (np.quantile(each[line], 0.3) for each in (runs[horizontal], values))
            darker = values > max(1.3 * level, (level + contrast.max()) / 2)
            kept &= (off > width + 2) | (runs[horizontal] > 2 * width + 2) | darker
    return np.where(keep, contrast, 0)


def remove_thin(contrast: np.ndarray, threshold: float) -> np.ndarray:
    """Remove strokes that are as thin as most, such as printed lines on paper that is not flat."""
    from scipy import ndimage

    inside = ndimage.distance_transform_edt(contrast > threshold)
    ridge = inside[(inside > 0) & (inside >= ndimage.maximum_filter(inside, 3))]
    width = np.median(ridge) if ridge.size else 0.0
    core = inside > 1.5 * width + 0.5
    around = ndimage.distance_transform_edt(~core) < 2.5 * width + 2
    return np.where(around & core.any(), contrast, 0)
