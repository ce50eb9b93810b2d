"""Exercises of 07_measuring."""

import itertools
import math

import torch
from torch import Generator, Tensor

from . import exercise, random_int


@exercise(
    title="The interval of an accuracy",
    task="Compute half the width of the 95% interval of an accuracy. The interval extends 1.96 standard errors to each "
    "side. The standard error of a fraction p of n digits is the square root of p (1 − p) / n.",
    hint="Compute with a fraction from 0 to 1, and convert to percentage points at the end.",
    difficulty=1,
    minutes=5,
    make_inputs=lambda generator: (random_int(generator, 800, 1000), random_int(generator, 1001, 20_000)),
)
def half_width(correct: int, digits: int) -> float:
    """correct: number of correct predictions; digits: of all. Return half the interval's width in percentage points."""
    fraction = correct / digits
    return 100 * 1.96 * math.sqrt(fraction * (1 - fraction) / digits)


half_width.edit("This is one standard error, a 68% interval. For 95%, multiply by 1.96.", "1.96 * ", "")
half_width.edit("The square root is missing.", "math.sqrt", "")
half_width.edit("This uses 2 standard errors. Use 1.96.", "1.96", "2")
half_width.edit(
    "In Python, p * 1 - p is 0. Put 1 - p in parentheses.", "fraction * (1 - fraction)", "fraction * 1 - fraction"
)
half_width.edit("The number of digits is missing. Divide by it under the square root.", " / digits)", ")")
half_width.edit("This is a fraction of 1. Return percentage points, 100 times as much.", "100 * ", "")
half_width.edit("This is the whole width. Return half of it, the number after ±.", "100 * 1.96", "100 * 2 * 1.96")


def _paired_differences(generator: Generator) -> tuple[list[float]]:
    """Three to seven differences, none of them 0. In some trials, all have the same sign."""
    n = random_int(generator, 3, 8)
    positive = (0.6, 0.6, 0.3, 1.0)[random_int(generator, 0, 4)]
    sizes = torch.randint(1, 8, (n,), generator=generator).tolist()
    signs = torch.where(torch.rand(n, generator=generator) < positive, 1, -1).tolist()
    return ([size * sign / 10 for size, sign in zip(sizes, signs, strict=True)],)


@exercise(
    title="The same seeds, two recipes",
    task="Two recipes were trained with the same seeds, so their runs come in pairs. If the recipe makes no "
    "difference, each difference could just as well have the opposite sign. In which fraction of all 2ⁿ choices of "
    "signs is the sum of the differences, in either direction, at least as large as the observed one? That is the "
    "p-value.",
    hint="`itertools.product((1, -1), repeat=n)` lists all choices of signs. Rounding can make equal sums differ "
    "slightly.",
    difficulty=2,
    minutes=15,
    make_inputs=_paired_differences,
)
def paired_seeds_p_value(differences: list[float]) -> float:
    """differences: one for each of up to 7 seeds. Return the p-value, from 0 to 1."""
    observed = abs(sum(differences))
    choices = itertools.product((1, -1), repeat=len(differences))
    sums = [sum(sign * x for sign, x in zip(signs, differences, strict=True)) for signs in choices]
    return sum(abs(each) >= observed - 1e-9 for each in sums) / len(sums)


paired_seeds_p_value.edit(
    "This counts one direction only. A sum as far below 0 is as large: take absolute values.", "abs(each)", "each"
)
paired_seeds_p_value.edit(
    "The observed sum itself is missing: count sums that are at least as large.",
    ">= observed - 1e-9",
    "> observed + 1e-9",
)
paired_seeds_p_value.edit(
    "Rounding makes equal sums differ slightly. Count sums that are larger, or equal within 1e-9.", " - 1e-9", ""
)
paired_seeds_p_value.edit(
    "The observed sum can be negative. Take its absolute value, too.", "abs(sum(differences))", "sum(differences)"
)


@paired_seeds_p_value.mistake("This only counts how many differences are positive. Their size matters, too.")
def _(differences: list[float]) -> float:
    n, positive = len(differences), sum(x > 0 for x in differences)
    most = max(positive, n - positive)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n)


paired_seeds_p_value.edit("This is a percentage. Return a fraction from 0 to 1.", "return sum", "return 100 * sum")
paired_seeds_p_value.edit("This is the number of choices. Divide it by 2ⁿ.", " / len(sums)", "")


def _confidence_and_correct(generator: Generator) -> tuple[Tensor, Tensor]:
    """250 to 349 predictions. Some trials have confidences of exactly 0 or 1, wrong ones among them, or empty bins."""
    n, low = random_int(generator, 250, 350), random_int(generator, 0, 2) / 2
    confidence = low + (1 - low) * torch.rand(n, generator=generator) ** 0.5
    confidence[: 5 * random_int(generator, 0, 2)] = 1
    if not low:
        confidence[-5 * random_int(generator, 0, 2) or n :] = 0
    correct = torch.rand(n, generator=generator) < 0.7
    if random_int(generator, 0, 2):
        correct = (confidence < 1).where(confidence > 0.9, correct)
    return confidence, correct


