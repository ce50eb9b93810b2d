"""Exercises of 05_debugging."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from . import exercise


def _tested(generator: Generator) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """A network with dropout, in the middle of its training, and batches of two sizes."""
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(28 * 28, 10), nn.LogSoftmax(dim=1)).train()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 10)
    batches = [
        (torch.randn(n, 1, 28, 28, generator=generator), torch.randint(0, 10, (n,), generator=generator))
        for n in (6, 6, 2)
    ]
    return model, batches


@exercise(
    title="A test without traps",
    task="The mean loss over batches of different sizes, of a network that has dropout. Four traps wait: `eval`, the "
    "graph, the last batch, and the training that goes on afterwards.",
    hint="Inside `with torch.no_grad():` nothing is kept for backward; sum losses, and count digits.",
    difficulty=3,
    minutes=15,
    draw=_tested,
)
def test_loss(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Gives nats a digit, a plain number; the model, which gives log-probabilities, is left in training mode."""
    model.eval()
    with torch.no_grad():
        total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    model.train()
    return total / sum(len(y) for _, y in batches)


@test_loss.mistake("dropout was at work: model.eval() before the first batch.")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    with torch.no_grad():
        total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    return total / sum(len(y) for _, y in batches)


@test_loss.mistake("the network is left in eval mode, and its training would go on without dropout: model.train().")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    return total / sum(len(y) for _, y in batches)


@test_loss.mistake("this is the mean of the batches' means: the small batch counts too much.")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    means = [F.nll_loss(model(x), y).item() for x, y in batches]
    model.train()
    return sum(means) / len(means)


@test_loss.mistake("this is the mean per batch: divide by the number of digits.")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    model.train()
    return total / len(batches)


@test_loss.mistake("this is a tensor that holds on to the whole graph: use .item(), or torch.no_grad().")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    model.eval()
    total = torch.stack([F.nll_loss(model(x), y, reduction="sum") for x, y in batches]).sum()
    model.train()
    return total / sum(len(y) for _, y in batches)


@exercise(
    title="Shuffled together",
    task="Shuffle a data set. Each image must keep its label.",
    hint="One permutation, `torch.randperm`, for both.",
    difficulty=1,
    minutes=5,
    draw=lambda generator: (
        torch.rand(12, 28, 28, generator=generator),
        torch.randint(0, 10, (12,), generator=generator),
        torch.Generator().manual_seed(int(torch.randint(0, 1000, (), generator=generator))),
    ),
)
def shuffled(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """images: float [N, 28, 28]; labels: int64 [N]; gives both in the order of one draw from the generator."""
    order = torch.randperm(len(labels), generator=generator)
    return images[order], labels[order]


@shuffled.mistake("images and labels are shuffled apart: draw one permutation, and use it for both.")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    first = torch.randperm(len(labels), generator=generator)
    return images[first], labels[torch.randperm(len(labels), generator=generator)]


@shuffled.mistake("the labels stand where they stood: put them in the same order as the images.")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    return images[torch.randperm(len(labels), generator=generator)], labels


@shuffled.mistake("the order does not come from the generator: randperm(n, generator=generator).")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(labels))
    return images[order], labels[order]


@shuffled.mistake("some digits come twice and others never: randperm draws each once, randint does not.")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    order = torch.randint(0, len(labels), (len(labels),), generator=generator)
    return images[order], labels[order]
