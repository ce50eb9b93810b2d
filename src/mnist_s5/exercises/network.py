"""Exercises of 03_summary."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from . import exercise


def _between(generator: Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high, (), generator=generator))


@exercise(
    title="Count the parameters",
    task="Without building the layer: how many numbers does a convolution learn?",
    hint="Each filter spans all input channels, and has one bias.",
    difficulty=1,
    minutes=5,
    draw=lambda generator: (_between(generator, 2, 64), _between(generator, 65, 128), _between(generator, 2, 6)),
)
def conv_parameters(inputs: int, outputs: int, side: int) -> int:
    """inputs, outputs: channels; side: of the square filter, pixels; gives weights and biases together."""
    return outputs * (inputs * side * side + 1)


@conv_parameters.mistake("the biases are missing: one for each output channel.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * inputs * side * side


@conv_parameters.mistake("a bias belongs to an output channel, not to an input channel.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * inputs * side * side + inputs


@conv_parameters.mistake("a filter spans all input channels: side × side weights for each of them.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * (side * side + 1)


@conv_parameters.mistake("there is one bias for each output channel, not one for the whole layer.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * inputs * side * side + 1


@conv_parameters.mistake("a filter is square: side × side weights a channel, not side.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * (inputs * side + 1)


@exercise(
    title="How far it sees",
    task="The receptive field of a value after some layers, as in the table of 03. Neighbours start 1 pixel apart; "
    "a convolution widens the field by (side − 1) times that distance, a 2 × 2 pooling by the distance, which it "
    "then doubles.",
    hint="Keep two numbers: the field and the distance.",
    difficulty=2,
    minutes=10,
    draw=lambda generator: ([("conv", "pool")[n] for n in torch.randint(0, 2, (7,), generator=generator)],),
)
def receptive_field(layers: list[str]) -> int:
    """layers: "conv" (3 × 3, stride 1) or "pool" (2 × 2, stride 2), first layer first; gives pixels a side."""
    field, distance = 1, 1
    for layer in layers:
        field += 2 * distance if layer == "conv" else distance
        distance *= 1 if layer == "conv" else 2
    return field


@receptive_field.mistake("pooling is not felt by later layers: it doubles the distance between neighbours.")
def _(layers: list[str]) -> int:
    return 1 + sum(2 if layer == "conv" else 1 for layer in layers)


@receptive_field.mistake(
    "pooling widens the field by one old distance: not by two, and not by the one that it has doubled."
)
def _(layers: list[str]) -> int:
    field, distance = 1, 1
    for layer in layers:
        distance *= 1 if layer == "conv" else 2
        field += 2 * distance if layer == "conv" else distance
    return field


@receptive_field.mistake("pooling itself widens the field too: its value depends on two neighbours a side.")
def _(layers: list[str]) -> int:
    field, distance = 1, 1
    for layer in layers:
        field += 2 * distance if layer == "conv" else 0
        distance *= 1 if layer == "conv" else 2
    return field


@receptive_field.mistake("pooling doubles the distance between neighbours, not the field.")
def _(layers: list[str]) -> int:
    field = 1
    for layer in layers:
        field = field + 2 if layer == "conv" else 2 * field
    return field


@receptive_field.mistake("a 3 × 3 filter adds two distances, one on each side, not three.")
def _(layers: list[str]) -> int:
    field, distance = 1, 1
    for layer in layers:
        field += 3 * distance if layer == "conv" else distance
        distance *= 1 if layer == "conv" else 2
    return field


@exercise(
    title="The confusion matrix",
    task="The table behind the figure: how often each label got each answer.",
    hint="`torch.bincount(labels * 10 + answers, minlength=100)` counts pairs; or use two loops.",
    difficulty=1,
    minutes=5,
    draw=lambda generator: (
        torch.randint(0, 10, (200,), generator=generator),
        torch.randint(0, 10, (200,), generator=generator),
    ),
)
def confusion(labels: Tensor, answers: Tensor) -> Tensor:
    """labels, answers: int64 [N]; gives int64 [10, 10], a row a label, a column an answer."""
    return torch.bincount(labels * 10 + answers, minlength=100).view(10, 10)


@confusion.mistake("rows and columns are swapped: a row is a label, a column an answer.")
def _(labels: Tensor, answers: Tensor) -> Tensor:
    return torch.bincount(answers * 10 + labels, minlength=100).view(10, 10)


@confusion.mistake("the right answers are missing: they stand on the diagonal.")
def _(labels: Tensor, answers: Tensor) -> Tensor:
    counts = torch.bincount(labels * 10 + answers, minlength=100).view(10, 10)
    return counts - counts.diag().diag()


@confusion.mistake(
    "each pair is there only once: m[labels, answers] += 1 counts a pair that comes twice once; use bincount."
)
def _(labels: Tensor, answers: Tensor) -> Tensor:
    return torch.bincount(labels * 10 + answers, minlength=100).view(10, 10).clamp(max=1)


@exercise(
    title="The most confident mistakes",
    task="Which wrong answers was the network surest of?",
    hint="Give right answers less confidence than any answer can have, and sort.",
    difficulty=3,
    minutes=15,
    draw=lambda generator: (
        F.log_softmax(0.3 * torch.randn(60, 10, generator=generator), dim=1),
        torch.randint(0, 10, (60,), generator=generator),
    ),
)
def worst_mistakes(log_probs: Tensor, labels: Tensor) -> Tensor:
    """log_probs: float [N, 10]; labels: int64 [N]; gives the indices of five mistakes, int64 [5], the surest first."""
    confidence, answers = log_probs.exp().max(dim=1)
    confidence[answers == labels] = -1
    return confidence.argsort(descending=True)[:5]


@worst_mistakes.mistake("right answers are among them: leave out where the answer is the label.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return log_probs.max(dim=1).values.argsort(descending=True)[:5]


@worst_mistakes.mistake("right answers got −1, which is much for a log-probability: take exp, or −infinity.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    confidence, answers = log_probs.max(dim=1)
    return confidence.where(answers != labels, -1).argsort(descending=True)[:5]


@worst_mistakes.mistake("these are the least sure mistakes: sort descending.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    confidence, answers = log_probs.exp().max(dim=1)
    confidence[answers == labels] = 2
    return confidence.argsort()[:5]


@worst_mistakes.mistake("this sorts by what was given to the label: sort by the confidence in the wrong answer.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    given = log_probs[torch.arange(len(labels)), labels].clone()
    given[log_probs.argmax(dim=1) == labels] = 1
    return given.argsort()[:5]


@worst_mistakes.mistake("these are places among the mistakes: give places among all digits.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    confidence, answers = log_probs.exp().max(dim=1)
    return confidence[answers != labels].argsort(descending=True)[:5]
