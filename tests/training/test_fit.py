import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interrupt import Run, Sets, cut, few_digits, same
from safetensors import safe_open
from table import Fault
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import Subset

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader
from mnist_s5.metrics import Evaluation, History, MetricsError
from mnist_s5.training import fit as fitting
from mnist_s5.training.checkpoint import CheckpointError, save_checkpoint
from mnist_s5.training.recipes import Recipe
from mnist_s5.training.resume import RunFolder


def rates(recipe: Recipe, per_epoch: int) -> list[float]:
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    optimizer = s5.make_optimizer(recipe, network.parameters())
    scheduler = s5.make_scheduler(recipe, optimizer, per_epoch)
    found = []
    for _ in range(recipe.steps(per_epoch)):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_reference_schedule_is_a_step_every_15_epochs() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.01)
    classic, expected = StepLR(optimizer, step_size=15, gamma=0.1), []
    for _ in range(20):
        expected += classic.get_last_lr() * 7
        optimizer.step()
        classic.step()
    assert rates(s5.get_recipe("reference"), 7) == pytest.approx(expected)


def test_one_cycle_warms_up_for_a_fifth_and_ends_near_zero() -> None:
    recipe = s5.get_recipe("fast", epochs=1)
    found = rates(recipe, 100)
    assert len(found) == 100
    assert max(found) == pytest.approx(recipe.learning_rate)
    assert found.index(max(found)) == 19
    assert found[-1] < 1e-4


@pytest.mark.parametrize("total", range(1, 13))
def test_the_shortest_runs_have_a_schedule_too(total: int) -> None:
    recipe = s5.get_recipe("fast", epochs=total)
    found = rates(recipe, 1)
    assert len(found) == total
    assert max(found) == pytest.approx(recipe.learning_rate, rel=0.1)  # the peak may fall between two steps


def test_initial_weights_are_the_recipes() -> None:
    torch.manual_seed(0)
    plain = s5.Net().state_dict()
    torch.manual_seed(0)
    ours = s5.make_model(s5.get_recipe("reference")).state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in plain.items())
    for name, weight in s5.make_model(s5.get_recipe("fast")).named_parameters():
        if name.endswith("bias"):
            assert not weight.any()
        else:
            fan_in = weight[0].numel()
            assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15), name


def test_muon_gets_the_hidden_weights_and_sgd_the_rest() -> None:
    model, recipe = s5.Net(), s5.get_recipe("fast")
    names = {parameter: name for name, parameter in model.named_parameters()}
    others, hidden = s5.make_optimizer(recipe, model.parameters()).param_groups
    assert {names[p] for p in hidden["params"]} == {
        f"{layer}.weight" for layer in ("conv1", "conv2", "conv3", "conv4", "fc1")
    }
    assert len(others["params"]) + len(hidden["params"]) == len(names)
    assert (others["use_muon"], others["lr"], others["weight_decay"]) == (False, recipe.learning_rate, 0)
    assert (hidden["lr"], hidden["weight_decay"]) == (recipe.learning_rate, recipe.weight_decay)
    assert type(s5.make_optimizer(s5.get_recipe("reference"), model.parameters())) is torch.optim.SGD
    with pytest.raises(ValueError, match="Set muon=False"):
        s5.make_optimizer(recipe, nn.Linear(3, 3).parameters())


def test_every_rate_follows_the_schedule() -> None:
    recipe = s5.get_recipe("fast")
    optimizer = s5.make_optimizer(recipe, s5.Net().parameters())
    highest = [group["lr"] for group in optimizer.param_groups]
    scheduler = s5.make_scheduler(recipe, optimizer, 100)
    for _ in range(50):
        optimizer.step()
        scheduler.step()
    fractions = [now / top for now, top in zip(scheduler.get_last_lr(), highest, strict=True)]
    assert fractions == pytest.approx([fractions[0]] * 2)
    assert 0.5 < fractions[0] < 0.7


