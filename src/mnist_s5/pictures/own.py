"""Keep your own digits in a folder, with their labels, and load them as a dataset."""

import io
import sys
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..course import runs_folder
from ..data.digits import DigitDataset
from ..files import atomic_write
from .read import ImageError, image_files, listed


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
        raise ValueError(f"A digit cannot have the label {label!r}. Choose one from 0 to 9.")
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

    Equal images, such as those in a copied folder, count once. A notice says how many copies there are, and which other
    files are not used.

    Args:
        folder: Contains LABEL/*.png, written by the drawing pad or by `FoundDigit.save`. Without it, the digits in
            `runs/my_digits` are loaded.

    Raises:
        FileNotFoundError: If there are none.
        ImageError: If an image is not in MNIST's format, not in a folder with its label, or has two labels.
    """
    folder = own_digits_folder(folder)
    paths, others = image_files(folder)
    found: dict[bytes, tuple[Path, Tensor]] = {}
    for path in paths:
        image = _read_own(path)
        first, _ = found.setdefault(image.numpy().tobytes(), (path, image))
        if first.parent.name != path.parent.name:
            raise ImageError(f"{first} and {path} are the same image with different labels. Remove the wrong one.")
    if copies := len(paths) - len(found):
        said = f"{copies} of {len(paths)} digits in {folder} are copies of others. They count once."
        print(f"NOTICE: {said}", file=sys.stderr)
    if others and folder.is_dir():
        print(f"NOTICE: these files are not images, so they are not used: {listed(others)}", file=sys.stderr)
    if not found:
        missing = "" if folder.is_dir() else ", which is not a folder"
        raise FileNotFoundError(
            f"There are no digits in {folder}{missing}. Draw some, choose their label, and keep them."
        )
    labels = [int(path.parent.name) for path, _ in found.values()]
    return DigitDataset(torch.stack([image for _, image in found.values()]), torch.tensor(labels), "own")


def _read_own(path: Path) -> Tensor:
    if path.parent.name not in map(str, range(10)):
        raise ImageError(f"{path} is not in a folder that is named after its label, 0 to 9. Move it, or remove it.")
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path} is not a PNG file. Convert it with find_digits, save the digits, and remove it.")
    try:
        with Image.open(path) as file:
            frames = getattr(file, "n_frames", 1)
            mode, image = file.mode, torch.from_numpy(np.array(file))
    except Exception as error:  # Pillow raises nearly anything for a corrupted image
        raise ImageError(f"{path} is not an image that can be read. Remove it.") from error
    if (mode, image.shape, frames) != ("L", (28, 28), 1):
        raise ImageError(f"{path} is not a gray image of 28×28 pixels. Remove it.")
    return image
