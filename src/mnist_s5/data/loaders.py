"""Data loaders: torch's own, image by image, and one that makes whole batches on the device.

Both draw from torch's global generator, so `seed_everything` decides the order and the augmentation of every epoch.
"""

import os
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .augment import apply_affine
from .digits import DigitDataset, Transform, load_mnist, normalize


def make_dataloader(
    dataset: DigitDataset, batch_size: int = 512, *, shuffle: bool = False, device: torch.device | str = "cpu"
) -> DataLoader:
    """Return torch's DataLoader with up to two workers on Linux and pinned memory for CUDA."""
    kind = torch.device(device).type
    # Worker processes hang or warn beside MPS, and in notebooks where they are spawned (Windows, macOS).
    workers = min(2, len(os.sched_getaffinity(0))) if sys.platform == "linux" and kind != "mps" else 0
    return DataLoader(dataset, batch_size, shuffle, num_workers=workers, pin_memory=kind == "cuda")


class DeviceLoader:
    """Batches made on the device: all digits stay there as one uint8 tensor, and a batch is a slice of it.

    Iterating yields normalized images, float [batch_size, 1, 28, 28], and labels, int64 [batch_size]. The dataset's
    own transform is not used.

    Args:
        dataset: The digits.
        batch_size: Images per batch. The last batch may be smaller.
        transform_sampler: Takes the number of images and returns an affine matrix for each, as `sample_affine` does.
            None leaves the images as they are.
        shuffle: Whether each epoch has a new random order.
        device: Where the digits stay.
    """

    def __init__(
        self,
        dataset: DigitDataset,
        batch_size: int = 512,
        transform_sampler: Callable[[int], Tensor] | None = None,
        *,
        shuffle: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.dataset, self.batch_size = dataset, batch_size
        self.transform_sampler, self.shuffle = transform_sampler, shuffle
        self.images, self.labels = dataset.data.unsqueeze(1).to(device), dataset.targets.to(device)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n, device, sample = len(self.labels), self.labels.device, self.transform_sampler
        # Random numbers come from the CPU, so they are the same on every device. The whole epoch's go to the device at
        # once, so that no step waits for them.
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        matrices = sample(n) if sample else torch.empty(n, 0)
        splits = (each.to(device).split(self.batch_size) for each in (order, matrices))
        for rows, theta in zip(*splits, strict=True):
            images = self.images[rows]
            yield normalize(apply_affine(images, theta) if sample else images), self.labels[rows]


def get_trainloader(
    batch_size: int = 512,
    *,
    source: str = "auto",
    transform: Transform | None = None,
    device: torch.device | str = "cpu",
) -> tuple[DigitDataset, DataLoader]:
    """Return the training digits and their loader, which shuffles them anew for each epoch.

    A batch holds images, float [batch_size, 1, 28, 28], and labels, int64 [batch_size]. See `load_mnist` for `source`
    and for the errors raised.
    """
    dataset, _ = load_mnist(source)
    dataset.transform = transform or dataset.transform
    return dataset, make_dataloader(dataset, batch_size, shuffle=True, device=device)


def get_testloader(
    batch_size: int = 512, *, source: str = "auto", device: torch.device | str = "cpu"
) -> tuple[DigitDataset, DataLoader]:
    """Return the test digits and their loader, which keeps their order. See `get_trainloader`."""
    _, dataset = load_mnist(source)
    return dataset, make_dataloader(dataset, batch_size, device=device)
