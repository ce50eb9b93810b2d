"""Figures that show what a layer computes, with numbers."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch, Rectangle
from torch import Tensor

from ..data.digits import normalize
from ..model import Net
from . import BLUE, GRAY, SMALL, WIDE, AltTextFigure, in_default_style, new_figure

CENTERED: dict[str, Any] = {"ha": "center", "va": "center"}


@in_default_style
def filter_steps(image: Tensor, weights: Tensor, dataset: str | None) -> AltTextFigure:
    """Draw how a filter computes one value: nine pixels × nine weights = nine products, and their sum in the map.

    Args:
        image: A normalized image, float [H, W].
        weights: Of the filter, float [3, 3].
        dataset: See `new_figure`.
    """
    feature_map = F.conv2d(image[None, None], weights[None, None])[0, 0]
    row, column = divmod(int(feature_map.argmax()), feature_map.shape[1])
    pixels = image[row : row + 3, column : column + 3]
    products = pixels * weights
    title = f"The nine products add up to {products.sum():.2f}, one pixel of the feature map"
    parts = [_told(values) for values in (pixels, weights, products)]
    alt = "Pixels {}, times weights {}, are the products {}".format(*parts)
    figure = new_figure(title, alt, dataset, (WIDE[0], 2.2))
    grid = figure.subplots(1, 5, width_ratios=(1.4, 1, 1, 1, 1.4))
    names = ("image", "pixels", "weights", "products", "feature map")
    for axes, values, name in zip(grid, (image, pixels, weights, products, feature_map), names, strict=True):
        _draw_signed(axes, values, numbers=values.shape == (3, 3))
        axes.set_title(name, fontsize=SMALL)
    for axes, sign in zip(grid, ("", "×", "=", "", ""), strict=True):
        axes.text(1.13, 0.5, sign, transform=axes.transAxes, fontsize=14, **CENTERED)
    for axes, side in ((grid[0], 3), (grid[4], 1)):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, facecolor="none", edgecolor=BLUE, linewidth=2))
    _connect(grid[0], (column + 2.5, row + 1), grid[1], (-0.5, 1))
    _connect(grid[3], (2.5, 1), grid[4], (column - 0.5, row))
    return figure


@in_default_style
def channel_sum(model: Net, image: Tensor) -> AltTextFigure:
    """Draw how all feature maps of `conv1` become one of `conv2`, with the numbers where it is largest.

    Each has its own weights. The results and the bias are added up. ReLU and pooling follow. Of the maps of `conv2`,
    the one with the most contrast is drawn.

    Args:
        model: The network, on the CPU.
        image: The digit, uint8 [28, 28].
    """
    with torch.no_grad():
        maps = model.conv1(normalize(image)[None, None]).relu()
        channel = int(model.conv2(maps).relu().flatten(2).std(dim=2).argmax())
        weights, bias = (parameter[channel].detach() for parameter in model.conv2.parameters())
        results = F.conv2d(maps, weights[:, None], groups=len(weights))[0]  # of each filter
        total = results.sum(dim=0) + bias
        pooled = F.max_pool2d(total.relu()[None, None], 2)[0, 0]
    row, column = divmod(int(total.argmax()), total.shape[1])
    shown = results[:, row, column].abs().topk(3).indices.tolist()
    values = [round(float(results[n, row, column]), 2) for n in shown]
    rest = round(float(total[row, column]), 2) - round(float(bias), 2) - sum(values)  # the rounded numbers add up
    sums = " ".join(map(_signed, (*values, rest, float(bias)))).removeprefix("+ ")
    title = f"{len(weights)} maps become one: {sums} = {total[row, column]:.2f}"
    figure = new_figure(title, "Three of the maps, their filters, the results, and the sum", None, (WIDE[0], 4.0))
    grid = figure.subplots(3, 6, width_ratios=(1, 0.5, 1, 1, 1, 1))
    for (first, second, third, *_), n, value in zip(grid, shown, values, strict=True):
        first.imshow(maps[0, n], cmap="gray")
        first.set_ylabel(f"map {n}", fontsize=SMALL)
        _draw_signed(second, weights[n])
        _draw_signed(third, results[n])
        third.set_xlabel(_signed(value), fontsize=SMALL, color=BLUE)
    _draw_signed(grid[1, 3], total)
    grid[1, 4].imshow(total.relu(), cmap="gray")
    grid[1, 5].imshow(pooled, cmap="gray")
    names = ("map of conv1", "weights", "result", f"sum of all {len(weights)}\n{_signed(float(bias))} (bias)", "ReLU")
    for axes, name in zip((*grid[0, :3], *grid[1, 3:]), (*names, "pooled"), strict=True):
        axes.set_title(name, fontsize=SMALL)
    for axes in grid[1, 3:]:
        axes.set_xlabel(f"{total.max():.2f}", fontsize=SMALL, color=BLUE)
    for axes, sign in ((row[n], "×="[n]) for row in grid for n in (0, 1)):
        axes.text((1.2, 1.3)["×=".index(sign)], 0.5, sign, transform=axes.transAxes, fontsize=14, **CENTERED)
    grid[1, 2].text(1.17, 0.5, "→", transform=grid[1, 2].transAxes, fontsize=14, **CENTERED)
    grid[2, 4].text(
        0.5, 0.5, f"the other {len(weights) - 3} maps: {_signed(rest)}", color=BLUE, fontsize=SMALL, **CENTERED
    )
    marked = [(axes, 3, row, column) for axes in grid[:, 0]] + [(axes, 1, row, column) for axes in grid[:, 2]]
    marked += [(grid[1, 3], 1, row, column), (grid[1, 4], 2, row // 2 * 2, column // 2 * 2)]
    for axes, side, y, x in (*marked, (grid[1, 5], 1, row // 2, column // 2)):
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, facecolor="none", edgecolor=BLUE, linewidth=1.5))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        if not axes.images:
            axes.axis("off")
    return figure


@in_default_style
def filters_and_maps(
    image: Tensor, filters: Tensor, maps: Tensor, numbers: Sequence[int], title: str, dataset: str | None
) -> AltTextFigure:
    """Draw a digit, and beside it, eight per row, filters and below each the feature map that it makes of the digit.

    Args:
        image: The digit, uint8 [28, 28].
        filters: Float [N, H, W]. Positive weights are orange, negative ones purple.
        maps: Float [N, H, W], after a ReLU. Each is scaled to its own range.
        numbers: Of the filters, for the captions.
        title: Title of the figure.
        dataset: See `new_figure`.
    """
    rows = math.ceil(len(filters) / 8)
    alt = f"A digit, and {len(filters)} filters with their maps: {', '.join(map(str, numbers))}"
    figure = new_figure(title, alt, dataset, (WIDE[0], 0.5 + 1.5 * rows))
    grid = figure.add_gridspec(2 * rows, 9, width_ratios=(2, *[1] * 8))
    whole = figure.add_subplot(grid[:, 0], title="the digit", xticks=[], yticks=[])
    whole.imshow(image.cpu(), cmap="gray", vmin=0, vmax=255)
    for n, (weights, feature_map, number) in enumerate(zip(filters, maps, numbers, strict=True)):
        row, column = 2 * (n // 8), 1 + n % 8
        above, below = (figure.add_subplot(grid[row + half, column]) for half in (0, 1))
        _draw_signed(above, weights)
        above.set_title(str(number), fontsize=SMALL, pad=2)
        below.imshow(feature_map, cmap="gray")
        below.set(xticks=[], yticks=[])
    return figure


def _signed(value: float) -> str:
    """Return "+ 1.43" or "− 0.46"."""
    return f"{'+' if value >= 0 else '−'} {abs(value):.2f}"


def _told(values: Tensor) -> str:
    """Return the values in words."""
    return ", ".join(f"{value + 0.0:.2f}" for value in values.flatten().tolist())


def _draw_signed(axes: Axes, values: Tensor, numbers: bool = False) -> None:
    """Draw positive values orange, negative ones purple, and zero white, with their numbers if that is asked for."""
    reach = float(values.abs().max()) or 1.0
    axes.imshow(values, cmap="PuOr_r", vmin=-reach, vmax=reach)
    axes.set(xticks=[], yticks=[])
    for n, value in enumerate(values.flatten().tolist() if numbers else ()):
        color = "white" if abs(value) > reach / 2 else "black"
        axes.text(n % 3, n // 3, f"{value + 0.0:.2f}", color=color, fontsize=7.5, **CENTERED)


def _connect(one: Axes, start: tuple[float, float], other: Axes, end: tuple[float, float]) -> None:
    """Draw an arrow from a point of one image to a point of another."""
    style: dict[str, Any] = {"arrowstyle": "->", "color": GRAY, "coordsA": one.transData, "coordsB": other.transData}
    one.figure.add_artist(ConnectionPatch(start, end, **style))
