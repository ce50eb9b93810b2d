"""What a correct answer does on real digits: a function for each exercise, with its name, that returns a sentence.

Where a picture says more, it returns the sentence and a figure.
The digits are MNIST's, if they are on this machine, and otherwise those of the embedded sample.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD, Optimizer

from ..course import recorded
from ..data.digits import DigitDataset, load_mnist, normalize
from ..data.download import data_folder, local_file
from ..data.loaders import DeviceLoader
from ..device import seed_everything
from ..figures import AltTextFigure
from ..figures.charts import line_plot
from ..figures.images import confusion_matrix, image_grid
from ..model import Net
from ..training.checkpoint import load_checkpoint
from ..training.loops import predict

Function = Callable[..., Any]
Shown = tuple[str, AltTextFigure]


@cache
def _digits() -> tuple[DigitDataset, DigitDataset]:
    here = local_file(data_folder() / "MNIST" / "raw", "train-images-idx3-ubyte")
    with redirect_stderr(StringIO()):  # the sentence names the digits
        train_set, test_set = load_mnist("auto" if here else "sample")
    if test_set.name == "sample":  # its digits are sorted by class
        order = torch.randperm(len(test_set), generator=torch.Generator().manual_seed(1))
        test_set.data, test_set.targets = test_set.data[order], test_set.targets[order]
    return train_set, test_set


@cache
def _predictions() -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the pretrained network for the test digits, [N, 10], and the labels."""
    return predict(load_checkpoint()[0], "cpu", DeviceLoader(_digits()[1]))


def _named(dataset: DigitDataset, part: str = "test") -> str:
    return f"the {len(dataset):,} {part} digits of {'MNIST' if dataset.name == 'mnist' else 'the embedded sample'}"


def _confident() -> tuple[Tensor, Tensor]:
    log_probs, labels = _predictions()
    confidence, predicted = log_probs.exp().max(dim=1)
    return confidence, predicted == labels


@torch.no_grad()
def _predicted(images: Tensor) -> Tensor:
    """Return the predictions of the pretrained network for bytes [N, 28, 28]."""
    return load_checkpoint()[0](normalize(images[:, None])).argmax(dim=1)


def _shifted(images: Tensor, shifts: Sequence[Sequence[int]]) -> Tensor:
    """Shift each image by rows and columns. Pixels that leave it are lost."""
    moved = [F.pad(each, (right, -right, down, -down)) for each, (down, right) in zip(images, shifts, strict=True)]
    return torch.stack(moved)


def _net_and_batches() -> tuple[Net, Optimizer, list[tuple[Tensor, Tensor]]]:
    """Return an untrained network, its optimizer, and 60 batches of 32 training digits."""
    train_set = _digits()[0]
    seed_everything(1)
    model, order = Net(), torch.randperm(len(train_set))[: 60 * 32].split(32)
    batches = [(normalize(train_set.data[n, None]), train_set.targets[n]) for n in order]
    return model, SGD(model.parameters(), lr=0.03, momentum=0.9), batches


def normalized(function: Function) -> str:
    pixels = function(_digits()[0].data)
    spread = f"the mean is {round(pixels.mean().item(), 3) + 0.0:.3f}, and the standard deviation {pixels.std():.3f}"
    return f"On {_named(_digits()[0], 'training')}, {spread}."


def shifted(function: Function) -> Shown:
    test_set, labels = _digits()[1], _digits()[1].targets[:1000]
    images = function(test_set.data[:1000], 4, 4)
    predicted = _predicted(images)
    right, wrong = int((predicted == labels).sum()), (predicted != labels).nonzero().flatten()[:6]
    captions = [f"{labels[n]}, predicted {predicted[n]}" for n in wrong]
    figure = image_grid(images[wrong], captions, "Wrong predictions after your shift", test_set.name)
    return f"After your shift by 4 pixels each way, the pretrained network gets {right:,} of 1,000 right.", figure


