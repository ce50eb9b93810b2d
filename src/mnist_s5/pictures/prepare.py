"""Convert the strokes of one digit to MNIST's format.

As on the MNIST page of LeCun, Cortes, and Burges, the strokes are scaled to fit 20×20 pixels, and their center of mass
goes to the middle of 28×28.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .read import ImageError

LARGE = 100  # pixels per side. Images that are at least twice as large are reduced, to save time.
MAX_STROKE_WIDTH = 8  # no digit has strokes that are wider, in pixels of MNIST
STROKE_WIDTHS = 1.7, 3.6  # 90% of MNIST's training digits are between these, in pixels


def to_mnist(strokes: np.ndarray) -> Tensor:
    """Convert the strokes of one digit to MNIST's format.

    Strokes that are thinner or bolder than nearly all in MNIST are changed to the limits in `STROKE_WIDTHS`.

    Args:
        strokes: Float [H, W], from 0 (background) to 1. Margins do not matter.

    Returns:
        uint8 [28, 28]. The strokes fit 20×20, and pixel (14, 14), counted from 0, is their center of mass.

    Raises:
        ImageError: If there are no strokes, or only a solid area.
    """
    from scipy import ndimage

    strokes = np.where(strokes < 0.12, 0, strokes.clip(0, 1))
    step = max(strokes.shape) // LARGE
    if step > 1 and np.count_nonzero(strokes > 0.5) > 4 * step * max(strokes.shape):  # not if they are thin
        strokes = np.asarray(Image.fromarray(strokes.astype(np.float32)).reduce(step), np.float64)
    mask = strokes > 0.5
    if not mask.any():
        raise ImageError("There is nothing to see. Draw a digit.")
    side = max(int(np.ptp(np.flatnonzero(mask.any(axis)))) + 1 for axis in (0, 1))
    pixel = 20 / side  # the size of a pixel of the strokes, in pixels of MNIST
    # In a long stroke, the mean distance from the edge is a quarter of the width.
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    width = 4 * (inside[mask].mean() - 0.5) * pixel
    if width > MAX_STROKE_WIDTH:
        raise ImageError("This is a solid area. Draw a digit with thinner strokes.")
    if change := float(np.clip(width, *STROKE_WIDTHS) - width) / pixel / 2:
        margin = max(0, round(change)) + 2
        mask = np.pad(mask, margin)
        distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        strokes = (distance + change + 0.5 - 0.5 * np.sign(distance)).clip(0, 1)
    rows, columns = (np.flatnonzero(strokes.any(axis)) for axis in (1, 0))
    box = Image.fromarray(strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32))
    size = [max(1, round(side * 20 / max(box.size))) for side in box.size]
    small = np.asarray(box.resize(size, Image.Resampling.BOX), np.float64)
    small = small * (255 / small.max())
    y, x = (int(14.5 - np.average(np.indices(small.shape)[axis], weights=small)) for axis in (0, 1))
    x, y = min(max(x, 0), 28 - size[0]), min(max(y, 0), 28 - size[1])
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[y : y + size[1], x : x + size[0]] = torch.from_numpy(small.round().astype(np.uint8))
    return image
