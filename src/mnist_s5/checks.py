"""What the loops refuse: what is no batch of digits, no log-probabilities, or no finite loss."""

import torch
from torch import Tensor


class NotFiniteError(FloatingPointError):
    """The loss was not finite at this step, or batch of a test, counted from 1; `why` says what to look at."""

    def __init__(self, step: int, why: str, what: str = "step") -> None:
        super().__init__(f"At {what} {step} {why}")
        self.step, self.why = step, why


def check_shapes(log_probs: Tensor, labels: Tensor) -> None:
    if log_probs.dim() != 2 or labels.shape != log_probs.shape[:1]:
        wanted = f"labels {tuple(labels.shape)} do not belong to predictions {tuple(log_probs.shape)}"
        raise ValueError(f"{wanted}: they must be [N] and [N, 10].")


def check_batch(images: Tensor, labels: Tensor) -> None:
    """Raises ValueError for what is no batch of digits by shape, type or label (those on a GPU are not looked at)."""
    if images.dim() != 4 or images.shape[1:] != (1, 28, 28) or images.dtype != torch.float32:
        what = f"{str(images.dtype)[6:]} {list(images.shape)}"
        raise ValueError(f"Images {what} cannot be used: normalise them to float32 [N, 1, 28, 28].")
    if not len(images):
        raise ValueError("A batch is empty: look at the loader.")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        what = f"{str(labels.dtype)[6:]} {list(labels.shape)}"
        raise ValueError(f"Labels {what} do not belong to {len(images)} images: they must be int64 [{len(images)}].")
    if labels.device.type == "cpu" and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        wrong = int(labels[(labels < 0) | (labels > 9)][0])
        raise ValueError(f"A label is {wrong}: digits are labelled 0 to 9, look at the data.")


def check_answers(log_probs: object, labels: Tensor) -> None:
    """Raises ValueError for what is not ten answers a digit."""
    shape = list(log_probs.shape) if isinstance(log_probs, Tensor) else type(log_probs).__name__
    if shape != [len(labels), 10]:
        raise ValueError(f"The network gives {shape} for {len(labels)} digits: it must give [N, 10].")


def check_log_probs(log_probs: Tensor) -> None:
    totals = log_probs.detach().exp().sum(dim=1)
    worst = totals[(totals - 1).abs().argmax()].item()
    if abs(worst - 1) > 0.05:  # what is not finite is reported as such, by its loss
        raise ValueError(
            f"The network's answers are no log-probabilities (a digit's probabilities sum to {worst:.3g}, not to 1): "
            "end its forward with log_softmax(x, dim=1)."
        )
