"""Muon: an optimizer for matrices and convolution filters that orthogonalizes its momentum updates."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def orthogonalize(matrix: Tensor, ns_steps: int = 5) -> Tensor:
    """Keep a matrix's singular vectors and bring its singular values near 1, most of them between 0.7 and 1.2.

    Uses the quintic Newton-Schulz iteration and the coefficients of Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/. Singular values that are tiny relative to the largest stay small.

    Args:
        matrix: Float [M, N], not zero.
        ns_steps: Number of Newton-Schulz iterations.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)  # so all singular values are at most 1
    for _ in range(ns_steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)  # ax + (b xx' + c xx'xx') x
    return x.T if tall else x


class Muon(Optimizer):
    """Nesterov momentum whose updates are orthogonalized (Jordan et al. 2024).

    Unlike `torch.optim.Muon`, it takes filters too: [out, in, h, w] counts as a matrix [out, in * h * w].
    Parameters with fewer than two dimensions, and groups with `use_muon=False` (recommended for the output layer), get
    Nesterov SGD.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Momentum factor.
        weight_decay: Decoupled (Loshchilov and Hutter 2019): each step first shrinks a parameter by the fraction
            lr * weight_decay.
        dtype: dtype of the Newton-Schulz iteration.
    """

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0, dtype: torch.dtype = torch.float32
    ) -> None:
        self.dtype = dtype  # not in the groups, whose values load_state_dict would replace by those of another device
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "use_muon": True})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(self._update(parameter, parameter.grad, group), alpha=-group["lr"])

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        update = gradient.add(velocity, alpha=group["momentum"])
        if not group["use_muon"] or parameter.dim() < 2:
            return update
        matrix = orthogonalize(update.flatten(1).to(self.dtype)).to(update.dtype)
        ratio = max(1.0, matrix.shape[0] / matrix.shape[1])  # Jordan et al. scale updates of tall matrices by its root
        return matrix.view_as(parameter) * ratio**0.5
