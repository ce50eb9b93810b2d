"""Where a recipe becomes a run: network, loaders, optimizer, and schedule, and `fit`, which trains them."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, OneCycleLR, StepLR
from torch.utils.data import DataLoader

from ..data.augment import sample_affine
from ..data.digits import DigitDataset, train_transforms
from ..data.loaders import DeviceLoader, make_dataloader
from ..device import get_device, seed_everything
from ..model import Net
from .checkpoint import Epoch, History, RunFolder, describe_environment
from .loops import test, train
from .muon import Muon
from .recipes import Recipe

Loader = DataLoader | DeviceLoader


def make_model(recipe: Recipe, network: Callable[[], nn.Module] = Net, device: torch.device | str = "cpu") -> nn.Module:
    """Build a network with the recipe's initial weights, sampled on the CPU, and its memory layout on the device."""
    model = network()
    if recipe.init == "he":
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    return model.to(device, memory_format=layout)  # type: ignore[call-overload]


def make_loaders(
    recipe: Recipe, train_set: DigitDataset, test_set: DigitDataset, device: torch.device | str = "cpu"
) -> tuple[Loader, Loader]:
    """Return a loader of the training set, shuffled and augmented by the recipe, and one of the plain test set.

    The datasets' own transforms are not used.
    """
    for dataset in (train_set, test_set):
        if not isinstance(dataset, DigitDataset):
            got = type(dataset).__name__
            raise TypeError(f"Expected a DigitDataset, got {got}. Build one: DigitDataset(data, targets, name).")
    classic = {name: getattr(recipe, name) for name in ("crop_prob", "degrees", "flip_prob")}
    test_loader = DeviceLoader(test_set, device=device)
    if not recipe.batch_augment:
        by_image = DigitDataset(train_set.data, train_set.targets, train_set.name, train_transforms(**classic))
        return make_dataloader(by_image, recipe.batch_size, shuffle=True, device=device), test_loader
    more = {name: getattr(recipe, name) for name in ("scale_jitter", "translate_px", "augment_prob")}
    sampler = partial(sample_affine, **classic, **more)
    return DeviceLoader(train_set, recipe.batch_size, sampler, shuffle=True, device=device), test_loader


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return SGD; or, for a recipe with Muon, Muon for all matrices and filters but the last, and SGD for the rest."""
    every = list(parameters)
    hidden = [parameter for parameter in every if parameter.dim() > 1][:-1]
    if not recipe.muon:
        return SGD(every, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if not hidden:
        raise ValueError("muon=True needs a network with two matrices or more. Set muon=False.")
    others = [parameter for parameter in every if all(parameter is not known for known in hidden)]
    groups = [
        {"params": others, "use_muon": False},
        {"params": hidden, "weight_decay": recipe.weight_decay, "dtype": recipe.dtype(hidden[0].device)},
    ]
    return Muon(groups, recipe.learning_rate, recipe.momentum)


def make_scheduler(recipe: Recipe, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    """Return the recipe's schedule, to be stepped after each optimizer step."""
    if recipe.schedule == "step":
        return StepLR(optimizer, step_size=15 * steps_per_epoch, gamma=0.1)
    total = recipe.steps(steps_per_epoch)
    if total < 10:  # too few to warm up: OneCycleLR would divide by zero, or never leave zero
        return LinearLR(optimizer, start_factor=1.0, end_factor=1 / total, total_iters=total)
    how: dict[str, Any] = {"pct_start": 0.2, "anneal_strategy": "linear", "cycle_momentum": False}
    return OneCycleLR(optimizer, recipe.learning_rate, total_steps=total, **how)


