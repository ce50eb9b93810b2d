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
