"""Exercises of 06_faster_training."""

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
    log_probs.requires_grad_()  # as in training
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
    of_labels = log_probs[torch.arange(len(labels)), labels]
    return -((1 - smoothing) * of_labels.mean() + smoothing * log_probs.mean())


smoothed_loss.edit(
    "The smoothing is only added. Also take it from the label, which keeps 1 − smoothing.", "(1 - smoothing) * ", ""
)
smoothed_loss.edit(
    "The smoothing is spread over only the nine other digits. Spread it over all ten.",
    "log_probs.mean()",
    "(log_probs.sum(dim=1) - of_labels).mean() / 9",
)
smoothed_loss.edit(
    "Each of the ten digits gets the whole smoothing. Divide it among them.",
    "log_probs.mean()",
    "log_probs.sum(dim=1).mean()",
)
smoothed_loss.edit(
    "The two parts are swapped. The label keeps 1 − smoothing.",
    "(1 - smoothing) * of_labels.mean() + smoothing *",
    "smoothing * of_labels.mean() + (1 - smoothing) *",
)
smoothed_loss.edit(
    "The minus sign is missing. Log-probabilities are negative; a loss is positive.", "return -(", "return ("
)


def _step_total_and_peak(generator: Generator) -> tuple[int, int, float]:
    """In some trials, the first step, the step at the peak, or the last one."""
    total = 5 * random_int(generator, 20, 200)
    steps = (0, 1, total // 5, total, *(random_int(generator, 0, total) for _ in range(3)))
    return steps[random_int(generator, 0, 7)], total, (0.01, 0.02, 0.03)[random_int(generator, 0, 3)]


@exercise(
    title="The one-cycle schedule",
    task="Compute the learning rate of a step. In the first fifth of the run, it rises linearly from 1/25 of the peak "
    "to the peak, which it reaches after exactly a fifth. Then it falls linearly to 0 at the end of the run.",
    hint="Write the fraction of the run that is done as step / total, and each of the two parts as a straight line.",
    difficulty=2,
    minutes=10,
    make_inputs=_step_total_and_peak,
)
def learning_rate(step: int, total: int, peak: float) -> float:
    """step: 0 to total; total: steps of the run, a multiple of 5. Return the learning rate."""
    done = step / total
    rise = 1 / 25 + (1 - 1 / 25) * done / 0.2
    fall = (1 - done) / 0.8
    return peak * (rise if done < 0.2 else fall)


learning_rate.edit(
    "The warmup starts at 0. It starts at 1/25 of the peak.", "1 / 25 + (1 - 1 / 25) * done / 0.2", "done / 0.2"
)
learning_rate.edit("The warmup ends above the peak: it adds a whole peak to 1/25 of it.", "(1 - 1 / 25) * done", "done")
learning_rate.edit(
    "There is a jump after the warmup. The fall starts at the peak, after a fifth of the run.",
    "(1 - done) / 0.8",
    "1 - done",
)
learning_rate.edit(
    "In Python, 1 - done / 0.8 divides only the fraction that is done. Put 1 - done in parentheses.",
    "(1 - done) / 0.8",
    "1 - done / 0.8",
)
learning_rate.edit(
    "The fall does not end at 0: it must go from the peak at 1/5 to 0 at the end, so divide by 0.8.",
    "(1 - done) / 0.8",
    "1 - (done - 0.2)",
)
learning_rate.edit(
    "The rise is not one straight line. It goes from 1/25 of the peak to the peak.",
    "1 / 25 + (1 - 1 / 25) * done / 0.2",
    "max(1 / 25, done / 0.2)",
)
learning_rate.edit(
    "The warmup is missing. For a fifth of the run, the learning rate rises.",
    "rise if done < 0.2 else fall",
    "1 - done",
)
learning_rate.edit("The fall is missing. After the warmup, the learning rate falls to 0.", "else fall", "else 1")
learning_rate.edit("This is a fraction of the peak. Multiply it by the peak.", "peak * ", "")


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


orthogonalized.edit(
    "This is the matrix itself. Leave its singular values out, as if all were 1.", "u @ vt", "matrix.clone()"
)
orthogonalized.edit(
    "The third factor must be transposed once: torch.linalg.svd returns it transposed, and torch.svd does not.",
    "u @ vt",
    "u @ vt.T",
)
orthogonalized.edit(
    "This only scales the matrix. Its singular values still differ from each other.", "u @ vt", "matrix / matrix.norm()"
)


@orthogonalized.mistake("This is Muon's approximation. Compute the matrix exactly, with an SVD.")
def _(matrix: Tensor) -> Tensor:
    return orthogonalize(matrix)


orthogonalized.edit(
    "This matrix is orthogonal, but not the nearest one: QR favors the first column. Use an SVD.",
    "u @ vt",
    "torch.linalg.qr(matrix).Q",
)
