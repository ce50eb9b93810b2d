"""Exercises of 04_faster_training."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from . import exercise


def _between(generator: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


@exercise(
    title="A smoothed loss",
    task="Take a share of each label and spread it evenly over all ten digits.",
    hint="The label then gets 1 − share + share / 10; the mean over ten is `log_probs.mean(dim=1)`.",
    difficulty=2,
    minutes=10,
    draw=lambda generator: (
        F.log_softmax(2 * torch.randn(7, 10, generator=generator), dim=1),
        torch.randint(0, 10, (7,), generator=generator),
        _between(generator, 0.02, 0.4),
    ),
)
def smoothed_loss(log_probs: Tensor, labels: Tensor, share: float) -> Tensor:
    """log_probs: float [N, 10]; labels: int64 [N]; share: 0 to 1; gives the mean loss in nats, float []."""
    return -(1 - share) * log_probs[torch.arange(len(labels)), labels].mean() - share * log_probs.mean()


@smoothed_loss.mistake("the share is added on top: take it from the label, which keeps 1 − share.")
def _(log_probs: Tensor, labels: Tensor, share: float) -> Tensor:
    return F.nll_loss(log_probs, labels) - share * log_probs.mean()


@smoothed_loss.mistake("the share is spread over the nine others only: spread it over all ten.")
def _(log_probs: Tensor, labels: Tensor, share: float) -> Tensor:
    given = log_probs[torch.arange(len(labels)), labels]
    return -((1 - share) * given + share * (log_probs.sum(dim=1) - given) / 9).mean()


@smoothed_loss.mistake("all ten digits get the whole share each: divide it among them.")
def _(log_probs: Tensor, labels: Tensor, share: float) -> Tensor:
    return (1 - share) * F.nll_loss(log_probs, labels) - share * log_probs.sum(dim=1).mean()


@smoothed_loss.mistake("the two parts are swapped: the label keeps 1 − share.")
def _(log_probs: Tensor, labels: Tensor, share: float) -> Tensor:
    return share * F.nll_loss(log_probs, labels) - (1 - share) * log_probs.mean()


@smoothed_loss.mistake("the sign is missing: log-probabilities are negative, a loss is positive.")
def _(log_probs: Tensor, labels: Tensor, share: float) -> Tensor:
    return (1 - share) * log_probs[torch.arange(len(labels)), labels].mean() + share * log_probs.mean()


@exercise(
    title="Maps that turn",
    task="The batched warp takes a map of 2 × 3 numbers for each image. Make those of a rotation: "
    "[[cos, −sin, 0], [sin, cos, 0]], a separate angle for each image.",
    hint="`torch.deg2rad`; `torch.stack` twice, with `dim=1`.",
    difficulty=2,
    minutes=10,
    draw=lambda generator: (60 * torch.rand(5, generator=generator) - 30,),
)
def turning_maps(angles: Tensor) -> Tensor:
    """angles: float [N], degrees; gives float [N, 2, 3]."""
    cos, sin, zero = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)


@turning_maps.mistake("these are cosines of degrees: torch computes with radians, see torch.deg2rad.")
def _(angles: Tensor) -> Tensor:
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)


@turning_maps.mistake("they turn the other way: the minus belongs to the sine in the first row.")
def _(angles: Tensor) -> Tensor:
    cos, sin, zero = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, sin, zero], dim=1), torch.stack([-sin, cos, zero], dim=1)], dim=1)


@turning_maps.mistake("both sines have the same sign, which is no rotation: the first row's is negative.")
def _(angles: Tensor) -> Tensor:
    cos, sin, zero = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)


@turning_maps.mistake("the third column is missing: it shifts, here by nothing.")
def _(angles: Tensor) -> Tensor:
    cos, sin = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)


@exercise(
    title="What Muon aims at",
    task="The nearest orthogonal matrix: the same directions, and every singular value 1. Muon reaches it nearly, and "
    "faster; here take the exact way.",
    hint="`u, s, vt = torch.linalg.svd(matrix)`: the matrix is `u @ torch.diag(s) @ vt`.",
    difficulty=2,
    minutes=5,
    draw=lambda generator: (torch.randn(4, 4, generator=generator),),
)
def orthogonalised(matrix: Tensor) -> Tensor:
    """matrix: float [n, n]; gives float [n, n]."""
    u, _, vt = torch.linalg.svd(matrix)
    return u @ vt


@orthogonalised.mistake("with the singular values in it this is the matrix itself: leave them out, as if all were 1.")
def _(matrix: Tensor) -> Tensor:
    return matrix.clone()


@orthogonalised.mistake("torch.linalg.svd gives the third factor transposed already: no second .T.")
def _(matrix: Tensor) -> Tensor:
    u, _, vt = torch.linalg.svd(matrix)
    return u @ vt.T


@orthogonalised.mistake("this only makes the matrix smaller: its singular values still differ.")
def _(matrix: Tensor) -> Tensor:
    return matrix / matrix.norm()


@orthogonalised.mistake("this matrix is orthogonal, but not the nearest: QR favours the first column, an SVD none.")
def _(matrix: Tensor) -> Tensor:
    return torch.linalg.qr(matrix).Q
