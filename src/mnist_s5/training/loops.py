"""The loops: `train` for one epoch, `test`, and `predict`.

They take any network that maps images, [N, 1, 28, 28], to log-probabilities, [N, 10], and any optimizer whose `step`
needs no closure.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from numbers import Integral
from operator import length_hint
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from ..device import Device, keep_freed_memory
from .checks import check_batch, check_loss, check_model, check_output, check_training, explained

Batches = Iterable[Any]  # of (images float32 [N, 1, 28, 28], labels int64 [N]): a DataLoader, a DeviceLoader, or a list
Criterion = Callable[[Tensor, Tensor], Tensor]  # (log_probs [N, 10], labels [N]) to a scalar


Outputs = list[tuple[Tensor, Tensor]]  # log-probabilities [N, 10] and labels [N] of each batch, on the device


class Score(NamedTuple):
    """Result of one pass over a loader: the loss (in nats for the default criterion) and the accuracy in percent."""

    loss: float
    accuracy: float


@torch.enable_grad()
def train(
    model: nn.Module,
    device: Device,
    train_loader: Batches,
    optimizer: Optimizer,
    criterion: Criterion = F.nll_loss,
    *,
    scheduler: LRScheduler | None = None,
    steps: int | None = None,
    dtype: torch.dtype = torch.float32,
    progress: bool | None = None,
) -> Score:
    """Train for one epoch.

    Args:
        model: Network on the device that returns log-probabilities, [N, 10].
        device: Where to compute.
        train_loader: The batches.
        optimizer: Updates the model after each batch.
        criterion: What to minimize. Takes log-probabilities and labels; returns a scalar.
        scheduler: Stepped after each batch.
        steps: Maximum number of batches. None uses all of them.
        dtype: Autocast dtype. float32 disables autocast. The weights stay float32.
        progress: Whether to show a progress bar. None shows it only in a terminal or a live notebook.

    Returns:
        Mean negative log likelihood (for any criterion) and accuracy, both from outputs computed before each update.

    Raises:
        FloatingPointError: If the loss is not finite (on a GPU, after the last step).
        TypeError: If the criterion is a class, or the scheduler needs more than the step.
        ValueError: If a batch, the model's output, or the criterion's output has the wrong shape, type, or values, the
            optimizer belongs to another model, or the loss has no gradient.
    """
    device = torch.device(device)
    keep_freed_memory()
    check_training(model, optimizer, criterion, scheduler)
    model.train()
    outputs = []
    for batch, images, labels in _batches(train_loader, device, "Step", steps, progress):
        optimizer.zero_grad()
        try:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                log_probs = model(images)
        except ValueError as error:
            raise explained(error, images, batch) from error
        check_output(log_probs, labels, batch)
        log_probs = log_probs.float()  # autocast may return bfloat16
        loss = criterion(log_probs, labels)
        check_loss(loss, batch, trained=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        outputs.append((log_probs.detach(), labels))
    return _score(outputs, F.nll_loss, "Step")


@torch.no_grad()
def test(
    model: nn.Module,
    device: Device,
    test_loader: Batches,
    criterion: Criterion = F.nll_loss,
    *,
    progress: bool | None = None,
) -> Score:
    """Evaluate a model in float32. See `train` for the arguments and errors.

    Returns:
        The criterion, computed once over all images, and the accuracy.
    """
    check_model(model, criterion)
    return _score(_evaluate(model, device, test_loader, progress), criterion, "Test batch")


@torch.no_grad()
def predict(
    model: nn.Module, device: Device, loader: Batches, *, progress: bool | None = None
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities, float [N, 10], and the labels, int64 [N], of all images, on the CPU.

    The model computes in eval mode. See `train` for the arguments and errors.
    """
    check_model(model)
    log_probs, labels = _concatenate(_evaluate(model, device, loader, progress), "Test batch")
    return log_probs.cpu(), labels.cpu()


def GetCorrectPredCount(pPrediction: Tensor, pLabels: Tensor) -> int:
    """Return how many of the predictions, float [N, 10], are highest at the label, int64 [N]."""
    if pPrediction.dim() != 2 or pLabels.shape != pPrediction.shape[:1]:
        got = f"{list(pPrediction.shape)} and {list(pLabels.shape)}"
        raise ValueError(f"Expected predictions [N, 10] and labels [N], got {got}.")
    return int((pPrediction.argmax(dim=1) == pLabels).sum())


def _batches(
    loader: Batches, device: torch.device, kind: str, steps: int | None, progress: bool | None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of the batch ("Step 3"), the images, and the labels, checked and moved to the device."""
    if steps is not None and (not isinstance(steps, Integral) or steps < 1):
        raise ValueError(f"steps={steps!r} is invalid. It must be an integer of at least 1, or None.")
    total = min(filter(None, (length_hint(loader), steps)), default=None)  # unknown for a generator
    hidden = not (_is_watched() if progress is None else progress)
    bar = tqdm(islice(loader, steps), kind, total, leave=False, file=sys.stdout, mininterval=0.5, disable=hidden)
    for number, (images, labels) in enumerate(bar, start=1):
        check_batch(images, labels, f"{kind} {number}")
        yield f"{kind} {number}", images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def _evaluate(model: nn.Module, device: Device, loader: Batches, progress: bool | None) -> Outputs:
    """Return the log-probabilities and the labels of each batch, on the device."""
    model.eval()
    outputs = []
    for batch, images, labels in _batches(loader, torch.device(device), "Test batch", None, progress):
        log_probs = model(images)
        check_output(log_probs, labels, batch)
        outputs.append((log_probs, labels))
    return outputs


def _concatenate(outputs: Outputs, kind: str) -> tuple[Tensor, Tensor]:
    """Return the outputs and the labels of all batches, checked."""
    if not outputs:
        raise ValueError("The loader produced no batches. Check its dataset.")
    log_probs, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    check_output(log_probs.cpu(), labels, kind)
    return log_probs, labels


def _score(outputs: Outputs, criterion: Criterion, kind: str) -> Score:
    """Compute loss and accuracy from the outputs. On a GPU, values are read only here, after the last batch."""
    log_probs, labels = _concatenate(outputs, kind)
    loss = criterion(log_probs, labels)
    if not isinstance(loss, Tensor) or loss.isfinite().all():
        check_loss(loss, kind)
    else:
        for number, pair in enumerate(outputs, start=1):
            check_loss(criterion(*pair).cpu(), f"{kind} {number}")
        check_loss(loss.cpu(), kind)
    return Score(loss.item(), 100 * GetCorrectPredCount(log_probs, labels) / len(labels))


def _is_watched() -> bool:
    """Return whether output is interactive: a terminal, or a notebook that is not run by papermill or nbconvert."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if kernel is None:
        return sys.stdout.isatty()
    return bool(kernel.get_parent().get("content", {}).get("allow_stdin"))  # batch execution sets it to False
