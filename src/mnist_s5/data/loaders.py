"""Data loaders: torch's DataLoader, which transforms one image at a time, and DeviceLoader, which makes whole batches.

Both sample from torch's global generator, so `seed_everything` determines the order and the augmentation of an epoch.
"""

import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..device import Device
from .digits import DigitDataset, Transform, load_mnist, normalize


def make_dataloader(
    dataset: DigitDataset, batch_size: int = 512, *, shuffle: bool = False, device: Device = "cpu"
) -> DataLoader:
    """Return torch's DataLoader with pinned memory for CUDA, and up to two workers on Linux if it forks processes.

    Fork is the default start method there before Python 3.14. Other start methods import the script again and pickle
    the dataset, which fails for a script without `if __name__ == "__main__"`, and for a transform that is a lambda.
    """
    # Asking with allow_none does not fix the start method. The first of all methods is the default.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    workers = min(2, len(os.sched_getaffinity(0))) if sys.platform == "linux" and method == "fork" else 0
    return DataLoader(dataset, batch_size, shuffle, num_workers=workers, pin_memory=torch.device(device).type == "cuda")


class DeviceLoader:
    """A loader that makes batches on the device: all images stay there as one uint8 tensor, which batches index.

    Iterating yields normalized images, float [batch_size, 1, 28, 28], and labels, int64 [batch_size]. The dataset's
    own transform is not used.

    Args:
        dataset: The digits.
        batch_size: Images per batch. The last batch may be smaller.
        augment: Called with a batch, uint8 [N, 1, 28, 28], and the number of earlier steps. Returns the augmented
            images, with values from 0 to 255.
        shuffle: Whether to reshuffle every epoch.
        device: Device that holds the data.

    Attributes:
        epoch: Zero-based index of the epoch, from which the number of earlier steps follows. `fit` sets it before each
            epoch.
    """

    def __init__(
        self,
        dataset: DigitDataset,
        batch_size: int = 512,
        augment: Callable[[Tensor, int], Tensor] | None = None,
        *,
        shuffle: bool = False,
        device: Device = "cpu",
    ) -> None:
        self.dataset, self.batch_size, self.augment, self.shuffle = dataset, batch_size, augment, shuffle
        self.images, self.labels = dataset.data.unsqueeze(1).to(device), dataset.targets.to(device)
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self.labels)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)  # sampled on the CPU: the same on every device
        batches = order.to(self.labels.device).split(self.batch_size)
        for step, batch in enumerate(batches, start=self.epoch * len(self)):
            images = self.images[batch]
            if self.augment:
                images = self.augment(images, step)
            yield normalize(images), self.labels[batch]


def get_trainloader(
    batch_size: int = 512, *, source: str = "auto", transform: Transform | None = None, device: Device = "cpu"
) -> tuple[DigitDataset, DataLoader]:
    """Return the training set and its loader, reshuffled every epoch.

    A batch holds images, float [batch_size, 1, 28, 28], and labels, int64 [batch_size]. See `load_mnist` for `source`
    and for the errors raised.
    """
    dataset, _ = load_mnist(source)
    dataset.transform = transform or dataset.transform
    return dataset, make_dataloader(dataset, batch_size, shuffle=True, device=device)


def get_testloader(
    batch_size: int = 512, *, source: str = "auto", device: Device = "cpu"
) -> tuple[DigitDataset, DataLoader]:
    """Return the test set and its loader, in fixed order. See `get_trainloader`."""
    _, dataset = load_mnist(source)
    return dataset, make_dataloader(dataset, batch_size, device=device)
