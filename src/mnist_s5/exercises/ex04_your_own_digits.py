"""Exercises of 04_your_own_digits."""

import math

import torch
from torch import Generator, Tensor, nn

from . import exercise, random_int


def _strokes(generator: Generator) -> tuple[Tensor]:
    """Strokes of different intensity, in one part of an image."""
    image = torch.zeros(28, 28)
    height, width = random_int(generator, 8, 17), random_int(generator, 8, 17)
    top, left = random_int(generator, 0, 28 - height), random_int(generator, 0, 28 - width)
    pixels = torch.rand(height, width, generator=generator)
    slope = torch.linspace(0, 2, height)[:, None] + torch.linspace(0, 1, width)  # most mass is at the lower right
    image[top : top + height, left : left + width] = 255 * pixels * slope / 3 * (pixels > 0.4)
    return (image,)


@exercise(
    title="Into the middle",
    task="In MNIST, the center of mass of the pixels is at row 14 and column 14, counted from 0. Return by how many "
    "rows and columns you have to shift an image to get it there, rounded to whole pixels.",
    hint="The row of the center of mass is the mean of all row numbers, weighted by the pixels: sum over the columns "
    "first.",
    difficulty=1,
    minutes=10,
    make_inputs=_strokes,
)
def shift_to_center(image: Tensor) -> tuple[int, int]:
    """image: float [28, 28], 0 for background. Return the shift down and to the right; negative means up or left."""
    at = torch.arange(28)
    row = float((image.sum(dim=1) * at).sum() / image.sum())
    column = float((image.sum(dim=0) * at).sum() / image.sum())
    return round(14 - row), round(14 - column)


@shift_to_center.mistake("This centers the box around the strokes. Weight each row and column by its pixels.")
def _(image: Tensor) -> tuple[int, int]:
    rows, columns = (image.sum(dim=dim).nonzero().flatten().tolist() for dim in (1, 0))
    return round(14 - (rows[0] + rows[-1]) / 2), round(14 - (columns[0] + columns[-1]) / 2)


shift_to_center.edit(
    "All pixels of the strokes count the same. Weight each one by its brightness.",
    "at = torch.arange(28)",
    "at, image = torch.arange(28), (image > 0).float()",
)
shift_to_center.edit(
    "Rows and columns are exchanged. Return the shift down first. sum(dim=1) sums each row.",
    "round(14 - row), round(14 - column)",
    "round(14 - column), round(14 - row)",
)
shift_to_center.edit(
    "The sign is wrong. A digit that is too high has to move down, by a positive number.",
    "round(14 - row), round(14 - column)",
    "round(row - 14), round(column - 14)",
)
shift_to_center.edit(
    "The shifts are not whole pixels. Use round().", "round(14 - row), round(14 - column)", "14 - row, 14 - column"
)
shift_to_center.edit(
    "This is where the center of mass is. Return by how much it has to be shifted.",
    "round(14 - row), round(14 - column)",
    "round(row), round(column)",
)
shift_to_center.edit(
    "The decimals are cut off by int(), so some shifts are too small. Use round().",
    "round(14 - row), round(14 - column)",
    "int(14 - row), int(14 - column)",
)
shift_to_center.edit(
    "The shifts are half a pixel too small. Use 14, not 13.5, and round(), not floor().",
    "round(14 - row), round(14 - column)",
    "round(13.5 - row), round(13.5 - column)",
)


