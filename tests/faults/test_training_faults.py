"""Faults of a training: it ends with the right bits, or a sentence says why not."""

import contextlib
import errno
import math
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from table import Fault, SilentlyWrong
from torch import Tensor, nn

import mnist_s5 as s5
from mnist_s5 import files, states, training

Fit = Callable[..., tuple[s5.Net, s5.History]]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved often, so that a short training is cut off within an epoch."""
    monkeypatch.setattr(training, "SAVE_EVERY", 5)


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """A short training on a few digits, made from the beginning, as the cell of a notebook makes it."""

    def fitted(stop: int = 0, *, seed: int = 1, digits: int = 640, **how: Any) -> tuple[s5.Net, s5.History]:
        resume = how.pop("resume", True)
        model, recipe, (loader, tested) = parts(seed, digits, **how)
        if stop:
            loader = Failing(loader, stop)
        path = tmp_path / "training.pt"
        return model, s5.fit(model, recipe, loader, tested, progress=False, checkpoint=path, resume=resume)

    return fitted


def parts(seed: int = 1, digits: int = 640, **how: Any) -> tuple[s5.Net, s5.Recipe, Any]:
    train_set, test_set = s5.load_mnist("sample")
    few = [s5.Digits(each.data[::3][:n], each.targets[::3][:n], each.source, each.transform)
           for each, n in ((train_set, digits), (test_set, 100))]  # fmt: skip
    recipe = s5.get_recipe(how.pop("recipe", "fast"), "sample", **({"epochs": 2.5, "batch_size": 64} | how))
    s5.seed_everything(seed)
    return s5.make_model(recipe), recipe, s5.make_loaders(recipe, *few, seed=seed)


class Cut(Exception):
    """The power goes."""


class Failing:
    """A loader whose n-th batch, counted over all epochs, never comes."""

    def __init__(self, loader: Any, n: int) -> None:
        self.loader, self.left = loader, n

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __iter__(self) -> Any:
        for batch in self.loader:
            self.left -= 1
            if not self.left:
                raise Cut
            yield batch


def same(one: tuple[s5.Net, s5.History], other: tuple[s5.Net, s5.History]) -> bool:
    """To the bit: weights, and all that the histories measured but the time."""
    weights = all(torch.equal(a, b) for a, b in zip(one[0].parameters(), other[0].parameters()))
    return weights and [entry[:-1] for entry in one[1]] == [entry[:-1] for entry in other[1]]


@pytest.fixture
def whole() -> tuple[s5.Net, s5.History]:
    """The same training, never cut off and without a checkpoint."""
    model, recipe, loaders = parts()
    return model, s5.fit(model, recipe, *loaders, progress=False)


@pytest.mark.fault(13, "the disk is full while a checkpoint is written")
def test_full_disk(fault: Fault, fit: Fit, whole: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sync, calls = os.fsync, iter(range(100))

    def full(file: int) -> None:
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(files.os, "fsync", full)
    fault.refused(OSError, "the disk is full", fit)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.pt", "training.pt.before"]
    assert same(fit(), whole)  # goes on from what was there before


@pytest.mark.fault(13, "kill -9 between the two steps that replace a checkpoint")
@pytest.mark.parametrize("step", [1, 2])
def test_killed_while_writing(
    fault: Fault, fit: Fit, whole: Any, step: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace, calls = os.replace, iter(range(100))

    def killed(*names: Any) -> None:
        if next(calls) == 2 + step:
            raise Cut
        replace(*names)

    with monkeypatch.context() as patch, contextlib.suppress(Cut):
        patch.setattr(files.os, "replace", killed)
        fit()
    assert (tmp_path / "training.pt").exists() == (step == 1)
    assert same(fit(), whole)
    fault.saw("the same bits: it goes on from the checkpoint before")


@pytest.mark.fault(14, "one byte of a checkpoint is flipped; it is cut off; it is empty")
def test_damaged(fault: Fault, fit: Fit, whole: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(Cut):
        fit(stop=17)
    path = tmp_path / "training.pt"
    good, state = path.read_bytes(), states.load_state(path)
    places = range(7, len(good), len(good) // 23)
    damages = [good[:0], good[:1000], good[:-1], *(flipped(good, place) for place in places)]
    directory = good.rindex(b"PK\1\2") + 10  # a file's method of compression
    damages += [good[:directory] + bytes([good[directory] | 8]) + good[directory + 1 :]]
    before, older = tmp_path / "training.pt.before", (tmp_path / "training.pt.before").read_bytes()
    for blob in damages:
        path.write_bytes(blob)
        before.write_bytes(older)
        capsys.readouterr()
        found = states.load_state(path)
        if "the one before it is used" not in capsys.readouterr().err and not equal(found, state):
            raise SilentlyWrong(fault.injected)
    path.write_bytes(damages[5])
    before.write_bytes(older)
    assert same(fit(), whole)
    fault.saw(capsys.readouterr().err.strip().splitlines()[-1])
    for file in (path, tmp_path / "training.pt.before"):
        file.write_bytes(good[:1000])
    fault.refused(s5.CheckpointError, "damaged", fit)
    torch.save({"weights": torch.ones(1000)}, path)
    blob = bytearray(path.read_bytes())
    blob[blob.index(torch.ones(1).numpy().tobytes() * 9) + 2] ^= 1
    path.write_bytes(blob)
    with contextlib.suppress(Exception):
        if not torch.equal(torch.load(path)["weights"], torch.ones(1000)):
            fault.plain("silently wrong", "torch.load gives other weights, and no word")


def flipped(blob: bytes, place: int) -> bytes:
    return blob[:place] + bytes([blob[place] ^ 0x20]) + blob[place + 1 :]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.mark.fault(15, "a checkpoint of another recipe, network, data set or seed")
def test_another(fault: Fault, fit: Fit, tmp_path: Path) -> None:
    fit()
    for how, what in (
        ({"learning_rate": 0.01}, r"recipe \(learning_rate 0.02 there, 0.01 here\)"),
        ({"digits": 700}, "data set"),
        ({"digits": 639}, "data set"),
        ({"seed": 2}, "seed"),
    ):
        fault.refused(s5.CheckpointError, what, lambda how=how: fit(**how))
    model, recipe, loaders = parts()
    path = tmp_path / "training.pt"
    fault.refused(
        s5.CheckpointError, "test set", lambda: s5.fit(model, recipe, loaders[0], loaders[0], checkpoint=path)
    )
    loaders[0].draw = None
    fault.refused(s5.CheckpointError, "data set", lambda: s5.fit(model, recipe, *loaders, checkpoint=path))
    _, recipe, loaders = parts()
    smaller = nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.Linear(12, 10), nn.LogSoftmax(1))
    fault.refused(s5.CheckpointError, "network", lambda: s5.fit(smaller, recipe, *loaders, checkpoint=path))
    model, _, _ = parts(learning_rate=0.01)
    assert not model.load_state_dict(torch.load(path)["model"]).missing_keys
    fault.plain("silently wrong", "load_state_dict takes another recipe's weights, and no word")
    _, history = fit(learning_rate=0.01, resume=False)  # and whoever means it gets it
    assert history[0].learning_rate != fit(learning_rate=0.02, resume=False)[1][0].learning_rate


class Malice:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["MALICE"],)


@pytest.mark.fault(16, "a checkpoint with a malicious pickle")
def test_malicious(fault: Fault, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALICE", str(tmp_path / "ran"))
    for write in (torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))):
        write({"step": 3, "identity": {}, "history": Malice()}, tmp_path / "training.pt")
        fault.refused(s5.CheckpointError, "damaged or no training", fit)
        try:
            torch.load(tmp_path / "training.pt")
        except pickle.UnpicklingError:
            fault.plain("refused", "torch.load, since version 2.6")
        (tmp_path / "training.pt").rename(tmp_path / "model.safetensors")
        fault.refused(s5.CheckpointError, "no safetensors", lambda: s5.load_checkpoint(tmp_path / "model.safetensors"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.fault(17, "cut off at every kind of step, and called again")
@pytest.mark.parametrize(("stop", "batched"), [(1, True), (6, True), (11, True), (13, True), (25, True), (13, False)])
def test_cut_off(fault: Fault, fit: Fit, stop: int, batched: bool) -> None:
    how = {} if batched else {"recipe": "reference", "epochs": 2.5}
    model, recipe, loaders = parts(**how)
    whole = model, s5.fit(model, recipe, *loaders, progress=False)
    with pytest.raises(Cut):
        fit(stop=stop, **how)
    torch.rand(3), random.random()
    assert same(fit(**how), whole)
    fault.saw("the same bits as a training that was never cut off")


@pytest.mark.slow
@pytest.mark.fault(17, "kill -9 at ten random moments of a training")
def test_killed(fault: Fault, tmp_path: Path) -> None:
    trainee = [sys.executable, str(Path(__file__).with_name("trainee.py"))]
    draw = random.Random(4)

    def run(path: Path, kill: bool) -> str:
        with subprocess.Popen([*trainee, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            if kill:
                time.sleep(draw.uniform(0, 1.2))
                process.kill()
            return process.stdout.read()

    whole = run(tmp_path / "whole.pt", kill=False).splitlines()[-1]
    killed = [run(tmp_path / "killed.pt", kill=True) for _ in range(10)]
    last = run(tmp_path / "killed.pt", kill=False)
    went_on = [output for output in [*killed, last] if "goes on after step" in output]
    assert len(went_on) >= 3
    if last.splitlines()[-1] != whole:
        raise SilentlyWrong(fault.injected)
    fault.saw(f"the same bits; {went_on[-1].splitlines()[0]}")


@pytest.mark.fault(19, "a learning rate that makes the loss infinite")
def test_diverged(fault: Fault, fit: Fit) -> None:
    fault.refused(s5.NotFiniteError, r"At step \d+ of recipe reference.*lower the learning rate",
                  lambda: fit(recipe="reference", learning_rate=1e4))  # fmt: skip
    model = s5.Net()
    nn.init.constant_(model.fc2.bias, math.nan)
    _, tested = s5.make_loaders(s5.get_recipe("fast"), *s5.load_mnist("sample"))
    right = sum(float((model(images).argmax(1) == labels).sum()) for images, labels in tested)
    fault.plain("silently wrong", f"{right / 10:.1f} % right: the arg-max of ten NaN is 0")


@pytest.mark.fault(19, "an image that holds NaN")
def test_nan_in_an_image(fault: Fault) -> None:
    model, recipe, (loader, _) = parts()
    batches = list(loader)
    batches[3][0][7, 0, 5, 5] = math.nan
    before = [weight.clone() for weight in model.parameters()]
    optimizer = s5.make_optimizer(recipe, model.parameters())
    fault.refused(s5.NotFiniteError, "At step 4 an image holds", lambda: s5.train(model, "cpu", batches, optimizer))
    assert all(weight.isfinite().all() for weight in model.parameters())  # it stops before it spoils them
    assert not all(map(torch.equal, before, model.parameters()))
    fault.refused(s5.NotFiniteError, "At test batch 4 an image holds", lambda: s5.test(model, "cpu", batches))


@pytest.mark.fault(20, "the training cell is run twice")
def test_twice(fault: Fault, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    first = fit()
    capsys.readouterr()
    assert same(fit(), first)
    fault.saw(capsys.readouterr().out)
    assert same(fit(resume=False), first)


@pytest.mark.fault(20, "cells out of order: fit on a trained network, save another network")
def test_out_of_order(fault: Fault, fit: Fit, tmp_path: Path) -> None:
    model, history = fit()
    _, recipe, loaders = parts()
    path = tmp_path / "training.pt"
    fault.refused(s5.CheckpointError, "seed", lambda: s5.fit(model, recipe, *loaders, checkpoint=path))
    facts: Any = {"seed": 1, "device": "cpu", "images": (640, 100)}
    s5.save_run(tmp_path, model, recipe, history, **facts)
    s5.train(model, "cpu", list(loaders[0])[:1], torch.optim.SGD(model.parameters(), 0.1), F.nll_loss)
    fault.refused(s5.RunError, "another network", lambda: s5.save_run(tmp_path, model, recipe, history, **facts))


@pytest.mark.fault(20, "logits where log-probabilities are due")
def test_logits(fault: Fault) -> None:
    model, _, (loader, tested) = parts()
    model.forward = lambda images: 3 * s5.Net.forward(model, images) + 1  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    fault.refused(ValueError, "log_softmax", lambda: s5.train(model, "cpu", loader, optimizer))
    fault.refused(ValueError, "log_softmax", lambda: s5.test(model, "cpu", tested))
    images, labels = next(iter(tested))
    fault.plain("silently wrong", f"F.nll_loss gives {F.nll_loss(model(images), labels):.2f}, and no word")


@pytest.mark.fault(20, "images or labels of another kind, an empty loader")
def test_no_digits(fault: Fault) -> None:
    model, images, labels = s5.Net(), torch.zeros(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])
    for batch, sentence in (
        ((images.byte(), labels), r"uint8 \[4, 1, 28, 28\]"),
        ((images.squeeze(1), labels), r"\[4, 28, 28\]"),
        ((torch.zeros(4, 3, 32, 32), labels), "3, 32, 32"),
        ((images, labels.int()), "int32"),
        ((images, F.one_hot(labels)), "do not belong to 4 images"),
        ((images, torch.tensor([3, 1, 10, 1])), "A label is 10"),
        ((images, torch.tensor([3, 1, -100, 1])), "A label is -100"),
    ):
        fault.refused(ValueError, sentence, lambda batch=batch: s5.test(model, "cpu", [batch]))
    fault.refused(ValueError, "loader is empty", lambda: s5.test(model, "cpu", []))
    loss = F.nll_loss(model(images), torch.tensor([3, 1, -100, 1]))
    fault.plain("silently wrong", f"F.nll_loss leaves out the label -100 and gives {loss:.2f}")


@pytest.mark.fault(17, "cut off, with loaders of torch that draw by themselves")
@pytest.mark.parametrize("kind", ["sampler", "test"])
def test_loaders_that_draw(fault: Fault, tmp_path: Path, kind: str) -> None:
    data = torch.utils.data.TensorDataset(torch.rand(60, 1, 28, 28), torch.arange(60) % 10)

    def trained(stop: int, checkpoint: Path | None) -> tuple[nn.Module, s5.History]:
        s5.seed_everything(1)
        own, others = (torch.Generator().manual_seed(seed) for seed in (5, 6))
        order = torch.utils.data.RandomSampler(data, generator=own)
        loader: Any = torch.utils.data.DataLoader(data, 10, sampler=order)
        tested = torch.utils.data.DataLoader(data, 30, shuffle=kind == "test", generator=others)
        recipe = s5.get_recipe("reference", "sample", epochs=3, batch_size=10)
        model = s5.make_model(recipe)
        if stop:
            loader = Failing(loader, stop)
        return model, s5.fit(model, recipe, loader, tested, progress=False, checkpoint=checkpoint)

    whole, path = trained(0, None), tmp_path / "training.pt"
    with pytest.raises(Cut):
        trained(9, path)
    again = trained(0, path)
    if not same(again, whole):
        raise SilentlyWrong(fault.injected)
    fault.saw("the same bits as a training that was never cut off")


@pytest.mark.fault(20, "the same call again after an interrupt, with the network half trained")
def test_half_trained(fault: Fault, tmp_path: Path) -> None:
    model, recipe, (loader, tested) = parts()
    path = tmp_path / "training.pt"
    for stop in (3, 17):
        with pytest.raises(Cut):
            s5.fit(model, recipe, Failing(loader, stop), tested, progress=False, checkpoint=path, resume=stop == 3)
        fault.refused(
            s5.CheckpointError,
            "make network and loaders anew",
            lambda: s5.fit(model, recipe, loader, tested, checkpoint=path),
        )


@pytest.mark.fault(13, "the folder of the checkpoint cannot be written to")
def test_no_place_for_a_checkpoint(fault: Fault, tmp_path: Path) -> None:
    model, recipe, loaders = parts()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "training.pt", tmp_path):
        fault.refused(
            OSError,
            "a file is in its place|it is a folder",
            lambda p=path: s5.fit(model, recipe, *loaders, checkpoint=p),
        )


def test_a_recipe_of_numpy_numbers_goes_on(fit: Fit) -> None:
    import numpy as np

    how: Any = {"learning_rate": np.float32(0.02), "batch_size": np.int64(64), "epochs": np.float64(0.5)}
    assert same(fit(**how), fit(**how))


def test_a_softmax_over_the_batch_is_refused_at_any_size() -> None:
    for n in (10, 20):
        images, labels = torch.rand(n, 1, 28, 28), torch.arange(n) % 10

        class Over(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return torch.randn(len(x), 10).log_softmax(dim=0)

        with pytest.raises(ValueError, match="a digit's probabilities sum to"):
            s5.test(Over(), "cpu", [(images, labels)])


def test_answers_that_are_not_ten_a_digit_are_refused() -> None:
    batch = [(torch.rand(4, 1, 28, 28), torch.tensor([1, 2, 7, 9]))]
    for model in (nn.Sequential(nn.Flatten(), nn.Linear(784, 5), nn.LogSoftmax(1)), nn.Flatten()):
        with pytest.raises(ValueError, match=r"must give \[N, 10\]"):
            s5.test(model, "cpu", batch)


def test_a_loader_that_promises_more_than_it_gives(tmp_path: Path) -> None:
    class Short(list):
        def __len__(self) -> int:
            return super().__len__() + 3

    model, recipe, (loader, tested) = parts()
    with pytest.raises(ValueError, match="3 batches fewer than its len"):
        s5.fit(model, recipe, Short(loader), tested, progress=False)


def test_digits_that_somebody_changes_are_his_own() -> None:
    train_set, _ = s5.load_mnist("sample")
    train_set.targets[:] = 0
    assert s5.load_mnist("sample")[0].targets.sum() > 0
