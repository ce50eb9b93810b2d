"""Recipes: everything about training but the network, as data."""

import difflib
import math
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from .device import fast_dtype

SCHEDULES = ("step", "one_cycle")
INITS = ("torch", "he")
_SHARE = ("a number from 0 to below 1", lambda x: 0 <= x < 1)
_PROBABILITY = ("a probability from 0 to 1", lambda x: 0 <= x <= 1)
_SWITCH = ("True or False", lambda x: True)
_MUST_BE = {
    "epochs": ("a number above 0 and below a million", lambda x: 0 < x < 1e6),
    "batch_size": ("a whole number of at least 1", lambda x: isinstance(x, Integral) and int(x) >= 1),
    "learning_rate": ("a finite number above 0", lambda x: math.isfinite(x) and x > 0),
    "momentum": _SHARE,
    "nesterov": _SWITCH,
    "muon": _SWITCH,
    "weight_decay": ("a finite number of at least 0", lambda x: math.isfinite(x) and x >= 0),
    "schedule": (f"one of {', '.join(SCHEDULES)}", lambda x: x in SCHEDULES),
    "init": (f"one of {', '.join(INITS)}", lambda x: x in INITS),
    "label_smoothing": _SHARE,
    "batched": _SWITCH,
    "crop": _PROBABILITY,
    "degrees": ("a number from 0 to 180", lambda x: 0 <= x <= 180),
    "zoom": _SHARE,
    "shift": ("a number of pixels from 0 to 28", lambda x: 0 <= x <= 28),
    "flip": _PROBABILITY,
    "warped": _PROBABILITY,
    "channels_last": _SWITCH,
    "bfloat16": _SWITCH,
}


@dataclass(frozen=True)
class Recipe:
    """How to train; two recipes differ where their fields differ. Raises ValueError, one sentence, for a useless value.

    epochs: passes over the training digits, may be a fraction; batch_size: digits a step; learning_rate: the highest of
    the schedule; muon: for filters and hidden matrices, instead of SGD; weight_decay: Muon's; schedule: "step" (times
    0.1 every 15 epochs) or "one_cycle" (linear warm-up over a fifth of the steps, then linear decay to zero); init: of
    the weights, "torch" (its default) or "he" (He et al. 2015: variance 2 / fan-in, so that a signal keeps its size
    through ReLUs; biases zero); label_smoothing: the share of each label that is spread over all ten (Szegedy et al.
    2016).

    batched: warp whole batches on the device, instead of one PIL image after the other; crop, degrees, zoom, shift,
    flip, warped: how far and how often, as `draw_affine` says; channels_last: pixel by pixel in memory, instead of
    channel by channel; bfloat16: multiply in 16 bits where the device is faster at it.
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
    batched: bool = False
    crop: float = 0.1
    degrees: float = 15.0
    zoom: float = 0.0
    shift: float = 0.0
    flip: float = 0.0
    warped: float = 1.0
    channels_last: bool = False
    bfloat16: bool = False

    def __post_init__(self) -> None:
        for field in fields(self)[1:]:
            value, (wanted, holds) = getattr(self, field.name), _MUST_BE[field.name]
            kind = {int: Real, float: Real}.get(type(field.default), type(field.default))
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is Real) or not holds(value):
                raise ValueError(f"{field.name}={value!r} cannot be used: it must be {wanted}.")
            if isinstance(value, np.generic):  # a NumPy number, which no file of plain values takes
                object.__setattr__(self, field.name, value.item())
        if (self.nesterov or self.muon) and not self.momentum:
            raise ValueError("momentum=0 cannot be used with nesterov=True or with muon: give a momentum above 0.")
        if self.muon and not self.nesterov:
            raise ValueError("nesterov=False cannot be used with muon, which is built on it: set nesterov=True.")
        if self.weight_decay and not self.muon:
            raise ValueError(f"weight_decay={self.weight_decay!r} cannot be used without muon: set one with the other.")
        if (self.zoom or self.shift or self.warped < 1) and not self.batched:
            raise ValueError("zoom, shift and warped cannot be used image by image: set batched=True.")

    def steps(self, steps_per_epoch: int) -> int:
        """Optimizer updates in all, at least one."""
        return max(1, round(self.epochs * steps_per_epoch))

    def precision(self, device: torch.device | str) -> torch.dtype:
        """In which the network multiplies on that device."""
        return fast_dtype(device) if self.bfloat16 else torch.float32


_FAST = Recipe(
    "fast", epochs=1, batch_size=128, learning_rate=0.03, momentum=0.95, nesterov=True, muon=True,
    weight_decay=0.2, schedule="one_cycle", init="he", label_smoothing=0.05, batched=True, crop=0.0, zoom=0.1,
    shift=2.0, channels_last=True, bfloat16=True,
)  # fmt: skip
_BEST = replace(
    _FAST,
    name="best",
    epochs=20,
    batch_size=64,
    learning_rate=0.02,
    weight_decay=0.05,
    zoom=0.15,
    shift=2.5,
    warped=0.8,
)
RECIPES = {recipe.name: recipe for recipe in (Recipe("reference"), _FAST, _BEST)}
# 4,000 digits want to be seen more than once.
ON_SAMPLE: dict[str, dict[str, Any]] = {
    "fast": {"epochs": 16, "batch_size": 64, "learning_rate": 0.02, "weight_decay": 0.1}
}


def get_recipe(name: str, dataset: str = "mnist", **changes: Any) -> Recipe:
    """The recipe of that name for a data set ("mnist" or "sample"), with the changes that are not None.

    Raises ValueError for an unknown name, field or value, and names the allowed ones.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe={name!r} is unknown: choose one of {', '.join(RECIPES)}.")
    allowed = [field.name for field in fields(Recipe)]
    for unknown in changes.keys() - set(allowed):
        near = difflib.get_close_matches(unknown, allowed, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{unknown} is no field of a recipe{hint}: choose from {', '.join(allowed)}.")
    adapted = ON_SAMPLE.get(name, {}) if dataset == "sample" else {}
    return replace(RECIPES[name], **adapted | {key: value for key, value in changes.items() if value is not None})
