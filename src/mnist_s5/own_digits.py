"""From anybody's picture of a digit to what the network was trained on. Follows the MNIST page of LeCun, Cortes and
Burges: the ink scaled to fit 20×20 pixels, its centre of mass in the middle of 28×28."""

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from .data import test_transforms

MAX_PIXELS = 50_000_000


class PictureError(ValueError):
    """The file is no picture, or shows no digit; the message says which."""


def _open(path: str | Path) -> Image.Image:
    """The picture in shades of grey, upright, on a background that its ink differs from."""
    if not os.path.isfile(path):
        raise PictureError(f"There is no file {path}.")
    too_large = PictureError(f"{path} has more than {MAX_PIXELS:,} pixels: save it smaller.")
    try:
        with warnings.catch_warnings(), Image.open(path) as file:
            warnings.simplefilter("ignore")  # Pillow's, whose limits are higher
            if file.width * file.height > MAX_PIXELS:
                raise too_large
            picture = ImageOps.exif_transpose(file)
            if picture.mode[0] in "IF":  # 16 bits or floats a pixel, which Pillow would clip at 255
                pixels = np.asarray(picture, np.float64)
                reach = np.ptp(pixels) or 1.0
                picture = Image.fromarray(((pixels - pixels.min()) * (255 / reach)).astype(np.uint8))
            picture = picture.convert("RGBA")
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as error:  # a damaged picture can make Pillow raise nearly anything
        raise PictureError(f"{path} is no picture that can be read: save it as PNG or JPEG.") from error
    grey, alpha = np.asarray(picture.convert("L")), np.asarray(picture.getchannel("A"))
    bright = alpha.any() and np.average(grey, weights=alpha) > 127  # light ink on nothing wants a dark background
    backdrop = "black" if bright and (alpha < 128).any() else "white"
    return Image.alpha_composite(Image.new("RGBA", picture.size, backdrop), picture).convert("L")


def prepare(path: str | Path) -> Tensor:
    """The digit in a picture file as MNIST would hold it: uint8 [28, 28], white ink on black.

    Raises PictureError for a file that is no picture, is too large, or is blank.
    """
    pixels = np.asarray(_open(path), np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ink = abs(pixels - np.median(border))
    if ink.max() < 40:
        raise PictureError(f"{path} shows no digit (all of it is nearly one shade): use darker ink.")
    ink = np.where(ink < 0.25 * ink.max(), 0, ink) * (255 / ink.max())
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    digit = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = 20 / max(digit.size)
    small = digit.resize([max(1, round(side * scale)) for side in digit.size], Image.Resampling.BOX)
    mass = np.asarray(small, np.float64)
    mass *= 255 / mass.max()  # a thin stroke of a large picture is black too
    y, x = (int(14 - np.average(np.indices(mass.shape)[axis] + 0.5, weights=mass) + 0.5) for axis in (0, 1))
    x, y = min(max(x, 0), 28 - small.width), min(max(y, 0), 28 - small.height)
    canvas = torch.zeros(28, 28, dtype=torch.uint8)
    canvas[y : y + small.height, x : x + small.width] = torch.from_numpy(mass.round().astype(np.uint8))
    return canvas


@torch.no_grad()
def predict(model: nn.Module, path: str | Path) -> tuple[int, float]:
    """The digit that the model reads in a picture file, and its probability. Raises PictureError."""
    image = test_transforms()(Image.fromarray(prepare(path).numpy()))
    probabilities = model.eval()(image[None].to(next(model.parameters()).device)).exp()[0]
    return int(probabilities.argmax()), float(probabilities.max())
