"""Input validation for the training and test loops.

`batch` begins each message: "Step 3". Values on a GPU are not read here, because that would force a synchronization.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..data.digits import DigitDataset


def _describe(value: object) -> str:
    return f"{str(value.dtype)[6:]} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def check_positive(name: str, value: int | None) -> None:
    """Raise ValueError unless it is None or an integer of at least 1."""
    if value is not None and (not isinstance(value, Integral) or value < 1):
        raise ValueError(f"{name}={value!r} is invalid. It must be an integer of at least 1, or None.")


@contextmanager
def locate_errors(place: str) -> Iterator[None]:
    """Put the place, "Recipe fast, epoch 2", in front of the message of a FloatingPointError."""
    try:
        yield
    except FloatingPointError as error:
        at_step = str(error)[0].lower() + str(error)[1:]
        raise FloatingPointError(f"{place}, {at_step}") from None


def check_batch(images: object, labels: object, batch: str) -> None:
    """Check that images are finite float32 [N, 1, 28, 28], and labels int64 [N] from 0 to 9.

    Raises:
        ValueError: For a wrong shape, type, or label.
        FloatingPointError: For an image that is not finite.
    """
    if not isinstance(images, Tensor) or images.shape[1:] != (1, 28, 28) or images.dtype != torch.float32:
        fix = "Pass tensors"
        if isinstance(images, Tensor):
            floats = "Call .float()" if images.is_floating_point() else "Normalize them first"
            fix = floats if images.shape[1:] == (1, 28, 28) else "Reshape them"
        raise ValueError(f"{batch}: expected images float32 [N, 1, 28, 28], got {_describe(images)}. {fix}.")
    n = len(images)
    if not n:
        raise ValueError(f"{batch}: the batch is empty. Check the loader.")
    if not isinstance(labels, Tensor) or labels.shape != (n,) or labels.dtype != torch.int64:
        raise ValueError(f"{batch}: expected labels int64 [{n}], got {_describe(labels)}. Check the dataset.")
    if labels.device.type == "cpu":
        check_labels(labels, batch)
    if images.device.type == "cpu" and not images.isfinite().all():
        raise FloatingPointError(f"{batch}: the images contain NaN or infinity. Check the data and its transform.")


def check_labels(labels: Tensor, batch: str) -> None:
    """Raise ValueError unless all labels are from 0 to 9."""
    wrong = labels[(labels < 0) | (labels > 9)]
    if len(wrong):
        raise ValueError(f"{batch}: expected labels from 0 to 9, got {int(wrong[0])}. Check the dataset.")


def check_dataset(dataset: object) -> None:
    """Raise TypeError unless it is a DigitDataset, and ValueError for a wrong shape, type, or label."""
    if isinstance(dataset, DigitDataset) and type(dataset.name) is not str:
        raise TypeError(f"The name of a DigitDataset must be text, got {dataset.name!r}.")
    if not isinstance(dataset, DigitDataset):
        got = type(dataset).__name__
        raise TypeError(f"Expected a DigitDataset, got {got}. Build one: DigitDataset(data, targets, 'its name').")
    data, targets, name = dataset.data, dataset.targets, f"Dataset {dataset.name}"
    if not isinstance(data, Tensor) or data.dtype != torch.uint8 or not len(data) or data.shape[1:] != (28, 28):
        raise ValueError(f"{name}: expected data uint8 [N, 28, 28] with N > 0, got {_describe(data)}.")
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != (len(data),):
        raise ValueError(f"{name}: expected targets int64 [{len(data)}], got {_describe(targets)}.")
    check_labels(targets, name)


def check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Raise ValueError unless the optimizer updates a parameter of the model."""
    updated = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in updated for parameter in model.parameters()):
        raise ValueError(
            "The optimizer updates no parameter of this model. Build it again, from model.parameters(), whenever you "
            "build the model again."
        )


def check_output(log_probs: object, labels: Tensor, batch: str) -> None:
    """Raise ValueError unless the output is [N, 10], and each image's probabilities sum to 1.

    The tolerance of 0.05 allows for the rounding of bfloat16.
    """
    if not isinstance(log_probs, Tensor) or log_probs.shape != (len(labels), 10):
        got = _describe(log_probs)
        raise ValueError(f"{batch}: expected the model to return [{len(labels)}, 10], got {got}. Check its last layer.")
    if log_probs.device.type == "cpu":
        totals = log_probs.detach().float().exp().sum(dim=1)
        worst = totals[(totals - 1).abs().argmax()].item()
        if abs(worst - 1) > 0.05:  # false for nan, which check_loss reports
            raise ValueError(
                f"{batch}: expected log-probabilities, but the probabilities of one image sum to {worst:.3g} instead "
                "of 1. End forward() with log_softmax(x, dim=1)."
            )


def check_loss(loss: object, batch: str) -> None:
    """Raise ValueError for a loss that is not a scalar tensor, and FloatingPointError for one that is not finite."""
    if not isinstance(loss, Tensor) or loss.ndim:
        got = _describe(loss)
        raise ValueError(f"{batch}: expected the criterion to return a scalar, got {got}. Use reduction='mean'.")
    if loss.device.type == "cpu" and not loss.isfinite():
        raise FloatingPointError(f"{batch}: the loss is NaN or infinite. Lower the learning rate, or check the data.")
