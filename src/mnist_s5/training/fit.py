"""Build the model, loaders, optimizer, and schedule from a recipe, and train with `fit`."""

import math
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
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
from ..device import Device, get_device, seed_everything
from ..metrics import Evaluation, History
from ..model import Net
from .checks import check_dataset, check_fresh
from .loops import test, train
from .muon import Muon
from .recipes import Recipe
from .resume import RunFolder, describe_environment, describe_network, describe_run

Network = Callable[[], nn.Module]  # a class, or a function without arguments, that builds a network


def make_model(recipe: Recipe, network: Network = Net, device: Device = "cpu") -> nn.Module:
    """Build a network on the device, with the recipe's memory format and initial weights.

    The weights are sampled on the CPU, so they do not depend on the device.

    Raises:
        TypeError: If this is not a recipe, or does not build a network.
        ValueError: If the recipe would replace weights that the function loads.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"Expected a Recipe, got {recipe!r}. Build one: get_recipe('fast').")
    model = network() if callable(network) and not isinstance(network, nn.Module) else None
    if not isinstance(model, nn.Module):
        raise TypeError("Expected network to be a class, or a function that builds a network. Pass network=MyNet.")
    if recipe.init == "he":
        with torch.random.fork_rng([]):
            check_fresh(model, network())
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    return model.to(device, memory_format=layout)  # type: ignore[call-overload]


def augment(images: Tensor, step: int, recipe: Recipe, total_steps: int) -> Tensor:
    """Augment the batch of a step as the recipe says.

    Args:
        images: uint8 or float [N, 1, S, S], from 0 to 255.
        step: Number of steps before this one.
        recipe: What to do.
        total_steps: Number of steps of the whole run.

    Returns:
        Float [N, 1, S, S], from 0 to 255.
    """
    fields = ("crop_prob", "degrees", "scale_jitter", "translate_px", "flip_prob", "augment_prob")
    theta = sample_affine(len(images), device=images.device, **{name: getattr(recipe, name) for name in fields})
    remaining = max(0.0, 1 - step / total_steps) if recipe.photometric_decay else 1.0
    return photometric_distort(apply_affine(images, theta), recipe.photometric_prob * remaining)


def make_loaders(
    recipe: Recipe, train_set: DigitDataset, test_set: DigitDataset, device: Device = "cpu"
) -> tuple[DataLoader | DeviceLoader, DeviceLoader]:
    """Return the training loader (shuffled, augmented as the recipe says) and the test loader (in order).

    The datasets' own transforms are not used. If the recipe has `photometric_decay`, set the training loader's `epoch`
    before each epoch.

    Raises:
        TypeError: If one of them is not a DigitDataset.
        ValueError: If its digits or labels have a wrong shape, type, or value.
    """
    for dataset in (train_set, test_set):
        check_dataset(dataset)
    test_loader = DeviceLoader(test_set, device=device)
    if recipe.batch_augment:
        total_steps = recipe.steps(math.ceil(len(train_set) / recipe.batch_size))
        augmented = partial(augment, recipe=recipe, total_steps=total_steps)
        return DeviceLoader(train_set, recipe.batch_size, augmented, shuffle=True, device=device), test_loader
    transform = train_transforms(recipe.flip_prob, recipe.crop_prob, recipe.degrees)
    by_image = DigitDataset(train_set.data, train_set.targets, train_set.name, transform)
    return make_dataloader(by_image, recipe.batch_size, shuffle=True, device=device), test_loader


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return SGD, or Muon with SGD for the biases and the output layer, which has to be the last weight matrix."""
    if not (parameters := list(parameters)):
        raise ValueError("The network has no parameters, so there is nothing to train. Add a layer with weights.")
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
    """
    return torch.lerp(F.nll_loss(log_probs, labels), -log_probs.mean(), smoothing)


def _build(
    recipe: Recipe, network: Network, seed: int, train_set: DigitDataset, test_set: DigitDataset, device: torch.device
) -> tuple[nn.Module, DataLoader | DeviceLoader, DeviceLoader, Optimizer, LRScheduler]:
    """Build everything that a run needs from its recipe. The seed determines the initial weights."""
    seed_everything(seed)
    model = make_model(recipe, network, device)
    train_loader, test_loader = make_loaders(recipe, train_set, test_set, device)
    optimizer = make_optimizer(recipe, model.parameters())
    scheduler = make_scheduler(recipe, optimizer, len(train_loader))
    return model, train_loader, test_loader, optimizer, scheduler


def _spans(evaluate_at: Sequence[float], total_steps: int, per_epoch: int) -> list[tuple[int, int]]:
    """Return the parts of a run between evaluations: the number of steps before and after each."""
    if wrong := [fraction for fraction in evaluate_at if not 0 <= fraction <= 1]:
        raise ValueError(f"evaluate_at contains {wrong[0]!r}. Pass fractions of the run, from 0 to 1.")
    marks = {round(fraction * total_steps) for fraction in evaluate_at}
    return list(pairwise(sorted(marks | {*range(0, total_steps, per_epoch), total_steps})))


def fit(
    recipe: Recipe,
    train_set: DigitDataset,
    test_set: DigitDataset,
    *,
    seed: int = 1,
    device: Device = "auto",
    folder: str | Path | None = None,
    resume: bool = True,
    network: Network = Net,
    evaluate_at: Sequence[float] = (),
    on_evaluation: Callable[[nn.Module, History], object] = lambda model, history: None,
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
            Calling `fit` again with the same folder, seed, recipe, digits, and network resumes after the last finished
            epoch and, on the same machine, ends bit for bit identical to an uninterrupted run. A finished run returns
            its result. A network is the same if, with the same weights, it has the same outputs and gradients. None
            saves nothing.
        resume: False starts over. The folder's old files are replaced when there are new ones.
        network: Builds the network: a class, or a function without arguments. It maps images, float
            [N, 1, 28, 28], to log-probabilities, [N, 10]. With a folder, it is built once more, to identify it.
        evaluate_at: Fractions of the run after which to evaluate, besides after each epoch. Evaluations do not change
            the weights, and the recorded seconds do not include them.
        on_evaluation: Called after each evaluation with the model, in eval mode, and the history so far. It must leave
            the model and torch's random numbers as they are.
        progress: See `train`. Each evaluation prints a line, in any case.

    Returns:
        The trained network in eval mode, and its history: an entry for each evaluation.

    Raises:
        CheckpointError: If the folder contains a different run.
        FloatingPointError: If the loss is not finite.
        OSError: If the folder cannot be written.
        TypeError, ValueError: If an argument is invalid.
    """
    seed, device = operator.index(seed), get_device(device)
    network_facts = describe_network(partial(make_model, recipe, network), device) if folder else {}
    model, train_loader, test_loader, optimizer, scheduler = _build(recipe, network, seed, train_set, test_set, device)
    per_epoch, total_steps = len(train_loader), recipe.steps(len(train_loader))
    spans = _spans(evaluate_at, total_steps, per_epoch)
    facts = describe_run(recipe, seed, train_set, test_set) | network_facts
    parts = {"model": getattr(model, "_orig_mod", model), "optimizer": optimizer, "scheduler": scheduler}
    run = RunFolder(folder, facts, describe_environment(device, recipe, train_loader, model), parts) if folder else None
    history = History(run.restore(resume) if run else [], train_set.name)
    criterion = partial(smoothed_nll_loss, smoothing=recipe.label_smoothing)
    options: dict[str, Any] = {"scheduler": scheduler, "dtype": recipe.dtype(device), "progress": progress}
    for epoch in range(math.ceil(history[-1].epoch) if history else 0, math.ceil(total_steps / per_epoch)):
        seed_everything(seed, epoch)
        train_loader.epoch, batches = epoch, iter(train_loader)  # type: ignore[union-attr]  # lazy
        for start, stop in (span for span in spans if span[0] // per_epoch == epoch):
            learning_rate, began = scheduler.get_last_lr()[0], time.perf_counter()
            try:
                trained = train(model, device, batches, optimizer, criterion, steps=stop - start, **options)
                seconds = time.perf_counter() - began
                tested = test(model, device, test_loader, progress=progress)
            except FloatingPointError as error:
                part = f"epoch {epoch + 1}, steps {start % per_epoch + 1} to {stop - epoch * per_epoch}"
                raise FloatingPointError(f"Recipe {recipe.name}, {part}. In this part, {error}") from None
            history.append(Evaluation(stop / per_epoch, float(learning_rate), *trained, *tested, seconds))
            print(f"epoch {history[-1].epoch:5.2f} of {total_steps / per_epoch:.2f}  {history[-1]}", flush=True)
            on_evaluation(model, history)
        if run:
            run.save(history)
    if run:
        run.finish(history)
    return model.eval(), history
