"""Draw docs/corruptions.png, accuracy over the strength of each corruption: python benchmarks/plot_corruptions.py"""

from pathlib import Path
from statistics import mean, median
from typing import Any

from corruptions import CORRUPTIONS
from matplotlib.figure import Figure

import mnist_s5 as s5
from mnist_s5.figures.base import BLUE, GRAY, ORANGE

DOCS = Path(__file__).parents[1] / "docs"
UNSEEN = 6  # the last corruptions, which no recipe trains on
STYLES = {  # records, color, and line style of each recipe, with and without photometric distortion
    "reference": ("reference-mnist", GRAY, ":"),
    "fast without": ("fast-plain-mnist", BLUE, "--"),
    "fast": ("fast-mnist", BLUE, "-"),
    "best without": ("best-plain-mnist", ORANGE, "--"),
    "best": ("best-mnist", ORANGE, "-"),
}


def recorded_accuracies(name: str) -> dict[str, list[float]]:
    """Return the median over the recorded seeds for each corruption and strength."""
    paths = sorted((DOCS.parent / "benchmarks" / "results").glob(f"{name}-[0-9].json"))
    seeds = [s5.recorded(path.stem)[1]["corruptions"] for path in paths]
    return {kind: [median(values) for values in zip(*(seed[kind] for seed in seeds), strict=True)] for kind in seeds[0]}


def draw(recipes: dict[str, dict[str, list[float]]]) -> Figure:
    """Draw a small plot for each corruption, with a line for each recipe."""
    figure = Figure(figsize=(9, 9.4), dpi=80, layout="constrained", facecolor="white")
    grid = figure.subplots(4, 4, sharey=True)
    for number, (corruption, strengths) in enumerate(CORRUPTIONS.items()):
        axes, name = grid.flat[number], corruption.__name__
        for recipe, accuracies in recipes.items():
            _, color, style = STYLES[recipe]
            mark = f"{recipe}: {mean(map(mean, accuracies.values())):.1f}%"
            axes.plot(strengths, accuracies[name], style, color=color, label=mark)
        star = " *" if number >= len(CORRUPTIONS) - UNSEEN else ""
        axes.set_title(name.replace("_", " ") + star, fontsize=10)
        axes.set(ylim=(0, 102))
        axes.grid(alpha=0.3)
        if strengths[0] > strengths[-1]:
            axes.invert_xaxis()  # the strongest is always on the right
    figure.supylabel("accuracy in percent")
    figure.suptitle("Accuracy over the strength of sixteen corruptions (* never trained on)", fontsize=12)
    handles: Any = grid.flat[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, title="mean over all corruptions")
    return figure


if __name__ == "__main__":
    draw({recipe: recorded_accuracies(record) for recipe, (record, *_) in STYLES.items()}).savefig(
        DOCS / "corruptions.png"
    )
