"""What the network is made of: torchinfo's summary, the table of its layers, and its picture."""

import math
from typing import NamedTuple

import torch
from matplotlib.patches import Rectangle
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torchinfo import ModelStatistics, summary

from .picture import BLUE, GREY, ORANGE, Picture, new_picture


class Layer(NamedTuple):
    """One step of the forward pass, for one digit.

    output: shape without the batch; multiply_adds: of the weights, biases not counted; receptive_field: the side, in
    pixels, of the square of the input that one output value depends on.
    """

    layer: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int


def model_summary(model: nn.Module) -> ModelStatistics:
    """torchinfo's summary for one digit; raises AssertionError where its total is not the parameters' own count."""
    columns = ("input_size", "output_size", "num_params", "mult_adds")
    statistics = summary(model, input_size=(1, 1, 28, 28), col_names=columns)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert statistics.total_params == counted, f"torchinfo counts {statistics.total_params}, the parameters {counted}"
    return statistics


def layer_table(model: nn.Module) -> list[Layer]:
    """The steps of the model's forward pass that carry parameters or change the shape, traced with torch.fx."""
    traced = fx.symbolic_trace(model)
    ShapeProp(traced).propagate(torch.zeros(1, 1, 28, 28, device=next(model.parameters()).device))
    table, size, field, jump = [], 28, 1, 1  # jump: the distance, in input pixels, of two neighbours
    for node in traced.graph.nodes:
        module = model.get_submodule(node.target) if node.op == "call_module" else None
        output = tuple(node.meta["tensor_meta"].shape[1:]) if "tensor_meta" in node.meta else ()
        weights = module.weight.numel() if isinstance(module, nn.Conv2d | nn.Linear) else 0
        if isinstance(module, nn.Conv2d):
            field, weights = field + (module.kernel_size[0] - 1) * jump, weights * output[1] * output[2]
        elif node.name.startswith("max_pool2d"):
            field, jump = field + (node.args[1] - 1) * jump, jump * node.args[1]
        elif isinstance(module, nn.Linear):
            field, size = field + (size - 1) * jump, 1
        elif not node.name.startswith("flatten"):
            continue
        size = output[-1] if len(output) == 3 else size
        parameters = sum(parameter.numel() for parameter in module.parameters()) if module else 0
        table.append(Layer(node.name.removesuffix("_1"), output, parameters, weights, field))
    return table


def architecture(model: nn.Module) -> Picture:
    """The model as a drawing: a stack of maps as high as they are wide, a bar for each vector; parameters below."""
    table = [Layer("digit", (1, 28, 28), 0, 0, 1), *layer_table(model)]
    told = "; ".join(f"{step.layer} gives {'×'.join(map(str, step.output))}" for step in table)
    total = sum(step.parameters for step in table)
    picture = new_picture(f"The network: {total:,} parameters", told, "mnist")
    axes = picture.subplots()
    for index, step in enumerate(table):
        x, color = 48 * index, BLUE if step.parameters else GREY  # in pixels of the digit
        channels, side = (step.output[0], float(step.output[1])) if len(step.output) == 3 else (1, 0.0)
        height, width = (side, side) if side else (2.4 * math.log2(step.output[0]), 2.5)
        sheets = max(1, round(channels**0.5 / 2))
        for sheet in range(sheets):
            corner = (x - width / 2 + 1.5 * (sheet - sheets / 2), 1.5 * (sheet - sheets / 2) - height / 2)
            axes.add_patch(Rectangle(corner, width, height, facecolor="white", edgecolor=color, linewidth=1.2))
        axes.text(x, 26, f"{step.layer}\n{'×'.join(map(str, step.output))}", ha="center", fontsize=9)
        heavy = step.parameters > total / 4
        count = f"{step.parameters:,}" if step.parameters else "–"
        axes.text(x, -30, count, ha="center", fontsize=9, color=ORANGE if heavy else "black")
    axes.set(xlim=(-28, 48 * len(table) - 20), ylim=(-36, 42), aspect="equal")
    axes.axis("off")
    return picture
