"""Exercises of 06_measuring."""

import math

import torch
from torch import Generator, Tensor

from . import exercise


def _between(generator: Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=generator))


@exercise(
    title="How sure is an accuracy?",
    task="The 95 % interval of an accuracy that was measured on some digits reaches 1.96 standard errors to each "
    "side; the standard error of a share p of n is the square root of p (1 − p) / n.",
    hint="Compute with a share from 0 to 1, and turn it into points at the end.",
    difficulty=1,
    minutes=5,
    draw=lambda generator: (_between(generator, 800, 1000), _between(generator, 1001, 20_000)),
)
def half_width(right: int, digits: int) -> float:
    """right: how many of the digits were read right; gives half the interval's width in points of a percent."""
    share = right / digits
    return 100 * 1.96 * math.sqrt(share * (1 - share) / digits)


@half_width.mistake("this is one standard error, a 68 % interval: 95 % takes 1.96 of them.")
def _(right: int, digits: int) -> float:
    share = right / digits
    return 100 * math.sqrt(share * (1 - share) / digits)


@half_width.mistake("the square root is missing.")
def _(right: int, digits: int) -> float:
    share = right / digits
    return 100 * 1.96 * share * (1 - share) / digits


@half_width.mistake("this is a share of 1: give points, 100 times as much.")
def _(right: int, digits: int) -> float:
    share = right / digits
    return 1.96 * math.sqrt(share * (1 - share) / digits)


@half_width.mistake("this is the whole width: give half of it, what stands behind ±.")
def _(right: int, digits: int) -> float:
    share = right / digits
    return 100 * 2 * 1.96 * math.sqrt(share * (1 - share) / digits)


@exercise(
    title="How many seeds?",
    task="Two recipes are trained with n seeds each; single runs of either scatter with the same standard deviation. "
    "The difference of the two means then scatters with deviation × √(2 / n). How many seeds does it take until a "
    "given difference is twice that? Never fewer than four, since three against three prove nothing.",
    hint="Solve difference = 2 × deviation × √(2 / n) for n, and round up.",
    difficulty=2,
    minutes=10,
    draw=lambda generator: (_between(generator, 2, 30) / 100, 0.0503 + _between(generator, 0, 150) / 1000),
)
def seeds_needed(difference: float, deviation: float) -> int:
    """difference: of the two means; deviation: of single runs, both in points; gives the seeds for each recipe."""
    return max(4, math.ceil(8 * (deviation / difference) ** 2))


@seeds_needed.mistake("fewer than four can come out: at least four of each, whatever the formula says.")
def _(difference: float, deviation: float) -> int:
    return math.ceil(8 * (deviation / difference) ** 2)


@seeds_needed.mistake("both means scatter: that is a factor of 2 under the root.")
def _(difference: float, deviation: float) -> int:
    return max(4, math.ceil(4 * (deviation / difference) ** 2))


@seeds_needed.mistake("with one standard deviation chance alone gives such a difference every third time: take two.")
def _(difference: float, deviation: float) -> int:
    return max(4, math.ceil(2 * (deviation / difference) ** 2))


@seeds_needed.mistake("rounded down, the seeds are too few: math.ceil.")
def _(difference: float, deviation: float) -> int:
    return max(4, math.floor(8 * (deviation / difference) ** 2))


@seeds_needed.mistake("the ratio is upside down: a smaller difference takes more seeds.")
def _(difference: float, deviation: float) -> int:
    return max(4, math.ceil(8 * (difference / deviation) ** 2))


@seeds_needed.mistake("the square is missing: half the difference takes four times the seeds.")
def _(difference: float, deviation: float) -> int:
    return max(4, math.ceil(math.sqrt(8) * deviation / difference))


@exercise(
    title="Sure, and right?",
    task="One number for a reliability diagram: sort answers into ten bins of equal width by their confidence; in "
    "each take the distance between its mean confidence and the share that is right; average these, each bin with "
    "the weight of its answers (the *expected calibration error*).",
    hint="`(10 * confidence).long().clamp(max=9)` is the bin; skip empty ones.",
    difficulty=3,
    minutes=15,
    draw=lambda generator: (
        torch.rand(300, generator=generator) ** 0.5,
        torch.rand(300, generator=generator) < 0.7,
    ),
)
def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """confidence: float [N], 0 to 1; right: bool [N]; gives 0 to 1."""
    bins, error = (10 * confidence).long().clamp(max=9), 0.0
    for inside in (bins == number for number in range(10)):
        if inside.any():
            gap = confidence[inside].mean() - right[inside].float().mean()
            error += float(gap.abs() * inside.sum() / len(right))
    return error


@calibration_error.mistake("every bin counts alike: weigh each by the number of its answers.")
def _(confidence: Tensor, right: Tensor) -> float:
    bins = (10 * confidence).long().clamp(max=9)
    parts = [bins == number for number in range(10) if (bins == number).any()]
    return sum(float((confidence[part].mean() - right[part].float().mean()).abs()) for part in parts) / len(parts)


@calibration_error.mistake("too sure in one bin and too modest in another cancel: take the distance of each bin.")
def _(confidence: Tensor, right: Tensor) -> float:
    return float(confidence.mean() - right.float().mean())


@calibration_error.mistake("the bins are left out: this is the distance between two means over all answers.")
def _(confidence: Tensor, right: Tensor) -> float:
    return abs(float(confidence.mean() - right.float().mean()))


@calibration_error.mistake("this takes the middle of each bin: take the mean confidence of the answers in it.")
def _(confidence: Tensor, right: Tensor) -> float:
    bins, error = (10 * confidence).long().clamp(max=9), 0.0
    for number in range(10):
        inside = bins == number
        if inside.any():
            gap = number / 10 + 0.05 - right[inside].float().mean()
            error += float(gap.abs() * inside.sum() / len(right))
    return error


@calibration_error.mistake("this compares each answer's confidence with 0 or 1: compare the means of a bin.")
def _(confidence: Tensor, right: Tensor) -> float:
    return float((confidence - right.float()).abs().mean())
