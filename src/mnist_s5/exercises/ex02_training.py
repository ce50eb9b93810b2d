"""Exercises of 02_training."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from ..model import Net
from . import exercise, random_int
from .modules import output_and_gradients, output_with_our_weights


def _labels(generator: Generator, n: int) -> Tensor:
    return torch.randint(0, 10, (n,), generator=generator)


def _batch(generator: Generator, n: int) -> tuple[Tensor, Tensor]:
    """Random log-probabilities and labels."""
    return F.log_softmax(2 * torch.randn(n, 10, generator=generator), dim=1), _labels(generator, n)


@exercise(
    title="The loss by hand",
    task="Compute the mean negative log likelihood of a batch, with indexing and a mean, without `F.nll_loss`.",
    hint="You need one value per row. Indexing with two tensors, one of rows and one of columns, picks one per pair.",
    difficulty=1,
    minutes=5,
    make_inputs=lambda generator: _batch(generator, random_int(generator, 5, 10)),
    forbidden={F.nll_loss: "F.nll_loss", F.cross_entropy: "F.cross_entropy"},
)
def negative_log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
    """log_probs: float [N, 10]; labels: int64 [N]. Return the mean loss in nats, float []."""
    return -log_probs[torch.arange(len(labels)), labels].mean()


negative_log_likelihood.edit(
    "The minus sign is missing. Log-probabilities are negative; a loss is positive.",
    "return -log_probs",
    "return log_probs",
)
negative_log_likelihood.edit(
    "This is the sum over the batch. Take the mean, so the loss does not depend on the batch size.", "mean()", "sum()"
)
negative_log_likelihood.edit(
    "This takes the logarithm of a negative number. The inputs are already log-probabilities.",
    ".mean()",
    ".log().mean()",
)
negative_log_likelihood.edit(
    "This picks the columns of all labels in every row. Which one value do you need from the first row?",
    "torch.arange(len(labels))",
    ":",
    answer="Use log_probs[torch.arange(len(labels)), labels].",
)
negative_log_likelihood.edit("This is one loss per digit. Take their mean.", ".mean()", "")
negative_log_likelihood.edit(
    "This is the logarithm of the mean probability. Take the mean of the logarithms.", ".mean()", ".exp().mean().log()"
)
negative_log_likelihood.edit(
    "This averages all ten log-probabilities. Use only the label's log-probability.",
    "[torch.arange(len(labels)), labels]",
    "",
)
negative_log_likelihood.edit(
    "This uses the log-probability of the most likely digit. Use that of the label.",
    "[torch.arange(len(labels)), labels]",
    ".max(dim=1).values",
)


@exercise(
    title="A convolution by hand",
    task="Compute the feature map of one filter: the sum of the products of its nine weights and the nine pixels that "
    "it covers, for each of its 26 × 26 positions. Do not use a convolution from PyTorch.",
    hint="Two loops over rows and columns work. So does a sum of nine slices of 26 × 26 pixels, each times one weight.",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (
        torch.randn(28, 28, generator=generator),
        torch.randn(3, 3, generator=generator),
    ),
    forbidden=dict.fromkeys(
        (F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, torch.convolution, F.unfold), "a convolution from PyTorch"
    ),
)
def convolved(image: Tensor, weights: Tensor) -> Tensor:
    """image: float [28, 28]; weights: float [3, 3]. Return float [26, 26]."""
    places = [(row, column) for row in range(3) for column in range(3)]
    return torch.stack([weights[y, x] * image[y : y + 26, x : x + 26] for y, x in places]).sum(dim=0)


convolved.edit(
    "The filter is turned by 180°. PyTorch's convolution uses it as it is.", "weights[y, x]", "weights[2 - y, 2 - x]"
)
convolved.edit("Rows and columns of the filter are swapped.", "weights[y, x]", "weights[x, y]")
convolved.edit(
    "This is padded to 28 × 28. Without padding, a 3 × 3 filter has only 26 × 26 positions.",
    "image[y : y + 26, x : x + 26]",
    "F.pad(image, (1, 1, 1, 1))[y : y + 28, x : x + 28]",
)


@convolved.mistake("This multiplies matrices. Multiply element by element, with *.")
def _(image: Tensor, weights: Tensor) -> Tensor:
    rows = [[(image[y : y + 3, x : x + 3] @ weights).sum() for x in range(26)] for y in range(26)]
    return torch.tensor(rows)


convolved.edit("Rows and columns of the feature map are swapped.", ".sum(dim=0)", ".sum(dim=0).T")
convolved.edit("This is the mean of the nine products. A filter computes their sum.", ".sum(dim=0)", ".mean(dim=0)")
convolved.edit("This is the sum of the nine pixels. Multiply each with its weight first.", "weights[y, x] * ", "")


class Linear(nn.Module):
    """The same as nn.Linear."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        reach = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-reach, reach))

    def forward(self, x: Tensor) -> Tensor:
        """x: float [N, inputs]. Return float [N, outputs]."""
        return x @ self.weight.T + self.bias


