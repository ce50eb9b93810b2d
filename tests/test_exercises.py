"""Every solution passes its check, and the check names the mistakes that learners make."""

import itertools
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.stats import binomtest
from test_project import script
from torch import Tensor, nn

import mnist_s5 as s5
from mnist_s5.exercises import LESSONS, RESULTS, Exercise, check, exercise, exercises, real

ALL = {name: each for lesson in LESSONS for name, each in exercises(lesson).items()}
make = script("make_exercises")


@pytest.mark.parametrize("lesson", LESSONS)
def test_two_to_six_a_notebook(lesson: str) -> None:
    assert 2 <= len(exercises(lesson)) <= 6


def test_the_readme_states_their_number() -> None:
    assert f"(notebooks/exercises/), {len(ALL)} in total" in (Path(__file__).parents[1] / "README.md").read_text()


def test_they_become_harder_in_02() -> None:
    difficulties = [each.difficulty for each in exercises("02_training").values()]
    assert difficulties == sorted(difficulties)


@pytest.mark.parametrize("name", ALL)
def test_the_solution_passes_and_each_mistake_is_named(name: str) -> None:
    each = ALL[name]
    assert each.judge(each.solution) == ""
    assert len(each.mistakes) >= 3
    for message, wrong in each.mistakes.items():
        assert each.judge(wrong) == message
        assert re.fullmatch(r"[A-Z(].{20,120}[.?]", message)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_students_notebooks_are_made_from_the_solutions(lesson: str) -> None:
    """If this fails, run `make exercises`."""
    notebook = nbformat.read(make.path_of(lesson), as_version=4)
    assert notebook == make.notebook_of(lesson)
    nbformat.validate(notebook)


def test_homework_has_no_solutions(tmp_path: Path) -> None:
    """Otherwise, it is the same: the tasks, the hints, and the stubs."""
    make.main(["--without-solutions", str(tmp_path)])
    for lesson in LESSONS:
        homework, usual = (nbformat.read(path, 4) for path in (tmp_path / f"ex{lesson}.ipynb", make.path_of(lesson)))
        nbformat.validate(homework)
        for mine, theirs in zip(homework.cells, usual.cells, strict=True):
            if mine.cell_type == "code":
                assert mine == theirs
        for name, each in exercises(lesson).items():
            body = each.code().splitlines()[-1]
            assert all(body not in cell.source for cell in homework.cells), name
            assert any(each.hint in cell.source for cell in homework.cells), name
        assert "olution" not in homework.cells[0].source


def test_the_result_of_a_list_is_shown_on_real_digits() -> None:
    function = ALL["shift_to_center"].solution
    assert real.shift_to_center(lambda image: list(function(image)))[0] == real.shift_to_center(function)[0]


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_notebooks_hold_what_is_promised(lesson: str) -> None:
    notebook = nbformat.read(make.path_of(lesson), as_version=4)
    for name in exercises(lesson):
        cells = {cell.id: cell.source for cell in notebook.cells}
        stub, task = cells[name.replace("_", "-")], cells[f"{name.replace('_', '-')}-task"]
        assert "raise NotImplementedError" in stub
        assert stub.endswith(f"check({ALL[name].solution.__name__})")
        assert len(stub.splitlines()) <= 15
        assert re.search(r"[●○]{3} · about \d+ minutes", task)
        assert task.count("<details>") == task.count("</details>") == 2


@pytest.mark.parametrize("name", ALL)
def test_a_stub_is_not_solved_yet_and_the_solution_shown_is_right(name: str) -> None:
    import itertools
    import math
    from collections.abc import Callable

    from torch import Generator
    from torch.optim import Optimizer

    names: dict[str, Any] = {
        "torch": torch, "F": F, "nn": nn, "Tensor": Tensor, "math": math, "Generator": Generator,
        "Optimizer": Optimizer, "itertools": itertools, "Callable": Callable,
    }  # fmt: skip
    exec(ALL[name].stub(), names)
    assert ALL[name].judge(names[ALL[name].solution.__name__]) == "Not solved yet."
    exec(ALL[name].code(), names)
    assert ALL[name].judge(names[ALL[name].solution.__name__]) == ""


def minimum_by_loops(images: Tensor, means: Tensor) -> Tensor:
    return torch.tensor([min(range(10), key=lambda n: float(((image - means[n]) ** 2).sum())) for image in images])


def farthest_by_loops(images: Tensor, means: Tensor) -> Tensor:
    return torch.tensor([max(range(10), key=lambda n: float(((image - means[n]) ** 2).sum())) for image in images])


