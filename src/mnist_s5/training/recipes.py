"""Recipes: everything about training except the network, as data."""

import sys
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from ..device import autocast_dtype
from ..files import did_you_mean

_LARGEST = sys.float_info.max
_FRACTION = ("at least 0 and less than 1", lambda x: 0 <= x < 1)
_PROBABILITY = ("a probability from 0 to 1", lambda x: 0 <= x <= 1)
_MUST_BE = {  # every other field is True or False
    "epochs": ("greater than 0 and less than 1,000,000", lambda x: 0 < x < 1e6),
    "batch_size": ("an integer of at least 1", lambda x: isinstance(x, int) and x >= 1),
    "learning_rate": ("a finite number above 0", lambda x: 0 < x <= _LARGEST),
    "momentum": _FRACTION,
    "weight_decay": ("a finite number of at least 0", lambda x: 0 <= x <= _LARGEST),
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


@dataclass(frozen=True)
class Recipe:
    """Training settings. The defaults reproduce the reference.

    Args:
        name: Name of the recipe.
        epochs: Passes over the training set. May be a fraction.
        batch_size: Images per step.
        learning_rate: Peak learning rate.
        momentum: Momentum factor for SGD or Muon.
        nesterov: Whether to use Nesterov momentum. Muon requires it.
        muon: Whether to use Muon for filters and hidden weight matrices. The rest use SGD.
        weight_decay: Decoupled weight decay. Requires Muon.
        schedule: "step" (times 0.1 every 15 epochs) or "one_cycle" (linear warmup from 1/25 of the peak over
            a fifth of the steps, then linear decay to zero; with fewer than 10 steps, only a linear decay).
        init: Initial weights: "torch" (PyTorch's default) or "he" (He et al. 2015: variance 2 / fan-in, which keeps
            the variance of activations roughly constant through ReLUs; biases are zero).
        label_smoothing: Fraction of each label that is spread over all ten classes (Szegedy et al. 2016).
        batch_augment: Whether to augment whole batches on the device, instead of one PIL image at a time.
        crop_prob, degrees, scale_jitter, translate_px, flip_prob, augment_prob: See `sample_affine`.
        photometric_prob: Fraction of the digits that `photometric_distort` distorts.
        photometric_decay: Whether this fraction falls linearly to zero during training.
        channels_last: Whether to use the channels_last memory format.
        use_bf16: Whether to use bfloat16 autocast on devices that support it.

    Raises:
        ValueError: If a value is invalid, or two values contradict each other.
    """

    name: str
    epochs: float = 20
    batch_size: int = 512
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    muon: bool = False
    weight_decay: float = 0.0
    schedule: str = "step"
    init: str = "torch"
    label_smoothing: float = 0.0
    batch_augment: bool = False
    crop_prob: float = 0.1
    degrees: float = 15.0
    scale_jitter: float = 0.0
    translate_px: float = 0.0
    flip_prob: float = 0.0
    augment_prob: float = 1.0
    photometric_prob: float = 0.0
    photometric_decay: bool = False
    channels_last: bool = False
    use_bf16: bool = False

    def __post_init__(self) -> None:
        if type(self.name) is not str:
            raise ValueError(f"name={self.name!r} is invalid. It must be text.")
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # json cannot serialize NumPy scalars
                value = value.item()
                object.__setattr__(self, field.name, value)
            wanted, holds = _MUST_BE.get(field.name, ("True or False", lambda x: True))
            kind = (int, float) if type(field.default) in (int, float) else type(field.default)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or not holds(value):
                raise ValueError(f"{field.name}={value!r} is invalid. It must be {wanted}.")
        if (self.nesterov or self.muon) and not self.momentum:
            raise ValueError("momentum=0 does not work with nesterov=True or muon=True. Use a momentum above 0.")
        if self.muon and not self.nesterov:
            raise ValueError("nesterov=False does not work with muon=True. Set nesterov=True.")
        if self.weight_decay and not self.muon:
            raise ValueError(f"weight_decay={self.weight_decay!r} works only with Muon. Set muon=True.")
        needs_batches = self.scale_jitter or self.translate_px or self.augment_prob < 1 or self.photometric_prob
        if needs_batches and not self.batch_augment:
            raise ValueError("scale_jitter, translate_px, augment_prob, and photometric_prob need batch_augment=True.")

    def steps(self, steps_per_epoch: int) -> int:
        """Return the total number of steps, at least one."""
        return max(1, round(self.epochs * steps_per_epoch))

    def dtype(self, device: torch.device | str) -> torch.dtype:
        """Return the autocast dtype: bfloat16 if `use_bf16` is set and the device supports it, otherwise float32."""
        return autocast_dtype(device) if self.use_bf16 else torch.float32


_FAST = Recipe(
    "fast", epochs=1, batch_size=128, learning_rate=0.03, nesterov=True, muon=True, weight_decay=0.3,
    schedule="one_cycle", init="he", label_smoothing=0.05, batch_augment=True, crop_prob=0.0, scale_jitter=0.1,
    translate_px=2.0, photometric_prob=0.3, photometric_decay=True, channels_last=True, use_bf16=True,
)  # fmt: skip
_BEST = replace(
    _FAST, name="best", epochs=20, batch_size=64, learning_rate=0.02, weight_decay=0.05, scale_jitter=0.15,
    translate_px=2.5, augment_prob=0.8, photometric_decay=False,
)  # fmt: skip
RECIPES = {recipe.name: recipe for recipe in (Recipe("reference"), _FAST, _BEST)}
# With 4,000 images, `fast` needs more epochs, smaller batches, a lower learning rate, and less weight decay.
ON_SAMPLE = {"fast": {"epochs": 16, "batch_size": 64, "learning_rate": 0.02, "weight_decay": 0.2}}


def get_recipe(name: str, dataset: str = "mnist", **changes: Any) -> Recipe:
    """Return a recipe by name.

    Args:
        name: "reference", "fast", or "best".
        dataset: "mnist" or "sample". `fast` has different values for the sample.
        **changes: Fields to override. None keeps the recipe's value.

    Raises:
        ValueError: If a name, a field, or a value is unknown or invalid. The message lists the allowed ones.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe={name!r} is unknown. {did_you_mean(name, RECIPES)}")
    if dataset not in ("mnist", "sample"):
        raise ValueError(f"dataset={dataset!r} is unknown. {did_you_mean(dataset, ('mnist', 'sample'))}")
    allowed = [field.name for field in fields(Recipe)]
    for unknown in sorted(changes.keys() - set(allowed)):
        raise ValueError(f"Recipe has no field {unknown!r}. {did_you_mean(unknown, allowed)}")
    adapted = ON_SAMPLE.get(name, {}) if dataset == "sample" else {}
    return replace(RECIPES[name], **adapted | {key: value for key, value in changes.items() if value is not None})
