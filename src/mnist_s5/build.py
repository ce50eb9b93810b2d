"""What torch makes of a recipe: the network as it starts, its optimizer and schedule, and the loaders."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, OneCycleLR, StepLR
from torch.utils.data import DataLoader

from .augment import draw_affine
from .data import Digits, test_transforms, train_transforms
from .loaders import DeviceLoader, image_loader
from .model import Net
from .muon import Muon
from .recipes import Recipe


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
    """SGD with the recipe's momentum; or Muon for all matrices and filters but the last, and SGD for the rest."""
    every = list(parameters)
    hidden = [parameter for parameter in every if parameter.dim() > 1][:-1]
    if not recipe.muon:
        return SGD(every, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if not hidden:
        raise ValueError("muon=True cannot be used with a network of a single matrix: set muon=False.")
    others = [parameter for parameter in every if all(parameter is not known for known in hidden)]
    groups = [
        {"params": others, "orthogonal": False},
        {"params": hidden, "weight_decay": recipe.weight_decay, "precision": recipe.precision(hidden[0].device)},
    ]
    return Muon(groups, recipe.learning_rate, recipe.momentum)


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


def make_loaders(
    recipe: Recipe, train_set: Digits, test_set: Digits, *, seed: int = 1, device: torch.device | str = "cpu"
) -> tuple[DataLoader | DeviceLoader, DataLoader | DeviceLoader]:
    """Loaders of the digits to train on, shuffled and augmented by the recipe, and of those to test on, as they are."""
    reach: dict[str, Any] = {"crop": recipe.crop, "degrees": recipe.degrees, "flip": recipe.flip}
    if recipe.batched:
        draw = partial(draw_affine, zoom=recipe.zoom, shift=recipe.shift, warped=recipe.warped, **reach)
        batched = DeviceLoader(train_set, recipe.batch_size, draw, shuffle=True, seed=seed, device=device)
        return batched, DeviceLoader(test_set, device=device)
    trained = Digits(train_set.data, train_set.targets, train_set.source, train_transforms(**reach))
    tested = Digits(test_set.data, test_set.targets, test_set.source, test_transforms())
    by_image = image_loader(trained, recipe.batch_size, shuffle=True, seed=seed, device=device)
    return by_image, image_loader(tested, device=device)
