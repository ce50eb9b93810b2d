"""Input validation for recipes, datasets, and the training and test loops.

`batch` begins each message: "Step 3". Values on a GPU are not read here, because that would force a synchronization.
"""

import sys
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..data.digits import DigitDataset

_FRACTION = ("at least 0 and less than 1", lambda x: 0 <= x < 1)
_PROBABILITY = ("a probability from 0 to 1", lambda x: 0 <= x <= 1)
_MUST_BE = {  # every other field is True or False
    "epochs": ("greater than 0 and less than 1,000,000", lambda x: 0 < x < 1e6),
    "batch_size": ("an integer of at least 1", lambda x: isinstance(x, int) and x >= 1),
    "learning_rate": ("a finite number above 0", lambda x: 0 < x <= sys.float_info.max),
    "momentum": _FRACTION,
    "weight_decay": ("a finite number of at least 0", lambda x: 0 <= x <= sys.float_info.max),
    "schedule": ("step or one_cycle", lambda x: x in ("step", "one_cycle")),
    "init": ("torch or he", lambda x: x in ("torch", "he")),
    "label_smoothing": _FRACTION,
    "crop_prob": _PROBABILITY,
    "degrees": ("a number from 0 to 180", lambda x: 0 <= x <= 180),
    "scale_jitter": _FRACTION,
    "translate_px": ("a number of pixels from 0 to 28", lambda x: 0 <= x <= 28),
    "flip_prob": _PROBABILITY,
    "augment_prob": _PROBABILITY,
    "photometric_prob": _PROBABILITY,
}


def _describe(value: object) -> str:
    return f"{str(value.dtype)[6:]} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


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


def check_fields(recipe: Any) -> None:
    """Raise ValueError if a field of a Recipe is invalid, or two fields contradict each other."""
    if type(recipe.name) is not str:
        raise ValueError(f"name={recipe.name!r} is invalid. It must be text.")
    for field in fields(recipe)[1:]:
        value = getattr(recipe, field.name)
        if isinstance(value, np.generic):  # json cannot serialize NumPy scalars
            value = value.item()
            object.__setattr__(recipe, field.name, value)
        wanted, holds = _MUST_BE.get(field.name, ("True or False", lambda x: True))
        kind = (int, float) if type(field.default) in (int, float) else type(field.default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or not holds(value):
            raise ValueError(f"{field.name}={value!r} is invalid. It must be {wanted}.")
    if (recipe.nesterov or recipe.muon) and not recipe.momentum:
        raise ValueError("momentum=0 does not work with nesterov=True or muon=True. Use a momentum above 0.")
    if recipe.muon and not recipe.nesterov:
        raise ValueError("nesterov=False does not work with muon=True. Set nesterov=True.")
    if recipe.weight_decay and not recipe.muon:
        raise ValueError(f"weight_decay={recipe.weight_decay!r} works only with Muon. Set muon=True.")
    needs_batches = recipe.scale_jitter or recipe.translate_px or recipe.augment_prob < 1 or recipe.photometric_prob
    if needs_batches and not recipe.batch_augment:
        raise ValueError("scale_jitter, translate_px, augment_prob, and photometric_prob need batch_augment=True.")


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


def check_model(model: nn.Module, criterion: object = None) -> None:
    """Raise ValueError for weights in float64 (images are float32), and TypeError for a class such as nn.NLLLoss."""
    if any(parameter.dtype == torch.float64 for parameter in model.parameters()):
        raise ValueError("The model's weights are float64. Call model.float(), or set_default_dtype(torch.float32).")
    if isinstance(criterion, type):
        raise TypeError(f"The criterion is the class {criterion.__name__}. Create it: {criterion.__name__}().")


def check_fresh(model: nn.Module, again: nn.Module) -> None:
    """Raise ValueError if a network loads weights: two of them have equal ones, which `init="he"` would replace."""
    others = dict(again.named_parameters())
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and name in others and weight.min() < weight.max() and weight.equal(others[name]):
            raise ValueError(
                f"The network has fixed weights ({name}), which init='he' would replace. "
                "To keep them, use a recipe with init='torch'. To train from scratch, do not load them."
            )


def check_training(model: nn.Module, optimizer: Optimizer, criterion: object, scheduler: object) -> None:
    """Raise TypeError or ValueError if these cannot train the model."""
    check_model(model, criterion)
    updated = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in updated for parameter in model.parameters()):
        raise ValueError("The optimizer updates no parameter of this model. Build it again, from model.parameters().")
    if isinstance(scheduler, ReduceLROnPlateau):
        raise TypeError("ReduceLROnPlateau needs a loss, so train cannot step it. Step it yourself after each epoch.")


def explained(error: ValueError, images: Tensor, batch: str) -> ValueError:
    """Return the error that a model raised, or one sentence if the batch has a single image."""
    few = len(images) == 1 and "more than 1 value per channel" in str(error)
    fix = f"{batch}: the batch has one image, and BatchNorm needs two. Use another batch size."
    return ValueError(fix) if few else error


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


def check_loss(loss: object, batch: str, trained: bool = False) -> None:
    """Raise ValueError for a loss that is not a scalar tensor, and FloatingPointError for one that is not finite.

    In training, it must depend on a parameter that requires a gradient.
    """
    if not isinstance(loss, Tensor) or loss.ndim:
        got = _describe(loss)
        raise ValueError(f"{batch}: expected the criterion to return a scalar, got {got}. Use reduction='mean'.")
    if loss.device.type == "cpu" and not loss.isfinite():
        raise FloatingPointError(f"{batch}: the loss is NaN or infinite. Lower the learning rate, or check the data.")
    if trained and not loss.requires_grad:
        raise ValueError(f"{batch}: the loss has no gradient. Are all weights frozen, or does forward() detach?")