def test_loaders_are_the_recipes(sample: Sets) -> None:
    classic, classic_test = s5.make_loaders(s5.get_recipe("reference", crop_prob=0.3, flip_prob=0.5), *sample)
    steps = classic.dataset.transform.transforms
    assert classic.batch_size == 512
    assert (type(steps[0]).__name__, steps[1].p) == ("RandomHorizontalFlip", 0.3)
    batched, batched_test = s5.make_loaders(s5.get_recipe("fast", "sample"), *sample)
    assert isinstance(batched, DeviceLoader)
    assert batched.batch_size == 64
    assert not torch.equal(next(iter(batched))[0], next(iter(batched))[0])
    _, by_image = s5.get_testloader(source="sample")
    for loader in (
        classic_test,
        batched_test,
    ):  # the same test loader for all recipes, bit for bit equal to the transforms
        for (images, labels), (their_images, their_labels) in zip(loader, by_image, strict=True):
            assert torch.equal(images, their_images)
            assert torch.equal(labels, their_labels)


@pytest.fixture(scope="module")
def few() -> Sets:
    return few_digits()


def run(sets: Sets, seed: int = 1, **how: Any) -> Run:
    settings = {name: how.pop(name) for name in ("folder", "resume", "network", "evaluate_at") if name in how}
    recipe = s5.get_recipe(how.pop("recipe", "fast"), "sample", **{"epochs": 1.2, "batch_size": 16} | how)
    return s5.fit(recipe, *sets, seed=seed, device="cpu", progress=False, **settings)


@pytest.fixture(scope="module")
def whole(few: Sets) -> Run:
    return run(few)


def test_fit_repeats_bit_for_bit(few: Sets, whole: Run, capsys: pytest.CaptureFixture) -> None:
    torch.rand(3)  # independent of earlier random numbers
    assert same(run(few), whole)
    assert len(capsys.readouterr().out.splitlines()) == 2  # one line per epoch, no progress bar
    assert not same(run(few, seed=2), whole)
    assert [entry.epoch for entry in whole[1]] == pytest.approx([1, 1.2])
    assert whole[1].dataset == "sample"
    assert whole[1][-1].train_loss < whole[1][0].train_loss


def test_every_seed_and_epoch_has_its_own_random_numbers() -> None:
    """seed + epoch would repeat along the diagonals, seed + 2**32 * epoch in every epoch."""
    first = {}
    for seed in range(10):
        for epoch in range(10):
            s5.seed_everything(seed, epoch)
            first[seed, epoch] = torch.rand(4)
    assert len({numbers.numpy().tobytes() for numbers in first.values()}) == 100
    torch.manual_seed(3)
    assert torch.equal(torch.rand(4), first[3, 0])  # the first epoch uses the seed itself


