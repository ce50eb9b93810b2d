"""Describe a network: torchinfo's summary, a table of its layers, and a drawing."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import Polygon
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode
from torchinfo import ModelStatistics, summary

from . import BLUE, GRAY, ORANGE, SMALL, WIDE, AltTextFigure, in_default_style, new_figure


class Layer(NamedTuple):
    """One row of `layer_table`, for one image."""

    layer: str
    output: tuple[int, ...]  # shape without the batch dimension
    parameters: int
    multiply_adds: int  # excluding biases
    receptive_field: int  # side of the square of input pixels that one output value depends on


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode, and afterwards each of its modules back into its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def model_summary(model: nn.Module) -> ModelStatistics:
    """Return torchinfo's summary for one image. The totals count a parameter that several layers share once."""
    columns = ("input_size", "output_size", "num_params", "mult_adds")
    with _eval_mode(model):
        statistics = summary(model, input_size=(1, 1, 28, 28), col_names=columns)
    statistics.total_params = sum(each.numel() for each in model.parameters())
    statistics.trainable_params = sum(each.numel() for each in model.parameters() if each.requires_grad)
    return statistics


def layer_table(model: nn.Module) -> list[Layer]:
    """Return the steps of the forward pass that have parameters or change the shape, in order.

    Nothing is hard-coded per type of layer: torch counts the multiply-adds, and a receptive field is the extent of the
    input pixels that have a nonzero gradient in any of 64 random images.

    Raises:
        ValueError: If the forward pass cannot be traced, or takes anything other than one batch of images.
    """
    images = torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0)).requires_grad_()
    try:
        with _eval_mode(model), torch.enable_grad():
            recorder = _Recorder(fx.symbolic_trace(model), images)
            recorder.run(images.to(next(model.parameters()).device))
    except Exception as error:  # a forward pass can raise anything
        why = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"layer_table cannot trace {type(model).__name__} ({why}). Use model_summary.") from error
    return recorder.table


class _Recorder(fx.Interpreter):
    """Runs a traced network, and describes each of its steps."""

    def __init__(self, traced: fx.GraphModule, images: Tensor) -> None:
        super().__init__(traced)
        self.images, self.field = images, 1
        self.table: list[Layer] = []
        self.new: dict[str, nn.Parameter] = {}  # parameters since the last row, each counted once
        self.counted: set[nn.Parameter] = set()

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            output = super().run_node(n)
        if n.op == "get_attr" and isinstance(output, nn.Parameter):
            self.new[n.name] = output
        if n.op in ("call_module", "call_function", "call_method") and isinstance(output, Tensor):
            self.new |= self.fetch_attr(str(n.target)).named_parameters(n.name) if n.op == "call_module" else {}
            shape, before = output.shape[1:], self.env[n.all_input_nodes[0]].shape[1:]
            if output.dim() > 2 or shape.numel() != before.numel():  # flatten keeps its input's receptive field
                self.field = _receptive_field(output, self.images)
            parameters = {*self.new.values()} - self.counted
            if self.new or shape != before:
                name = str(n.target) if n.op == "call_module" else re.sub(r"_\d+$", "", n.name)
                size, multiply_adds = sum(map(Tensor.numel, parameters)), counter.get_total_flops() // (2 * len(output))
                self.table.append(Layer(name, tuple(shape), size, multiply_adds, self.field))
            self.counted, self.new = self.counted | parameters, {}
        return output


def _receptive_field(output: Tensor, images: Tensor) -> int:
    """Return the side of the square of pixels that a vector, or the middle of each feature map, depends on."""
    values = output[..., output.shape[-2] // 2, output.shape[-1] // 2] if output.dim() == 4 else output
    (gradient,) = torch.autograd.grad(values.sum(), images, retain_graph=True)
    touched = gradient.abs().sum(dim=(0, 1)).nonzero()  # [pixels, 2], none behind dead ReLUs
    return int((touched.amax(dim=0) - touched.amin(dim=0)).max()) + 1 if len(touched) else 0


@in_default_style
def architecture(model: nn.Module) -> AltTextFigure:
    """Draw the network: feature maps as boxes, vectors as bars, and below them their sizes and parameters.

    A box is as high and deep as its maps, and its width grows with their number.
    """
    table = [Layer("digit", (1, 28, 28), 0, 0, 1), *layer_table(model)]
    told = "; ".join(f"{step.layer}: {'×'.join(map(str, step.output))}" for step in table)
    total = sum(parameter.numel() for parameter in model.parameters())
    figure = new_figure(f"The network: the shape of each output, and {total:,} parameters", told, None, (WIDE[0], 3.1))
    axes, end = figure.subplots(), 0.0
    for index, step in enumerate(table):
        x, color = 17 * index, BLUE if step.parameters else GRAY  # in pixels of the digit
        maps = len(step.output) == 3
        height = step.output[1] if maps else 2.4 * math.log2(step.output[0])
        width, depth = (0.6 * step.output[0] ** 0.5, 0.28 * height) if maps else (1.0, 0.0)
        left, right, low, high = x - width / 2, x + width / 2, -height / 2, height / 2
        front = [(left, low), (right, low), (right, high), (left, high)]
        top = [(left, high), (right, high), (right + depth, high + depth), (left + depth, high + depth)]
        side = [(right, low), (right, high), (right + depth, high + depth), (right + depth, low + depth)]
        for face, alpha in ((front, 0.5), (top, 0.2), (side, 0.35)):
            axes.add_patch(Polygon(face, facecolor=to_rgba(color, alpha), edgecolor=color))
        if index:
            axes.annotate("", (left - 0.5, 0), (end, 0), arrowprops={"arrowstyle": "->"})
        end = right + depth + 0.5
        size = f"{step.output[0]} ×\n{step.output[1]} × {step.output[2]}" if maps else f"{step.output[0]}"
        axes.text(x, 26, step.layer.replace("_", "\n"), ha="center", va="bottom", fontsize=SMALL)
        axes.text(x, -18, size, ha="center", va="top", fontsize=SMALL)
        style: dict[str, Any] = {"color": ORANGE, "weight": "bold"} if step.parameters > total / 4 else {}
        axes.text(x, -29, f"{step.parameters:,}" if step.parameters else "–", ha="center", fontsize=SMALL, **style)
    axes.set(xlim=(-8, 17 * len(table) - 9), ylim=(-31, 33), aspect="equal")
    axes.axis("off")
    return figure
