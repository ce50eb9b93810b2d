"""How much the strokes differ from the background around them."""

import numpy as np

WIDEST_STROKE = 0.35  # relative to the shorter side of the picture


def contrast_of(rgb: np.ndarray) -> np.ndarray:
    """Return how much each pixel differs from the background around it, float [H, W] from 0 to 1.

    A morphological closing removes dark strokes. It keeps the edges of shadows and of the sheet where they are, because
    these areas are wider than a stroke. The strokes are the difference.
    """
    from scipy import ndimage

    size = round(WIDEST_STROKE * min(rgb.shape[:2])) | 1
    sigma = min(rgb.shape[:2]) / 600
    rgb = ndimage.gaussian_filter(rgb, (sigma, sigma, 0))
    step = max(1, size // 16)
    small, window = rgb[::step, ::step], (2 * (size // step) | 1,) * 2 + (1,)
    high, low = ndimage.maximum_filter(small, window), ndimage.minimum_filter(small, window)
    near_strokes = high - low > 0.5 * (high - low).max(axis=(0, 1))
    is_light = np.mean(2 * small > high + low, axis=(0, 1), where=near_strokes | ~near_strokes.any(axis=(0, 1))) > 0.5
    rgb = np.where(is_light, rgb, 255 - rgb)  # strokes may be darker in one color and lighter in another
    rgb = np.pad(rgb, ((size, size), (size, size), (0, 0)), mode="edge")
    background = ndimage.grey_closing(rgb, (size, size, 1))
    # Much faster than max(axis=2).
    difference, brightness = (np.maximum.reduce([*np.moveaxis(each, 2, 0)]) for each in (background - rgb, background))
    return (difference / (brightness + 1))[size:-size, size:-size]
