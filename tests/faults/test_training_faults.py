"""Faults of a run: it ends with the same weights, bit for bit, or an error says why not."""

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
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interrupt import Cut, Run, cut, few_digits, same
from table import Fault, SilentlyWrong
from torch import Tensor

import mnist_s5 as s5
from mnist_s5 import files
from mnist_s5.training.checkpoint import CheckpointError
from mnist_s5.training.resume import RunFolder


def train(folder: Path | None) -> Run:
    """Train for two and a half short epochs."""
    recipe = s5.get_recipe("fast", "sample", epochs=2.5, batch_size=16)
    return s5.fit(recipe, *few_digits(), device="cpu", folder=folder, progress=False)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[[], Run]:
    return partial(train, tmp_path)


@pytest.fixture(scope="module")
def whole() -> Run:
    """The same run, uninterrupted and without a folder."""
    return train(None)


def resume_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.pt"))


@pytest.mark.fault(13, "the disk is full while a resume file is written")
def test_full_disk(fault: Fault, fit: Any, whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sync, calls = os.fsync, iter(range(100))

    def full(file: int) -> None:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(files.os, "fsync", full)
    fault.refused(OSError, "The disk or your quota is full", fit)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000001.pt", "epoch-000002.pt"]
    assert same(fit(), whole)


@pytest.mark.fault(13, "kill -9 while a file is replaced")
@pytest.mark.parametrize("file", [0, *(pytest.param(file, marks=pytest.mark.slow) for file in range(1, 5))])
def test_killed_while_writing(
    fault: Fault, fit: Any, whole: Run, file: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of each file remains under its temporary name: three resume files, the weights, and metrics.json."""
    replace, calls = os.replace, iter(range(100))

    def killed(part: Path, path: Path) -> None:
        if next(calls) == file:
            part.with_name(f"{part.name}9").write_bytes(part.read_bytes()[:1000])
            raise Cut
        replace(part, path)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", killed)
        with pytest.raises(Cut):
            fit()
    assert same(fit(), whole)
    assert (tmp_path / "model.safetensors").exists()
    fault.saw("the same weights: it resumes from the epoch before")


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


@pytest.mark.fault(14, "one byte of a resume file is flipped; it is truncated; it is empty")
def test_corrupted(fault: Fault, fit: Any, whole: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cut(20):
        fit()
    before, path = resume_files(tmp_path)
    good = path.read_bytes()
    folder = RunFolder(tmp_path, {}, {}, dict.fromkeys(("model", "optimizer", "scheduler")))
    state = folder._read(path)
    assert state is not None
    places = range(7, len(good), len(good) // 23)
    damages = [good[:0], good[:1000], good[:-1], *(flipped(good, place) for place in places)]
    directory = good.rindex(b"PK\1\2") + 10  # the compression method of a file in the archive
    damages += [good[:directory] + bytes([good[directory] | 8]) + good[directory + 1 :]]
    for blob in damages:
        path.write_bytes(blob)
        found = folder._read(path)
        if found is not None and not equal(found, state):
            raise SilentlyWrong(fault.injected)
    path.write_bytes(damages[5])
    capsys.readouterr()
    assert same(fit(), whole)
    said = capsys.readouterr()
    assert said.err.endswith("\nNOTICE: skipping epoch-000002.pt, which is corrupted or unreadable\n")
    assert said.out.startswith("resumed after epoch 1, from epoch-000001.pt\n")
    fault.saw(said.err.splitlines()[-1])
    for file in (before, path):
        file.write_bytes(good[:1000])
    for file in resume_files(tmp_path)[2:]:
        file.unlink()
    fault.refused(CheckpointError, "All resume files in .* are corrupted", fit)
    torch.save({"weights": torch.ones(1000)}, path)
    blob = bytearray(path.read_bytes())
    blob[blob.index(torch.ones(1).numpy().tobytes() * 9) + 2] ^= 1
    path.write_bytes(blob)
    with contextlib.suppress(Exception):
        if not torch.equal(torch.load(path)["weights"], torch.ones(1000)):
            fault.plain("silently wrong", "torch.load returns other weights")


class Malice:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["MALICE"],)


@pytest.mark.fault(16, "a resume file or weights with a malicious pickle")
def test_malicious(fault: Fault, fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALICE", str(tmp_path / "ran"))
    path = tmp_path / "epoch-000001.pt"
    for write in (torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))):
        write({"model": 3, "facts": {}, "history": Malice()}, path)
        fault.refused(CheckpointError, "All resume files in .* are corrupted", fit)
        try:
            torch.load(path)
        except pickle.UnpicklingError:
            fault.plain("clear error", "torch.load, since version 2.6")
        path.rename(tmp_path / "model.safetensors")
        fault.refused(CheckpointError, "not a safetensors", lambda: s5.load_checkpoint(tmp_path / "model.safetensors"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.fault(17, "kill -9 at ten random moments of a run of three epochs")
def test_killed(fault: Fault, tmp_path: Path) -> None:
    trainee = [sys.executable, str(Path(__file__).with_name("trainee.py"))]

    def run(folder: Path, seconds: float = math.inf) -> tuple[str, float]:
        """Return what a run prints until it ends or is killed, and how long it takes."""
        with subprocess.Popen([*trainee, str(folder)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            start = time.monotonic()
            if seconds < math.inf:
                time.sleep(seconds)
                process.kill()
            return process.stdout.read(), time.monotonic() - start

    def killed(number: int, seconds: float) -> list[str]:
        """Return what the run prints that is started again after it was killed."""
        run(tmp_path / str(number), seconds)
        saved = resume_files(tmp_path / str(number))  # an epoch prints its line just before it is saved
        printed, _ = run(tmp_path / str(number))
        if printed.splitlines()[-1] != whole.splitlines()[-1]:
            raise SilentlyWrong(fault.injected)
        assert not saved or "resumed after epoch" in printed  # the intact file is used
        return printed.splitlines()

    whole, duration = run(tmp_path / "whole")
    sample = random.Random(4)
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(killed, range(10), [sample.uniform(0, duration) for _ in range(10)]))
    resumed = [line for lines in said for line in lines if line.startswith("resumed")]
    assert len(resumed) >= 3
    fault.saw(f"the same weights, ten times; {len(resumed)} of them {resumed[-1]}")


@pytest.mark.fault(19, "an image that contains NaN")
def test_nan_in_an_image(fault: Fault) -> None:
    model, recipe = s5.Net(), s5.get_recipe("fast", "sample", batch_size=16)
    batches = list(s5.make_loaders(recipe, *few_digits())[0])
    batches[3][0][7, 0, 5, 5] = math.nan
    before = [weight.clone() for weight in model.parameters()]
    optimizer = s5.make_optimizer(recipe, model.parameters())
    said = "Step 4: the images contain NaN"
    fault.refused(FloatingPointError, said, lambda: s5.train(model, "cpu", batches, optimizer))
    assert all(weight.isfinite().all() for weight in model.parameters())  # it stops before it changes them
    assert not all(map(torch.equal, before, model.parameters()))
    said = "Test batch 4: the images contain NaN"
    fault.refused(FloatingPointError, said, lambda: s5.test(model, "cpu", batches))


@pytest.mark.fault(20, "cells out of order: other cells sampled, trained, and saved in between")
def test_out_of_order(fault: Fault, fit: Any, whole: Run, tmp_path: Path) -> None:
    s5.seed_everything(9)
    torch.rand(100), np.random.rand(100), random.random()  # noqa: NPY002
    model, _ = fit()
    batches = list(s5.make_loaders(s5.get_recipe("fast", "sample"), *few_digits())[0])
    s5.train(model, "cpu", batches[:1], torch.optim.SGD(model.parameters(), 0.1))  # after the run was saved
    assert same(fit(), whole)
    saved, about = s5.load_checkpoint(tmp_path / "model.safetensors")
    if not all(map(torch.equal, saved.parameters(), whole[0].parameters())) or about["batch_size"] != 16:
        raise SilentlyWrong(fault.injected)
    fault.saw("the same weights, and the file holds those of the run")


@pytest.mark.fault(20, "logits instead of log-probabilities")
def test_logits(fault: Fault) -> None:
    model, recipe = s5.Net(), s5.get_recipe("fast", "sample")
    loader, tested = s5.make_loaders(recipe, *few_digits())
    model.forward = lambda images: 3 * s5.Net.forward(model, images) + 1  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    fault.refused(ValueError, "log_softmax", lambda: s5.train(model, "cpu", loader, optimizer))
    fault.refused(ValueError, "log_softmax", lambda: s5.test(model, "cpu", tested))
    images, labels = next(iter(tested))
    fault.plain("silently wrong", f"F.nll_loss returns {F.nll_loss(model(images), labels):.2f}")
