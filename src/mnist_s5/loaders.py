"""Loaders, which hand the digits out in batches: image by image, or made on the device."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from .augment import warp
from .data import Digits, load_mnist, normalize


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
    workers = min(2, len(os.sched_getaffinity(0))) if sys.platform == "linux" and kind != "mps" else 0
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
