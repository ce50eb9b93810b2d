"""Train a recipe and record it: python benchmarks/train.py RECIPE SOURCE SEED ...

Writes results/RECIPE-SOURCE-SEED.json, the metrics.json of each run. The seed decides as it does in 02_training.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import mnist_s5 as s5


def main(name: str, source: str, seeds: list[int]) -> None:
    """One run a seed, one after the other, on the device that "auto" finds."""
    device = s5.get_device()
    train_set, test_set = s5.load_mnist(source)
    recipe = s5.get_recipe(name, train_set.source)
    for seed in seeds:
        s5.seed_everything(seed)
        model = s5.make_model(recipe)
        train_loader, test_loader = s5.make_loaders(recipe, train_set, test_set, seed=seed, device=device)
        history = s5.fit(model, recipe, train_loader, test_loader, device=device)
        with TemporaryDirectory() as folder:
            images = len(train_set), len(test_set)
            s5.save_run(Path(folder), model, recipe, history, seed=seed, device=str(device), images=images)
            target = Path(__file__).parent / "results" / f"{name}-{source}-{seed}.json"
            shutil.copy(Path(folder) / "metrics.json", target)
        print(f"{history[-1].test_accuracy:.2f} % -> {target.name}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], [int(seed) for seed in sys.argv[3:]])
