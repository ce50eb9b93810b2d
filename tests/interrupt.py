"""Interrupt runs, and compare their results."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import mnist_s5 as s5
from mnist_s5.metrics import History
from mnist_s5.training import fit as fitting

Run = tuple[nn.Module, History]
Sets = tuple[s5.DigitDataset, s5.DigitDataset]


def few_digits() -> Sets:
    """Return 160 training digits and 100 test digits of the sample: ten steps per epoch with batches of 16."""
    (images, labels), (test_images, test_labels) = ((each.data, each.targets) for each in s5.load_mnist("sample"))
    return (
        s5.DigitDataset(images[::25], labels[::25], "sample"),
        s5.DigitDataset(test_images[::10], test_labels[::10], "sample"),
    )


class Cut(Exception):
    """Stands for a power failure."""


@contextlib.contextmanager
def cut(steps: int) -> Iterator[None]:
    """Stop the run inside the with block after this many steps."""
    left = [steps]

    def train(*args: Any, steps: int, **how: Any) -> Any:
        if left[0] < steps:
            if left[0]:
                s5.train(*args, steps=left[0], **how)
            raise Cut
        left[0] -= steps
        return s5.train(*args, steps=steps, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "train", train)
        with pytest.raises(Cut):
            yield


def same(one: Run, other: Run) -> bool:
    """Return whether weights and history agree bit for bit, apart from the seconds."""
    weights = zip(one[0].parameters(), other[0].parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in weights) and [e[:-1] for e in one[1]] == [e[:-1] for e in other[1]]
