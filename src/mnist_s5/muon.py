"""Muon: momentum whose updates are made orthogonal, for matrices and convolution filters."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """The matrix with its singular vectors kept and its singular values drawn near 1: most to between 0.7 and 1.2.

    matrix: float [M, N], its norm well above 1e-7; a value next to 0 beside the others stays small. The quintic
    Newton-Schulz iteration of Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/, with their coefficients.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)  # no singular value above 1
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)  # ax + (b xx' + c xx'xx') x
    return x.T if tall else x


class Muon(Optimizer):
    """Muon (Jordan et al. 2024): Nesterov momentum, and each update made orthogonal before it is taken.

    torch.optim.Muon takes 2-D parameters only; here a convolution's filters [out, in, h, w] count as a matrix
    [out, in * h * w]. A parameter group with `orthogonal=False` gets plain Nesterov SGD, as biases and the output
    layer want. weight_decay: decoupled, each step first shrinks a parameter by lr * weight_decay of itself (Loshchilov
    and Hutter 2019). precision: of the iteration. Raises ValueError for a parameter of fewer than two dimensions in
    any group that is to be orthogonal.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"orthogonal": True, "precision": precision})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        flat = next((p for p in group["params"] if p.dim() < 2), None)
        if group["orthogonal"] and flat is not None:
            self.param_groups.pop()
            raise ValueError(
                f"Muon is for matrices and filters, not for a parameter {tuple(flat.shape)}: "
                "put it into a group with orthogonal=False."
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(self._update(parameter, parameter.grad, group), alpha=-group["lr"])
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        update = gradient.add(velocity, alpha=group["momentum"])
        if not group["orthogonal"]:
            return update
        matrix = orthogonalize(update.flatten(1).to(group["precision"])).to(update.dtype)
        taller = max(1.0, matrix.shape[0] / matrix.shape[1])  # as Jordan et al. scale a matrix with more rows
        return matrix.view_as(parameter) * taller**0.5
