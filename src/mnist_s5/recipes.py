"""Recipes: everything about training but the network, as data; and what torch makes of them."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, OneCycleLR, StepLR

from .model import Net

SCHEDULES = ("step", "one_cycle")
INITS = ("torch", "he")
_MUST_BE = {
    "epochs": ("a number above 0 and below a million", lambda x: 0 < x < 1e6),
    "batch_size": ("a whole number of at least 1", lambda x: isinstance(x, Integral) and int(x) >= 1),
    "learning_rate": ("a finite number above 0", lambda x: math.isfinite(x) and x > 0),
    "momentum": ("a number from 0 to below 1", lambda x: 0 <= x < 1),
    "nesterov": ("True or False", lambda x: True),
    "flip": ("a probability from 0 to 1", lambda x: 0 <= x <= 1),
    "init": (f"one of {', '.join(INITS)}", lambda x: x in INITS),
    "schedule": (f"one of {', '.join(SCHEDULES)}", lambda x: x in SCHEDULES),
}


@dataclass(frozen=True)
class Recipe:
    """How to train; two recipes differ where their fields differ.

    epochs: passes over the training digits, may be a fraction; batch_size: digits a step; learning_rate: the highest of
    the schedule; schedule: "step" (times 0.1 every 15 epochs) or "one_cycle" (linear warm-up over a fifth of the steps,
    then linear decay to zero); flip: probability of a mirror image; init: of the weights, "torch" (its default) or "he"
    (He et al. 2015: variance 2 / fan-in, so that a signal keeps its size through ReLUs; biases zero). Raises
    ValueError, one sentence, for a value that no training can use.
    """

    name: str
    epochs: float = 20
    batch_size: int = 512
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    schedule: str = "step"
    flip: float = 0.0
    init: str = "torch"

    def __post_init__(self) -> None:
        for field, (wanted, holds) in _MUST_BE.items():
            value = getattr(self, field)
            kinds = {"nesterov": (bool,), "schedule": (str,), "init": (str,)}.get(field, (Real,))
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or not holds(value):
                raise ValueError(f"{field}={value!r} cannot be used: it must be {wanted}.")

        if self.nesterov and not self.momentum:
            raise ValueError("momentum=0 cannot be used with nesterov=True: give a momentum above 0.")

    def steps(self, steps_per_epoch: int) -> int:
        """Optimizer updates in all, at least one."""
        return max(1, round(self.epochs * steps_per_epoch))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("reference"),
        Recipe("fast", epochs=1, batch_size=64, learning_rate=0.05, nesterov=True, schedule="one_cycle", init="he"),
    )
}
ON_SAMPLE: dict[str, dict[str, Any]] = {"fast": {"epochs": 8}}  # 4,000 digits want to be seen more than once


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


def make_model(recipe: Recipe) -> Net:
    """A network with the recipe's initial weights, drawn from torch's global generator."""
    model = Net()
    if recipe.init == "he":
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)
    return model


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Stochastic gradient descent with the recipe's momentum."""
    return SGD(parameters, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov)


def make_scheduler(recipe: Recipe, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    """The recipe's schedule, to be stepped after each optimizer update."""
    if recipe.schedule == "step":
        return StepLR(optimizer, step_size=15 * steps_per_epoch, gamma=0.1)
    total = recipe.steps(steps_per_epoch)
    if total < 10:  # too few to warm up: OneCycleLR would divide by zero, or never leave zero
        return LinearLR(optimizer, start_factor=1.0, end_factor=1 / total, total_iters=total)
    return OneCycleLR(
        optimizer,
        max_lr=recipe.learning_rate,
        total_steps=total,
        pct_start=0.2,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
