"""The loops: one epoch of training, and one pass of testing."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .checks import NotFiniteError, check_answers, check_batch, check_log_probs, check_shapes
from .progress import bar

Criterion = Callable[[Tensor, Tensor], Tensor]  # (log_probs [N, 10], labels [N]) to a scalar: their mean, or their sum


class Batches(Protocol):
    """A DataLoader, a DeviceLoader, or a list: gives images float [N, 1, 28, 28], labels int64 [N]."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Score(NamedTuple):
    """loss: mean negative log likelihood a digit (nats); accuracy: percent of the digits."""

    loss: float
    accuracy: float


def count(batches: Batches) -> int:
    if not len(batches):
        raise ValueError("The loader is empty: give it at least one batch.")
    return len(batches)


def GetCorrectPredCount(pPrediction: Tensor, pLabels: Tensor) -> int:
    """How many of the N digits are right: pPrediction float [N, 10], pLabels int64 [N]. ValueError for other shapes."""
    check_shapes(pPrediction, pLabels)
    return int((pPrediction.argmax(dim=1) == pLabels).sum())


def _reduction(criterion: Criterion, device: torch.device) -> str:
    """Whether the criterion gives the "mean" of a batch or its "sum": it says so, or two equal digits tell."""
    reduction = getattr(criterion, "reduction", None)
    if reduction is None:
        log_probs = torch.full((2, 10), -math.log(10), device=device)
        labels = torch.zeros(2, dtype=torch.long, device=device)
        two, one = criterion(log_probs, labels), criterion(log_probs[:1], labels[:1])
        ratio = float(two / one) if two.ndim == 0 else math.nan
        reduction = {1.0: "mean", 2.0: "sum"}.get(round(ratio, 3) if math.isfinite(ratio) else 0.0)
    if reduction not in ("mean", "sum"):
        raise ValueError("The criterion gives neither a batch's mean loss nor its sum: use torch's nll_loss.")
    return reduction


class _Tally:
    """Sums loss and right answers over batches, on the device, so that nothing waits for it."""

    def __init__(self, criterion: Criterion, device: torch.device, what: str) -> None:
        self.what = what
        self.loss, self.correct, self.finite = (torch.zeros((), device=device) for _ in range(3))
        self.seen, self.averages = 0, _reduction(criterion, device) == "mean"

    def add(self, loss: Tensor, log_probs: Tensor, labels: Tensor, images: Tensor) -> None:
        if not self.seen:
            check_log_probs(log_probs)
        self.loss += loss.detach() * (len(labels) if self.averages else 1)
        self.correct += (log_probs.argmax(dim=1) == labels).sum()
        self.finite += self.loss.isfinite()  # counts steps up to the first that is not
        self.seen += len(labels)
        if self.loss.device.type == "cpu":  # elsewhere to ask is to wait
            self.check(images)

    def check(self, images: Tensor | None = None) -> None:
        if not self.loss.isfinite():
            broken = images is not None and not images.isfinite().all()
            why = "an image holds a value that is not finite: look at the data and its transform."
            if not broken:
                why = "the loss is not finite: lower the learning rate, or look at the data."
            raise NotFiniteError(int(self.finite) + 1, why, self.what)

    def score(self) -> Score:
        self.check()
        return Score(self.loss.item() / self.seen, 100 * self.correct.item() / self.seen)


def train(
    model: nn.Module,
    device: torch.device | str,
    train_loader: Batches,
    optimizer: Optimizer,
    criterion: Criterion = F.nll_loss,
    *,
    scheduler: LRScheduler | None = None,
    steps: int | None = None,
    label_smoothing: float = 0.0,
    precision: torch.dtype = torch.float32,
    progress: bool | None = None,
) -> Score:
    """Train for one epoch, or for its first `steps` steps; the scheduler, if any, moves at each step.

    Returns the mean loss and the accuracy over the digits as they came by, each before its own update.
    label_smoothing: the share of each label that is spread over all ten (the loss returned is without it); precision:
    torch.bfloat16 multiplies in 16 bits, by autocast, while the weights stay float32; progress: a bar, or None for
    a bar where somebody watches. Raises NotFiniteError, a FloatingPointError, where the loss is not finite (on a GPU
    after the last step), and ValueError for logits where log-probabilities are due or for what is no batch of digits.
    """
    device = torch.device(device)
    tally = _Tally(criterion, device, "step")
    total = count(train_loader) if steps is None else min(steps, count(train_loader))
    if total < 1:
        raise ValueError(f"steps={steps} trains nothing: it must be at least 1.")
    model.train()
    for _, (images, labels) in zip(bar(range(total), "train", total, progress), train_loader):
        check_batch(images, labels)
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            log_probs = model(images)
        check_answers(log_probs, labels)
        log_probs = log_probs.float()
        objective = loss = criterion(log_probs, labels)
        tally.add(loss, log_probs, labels, images)
        if label_smoothing:
            evenly = -log_probs.mean() * (1 if tally.averages else len(labels))
            objective = torch.lerp(loss, evenly, label_smoothing)
        objective.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return tally.score()


@torch.no_grad()
def test(
    model: nn.Module,
    device: torch.device | str,
    test_loader: Batches,
    criterion: Criterion = F.nll_loss,
    *,
    progress: bool | None = None,
) -> Score:
    """The mean loss and the accuracy of the model over all digits of the loader. Raises as `train` does."""
    device = torch.device(device)
    tally = _Tally(criterion, device, "test batch")
    model.eval()
    for images, labels in bar(test_loader, "test", count(test_loader), progress):
        check_batch(images, labels)
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        log_probs = model(images)
        check_answers(log_probs, labels)
        tally.add(criterion(log_probs, labels), log_probs, labels, images)
    return tally.score()