def smoothed_nll_loss(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the mean of `F.cross_entropy(logits, labels, label_smoothing=smoothing)`, from log-probabilities.

    `F.cross_entropy` takes logits and would apply log_softmax a second time.
    """
    return torch.lerp(F.nll_loss(log_probs, labels), -log_probs.mean(), smoothing)


def describe_run(
    recipe: Recipe, seed: int, model: nn.Module, train_set: DigitDataset, test_set: DigitDataset
) -> dict[str, Any]:
    """Return the facts that identify a run. Resuming compares them, and metrics.json records them."""
    checksum = hashlib.sha256()
    for part in (train_set.data, train_set.targets, test_set.data, test_set.targets):
        checksum.update(part.numpy().tobytes())
    facts: dict[str, Any] = {"dataset": train_set.name, "recipe": recipe.name, "seed": seed}
    facts |= {name: value for name, value in asdict(recipe).items() if name != "name"}
    facts |= {"train_images": len(train_set), "test_images": len(test_set), "checksum": checksum.hexdigest()[:16]}
    return facts | {"network": " ".join(str(model).split())}  # its layers, on one line


def fit(
    recipe: Recipe,
    train_set: DigitDataset,
    test_set: DigitDataset,
    *,
    seed: int = 1,
    device: torch.device | str = "auto",
    folder: str | Path | None = None,
    resume: bool = True,
    network: Callable[[], nn.Module] = Net,
    progress: bool | None = None,
) -> tuple[nn.Module, History]:
    """Train a network by the recipe, and score the test set after each epoch, for the curves only.

    Everything random in an epoch depends only on the seed and the number of the epoch.

    Args:
        recipe: How to train.
        train_set: The digits to train on.
        test_set: The digits to score. Pass a validation set if you choose anything by the result.
        seed: Seed of the initial weights, the order of the digits, and the augmentation.
        device: Where to compute. See `get_device`.
        folder: Where to save a resume file after each epoch (the last two are kept), and at the end the weights and
            metrics.json. A later call with the same arguments resumes after the last finished epoch, and ends with the
            same weights, bit for bit, on the same machine. None saves nothing.
        resume: False starts over, and deletes the folder's resume files.
        network: Builds the network: a class, or a function without arguments.
        progress: See `train`.

    Returns:
        The network in eval mode, and what was measured after each epoch.

    Raises:
        CheckpointError: If the folder belongs to a different run.
        FloatingPointError: If the loss is not finite.
    """
    seed, device = int(seed), get_device(device)
    seed_everything(seed)
    model = make_model(recipe, network, device)
    train_loader, test_loader = make_loaders(recipe, train_set, test_set, device)
    per_epoch, dtype = len(train_loader), recipe.dtype(device)
    total = recipe.steps(per_epoch)
    optimizer = make_optimizer(recipe, model.parameters())
    scheduler = make_scheduler(recipe, optimizer, per_epoch)
    criterion = partial(smoothed_nll_loss, smoothing=recipe.label_smoothing) if recipe.label_smoothing else F.nll_loss
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    facts = describe_run(recipe, seed, model, train_set, test_set)
    run = RunFolder(Path(folder), facts, describe_environment(device, dtype), parts) if folder else None
    history = History(run.restore(resume) if run else [], train_set.name)
    for epoch in range(len(history), math.ceil(total / per_epoch)):
        seed_everything(seed, epoch)
        steps, rate = min(per_epoch, total - epoch * per_epoch), float(scheduler.get_last_lr()[0])
        how: dict[str, Any] = {"scheduler": scheduler, "steps": steps, "dtype": dtype, "progress": progress}
        start = time.perf_counter()
        try:
            trained = train(model, device, train_loader, optimizer, criterion, **how)
        except FloatingPointError as error:
            raise FloatingPointError(f"Recipe {recipe.name}, epoch {epoch + 1}. {error}") from None
        seconds = time.perf_counter() - start
        tested = test(model, device, test_loader, progress=progress)
        history.append(Epoch(epoch + steps / per_epoch, rate, *trained, *tested, seconds))
        print(f"epoch {history[-1].epoch:5.2f} of {total / per_epoch:.2f}  {history[-1]}", flush=True)
        if run:
            run.save(history)
    if run:
        run.finish(history)
    return model.eval(), history
