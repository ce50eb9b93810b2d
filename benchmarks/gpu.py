"""Measure everything that is reported about GPUs: python benchmarks/gpu.py

The time to 99.35% against the reference in its classic form, `fast` and `best` over 20 seeds, training speed over the
batch size, `fast` with torch.compile, and how often a training step waits for the GPU. Writes results/gpu.json.
"""

import argparse
import math
from dataclasses import replace
from typing import Any

import time_to_accuracy
import torch
from record import record
from time_to_accuracy import seconds
from torch import nn
from torch.profiler import profile
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5.training.recipes import Recipe

Data = tuple[s5.DigitDataset, s5.DigitDataset]
BACKEND = "inductor"  # backend for torch.compile
BATCH_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)


def images_per_second(recipe: Recipe, data: Data, device: torch.device) -> float:
    """Return the training speed over one epoch, after a warmup."""
    for epochs in (0.05, 1):
        _, history = s5.fit(replace(recipe, epochs=epochs), *data, device=device, progress=False)
    return len(data[0]) / history[-1].seconds


def waits_per_step(recipe: Recipe, data: Data, device: torch.device) -> float:
    """Return the GPU synchronizations per step.

    Each run also synchronizes at its end, so this compares a run of one epoch with a run of half an epoch.
    """
    counts, steps = [], []
    for epochs in (0.05, 0.5, 1):  # the first one is a warmup
        part = replace(recipe, epochs=epochs)
        with profile() as run:
            s5.fit(part, *data, device=device, progress=False)
        counts.append(sum(event.count for event in run.key_averages() if event.key.endswith("Synchronize")))
        steps.append(part.steps(math.ceil(len(data[0]) / recipe.batch_size)))
    return (counts[2] - counts[1]) / (steps[2] - steps[1])


def runs(recipe: Recipe, seeds: int, data: Data, device: torch.device) -> dict[str, list[float]]:
    """Return the accuracy and the training time of each seed."""
    found: dict[str, list[float]] = {"test_accuracy": [], "train_seconds": []}
    for seed in tqdm(range(1, seeds + 1), recipe.name):
        _, history = s5.fit(recipe, *data, seed=seed, device=device, progress=False)
        found["test_accuracy"].append(history[-1].test_accuracy)
        found["train_seconds"].append(sum(entry.seconds for entry in history))
    return found


def whole_seconds(recipe: Recipe, data: Data, device: torch.device, *, compiled: bool) -> float:
    """Return how long `fit` takes, including the compilation."""

    def network() -> nn.Module:
        net = s5.Net()
        if compiled:
            net.compile(backend=BACKEND)
        return net

    return seconds(lambda: s5.fit(recipe, *data, device=device, network=network, progress=False), device)


def main(device: torch.device, source: str, seeds: int, epochs: float | None = None) -> dict[str, Any]:
    """Measure everything, and return what to record. `epochs` shortens every run, for a test."""
    data = s5.load_mnist(source)
    fast, best = (s5.get_recipe(name, data[0].name, epochs=epochs) for name in ("fast", "best"))
    half = s5.get_recipe("fast", data[0].name, epochs=epochs or 0.5)
    return {
        "device": str(device),
        "time_to_accuracy": time_to_accuracy.main(list(range(1, min(seeds, 5) + 1)), half.epochs, source, 0.25, {}),
        "fast": runs(fast, seeds, data, device),
        "best": runs(best, seeds, data, device),
        "images_per_second": {
            size: images_per_second(s5.get_recipe("fast", batch_size=size), data, device)
            for size in BATCH_SIZES
            if size <= len(data[0])
        },
        "fit_seconds": [whole_seconds(half, data, device, compiled=False) for _ in range(2)],
        "compiled_fit_seconds": [whole_seconds(half, data, device, compiled=True) for _ in range(2)],
        "waits_per_step": waits_per_step(fast, data, device),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds (default: 20)")
    args = parser.parse_args()
    print("written to", record("gpu", **main(s5.get_device("cuda"), "mnist", args.seeds)).name)
