"""Exercises of 05_debugging."""

import weakref
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from . import exercise, random_int


class _Graph:
    """Lives as long as the graph of one output."""


class _Watched(nn.Sequential):
    """A network that records in a buffer whether the graphs of earlier batches stay in memory."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.register_buffer("graphs_kept", torch.tensor(False))
        self.graphs: weakref.WeakSet[_Graph] = weakref.WeakSet()

    def forward(self, x: Tensor) -> Tensor:
        if len(self.graphs) > 1:  # `loss` may still refer to the graph of the previous batch
            self.graphs_kept = torch.tensor(True)
        output = super().forward(x)
        if output.requires_grad:
            graph = _Graph()
            self.graphs.add(graph)
            output.register_hook(lambda gradient, graph=graph: gradient)  # the graph holds its hooks
        return output


def _model_and_batches(generator: Generator) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """A network with dropout in training mode, and batches of different sizes."""
    model = _Watched(nn.Flatten(), nn.Dropout(0.5), nn.Linear(28 * 28, 10), nn.LogSoftmax(dim=1)).train()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 10)
    sizes = [random_int(generator, 2, 8) for _ in range(random_int(generator, 3, 5))]
    batches = [
        (torch.randn(n, 1, 28, 28, generator=generator), torch.randint(0, 10, (n,), generator=generator)) for n in sizes
    ]
    return model, batches


@exercise(
    title="A correct test loop",
    task="Compute the mean loss over batches of different sizes, for a network with dropout that returns "
    "log-probabilities. Avoid four mistakes: forgetting `eval`, keeping the graph in memory, giving small batches too "
    "much weight, and leaving the model in `eval` mode.",
    hint="`with torch.no_grad():` keeps no graph, and `.item()` for each batch keeps only one. Sum the losses, and "
    "count the digits.",
    difficulty=3,
    minutes=15,
    make_inputs=_model_and_batches,
    forbidden={Tensor.backward: "backward()"},
)
def test_loss(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """batches: images and labels, int64 [N]; N varies. Return nats per digit, a plain number. Keep training mode."""
    model.eval()
    with torch.no_grad():
        total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    model.train()
    return total / sum(len(y) for _, y in batches)


@test_loss.mistake("Dropout was active. Call model.eval() before the first batch.")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    with torch.no_grad():
        total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    return total / sum(len(y) for _, y in batches)


@test_loss.mistake("The model is still in eval mode, so training would continue without dropout. Call model.train().")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    return total / sum(len(y) for _, y in batches)


@test_loss.mistake("This is the mean of the batches' means. Sum the losses, and divide by the number of digits.")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    means = [F.nll_loss(model(x), y).item() for x, y in batches]
    model.train()
    return sum(means) / len(means)


@test_loss.mistake("This is the mean per batch. Divide by the number of digits.")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    total = sum(F.nll_loss(model(x), y, reduction="sum").item() for x, y in batches)
    model.train()
    return total / len(batches)


@test_loss.mistake("This is a tensor that keeps the whole graph in memory. Use .item(), or torch.no_grad().")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    model.eval()
    total = torch.stack([F.nll_loss(model(x), y, reduction="sum") for x, y in batches]).sum()
    model.train()
    return total / sum(len(y) for _, y in batches)


@test_loss.mistake("The graphs of all batches stay in memory. Use .item() for each batch, or torch.no_grad().")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    losses = [F.nll_loss(model(x), y, reduction="sum") for x, y in batches]
    model.train()
    return torch.stack(losses).sum().item() / sum(len(y) for _, y in batches)


def _images_labels_and_generator(generator: Generator) -> tuple[Tensor, Tensor, Generator]:
    n = random_int(generator, 12, 16)
    labels = torch.cat([torch.arange(10), torch.randint(0, 10, (n - 10,), generator=generator)])
    seeded = torch.Generator().manual_seed(random_int(generator, 0, 1000))
    return torch.rand(n, 28, 28, generator=generator), labels, seeded


def _about_shuffle(
    function: Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]],
    images: Tensor,
    labels: Tensor,
    generator: Generator,
) -> dict[str, bool] | None:
    """Return what must hold for a shuffled dataset, whichever permutation it is."""
    pictures, digits, seed = images.clone(), labels.clone(), generator.initial_seed()

    def call(generator: Generator) -> tuple[Tensor, Tensor]:
        return function(pictures.clone(), digits.clone(), generator)

    def order_of(mine: Tensor) -> list[int]:
        found = (mine.flatten(1)[:, None] == pictures.flatten(1)).all(dim=2)
        return found.long().argmax(dim=1).where(found.any(dim=1), -1).tolist()

    first = function(images, labels, generator)
    if first is None:
        return None
    parts = first if isinstance(first, tuple | list) else ()
    kinds = [(part.shape, part.dtype) for part in parts if isinstance(part, Tensor)]
    facts = {
        "the result is two tensors like the inputs": kinds == [(part.shape, part.dtype) for part in (images, labels)]
    }
    if not all(facts.values()):
        return facts
    torch.rand(1)  # the global generator is in another state now
    again, order = call(torch.Generator().manual_seed(seed)), order_of(first[0])
    others = [torch.Generator().manual_seed(seed + n) for n in range(1, 6)]
    orders = {tuple(order_of(call(other)[0])) for other in others for _ in range(2)}
    return facts | {
        "each image appears once": sorted(order) == list(range(len(digits))),
        "each image keeps its label": torch.equal(digits[order], first[1]),
        "each label appears as often as before": torch.equal(digits.sort().values, first[1].sort().values),
        "the labels are shuffled, too": not torch.equal(digits, first[1]),
        "the generator determines the order": all(map(torch.equal, first, again)),
        "the order is another one for each generator and each call": len(orders) == 10,
    }


@exercise(
    title="Shuffle a dataset",
    task="Shuffle a dataset with the given generator. Each image must keep its label.",
    hint="Use one permutation, `torch.randperm`, for both.",
    difficulty=1,
    minutes=5,
    make_inputs=_images_labels_and_generator,
    result=_about_shuffle,
)
def shuffled(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """images: float [N, 28, 28]; labels: int64 [N]. Return both in one random order from the generator."""
    order = torch.randperm(len(labels), generator=generator)
    return images[order], labels[order]


@shuffled.mistake("Images and labels were shuffled independently. Use the same permutation for both.")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    first = torch.randperm(len(labels), generator=generator)
    return images[first], labels[torch.randperm(len(labels), generator=generator)]


@shuffled.mistake("The labels were not shuffled. Apply the images' permutation to the labels, too.")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    return images[torch.randperm(len(labels), generator=generator)], labels


@shuffled.mistake("The order does not come from the generator. Use randperm(n, generator=generator).")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(labels))
    return images[order], labels[order]


@shuffled.mistake("Some digits appear twice and others are missing. Use randperm instead of randint.")
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    order = torch.randint(0, len(labels), (len(labels),), generator=generator)
    return images[order], labels[order]


@shuffled.mistake(
    "The order is not random, or the same for every generator or call. Use the generator as it is passed."
)
def _(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return images[order], labels[order]
