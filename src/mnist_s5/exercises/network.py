"""Exercises of 03_summary."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from . import exercise, random_int


def _labels_and_predictions(generator: Generator) -> tuple[Tensor, Tensor]:
    """150 to 249 pairs. In some trials, the last classes do not occur."""
    n, classes = random_int(generator, 150, 250), random_int(generator, 8, 11)
    labels, predicted = torch.randint(0, classes, (2, n), generator=generator)
    return labels, predicted


def _predictions_and_labels(generator: Generator) -> tuple[Tensor, Tensor]:
    """50 to 69 predictions. About three of four are correct."""
    n = random_int(generator, 50, 70)
    log_probs = F.log_softmax(0.3 * torch.randn(n, 10, generator=generator), dim=1)
    wrong = torch.rand(n, generator=generator) < 0.25
    return log_probs, (log_probs.argmax(dim=1) + wrong * torch.randint(1, 10, (n,), generator=generator)) % 10


@exercise(
    title="Count the parameters",
    task="How many parameters does a convolution with square filters and biases have? Compute the number without "
    "building the layer.",
    hint="Each filter has weights for all input channels, and one bias.",
    difficulty=1,
    minutes=5,
    make_inputs=lambda generator: (
        random_int(generator, 2, 64),
        random_int(generator, 65, 128),
        random_int(generator, 2, 6),
    ),
    forbidden={
        nn.init.kaiming_uniform_: "a layer of torch.nn"
    },  # called by the constructors of all layers with weights
)
def conv_parameters(inputs: int, outputs: int, side: int) -> int:
    """inputs, outputs: numbers of channels; side: width of the filter. Return the number of weights and biases."""
    return outputs * (inputs * side * side + 1)


@conv_parameters.mistake("The biases are missing: one for each output channel.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * inputs * side * side


@conv_parameters.mistake("There is one bias per output channel, not per input channel.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * inputs * side * side + inputs


@conv_parameters.mistake("A filter has side × side weights for each input channel, not only for one.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * (side * side + 1)


@conv_parameters.mistake("There is one bias per output channel, not one for the whole layer.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * inputs * side * side + 1


@conv_parameters.mistake("A filter is square: it has side × side weights per channel, not side.")
def _(inputs: int, outputs: int, side: int) -> int:
    return outputs * (inputs * side + 1)


@exercise(
    title="The receptive field",
    task="Compute the receptive field of a value after some layers, as in the table of 03. Start with a field of 1 "
    "pixel and a distance of 1 pixel between neighboring values. A 3 × 3 convolution widens the field by twice the "
    "distance. A 2 × 2 pooling widens the field by the distance, and then doubles the distance.",
    hint="Keep two numbers: the field and the distance.",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (
        [("conv", "pool")[n] for n in torch.randint(0, 2, (random_int(generator, 0, 8),), generator=generator)],
    ),
)
def receptive_field(layers: list[str]) -> int:
    """layers: any number of "conv" (3 × 3) or "pool" (2 × 2), the first layer first. Return the width in pixels."""
    field, distance = 1, 1
    for layer in layers:
        field += 2 * distance if layer == "conv" else distance
        distance *= 1 if layer == "conv" else 2
    return field


@receptive_field.mistake("Pooling has no effect on later layers here. It doubles the distance between neighbors.")
def _(layers: list[str]) -> int:
    return 1 + sum(2 if layer == "conv" else 1 for layer in layers)


@receptive_field.mistake("Pooling widens the field by the old distance. Double the distance afterwards.")
def _(layers: list[str]) -> int:
    field, distance = 1, 1
    for layer in layers:
        distance *= 1 if layer == "conv" else 2
        field += 2 * distance if layer == "conv" else distance
    return field


@receptive_field.mistake("Pooling widens the field, too: each of its values depends on 2 × 2 values.")
def _(layers: list[str]) -> int:
    field, distance = 1, 1
    for layer in layers:
        field += 2 * distance if layer == "conv" else 0
        distance *= 1 if layer == "conv" else 2
    return field


@receptive_field.mistake("The field starts at 1 pixel, not at 0.")
def _(layers: list[str]) -> int:
    return receptive_field.solution(layers) - 1


@receptive_field.mistake("Pooling doubles the distance between neighbors, not the field. Begin with the first layer.")
def _(layers: list[str]) -> int:
    field = 1
    for layer in layers:
        field = field + 2 if layer == "conv" else 2 * field
    return field


@receptive_field.mistake("A 3 × 3 filter adds two distances, one on each side, not three.")
def _(layers: list[str]) -> int:
    field, distance = 1, 1
    for layer in layers:
        field += 3 * distance if layer == "conv" else distance
        distance *= 1 if layer == "conv" else 2
    return field


@exercise(
    title="The confusion matrix",
    task="Compute the table behind the figure: how often each label (row) was predicted as each class (column).",
    hint="`torch.bincount` counts how often each integer occurs. Which integer could stand for a pair of a label and a "
    "prediction? Two loops work, too.",
    difficulty=1,
    minutes=5,
    make_inputs=_labels_and_predictions,
)
def confusion(labels: Tensor, predicted: Tensor) -> Tensor:
    """labels, predicted: int64 [N]. Return int64 [10, 10], one row per label and one column per prediction."""
    return torch.bincount(labels * 10 + predicted, minlength=100).view(10, 10)


@confusion.mistake("Rows and columns are swapped. A row is a label, a column a prediction.")
def _(labels: Tensor, predicted: Tensor) -> Tensor:
    return torch.bincount(predicted * 10 + labels, minlength=100).view(10, 10)


@confusion.mistake("These are fractions of each row. Return counts.")
def _(labels: Tensor, predicted: Tensor) -> Tensor:
    counts = torch.bincount(labels * 10 + predicted, minlength=100).view(10, 10)
    return counts / counts.sum(dim=1, keepdim=True)


@confusion.mistake("The correct predictions are missing. They belong on the diagonal.")
def _(labels: Tensor, predicted: Tensor) -> Tensor:
    counts = torch.bincount(labels * 10 + predicted, minlength=100).view(10, 10)
    return counts - counts.diag().diag()


@confusion.mistake(
    "Each pair is counted only once: m[labels, predicted] += 1 ignores repeated pairs. Use torch.bincount."
)
def _(labels: Tensor, predicted: Tensor) -> Tensor:
    return torch.bincount(labels * 10 + predicted, minlength=100).view(10, 10).clamp(max=1)


@exercise(
    title="The most confident mistakes",
    task="Find the five wrong predictions with the highest confidence, the probability of the predicted class.",
    hint="Set the confidence of correct predictions below that of all others, and sort.",
    difficulty=3,
    minutes=15,
    make_inputs=_predictions_and_labels,
)
def worst_mistakes(log_probs: Tensor, labels: Tensor) -> Tensor:
    """log_probs: float [N, 10]; labels: int64 [N]. Return five indices, int64 [5], the most confident first."""
    confidence, predicted = log_probs.exp().max(dim=1)
    confidence[predicted == labels] = -1
    return confidence.argsort(descending=True)[:5]


@worst_mistakes.mistake("Correct predictions are among them. Leave out the digits whose prediction is the label.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return log_probs.max(dim=1).values.argsort(descending=True)[:5]


@worst_mistakes.mistake(
    "Correct predictions get a value above many log-probabilities, which are negative. Use exp first, or −inf."
)
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    confidence, predicted = log_probs.max(dim=1)
    return confidence.where(predicted != labels, -1).argsort(descending=True)[:5]


@worst_mistakes.mistake("These are the least confident mistakes. Sort in descending order.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    confidence, predicted = log_probs.exp().max(dim=1)
    confidence[predicted == labels] = 2
    return confidence.argsort()[:5]


@worst_mistakes.mistake("This sorts by the probability of the label. Sort by the confidence in the wrong prediction.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    of_label = log_probs[torch.arange(len(labels)), labels].clone()
    of_label[log_probs.argmax(dim=1) == labels] = 1
    return of_label.argsort()[:5]


@worst_mistakes.mistake("These include correct predictions, with the confidence of their second choice.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    others = log_probs.exp()
    others[torch.arange(len(labels)), labels] = -1
    return others.max(dim=1).values.argsort(descending=True)[:5]


@worst_mistakes.mistake("These are confidences. Return the indices of the digits.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    confidence, predicted = log_probs.exp().max(dim=1)
    confidence[predicted == labels] = -1
    return confidence.sort(descending=True).values[:5]


@worst_mistakes.mistake("These are the right five in the wrong order. The most confident comes first.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return worst_mistakes.solution(log_probs, labels).flip(0)


@worst_mistakes.mistake("These are positions among the mistakes. Return positions among all digits.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    confidence, predicted = log_probs.exp().max(dim=1)
    return confidence[predicted != labels].argsort(descending=True)[:5]
