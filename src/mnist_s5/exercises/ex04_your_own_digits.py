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


def _centers(image: Tensor) -> tuple[float, float]:
    """Return the row and the column of the center of mass."""
    at = torch.arange(28)
    return float((image.sum(dim=1) * at).sum() / image.sum()), float((image.sum(dim=0) * at).sum() / image.sum())


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
    row = (image.sum(dim=1) * at).sum() / image.sum()
    column = (image.sum(dim=0) * at).sum() / image.sum()
    return round(14 - row.item()), round(14 - column.item())


@shift_to_center.mistake("This centers the box around the strokes. Weight each row and column by its pixels.")
def _(image: Tensor) -> tuple[int, int]:
    rows, columns = (image.sum(dim=dim).nonzero().flatten().tolist() for dim in (1, 0))
    return round(14 - (rows[0] + rows[-1]) / 2), round(14 - (columns[0] + columns[-1]) / 2)


@shift_to_center.mistake("All pixels of the strokes count the same. Weight each one by its brightness.")
def _(image: Tensor) -> tuple[int, int]:
    row, column = _centers((image > 0).float())
    return round(14 - row), round(14 - column)


@shift_to_center.mistake("Rows and columns are exchanged. Return the shift down first. sum(dim=1) sums each row.")
def _(image: Tensor) -> tuple[int, int]:
    row, column = _centers(image)
    return round(14 - column), round(14 - row)


@shift_to_center.mistake("The sign is wrong. A digit that is too high has to move down, by a positive number.")
def _(image: Tensor) -> tuple[int, int]:
    row, column = _centers(image)
    return round(row - 14), round(column - 14)


@shift_to_center.mistake("The shifts are not whole pixels. Use round().")
def _(image: Tensor) -> tuple[float, float]:
    row, column = _centers(image)
    return 14 - row, 14 - column


@shift_to_center.mistake("This is where the center of mass is. Return by how much it has to be shifted.")
def _(image: Tensor) -> tuple[int, int]:
    row, column = _centers(image)
    return round(row), round(column)


@shift_to_center.mistake("The decimals are cut off by int(), so some shifts are too small. Use round().")
def _(image: Tensor) -> tuple[int, int]:
    row, column = _centers(image)
    return int(14 - row), int(14 - column)


@shift_to_center.mistake("The shifts are half a pixel too small. Use 14, not 13.5, and round(), not floor().")
def _(image: Tensor) -> tuple[int, int]:
    row, column = _centers(image)
    return round(13.5 - row), round(13.5 - column)


