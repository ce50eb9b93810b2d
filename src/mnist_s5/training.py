"""Training by a recipe: `fit` over epochs, what it saves to go on from, and the history that it leaves."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from .build import make_optimizer, make_scheduler
from .checkpoint import fingerprint
from .device import random_states, restore_random_states
from .engine import Batches, NotFiniteError, count, test, train
from .loaders import source_of
from .progress import bar
from .recipes import Recipe
from .states import drop_state, going_on, has_state, identity_of, machine_of, save_state

SAVE_EVERY = 200  # steps; and at each epoch's end


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
    """What `fit` measured, an Epoch an entry; dataset: "mnist", "sample" or "unknown"; weights: the fingerprint of the
    network that it ended with, or "" where nobody knows it any more."""

    def __init__(self, epochs: Iterable[Epoch] = (), dataset: str = "unknown", weights: str = "") -> None:
        super().__init__(epochs)
        self.dataset, self.weights = dataset, weights


class Interrupted(KeyboardInterrupt):
    """`fit` was interrupted; history: of the epochs that were finished."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


class _Part:
    """The next n batches of an iterator, for `train`."""

    def __init__(self, batches: Iterator[Any], n: int) -> None:
        self.batches, self.n, self.digits = batches, n, 0

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Any]:
        given = 0
        for images, labels in islice(self.batches, self.n):
            self.digits, given = self.digits + len(labels), given + 1
            yield images, labels
        if given < self.n:
            raise ValueError(f"The loader gives {self.n - given} batches fewer than its len() says: mend its len().")


def fit(
    model: nn.Module,
    recipe: Recipe,
    train_loader: Batches,
    test_loader: Batches,
    *,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = True,
) -> History:
    """Train by the recipe, test after each epoch, print a line an epoch; the last epoch may be a part of one.

    The test digits are looked at for the curves alone: nothing is chosen by them.

    checkpoint: a file to save to, at the start, after every epoch and every 200 steps, all that is needed to go on.
    Called again with such a file and with network, loaders and recipe made anew as they were, a training that was cut
    off goes on, and ends with the same bits; one that was finished gives its result. resume=False begins anew. Raises
    CheckpointError for a file of another training, Interrupted (a KeyboardInterrupt), NotFiniteError.
    """
    device = torch.device(device)
    _, per_epoch = count(test_loader), count(train_loader)
    total, loaders = recipe.steps(per_epoch), (train_loader, test_loader)
    checkpoint = checkpoint and Path(checkpoint)
    if checkpoint and getattr(train_loader, "persistent_workers", False):
        raise ValueError("Workers that persist keep draws that no file holds: make the loader without them.")
    identity = identity_of(model, recipe, *loaders) if checkpoint else {}
    machine = machine_of(device, recipe)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model.to(device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = make_optimizer(recipe, model.parameters())
    scheduler = make_scheduler(recipe, optimizer, per_epoch)
    how: dict[str, Any] = {"label_smoothing": recipe.label_smoothing, "precision": recipe.precision(device)}
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    history, step, sums, rate = History(dataset=source_of(train_loader)), 0, [0.0] * 4, 0.0
    before = now = random_states(*loaders)

    def save() -> None:
        if checkpoint:
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"identity": identity, "machine": machine, "step": step, "sums": sums, "rate": rate}
            save_state(checkpoint, state | {"history": [list(entry) for entry in history], "random": [before, now]})

    if checkpoint and resume and has_state(checkpoint):
        state = going_on(checkpoint, identity, machine)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        history.extend(Epoch(*entry) for entry in state["history"])
        step, sums, rate, (before, now) = state["step"], state["sums"], state["rate"], state["random"]
        model.eval()
        restore_random_states(now, *loaders)
        goes_on = "finished before" if step == total else f"goes on after step {step:,} of {total:,}"
        print(f"{goes_on} (from {checkpoint.name}; resume=False begins anew)")
    elif checkpoint:
        drop_state(checkpoint)
        save()
    try:
        while step < total:
            begin = step - step % per_epoch
            end = min(begin + per_epoch, total)
            restore_random_states(before, *loaders)
            batches = (pair for pair in bar(train_loader, "train", end - begin, progress))
            for _ in islice(batches, step - begin):
                pass  # trained on before
            restore_random_states(now)
            if step == begin:
                sums, rate = [0.0] * 4, float(scheduler.get_last_lr()[0])
            while step < end:
                part = _Part(batches, min(SAVE_EVERY, end - step))
                start = time.perf_counter()
                try:
                    score = train(model, device, part, optimizer, scheduler=scheduler, progress=False, **how)
                except NotFiniteError as error:
                    raise NotFiniteError(step + error.step, f"of recipe {recipe.name} {error.why}") from None
                n, seconds = part.digits, time.perf_counter() - start
                sums = [a + b for a, b in zip(sums, (n, n * score.loss, n * score.accuracy, seconds))]
                step, now = step + len(part), random_states(*loaders)
                if step < end:
                    save()
            batches.close()
            tested = test(model, device, test_loader, progress=progress)
            digits, loss, right, seconds = sums
            history.append(Epoch(step / per_epoch, rate, loss / digits, right / digits, *tested, seconds))
            history.weights = fingerprint(model.state_dict())
            before = now = random_states(*loaders)
            save()
            print(
                f"epoch {history[-1].epoch:5.2f} of {total / per_epoch:.2f}  "
                f"train {loss / digits:.4f} {right / digits:6.2f} %  test {tested.loss:.4f} {tested.accuracy:6.2f} %  "
                f"{seconds:.0f} s",
                flush=True,
            )
    except KeyboardInterrupt:
        kept = "without a checkpoint nothing is kept"
        if checkpoint:
            kept = (
                f"make network and loaders anew, and the same call goes on after step {step:,} from {checkpoint.name}"
            )
        raise Interrupted(f"interrupted in epoch {len(history) + 1}: {kept}.", history) from None
    history.weights = fingerprint(model.state_dict())
    return history