def test_epochs_differ_and_seeds_share_none(few: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the digits in each epoch of three seeds, as `train` receives it."""
    orders = []

    def note(model: nn.Module, device: Any, loader: Any, *args: Any, **how: Any) -> Any:
        orders.append(torch.cat([labels for _, labels in loader]))
        return 0.0, 0.0

    monkeypatch.setattr(fitting, "train", note)
    for seed in (1, 2, 3):
        run(few, seed, epochs=3)
    assert len({order.numpy().tobytes() for order in orders}) == 9


def test_the_fraction_of_distorted_digits_falls_to_zero(few: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    fractions: list[float] = []

    def note(images: Tensor, fraction: float) -> Tensor:
        fractions.append(fraction)
        return images

    monkeypatch.setattr(fitting, "photometric_distort", note)
    run(few, epochs=2, photometric_prob=0.4)
    assert fractions == pytest.approx([0.4 * (1 - step / 20) for step in range(20)])
    fractions.clear()
    run(few, epochs=2, photometric_prob=0.4, photometric_decay=False)
    assert fractions == [0.4] * 20


@pytest.mark.parametrize("recipe", ["fast", "reference"])
def test_what_is_recorded_is_what_ran(few: Sets, recipe: str, tmp_path: Path) -> None:
    model, history = run(few, 3, recipe=recipe, epochs=0.3, learning_rate=0.015, folder=tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    about = s5.load_checkpoint(tmp_path / "model.safetensors")[1]
    for name, value in vars(s5.get_recipe(recipe, "sample", epochs=0.3, batch_size=16, learning_rate=0.015)).items():
        assert metrics["recipe" if name == "name" else name] == value
        assert about["recipe" if name == "name" else name] == value
    facts = ("dataset", "seed", "device", "train_images", "test_images")
    assert [metrics[fact] for fact in facts] == ["sample", 3, "cpu", 160, 100]
    assert metrics["dtype"] == str(s5.get_recipe(recipe).dtype("cpu"))[6:]
    assert metrics["network"].startswith("Net( (conv1): Conv2d(1, 32")
    assert metrics["history"] == [entry._asdict() for entry in history]
    assert (metrics["test_accuracy"], metrics["test_loss"]) == (history[-1].test_accuracy, history[-1].test_loss)
    weights = zip(s5.load_checkpoint(tmp_path / "model.safetensors")[0].parameters(), model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_layout_is_the_recipes(channels_last: bool) -> None:
    model = s5.make_model(s5.get_recipe("fast", channels_last=channels_last))
    assert model.conv3.weight.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.fixture(scope="module")
def complete(few: Sets) -> Callable[[str], Run]:
    """Return the function that returns an uninterrupted run of a recipe, of two and a half epochs of ten steps."""
    return cache(lambda recipe: run(few, recipe=recipe, epochs=2.5))


MORE_CUTS = [("fast", 0), ("fast", 10), ("fast", 24), ("reference", 22)]


@pytest.mark.fault(17, "interrupted in the first step, within an epoch, between epochs, and in the last step")
@pytest.mark.parametrize(
    ("recipe", "steps"),
    [("fast", 6), *(pytest.param(*each, marks=pytest.mark.slow) for each in MORE_CUTS)],
)
def test_an_intact_resume_file_is_used(
    fault: Fault, few: Sets, complete: Callable[[str], Run], recipe: str, steps: int, tmp_path: Path, capsys: Any
) -> None:
    with cut(steps):
        run(few, recipe=recipe, epochs=2.5, folder=tmp_path)
    done = steps // 10
    files = [f"epoch-{epoch:06d}.pt" for epoch in range(1, done + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    seconds = [entry[-1] for entry in torch.load(tmp_path / files[-1])["history"]] if files else []
    torch.rand(3), random.random()
    capsys.readouterr()
    model, history = run(few, recipe=recipe, epochs=2.5, folder=tmp_path)
    said = capsys.readouterr()
    assert same((model, history), complete(recipe))
    resumed = [f"resumed after epoch {done}, from {files[-1]}"] if files else []
    assert said.out.splitlines()[: len(resumed)] == resumed
    assert len(said.out.splitlines()) == len(resumed) + 3 - done  # only the other epochs were trained
    assert said.err == ""
    assert [entry.seconds for entry in history[:done]] == seconds
    assert sorted(path.name for path in tmp_path.glob("epoch*")) == ["epoch-000002.pt", "epoch-000003.pt"]
    fault.saw("the same weights as without the interruption")


@pytest.mark.fault(20, "the training cell is run twice")
def test_a_finished_run_is_returned_as_it_is(
    fault: Fault, few: Sets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(few, folder=tmp_path)
    before = (tmp_path / "metrics.json").read_text()
    (tmp_path / "model.safetensors").unlink()
    capsys.readouterr()
    again = run(few, folder=tmp_path)
    fault.saw(capsys.readouterr().out)
    assert same(again, first)
    assert [entry.seconds for entry in again[1]] == [entry.seconds for entry in first[1]]
    assert not again[0].training
    after = (tmp_path / "metrics.json").read_text()
    assert json.loads(after) | {"peak_memory_mb": 0} == json.loads(before) | {"peak_memory_mb": 0}
    assert (tmp_path / "model.safetensors").exists()
    assert same(run(few, folder=tmp_path, resume=False), first)


def test_starting_over_keeps_the_weights_until_there_are_new_ones(few: Sets, tmp_path: Path) -> None:
    first = run(few, folder=tmp_path)
    blob = (tmp_path / "model.safetensors").read_bytes()
    with cut(5):
        run(few, learning_rate=0.01, folder=tmp_path, resume=False)
    assert (tmp_path / "model.safetensors").read_bytes() == blob
    second = run(few, learning_rate=0.01, folder=tmp_path, resume=False)
    assert not same(first, second)
    assert same(second, run(few, learning_rate=0.01))
    assert (tmp_path / "model.safetensors").read_bytes() != blob


def test_the_environment_that_trained_is_recorded(few: Sets, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run(few, folder=tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        run(few, folder=tmp_path)
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().err
    assert (
        f"NOTICE: threads is {threads} in the folder, and {threads + 1} in this call. The results may differ slightly."
        in said
    )
    assert json.loads((tmp_path / "metrics.json").read_text())["threads"] == threads


@pytest.mark.fault(15, "a folder with a run of another recipe, network, dataset, or seed")
def test_only_the_same_run_is_resumed(fault: Fault, few: Sets, tmp_path: Path) -> None:
    """Another recipe, seed, network, or dataset is an error, even with the same number of digits."""
    train_set, test_set = few
    model, _ = run(few, folder=tmp_path)
    fewer = s5.DigitDataset(train_set.data[1:], train_set.targets[1:], "sample")
    smaller = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.Linear(12, 10), nn.LogSoftmax(1))  # noqa: E731
    other = s5.DigitDataset(train_set.data.flip(0), train_set.targets.flip(0), "sample")
    for sets, how, why in (
        (few, {"learning_rate": 0.01}, "learning_rate is 0.02 in the folder, and 0.01 in this call"),
        (few, {"seed": 2}, "seed is 1 in the folder, and 2 in this call"),
        (few, {"network": Small}, r"trainable_parameters is 593200 in the folder, .*, network \(by its SHA-256\) is"),
        (few, {"network": smaller}, "trainable_parameters is 593200 in the folder, and 9550 in this call"),
        ((fewer, test_set), {}, "train_images is 160 in the folder, and 159 in this call"),
        ((other, test_set), {}, r"data \(by its SHA-256\) is \w{16} in the folder, and \w{16} in this call"),
        ((train_set, other), {}, r"test_images is 100 in the folder, and 160 in this call, data \(by its SHA-256\)"),
    ):
        said = fault.refused(CheckpointError, why, lambda sets=sets, how=how: run(sets, folder=tmp_path, **how))
        assert said.endswith("Use another folder, or pass resume=False to start over.")
    assert not s5.Net().load_state_dict(model.state_dict()).missing_keys
    fault.plain("silently wrong", "load_state_dict loads another recipe's weights")


def test_a_subset_is_rejected(few: Sets) -> None:
    with pytest.raises(TypeError, match="Expected a DigitDataset, got Subset"):
        run((Subset(few[0], range(20)), few[1]))  # type: ignore[arg-type]


class Small(nn.Module):
    """A custom network with dropout and batch normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 8, 5, stride=2), nn.BatchNorm2d(8), nn.Linear(8 * 12 * 12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.norm(self.conv(x)).relu().flatten(1), 0.2, self.training)
        return F.log_softmax(self.fc(x), dim=1)


