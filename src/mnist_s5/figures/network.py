"""Describe a network: torchinfo's summary, a table of its layers, and a drawing."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode
from torchinfo import ModelStatistics, summary

from ..data.digits import normalize
from . import GRAY, ORANGE, SMALL, WIDE, AltTextFigure, in_default_style, new_figure


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
    return _record(model, torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))).table


def _record(model: nn.Module, images: Tensor) -> "_Recorder":
    """Pass images through the network, and return what was recorded."""
    images = images.requires_grad_()
    try:
        with _eval_mode(model), torch.enable_grad():
            recorder = _Recorder(fx.symbolic_trace(model), images)
            recorder.run(images.to(next(model.parameters()).device))
    except Exception as error:  # a forward pass can raise anything
        why = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"layer_table cannot trace {type(model).__name__} ({why}). Use model_summary.") from error
    return recorder


class _Recorder(fx.Interpreter):
    """Runs a traced network, and describes each of its steps."""

    def __init__(self, traced: fx.GraphModule, images: Tensor) -> None:
        super().__init__(traced)
        self.images, self.field = images, 1
        self.table: list[Layer] = []
        self.outputs: list[Tensor] = []  # of each row
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
                self.outputs.append(output.detach().cpu())
            self.counted, self.new = self.counted | parameters, {}
        return output


def _receptive_field(output: Tensor, images: Tensor) -> int:
    """Return the side of the square of pixels that a vector, or the middle of each feature map, depends on."""
    values = output[..., output.shape[-2] // 2, output.shape[-1] // 2] if output.dim() == 4 else output
    (gradient,) = torch.autograd.grad(values.sum(), images, retain_graph=True)
    touched = gradient.abs().sum(dim=(0, 1)).nonzero()  # [pixels, 2], none behind dead ReLUs
    return int((touched.amax(dim=0) - touched.amin(dim=0)).max()) + 1 if len(touched) else 0


@in_default_style
def architecture(model: nn.Module, image: Tensor) -> AltTextFigure:
    """Draw the network: after each layer, the four feature maps of a digit with the most contrast, or a vector.

    Below each are the shape of the output and the number of parameters.

    Args:
        model: The network.
        image: The digit, uint8 [28, 28].
    """
    recorded = _record(model, normalize(image.cpu())[None, None])
    table = [Layer("digit", (1, 28, 28), 0, 0, 1), *recorded.table]
    outputs = [image.cpu()[None].float(), *(output[0].clamp(min=0) for output in recorded.outputs)]  # after a ReLU
    outputs[-1] = recorded.outputs[-1][0]  # the scores, which may be negative
    told = "; ".join(f"{step.layer}: {'×'.join(map(str, step.output))}" for step in table)
    total = sum(parameter.numel() for parameter in model.parameters())
    figure = new_figure(f"The network: the shape of each output, and {total:,} parameters", told, None, (WIDE[0], 4.0))
    axes = figure.subplots()
    for x, (step, output) in enumerate(zip(table, outputs, strict=True)):
        _draw_outputs(axes, output, x)
        shape = "×".join(map(str, step.output)).replace("×", " ×\n", 1)
        style: dict[str, Any] = {"color": ORANGE, "weight": "bold"} if step.parameters > total / 4 else {}
        centered: dict[str, Any] = {"ha": "center", "fontsize": SMALL}
        axes.text(x, 0.1, step.layer.replace("_", "\n"), va="bottom", **centered)
        axes.text(x, -4.1, shape, va="top", **centered)
        axes.text(x, -4.95, f"{step.parameters:,}" if step.parameters else "–", va="top", **centered | style)
    for y, name in ((-4.1, "shape:"), (-4.95, "parameters:")):
        axes.text(-0.6, y, name, ha="right", va="top", fontsize=SMALL)
    axes.set(xlim=(-1.5, len(table) - 0.4), ylim=(-5.3, 0.7), aspect="equal")
    axes.axis("off")
    return figure


def _draw_outputs(axes: Axes, output: Tensor, x: int) -> None:
    """Draw up to four feature maps, [channels, H, W], below each other, or a vector as a bar."""
    if output.dim() == 1:
        axes.imshow(output[:, None], cmap="gray", extent=(x - 0.1, x + 0.1, -4, 0))
        axes.add_patch(Rectangle((x - 0.1, -4), 0.2, 4, fill=False, color=GRAY, linewidth=0.8))  # a value may be white
        return
    strongest = output.flatten(1).std(dim=1, correction=0).topk(min(4, len(output))).indices.tolist()
    for y, channel in enumerate(strongest):
        axes.imshow(output[channel], cmap="gray", extent=(x - 0.46, x + 0.46, -y - 0.96, -y - 0.04))
