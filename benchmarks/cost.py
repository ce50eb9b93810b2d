"""Measure how the cost of an epoch grows with the number of digits: python benchmarks/cost.py [ROUNDS].

One epoch of `fast` with 15,000, 60,000, and 240,000 digits (MNIST's training set four times), and its test. Each epoch
is trained in a process of its own, because peak memory is measured per process. The sizes alternate. Writes
results/cost.json.
"""

import json
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

import torch
from record import record
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5.metrics import read_metrics

SIZES = (15_000, 60_000, 240_000)


def one_epoch(size: int) -> None:
    """Train for one epoch, and print the training seconds and the peak memory in megabytes as JSON."""
    train_set, test_set = s5.load_mnist("mnist")
    which = torch.arange(size) % len(train_set)
    train_set = s5.DigitDataset(train_set.data[which], train_set.targets[which], train_set.name)
    with TemporaryDirectory() as folder:
        s5.fit(s5.get_recipe("fast"), train_set, test_set, device="cpu", folder=folder, progress=False)
        metrics = read_metrics(folder)
    print(json.dumps({name: metrics[name] for name in ("train_seconds", "peak_memory_mb")}))


def main(rounds: int) -> None:
    """Run each size once per round, and record all values."""
    costs: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    for number in tqdm(range(rounds * len(SIZES))):
        size = SIZES[number % len(SIZES)]
        command = [sys.executable, __file__, "--size", str(size)]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        costs[size].append(json.loads(said.splitlines()[-1]))
    for size, found in costs.items():
        seconds, memory = (median(each[name] for each in found) for name in ("train_seconds", "peak_memory_mb"))
        print(f"{size:,} digits: {seconds:.1f} s, {size / seconds:,.0f} digits per second, {memory:,.0f} MB")
    print(f"recorded in {record('cost', recipe='fast', costs=costs).name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--size"]:
        one_epoch(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
