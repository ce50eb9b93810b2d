"""What the loops reject, each with one sentence: wrong batches, wrong outputs, and losses that are not finite.

`where` begins the sentence: "Step 3" or "Test batch 3". Values on a GPU are not read, because that would wait for it.
"""

import torch
from torch import Tensor


def _describe(value: object) -> str:
    return f"{str(value.dtype)[6:]} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def check_batch(images: Tensor, labels: Tensor, where: str) -> None:
    """Check that images are finite float32 [N, 1, 28, 28], and labels int64 [N] from 0 to 9.

    Raises:
        ValueError: For a wrong shape, type, or label.
        FloatingPointError: For an image that is not finite.
    """
    if images.dim() != 4 or images.shape[1:] != (1, 28, 28) or images.dtype != torch.float32:
        got = _describe(images)
        raise ValueError(f"{where}: expected images float32 [N, 1, 28, 28], got {got}. Normalize them first.")
    if not len(images):
        raise ValueError(f"{where}: the batch is empty. Check the loader.")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"{where}: expected labels int64 [{len(images)}], got {_describe(labels)}. Check the dataset.")
    if labels.device.type == "cpu" and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        wrong = int(labels[(labels < 0) | (labels > 9)][0])
        raise ValueError(f"{where}: expected labels from 0 to 9, got {wrong}. Check the dataset.")
    if images.device.type == "cpu" and not images.isfinite().all():
        raise FloatingPointError(f"{where}: an image is not finite. Check the data and its transform.")


def check_output(log_probs: object, labels: Tensor, where: str) -> None:
    """Raise ValueError unless the model returned [N, 10], and the probabilities of each image sum to 1, within 0.05."""
    if not isinstance(log_probs, Tensor) or log_probs.shape != (len(labels), 10):
        got = _describe(log_probs)
        raise ValueError(f"{where}: expected the model to return [{len(labels)}, 10], got {got}. Check its last layer.")
    if log_probs.device.type == "cpu":
        totals = log_probs.detach().float().exp().sum(dim=1)
        worst = totals[(totals - 1).abs().argmax()].item()
        if abs(worst - 1) > 0.05:  # false for nan, which check_loss reports
            raise ValueError(
                f"{where}: expected log-probabilities, but the probabilities for one image sum to {worst:.3g} instead "
                "of 1. End forward() with log_softmax(x, dim=1)."
            )


def check_loss(loss: Tensor, where: str) -> None:
    """Raise ValueError for a loss that is not a scalar, and FloatingPointError for one that is not finite."""
    if loss.ndim:
        got = list(loss.shape)
        raise ValueError(f"{where}: expected a criterion that returns a scalar, got {got}. Use reduction='mean'.")
    if loss.device.type == "cpu" and not loss.isfinite():
        raise FloatingPointError(f"{where}: the loss is not finite. Lower the learning rate, or check the data.")
