"""Convert an image of a handwritten digit to MNIST's format.

As on the MNIST page of LeCun, Cortes, and Burges, the strokes are scaled to fit 20×20 pixels, and their center of mass
goes to the middle of 28×28.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from .digits import normalize

MAX_PIXELS = 50_000_000


class ImageError(ValueError):
    """The file is not a readable image, or does not show exactly one digit. The message says why."""


def _open(path: str | Path) -> Image.Image:
    """Open an image as upright grayscale. Transparency becomes black behind bright strokes, otherwise white."""
    if not os.path.isfile(path):
        raise ImageError(f"{path} does not exist or is not a file.")
    too_large = ImageError(f"{path} has more than {MAX_PIXELS:,} pixels. Save it smaller.")
    try:
        with warnings.catch_warnings(), Image.open(path) as file:
            warnings.simplefilter("ignore")  # Pillow warns only above its own, higher limit
            if file.width * file.height > MAX_PIXELS:
                raise too_large
            picture = ImageOps.exif_transpose(file)
            if picture.mode[0] in "IF":  # 16 bits or floats per pixel, which Pillow would clip at 255
                pixels = np.asarray(picture, np.float64)
                picture = Image.fromarray(((pixels - pixels.min()) * (255 / (np.ptp(pixels) or 1.0))).astype(np.uint8))
            picture = picture.convert("RGBA")
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as error:  # Pillow raises nearly anything for a corrupted image
        raise ImageError(f"{path} is not an image that can be read. Save it as PNG or JPEG.") from error
    gray, alpha = np.asarray(picture.convert("L")), np.asarray(picture.getchannel("A"))
    bright = alpha.any() and np.average(gray, weights=alpha) > 127  # bright strokes on transparency
    backdrop = "black" if bright and (alpha < 128).any() else "white"
    return Image.alpha_composite(Image.new("RGBA", picture.size, backdrop), picture).convert("L")


def _check_strokes(strokes: np.ndarray, path: str | Path) -> None:
    """Raise ImageError unless the strokes, bool [H, W], could belong to one digit on a uniform background.

    The limits reject 0.7% of MNIST's training digits on a clean sheet, because a stroke is detached or very bold.
    """
    from scipy import ndimage

    crop = "Crop the image to one digit, with even background around it."
    shapes = ndimage.find_objects(ndimage.label(strokes, np.ones((3, 3)))[0])
    sizes = [tuple(part.stop - part.start for part in shape) for shape in shapes]
    edges = np.concatenate([strokes[0], strokes[-1], strokes[:, 0], strokes[:, -1]])
    crosses = any(height == strokes.shape[0] or width == strokes.shape[1] for height, width in sizes)
    if crosses or edges.mean() > 0.03:
        raise ImageError(f"{path} has strokes, lines, or shadows along its edges. {crop}")
    lengths = sorted(max(size) for size in sizes)
    if len(lengths) > 1 and lengths[-2] > 0.4 * lengths[-1]:
        raise ImageError(f"{path} shows several shapes, such as two digits, lines, or a frame. {crop}")
    extent = max(np.ptp(np.flatnonzero(strokes.any(axis=axis))) + 1 for axis in (0, 1))
    if strokes.sum() > 0.65 * extent**2:
        raise ImageError(f"{path} shows a large area, such as a sheet on a table, instead of strokes. {crop}")


def prepare(path: str | Path) -> Tensor:
    """Return the digit in an image file in MNIST's format: uint8 [28, 28], 0 for background.

    Raises:
        ImageError: If the file is not an image, is too large, is blank, or shows more than the strokes of one digit.
    """
    pixels = np.asarray(_open(path), np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    strokes = abs(pixels - np.median(border))
    if strokes.max() < 40:
        raise ImageError(
            f"{path} shows no digit: its brightness is nearly uniform. Use dark strokes on a light background."
        )
    strokes = np.where(strokes < 0.25 * strokes.max(), 0, strokes) * (255 / strokes.max())
    _check_strokes(strokes > 0, path)
    rows, columns = np.flatnonzero(strokes.any(axis=1)), np.flatnonzero(strokes.any(axis=0))
    digit = Image.fromarray(strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = 20 / max(digit.size)
    small = digit.resize([max(1, round(side * scale)) for side in digit.size], Image.Resampling.BOX)
    mass = np.asarray(small, np.float64)
    mass *= 255 / mass.max()  # thin strokes fade when a large image is reduced
    y, x = (int(14 - np.average(np.indices(mass.shape)[axis] + 0.5, weights=mass) + 0.5) for axis in (0, 1))
    x, y = min(max(x, 0), 28 - small.width), min(max(y, 0), 28 - small.height)
    canvas = torch.zeros(28, 28, dtype=torch.uint8)
    canvas[y : y + small.height, x : x + small.width] = torch.from_numpy(mass.round().astype(np.uint8))
    return canvas


@torch.no_grad()
def predict(model: nn.Module, path: str | Path) -> tuple[int, float]:
    """Return the most likely digit in an image file, and its probability.

    Raises:
        ImageError: See `prepare`.
    """
    image = normalize(prepare(path))[None, None].to(next(model.parameters()).device)
    training = model.training
    probabilities = model.eval()(image).exp()[0]
    model.train(training)
    return int(probabilities.argmax()), float(probabilities.max())
