"""Describe a network: torchinfo's summary, a table of its layers, and a drawing."""

import math
import re
from typing import Any, NamedTuple

import torch
from matplotlib.patches import Rectangle
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode
from torchinfo import ModelStatistics, summary

from .base import BLUE, GRAY, ORANGE, AltTextFigure, new_figure


class Layer(NamedTuple):
    """One row of `layer_table`, for one image."""

    layer: str
    output: tuple[int, ...]  # shape without the batch dimension
    parameters: int
    multiply_adds: int  # excluding biases
    receptive_field: int  # side of the square of input pixels that one output value depends on


def model_summary(model: nn.Module) -> ModelStatistics:
    """Return torchinfo's summary for one image."""
    columns = ("input_size", "output_size", "num_params", "mult_adds")
    return summary(model, input_size=(1, 1, 28, 28), col_names=columns)


def layer_table(model: nn.Module) -> list[Layer]:
    """Return the steps of the forward pass that have parameters or change the shape, in order.

    Nothing is hard-coded per type of layer: torch counts the multiply-adds, and a receptive field is the extent of the
    input pixels that have a nonzero gradient in any of 64 random images.

    Raises:
        torch.fx.proxy.TraceError: If the forward pass depends on the values of the image.
    """
    was_training, device = model.training, next(model.parameters()).device
    images = torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    try:
        recorder = _Recorder(fx.symbolic_trace(model.eval()), images)
        recorder.run(images)
    finally:
        model.train(was_training)
    return recorder.table


class _Recorder(fx.Interpreter):
    """Runs a traced network, and describes each of its steps."""

    def __init__(self, traced: fx.GraphModule, images: Tensor) -> None:
        super().__init__(traced)
        self.images, self.table, self.field = images, list[Layer](), 1

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            output = super().run_node(n)
        inputs = [self.env[each] for each in n.all_input_nodes]
        if n.op in ("call_module", "call_function", "call_method") and isinstance(output, Tensor):
            shape, module = tuple(output.shape[1:]), n.op == "call_module" and self.fetch_attr(str(n.target))
            parameters = sum(parameter.numel() for parameter in module.parameters()) if module else 0
            if parameters or shape != inputs[0].shape[1:]:
                name = str(n.target) if module else re.sub(r"_\d+$", "", n.name)
                multiply_adds = counter.get_total_flops() // (2 * len(output))
                if output.dim() > 2 or output.numel() != inputs[0].numel():  # flatten keeps its input's
                    self.field = _receptive_field(output, self.images)
                self.table.append(Layer(name, shape, parameters, multiply_adds, self.field))
        return output


def _receptive_field(output: Tensor, images: Tensor) -> int:
    """Return the side of the square of pixels that a vector, or the middle of each feature map, depends on."""
    values = output[..., output.shape[-2] // 2, output.shape[-1] // 2] if output.dim() == 4 else output
    (gradient,) = torch.autograd.grad(values.sum(), images, retain_graph=True)
    touched = gradient.abs().sum(dim=(0, 1)).nonzero()
    return int(touched.max() - touched.min()) + 1


def architecture(model: nn.Module) -> AltTextFigure:
    """Draw the network: feature maps as stacks of squares, vectors as bars, and the parameters below."""
    table = [Layer("digit", (1, 28, 28), 0, 0, 1), *layer_table(model)]
    told = "; ".join(f"{step.layer} returns {'×'.join(map(str, step.output))}" for step in table)
    total = sum(step.parameters for step in table)
    figure = new_figure(f"The network: {total:,} parameters", told, None)
    axes = figure.subplots()
    for index, step in enumerate(table):
        x, color = 48 * index, BLUE if step.parameters else GRAY  # in pixels of the digit
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
    return figure
