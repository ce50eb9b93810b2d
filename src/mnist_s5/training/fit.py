"""Build the model, loaders, optimizer, and schedule from a recipe, and train with `fit`."""

import math
import operator
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler, OneCycleLR, StepLR
from torch.utils.data import DataLoader

from ..data.augment import apply_affine, photometric_distort, sample_affine
from ..data.digits import DigitDataset, train_transforms
from ..data.loaders import DeviceLoader, make_dataloader
from ..device import get_device, seed_everything
from ..model import Net
from .checkpoint import Epoch, History, RunFolder, describe_environment, describe_run
from .checks import check_dataset, check_positive, locate_errors
from .loops import test, train
from .muon import Muon
from .recipes import Recipe


def make_model(recipe: Recipe, network: Callable[[], nn.Module] = Net, device: torch.device | str = "cpu") -> nn.Module:
    """Build a network on the device, with the recipe's memory format and initial weights.

    The weights are sampled on the CPU, so they do not depend on the device.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"Expected a Recipe, got {recipe!r}. Build one: get_recipe('fast').")
    if isinstance(network, nn.Module) or not callable(network) or not isinstance(model := network(), nn.Module):
        raise TypeError("Expected network to be a class, or a function that builds a network. Pass network=MyNet.")
    if recipe.init == "he":
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    return model.to(device, memory_format=layout)  # type: ignore[call-overload]


def augment(images: Tensor, recipe: Recipe, fraction_done: Callable[[], float]) -> Tensor:
    """Augment a batch as the recipe says. `fraction_done` returns the fraction of the run that is done.

    Images are uint8 or float [N, 1, S, S]. Returns float. All values are from 0 to 255.
    """
    fields = ("crop_prob", "degrees", "scale_jitter", "translate_px", "flip_prob", "augment_prob")
    theta = sample_affine(len(images), device=images.device, **{name: getattr(recipe, name) for name in fields})
    remaining = 1 - fraction_done() if recipe.photometric_decay else 1.0
    return photometric_distort(apply_affine(images, theta), recipe.photometric_prob * remaining)


def make_loaders(
    recipe: Recipe,
    train_set: DigitDataset,
    test_set: DigitDataset,
    device: torch.device | str = "cpu",
    fraction_done: Callable[[], float] = lambda: 0.0,
) -> tuple[DataLoader | DeviceLoader, DeviceLoader]:
    """Return the training loader (shuffled, augmented as the recipe says) and the test loader (in order).

    The datasets' own transforms are not used. `fraction_done` returns the fraction of the run that is done, which
    `photometric_decay` needs. By default, it is 0, and nothing decays.

    Raises:
        TypeError: If one of them is not a DigitDataset.
        ValueError: If its digits or labels have a wrong shape, type, or value.
    """
    for dataset in (train_set, test_set):
        check_dataset(dataset)
    test_loader = DeviceLoader(test_set, device=device)
    if recipe.batch_augment:
        augmented = partial(augment, recipe=recipe, fraction_done=fraction_done)
        return DeviceLoader(train_set, recipe.batch_size, augmented, shuffle=True, device=device), test_loader
    transform = train_transforms(recipe.flip_prob, recipe.crop_prob, recipe.degrees)
    by_image = DigitDataset(train_set.data, train_set.targets, train_set.name, transform)
    return make_dataloader(by_image, recipe.batch_size, shuffle=True, device=device), test_loader


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return SGD, or Muon with SGD for the biases and the output layer."""
    parameters = list(parameters)
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    if not recipe.muon:
        return SGD(parameters, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if len(matrices) < 2:
        raise ValueError("muon=True needs at least two weight matrices. Set muon=False.")
    groups = [
        {"params": [parameter for parameter in parameters if parameter.dim() < 2] + matrices[-1:], "use_muon": False},
        {"params": matrices[:-1], "weight_decay": recipe.weight_decay},
    ]
    return Muon(groups, recipe.learning_rate, recipe.momentum, dtype=recipe.dtype(matrices[0].device))


def make_scheduler(recipe: Recipe, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    """Return the recipe's scheduler. Step it after every optimizer step."""
    if recipe.schedule == "step":
        return StepLR(optimizer, step_size=15 * steps_per_epoch, gamma=0.1)
    total = recipe.steps(steps_per_epoch)
    if total < 10:  # too few for warmup: OneCycleLR divides by zero at 5 steps
        return LinearLR(optimizer, start_factor=1.0, end_factor=1 / total, total_iters=total)
    rate = recipe.learning_rate
    return OneCycleLR(optimizer, rate, total, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False)


def smoothed_nll_loss(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the same as `F.cross_entropy(logits, labels, label_smoothing=smoothing)`, from log-probabilities.

    `F.cross_entropy` takes logits, so it would apply log_softmax a second time.

    Raises:
        ValueError: If smoothing is outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing={smoothing!r} is invalid. It must be at least 0 and less than 1.")
    return torch.lerp(F.nll_loss(log_probs, labels), -log_probs.mean(), smoothing)


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
    evaluate_every: int | None = None,
    progress: bool | None = None,
) -> tuple[nn.Module, History]:
    """Train a network with a recipe, and evaluate it on the test set at least after each epoch (for plotting only).

    Each epoch seeds every random generator from (seed, epoch), so resuming needs no saved random states.

    Args:
        recipe: How to train.
        train_set: The digits to train on.
        test_set: The digits to evaluate on. Pass a validation set if you will use the result to choose anything.
        seed: Random seed for initialization, shuffling, and augmentation.
        device: Where to compute. See `get_device`.
        folder: Run folder: a resume file per epoch (the last two are kept), then the final weights and metrics.json.
            Calling `fit` again with the same arguments resumes after the last finished epoch and, on the same machine,
            ends bit for bit identical to an uninterrupted run. None saves nothing.
        resume: False starts over. The folder's old files are replaced when there are new ones.
        network: Builds the network: a class, or a function without arguments.
        evaluate_every: Number of steps after which to evaluate. None evaluates only after each epoch, which is always
            evaluated. The weights are the same, and the recorded seconds do not include the evaluations.
        progress: See `train`.

    Returns:
        The trained network in eval mode, and its history: an entry for each evaluation.

    Raises:
        CheckpointError: If the folder contains a different run.
        FloatingPointError: If the loss is not finite.
        OSError: If the folder cannot be written.
        TypeError, ValueError: If an argument is invalid.
    """
    seed, device = operator.index(seed), get_device(device)
    check_positive("evaluate_every", evaluate_every)
    seed_everything(seed)
    model = make_model(recipe, network, device)
    # The loader calls the lambda when it makes a batch. The scheduler's last_epoch is the number of steps so far.
    train_loader, test_loader = make_loaders(recipe, train_set, test_set, device, lambda: scheduler.last_epoch / total)
    per_epoch, dtype = len(train_loader), recipe.dtype(device)
    total, every = recipe.steps(per_epoch), evaluate_every or per_epoch
    optimizer = make_optimizer(recipe, model.parameters())
    scheduler = make_scheduler(recipe, optimizer, per_epoch)
    options: dict[str, Any] = {"scheduler": scheduler, "dtype": dtype, "progress": progress}
    options["criterion"] = partial(smoothed_nll_loss, smoothing=recipe.label_smoothing)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    facts = describe_run(recipe, seed, model, train_set, test_set)
    environment = describe_environment(device, dtype) | {"workers": getattr(train_loader, "num_workers", 0)}
    run = RunFolder(Path(folder).expanduser(), facts, environment, parts) if folder else None
    history = History(run.restore(resume) if run else [], train_set.name)
    for epoch in range(math.ceil(history[-1].epoch) if history else 0, math.ceil(total / per_epoch)):
        seed_everything(seed, epoch)
        batches, steps = iter(train_loader), min(per_epoch, total - epoch * per_epoch)
        for done in range(0, steps, every):
            stop, rate, start = min(done + every, steps), scheduler.get_last_lr()[0], time.perf_counter()
            with locate_errors(f"Recipe {recipe.name}, epoch {epoch + 1}" + f" after step {done}" * (done > 0)):
                trained = train(model, device, batches, optimizer, steps=stop - done, **options)
                seconds = time.perf_counter() - start
                tested = test(model, device, test_loader, progress=progress)
            history.append(Epoch(epoch + stop / per_epoch, float(rate), *trained, *tested, seconds))
            print(f"epoch {history[-1].epoch:5.2f} of {total / per_epoch:.2f}  {history[-1]}", flush=True)
        if run:
            run.save(history)
    if run:
        run.finish(history)
    return model.eval(), history
