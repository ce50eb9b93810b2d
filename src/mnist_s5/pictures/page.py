"""Where the page is in a picture: a bright sheet on a dark table, or everything."""

import numpy as np

SHARP = 0.5  # brightness step at the edge of a sheet, at least, relative to the difference between sheet and table


def find_page(rgb: np.ndarray) -> np.ndarray:
    """Return which pixels show the page: bool [H, W]. These are all, unless a dark table surrounds a bright sheet."""
    from scipy import ndimage

    step = max(1, min(rgb.shape[:2]) // 100)
    gray = ndimage.uniform_filter(rgb.mean(axis=2), step)[::step, ::step]
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    for threshold in np.linspace(gray.min(), gray.max(), 16)[1:-1]:
        lit = gray > threshold
        if np.mean(border > threshold) > 0.35 or lit.mean() < 0.15:
            continue
        rows, columns = (np.flatnonzero(lit.any(axis)) for axis in (1, 0))
        # A sheet fills its box, at least half of it if it is tilted by 45°. The strokes of a digit do not.
        if lit.sum() < 0.45 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1):
            continue
        # The closing removes printed lines, which would cut the sheet into pieces.
        bright = ndimage.binary_closing(np.pad(lit, 2, mode="edge"), iterations=2)[2:-2, 2:-2]
        regions, _ = ndimage.label(bright)
        sheet = ndimage.binary_fill_holes(regions == np.bincount(regions[bright]).argmax())
        smaller, larger = ndimage.binary_erosion(sheet, iterations=2), ndimage.binary_dilation(sheet, iterations=2)
        # Light that falls off has no edge. The strokes of a 0 or an 8 surround more than the strokes on a sheet cover.
        at_edge = sheet & ndimage.binary_dilation(~sheet, iterations=2)
        light, dark = np.median(gray[at_edge]), np.median(gray[larger & ~sheet])
        has_edge = light > 1.25 * dark and light - dark > SHARP * (np.median(gray[sheet]) - np.median(gray[~sheet]))
        inside = gray[smaller]
        written = inside.size and np.ptp(inside) > 0.05 * np.median(inside)  # or else it may be the stroke of a 1
        if has_edge and written and sheet.mean() > 0.2 and np.mean(bright[sheet]) > 0.9 and is_rectangle(sheet, 0.82):
            large = smaller.repeat(step, axis=0).repeat(step, axis=1)  # not smaller than the picture
            return large[: rgb.shape[0], : rgb.shape[1]]
    return np.ones(rgb.shape[:2], bool)


def is_rectangle(mask: np.ndarray, part: float) -> bool:
    """Return whether a mask fills at least this part of the smallest rectangle around it, at any angle."""
    y, x = np.nonzero(mask)
    turns = np.deg2rad(np.arange(0, 90, 3))[:, None]
    width, height = (np.ptp(np.cos(turns) * u + np.sin(turns) * v, axis=1) + 1 for u, v in ((x, y), (y, -x)))
    return len(x) > part * (width * height).min()
