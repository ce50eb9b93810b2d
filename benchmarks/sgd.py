"""What Muon is worth: `fast` with a tuned SGD instead: python benchmarks/sgd.py choose | compare SEED ...

`choose` trains `fast` with SGD and Nesterov momentum instead of Muon, on 50,000 training digits. It tries learning
rates, batch sizes, momentums, and weight decays, scores each on the other 10,000, and writes results/sgd_trials.json.
The test set is not used. `compare` trains `fast` and the chosen setting for several numbers of epochs on all 60,000
digits, and writes the test accuracies to results/sgd.json. Both keep their runs in runs/sgd, and resume.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from record import record
from torch import nn
from torch.optim import SGD, Optimizer
from train import mistakes

import mnist_s5 as s5
from mnist_s5.training.recipes import Recipe

FAST = s5.get_recipe("fast")
NO_MUON: dict[str, Any] = {"muon": False, "weight_decay": 0.0}
HALF, ONE = {"epochs": 0.5}, {"epochs": 1.0}
COARSE: list[dict[str, Any]] = [
    {"batch_size": size, "learning_rate": rate, **HALF}
    for size, rates in {
        32: (0.02, 0.04, 0.08),
        64: (0.03, 0.06, 0.12),
        128: (0.03, 0.06, 0.12, 0.24),
        256: (0.06, 0.12, 0.24),
    }.items()
    for rate in rates
]


def sgd(recipe: Recipe, parameters: Iterable[nn.Parameter], weight_decay: float) -> Optimizer:
    """Return what `make_optimizer` does for a recipe without Muon, with torch's weight decay."""
    options = {"momentum": recipe.momentum, "nesterov": recipe.nesterov, "weight_decay": weight_decay}
    return SGD(parameters, recipe.learning_rate, **options)


def trial(data: tuple[s5.DigitDataset, s5.DigitDataset], seed: int, weight_decay: float = 0.0, **changes: Any) -> Any:
    """Train one setting, and return the last entry of its history, or None if the loss was not finite."""
    name = "-".join(f"{key}={value}" for key, value in {**changes, "decay": weight_decay, "seed": seed}.items())
    with patch("mnist_s5.training.fit.make_optimizer", partial(sgd, weight_decay=weight_decay)):
        try:
            return s5.fit(replace(FAST, **NO_MUON, **changes), *data, seed=seed, folder=f"runs/sgd/{name}")[1][-1]
        except FloatingPointError as error:
            print(f"{name}: {error}")
            return None


def choose(trials: list[tuple[int, dict[str, Any]]]) -> None:
    """Train every trial, and record all of them."""
    data = s5.train_val_split(s5.load_mnist("mnist")[0], 10_000)
    rows = []
    for seed, changes in trials:
        last = trial(data, seed, **changes)
        score = {"val_accuracy": last.test_accuracy, "val_loss": last.test_loss} if last else {}
        rows.append({"seed": seed, "changes": changes, **score})
        print(rows[-1], flush=True)
    record("sgd_trials", train_images=len(data[0]), val_images=len(data[1]), dtype="float32", trials=rows)