def test_another_network_is_trained_and_resumed_too(few: Sets, tmp_path: Path) -> None:
    complete = run(few, network=Small, epochs=2.5)
    assert isinstance(complete[0], Small)
    with cut(15):
        run(few, network=Small, epochs=2.5, folder=tmp_path)
    assert same(run(few, network=Small, epochs=2.5, folder=tmp_path), complete)


@pytest.mark.parametrize("smoothing", [0.05, 0.3])
def test_label_smoothing_is_torchs(smoothing: float) -> None:
    logits = torch.randn(12, 10, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(12) % 10
    ours = fitting.smoothed_nll_loss(logits.log_softmax(1), labels, smoothing)
    theirs = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))


def test_the_reported_loss_is_without_smoothing(few: Sets, tmp_path: Path) -> None:
    """One step on all images: the reported training loss is the plain one of the initial weights."""
    recipe = s5.get_recipe("fast", "sample", epochs=1, batch_size=160, label_smoothing=0.3, degrees=0.0,
                           scale_jitter=0.0, translate_px=0.0, photometric_prob=0.0, use_bf16=False)  # fmt: skip
    _, (entry,) = s5.fit(recipe, *few, device="cpu", progress=False)
    s5.seed_everything(1)
    plain = s5.test(s5.make_model(recipe), "cpu", DeviceLoader(few[0], 160))
    assert entry.train_loss == pytest.approx(plain.loss, rel=1e-4)


