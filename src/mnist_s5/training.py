"""Training by a recipe: `fit` over epochs, and the history that it leaves."""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

from .build import make_optimizer, make_scheduler
from .engine import Batches, count, test, train
from .loaders import source_of
from .recipes import Recipe


class Epoch(NamedTuple):
    """One entry of a History; epoch counts passes over the training digits, learning_rate is that of its first step."""

    epoch: float
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float  # of training, without the test


class History(list[Epoch]):
    """What `fit` measured, an Epoch an entry; dataset: "mnist", "sample" or "unknown"."""

    def __init__(self, epochs: Iterable[Epoch] = (), dataset: str = "unknown") -> None:
        super().__init__(epochs)
        self.dataset = dataset


def fit(
    model: nn.Module,
    recipe: Recipe,
    train_loader: Batches,
    test_loader: Batches,
    *,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> History:
    """Train by the recipe, test after each epoch, print a line an epoch; the last epoch may be a part of one.

    The test digits are looked at for the curves alone: nothing is chosen by them.
    """
    device = torch.device(device)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model.to(device, memory_format=layout)  # type: ignore[call-overload]
    how: dict[str, Any] = {
        "label_smoothing": recipe.label_smoothing,
        "precision": recipe.precision(device),
        "progress": progress,
    }
    _, per_epoch = count(test_loader), count(train_loader)
    total = recipe.steps(per_epoch)
    optimizer = make_optimizer(recipe, model.parameters())
    scheduler = make_scheduler(recipe, optimizer, per_epoch)
    history = History(dataset=source_of(train_loader))
    for done in range(0, total, per_epoch):
        steps, rate, start = min(per_epoch, total - done), float(scheduler.get_last_lr()[0]), time.perf_counter()
        trained = train(model, device, train_loader, optimizer, scheduler=scheduler, steps=steps, **how)
        seconds = time.perf_counter() - start
        tested = test(model, device, test_loader, progress=progress)
        history.append(Epoch((done + steps) / per_epoch, rate, *trained, *tested, seconds))
        print(
            f"epoch {history[-1].epoch:5.2f} of {total / per_epoch:.2f}  "
            f"train {trained.loss:.4f} {trained.accuracy:6.2f} %  test {tested.loss:.4f} {tested.accuracy:6.2f} %  "
            f"{seconds:.0f} s",
            flush=True,
        )
    return history
