"""Train a recipe and record it: python benchmarks/train.py RECIPE SOURCE SEED ... [--out NAME]

Writes each run to runs/NAME-SOURCE-SEED, and its metrics.json to results/NAME-SOURCE-SEED.json. Both replace those of
an earlier run. A run that was interrupted is resumed. NAME is RECIPE if it is not given. Every network is also scored
on corrupted digits of MNIST's test set, and one that was trained on the sample also on all 10,000. `mistakes` lists
the test digits of MNIST that the network misclassifies, by index. RECIPE is reference, fast, or best. For these,
02_training gives the same run with the same seed. RECIPE can also be fast-before or best-before, the settings of
`fast` and `best` before photometric distortion was added.
"""

import argparse
import shutil
import sys
from typing import Any

import torch
from corruptions import corruption_accuracies, mean_accuracy
from record import RESULTS
from torch import nn

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader
from mnist_s5.metrics import read_metrics

BEFORE: dict[str, dict[str, Any]] = {  # on MNIST
    "fast-before": {"momentum": 0.95, "weight_decay": 0.2, "photometric_prob": 0.0},
    "best-before": {"momentum": 0.95, "photometric_prob": 0.0},
}


def mistakes(model: nn.Module, dataset: s5.DigitDataset, device: torch.device) -> list[int]:
    """Return the indices of the digits that the network misclassifies."""
    log_probs, labels = s5.predict(model, device, DeviceLoader(dataset, device=device))
    return (log_probs.argmax(dim=1) != labels).nonzero().flatten().tolist()


def main(name: str, source: str, seeds: list[int], out: str) -> None:
    """Train one run per seed, one after another, on the device that "auto" selects."""
    device, (train_set, test_set), mnist = s5.get_device(), s5.load_mnist(source), s5.load_mnist("mnist")[1]
    if name in BEFORE and train_set.name != "mnist":
        sys.exit(f"{name} is a recipe for MNIST. Use mnist instead of {source}.")
    changes = BEFORE.get(name, {})
    recipe = s5.get_recipe(name.removesuffix("-before") if changes else name, train_set.name, **changes)
    for seed in seeds:
        run = s5.new_run(f"runs/{out}-{source}-{seed}")
        if read_metrics(run):  # of a finished run
            shutil.rmtree(run)
        how = {"seed": seed, "device": device, "folder": run, "evaluate_at": (0.1, 0.2, 0.5)}
        model, history = s5.fit(recipe, train_set, test_set, **how)
        if train_set.name == "sample":
            accuracy = s5.test(model, device, DeviceLoader(mnist, device=device)).accuracy
            s5.write_metrics(run, mnist_test_accuracy=accuracy)
        corrupted = corruption_accuracies(model, mnist, device)
        scores = {"corrupted": mean_accuracy(corrupted), "corruptions": corrupted}
        s5.write_metrics(run, mistakes=mistakes(model, mnist, device), **scores)
        shutil.copy(run / "metrics.json", RESULTS / f"{run.name}.json")
        print(f"{run.name}: {history[-1].test_accuracy:.2f}%")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("source")
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--out")
    given = parser.parse_args()
    main(given.recipe, given.source, given.seeds, given.out or given.recipe)
