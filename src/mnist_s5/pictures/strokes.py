"""How much the strokes differ from the background around them."""

import numpy as np

WIDEST_STROKE = 0.35  # relative to the shorter side of the picture. Chosen on pictures of training digits.
CLOSING_SIDE = 400  # pixels of the shorter side at which the background is estimated
MIN_CONTRAST = 0.12  # of the strokes in a picture that is not blank; 1 is black on white
STROKE = 0.3  # contrast of the faintest pixel of a stroke, relative to the strongest strokes
FAINT_STROKE = 0.12  # the same, if some digits are fainter than others: at least this much
AROUND = 0.3  # how far away faint strokes are compared, relative to the shorter side of the picture
EVEN = 12  # gray levels by which an even background differs from its median, at most


def even_contrast(rgb: np.ndarray) -> np.ndarray | None:
    """Return how much each pixel differs from an even background, float [H, W] from 0 to 1, or None if it is uneven.

    The background is the most common color of the border or, if strokes cover much of the border, of the picture.
    """
    border = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
    for pixels in (border, rgb[::4, ::4].reshape(-1, 3)):
        background = np.median(pixels, axis=0)
        if np.mean(abs(pixels - background).max(axis=1) <= EVEN) > 0.6:
            break
    else:
        return None
    difference = abs(rgb - background).max(axis=2)
    # Light that falls off has every level between the background's and the strokes'.
    between = (difference > EVEN) & (difference < 0.3 * difference.max())
    if between.mean() > 0.1 or np.mean(difference <= EVEN) < 0.25:
        return None
    return difference / 255


def contrast_of(rgb: np.ndarray, *, together: bool = False) -> np.ndarray:
    """Return how much each pixel differs from the background around it, float [H, W] from 0 to 1.

    A morphological closing removes dark strokes. It keeps the edges of shadows and of the sheet where they are, because
    these areas are wider than a stroke. The strokes are the difference.

    Args:
        rgb: Float [H, W, 3], from 0 to 255.
        together: Whether strokes are either darker or lighter than the background in all colors. Otherwise, they can be
            darker in one color and lighter in another.
    """
    from scipy import ndimage

    size = round(WIDEST_STROKE * min(rgb.shape[:2])) | 1
    sigma = min(rgb.shape[:2]) / 600
    rgb = ndimage.gaussian_filter(rgb, (sigma, sigma, 0))
    step = max(1, size // 16)
    small, window = rgb[::step, ::step], (2 * (size // step) | 1,) * 2 + (1,)
    if together:
        small = small.mean(axis=2, keepdims=True)
    high, low = ndimage.maximum_filter(small, window), ndimage.minimum_filter(small, window)
    near_strokes = high - low > 0.5 * (high - low).max(axis=(0, 1))
    is_light = np.mean(2 * small > high + low, axis=(0, 1), where=near_strokes | ~near_strokes.any(axis=(0, 1))) > 0.5
    rgb = np.where(is_light, rgb, 255 - rgb)  # strokes may be darker in one color and lighter in another
    background = _closing(rgb, size)
    # Much faster than max(axis=2).
    difference, brightness = (np.maximum.reduce([*np.moveaxis(each, 2, 0)]) for each in (background - rgb, background))
    return (difference / (brightness + 1)).clip(0)


def _closing(rgb: np.ndarray, size: int) -> np.ndarray:
    """Return the morphological closing of each color with a square of this side, computed on a smaller picture."""
    from scipy import ndimage

    step = max(1, min(rgb.shape[:2]) // CLOSING_SIDE)
    side = (size // step) | 1
    small = ndimage.maximum_filter(rgb, (step, step, 1))[::step, ::step]
    small = np.pad(small, ((side, side), (side, side), (0, 0)), mode="edge")
    closed = ndimage.grey_closing(small, (side, side, 1))[side:-side, side:-side]
    return closed.repeat(step, 0).repeat(step, 1)[: rgb.shape[0], : rgb.shape[1]]


def peak_of(contrast: np.ndarray) -> float:
    """Return the contrast of the strongest strokes. A digit has at least 60 pixels."""
    return float(np.quantile(contrast, 1 - min(0.5, 60 / contrast.size)))


def faint_strokes(contrast: np.ndarray, peak: float) -> np.ndarray:
    """Return where strokes are, bool [H, W]. Some may be much fainter than others, but not wider, as shadows are."""
    from scipy import ndimage

    step = max(1, min(contrast.shape) // 200)
    small = ndimage.maximum_filter(contrast, step)[::step, ::step]
    side = round(AROUND * min(small.shape)) | 1
    around = ndimage.uniform_filter(ndimage.maximum_filter(small, side), side)
    around = around.repeat(step, 0).repeat(step, 1)[: contrast.shape[0], : contrast.shape[1]]
    strong = contrast > STROKE * peak
    mask = contrast > np.maximum(STROKE * np.minimum(around, peak), FAINT_STROKE * peak)
    labels, number = ndimage.label(mask, np.ones((3, 3)))
    inside, strong_inside = (ndimage.distance_transform_edt(each[::step, ::step]) for each in (mask, strong))
    widest = ndimage.maximum(inside, labels[::step, ::step], range(number + 1))
    stroke = np.array(widest <= 1.5 * strong_inside.max() + 1)
    stroke[0] = False
    return stroke[labels] | strong