def _model_and_digit(generator: Generator) -> tuple[nn.Module, Tensor, int, int]:
    """A network, a normalized image, a label, and the side of the square."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(dim=1)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 20)
    x = 3 * torch.rand(1, 1, 8, 8, generator=generator) - 0.4
    x[..., 0, 0] = -0.4242  # there is background in every digit
    return model, x, random_int(generator, 0, 10), (3, 5)[random_int(generator, 0, 2)]


@exercise(
    title="Which pixels matter?",
    task="For each pixel, cover a square around it with background, and return by how much the log-probability of the "
    "label falls. The background of a normalized image is −0.4242. At the edges, the square is cut off.",
    hint="Cover a copy of the image. If `row - reach` is negative, a slice counts from the end: use `max(0, row - "
    "reach)`.",
    difficulty=2,
    minutes=15,
    make_inputs=_model_and_digit,
)
def occlusion(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    """model returns log-probabilities; x: float [1, 1, H, W]; side: odd. Return float [H, W], without a gradient."""
    reach, falls = side // 2, torch.zeros(x.shape[2:])
    with torch.no_grad():
        before = model(x)[0, label]
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                covered = x.clone()
                top, left = max(0, row - reach), max(0, column - reach)
                covered[..., top : row + reach + 1, left : column + reach + 1] = -0.4242
                falls[row, column] = before - model(covered)[0, label]
    return falls


occlusion.edit(
    "The sign is wrong. Where a covered pixel makes the label less likely, return a positive number.",
    "before - model(covered)[0, label]",
    "model(covered)[0, label] - before",
)
occlusion.edit("The pixels are covered with 0. The background of a normalized image is -0.4242.", "= -0.4242", "= 0")
occlusion.edit(
    "The square begins at the pixel. It has to be around the pixel: begin side // 2 before it.",
    "top : row + reach + 1, left : column + reach + 1",
    "row : row + side, column : column + side",
)
occlusion.edit(
    "The last row and column of the square are missing: a slice ends before its second number.",
    "top : row + reach + 1, left : column + reach + 1",
    "top : row + reach, left : column + reach",
)
occlusion.edit(
    "Near the upper and left edges, the start is negative, so the slice is empty. Use max(0, …).",
    "max(0, row - reach), max(0, column - reach)",
    "row - reach, column - reach",
)
occlusion.edit("This is the log-probability with the square. Return by how much it falls.", "before - model", "model")
occlusion.edit(
    "Every square stays covered. Cover a new copy of the image for each pixel: x.clone().",
    "x.clone()",
    "covered if row or column else x.clone()",
)
occlusion.edit(
    "This compares probabilities. Compare the log-probabilities that the model returns.",
    "before - model(covered)[0, label]",
    "before.exp() - model(covered)[0, label].exp()",
)


def _hidden_and_labels(generator: Generator) -> tuple[Tensor, Tensor, Tensor, int]:
    """Values of some digits in groups of different distance from 0, of known digits, their labels, and k."""
    n = random_int(generator, 40, 80)
    labels = torch.randint(0, 4, (n,), generator=generator)
    centers = torch.randn(4, 6, generator=generator) * torch.tensor([[0.5], [1.0], [2.0], [4.0]])
    known = centers[labels] + torch.randn(n, 6, generator=generator)
    of = torch.randint(0, 4, (12,), generator=generator)
    return (
        centers[of] + 1.5 * torch.randn(12, 6, generator=generator),
        known,
        labels,
        (3, 5, 9)[random_int(generator, 0, 3)],
    )


@exercise(
    title="Ask the neighbors",
    task="Classify digits without the last layer: for each one, find the k known digits with the smallest Euclidean "
    "distance, and return the label that most of them have. If two labels are equally common, return the smaller one.",
    hint="`torch.cdist` and `topk(k, largest=False)` find the neighbors. `mode(dim=1)` returns the most common value "
    "of each row, and the smaller one of two.",
    difficulty=2,
    minutes=10,
    make_inputs=_hidden_and_labels,
)
def neighbors_vote(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    """hidden: float [N, D]; known: float [M, D]; labels: int64 [M], those of the known digits. Return int64 [N]."""
    nearest = torch.cdist(hidden, known).topk(k, largest=False).indices
    return labels[nearest].mode(dim=1).values


neighbors_vote.edit("This takes the farthest digits. Use topk with largest=False.", ", largest=False", "")
neighbors_vote.edit("This uses only the nearest digit. Let the k nearest ones vote.", "topk(k", "topk(1")
neighbors_vote.edit(
    "The result is positions of known digits. Look up their labels before the vote.", "labels[nearest]", "nearest"
)
neighbors_vote.edit(
    "Dot products prefer vectors that are far from 0. Use the Euclidean distance.",
    "torch.cdist(hidden, known).topk(k, largest=False)",
    "(hidden @ known.T).topk(k)",
)
neighbors_vote.edit("This always uses five neighbors. Use k.", "topk(k", "topk(5")
neighbors_vote.edit(
    "This averages the labels. A label is a name, so count how often each one occurs.",
    "mode(dim=1).values",
    "double().mean(dim=1).round().long()",
)
neighbors_vote.edit("This is the median label. Return the most common one, with mode().", "mode(", "median(")


@exercise(
    title="An interval for few digits",
    task="With the fraction p of n digits and z = 1.96, the common interval is p ± z √(p (1 − p) / n). With 9 of 10 "
    "digits right, it is 90% ± 18.6%, which includes 108%. Wilson's interval cannot exceed 100%. Its middle is (p + "
    "z²/2n) / (1 + z²/n), and half of its width is z √(p (1 − p) / n + z²/4n²) / (1 + z²/n). Return both of its ends.",
    hint="Compute 1 + z²/n first: both parts are divided by it. z²/2n means z² / (2 n).",
    difficulty=1,
    minutes=10,
    make_inputs=lambda generator: (random_int(generator, 5, 16), random_int(generator, 16, 60)),
)
def wilson_interval(correct: int, digits: int) -> tuple[float, float]:
    """correct: number of correct predictions, of this many digits. Return the lower and upper end, from 0 to 1."""
    p, z = correct / digits, 1.96
    middle = p + z**2 / (2 * digits)
    half = z * math.sqrt(p * (1 - p) / digits + z**2 / (4 * digits**2))
    scale = 1 + z**2 / digits
    return (middle - half) / scale, (middle + half) / scale


@wilson_interval.mistake("This is the interval with ±, which can exceed 100%. Use Wilson's formula.")
def _(correct: int, digits: int) -> tuple[float, float]:
    p = correct / digits
    half = 1.96 * math.sqrt(p * (1 - p) / digits)
    return p - half, p + half


wilson_interval.edit(
    "The division by 1 + z²/n is missing in both parts.",
    "(middle - half) / scale, (middle + half) / scale",
    "middle - half, middle + half",
)
wilson_interval.edit(
    "Only the middle is divided by 1 + z²/n. Divide half of the width by it, too.",
    "(middle - half) / scale, (middle + half) / scale",
    "middle / scale - half, middle / scale + half",
)
wilson_interval.edit(
    "The middle is the plain accuracy. Wilson's middle lies closer to one half.",
    "(middle - half) / scale, (middle + half) / scale",
    "p - half / scale, p + half / scale",
)
wilson_interval.edit("In Python, z**2 / 2 * n multiplies by n. Write z**2 / (2 * n).", "(2 * digits)", "2 * digits")
wilson_interval.edit(
    "In Python, z**2 / 4 * n**2 multiplies by n². Write z**2 / (4 * n**2).", "(4 * digits**2)", "4 * digits**2"
)
wilson_interval.edit(
    "In Python, z**2 / 2 * n multiplies by n, and z**2 / 4 * n**2 by n². Put the divisors in parentheses.",
    "(2 * digits)\n    half = z * math.sqrt(p * (1 - p) / digits + z**2 / (4 * digits**2))",
    "2 * digits\n    half = z * math.sqrt(p * (1 - p) / digits + z**2 / 4 * digits**2)",
)
wilson_interval.edit("(4 * n)**2 is 16 n². Write 4 * n**2.", "(4 * digits**2)", "(4 * digits) ** 2")
wilson_interval.edit(
    "In Python, a / 1 + b is a + b. Put the divisor 1 + z²/n in parentheses.",
    "(middle - half) / scale, (middle + half) / scale",
    "(middle - half) / 1 + z**2 / digits, (middle + half) / 1 + z**2 / digits",
)
wilson_interval.edit(
    "These are percentages. Return fractions of 1.",
    "(middle - half) / scale, (middle + half) / scale",
    "100 * (middle - half) / scale, 100 * (middle + half) / scale",
)
wilson_interval.edit(
    "These are the middle and half of the width. Return the two ends.",
    "(middle - half) / scale, (middle + half) / scale",
    "middle / scale, half / scale",
)