@pytest.mark.slow
def test_evaluating_more_often_changes_only_the_history(few: Sets, tmp_path: Path) -> None:
    recipe, marks = "reference", (0, 4 / 15, 8 / 15, 10 / 15, 14 / 15, 1)  # its loader has worker processes
    model, history = run(few, recipe=recipe, epochs=1.5)
    often, curve = run(few, recipe=recipe, epochs=1.5, evaluate_at=marks)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), often.parameters(), strict=True))
    assert [entry.epoch for entry in curve] == [0.4, 0.8, 1.0, 1.4, 1.5]
    assert [entry.test_accuracy for entry in curve if entry.epoch in (1, 1.5)] == [e.test_accuracy for e in history]
    with cut(14):  # in the second epoch, after an evaluation
        run(few, recipe=recipe, epochs=1.5, evaluate_at=marks, folder=tmp_path)
    assert same(run(few, recipe=recipe, epochs=1.5, evaluate_at=marks, folder=tmp_path), (often, curve))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan, 100])
def test_evaluations_are_at_fractions_of_the_run(few: Sets, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^evaluate_at contains .*\. Pass fractions of the run, from 0 to 1\.$"):
        run(few, evaluate_at=(0.5, wrong))


@pytest.mark.fault(19, "a learning rate that makes the loss infinite")
def test_a_run_that_diverges_names_recipe_epoch_and_step(fault: Fault, sample: Sets, few: Sets) -> None:
    said = r"^Recipe reference, epoch \d, steps \d+ to \d+\. In this part, "
    said += r"Step \d+: the loss is NaN or infinite.*Lower the learning rate"
    fault.refused(FloatingPointError, said, lambda: run(few, recipe="reference", learning_rate=1e4))
    model = s5.Net()
    nn.init.constant_(model.fc2.bias, math.nan)
    _, tested = s5.make_loaders(s5.get_recipe("fast"), *sample)
    right = sum(float((model(images).argmax(1) == labels).sum()) for images, labels in tested)
    fault.plain("silently wrong", f"{right / 10:.1f}% correct: the argmax of ten NaN is 0")


class Swapped(s5.Net):
    """The layers of `Net`, and another forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-1))


Swapped.__name__ = "Net"  # as if the user had edited the class


def test_another_forward_pass_is_another_run(few: Sets, tmp_path: Path) -> None:
    run(few, folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"network \(by its SHA-256\) is"):
        run(few, network=Swapped, folder=tmp_path)


def test_later_metrics_do_not_change_where_a_run_was_trained(few: Sets, tmp_path: Path) -> None:
    run(few, folder=tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"threads": 64, "machine": "another"}))
    s5.write_metrics(tmp_path, summary=1)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["threads"], metrics["machine"], metrics["summary"]) == (64, "another", 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": torch.arange(160) % 11}, "labels from 0 to 9, got 10"),
        ({"targets": torch.zeros(159, dtype=torch.int64)}, r"targets int64 \[160\], got int64 \[159\]"),
        ({"targets": torch.zeros(160, dtype=torch.int32)}, "got int32"),
        ({"data": torch.zeros(160, 28, 28)}, r"data uint8 \[N, 28, 28\] with N > 0, got float32"),
        ({"data": torch.zeros(160, 784, dtype=torch.uint8)}, r"got uint8 \[160, 784\]"),
        ({"data": torch.zeros(0, 28, 28, dtype=torch.uint8)}, "with N > 0"),
        ({"data": [1, 2, 3]}, "got list"),
    ],
)
def test_digits_of_another_form_are_rejected(few: Sets, changes: dict[str, Any], said: str) -> None:
    wrong = s5.DigitDataset(few[0].data, few[0].targets, "mine")
    vars(wrong).update(changes)
    for sets in ((wrong, few[1]), (few[0], wrong)):
        with pytest.raises(ValueError, match=f"^Dataset mine: expected .*{said}"):
            run(sets)


@pytest.mark.parametrize("network", [s5.Net(), lambda: None], ids=["an instance", "nothing"])
def test_a_network_that_is_not_a_class_is_rejected(few: Sets, network: Any) -> None:
    with pytest.raises(TypeError, match="Pass network=MyNet"):
        run(few, network=network)


class Tied(nn.Module):
    """Two layers that share their weights, and a buffer that is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Linear(784, 784), nn.Linear(784, 784), nn.Linear(784, 10)
        self.two.weight = self.one.weight
        self.register_buffer("mask", torch.full((3,), -torch.inf, dtype=torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.two(self.one(x.flatten(1)).relu()).relu()).log_softmax(1)


def test_shared_weights_and_any_buffer_can_be_saved(few: Sets, tmp_path: Path) -> None:
    first = run(few, network=Tied, epochs=0.5, folder=tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    assert same(run(few, network=Tied, epochs=0.5, folder=tmp_path), first)


def test_other_files_in_the_folder_are_left_alone(few: Sets, tmp_path: Path) -> None:
    mine = [tmp_path / name for name in ("epoch-a.pt", "epoch-best.pt", "epoch-1.pt")]
    for path in mine:
        path.write_text("mine")
    first = run(few, folder=tmp_path)
    assert same(run(few, folder=tmp_path), first)
    run(few, folder=tmp_path, resume=False)
    assert [path.read_text() for path in mine] == ["mine"] * 3
    assert len(list(tmp_path.glob("epoch-0*.pt"))) == 2


@pytest.mark.slow
def test_starting_over_keeps_the_old_run_until_there_is_a_new_epoch(few: Sets, tmp_path: Path) -> None:
    with cut(12):
        run(few, epochs=2.5, folder=tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert before == ["epoch-000001.pt"]
    with cut(5):
        run(few, epochs=2.5, learning_rate=0.01, folder=tmp_path, resume=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    run(few, epochs=2.5, folder=tmp_path)
    with cut(12):
        run(few, epochs=2.5, learning_rate=0.01, folder=tmp_path, resume=False)
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-000001.pt"]
    assert same(run(few, epochs=2.5, learning_rate=0.01, folder=tmp_path), run(few, epochs=2.5, learning_rate=0.01))


@pytest.mark.fault(13, "the run's folder cannot be written to")
def test_what_cannot_be_saved_stops_before_the_training(
    fault: Fault, few: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "train", lambda *args, **how: pytest.fail("it has trained"))
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(MetricsError, match=r"metrics\.json is corrupted"):
        run(few, folder=tmp_path)
    for folder in (tmp_path / "metrics.json", tmp_path / "metrics.json" / "run"):
        said = "A file with the folder's name is in the way"
        fault.refused(OSError, said, lambda folder=folder: run(few, folder=folder))
    for seed in (1.5, "1", None):
        with pytest.raises(TypeError, match="integer"):
            run(few, seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("smoothing", [1.5, 1, -0.1, float("nan")])
def test_smoothing_is_a_fraction(smoothing: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and less than 1"):
        s5.get_recipe("fast", label_smoothing=smoothing)


def test_two_runs_at_once_in_one_folder_are_an_error(tmp_path: Path) -> None:
    """The one that saves first continues; the other one would mix its files with them."""
    about: dict[str, Any] = {"facts": {}, "environment": {}, "parts": {"model": s5.Net()}}
    first, second = (RunFolder(tmp_path, **about) for _ in range(2))
    for run in (first, second):
        assert run.restore() == []
    epoch, next_epoch = (Evaluation(n, 0.1, 2.3, 10, 2.3, 10, 1) for n in (1, 2))
    first.save(History([epoch]))
    with pytest.raises(CheckpointError, match=r"Another process wrote to .* during this run"):
        second.save(History([epoch]))
    (tmp_path / ".epoch-000002.pt.1-1").touch()  # that another process is writing
    assert RunFolder(tmp_path, **about).restore() == [epoch]
    assert (tmp_path / ".epoch-000002.pt.1-1").exists()
    os.utime(tmp_path / "epoch-000001.pt")  # a program for backups may do that
    first.save(History([epoch, next_epoch]))
    first.finish(History([epoch, next_epoch]))


class Linear(nn.Module):
    """A network whose `forward` calls a method, a helper, and the activation, and uses a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)
        self.scale = torch.tensor(1.0)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def activation(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.scale * self.activation(self.layer(self.features(x))), dim=1)


class NoFeatures(Linear):
    def features(self, x: Tensor) -> Tensor:
        return 0 * x.flatten(1)


class Tanh(Linear):
    def activation(self, x: Tensor) -> Tensor:
        return x.tanh()


class Dropout(Linear):
    def features(self, x: Tensor) -> Tensor:
        return F.dropout(x.flatten(1), 0.5, self.training)


class OtherGradients(Linear):
    def activation(self, x: Tensor) -> Tensor:
        return x + (F.relu(x) - x).detach()  # a straight-through estimator


class OwnWeights(Linear):
    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.layer.weight)


class OwnTensor(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.tensor(-5.0)


def with_hook() -> nn.Module:
    model = Linear()
    model.layer.register_forward_hook(lambda layer, inputs, output: 2 * output)
    return model


class Float32Only(Linear):
    def __init__(self, shift: float = 1.0) -> None:
        super().__init__()
        self.shift = torch.full((784,), shift, dtype=torch.float32)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1).addcmul(x.flatten(1) @ self.shift.diag(), self.shift)


def short_run(folder: Path | None, network: Callable[[], nn.Module], **how: Any) -> Run:
    recipe, sets = s5.get_recipe("reference", "sample", epochs=0.1), s5.load_mnist("sample")
    return s5.fit(recipe, *sets, device="cpu", folder=folder, network=network, progress=False, **how)


@pytest.mark.parametrize("other", [NoFeatures, Tanh, Dropout, OtherGradients, OwnWeights, OwnTensor, with_hook])
def test_a_network_that_computes_something_else_is_not_resumed(tmp_path: Path, other: Callable[[], nn.Module]) -> None:
    """All have the same weights, and the same code of `forward`."""
    whole = short_run(tmp_path, Linear)
    assert same(short_run(tmp_path, Linear), whole)
    with pytest.raises(CheckpointError, match=r"contains a different run: network \(by its SHA-256\) is \w{16} in"):
        short_run(tmp_path, other)
    assert same(short_run(tmp_path, Linear), whole)


def test_a_network_that_computes_the_same_is_resumed_whatever_its_code(tmp_path: Path, capsys: Any) -> None:
    class Renamed(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def activation(self, x: Tensor) -> Tensor:
            return self.relu(x)

    whole = short_run(tmp_path, Linear)
    capsys.readouterr()
    assert same(short_run(tmp_path, Renamed), whole)
    assert "NOTICE: network is Linear( (layer)" in capsys.readouterr().err


def test_a_network_that_takes_only_float32_is_identified_too(tmp_path: Path) -> None:
    assert same(short_run(tmp_path, Float32Only), short_run(tmp_path, Float32Only))
    with pytest.raises(CheckpointError, match=r"network \(by its SHA-256\)"):
        short_run(tmp_path, lambda: Float32Only(shift=0.5))


def test_identifying_a_network_changes_nothing(tmp_path: Path) -> None:
    """Not even for a function that returns the same network, with buffers, again and again."""

    def build() -> Callable[[], nn.Module]:
        torch.manual_seed(5)
        net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10), nn.LogSoftmax(1))
        return lambda: net

    assert same(short_run(tmp_path, build()), short_run(None, build()))
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(ValueError, match=r"expected the model to return \[16, 10\], got float32 \[16, 12\]"):
        short_run(tmp_path / "new", lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 12)))
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.slow
def test_a_network_has_the_same_identity_on_other_processors_and_for_every_seed(tmp_path: Path) -> None:
    program = """import torch, mnist_s5 as s5
from mnist_s5.training.resume import describe_network
print(describe_network(lambda: s5.make_model(s5.get_recipe("fast")), torch.device("cpu"))["network_sha256"])"""
    found = set()
    for variables in ({}, {"OMP_NUM_THREADS": "1"}, {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41"}):
        command, environment = [sys.executable, "-c", program], os.environ | variables
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1
    facts = []
    for seed in (1, 2):
        short_run(tmp_path / str(seed), Linear, seed=seed)
        facts.append(json.loads((tmp_path / str(seed) / "metrics.json").read_text()))
    assert facts[0]["network_sha256"] == facts[1]["network_sha256"]


@pytest.mark.slow
def test_a_compiled_network_trains_resumes_and_is_saved_as_usual(tmp_path: Path) -> None:
    """The backend "eager" needs no C++ compiler."""
    recipe, sets = s5.get_recipe("fast", "sample", epochs=0.2, use_bf16=False), s5.load_mnist("sample")
    how: dict[str, Any] = {
        "device": "cpu",
        "progress": False,
        "network": lambda: torch.compile(s5.Net(), backend="eager"),
    }
    model, history = s5.fit(recipe, *sets, folder=tmp_path, **how)
    resumed, again = s5.fit(recipe, *sets, folder=tmp_path, **how)
    loaded, _ = s5.load_checkpoint(tmp_path)
    for other in (resumed, loaded):
        assert all(map(torch.equal, model.parameters(), other.parameters()))
    assert history == again


def test_metrics_that_are_not_json_stop_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"mine": NaN}')
    with pytest.raises(MetricsError, match=r"is corrupted\. Move or delete it"):
        s5.fit(s5.get_recipe("fast", "sample"), *s5.load_mnist("sample"), device="cpu", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_arguments_of_another_type_are_named() -> None:
    sets = s5.load_mnist("sample")
    with pytest.raises(TypeError, match=r"Expected a Recipe, got 'fast'\. Build one: get_recipe\('fast'\)"):
        s5.fit("fast", *sets)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Expected network to be a class"):
        s5.fit(s5.get_recipe("fast"), *sets, network=None)  # type: ignore[arg-type]
    nameless = s5.DigitDataset(sets[0].data, sets[0].targets, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name of a DigitDataset must be text, got None"):
        s5.fit(s5.get_recipe("fast"), nameless, sets[1])


def test_a_recipe_of_numpy_numbers_resumes(few: Sets, tmp_path: Path) -> None:
    how: Any = {"learning_rate": np.float32(0.02), "batch_size": np.int64(16), "epochs": np.float64(0.5)}
    assert same(run(few, np.int64(1), folder=tmp_path, **how), run(few, folder=tmp_path, **how))


class Pretrained(s5.Net):
    def __init__(self) -> None:
        super().__init__()
        self.load_state_dict(s5.load_checkpoint()[0].state_dict())


def test_weights_that_a_network_loads_are_not_replaced(few: Sets) -> None:
    """He initialization would discard them."""
    recipe = s5.get_recipe("fast", "sample", epochs=0.05)
    kept, (pretrained, _) = replace(recipe, init="torch"), s5.load_checkpoint()
    said = r"The network has fixed weights \(conv1\.weight\), which init='he' would replace\. To keep"
    for network in (lambda: s5.load_checkpoint()[0], lambda: pretrained, Pretrained):
        with pytest.raises(ValueError, match=said):
            s5.fit(recipe, *few, network=network)
        model = s5.make_model(kept, network)
        assert torch.equal(next(model.parameters()), next(pretrained.parameters()))
    s5.seed_everything(1)
    by_class = s5.make_model(recipe)
    s5.seed_everything(1)
    by_function = s5.make_model(recipe, lambda: s5.Net())
    for one, other in zip(by_class.parameters(), by_function.parameters(), strict=True):
        assert torch.equal(one, other)  # building a second network takes no random numbers


def test_a_network_without_parameters_is_named(few: Sets) -> None:
    class Empty(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :10].log_softmax(dim=1)

    with pytest.raises(ValueError, match="The network has no parameters, so there is nothing to train"):
        s5.fit(s5.get_recipe("reference", epochs=0.1), *few, network=Empty)


def test_a_loader_goes_on_after_the_last_step_of_its_run(few: Sets) -> None:
    """Only the first tenth of an epoch belongs to the run."""
    loader, _ = s5.make_loaders(s5.get_recipe("fast", "sample", epochs=0.1, batch_size=10), *few)
    assert sum(len(labels) for _, labels in loader) == len(few[0])


def test_a_float64_default_is_named(few: Sets, tmp_path: Path) -> None:
    try:
        torch.set_default_dtype(torch.float64)
        with pytest.raises(ValueError, match=r"The model's weights are float64\."):
            s5.fit(s5.get_recipe("reference", epochs=0.1), *few, folder=tmp_path, device="cpu")
    finally:
        torch.set_default_dtype(torch.float32)


def test_equal_runs_write_equal_files(net: s5.Net, tmp_path: Path) -> None:
    """The library writes several entries in a random order, so there is one."""
    for name in ("one", "two"):
        save_checkpoint(net, tmp_path / name, seed=1, recipe="fast")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with safe_open(tmp_path / "one", "pt") as file:
        assert len(file.metadata()) == 1