@exercise(
    title="The expected calibration error",
    task="Summarize a reliability diagram in one number, the *expected calibration error*. Put the predictions into "
    "ten bins of equal width by their confidence: 0 belongs to the first bin, and 1 to the last. For each bin, take "
    "the distance between its mean confidence and its accuracy. Average these distances, weighted by the number of "
    "predictions in each bin. Skip empty bins.",
    hint="`(10 * confidence).long().clamp(max=9)` is the number of the bin.",
    difficulty=3,
    minutes=15,
    make_inputs=_confidence_and_correct,
)
def calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """confidence: float [N], 0 to 1; correct: bool [N]. Return a number from 0 to 1."""
    bins, error = (10 * confidence).long().clamp(max=9), 0.0
    for number in range(10):
        inside = bins == number
        if inside.any():
            gap = confidence[inside].mean() - correct[inside].float().mean()
            error += float(gap.abs() * inside.sum() / len(correct))
    return error


calibration_error.edit(
    "Every bin counts the same. Weight each bin by its number of predictions.",
    "inside.sum() / len(correct)",
    "1 / len(bins.unique())",
)
calibration_error.edit(
    "Overconfident and underconfident bins cancel. Use the absolute value for each bin.", "gap.abs()", "gap"
)


@calibration_error.mistake(
    "This is the distance between two means over all predictions. Use bins, and the absolute value for each bin."
)
def _(confidence: Tensor, correct: Tensor) -> float:
    return abs(float(confidence.mean() - correct.float().mean()))


calibration_error.edit(
    "This uses the center of each bin. Use the mean confidence of the predictions in it.",
    "confidence[inside].mean()",
    "(number / 10 + 0.05)",
)
calibration_error.edit(
    "This compares each single confidence with 0 or 1. Compare the means of each bin.",
    "confidence[inside].mean() - correct[inside].float().mean()",
    "(confidence[inside] - correct[inside].float()).abs().mean()",
)
calibration_error.edit(
    "Predictions with a confidence of exactly 1 are left out. They belong to the last bin.", ".clamp(max=9)", ""
)


@calibration_error.mistake(
    "A confidence of exactly 1 gets a bin of its own. It belongs to the last bin, so clamp to 9."
)
def _(confidence: Tensor, correct: Tensor) -> float:
    bins, error = (10 * confidence).long(), 0.0
    for inside in (bins == number for number in range(11)):
        if inside.any():
            gap = confidence[inside].mean() - correct[inside].float().mean()
            error += float(gap.abs() * inside.sum() / len(correct))
    return error


calibration_error.edit(
    "Predictions with a confidence of exactly 0 are left out. They belong to the first bin.",
    "bins == number",
    "(bins == number) & (confidence > 0)",
)
calibration_error.edit("The mean of an empty bin is nan. Skip empty bins.", "inside.any()", "True")


def _two_networks(generator: Generator) -> tuple[Tensor, Tensor]:
    """Which of 300 digits two networks get right. In some trials, only_a equals only_b, or both are 0."""
    a = torch.rand(300, generator=generator) < 0.9
    only_a, only_b = ((0, 0), (3, 3), (8, 3), (5, 12), (2, 0), (9, 8))[random_int(generator, 0, 6)]
    order, b = torch.randperm(300, generator=generator), a.clone()
    a[order[: only_a + only_b]] = b[order[: only_a + only_b]] = True
    b[order[:only_a]] = False
    a[order[only_a : only_a + only_b]] = False
    return a, b


@exercise(
    title="Two networks, the same digits",
    task="Compute the p-value of McNemar's test. Only digits that exactly one of the two networks gets right count. If "
    "both networks are equally good, each of these n digits is a fair coin, so k of them come up heads with "
    "probability math.comb(n, k) / 2ⁿ. The p-value is the probability of a split at least as uneven as the observed "
    "one, in favor of either network. Compute it yourself, without scipy.",
    hint="How many of the n coins would have to come up heads for a split at least as uneven? Think about the other "
    "direction, and about two equal counts.",
    difficulty=3,
    minutes=20,
    make_inputs=_two_networks,
)
def paired_p_value(a: Tensor, b: Tensor) -> float:
    """a, b: bool [N], which digits each network gets right. Return the p-value, from 0 to 1."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n, most = only_a + only_b, max(only_a, only_b)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n)


paired_p_value.edit(
    "This counts one direction only. A split in favor of the other network is as uneven: double it.", "2 * sum", "sum"
)
paired_p_value.edit(
    "With two equal counts, this is more than 1, because the middle is counted twice. Return at most 1.",
    "min(1.0, ",
    "float(",
)
paired_p_value.edit(
    "The observed split itself is missing. It is as uneven as itself, so it counts.", "range(most,", "range(most + 1,"
)
paired_p_value.edit(
    "This is the probability of exactly this split. Add all splits that are more uneven.",
    "sum(math.comb(n, k) for k in range(most, n + 1))",
    "math.comb(n, most)",
)
paired_p_value.edit(
    "Digits that both networks get right, or both get wrong, do not count. Leave them out.",
    "only_a + only_b, max(only_a, only_b)",
    "len(a), max(int(a.sum()), int(b.sum()))",
)
paired_p_value.edit("This is a percentage. Return a probability from 0 to 1.", "return min", "return 100 * min")