def nearest_mean(function: Function) -> Shown:
    train_set, test_set = _digits()
    means = torch.stack([train_set.data[train_set.targets == digit].float().mean(dim=0) for digit in range(10)])
    predicted = torch.cat([function(images.float() / 255, means / 255) for images in test_set.data.split(500)])
    accuracy = 100 * (predicted == test_set.targets).double().mean()
    wrong = (predicted != test_set.targets).nonzero().flatten()[:6]
    captions = [f"label {test_set.targets[n]}" for n in wrong] + [f"mean of the {predicted[n]}s" for n in wrong]
    images = [*test_set.data[wrong], *means[predicted[wrong]]]
    figure = image_grid(images, captions, "Mistakes, and the nearest mean images", test_set.name)
    return f"Your code gets {accuracy:.2f}% of {_named(test_set)} right.", figure


def negative_log_likelihood(function: Function) -> str:
    return f"For the pretrained network, it is {float(function(*_predictions())):.4f} nats on {_named(_digits()[1])}."


def convolved(function: Function) -> Shown:
    test_set = _digits()[1]
    image, upper = normalize(test_set.data[0]), torch.tensor([[-1.0] * 3, [0.0] * 3, [1.0] * 3])
    first, second = load_checkpoint()[0].conv1.weight[:2, 0].detach()
    maps = [function(image, weights) for weights in (upper, upper.T, first, second)]
    captions = ["a digit", "upper edges", "left edges", "conv1, filter 1", "conv1, filter 2"]
    title, largest = "Your feature maps: orange is positive", float(maps[0].max())
    figure = image_grid([image, *maps], captions, title, test_set.name, columns=5, signed=True)
    return f"On the first test digit, the filter that finds upper edges has a largest value of {largest:.2f}.", figure


def linear(function: Function) -> Shown:
    train_set, test_set = _digits()
    seed_everything(1)
    layer = function(784, 10)
    optimizer = SGD(layer.parameters(), lr=0.1, weight_decay=0.02)
    for n in torch.randint(0, len(train_set), (400, 128)):
        optimizer.zero_grad()
        F.cross_entropy(layer(train_set.data[n].flatten(1) / 255), train_set.targets[n]).backward()
        optimizer.step()
    correct = layer(test_set.data.flatten(1) / 255).argmax(dim=1) == test_set.targets
    captions = [f"weights of the {digit}" for digit in range(10)]
    title = "Your weights: orange adds, purple subtracts"
    figure = image_grid(layer.weight.view(10, 28, 28), captions, title, test_set.name, columns=5, signed=True)
    accuracy = f"{100 * correct.double().mean():.1f}% of {_named(test_set)}"
    return f"A network of only your layer, trained for 400 steps, gets {accuracy} right.", figure


@torch.no_grad()
def net(function: Function) -> Shown:
    test_set, model, outputs = _digits()[1], function(), []
    model.load_state_dict(load_checkpoint()[0].state_dict())
    predicted = model(normalize(test_set.data[:1000, None])).argmax(dim=1)
    right = int((predicted == test_set.targets[:1000]).sum())
    for layer in (model.conv2, model.conv3, model.conv4, model.fc1):
        layer.register_forward_pre_hook(lambda layer, inputs: outputs.append(inputs[0][0]))
    model(normalize(test_set.data[:1, None]))
    maps = [each[each.amax(dim=(1, 2)).argmax()] for each in (*outputs[:3], outputs[3].view(256, 4, 4))]
    captions = ["a digit", *(f"after conv{n}\n{len(each)} × {len(each)}" for n, each in enumerate(maps, 1))]
    title = "The strongest feature maps of your network"
    figure = image_grid([test_set.data[0], *maps], captions, title, test_set.name, columns=5)
    return f"With the pretrained weights, your network gets {right:,} of 1,000 test digits right.", figure


