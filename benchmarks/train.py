"""Train a recipe and record it: python benchmarks/train.py RECIPE SOURCE SEED ...

Leaves each run in runs/RECIPE-SOURCE-SEED, and its metrics.json as results/RECIPE-SOURCE-SEED.json. The seed decides as
it does in 02_training. A network that was trained on the sample is scored on MNIST's 10,000 test digits as well.
"""

import shutil
import sys

from record import RESULTS, trained

import mnist_s5 as s5


def main(name: str, source: str, seeds: list[int]) -> None:
    """One run a seed, one after the other, on the device that "auto" finds."""
    device, (train_set, test_set) = s5.get_device(), s5.load_mnist(source)
    recipe, images = s5.get_recipe(name, train_set.source), (len(train_set), len(test_set))
    for seed in seeds:
        model, history = trained(recipe, (train_set, test_set), seed, device)
        shutil.rmtree(f"runs/{name}-{source}-{seed}", ignore_errors=True)
        run = s5.new_run(f"runs/{name}-{source}-{seed}")
        s5.save_run(run, model, recipe, history, seed=seed, device=str(device), images=images)
        if source == "sample":
            full = s5.DeviceLoader(s5.load_mnist("mnist")[1], device=device)
            s5.write_metrics(run, mnist_test_accuracy=s5.test(model, device, full).accuracy)
        shutil.copy(run / "metrics.json", RESULTS / f"{run.name}.json")
        print(f"{run.name}: {history[-1].test_accuracy:.2f} %")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3:]])
