"""Plot the accuracy for each corruption and strength, docs/corruptions.png: python benchmarks/plot_corruptions.py"""

import sys
from inspect import signature
from pathlib import Path
from statistics import median

from corruptions import CORRUPTIONS, UNSEEN, mean_accuracy
from matplotlib.figure import Figure

import mnist_s5 as s5
from mnist_s5.figures import BLUE, GRAY, ORANGE, SMALL, WIDE, new_figure

DOCS = Path(__file__).parents[1] / "docs"
STYLES = {  # records, color, and line style of each recipe; earlier means before distortion was added
    "reference": ("reference-mnist", GRAY, ":"),
    "fast, earlier": ("fast-before-mnist", BLUE, "--"),
    "fast": ("fast-mnist", BLUE, "-"),
    "best, earlier": ("best-before-mnist", ORANGE, "--"),
    "best": ("best-mnist", ORANGE, "-"),
}


def recorded_accuracies(name: str) -> list[dict[str, list[float]]]:
    """Return the accuracies for each corruption and strength, of each recorded seed."""
    paths = sorted((DOCS.parent / "benchmarks" / "results").glob(f"{name}-[0-9]*.json"))
    seeds = [s5.recorded(path.stem)[1].get("corruptions") for path in paths]
    if not seeds or None in seeds:
        command = f"python benchmarks/train.py {name.removesuffix('-mnist')} mnist 1"
        sys.exit(f"There is no record of {name} with corrupted digits. Run: {command}")
    return seeds


def draw(recipes: dict[str, list[dict[str, list[float]]]]) -> Figure:
    """Plot each corruption, with a line for each recipe: the median over its seeds."""
    title = "Accuracy on corrupted digits, by strength (* not used for training)"
    figure = new_figure(title, "", "mnist", (WIDE[0], 8.2))
    grid = figure.subplots(4, 4, sharey=True)
    for axes, (corruption, strengths) in zip(grid.flat, CORRUPTIONS.items(), strict=True):
        name = corruption.__name__
        for recipe, seeds in recipes.items():
            _, color, style = STYLES[recipe]
            middle = [median(values) for values in zip(*(seed[name] for seed in seeds), strict=True)]
            mark = f"{recipe}: {median(map(mean_accuracy, seeds)):.1f}%"
            axes.plot(strengths, middle, style, color=color, label=mark)
        star = " *" if name in UNSEEN else ""
        axes.set_xlabel(list(signature(corruption).parameters)[1].replace("_px", " in pixels"), fontsize=SMALL)
        axes.set_title(name.replace("_", " ") + star, fontsize=10)
        axes.set(ylim=(0, 102))
        axes.grid(alpha=0.3)
        if strengths[0] > strengths[-1]:
            axes.invert_xaxis()  # the strongest is always on the right
    figure.supylabel("accuracy in percent")
    figure.legend(
        *grid.flat[0].get_legend_handles_labels(),
        loc="outside lower center", ncols=3, fontsize=SMALL, title="mean over all corruptions",
    )  # fmt: skip
    return figure


if __name__ == "__main__":
    draw({recipe: recorded_accuracies(record) for recipe, (record, *_) in STYLES.items()}).savefig(
        DOCS / "corruptions.png"
    )