def _linear_inputs(generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images, and weights and biases of a layer."""
    inputs, outputs = random_int(generator, 12, 20), random_int(generator, 5, 10)
    sizes = ((random_int(generator, 3, 6), inputs), (outputs, inputs), (outputs,))
    x, weight, bias = (torch.randn(size, generator=generator) for size in sizes)
    return x, weight, bias


linear = exercise(
    title="A linear layer of your own",
    task="Write `nn.Linear`: each output is a weighted sum of all inputs, plus a bias. Give it the two parameters of "
    "PyTorch's layer, `weight` [outputs, inputs] and `bias` [outputs]. Initialize both at random, uniformly between "
    "−1/√inputs and 1/√inputs. Do not use `nn.Linear` or `F.linear`.",
    hint="Call `super().__init__()` first. An attribute that is an `nn.Parameter` belongs to the module's "
    "parameters, so an optimizer gets it. `torch.rand` samples from 0 to 1, and `uniform_(low, high)` fills a tensor.",
    difficulty=2,
    minutes=10,
    make_inputs=_linear_inputs,
    result=output_and_gradients,
    forbidden={F.linear: "F.linear"},
)(Linear)

linear.edit(
    "Call super().__init__() first in __init__. Without it, a module cannot register layers.",
    "        super().__init__()\n",
    "",
)
linear.edit(
    "The weight is a plain tensor, so no optimizer gets it. Make it an nn.Parameter.",
    "nn.Parameter(torch.empty(outputs, inputs).uniform_(-reach, reach))",
    "torch.empty(outputs, inputs).uniform_(-reach, reach)",
)
linear.edit(
    "The shape of weight is [16, 9]. It must be [9, 16]: one row of weights per output.",
    "torch.empty(outputs, inputs)",
    "torch.empty(inputs, outputs)",
)
linear.edit(
    "The shapes do not fit: x is [N, inputs], weight is [outputs, inputs]. Transpose one.",
    "self.weight.T",
    "self.weight",
)
linear.edit("The shape of bias is [1]. It must be [9].", "torch.empty(outputs).uniform_", "torch.empty(1).uniform_")
linear.edit("No gradient reaches bias. Use it in forward, without detach(), data, or no_grad().", " + self.bias", "")
linear.edit("The bias is subtracted. Add it.", " + self.bias", " - self.bias")
linear.edit(
    "All initial weights are equal, so all outputs would learn the same. Sample them at random.",
    "torch.empty(outputs, inputs).uniform_(-reach, reach)",
    "torch.zeros(outputs, inputs)",
)
linear.edit(
    "Some initial weights are outside −1/√inputs to 1/√inputs. Large ones make training unstable.",
    "torch.empty(outputs, inputs).uniform_(-reach, reach)",
    "torch.randn(outputs, inputs)",
)
linear.edit(
    "The initial weights have one sign. Sample them from −1/√inputs to 1/√inputs.",
    "torch.empty(outputs, inputs).uniform_(-reach, reach)",
    "torch.rand(outputs, inputs) * reach",
)
linear.edit(
    "No gradient reaches weight. Use it in forward, without detach(), data, or no_grad().",
    "self.weight.T",
    "self.weight.data.T",
)
linear.edit(
    "There is a ReLU in this layer. A linear layer returns negative values, too.",
    "x @ self.weight.T + self.bias",
    "F.relu(x @ self.weight.T + self.bias)",
)


net = exercise(
    title="The network of the course",
    task="Write `Net` from its table of layers. Convolutions are 3 × 3, without padding. Max-pooling is 2 × 2. All "
    "layers have biases. Use the names of the table, so the check can load our weights into your network, and compare "
    "all 593,200 parameters and the output.\n\n"
    "| layer | followed by | output for one image |\n"
    "| --- | --- | --- |\n"
    "| | | 1 × 28 × 28 |\n"
    "| `conv1` | ReLU | 32 × 26 × 26 |\n"
    "| `conv2` | max-pooling, ReLU | 64 × 12 × 12 |\n"
    "| `conv3` | ReLU | 128 × 10 × 10 |\n"
    "| `conv4` | max-pooling, ReLU, flatten | 4,096 |\n"
    "| `fc1` | ReLU | 50 |\n"
    "| `fc2` | log-softmax over the ten classes | 10 |",
    hint="Create the six layers in `__init__`, after `super().__init__()`, and call them in `forward`. Functions "
    "without parameters are in `torch.nn.functional`: `F.relu`, `F.max_pool2d`, `F.log_softmax`. Call "
    "`Net()(torch.zeros(3, 1, 28, 28)).shape` to test it.",
    difficulty=2,
    minutes=15,
    make_inputs=lambda generator: (torch.randn(3, 1, 28, 28, generator=generator),),
    result=output_with_our_weights,
    forbidden={F.dropout: "dropout", F.dropout2d: "dropout"},
    trials=3,
)(Net)

net.edit(
    "Call super().__init__() first in __init__. Without it, a module cannot register layers.",
    "        super().__init__()\n",
    "",
)


@net.mistake("The layers in the plain list convolutions are not registered. Use an attribute for each layer.")
class _PlainList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolutions = [nn.Conv2d(inputs, outputs, 3) for inputs, outputs in pairwise((1, 32, 64, 128, 256))]


net.edit(
    "There is no parameter conv1.bias. Use the names of the task, and layers with biases.",
    "nn.Conv2d(1, 32, kernel_size=3)",
    "nn.Conv2d(1, 32, kernel_size=3, bias=False)",
)
net.edit("The shape of fc1.weight is [50, 256]. It must be [50, 4096].", "nn.Linear(4096, 50)", "nn.Linear(256, 50)")
net.edit(
    "The input of conv2 is [3, 32, 28, 28]. It must be [3, 32, 26, 26]: compare the layer before it with the table.",
    "nn.Conv2d(1, 32, kernel_size=3)",
    "nn.Conv2d(1, 32, kernel_size=3, padding=1)",
)
net.edit("The code uses dropout. Solve this task without it.", "F.relu(self.fc1(x))", "F.dropout(F.relu(self.fc1(x)))")
for _layer, _next, _with_relu in (
    ("conv1", "conv2", "F.relu(self.conv1(x))"),
    ("conv2", "conv3", "F.relu(F.max_pool2d(self.conv2(x), 2))"),
    ("conv3", "conv4", "F.relu(self.conv3(x))"),
    ("conv4", "fc1", "F.relu(F.max_pool2d(self.conv4(x), 2))"),
    ("fc1", "fc2", "F.relu(self.fc1(x))"),
):
    _message = f"The input of {_next} has negative values: the ReLU after {_layer} is missing."
    net.edit(_message, _with_relu, _with_relu.removeprefix("F.relu(").removesuffix(")"))
net.edit("The input of conv1 must be the images as they are.", "F.relu(self.conv1(x))", "self.conv1(F.relu(x))")
net.edit(
    "The input of conv3 is [3, 64, 24, 24]. It must be [3, 64, 12, 12]: a pooling is missing before it.",
    "F.max_pool2d(self.conv2(x), 2)",
    "self.conv2(x)",
)
net.edit(
    "The input of conv2 is [3, 32, 13, 13]. It must be [3, 32, 26, 26]: one pooling too many comes before it.",
    "F.relu(self.conv1(x))",
    "F.relu(F.max_pool2d(self.conv1(x), 2))",
)
net.edit(
    "The input of conv3 has other values. Compare the steps after conv2 with the table.",
    "F.max_pool2d(self.conv2(x), 2)",
    "F.avg_pool2d(self.conv2(x), 2)",
)
net.edit(
    "The input of fc1 is [12288]. It must be [3, 4096]: flatten each image, and keep the batch dimension.",
    "x.flatten(start_dim=1)",
    "x.flatten()",
)
net.edit(
    "These are logits. Return log-probabilities: end forward with a log-softmax.",
    "F.log_softmax(self.fc2(x), dim=1)",
    "self.fc2(x)",
)
net.edit("These are probabilities. Return their logarithms, with F.log_softmax.", "F.log_softmax", "F.softmax")
net.edit(
    "The probabilities of each class sum to 1 over the batch. Those of each image must: use dim=1.",
    "self.fc2(x), dim=1",
    "self.fc2(x), dim=0",
)
net.edit(
    "There is a ReLU after fc2. It sets negative logits to 0, so the network cannot tell these classes apart.",
    "self.fc2(x)",
    "F.relu(self.fc2(x))",
)


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


training_step.edit(
    "The gradients of the previous batch are still there. Call zero_grad before backward.",
    "    optimizer.zero_grad()\n",
    "",
)
training_step.edit(
    "The weights have not changed: backward or step is missing, or the order is not zero_grad, backward, step.",
    "    loss.backward()\n    optimizer.step()\n",
    "",
)


@training_step.mistake("The step uses the gradients of the previous batch: backward is missing, or comes after step.")
def _(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    optimizer.step()
    return loss.item()


training_step.edit(
    "This is the loss after the update. Compute it once, before backward, and return that number.",
    "return loss.item()",
    "return F.nll_loss(model(images), labels).item()",
)
training_step.edit(
    "This is a tensor that keeps the graph in memory. Return the plain number, loss.item().", ".item()", ""
)
training_step.edit(
    "This step increases the loss. Call backward on nll_loss itself, not on its negative.",
    "loss.backward()",
    "(-loss).backward()",
)
training_step.edit(
    "The given optimizer does not update the weights. Call its step() instead of another way to update them.",
    "optimizer.step()",
    "torch.optim.SGD(model.parameters(), lr=0.1).step()",
)
training_step.edit(
    "The gradients are cleared before the step. The order is zero_grad, backward, step.",
    "optimizer.step()",
    "optimizer.zero_grad(set_to_none=False)\n    optimizer.step()",
)
training_step.edit("This is the sum over the batch. Take the mean.", "labels)\n", 'labels, reduction="sum")\n')
training_step.edit(
    "The optimizer makes two steps. Call step() once per batch.",
    "optimizer.step()",
    "optimizer.step()\n    optimizer.step()",
)
training_step.edit(
    "The model was in eval mode, so dropout was off. Train in train mode.",
    "(model(images), labels)",
    "(model.eval()(images), labels)\n    model.train()",
)
training_step.edit(
    "This trains in eval mode, so dropout is off, and it stays off afterwards. Don't call model.eval().",
    "model(images)",
    "model.eval()(images)",
)


class _Loss(nn.Module):
    """A smooth loss of a few weights."""

    def __init__(self, scale: Tensor, target: int) -> None:
        super().__init__()
        self.scale = nn.Buffer(scale)
        self.target = target

    def forward(self, weights: Tensor) -> Tensor:
        return ((self.scale * weights).sin().sum() - self.target).square() + (self.scale * weights.square()).sum()


def _loss_and_weights(generator: Generator) -> tuple[nn.Module, Tensor]:
    n, target = random_int(generator, 2, 6), random_int(generator, 1, 4)
    scale = torch.rand(n, generator=generator, dtype=torch.float64) + 0.5
    return _Loss(scale, target), torch.randn(n, generator=generator, dtype=torch.float64)


@exercise(
    title="All gradients by trying",
    task="Compute the gradient of a loss for every weight without `backward`. For one weight at a time, compute the "
    "loss with this weight larger by `step` than given, and smaller by `step` than given. Divide the difference "
    "of the losses by the difference of the two weights. Leave the given weights as they are.",
    hint="Work on a copy of the weights. How far apart are the two values of the weight?",
    difficulty=3,
    minutes=15,
    make_inputs=lambda generator: (*_loss_and_weights(generator), (0.05, 0.1, 0.2)[random_int(generator, 0, 3)]),
    forbidden={Tensor.backward: "backward()", torch.autograd.grad: "torch.autograd.grad"},
)
def gradient_by_trying(loss: Callable[[Tensor], Tensor], weights: Tensor, step: float) -> Tensor:
    """loss: returns a number, float64 [], for weights; weights: float64 [n]. Return the gradients, float64 [n]."""
    nudges = step * torch.eye(len(weights), dtype=weights.dtype)
    return torch.stack([(loss(weights + nudge) - loss(weights - nudge)) / (2 * step) for nudge in nudges])


gradient_by_trying.edit(
    "This compares the larger weight with the given one. Compare it with the smaller one.",
    "loss(weights - nudge)) / (2 * step)",
    "loss(weights)) / step",
)
gradient_by_trying.edit(
    "This is twice the gradient. The two values of the weight are 2 × step apart.", "(2 * step)", "step"
)
gradient_by_trying.edit("Put 2 * step in parentheses: a / 2 * step multiplies by the step.", "(2 * step)", "2 * step")
gradient_by_trying.edit(
    "This compares the given weight with the smaller one. Compare the larger one with it.",
    "(loss(weights + nudge) - loss(weights - nudge)) / (2 * step)",
    "(loss(weights) - loss(weights - nudge)) / step",
)
gradient_by_trying.edit(
    "Both losses are equal. A plain assignment does not copy a tensor: use clone().",
    "loss(weights - nudge)",
    "loss(weights + nudge)",
)
gradient_by_trying.edit("These are changes of the loss. Divide them by the change of the weight.", " / (2 * step)", "")
gradient_by_trying.edit(
    "The sign is wrong. Subtract the loss for the smaller weight from that for the larger one.",
    "loss(weights + nudge) - loss(weights - nudge)",
    "loss(weights - nudge) - loss(weights + nudge)",
)
gradient_by_trying.edit(
    "All weights are changed at once. Change one at a time, and leave the others.",
    "torch.eye(len(weights),",
    "torch.ones(len(weights), len(weights),",
)


@gradient_by_trying.mistake("Earlier weights stay changed. Restore each weight before you change the next one.")
def _(loss: Callable[[Tensor], Tensor], weights: Tensor, step: float) -> Tensor:
    changed, found = weights.clone(), []
    for n in range(len(weights)):
        changed[n] += step
        larger = loss(changed)
        changed[n] -= 2 * step
        found.append((larger - loss(changed)) / (2 * step))
    return torch.stack(found)
