"""Train a recipe and record it: python benchmarks/train.py RECIPE SOURCE SEED ...

Writes each run to runs/RECIPE-SOURCE-SEED, and its metrics.json to results/RECIPE-SOURCE-SEED.json. The same seed gives
the same run in 02_training. Every network is also scored on corrupted test digits, and one that was trained on the
sample also on MNIST's 10,000 test digits.
"""

import shutil
import sys
from statistics import mean

from corruptions import corruption_accuracies
from record import RESULTS

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader


def main(name: str, source: str, seeds: list[int]) -> None:
    """Train one run per seed, one after another, on the device that "auto" selects."""
    device, (train_set, test_set) = s5.get_device(), s5.load_mnist(source)
    recipe = s5.get_recipe(name, train_set.name)
    for seed in seeds:
        shutil.rmtree(f"runs/{name}-{source}-{seed}", ignore_errors=True)
        run = s5.new_run(f"runs/{name}-{source}-{seed}")
        model, history = s5.fit(recipe, train_set, test_set, seed=seed, device=device, folder=run)
        mnist = s5.load_mnist("mnist")[1]
        if source == "sample":
            accuracy = s5.test(model, device, DeviceLoader(mnist, device=device)).accuracy
            s5.write_metrics(run, mnist_test_accuracy=accuracy)
        corrupted = corruption_accuracies(model, mnist, device)
        s5.write_metrics(run, corrupted=mean(map(mean, corrupted.values())), corruptions=corrupted)
        shutil.copy(run / "metrics.json", RESULTS / f"{run.name}.json")
        print(f"{run.name}: {history[-1].test_accuracy:.2f}%")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3:]])
