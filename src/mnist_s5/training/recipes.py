"""Recipes: everything about training except the network, as data."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ..device import Device, autocast_dtype
from ..messages import did_you_mean
from .checks import check_fields


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
        check_fields(self)

    def steps(self, steps_per_epoch: int) -> int:
        """Return the total number of steps, at least one."""
        return max(1, round(self.epochs * steps_per_epoch))

    def dtype(self, device: Device) -> torch.dtype:
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
