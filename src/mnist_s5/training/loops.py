"""The two loops, for any network, loader, optimizer, and criterion: `train` for one epoch, and `test`."""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from .checks import check_batch, check_log_probs, check_loss, check_output

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
    total = len(train_loader) if steps is None else min(steps, len(train_loader))
    model.train()
    outputs = []
    for step, (images, labels) in _progress(islice(train_loader, steps), total, "train", progress):
        check_batch(images, labels, f"Step {step}")
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            log_probs = model(images)
        check_output(log_probs, labels, f"Step {step}")
        log_probs = log_probs.float()
        if step == 1:
            check_log_probs(log_probs)
        loss = criterion(log_probs, labels)
        if device.type == "cpu":  # on a GPU, reading the loss would wait for it
            check_loss(loss, f"Step {step}")
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
    for step, (images, labels) in _progress(test_loader, len(test_loader), "test", progress):
        check_batch(images, labels, f"Test batch {step}")
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        log_probs = model(images)
        check_output(log_probs, labels, f"Test batch {step}")
        if step == 1:
            check_log_probs(log_probs)
        outputs.append((log_probs, labels))
    return _score(outputs, criterion, "Test batch")


def GetCorrectPredCount(pPrediction: Tensor, pLabels: Tensor) -> int:
    """Return how many predictions, float [N, 10], have their maximum at the label, int64 [N]."""
    if pPrediction.dim() != 2 or pLabels.shape != pPrediction.shape[:1]:
        got = f"{list(pPrediction.shape)} and {list(pLabels.shape)}"
        raise ValueError(f"Expected predictions [N, 10] and labels [N], got {got}.")
    return int((pPrediction.argmax(dim=1) == pLabels).sum())


def _score(outputs: list[tuple[Tensor, Tensor]], criterion: Criterion, kind: str) -> EvalResult:
    """Score what a loop collected. Only here a loop waits for a GPU."""
    if not outputs:
        raise ValueError("There was no batch. Check that the loader is not empty and that steps is at least 1.")
    log_probs, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    loss, first = criterion(log_probs, labels), 1
    if not loss.isfinite().all():
        first = next((n for n, pair in enumerate(outputs, 1) if not criterion(*pair).isfinite().all()), len(outputs))
    check_loss(loss, f"{kind} {first}")
    return EvalResult(loss.item(), 100 * GetCorrectPredCount(log_probs, labels) / len(labels))


def _progress(batches: Iterable[Any], total: int, name: str, progress: bool | None) -> Iterator[tuple[int, Any]]:
    """Number the batches from 1, behind a progress bar."""
    hidden = not (_is_watched() if progress is None else progress)
    return enumerate(tqdm(batches, name, total, leave=False, file=sys.stdout, mininterval=0.5, disable=hidden), 1)


def _is_watched() -> bool:
    """Return whether a person sees a progress bar: on a terminal, or in a notebook that is not executed in batch."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if kernel is None:
        return sys.stdout.isatty()
    return bool(kernel.get_parent().get("content", {}).get("allow_stdin"))  # nobody can answer a batch's question
