"""Exercises of 05_debugging."""

import weakref

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

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
    "log-probabilities. It is called in the middle of a training run, with far more batches than fit into memory.",
    hint="Four things can go wrong: the mode of the model during the test, its mode afterwards, the graphs, and the "
    "weight of a small batch.",
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


test_loss.edit("Dropout was active. Call model.eval() before the first batch.", "    model.eval()\n", "")
test_loss.edit(
    "The model is still in eval mode, so training would continue without dropout. Call model.train().",
    "    model.train()\n",
    "",
)


@test_loss.mistake("This is the mean of the batches' means. Sum the losses, and divide by the number of digits.")
def _(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    means = [F.nll_loss(model(x), y).item() for x, y in batches]
    model.train()
    return sum(means) / len(means)


test_loss.edit(
    "This is the mean per batch. Divide by the number of digits.", "sum(len(y) for _, y in batches)", "len(batches)"
)


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


def _model_and_two_batches(generator: Generator) -> tuple[nn.Module, Optimizer, list[tuple[Tensor, Tensor]]]:
    """A small network with the gradients of an earlier batch, and two batches of different sizes."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10), nn.LogSoftmax(dim=1))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 28)
            weight.grad = torch.randn(weight.shape, generator=generator) / 28
    sizes = random_int(generator, 2, 5), random_int(generator, 6, 9)
    batches = [
        (torch.randn(n, 1, 28, 28, generator=generator), torch.randint(0, 10, (n,), generator=generator)) for n in sizes
    ]
    return model, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), batches


@exercise(
    title="One step from two batches",
    task="A batch does not fit into memory, so it comes in two parts of different sizes. Make one optimizer step with "
    "the gradient of the mean loss over *all* its digits. This is called gradient accumulation. The model returns "
    "log-probabilities, and still has the gradients of an earlier batch.",
    hint="Gradients add up until you clear them. By which factor must you multiply each part's mean loss?",
    difficulty=2,
    minutes=15,
    make_inputs=_model_and_two_batches,
    result=lambda function, *inputs: (function(*inputs), None)[1],  # only the model counts
)
def accumulated_step(model: nn.Module, optimizer: Optimizer, parts: list[tuple[Tensor, Tensor]]) -> None:
    """parts: two pairs of images, float [N, 1, 28, 28], and labels, int64 [N]; N varies. Update the model."""
    optimizer.zero_grad()
    digits = sum(len(labels) for _, labels in parts)
    for images, labels in parts:
        loss = F.nll_loss(model(images), labels, reduction="sum") / digits
        loss.backward()
    optimizer.step()


accumulated_step.edit(
    "The gradients are those of the sum over all digits. Divide by the number of digits.", " / digits", ""
)
accumulated_step.edit(
    "Both means are added, so the step is about twice as large as for one batch.", ', reduction="sum") / digits', ")"
)
accumulated_step.edit(
    "Both parts count the same, so a digit of the small part counts more. Weight by digits.",
    ', reduction="sum") / digits',
    ") / len(parts)",
)
accumulated_step.edit(
    "The gradients of the first part are cleared. Call zero_grad once, before the first part.",
    "for images, labels in parts:",
    "for images, labels in parts:\n        optimizer.zero_grad()",
)
accumulated_step.edit(
    "Only the last part counts. Call zero_grad once, before the first part, and weight both.",
    'loss = F.nll_loss(model(images), labels, reduction="sum") / digits',
    "optimizer.zero_grad()\n        loss = F.nll_loss(model(images), labels)",
)
accumulated_step.edit(
    "Each mean is divided by the number of digits again. Use the sum, or multiply by a fraction.",
    ', reduction="sum"',
    "",
)
accumulated_step.edit(
    "There is a step inside the loop. Make one step, after both parts.",
    "    optimizer.step()",
    "        optimizer.step()",
)
accumulated_step.edit(
    "The gradients of the earlier batch are still there. Call zero_grad before the first part.",
    "    optimizer.zero_grad()\n",
    "",
)


@accumulated_step.mistake("There are two steps, one for each part. Make one step, after both.")
def _(model: nn.Module, optimizer: Optimizer, parts: list[tuple[Tensor, Tensor]]) -> None:
    for images, labels in parts:
        optimizer.zero_grad()
        F.nll_loss(model(images), labels).backward()
        optimizer.step()


accumulated_step.edit("The weights have not changed: backward or step is missing.", "\n    optimizer.step()", "")
