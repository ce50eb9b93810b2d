"""Every figure about a GPU, with one command: python benchmarks/gpu.py

The time to 99.35% against the reference in its classic form, `fast` and `best` over 20 seeds, training speed over the
batch size, `fast` with torch.compile, and how often a training step waits for the GPU. Writes results/gpu.json.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import time_to_accuracy
import torch
from record import record
from time_to_accuracy import synchronize
from torch import nn
from torch.profiler import profile
from tqdm import tqdm

import mnist_s5 as s5

Data = tuple[s5.DigitDataset, s5.DigitDataset]
BACKEND = "inductor"  # of torch.compile
BATCH_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)


def steps(recipe: s5.Recipe, data: Data, device: torch.device) -> Callable[[int], Any]:
    """Return a function that trains a new network for some steps, at most one epoch."""
    model = s5.make_model(recipe, device=device)
    optimizer = s5.make_optimizer(recipe, model.parameters())
    loader, _ = s5.make_loaders(recipe, *data, device=device)
    dtype = recipe.dtype(device)
    return lambda n: s5.train(model, device, loader, optimizer, steps=n, dtype=dtype, progress=False)


def images_per_second(recipe: s5.Recipe, data: Data, device: torch.device) -> float:
    """Return the training speed, after two steps of warmup."""
    train, n = steps(recipe, data, device), min(100, len(data[0]) // recipe.batch_size)
    train(2)
    return n * recipe.batch_size / time_to_accuracy.seconds(lambda: train(n), device)


def waits_per_step(recipe: s5.Recipe, data: Data, device: torch.device) -> float:
    """Return how often a step waits for the GPU: 0 if 40 steps wait as often as 20, which both wait at their end."""
    train, counts = steps(recipe, data, device), []
    train(2)
    for n in (20, 40):
        with profile() as run:
            train(n)
        counts.append(sum(event.count for event in run.key_averages() if event.key.endswith("Synchronize")))
    return (counts[1] - counts[0]) / 20


def runs(recipe: s5.Recipe, seeds: int, data: Data, device: torch.device) -> dict[str, list[float]]:
    """Return the accuracy and the training time of each seed."""
    found: dict[str, list[float]] = {"test_accuracy": [], "train_seconds": []}
    for seed in tqdm(range(1, seeds + 1), recipe.name):
        _, history = s5.fit(recipe, *data, seed=seed, device=device, progress=False)
        found["test_accuracy"].append(history[-1].test_accuracy)
        found["train_seconds"].append(sum(entry.seconds for entry in history))
    return found


def compiled_seconds(recipe: s5.Recipe, data: Data, device: torch.device) -> float:
    """Return how long a run takes with torch.compile, including the compilation."""

    def network() -> nn.Module:
        net = s5.Net()
        net.compile(backend=BACKEND)
        return net

    synchronize(device)
    start = time.perf_counter()
    s5.fit(recipe, *data, device=device, network=network, progress=False)
    return time.perf_counter() - start


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
        "compiled_seconds": [compiled_seconds(half, data, device) for _ in range(2)],  # the second one has warm caches
        "waits_per_step": waits_per_step(fast, data, device),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds (default: 20)")
    asked = parser.parse_args()
    print("written to", record("gpu", **main(s5.get_device("cuda"), "mnist", asked.seeds)).name)
