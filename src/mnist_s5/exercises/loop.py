"""Exercises of 02_training."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from . import exercise, random_int


def _labels(generator: Generator, n: int) -> Tensor:
    return torch.randint(0, 10, (n,), generator=generator)


def _batch(generator: Generator, n: int) -> tuple[Tensor, Tensor]:
    """Random log-probabilities and labels."""
    return F.log_softmax(2 * torch.randn(n, 10, generator=generator), dim=1), _labels(generator, n)


@exercise(
    title="The loss by hand",
    task="Compute the mean negative log likelihood of a batch, with indexing and a mean, without `F.nll_loss`.",
    hint="`log_probs[torch.arange(len(labels)), labels]` picks one value per row.",
    difficulty=1,
    minutes=5,
    make_inputs=lambda generator: _batch(generator, random_int(generator, 5, 10)),
    forbidden={F.nll_loss: "F.nll_loss", F.cross_entropy: "F.cross_entropy"},
)
def negative_log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
    """log_probs: float [N, 10]; labels: int64 [N]. Return the mean loss in nats, float []."""
    return -log_probs[torch.arange(len(labels)), labels].mean()


@negative_log_likelihood.mistake("The minus sign is missing. Log-probabilities are negative; a loss is positive.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return log_probs[torch.arange(len(labels)), labels].mean()


@negative_log_likelihood.mistake(
    "This is the sum over the batch. Take the mean, so the loss does not depend on the batch size."
)
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[torch.arange(len(labels)), labels].sum()


@negative_log_likelihood.mistake(
    "This takes the logarithm of a negative number. The inputs are already log-probabilities."
)
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[torch.arange(len(labels)), labels].log().mean()


@negative_log_likelihood.mistake(
    "This picks the columns of all labels in every row. Use log_probs[torch.arange(len(labels)), labels]."
)
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[:, labels].mean()


@negative_log_likelihood.mistake("This is one loss per digit. Take their mean.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[torch.arange(len(labels)), labels]


@negative_log_likelihood.mistake("This is the logarithm of the mean probability. Take the mean of the logarithms.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs[torch.arange(len(labels)), labels].exp().mean().log()


@negative_log_likelihood.mistake("This averages all ten log-probabilities. Use only the label's log-probability.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs.mean()


@negative_log_likelihood.mistake("This uses the log-probability of the most likely digit. Use that of the label.")
def _(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -log_probs.max(dim=1).values.mean()


def _model_and_batch(generator: Generator) -> tuple[nn.Module, Optimizer, Tensor, Tensor]:
    """A small network in the middle of its training, with the gradients and the momentum of the previous batch."""
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(28 * 28, 10), nn.LogSoftmax(dim=1))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / 28)
            weight.grad = torch.randn(weight.shape, generator=generator) / 28
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    n = random_int(generator, 6, 10)
    return model, optimizer, torch.randn(n, 1, 28, 28, generator=generator), _labels(generator, n)


@exercise(
    title="One training step",
    task="Write the five lines of the training loop that do all of the learning, from memory. The model still has the "
    "gradients of an earlier batch.",
    hint="Clear the gradients, forward, loss, backward, step. `loss.item()` is a plain number.",
    difficulty=2,
    minutes=10,
    make_inputs=_model_and_batch,
)
def training_step(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    """Train the model, which returns log-probabilities, on one batch. Return the loss before the update."""
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@training_step.mistake("The gradients of the previous batch are still there. Call zero_grad before backward.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@training_step.mistake(
    "The weights have not changed: backward or step is missing, or the order is not zero_grad, backward, step."
)
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    return F.nll_loss(model(images), labels).item()


@training_step.mistake("The step uses the gradients of the previous batch: backward is missing, or comes after step.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    optimizer.step()
    return loss.item()


@training_step.mistake("This is the loss after the update. Compute it once, before backward, and return that number.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    F.nll_loss(model(images), labels).backward()
    optimizer.step()
    return F.nll_loss(model(images), labels).item()


@training_step.mistake("This is a tensor that keeps the graph in memory. Return the plain number, loss.item().")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


@training_step.mistake("This step increases the loss. Call backward on nll_loss itself, not on its negative.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    (-loss).backward()
    optimizer.step()
    return loss.item()


@training_step.mistake(
    "The given optimizer does not update the weights. Call its step() instead of another way to update them."
)
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            assert weight.grad is not None
            weight.sub_(0.1 * weight.grad)
    return loss.item()


@training_step.mistake("The gradients are cleared before the step. The order is zero_grad, backward, step.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    return loss.item()


@training_step.mistake("This is the sum over the batch. Take the mean.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels, reduction="sum")
    loss.backward()
    optimizer.step()
    return loss.item()


@training_step.mistake("The optimizer makes two steps. Call step() once per batch.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = training_step.solution(model, optimizer, images, labels)
    optimizer.step()
    return loss


@training_step.mistake("The model was in eval mode, so dropout was off. Train in train mode.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = training_step.solution(model.eval(), optimizer, images, labels)
    model.train()
    return loss


@training_step.mistake(
    "This trains in eval mode, so dropout is off, and it stays off afterwards. Don't call model.eval()."
)
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    return training_step.solution(model.eval(), optimizer, images, labels)


@exercise(
    title="The accuracy over all batches",
    task="The batches have different sizes. Compute the accuracy over all digits.",
    hint="Count correct predictions and digits, and divide once, at the end.",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (
        [_batch(generator, random_int(generator, 3, 12)) for _ in range(random_int(generator, 2, 5))],
    ),
)
def accuracy(batches: list[tuple[Tensor, Tensor]]) -> float:
    """batches: pairs of log_probs, float [N, 10], and labels, int64 [N], where N varies. Return percent."""
    correct = sum(int((log_probs.argmax(dim=1) == labels).sum()) for log_probs, labels in batches)
    return 100 * correct / sum(len(labels) for _, labels in batches)


@accuracy.mistake("This is the mean of the batches' accuracies, in which the small batch counts too much.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return sum(100 * float((a.argmax(dim=1) == b).float().mean()) for a, b in batches) / len(batches)


@accuracy.mistake("This is a fraction from 0 to 1. Multiply it by 100.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return sum(int((a.argmax(dim=1) == b).sum()) for a, b in batches) / sum(len(b) for _, b in batches)


@accuracy.mistake("This is the percentage of wrong predictions. Count those that equal the label.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return 100 * sum(int((a.argmax(dim=1) != b).sum()) for a, b in batches) / sum(len(b) for _, b in batches)


@accuracy.mistake("These are the least likely digits. The prediction is the most likely one: use argmax.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return 100 * sum(int((a.argmin(dim=1) == b).sum()) for a, b in batches) / sum(len(b) for _, b in batches)


@accuracy.mistake("This is the accuracy of only the first batch. The return statement is probably inside the loop.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    return accuracy.solution(batches[:1])


@accuracy.mistake("This is the accuracy of only the last batch. Add up over all batches.")
def _(batches: list[tuple[Tensor, Tensor]]) -> float:
    log_probs, labels = batches[-1]
    return 100 * float((log_probs.argmax(dim=1) == labels).float().mean())