def loss_with_gradient(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> Tensor:
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


def step_and_then_backward(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    optimizer.step()
    loss.backward()
    return loss.item()


def zeroed_between(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def one_trial_of_many(log_probs: Tensor, labels: Tensor) -> Tensor:
    return -sum(row[label] for row, label in zip(log_probs, labels, strict=True))  # type: ignore[return-value]


def counted_twice(labels: Tensor, predicted: Tensor) -> Tensor:
    counts = torch.zeros(10, 10, dtype=torch.int64)
    counts[labels, predicted] += 1  # counts a repeated pair only once
    return counts


def in_place(images: Tensor) -> Tensor:
    return images.div_(2)  # fails for bytes


def forgot_to_return(right: int, digits: int) -> None:
    (right / digits) ** 0.5


def halves(images: Tensor) -> Tensor:
    return ((images[:, None].float() / 255 - 0.1307) / 0.3081).half()


def updated_by_hand(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= optimizer.param_groups[0]["lr"] * weight.grad
    return loss.item()


def by_hand_with_its_own_momentum(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0.1 * (0.9 * optimizer.state[weight]["momentum_buffer"] + weight.grad)
    return loss.item()


def in_eval_mode(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    model.eval()
    optimizer.zero_grad()
    loss = F.nll_loss(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def sum_of_tensors(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    total = torch.zeros(())
    for x, y in batches:
        total = total + F.nll_loss(model(x), y, reduction="sum")
    model.train()
    return total.item() / sum(len(y) for _, y in batches)


def all_graphs(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    outputs = torch.cat([model(x) for x, _ in batches])
    model.train()
    return F.nll_loss(outputs, torch.cat([y for _, y in batches])).item()


def gradients_left_disabled(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    torch.set_grad_enabled(False)
    model.eval()
    total = sum(float(F.nll_loss(model(x), y, reduction="sum")) for x, y in batches)
    model.train()
    return total / sum(len(y) for _, y in batches)


def without_one(confidence: Tensor, correct: Tensor) -> float:
    error = 0.0
    for low in torch.arange(10) / 10:
        inside = (low <= confidence) & (confidence < low + 0.1)
        if inside.any():
            error += float((confidence[inside].mean() - correct[inside].float().mean()).abs() * inside.float().mean())
    return error


def dropout_left_in_eval_mode(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    result = ALL["test_loss"].solution(model, batches)
    model.eval()
    model.training = True
    return result


def dropout_removed(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0
    return ALL["test_loss"].solution(model, batches)


def weights_frozen(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    return ALL["test_loss"].solution(model.requires_grad_(False), batches)


def gradients_left(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    for x, y in batches:
        F.nll_loss(model(x), y).backward()
    model.train()
    return ALL["test_loss"].solution(model, batches)


def with_its_own_optimizer(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    return ALL["training_step"].solution(model, torch.optim.SGD(model.parameters(), lr=0.1), images, labels)


def with_another_learning_rate(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    loss = ALL["training_step"].solution(model, optimizer, images, labels)
    optimizer.param_groups[0]["lr"] *= 0.9
    return loss


def as_large_as_the_largest(labels: Tensor, predicted: Tensor) -> Tensor:
    n = int(max(labels.max(), predicted.max())) + 1
    return torch.bincount(labels * n + predicted, minlength=n * n).view(n, n)


def default_dtype_changed(images: Tensor) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return ALL["normalized"].solution(images)


def no_layers_forgotten(layers: list[str]) -> int:
    first = ALL["receptive_field"].solution(layers[:1])
    return ALL["receptive_field"].solution(layers) if layers[0] else first


def without_zero(confidence: Tensor, correct: Tensor) -> float:
    error = 0.0
    for low in torch.arange(10) / 10:
        inside = (low < confidence) & (confidence <= low + 0.1)
        if inside.any():
            error += float((confidence[inside].mean() - correct[inside].float().mean()).abs() * inside.float().mean())
    return error


def gradient_of_the_given_weights(loss: Callable[[Tensor], Tensor], weights: Tensor, step: float) -> Tensor:
    weights += step
    return ALL["gradient_by_trying"].solution(loss, weights - step, step)


def forgot_to_copy(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    before, reach, falls = model(x)[0, label].detach(), side // 2, torch.zeros(x.shape[2:])
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            x[..., max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = -0.4242
            falls[row, column] = before - model(x)[0, label].detach()
    return falls


def time_by_loop(seconds: list[float], accuracies: list[float], target: float) -> float:
    total = 0.0
    for second, accuracy in zip(seconds, accuracies, strict=True):
        total += second
        if accuracy >= target:
            return total
    return math.inf


def time_by_numpy(seconds: list[float], accuracies: list[float], target: float) -> float:
    reached = np.array(accuracies) >= target
    return np.cumsum(seconds)[reached.argmax()] if reached.any() else np.inf


def missing_by_loops(values: dict[str, list[Any]], finished: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    for name, options in values.items():
        found = [{**each, name: option} for each in found for option in options]
    return [each for each in found if all(each != other for other in finished)]


def missing_by_sets(values: dict[str, list[Any]], finished: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = {tuple(each[name] for name in values) for each in finished}
    rest = (chosen for chosen in itertools.product(*values.values()) if chosen not in done)
    return [dict(zip(values.keys(), chosen, strict=True)) for chosen in rest]


def holm_by_numpy(p_values: list[float]) -> np.ndarray:
    p = np.array(p_values)
    order = p.argsort()
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected.tolist()


def holm_by_pandas(p_values: list[float]) -> list[float]:
    p = pd.Series(p_values).sort_values()
    return (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1).sort_index().tolist()


def share_in_blocks(n: int, rank: int, world_size: int, seed: int, epoch: int) -> Tensor:
    random = np.random.default_rng((seed, epoch))
    size = n // world_size
    return torch.from_numpy(random.permutation(n)[rank * size : (rank + 1) * size])


def share_by_reshaping(n: int, rank: int, world_size: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + epoch)
    return torch.randperm(n, generator=generator)[: n // world_size * world_size].view(world_size, -1)[rank]


def averaged_by_einsum(gradients: list[Tensor], sizes: list[int]) -> Tensor:
    weights = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    return torch.einsum("r,rp->p", weights, torch.stack(gradients).nan_to_num())


def averaged_digit_by_digit(gradients: list[Tensor], sizes: list[int]) -> Tensor:
    return torch.cat([each.expand(size, -1) for each, size in zip(gradients, sizes, strict=True)]).mean(dim=0)


def loss_as_a_number(log_probs: Tensor, labels: Tensor, smoothing: float) -> float:
    return F.cross_entropy(log_probs, labels, label_smoothing=smoothing).item()


def loss_without_gradient(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(log_probs.detach(), labels, label_smoothing=smoothing)


def occlusion_with_gradients(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    reach, size = side // 2, x.shape[-1]
    covered = x.repeat(size * size, 1, 1, 1)
    for index, image in enumerate(covered):
        row, column = divmod(index, size)
        image[:, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = -0.4242
    return (model(x)[0, label] - model(covered)[:, label]).view(size, size)


def rotated_share(n: int, rank: int, world_size: int, seed: int, epoch: int) -> Tensor:
    return torch.arange(n).roll(seed + 7 * epoch)[: n - n % world_size][rank::world_size]


def sorted_share(n: int, rank: int, world_size: int, seed: int, epoch: int) -> Tensor:
    return share_in_blocks(n, rank, world_size, seed, epoch).sort().values


class ListOfLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)]


class NotAModule:
    pass


class OtherNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3))


class BatchNormalized(s5.Net):
    def __init__(self) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(32)


class WithoutForward(s5.Net):
    forward = None  # type: ignore[assignment]


class ViewOfOtherSize(s5.Net):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv2(F.relu(self.conv1(x))), 2))
        return F.log_softmax(
            self.fc2(F.relu(self.fc1(F.relu(self.conv4(F.relu(self.conv3(x)))).view(-1, 4096)))), dim=1
        )


class BiasForgotten(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(outputs, inputs) - 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


WRITTEN = [  # the exercise, what a learner wrote, and the expected message
    ("net", ListOfLayers, "The layers in the plain list convs are not registered"),
    ("net", NotAModule, "must inherit from nn.Module"),
    ("net", OtherNames, "There is no parameter conv1.weight. Use the names of the task"),
    ("net", BatchNormalized, "parameters that the task does not have, such as bn1.bias"),
    ("net", WithoutForward, "The class raises TypeError"),
    (
        "net",
        ViewOfOtherSize,
        r"The input of fc1 is \[12, 4096\]. It must be \[3, 4096\]: a pooling is missing before it",
    ),
    ("net", lambda: s5.Net().double().float().requires_grad_(False), "no gradient flows through the result"),
    ("linear", BiasForgotten, "There is no parameter bias"),
    ("linear", nn.Linear, "The code uses F.linear. Solve this task without it"),
    ("linear", lambda inputs, outputs: nn.Linear(inputs, outputs, bias=False), "There is no parameter bias"),
    ("wilson_interval", lambda correct, digits: ALL["wilson_interval"].solution(torch.tensor(correct), digits), ""),
    ("training_step", loss_with_gradient, "requires a gradient. `.item\\(\\)` turns it into a plain number"),
    ("nearest_mean", minimum_by_loops, ""),
    ("shift_to_center", lambda image: (14 - center_by_scipy(image)[0], 3), "expected|result"),
    ("occlusion", forgot_to_copy, "expected|changes its input"),
    ("shift_to_center", lambda image: list(ALL["shift_to_center"].solution(image)), ""),
    ("smoothed_loss", loss_as_a_number, r"no gradient flows through the result. Return a tensor, without detach\(\)"),
    ("smoothed_loss", loss_without_gradient, "no gradient flows through the result"),
    ("occlusion", occlusion_with_gradients, r"requires a gradient. Compute it inside `with torch.no_grad\(\):`"),
    ("share", rotated_share, "this does not hold: the digits are shuffled before they are divided"),
    ("share", sorted_share, "this does not hold: the digits are shuffled before they are divided"),
    ("neighbors_vote", lambda hidden, known, labels, k: vote_by_counter(hidden, known, labels, k).int(), "dtype"),
    ("wilson_interval", lambda correct, digits: wilson_by_scipy(correct, digits)[::-1], "For the inputs"),
    ("nearest_mean", farthest_by_loops, "argmin"),
    ("training_step", step_and_then_backward, "backward is missing, or comes after step"),
    ("training_step", zeroed_between, "order is not zero_grad"),
    ("negative_log_likelihood", F.nll_loss, "uses F.nll_loss. Solve this task without it"),
    ("negative_log_likelihood", nn.NLLLoss(), "uses F.nll_loss"),
    ("negative_log_likelihood", F.cross_entropy, "uses F.cross_entropy"),
    ("negative_log_likelihood", one_trial_of_many, "sum over the batch"),
    ("confusion", counted_twice, "only once"),
    ("normalized", in_place, "The function raises RuntimeError"),
    ("normalized", halves, r"the dtype is torch.float16. It must be torch.float32"),
    ("half_width", forgot_to_return, "returns None"),
    ("shifted", lambda images, right, down: images.float(), "dtype is torch.float32. It must be torch.uint8"),
    (
        "convolved",
        lambda image, weights: F.conv2d(image[None, None], weights[None, None])[0, 0],
        "uses a convolution from PyTorch",
    ),
    ("threshold", lambda confidence, correct, wanted: None, "returns None"),
    (
        "accumulated_step",
        lambda model, optimizer, parts: optimizer.step(),
        "^The model's weights or buffers after the call are not correct",
    ),
    ("gradient_by_trying", gradient_of_the_given_weights, "changes its input `weights`"),
    ("learning_rate", lambda step, total, peak: peak * step / total, "For the inputs"),
    ("paired_seeds_p_value", lambda differences: 2 / 2 ** len(differences), "expected"),
    ("conv_parameters", lambda inputs, outputs, side: nn.Conv2d(inputs, outputs, side).weight.numel(), "uses a layer"),
    ("training_step", updated_by_hand, "The given optimizer does not update the weights. Call its step"),
    ("training_step", by_hand_with_its_own_momentum, "optimizer's state or settings after the call are not"),
    ("training_step", in_eval_mode, "dropout"),
    ("test_loss", sum_of_tensors, "graphs of all batches stay in memory"),
    ("test_loss", all_graphs, "graphs of all batches stay in memory"),
    ("test_loss", gradients_left_disabled, "Gradients are still disabled"),
    ("calibration_error", without_one, "exactly 1"),
    ("half_width", lambda correct, digits: [1.0], "the result is of the type list. It must be a number."),
    ("half_width", lambda correct, digits: torch.tensor([1.0]), r"a tensor float32 \[1\]. It must be a number."),
    ("confusion", lambda labels, predicted: np.zeros((10, 10)), "of the type ndarray. It must be a tensor int64"),
    ("test_loss", dropout_left_in_eval_mode, "one of its layers, is left in the wrong mode"),
    ("test_loss", dropout_removed, "changes the probability of a dropout layer"),
    ("test_loss", weights_frozen, "changes requires_grad of the weights"),
    ("test_loss", gradients_left, r"uses backward\(\). Solve this task without it"),
    ("training_step", with_its_own_optimizer, "The given optimizer does not update the weights"),
    ("training_step", with_another_learning_rate, "optimizer's state or settings"),
    ("training_step", lambda model, optimizer, images, labels: None, "do you return what backward"),
    ("normalized", lambda images: ((images / images.max() - 0.1307) / 0.3081)[:, None], "brightest pixel"),
    ("normalized", default_dtype_changed, "changes torch's default dtype"),
    ("normalized", lambda images: (images - images.mean()) / images.std(), "raises (Runtime|NotImplemented)Error: "),
    ("normalized", lambda images: ALL["normalized"].solution(images).to("meta"), "the tensor is torch.strided on meta"),
    ("confusion", as_large_as_the_largest, r"It must be \[10, 10\]"),
    (
        "confusion",
        lambda labels, predicted: ALL["confusion"].solution(labels, predicted).to_sparse(),
        "torch.sparse_coo",
    ),
    ("calibration_error", without_zero, "exactly 0"),
    ("calibration_error", lambda confidence, correct: correct.mean(), "raises (Runtime|NotImplemented)Error: "),
    ("receptive_field", no_layers_forgotten, "raises IndexError"),
    ("half_width", lambda correct, digits: sys.exit(), "raises SystemExit"),
    (
        "nearest_mean",
        lambda images, means: torch.tensor([minimum_by_loops(images, means)[n] for n in range(12)]),
        "rais",
    ),
    ("orthogonalized", lambda matrix: torch.linalg.svd(matrix)[0] @ torch.linalg.svd(matrix)[2].T, "transposed once"),
    ("holm", lambda p_values: [p * len(p_values) for p in p_values], r"expected \[[\d., ]+\], got \[[\d., ]+\]\."),
    ("holm", lambda p_values: p_values[:1], "expected"),
    ("missing_runs", lambda values, finished: len(values["seed"]) - len(finished), "the result is a number"),
    ("time_to_accuracy", lambda seconds, accuracies, target: None, "returns None"),
    (
        "share",
        lambda n, rank, world_size, seed, epoch: torch.arange(n // world_size) + rank + seed + epoch,
        "two shares",
    ),
    ("share", lambda n, rank, world_size, seed, epoch: None, "raises"),
    ("average_gradients", lambda gradients, sizes: gradients[0], "expected"),
    ("total_steps", lambda digits, world_size, batch_size, epochs: epochs * digits, "For the inputs"),
    (
        "smoothed_loss",
        lambda log_probs, labels, smoothing: -log_probs.mean() * (smoothing / smoothing),
        "raises ZeroDivis",
    ),
]


@pytest.mark.parametrize(("name", "function", "said"), WRITTEN)
def test_what_learners_write(name: str, function: Callable[..., Any], said: str) -> None:
    judged = ALL[name].judge(function)
    assert re.search(said, judged) if said else judged == "", judged


def test_a_changed_default_dtype_does_not_leak() -> None:
    ALL["normalized"].judge(default_dtype_changed)
    assert torch.get_default_dtype() == torch.float32


def test_disabled_gradients_do_not_leak_into_the_next_check() -> None:
    ALL["test_loss"].judge(gradients_left_disabled)
    assert torch.is_grad_enabled()
    with torch.no_grad():  # as after such a cell in the notebook
        assert ALL["training_step"].judge(ALL["training_step"].solution) == ""


def loss_in_a_loop(log_probs: Tensor, labels: Tensor) -> float:
    return float(np.mean([-row[label] for row, label in zip(log_probs.numpy(), labels.numpy(), strict=True)]))


def step_with_model_gradients(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> Any:
    model.train()
    model.zero_grad()
    loss = nn.NLLLoss()(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


def step_with_gradients_of_its_own(model: nn.Module, optimizer: Any, images: Tensor, labels: Tensor) -> float:
    loss = F.cross_entropy(model(images), labels)  # the same, because log_softmax changes log-probabilities in nothing
    for weight, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
        weight.grad = gradient
    optimizer.step()
    return loss.item()


def field_from_the_end(layers: list[str]) -> int:
    field = 1
    for layer in reversed(layers):
        field = field + 2 if layer == "conv" else 2 * field
    return field


def field_by_gradients(layers: list[str]) -> np.int64:
    x = torch.zeros(1, 1, 600, requires_grad=True)
    y = x
    for layer in layers:
        y = F.conv1d(y, torch.ones(1, 1, 3)) if layer == "conv" else F.avg_pool1d(y, 2)
    (gradient,) = torch.autograd.grad(y[0, 0, 1], x)
    return np.int64(gradient.count_nonzero())


def pairs_in_a_loop(labels: Tensor, predicted: Tensor) -> Tensor:
    counts = torch.zeros(10, 10, dtype=torch.int64)
    for label, prediction in zip(labels, predicted, strict=True):
        counts[label, prediction] += 1
    return counts


def smoothed_by_targets(log_probs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    targets = (1 - smoothing) * F.one_hot(labels, 10) + smoothing / 10
    return -(targets * log_probs).sum(dim=1).mean()


def orthogonalized_by_the_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    return matrix @ vectors @ torch.diag(values**-0.5) @ vectors.T


def orthogonalized_by_newton_schulz(matrix: Tensor) -> Tensor:
    x = matrix / matrix.norm()
    for _ in range(30):
        x = 1.5 * x - 0.5 * x @ x.T @ x
    return x


@torch.no_grad()
def loss_of_everything_at_once(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    model.eval()
    outputs = model(images)
    model.train()
    return F.nll_loss(outputs, labels).item()


def loss_by_item(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Any:
    model.train(False)
    total, count = 0.0, 0
    for x, y in batches:
        loss = nn.NLLLoss()(model(x), y)
        total += loss.item() * len(y)
        count += len(y)
    model.train(True)
    return np.float64(total / count)


def calibration_by_edges(confidence: Tensor, correct: Tensor) -> Tensor:
    error = torch.tensor(0.0)
    for low, high in zip(torch.arange(10) / 10, torch.arange(1, 11) / 10, strict=True):
        inside = (confidence > low) & (confidence <= high) | (low == 0) & (confidence == 0)
        if inside.any():
            error += (confidence[inside].mean() - correct[inside].float().mean()).abs() * inside.float().mean()
    return error


def calibration_by_sums(confidence: Tensor, correct: Tensor) -> Any:
    bins = np.clip((10 * confidence.numpy()).astype(int), 0, 9)
    return np.abs(np.bincount(bins, confidence.numpy() - correct.numpy(), 10)).sum() / len(correct)


def paired_by_the_lower_tail(a: Tensor, b: Tensor) -> Tensor:
    counts = torch.stack([(a > b).sum(), (b > a).sum()])
    n, least = int(counts.sum()), int(counts.min())
    return torch.tensor([math.comb(n, k) / 2**n for k in range(least + 1)]).sum().mul(2).clamp(max=1)


def paired_by_both_tails(a: Tensor, b: Tensor) -> float:
    n, heads = int((a != b).sum()), int((a & ~b).sum())
    uneven = [k for k in range(n + 1) if abs(k - n / 2) >= abs(heads - n / 2)]
    return sum(math.comb(n, k) * 0.5**n for k in uneven)


def shifted_by_slices(images: Tensor, right: int, down: int) -> Tensor:
    result, n = torch.zeros_like(images), images.shape[-1]
    result[:, max(down, 0) : n + min(down, 0), max(right, 0) : n + min(right, 0)] = images[
        :, max(-down, 0) : n - max(down, 0), max(-right, 0) : n - max(right, 0)
    ]
    return result


def shifted_and_cleared(images: Tensor, right: int, down: int) -> Tensor:
    result = images.roll((down, right), (1, 2))
    result[:, :down] = 0 if down > 0 else result[:, :down]
    result[:, 28 + down :] = 0 if down < 0 else result[:, 28 + down :]
    result[:, :, :right] = 0 if right > 0 else result[:, :, :right]
    result[:, :, 28 + right :] = 0 if right < 0 else result[:, :, 28 + right :]
    return result


def convolved_by_loops(image: Tensor, weights: Tensor) -> Tensor:
    rows = [[(image[y : y + 3, x : x + 3] * weights).sum() for x in range(26)] for y in range(26)]
    return torch.tensor(rows)


def gradient_in_place(loss: Callable[[Tensor], Tensor], weights: Tensor, step: float) -> Tensor:
    found, values = [], weights.clone()
    for n, value in enumerate(weights.tolist()):
        values[n] = value + step
        larger = loss(values)
        values[n] = value - step
        found.append((larger - loss(values)) / (2 * step))
        values[n] = value
    return torch.stack(found)


def gradient_by_columns(loss: Callable[[Tensor], Tensor], weights: Tensor, step: float) -> Tensor:
    both = torch.stack([weights + sign * step * row for sign in (1, -1) for row in torch.eye(len(weights))])
    larger, smaller = torch.stack([loss(each.double()) for each in both]).chunk(2)
    return (larger - smaller) / 2 / step


def threshold_by_loops(confidence: Tensor, correct: Tensor, wanted: float) -> float:
    good = [c for c in confidence if correct[confidence >= c].float().mean() >= wanted]
    return float(min(good)) if good else float("inf")


def threshold_from_below(confidence: Tensor, correct: Tensor, wanted: float) -> Tensor:
    return next(
        (c for c in confidence.sort().values if correct[confidence >= c].double().mean() >= wanted),
        Tensor([math.inf])[0],
    )


def accumulated_by_weights(model: nn.Module, optimizer: Any, parts: list[tuple[Tensor, Tensor]]) -> None:
    model.zero_grad()
    for images, labels in parts:
        weight = len(labels) / sum(len(each) for _, each in parts)
        (weight * F.nll_loss(model(images), labels)).backward()
    optimizer.step()


def accumulated_in_one_batch(model: nn.Module, optimizer: Any, parts: list[tuple[Tensor, Tensor]]) -> None:
    images, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    optimizer.zero_grad()
    F.nll_loss(model(images), labels).backward()
    optimizer.step()


def rate_by_interpolation(step: int, total: int, peak: float) -> Any:
    return np.interp(step, [0, total / 5, total], [peak / 25, peak, 0])


def rate_as_a_minimum(step: int, total: int, peak: float) -> float:
    return min(peak / 25 + 0.96 * peak * 5 * step / total, 1.25 * peak * (total - step) / total)


def paired_by_bits(differences: list[float]) -> Any:
    n = len(differences)
    signs = 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1
    return np.mean(np.abs(signs @ np.array(differences)) >= abs(sum(differences)) - 1e-6)


def paired_by_recursion(differences: list[float]) -> float:
    def count(rest: list[float], total: float) -> int:
        if not rest:
            return int(abs(total) >= abs(sum(differences)) - 1e-6)
        return count(rest[1:], total + rest[0]) + count(rest[1:], total - rest[0])

    return count(differences, 0) / 2 ** len(differences)


def center_by_scipy(image: Tensor) -> tuple[int, int]:
    row, column = ndimage.center_of_mass(image.numpy())
    return round(14 - row), round(14 - column)


def center_by_grid(image: Tensor) -> tuple[int, int]:
    grid = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    down, right = (round(float(14 - (at * image).sum() / image.sum())) for at in grid)
    return down, right


def occlusion_as_a_batch(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    (height, width), reach = x.shape[2:], side // 2
    rows, columns = torch.arange(height), torch.arange(width)
    near = (rows[:, None] - rows).abs() <= reach, (columns[:, None] - columns).abs() <= reach
    mask = near[0][:, None, :, None] & near[1][None, :, None, :]
    covered = torch.where(mask.view(-1, 1, height, width), -0.4242, x)
    with torch.no_grad():
        return (model(x)[0, label] - model(covered)[:, label]).view(height, width)


def occlusion_with_padding(model: nn.Module, x: Tensor, label: int, side: int) -> Tensor:
    reach, (height, width) = side // 2, x.shape[2:]
    falls = torch.empty(height, width)
    for row in range(height):
        for column in range(width):
            padded = F.pad(x, (reach,) * 4)
            padded[..., row : row + side, column : column + side] = -0.4242
            inner = padded[..., reach : reach + height, reach : reach + width]
            falls[row, column] = (model(x) - model(inner))[0, label].item()
    return falls


def vote_by_counter(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    votes = []
    for one in hidden:
        nearest = ((known - one) ** 2).sum(dim=1).argsort()[:k]
        counts = Counter(sorted(labels[nearest].tolist()))
        votes.append(counts.most_common(1)[0][0])
    return torch.tensor(votes)


def vote_by_one_hot(hidden: Tensor, known: Tensor, labels: Tensor, k: int) -> Tensor:
    nearest = torch.cdist(hidden, known).argsort(dim=1)[:, :k]
    return F.one_hot(labels[nearest], 10).sum(dim=1).argmax(dim=1)


def wilson_by_scipy(correct: int, digits: int) -> tuple[float, float]:
    interval = binomtest(correct, digits).proportion_ci(method="wilson")
    return interval.low, interval.high


def wilson_by_roots(correct: int, digits: int) -> tuple[float, float]:
    p, z = correct / digits, 1.96  # where |p - x| is z standard errors of x
    low, high = sorted(np.roots([1 + z**2 / digits, -(2 * p + z**2 / digits), p**2]))
    return float(low), float(high)


class NetOfModules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.conv3, self.conv4 = nn.Conv2d(64, 128, 3), nn.Conv2d(128, 256, 3)
        self.pool, self.relu, self.flatten = nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()
        self.fc1, self.fc2, self.end = nn.Linear(4096, 50), nn.Linear(50, 10), nn.LogSoftmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv2(self.relu(self.conv1(x)))))
        x = self.pool(self.relu(self.conv4(self.relu(self.conv3(x)))))
        return self.end(self.fc2(self.relu(self.fc1(self.flatten(x)))))


class NetByView(s5.Net):
    def forward(self, x: Tensor) -> Tensor:
        x = torch.max_pool2d(self.conv2(self.conv1(x).relu()), 2).clamp(min=0)
        x = torch.max_pool2d(torch.relu(self.conv4(torch.relu_(self.conv3(x)))), (2, 2)).view(-1, 16 * 256)
        logits = self.fc2(self.fc1(x).relu())
        return logits - logits.logsumexp(dim=-1, keepdim=True)


class LinearByKaiming(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ni,oi->no", x, self.weight) + self.bias


class LinearByRand(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter((2 * torch.rand(size) - 1) / math.sqrt(inputs)) for size in ((outputs, inputs), (outputs,))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight.t())


IDIOMS: dict[str, list[Callable[..., Any]]] = {  # at least two other correct solutions for each exercise
    "net": [NetOfModules, NetByView],
    "linear": [LinearByKaiming, LinearByRand],
    "shift_to_center": [center_by_scipy, center_by_grid],
    "occlusion": [occlusion_as_a_batch, occlusion_with_padding],
    "neighbors_vote": [vote_by_counter, vote_by_one_hot],
    "wilson_interval": [wilson_by_scipy, wilson_by_roots],
    "normalized": [
        lambda images: F.pad(((images / 255 - 0.1307) / 0.3081).unsqueeze(1), (0, 0)),
        lambda images: torch.from_numpy(((images.numpy() / 255 - 0.1307) / 0.3081).astype(np.float32)).view(
            -1, 1, 28, 28
        ),
    ],
    "shifted": [shifted_by_slices, shifted_and_cleared],
    "convolved": [
        convolved_by_loops,
        lambda image, weights: torch.einsum("yxab,ab->yx", image.unfold(0, 3, 1).unfold(1, 3, 1), weights),
    ],
    "gradient_by_trying": [
        gradient_in_place,
        gradient_by_columns,
    ],
    "threshold": [threshold_by_loops, threshold_from_below],
    "accumulated_step": [accumulated_by_weights, accumulated_in_one_batch],
    "learning_rate": [rate_by_interpolation, rate_as_a_minimum],
    "paired_seeds_p_value": [paired_by_bits, paired_by_recursion],
    "nearest_mean": [
        minimum_by_loops,
        lambda images, means: torch.cdist(images.flatten(1), means.flatten(1)).argmin(dim=1),
    ],
    "negative_log_likelihood": [
        lambda log_probs, labels: -log_probs.double()[torch.arange(len(labels)), labels].mean(),
        loss_in_a_loop,
        lambda log_probs, labels: -log_probs.gather(1, labels[:, None]).mean(),
    ],
    "training_step": [step_with_model_gradients, step_with_gradients_of_its_own],
    "conv_parameters": [
        lambda inputs, outputs, side: np.int64(outputs) * inputs * side**2 + outputs,
        lambda inputs, outputs, side: torch.tensor(inputs * side * side + 1) * outputs,
        lambda inputs, outputs, side: np.array(inputs * side * side * outputs + outputs),
    ],
    "receptive_field": [field_from_the_end, field_by_gradients],
    "confusion": [
        pairs_in_a_loop,
        lambda labels, predicted: (
            torch.zeros(10, 10).long().index_put((labels, predicted), torch.ones_like(labels), accumulate=True)
        ),
        lambda labels, predicted: F.one_hot(labels, 10).T @ F.one_hot(predicted, 10),
    ],
    "smoothed_loss": [
        smoothed_by_targets,
        lambda log_probs, labels, smoothing: F.cross_entropy(log_probs, labels, label_smoothing=smoothing),
    ],
    "orthogonalized": [orthogonalized_by_the_root, orthogonalized_by_newton_schulz],
    "test_loss": [loss_of_everything_at_once, loss_by_item],
    "half_width": [
        lambda correct, digits: 196 * np.sqrt(correct * (digits - correct) / digits**3),
        lambda correct, digits: torch.tensor(correct / digits * (1 - correct / digits) / digits).sqrt() * 196,
    ],
    "calibration_error": [calibration_by_edges, calibration_by_sums],
    "paired_p_value": [paired_by_the_lower_tail, paired_by_both_tails],
    "time_to_accuracy": [time_by_loop, time_by_numpy],
    "missing_runs": [missing_by_loops, missing_by_sets],
    "holm": [holm_by_numpy, holm_by_pandas],
    "total_steps": [
        lambda digits, world_size, batch_size, epochs: epochs * math.ceil(digits / (world_size * batch_size)),
        lambda digits, world_size, batch_size, epochs: (
            epochs * len(range(0, len(range(0, digits, world_size)), batch_size))
        ),
    ],
    "share": [share_in_blocks, share_by_reshaping],
    "average_gradients": [averaged_by_einsum, averaged_digit_by_digit],
}


@pytest.mark.parametrize("name", ALL)
def test_other_correct_solutions_pass(name: str) -> None:
    assert len(IDIOMS[name]) >= 2
    assert [ALL[name].judge(idiom) for idiom in IDIOMS[name]] == [""] * len(IDIOMS[name])


@pytest.fixture(scope="module")
def without_mnist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real, "data_folder", lambda: tmp_path_factory.mktemp("empty"))
        for cached in (real._digits, real._predictions):
            cached.cache_clear()
        yield
    for cached in (real._digits, real._predictions):
        cached.cache_clear()


DRAWN = (  # the exercises that end with a figure
    "shifted", "nearest_mean", "convolved", "linear", "net", "training_step", "confusion", "threshold",
    "shift_to_center", "occlusion", "learning_rate", "orthogonalized",
)  # fmt: skip
LONG = ("training_step", "accumulated_step")  # they train for several seconds


@pytest.mark.usefixtures("without_mnist")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in ALL])
def test_a_correct_answer_runs_on_real_digits(name: str, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        shown = getattr(real, name)(ALL[name].solution)
    said = shown[0] if isinstance(shown, tuple) else shown
    assert re.fullmatch(r"[A-Z6].*[^.\d]\d.*[.]", said)
    assert len(said) < 150
    assert "nan" not in said
    assert isinstance(shown, tuple) == (name in DRAWN)
    if isinstance(shown, tuple):
        shown[1].savefig(tmp_path / "figure.png")
        assert max(map(len, shown[1].get_suptitle().splitlines())) < 80  # as wide as the figure
        assert name in ("learning_rate", "orthogonalized") or "embedded sample" in shown[1].alt


@pytest.mark.usefixtures("without_mnist")
def test_check_prints_records_and_knows_its_exercises(capsys: pytest.CaptureFixture[str]) -> None:
    figure = check(ALL["confusion"].solution)
    assert figure is not None
    assert "predictions are wrong" in figure.alt
    assert capsys.readouterr().out.startswith(
        "confusion: Correct for 20 random inputs.\nThe most common mistake of the"
    )
    assert RESULTS.pop("confusion")

    def normalized(images: Tensor) -> Tensor:
        if len(images) > 100:
            raise MemoryError("no memory for so many digits")
        return ALL["normalized"].solution(images)

    check(normalized)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "normalized: Correct for 20 random inputs.",
        "On real digits, it raises MemoryError: no memory for so many digits.",
    ]
    assert RESULTS.pop("normalized")
    with pytest.raises(ValueError, match=r"no exercise counted_twice. Choose from normalized,.*paired_p_value"):
        check(counted_twice)


def test_the_answer_is_printed_only_if_the_mistake_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    def negative_log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
        return -log_probs[:, labels].mean()

    for _ in range(2):
        assert check(negative_log_likelihood) is None
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("Which one value do you need from the first row?")
    assert second == f"{first} Use log_probs[torch.arange(len(labels)), labels]."
    assert RESULTS.pop("negative_log_likelihood") is False


def test_the_linear_layer_equals_pytorchs() -> None:
    ours, theirs = ALL["linear"].solution(7, 3), nn.Linear(7, 3)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_mistake_is_added_below_its_exercise() -> None:
    each = Exercise(lambda x: x, "title", "task", "hint", 1, 5, lambda generator: (1,))

    @each.mistake("This is another number.")
    def _(x: int) -> int:
        return x + 1

    assert each.judge(lambda x: x + 1) == "This is another number."
    assert each.judge(lambda x: x) == ""


@exercise(
    title="title", task="task", hint="hint", difficulty=1, minutes=5, make_inputs=lambda generator: (torch.ones(3),)
)
def doubled_sum(x: Tensor) -> Tensor:
    """x: float [N]. Return float []."""
    return doubled(x).sum()


def doubled(x: Tensor) -> Tensor:
    return x + x


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Exercise:
    monkeypatch.setattr(doubled_sum, "mistakes", {})
    return doubled_sum


def test_a_mistake_is_an_edit_of_the_solution(edited: Exercise) -> None:
    edited.edit("This is the mean.", "sum()", "mean()")  # the helper is defined below the solution
    edited.edit("The sum is not doubled.", "doubled(x)", "x")
    assert list(edited.mistakes) == ["This is the mean.", "The sum is not doubled."]
    assert len(set(edited.mistakes.values())) == 2
    assert edited.judge(lambda x: 2 * x.mean()) == "This is the mean."
    assert edited.judge(lambda x: x.sum()) == "The sum is not doubled."
    assert edited.judge(lambda x: 2 * x.sum()) == ""
    assert doubled_sum is edited  # the module's name still refers to the exercise


@pytest.mark.parametrize(("old", "times"), [("max()", 0), ("Tensor", 2)])
def test_an_edit_replaces_what_occurs_once(edited: Exercise, old: str, times: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{old!r} must occur once in the code of doubled_sum, not {times}")):
        edited.edit("This is another number.", old, "")
    assert edited.mistakes == {}


@pytest.mark.slow
def test_a_class_is_read_as_one_table(tmp_path: Path) -> None:
    """As in docs/teaching.md: run a student's copy, which writes metrics.json."""
    from mnist_s5.__main__ import main

    copy = nbformat.read(make.path_of("07_measuring"), as_version=4)
    cell = next(cell for cell in copy.cells if cell.id == "half-width")
    cell.source = ALL["half_width"].code() + "\n\n\ncheck(half_width)"
    (tmp_path / "class").mkdir()
    nbformat.write(copy, tmp_path / "class" / "one.ipynb")
    assert main(["run", str(tmp_path / "class" / "one.ipynb"), "--out", str(tmp_path / "one")]) == 0
    found = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert found["exercises_07"] == {
        "half_width": True,
        "paired_seeds_p_value": False,
        "calibration_error": False,
        "paired_p_value": False,
    }


def test_teaching_states_the_exercises_minutes() -> None:
    text = (Path(__file__).parents[1] / "docs" / "teaching.md").read_text()
    stated = [int(minutes) for minutes in re.findall(r"^\| 0\d · .*\| (\d+) \|$", text, re.MULTILINE)]
    assert stated == [sum(each.minutes for each in exercises(lesson).values()) for lesson in LESSONS]


def minutes_of(lesson: str, text: str) -> float:
    row = re.search(rf"^\| {lesson} · [^|]*\| ([\d½]+)[^|]*\| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert row
    computing = float(row[1].replace("½", "")) + 0.5 * row[1].endswith("½")
    return computing + int(row[2]) + int(row[3])


def test_the_plans_for_teaching_add_up() -> None:
    text = (Path(__file__).parents[1] / "docs" / "teaching.md").read_text()
    sessions = re.search(r"## One session of 90 minutes(.*?)\n## ", text, re.DOTALL)
    assert sessions
    assert sum(map(int, re.findall(r"^\| (\d+) \|", sessions[1], re.MULTILINE))) == 90
    rows = re.findall(r"^\| \d \| (.*) \| (\d+) \|$", text, re.MULTILINE)
    assert len(rows) == 5 + 4
    for content, minutes in rows:
        lessons = [cell[:2] for cell in content.split(" | ")]
        assert int(minutes) == pytest.approx(sum(minutes_of(each, text) for each in lessons), abs=1)


def test_each_objective_and_exercise_is_in_the_table_for_teaching() -> None:
    text = (Path(__file__).parents[1] / "docs" / "teaching.md").read_text()
    table = text.partition("## Which exercise checks which objective")[2].partition("\n## ")[0]
    for lesson in LESSONS:
        rows = re.findall(rf"^\| {lesson[:2]}: .* \| (.*) \|$", table, re.MULTILINE)
        assert len(rows) == 3
        assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= {*exercises(lesson), "occlusion"}
        assert set(exercises(lesson)) <= set(re.findall(r"`(\w+)`", " ".join(rows)))
