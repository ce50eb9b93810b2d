"""The two loops, for any network, loader, optimizer, and criterion: `train` for one epoch, and `test`."""

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from .checks import check_batch, check_loss, check_output

Criterion = Callable[[Tensor, Tensor], Tensor]  # (log_probs [N, 10], labels [N]) to a scalar


class Batches(Protocol):
    """A DataLoader, a DeviceLoader, or a list of (images float32 [N, 1, 28, 28], labels int64 [N])."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class EvalResult(NamedTuple):
    """loss: mean over all images, in nats for the negative log-likelihood; accuracy: percent."""

    loss: float
    accuracy: float


def train(
    model: nn.Module,
    device: torch.device | str,
    train_loader: Batches,
    optimizer: Optimizer,
    criterion: Criterion = F.nll_loss,
    *,
    scheduler: LRScheduler | None = None,
    steps: int | None = None,
    dtype: torch.dtype = torch.float32,
    progress: bool | None = None,
) -> EvalResult:
    """Train for one epoch.

    Args:
        model: Returns log-probabilities, [N, 10]. It must be on the device.
        device: Where to compute.
        train_loader: The batches.
        optimizer: Updates the model after each batch.
        criterion: What to minimize. Takes log-probabilities and labels; returns a scalar.
        scheduler: Stepped after each batch.
        steps: Train only on this many batches.
        dtype: torch.bfloat16 multiplies in 16 bits (autocast). The weights stay float32.
        progress: Whether to show a progress bar; None shows one if a person is watching.

    Returns:
        Mean negative log-likelihood, whatever the criterion, and accuracy. Each image counts as the model saw it,
        before the update of its batch.

    Raises:
        FloatingPointError: If the loss is not finite (on a GPU, after the last step).
        ValueError: If the batches, the model's output, or the criterion's are not as described.
    """
    device = torch.device(device)
    model.train()
    outputs = []
    for where, images, labels in _batches(train_loader, device, "Step", steps, progress):
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            log_probs = model(images)
        check_output(log_probs, labels, where)
        log_probs = log_probs.float()
        loss = criterion(log_probs, labels)
        check_loss(loss, where)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        outputs.append((log_probs.detach(), labels))
    return _score(outputs, F.nll_loss, "Step")


@torch.no_grad()
def test(
    model: nn.Module,
    device: torch.device | str,
    test_loader: Batches,
    criterion: Criterion = F.nll_loss,
    *,
    progress: bool | None = None,
) -> EvalResult:
    """Return the criterion over all images of the loader at once, and the accuracy. See `train`."""
    device = torch.device(device)
    model.eval()
    outputs = []
    for where, images, labels in _batches(test_loader, device, "Test batch", None, progress):
        log_probs = model(images)
        check_output(log_probs, labels, where)
        outputs.append((log_probs, labels))
    return _score(outputs, criterion, "Test batch")


def GetCorrectPredCount(pPrediction: Tensor, pLabels: Tensor) -> int:
    """Return how many predictions, float [N, 10], have their maximum at the label, int64 [N]."""
    if pPrediction.dim() != 2 or pLabels.shape != pPrediction.shape[:1]:
        got = f"{list(pPrediction.shape)} and {list(pLabels.shape)}"
        raise ValueError(f"Expected predictions [N, 10] and labels [N], got {got}.")
    return int((pPrediction.argmax(dim=1) == pLabels).sum())


def _batches(
    loader: Batches, device: torch.device, kind: str, steps: int | None, progress: bool | None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the number of each batch, for messages, and its images and labels, checked and on the device."""
    total = len(loader) if steps is None else min(steps, len(loader))
    hidden = not (_is_watched() if progress is None else progress)
    bar = tqdm(islice(loader, steps), kind, total, leave=False, file=sys.stdout, mininterval=0.5, disable=hidden)
    for number, (images, labels) in enumerate(bar, start=1):
        check_batch(images, labels, f"{kind} {number}")
        yield f"{kind} {number}", images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def _score(outputs: list[tuple[Tensor, Tensor]], criterion: Criterion, kind: str) -> EvalResult:
    """Score what a loop collected. Only here does a loop wait for a GPU and read its values."""
    if not outputs:
        raise ValueError("There was no batch. Check that the loader is not empty and that steps is at least 1.")
    log_probs, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    check_output(log_probs.cpu(), labels, kind)
    loss = criterion(log_probs, labels).cpu()
    if not loss.isfinite().all():
        for number, pair in enumerate(outputs, start=1):
            check_loss(criterion(*pair).cpu(), f"{kind} {number}")
    check_loss(loss, kind)
    return EvalResult(loss.item(), 100 * GetCorrectPredCount(log_probs, labels) / len(labels))


def _is_watched() -> bool:
    """Return whether a person sees a progress bar: on a terminal, or in a notebook that is not executed in batch."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if kernel is None:
        return sys.stdout.isatty()
    return bool(kernel.get_parent().get("content", {}).get("allow_stdin"))  # nobody can answer a batch's question
