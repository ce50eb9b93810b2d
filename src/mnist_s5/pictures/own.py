"""Keep your own digits in a folder, with their labels, and load them as a dataset."""

import io
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.digits import DigitDataset
from ..files import atomic_write, runs_folder
from .read import ImageError


def own_digits_folder(folder: str | Path = "") -> Path:
    """Return where your own digits are kept: in the given folder, or in `runs/my_digits`."""
    return Path(folder).expanduser() if str(folder) else runs_folder() / "my_digits"


def save_digit(image: Tensor, label: int, folder: str | Path = "") -> Path:
    """Add a digit, uint8 [28, 28], to a folder of your own digits, as FOLDER/LABEL/TIME.png.

    Args:
        image: The digit in MNIST's format.
        label: The digit that the writer meant, 0 to 9.
        folder: Without it, the digit goes to `runs/my_digits`.

    Raises:
        ValueError: If the label is not 0 to 9, or if this is not a digit in MNIST's format.
        WriteError: If the file cannot be written.
    """
    if label not in range(10):
        raise ValueError(f"A digit cannot have the label {label}. Choose one from 0 to 9.")
    if not isinstance(image, Tensor) or (image.shape, image.dtype) != ((28, 28), torch.uint8):
        raise ValueError("Expected a tensor uint8 [28, 28]. Convert a picture with find_digits first.")
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}-{uuid4().hex[:8]}.png"  # the clock may stand still
    path = own_digits_folder(folder) / str(int(label)) / name
    file = io.BytesIO()
    Image.fromarray(image.numpy()).save(file, "PNG")
    atomic_write(path, file.getvalue())
    return path


def load_digits(folder: str | Path = "") -> DigitDataset:
    """Load your own digits from a folder, or from all folders in it, in the order of their paths.

    Args:
        folder: Contains LABEL/*.png, written by the drawing pad or by `FoundDigit.save`. Without it, the digits in
            `runs/my_digits` are loaded.

    Raises:
        FileNotFoundError: If there are none.
        ImageError: If one is not an image in MNIST's format.
    """
    images, labels, folder = [], [], own_digits_folder(folder)
    for path in sorted(folder.rglob("*.png")):
        if path.name.startswith("."):  # macOS adds such files when it copies a folder
            continue
        if path.parent.name not in map(str, range(10)):
            raise ImageError(f"{path} is not in a folder that is named after its label, 0 to 9. Move it, or remove it.")
        try:
            with Image.open(path) as file:
                mode, image = file.mode, torch.from_numpy(np.array(file))
        except Exception as error:  # Pillow raises nearly anything for a corrupted image
            raise ImageError(f"{path} is not an image that can be read. Remove it.") from error
        if (mode, image.shape) != ("L", (28, 28)):
            raise ImageError(f"{path} is not a gray image of 28×28 pixels. Remove it.")
        images.append(image)
        labels.append(int(path.parent.name))
    if not images:
        missing = "" if folder.is_dir() else ", which is not a folder"
        raise FileNotFoundError(
            f"There are no digits in {folder}{missing}. Draw some, choose their label, and keep them."
        )
    return DigitDataset(torch.stack(images), torch.tensor(labels), "own")