def training_step(function: Function) -> Shown:
    model, optimizer, batches = _net_and_batches()
    losses = [function(model, optimizer, *batch) for batch in batches]
    after = sum(losses[-10:]) / 10
    line = {"loss": (range(1, len(losses) + 1), [float(loss) for loss in losses])}
    figure = line_plot(line, "Your training steps on real digits", "step", "loss (nats)", _digits()[0].name)
    return f"60 of your steps on real digits lower the loss of Net from {losses[0]:.2f} to {after:.2f}.", figure


def gradient_by_trying(function: Function) -> str:
    pixels, labels = _digits()[1].data[:100].flatten(1)[:, ::16].double() / 255, _digits()[1].targets[:100]

    def loss(weights: Tensor) -> Tensor:
        return F.cross_entropy(pixels @ weights.view(49, 10), labels)

    weights = 0.1 * torch.randn(490, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = function(loss, weights, 1e-4)
    weights.requires_grad_()
    loss(weights).backward()
    assert weights.grad is not None
    gap = float((found - weights.grad).abs().max())
    return (
        f"For a linear classifier of 100 real digits, your 490 gradients differ from backward's by at most {gap:.0e}."
    )


def conv_parameters(function: Function) -> str:
    counts = [int(function(*sizes, 3)) for sizes in ((1, 32), (32, 64), (64, 128), (128, 256))]
    return f"For conv1 to conv4 of Net, it returns {counts[0]:,}, {counts[1]:,}, {counts[2]:,}, and {counts[3]:,}."


def receptive_field(function: Function) -> str:
    width = function(["conv", "conv", "pool", "conv", "conv", "pool"])
    return f"A value of the last feature map of Net depends on {width} × {width} pixels."


def confusion(function: Function) -> Shown:
    (log_probs, labels), name = _predictions(), _digits()[1].name
    counts = function(labels, log_probs.argmax(dim=1))
    pairs = torch.arange(100).repeat_interleave(counts.flatten())
    counts.fill_diagonal_(0)
    label, predicted = divmod(int(counts.argmax()), 10)
    often = f"{int(counts.max())} times, a {label} predicted as a {predicted}"
    said = f"The most common mistake of the pretrained network on {_named(_digits()[1])}: {often}."
    return said, confusion_matrix(pairs // 10, pairs % 10, name)


def threshold(function: Function) -> Shown:
    confidence, correct = _confident()
    wanted = [0.997 + n / 10_000 for n in range(31)]
    rejected = [100 * float((confidence < function(confidence, correct, each)).double().mean()) for each in wanted]
    title, xlabel = "How many predictions your threshold rejects", "accuracy of the accepted predictions (%)"
    line = {"not sure": ([100 * each for each in wanted], rejected)}
    figure = line_plot(line, title, xlabel, "not sure (%)", _digits()[1].name)
    lowest = 100 * float(function(confidence, correct, 0.999))
    return f"The pretrained network is 99.9% correct if it says “not sure” below {lowest:.1f}% confidence.", figure


def shift_to_center(function: Function) -> Shown:
    test_set, labels = _digits()[1], _digits()[1].targets[:500]
    shifts = torch.randint(-6, 7, (500, 2), generator=torch.Generator().manual_seed(1)).tolist()
    moved = _shifted(test_set.data[:500], shifts)
    back = _shifted(moved, [function(image) for image in moved.float()])
    before, after = (int((_predicted(images) == labels).sum()) for images in (moved, back))
    captions = ["at random"] * 6 + ["yours"] * 6
    figure = image_grid(
        [*moved[:6], *back[:6]], captions, "Digits after a random shift, and after yours", test_set.name
    )
    return f"Of 500 randomly shifted test digits, the network gets {before} right, and {after} with your code.", figure


def occlusion(function: Function) -> Shown:
    test_set, model = _digits()[1], load_checkpoint()[0]
    images, labels = test_set.data[:3], test_set.targets[:3].tolist()
    falls = [function(model, normalize(each)[None, None], label, 5) for each, label in zip(images, labels, strict=True)]
    row, column = divmod(int(falls[0].argmax()), 28)
    pairs = [each for pair in zip(images, falls, strict=True) for each in pair]
    captions = [caption for label in labels for caption in (f"label {label}", "your heat map")]
    title = "Your heat maps: orange matters most"
    figure = image_grid(pairs, captions, title, test_set.name, signed=True)
    return (
        f"For the first test digit, label {labels[0]}, the square at row {row} and column {column} matters most.",
        figure,
    )


def neighbors_vote(function: Function) -> str:
    train_set, test_set = _digits()
    step = len(train_set) // 2000  # the digits of the sample are sorted by class
    hidden = _hidden(test_set.data[:1000])
    predicted = function(hidden, _hidden(train_set.data[::step]), train_set.targets[::step], 5)
    right = int((predicted == test_set.targets[:1000]).sum())
    return f"With fc1 of the pretrained network and 2,000 training digits, {right:,} of 1,000 votes are right."


@torch.no_grad()
def _hidden(images: Tensor) -> Tensor:
    """Return the values of fc1 of the pretrained network, [N, 50], after the ReLU."""
    model = load_checkpoint()[0]
    outputs: list[Tensor] = []
    model.fc1.register_forward_hook(lambda layer, inputs, output: outputs.append(output.relu()))
    for part in images.split(500):
        model(normalize(part[:, None]))
    return torch.cat(outputs)


def wilson_interval(function: Function) -> str:
    right = int(_confident()[1][:100].sum())
    low, high = function(right, 100)
    return f"The pretrained network on 100 test digits: {right}%, between {100 * low:.1f} and {100 * high:.1f}%."


def test_loss(function: Function) -> str:
    test_set, model = _digits()[1], load_checkpoint()[0].train()
    parts = zip(test_set.data[:1000].split(300), test_set.targets[:1000].split(300), strict=True)
    loss = float(function(model, [(normalize(images[:, None]), labels) for images, labels in parts]))
    return f"For the pretrained network, it is {loss:.4f} nats on 1,000 test digits."


def accumulated_step(function: Function) -> str:
    model, optimizer, batches = _net_and_batches()
    for images, labels in batches:
        function(model, optimizer, [(images[:8], labels[:8]), (images[8:], labels[8:])])
    images, labels = batches[-1]
    loss = F.nll_loss(model(images), labels).item()
    return f"60 of your steps, each from 8 and 24 real digits, train Net to a loss of {loss:.2f} on its last batch."


def smoothed_loss(function: Function) -> str:
    plain, smooth = (float(function(*_predictions(), amount)) for amount in (0.0, 0.05))
    return (
        f"For the pretrained network on {_named(_digits()[1])}, it is {plain:.3f} without, and {smooth:.3f} with 0.05."
    )


def learning_rate(function: Function) -> Shown:
    rates = [float(function(step, 468, 0.03)) for step in range(469)]
    shown = ", ".join(f"{1000 * rates[step]:.2f}" for step in (0, 93, 234, 467))
    figure = line_plot({"yours": (range(469), rates)}, "Your schedule", "step", "learning rate", None)
    return f"In an epoch of fast on MNIST, steps 1, 94, 235, and 468 have {shown} thousandths.", figure


def orthogonalized(function: Function) -> Shown:
    matrix = load_checkpoint()[0].fc2.weight.detach()[:, :10]
    found, values = function(matrix), torch.linalg.svdvals(matrix)
    images = [matrix, matrix @ matrix.T, found, found @ found.T]
    captions = ["part of fc2", "times its transpose", "yours", "times its transpose"]
    figure = image_grid(images, captions, "The rows of your matrix are orthogonal", None, columns=4, signed=True)
    ends = f"from {values[-1]:.2f} to {values[0]:.2f} by {torch.linalg.svdvals(found).mean():.2f}"
    return f"For a 10 × 10 part of fc2, it replaces singular values {ends}.", figure


def half_width(function: Function) -> str:
    _, correct = _confident()
    found = function(int(correct.sum()), len(correct))
    return f"The pretrained network on {_named(_digits()[1])}: {100 * correct.double().mean():.2f} ± {found:.2f}%."


def paired_seeds_p_value(function: Function) -> str:
    record = recorded("ablation")[1]
    scores = {row["name"]: row["val_accuracy"] for row in record["ablations"] + record["variants"]}
    pairs = zip(scores["photometric distortion"], scores["no label smoothing"], strict=True)
    p = 100 * float(function([smoothed - hard for smoothed, hard in pairs]))
    return f"For fast with and without smoothed labels, three recorded seeds each, p is {p:.0f}%."


def calibration_error(function: Function) -> str:
    return f"The pretrained network on {_named(_digits()[1])}: {float(function(*_confident())):.4f}."


def paired_p_value(function: Function) -> str:
    test_set, (log_probs, labels) = _digits()[1], _predictions()
    images = test_set.data[:2000].roll((2, 2), (1, 2))
    with torch.no_grad():
        moved = load_checkpoint()[0](normalize(images[:, None])).argmax(dim=1) == labels[:2000]
    found = float(function(log_probs[:2000].argmax(dim=1) == labels[:2000], moved))
    return (
        f"The pretrained network on 2,000 test digits, and on the same digits shifted by two pixels: p = {found:.1g}."
    )


_GROUPS = ("fast-mnist", "fast-amx-mnist", "best-mnist")  # of recorded runs in 08_many_runs


def time_to_accuracy(function: Function) -> str:
    times = {}
    for name in _GROUPS[1:]:
        runs = [recorded(f"{name}-{seed}")[0] for seed in range(1, 6)]
        parts = [([each.seconds for each in run], [each.test_accuracy for each in run]) for run in runs]
        times[name] = median(float(function(*part, 99.5)) for part in parts)
    fast, best = times.values()
    return f"Median of five recorded runs until 99.5% of MNIST: {fast:.0f} s for fast on a Xeon, {best:.0f} s for best."


def missing_runs(function: Function) -> str:
    values = {"recipe": ["fast", "reference"], "seed": [1, 2, 3, 4, 5]}
    finished = [recorded(f"{name}-mnist-{n}")[1] for name, n in (*(("fast", n) for n in range(1, 6)), ("reference", 1))]
    missing = function(values, [{name: metrics[name] for name in values} for metrics in finished])
    return f"The course has recorded five seeds of fast, but for the reference, {len(missing)} of five are missing."


def holm(function: Function) -> str:
    groups = [[recorded(f"{name}-{n}")[1]["test_accuracy"] for n in range(1, 6)] for name in _GROUPS]
    from ..jobs.compare import p_value  # pandas and SciPy take a second to import

    p_values = [p_value(*pair) for pair in itertools.combinations(groups, 2)]
    shown = ", ".join(f"{p:.3f}" for p in function(p_values))
    return f"The three pairs of groups in the notebook have corrected p-values of {shown}."


def total_steps(function: Function) -> str:
    n = len(_digits()[0])
    one, two = function(n, 1, 128, 1), function(n, 2, 128, 1)
    return f"An epoch of {n:,} digits in batches of 128 has {one} steps on one rank, and {two} on two ranks."


def share(function: Function) -> str:
    labels = _digits()[0].targets
    ones = [int((labels[torch.as_tensor(function(len(labels), rank, 2, 1, 0))] == 1).sum()) for rank in range(2)]
    return f"In the first epoch, one rank gets {ones[0]:,} ones, and the other rank {ones[1]:,}."


def average_gradients(function: Function) -> str:
    model, _, batches = _net_and_batches()
    model, (images, labels) = model.double(), batches[0]

    def gradient(part: slice) -> Tensor:
        loss = F.nll_loss(model(images[part].double()), labels[part])
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(model.parameters()))])

    whole = gradient(slice(None))
    gap = (function([gradient(slice(24)), gradient(slice(24, 32))], [24, 8]) - whole).abs().max()
    return f"For 24 and 8 real digits, it differs from the gradient of all 32 by at most {float(gap):.0e}."
