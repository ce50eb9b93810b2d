"""Measure what robustness costs: python benchmarks/trade_off.py SEED ...

Trains `fast` on 55,000 training digits, with different initial fractions of distorted digits. Each falls to zero.
Scores it on a validation set of the other 5,000. Every fifth of these is also corrupted. The test set is not used.
Writes results/trade_off.json and docs/trade_off.png.
"""

import sys
from statistics import median
from typing import Any

from corruptions import corruption_accuracies, mean_accuracy
from matplotlib.figure import Figure
from record import RESULTS, record
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5.figures import BLUE, WIDE, new_figure

FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.5)


def main(seeds: list[int], source: str = "mnist", epochs: float | None = None) -> dict[str, Any]:
    """Train each recipe with each seed, alternating between the recipes, and return what to record.

    `epochs` shortens every run, for a test.
    """
    device = s5.get_device()
    train_set, val_set = s5.train_val_split(s5.load_mnist(source)[0])
    rows: list[dict[str, Any]] = [
        {"photometric_prob": fraction, "val_accuracy": [], "val_loss": [], "corrupted": []} for fraction in FRACTIONS
    ]
    for seed, row in tqdm([(seed, row) for seed in seeds for row in rows]):
        recipe = s5.get_recipe("fast", train_set.name, epochs=epochs, photometric_prob=row["photometric_prob"])
        model, (*_, last) = s5.fit(recipe, train_set, val_set, seed=seed, device=device)
        corrupted = mean_accuracy(corruption_accuracies(model, val_set, device))
        row["val_accuracy"].append(last.test_accuracy)
        row["val_loss"].append(last.test_loss)
        row["corrupted"].append(corrupted)
        tqdm.write(f"{recipe.photometric_prob:.0%}: {last.test_accuracy:.2f}%, corrupted {corrupted:.1f}%")
    return {"seeds": seeds, "train_images": len(train_set), "val_images": len(val_set), "rows": rows}


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Plot both accuracies over the fraction of distorted digits: a dot for each seed, a line through the medians."""
    figure = new_figure("What distorted digits cost, and what they gain", "", "mnist", WIDE)
    fractions = [100 * row["photometric_prob"] for row in rows]
    panels = zip(figure.subplots(1, 2), {"val_accuracy": "clean", "corrupted": "corrupted"}.items(), strict=True)
    for axes, (name, digits) in panels:
        axes.plot(fractions, [median(row[name]) for row in rows], color=BLUE)
        for fraction, row in zip(fractions, rows, strict=True):
            axes.plot([fraction] * len(row[name]), row[name], "o", color=BLUE, alpha=0.5)
        axes.set_title(f"{digits} validation digits", fontsize=10)
        axes.set(xlabel="distorted digits at the start (%)", ylabel="accuracy (%)")
        axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    found = main([int(seed) for seed in sys.argv[1:]])
    draw(found["rows"]).savefig(RESULTS.parents[1] / "docs" / "trade_off.png")
    print(record("trade_off", **found).name)
