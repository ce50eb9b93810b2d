"""Checks of a network or a layer that a student has written."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..model import Net
from . import Rejected


def _built(network: Callable[..., Any], *sizes: int) -> nn.Module:
    """Return an instance of a student's class, or reject it if it is not a module that registers its layers."""
    try:
        module = network(*sizes)
    except AttributeError as error:
        if "Module.__init__" not in str(error):
            raise
        raise Rejected(
            "Call super().__init__() first in __init__. Without it, a module cannot register layers."
        ) from None
    if not isinstance(module, nn.Module):
        raise Rejected("The class must inherit from nn.Module.")
    for name, value in vars(module).items():
        if isinstance(value, list | tuple) and any(isinstance(each, nn.Module) for each in value):
            raise Rejected(f"The layers in the plain list {name} are not registered. Use an attribute for each layer.")
    return module


def _check_parameters(module: nn.Module, expected: dict[str, Tensor]) -> None:
    """Reject a module whose parameters have other names or shapes."""
    found = dict(module.named_parameters())
    for name, tensor in expected.items():
        if name not in found and isinstance(getattr(module, name, None), Tensor):
            raise Rejected(f"The {name} is a plain tensor, so no optimizer gets it. Make it an nn.Parameter.")
        if name not in found:
            raise Rejected(f"There is no parameter {name}. Use the names of the task, and layers with biases.")
        if found[name].shape != tensor.shape:
            turned = found[name].shape == tensor.shape[::-1]
            shapes = f"The shape of {name} is {list(found[name].shape)}. It must be {list(tensor.shape)}"
            raise Rejected(shapes + ": one row of weights per output." * turned + "." * (not turned))
    if extra := found.keys() - expected:
        raise Rejected(f"There are parameters that the task does not have, such as {min(extra)}.")


def _check_initial_weights(weight: Tensor) -> None:
    """Reject weights that are not random, from −1/√inputs to 1/√inputs."""
    low, high = weight.min(), weight.max()
    if low == high:
        raise Rejected("All initial weights are equal, so all outputs would learn the same. Sample them at random.")
    if max(-low, high) > weight.shape[1] ** -0.5:
        raise Rejected("Some initial weights are outside −1/√inputs to 1/√inputs. Large ones make training unstable.")
    if low > -0.5 * high:
        raise Rejected("The initial weights have one sign. Sample them from −1/√inputs to 1/√inputs.")


def output_and_gradients(layer: Callable[..., Any], x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Any]:
    """Return what a layer with these parameters computes."""
    module = _built(layer, *weight.shape[::-1])
    _check_parameters(module, {"weight": weight, "bias": bias})
    _check_initial_weights(module.get_parameter("weight").detach())
    module.load_state_dict({"weight": weight, "bias": bias})
    try:
        output = module(x)
    except RuntimeError as error:
        if "multiplied" not in str(error):
            raise
        raise Rejected("The shapes do not fit: x is [N, inputs], weight is [outputs, inputs]. Transpose one.") from None
    if isinstance(output, Tensor) and output.requires_grad:
        output.square().sum().backward()
    gradients = {name: module.get_parameter(name).grad for name in ("weight", "bias")}
    if lost := [name for name, gradient in gradients.items() if gradient is None]:
        raise Rejected(f"No gradient reaches {lost[0]}. Use it in forward, without detach(), data, or no_grad().")
    return {"the output is that of nn.Linear": output, "the gradients are those of nn.Linear": gradients}


@cache
def _our_net() -> Net:
    """A Net with weights large enough that a mistake in any layer changes the output."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = Net()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(2)
    return net


def _check_input(layer: str, before: str, got: Tensor, expected: Tensor) -> None:
    """Reject a network in which the input of this layer is not what the layer before it leads to."""
    if got.shape != expected.shape:
        why = {
            4.0: "a pooling is missing before it",
            0.25: "one pooling too many comes before it",
            1.0: "flatten each image, and keep the batch dimension",
        }.get(got.numel() / expected.numel(), "compare the layer before it with the table")
        raise Rejected(f"The input of {layer} is {list(got.shape)}. It must be {list(expected.shape)}: {why}.")
    if not torch.allclose(got, expected, rtol=1e-4, atol=1e-5):
        if not before:
            raise Rejected(f"The input of {layer} must be the images as they are.")
        if (got < 0).any():
            raise Rejected(f"The input of {layer} has negative values: the ReLU after {before} is missing.")
        raise Rejected(f"The input of {layer} has other values. Compare the steps after {before} with the table.")


def output_with_our_weights(network: Callable[..., Any], x: Tensor) -> Any:
    """Return the output of a network with our weights. Reject it at the first layer whose input is wrong."""
    net, ours = _built(network), deepcopy(_our_net())
    _check_parameters(net, dict(ours.named_parameters()))
    net.load_state_dict(ours.state_dict())
    expected: dict[str, Tensor] = {}
    for name, layer in ours.named_children():
        layer.register_forward_pre_hook(lambda _, inputs, name=name: expected.update({name: inputs[0]}))
    ours(x)
    for before, name in pairwise(["", *expected]):
        net.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, before=before, name=name: _check_input(name, before, inputs[0], expected[name])
        )
    return net(x)
