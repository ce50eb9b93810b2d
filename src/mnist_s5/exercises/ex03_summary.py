"""Exercises of 03_summary."""

import math

import torch
from torch import Generator, Tensor, nn

from . import exercise, random_int


def _labels_and_predictions(generator: Generator) -> tuple[Tensor, Tensor]:
    """150 to 249 pairs. In some trials, the last classes do not occur."""
    n, classes = random_int(generator, 150, 250), random_int(generator, 8, 11)
    labels, predicted = torch.randint(0, classes, (2, n), generator=generator)
    return labels, predicted


def _confident_predictions(generator: Generator) -> tuple[Tensor, Tensor, float]:
    """30 to 59 predictions. In some trials no threshold is good enough, and in some an accuracy is exactly 0.75."""
    n = random_int(generator, 30, 60)
    confidence = torch.randperm(1000, generator=generator)[:n] / 1000
    correct = torch.rand(n, generator=generator) < confidence.sqrt()
    kind = random_int(generator, 0, 4)
    if not kind:
        correct[confidence.argmax()] = False
        return confidence, correct & (torch.rand(n, generator=generator) < 0.3), 0.9
    if kind == 1:  # 18 of all 24 are correct, and fewer of the first ones
        confidence, correct = confidence[:24], torch.zeros(24, dtype=torch.bool)
        correct[confidence.argsort()[:18]] = True
        return confidence, correct, 0.75
    return confidence, correct, (0.75, 0.9)[kind - 2]


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


conv_parameters.edit("The biases are missing: one for each output channel.", " + 1", "")
conv_parameters.edit(
    "There is one bias per output channel, not per input channel.",
    "(inputs * side * side + 1)",
    "inputs * side * side + inputs",
)
conv_parameters.edit(
    "A filter has side × side weights for each input channel, not only for one.", "inputs * side * side", "side * side"
)
conv_parameters.edit(
    "There is one bias per output channel, not one for the whole layer.",
    "(inputs * side * side + 1)",
    "inputs * side * side + 1",
)
conv_parameters.edit("A filter is square: it has side × side weights per channel, not side.", "side * side", "side")


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
        if layer == "conv":
            field += 2 * distance
        else:
            field += distance
            distance *= 2
    return field


receptive_field.edit(
    "Pooling has no effect on later layers here. It doubles the distance between neighbors.",
    "            distance *= 2\n",
    "",
)
receptive_field.edit(
    "Pooling widens the field by the old distance. Double the distance afterwards.",
    "field += distance\n            distance *= 2",
    "distance *= 2\n            field += distance",
)
receptive_field.edit(
    "Pooling widens the field, too: each of its values depends on 2 × 2 values.", "            field += distance\n", ""
)
receptive_field.edit("The field starts at 1 pixel, not at 0.", "field, distance = 1, 1", "field, distance = 0, 1")
receptive_field.edit(
    "Pooling doubles the distance between neighbors, not the field. Begin with the first layer.",
    "field += distance\n            distance *= 2",
    "field *= 2",
)
receptive_field.edit("A 3 × 3 filter adds two distances, one on each side, not three.", "2 * distance", "3 * distance")


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


confusion.edit(
    "Rows and columns are swapped. A row is a label, a column a prediction.",
    "labels * 10 + predicted",
    "predicted * 10 + labels",
)
confusion.edit(
    "These are fractions of each row. Return counts.",
    ".view(10, 10)",
    ".view(10, 10) / labels.bincount(minlength=10)[:, None]",
)
confusion.edit(
    "The correct predictions are missing. They belong on the diagonal.",
    ".view(10, 10)",
    ".view(10, 10).fill_diagonal_(0)",
)
confusion.edit(
    "Each pair is counted only once: m[labels, predicted] += 1 ignores repeated pairs. Use torch.bincount.",
    ".view(10, 10)",
    ".view(10, 10).clamp(max=1)",
)


@exercise(
    title="When to say “not sure”",
    task="A network may say “not sure” if its confidence is below a threshold. Find the lowest threshold at which at "
    "least the fraction `wanted` of the accepted predictions is correct. A prediction is accepted if its confidence is "
    "the threshold or more, so only the given confidences are possible thresholds. If none is good enough, return "
    "infinity: nothing is accepted.",
    hint="Sort the predictions by confidence, the highest first. `cumsum` counts the correct ones among the first k.",
    difficulty=3,
    minutes=20,
    make_inputs=_confident_predictions,
)
def threshold(confidence: Tensor, correct: Tensor, wanted: float) -> float:
    """confidence: float [N], all different; correct: bool [N]; wanted: 0 to 1. Return the threshold, or math.inf."""
    ranked, order = confidence.sort(descending=True)
    accuracy = correct[order].cumsum(dim=0) / torch.arange(1, len(order) + 1)
    return min(ranked[accuracy >= wanted].tolist(), default=math.inf)


threshold.edit(
    "This stops at the first threshold that fails. A lower one can be good enough again.",
    "accuracy >= wanted",
    "(accuracy >= wanted).cumprod(dim=0).bool()",
)
threshold.edit(
    "This is the highest threshold that is good enough. Return the lowest, which accepts the most.", "min(", "max("
)
threshold.edit(
    "The accuracy is that of the rejected predictions. Sort with the highest confidence first.", "descending=True", ""
)
threshold.edit(
    "This divides by the number of all predictions. Divide by the number of accepted ones.",
    "torch.arange(1, len(order) + 1)",
    "len(order)",
)
threshold.edit(
    "If no threshold is good enough, return infinity. Accept nothing rather than everything.",
    "math.inf)",
    "confidence.min().item())",
)
threshold.edit("The accuracy must be at least `wanted`. Here, it has to be higher.", ">= wanted", "> wanted")
threshold.edit(
    "The order of `correct` is still the old one. Sort it in the same way as the confidence.",
    "correct[order]",
    "correct",
)
threshold.edit(
    "Where no threshold is good enough, the result is not infinity. Return math.inf.", "default=math.inf", "default=0.0"
)


@threshold.mistake("A prediction is accepted if its confidence is the threshold or more, not only if it is more.")
def _(confidence: Tensor, correct: Tensor, wanted: float) -> float:
    good = [c for c in confidence.tolist() if correct[confidence > c].double().mean() >= wanted]
    return min(good, default=math.inf)


threshold.edit(
    "This is the confidence that is wanted, not the accuracy. Count the correct predictions.",
    "accuracy >= wanted",
    "ranked >= wanted",
)
