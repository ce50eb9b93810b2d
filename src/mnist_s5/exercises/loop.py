"""Exercises of 02_training."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from . import exercise


def _labels(generator: Generator, n: int) -> Tensor:
    return torch.randint(0, 10, (n,), generator=generator)


def _log_probs(generator: Generator, n: int) -> Tensor:
    return F.log_softmax(2 * torch.randn(n, 10, generator=generator), dim=1)


@exercise(
    title="The loss, by hand",
    task="The mean negative log likelihood of a batch, without `F.nll_loss`.",
    hint="`log_probs[torch.arange(len(labels)), labels]` picks one answer a row.",
    difficulty=1,
    minutes=5,
    draw=lambda generator: (_log_probs(generator, 7), _labels(generator, 7)),
)
def negative_log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
    """log_probs: float [N, 10]; labels: int64 [N]; gives their mean loss in nats, float []."""
    return -log_probs[torch.arange(len(labels)), labels].mean()


@negative_log_likelihood.mistake("the sign is missing: log-probabilities are negative, a loss is positive.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return log_probs[torch.arange(len(labels)), labels].mean()


@negative_log_likelihood.mistake("this is the sum over the batch: take the mean, so that batches compare.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[torch.arange(len(labels)), labels].sum()


@negative_log_likelihood.mistake(
    "the logarithm is taken again, of a negative number: these are log-probabilities already."
)
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[torch.arange(len(labels)), labels].log().mean()


@negative_log_likelihood.mistake(
    "this picks every label for every digit: pair them, [torch.arange(len(labels)), labels]."
)
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[:, labels].mean()


@negative_log_likelihood.mistake("this is a loss for each digit: take their mean.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[torch.arange(len(labels)), labels]


@negative_log_likelihood.mistake("this averages all ten answers: only the one for the label counts.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs.mean()


@negative_log_likelihood.mistake("this is the likeliest answer's log-probability: take the label's.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs.max(dim=1).values.mean()


def _stepping(generator: Generator) -> tuple[nn.Module, Optimizer, Tensor, Tensor]:
    """A small network in the middle of its training: its last gradients are still there."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10), nn.LogSoftmax(dim=1))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 28)
            weight.grad = torch.randn(weight.shape, generator=generator) / 28
    images = torch.randn(8, 1, 28, 28, generator=generator)
    return model, torch.optim.SGD(model.parameters(), lr=0.1), images, _labels(generator, 8)


@exercise(
    title="One step",
    task="The five lines that do all of the learning, from memory.",
    hint="Forget, forward, loss, backward, step; `loss.item()` is the plain number.",
    difficulty=2,
    minutes=10,
    draw=_stepping,
)
def training_step(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    """Trains the model, which gives log-probabilities, on one batch; gives the loss before the update."""
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@training_step.mistake("the gradients of the batch before are still there: zero_grad before backward.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@training_step.mistake(
    "the weights have not moved: backward or step is missing, or they are not in the order zero_grad, backward, step."
)
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    return F.nll_loss(model(images), labels).item()


@training_step.mistake("the step is made with the last batch's gradients: backward is missing, or comes after step.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    optimizer.step()
    return loss.item()


@training_step.mistake("this is the loss after the update: compute it once, before backward, and give that number.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    F.nll_loss(model(images), labels).backward()
    optimizer.step()
    return F.nll_loss(model(images), labels).item()


@training_step.mistake("this is a tensor that holds on to the graph: give loss.item(), the plain number.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


@training_step.mistake("the loss grows by this step: minimise nll_loss itself, not its negative.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    (-loss).backward()
    optimizer.step()
    return loss.item()


@exercise(
    title="An accuracy over batches",
    task="The last batch is smaller than the others. What is the accuracy over all digits?",
    hint="Count right answers and digits, and divide once, at the end.",
    difficulty=2,
    minutes=10,
    draw=lambda generator: ([(_log_probs(generator, n), _labels(generator, n)) for n in (9, 9, 4)],),
)
def accuracy(batches: list[tuple[Tensor, Tensor]]) -> float:
    """batches: of log_probs, float [N, 10], and labels, int64 [N], each with its own N; gives percent."""
    right = sum(int((log_probs.argmax(dim=1) == labels).sum()) for log_probs, labels in batches)
    return 100 * right / sum(len(labels) for _, labels in batches)


@accuracy.mistake("this is the mean of the batches' accuracies: the small batch counts too much.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return sum(100 * float((a.argmax(dim=1) == b).float().mean()) for a, b in batches) / len(batches)


@accuracy.mistake("this is a share of 1: give percent.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return sum(int((a.argmax(dim=1) == b).sum()) for a, b in batches) / sum(len(b) for _, b in batches)


@accuracy.mistake("this is the percentage of mistakes: count the answers that equal the label.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return 100 * sum(int((a.argmax(dim=1) != b).sum()) for a, b in batches) / sum(len(b) for _, b in batches)


@accuracy.mistake("the answer is the likeliest digit, and these are the least likely: argmax.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return 100 * sum(int((a.argmin(dim=1) == b).sum()) for a, b in batches) / sum(len(b) for _, b in batches)


@accuracy.mistake("this is the last batch's accuracy alone: add up over all of them.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    log_probs, labels = batches[-1]
    return 100 * float((log_probs.argmax(dim=1) == labels).float().mean())
