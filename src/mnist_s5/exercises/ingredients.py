"""Exercises of 04_faster_training."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..training.muon import orthogonalize
from . import exercise, random_int


def _batch_and_smoothing(generator: Generator) -> tuple[Tensor, Tensor, float]:
    """Five to nine log-probabilities and labels, and a smoothing from 0 to 1, both included."""
    n = random_int(generator, 5, 10)
    log_probs = F.log_softmax(2 * torch.randn(n, 10, generator=generator), dim=1)
    smoothing = float(0.1 + torch.randn((), generator=generator)) / 2
    return log_probs, torch.randint(0, 10, (n,), generator=generator), min(max(smoothing, 0.0), 1.0)


@exercise(
    title="A loss with label smoothing",
    task="Compute the mean loss with smoothed labels: take the fraction `smoothing` of each label, and spread it "
    "evenly over all ten digits.",
    hint="The label then has 1 − smoothing + smoothing / 10. The mean over the ten digits is `log_probs.mean(dim=1)`.",
    difficulty=2,
    minutes=10,
    make_inputs=_batch_and_smoothing,
)
def smoothed_loss(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """log_probs: float [N, 10]; labels: int64 [N]; smoothing: 0 to 1. Return the mean loss in nats, float []."""
    return -(1 - smoothing) * log_probs[torch.arange(len(labels)), labels].mean() - smoothing * log_probs.mean()


@smoothed_loss.mistake("The smoothing is only added. Also take it from the label, which keeps 1 − smoothing.")
def _(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return F.nll_loss(log_probs, labels) - smoothing * log_probs.mean()


@smoothed_loss.mistake("The smoothing is spread over only the nine other digits. Spread it over all ten.")
def _(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    of_label = log_probs[torch.arange(len(labels)), labels]
    return -((1 - smoothing) * of_label + smoothing * (log_probs.sum(dim=1) - of_label) / 9).mean()


@smoothed_loss.mistake("Each of the ten digits gets the whole smoothing. Divide it among them.")
def _(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return (1 - smoothing) * F.nll_loss(log_probs, labels) - smoothing * log_probs.sum(dim=1).mean()


@smoothed_loss.mistake("The two parts are swapped. The label keeps 1 − smoothing.")
def _(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return smoothing * F.nll_loss(log_probs, labels) - (1 - smoothing) * log_probs.mean()


@smoothed_loss.mistake("The minus sign is missing. Log-probabilities are negative; a loss is positive.")
def _(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return (1 - smoothing) * log_probs[torch.arange(len(labels)), labels].mean() + smoothing * log_probs.mean()


@exercise(
    title="Rotation matrices",
    task="Batched augmentation needs an affine matrix of 2 × 3 numbers for each image. Build rotation matrices, "
    "[[cos, −sin, 0], [sin, cos, 0]], with a separate angle for each image.",
    hint="Use `torch.deg2rad`, and for example `torch.stack` twice with `dim=1`.",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (360 * torch.rand(random_int(generator, 3, 8), generator=generator) - 180,),
)
def rotation_matrices(angles: Tensor) -> Tensor:
    """angles: float [N], degrees. Return float [N, 2, 3]."""
    cos, sin, zero = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)


@rotation_matrices.mistake("These are cosines of degrees. PyTorch expects radians: use torch.deg2rad.")
def _(angles: Tensor) -> Tensor:
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)


@rotation_matrices.mistake("These rotate in the opposite direction. The minus belongs to the sine in the first row.")
def _(angles: Tensor) -> Tensor:
    cos, sin, zero = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, sin, zero], dim=1), torch.stack([-sin, cos, zero], dim=1)], dim=1)


@rotation_matrices.mistake("Both sines have the same sign, which is not a rotation. The first row's is negative.")
def _(angles: Tensor) -> Tensor:
    cos, sin, zero = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin(), torch.zeros_like(angles)
    return torch.stack([torch.stack([cos, sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)


@rotation_matrices.mistake("The third column is missing. It is the translation, here zero.")
def _(angles: Tensor) -> Tensor:
    cos, sin = torch.deg2rad(angles).cos(), torch.deg2rad(angles).sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)


def _matrix(generator: Generator) -> Tensor:
    """A matrix with singular values from 0.5 to 2.5, so every correct formula is accurate in float32."""
    n = random_int(generator, 2, 6)
    u, _, vt = torch.linalg.svd(torch.randn(n, n, generator=generator))
    return u @ torch.diag(0.5 + 2 * torch.rand(n, generator=generator)) @ vt


@exercise(
    title="What Muon approximates",
    task="Compute the nearest orthogonal matrix: it has the same singular vectors, and all its singular values are 1. "
    "Muon approximates it quickly. Here, compute it exactly.",
    hint="`u, s, vt = torch.linalg.svd(matrix)`: the matrix is `u @ torch.diag(s) @ vt`.",
    difficulty=2,
    minutes=5,
    make_inputs=lambda generator: (_matrix(generator),),
)
def orthogonalized(matrix: Tensor) -> Tensor:
    """matrix: float [n, n]. Return float [n, n]."""
    u, _, vt = torch.linalg.svd(matrix)
    return u @ vt


@orthogonalized.mistake("This is the matrix itself. Leave its singular values out, as if all were 1.")
def _(matrix: Tensor) -> Tensor:
    return matrix.clone()


@orthogonalized.mistake(
    "The third factor must be transposed once: torch.linalg.svd returns it transposed, and torch.svd does not."
)
def _(matrix: Tensor) -> Tensor:
    u, _, vt = torch.linalg.svd(matrix)
    return u @ vt.T


@orthogonalized.mistake("This only scales the matrix. Its singular values still differ from each other.")
def _(matrix: Tensor) -> Tensor:
    return matrix / matrix.norm()


@orthogonalized.mistake("This is Muon's approximation. Compute the matrix exactly, with an SVD.")
def _(matrix: Tensor) -> Tensor:
    return orthogonalize(matrix)


@orthogonalized.mistake("This matrix is orthogonal, but not the nearest one: QR favors the first column. Use an SVD.")
def _(matrix: Tensor) -> Tensor:
    return torch.linalg.qr(matrix).Q