def _model_and_digit(generator: Generator) -> tuple[nn.Module, Tensor, int, int]:
    """A network, a normalized image, a label, and the side of the square."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(dim=1)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 20)
    x = 3 * torch.rand(1, 1, 8, 8, generator=generator) - 0.4
    x[..., 0, 0] = -0.4242  # there is background in every digit
    return model, x, random_int(generator, 0, 10), (3, 5)[random_int(generator, 0, 2)]


def _fall(model: nn.Module, x: Tensor, label: int, side: int, *, reach: int, fill: float) -> Tensor:
    """Return by how much the log-probability falls, with a square that starts `reach` pixels above and to the left."""
    falls = torch.zeros(x.shape[2:])
    with torch.no_grad():
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                covered = x.clone()
                top, left = row - reach, column - reach
                covered[..., max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = fill
                falls[row, column] = model(x)[0, label] - model(covered)[0, label]
    return falls


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
                covered[
                    ..., max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
                ] = -0.4242
                falls[row, column] = before - model(covered)[0, label]
    return falls


@occlusion.mistake("The sign is wrong. Where a covered pixel makes the label less likely, return a positive number.")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    return -_fall(model, x, label, side, reach=side // 2, fill=-0.4242)


@occlusion.mistake("The pixels are covered with 0. The background of a normalized image is -0.4242.")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    return _fall(model, x, label, side, reach=side // 2, fill=0.0)


@occlusion.mistake("The square begins at the pixel. It has to be around the pixel: begin side // 2 before it.")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    return _fall(model, x, label, side, reach=0, fill=-0.4242)


@occlusion.mistake("The last row and column of the square are missing: a slice ends before its second number.")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    return _fall(model, x, label, side - 1, reach=side // 2, fill=-0.4242)


@occlusion.mistake("Near the upper and left edges, the start is negative, so the slice is empty. Use max(0, …).")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    falls, reach = _fall(model, x, label, side, reach=side // 2, fill=-0.4242), side // 2
    falls[:reach], falls[:, :reach] = 0, 0
    return falls


@occlusion.mistake("This is the log-probability with the square. Return by how much it falls.")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    with torch.no_grad():
        return model(x)[0, label] - _fall(model, x, label, side, reach=side // 2, fill=-0.4242)


@occlusion.mistake("Every square stays covered. Cover a new copy of the image for each pixel: x.clone().")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    reach, falls, covered = side // 2, torch.zeros(x.shape[2:]), x.clone()
    with torch.no_grad():
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                top, left = max(0, row - reach), max(0, column - reach)
                covered[..., top : row + reach + 1, left : column + reach + 1] = -0.4242
                falls[row, column] = model(x)[0, label] - model(covered)[0, label]
    return falls


@occlusion.mistake("This compares probabilities. Compare the log-probabilities that the model returns.")
def _(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    with torch.no_grad():
        before = model(x)[0, label]
    return before.exp() - (before - _fall(model, x, label, side, reach=side // 2, fill=-0.4242)).exp()


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


@neighbors_vote.mistake("This takes the farthest digits. Use topk with largest=False.")
def _(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    return labels[torch.cdist(hidden, known).topk(k).indices].mode(dim=1).values


@neighbors_vote.mistake("This uses only the nearest digit. Let the k nearest ones vote.")
def _(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    return labels[torch.cdist(hidden, known).argmin(dim=1)]


@neighbors_vote.mistake("The result is positions of known digits. Look up their labels before the vote.")
def _(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    return torch.cdist(hidden, known).topk(k, largest=False).indices.mode(dim=1).values


@neighbors_vote.mistake("Dot products prefer vectors that are far from 0. Use the Euclidean distance.")
def _(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    return labels[(hidden @ known.T).topk(k).indices].mode(dim=1).values


@neighbors_vote.mistake("This always uses five neighbors. Use k.")
def _(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    return labels[torch.cdist(hidden, known).topk(5, largest=False).indices].mode(dim=1).values


@neighbors_vote.mistake("This averages the labels. A label is a name, so count how often each one occurs.")
def _(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    nearest = torch.cdist(hidden, known).topk(k, largest=False).indices
    return labels[nearest].double().mean(dim=1).round().long()


@neighbors_vote.mistake("This is the median label. Return the most common one, with mode().")
def _(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    nearest = torch.cdist(hidden, known).topk(k, largest=False).indices
    return labels[nearest].median(dim=1).values


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


def _wilson(correct: int, digits: int, z: float = 1.96) -> tuple[float, float, float]:
    """Return the middle, half of the width, and the number that both are divided by."""
    p = correct / digits
    half = z * math.sqrt(p * (1 - p) / digits + z**2 / (4 * digits**2))
    return p + z**2 / (2 * digits), half, 1 + z**2 / digits


@wilson_interval.mistake("This is the interval with ±, which can exceed 100%. Use Wilson's formula.")
def _(correct: int, digits: int) -> tuple[float, float]:
    p = correct / digits
    half = 1.96 * math.sqrt(p * (1 - p) / digits)
    return p - half, p + half


@wilson_interval.mistake("The division by 1 + z²/n is missing in both parts.")
def _(correct: int, digits: int) -> tuple[float, float]:
    middle, half, _ = _wilson(correct, digits)
    return middle - half, middle + half


@wilson_interval.mistake("Only the middle is divided by 1 + z²/n. Divide half of the width by it, too.")
def _(correct: int, digits: int) -> tuple[float, float]:
    middle, half, scale = _wilson(correct, digits)
    return middle / scale - half, middle / scale + half


@wilson_interval.mistake("The middle is the plain accuracy. Wilson's middle lies closer to one half.")
def _(correct: int, digits: int) -> tuple[float, float]:
    _, half, scale = _wilson(correct, digits)
    return correct / digits - half / scale, correct / digits + half / scale


@wilson_interval.mistake("In Python, z**2 / 2 * n multiplies by n. Write z**2 / (2 * n).")
def _(correct: int, digits: int) -> tuple[float, float]:
    _, half, scale = _wilson(correct, digits)
    middle = correct / digits + 1.96**2 / 2 * digits
    return (middle - half) / scale, (middle + half) / scale


@wilson_interval.mistake("In Python, z**2 / 4 * n**2 multiplies by n². Write z**2 / (4 * n**2).")
def _(correct: int, digits: int) -> tuple[float, float]:
    p, z = correct / digits, 1.96
    middle, _, scale = _wilson(correct, digits)
    half = z * math.sqrt(p * (1 - p) / digits + z**2 / 4 * digits**2)
    return (middle - half) / scale, (middle + half) / scale


@wilson_interval.mistake("These are percentages. Return fractions of 1.")
def _(correct: int, digits: int) -> tuple[float, float]:
    middle, half, scale = _wilson(correct, digits)
    return 100 * (middle - half) / scale, 100 * (middle + half) / scale


@wilson_interval.mistake("These are the middle and half of the width. Return the two ends.")
def _(correct: int, digits: int) -> tuple[float, float]:
    middle, half, scale = _wilson(correct, digits)
    return middle / scale, half / scale
