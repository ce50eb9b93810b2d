"""The drawing pad as a figure, for a notebook that nobody can draw in."""

import math

import torch
from torch import Tensor

from . import BLUE, GRAY, SMALL, WIDE, AltTextFigure, in_default_style, new_figure

ROWS = {"conv1": (2, 16), "conv2": (4, 16), "conv3": (4, 32), "conv4": (8, 32)}  # rows and columns of maps


def _mosaic(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Return the maps, [rows * columns, H, W], side by side with gaps: float [rows * (H + 1), columns * (W + 1)]."""
    tiles = torch.nn.functional.pad(maps, (0, 1, 0, 1))
    return tiles.unflatten(0, (rows, columns)).transpose(1, 2).flatten(2).flatten(0, 1)


@in_default_style
def still_pad(image: Tensor, probabilities: Tensor, layers: list[tuple[str, Tensor]], distance: float) -> AltTextFigure:
    """Draw what the pad shows for a digit: the image, the ten probabilities, and the feature maps of a `Net`.

    Args:
        image: uint8 [28, 28].
        probabilities: Float [10].
        layers: Names and outputs of the layers, float [channels, H, W]. Those that a `Net` does not have are left out.
        distance: See `distance_to_digits`.
    """
    best = int(probabilities.argmax())
    sure = bool(distance <= 1 and probabilities[best] >= 0.9)
    said = f"{'' if sure else 'Not sure: '}{best} ({probabilities[best]:.0%})"
    alt = f"The network says: {said}. Distance to the nearest training digit: {distance:.2f}"
    figure = new_figure("The drawing pad with a picture of the course, until you draw", alt, None, (WIDE[0], 3.7))
    maps = {name: values for name, values in layers if len(values) == math.prod(ROWS.get(name, ()))}
    grid = figure.add_gridspec(1, 2, width_ratios=(1, 2.1) if maps else (1, 0.01))
    left = grid[0].subgridspec(2, 1, height_ratios=(1, 1))
    digit, bars = figure.add_subplot(left[0], xticks=[], yticks=[]), figure.add_subplot(left[1])
    digit.imshow(image, cmap="gray", vmin=0, vmax=255)
    digit.set_title(said, fontsize=13, fontweight="bold")
    digit.set_xlabel(f"distance to the nearest\ntraining digit: {distance:.2f}", fontsize=SMALL)
    colors = [BLUE if digit == best and sure else GRAY for digit in range(10)]
    bars.barh(range(10), probabilities, color=colors)
    bars.set(yticks=range(10), xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0", "50%", "100%"])
    bars.invert_yaxis()
    bars.spines[["top", "right"]].set_visible(False)
    bars.tick_params(labelsize=SMALL - 1)
    heights = [ROWS[name][0] / ROWS[name][1] for name in maps] or [1]
    right = grid[1].subgridspec(len(heights), 1, height_ratios=heights)
    for row, (name, values) in enumerate(maps.items()):
        axes = figure.add_subplot(right[row], xticks=[], yticks=[])
        axes.imshow(_mosaic(values.cpu().float(), *ROWS[name]).sqrt(), cmap="inferno", interpolation="nearest")
        axes.set_title(f"{name}: {len(values)} maps of {values.shape[1]} × {values.shape[2]}", fontsize=SMALL, pad=2)
        axes.spines[:].set_visible(False)
    return figure
