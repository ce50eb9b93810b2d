import subprocess
import sys
from pathlib import Path

import pytest
import torch
from table import Fault

import mnist_s5 as s5
from mnist_s5.data import loaders
from mnist_s5.data.loaders import DeviceLoader


def test_seed_everything_decides_the_order() -> None:
    _, loader = s5.get_trainloader(32, source="sample")

    def first(seed: int, epoch: int = 0) -> torch.Tensor:
        torch.rand(3)  # independent of earlier random numbers
        s5.seed_everything(seed, epoch)
        return next(iter(loader))[1]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert not torch.equal(first(1), first(1, epoch=1))


def test_a_device_loaders_batches(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
    loader = DeviceLoader(sample[1], 300)
    batches = list(loader)
    assert [tuple(images.shape) for images, _ in batches] == [(300, 1, 28, 28)] * 3 + [(100, 1, 28, 28)]
    assert len(loader) == 4
    assert torch.equal(torch.cat([labels for _, labels in batches]), sample[1].targets)
    assert torch.equal(batches[0][0][5], sample[1][5][0])  # bit for bit what the transforms return
    assert torch.equal(loader.images[:, 0], sample[1].data)  # a batch is a copy, not a view


def test_a_device_loader_repeats_for_a_seed(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
    recipe = s5.get_recipe("fast", batch_size=1000)
    loader, _ = s5.make_loaders(recipe, *sample)

    def two_epochs(seed: int) -> list[torch.Tensor]:
        s5.seed_everything(seed)
        return [part for _ in range(2) for batch in loader for part in batch]

    first = two_epochs(1)
    assert all(torch.equal(a, b) for a, b in zip(first, two_epochs(1), strict=True))
    assert not torch.equal(first[1], two_epochs(2)[1])
    assert not torch.equal(first[1], first[9])  # another order in the second epoch
    assert torch.equal(torch.cat(first[1:8:2]).sort().values, sample[0].targets.sort().values)  # each digit once


def test_published_calls_return_dataset_and_loader() -> None:
    train_set, train_loader = s5.get_trainloader(source="sample")
    test_set, test_loader = s5.get_testloader(source="sample")
    assert (train_loader.dataset, test_loader.dataset) == (train_set, test_set)
    assert (train_loader.batch_size, len(test_loader)) == (512, 2)
    assert torch.equal(torch.cat([labels for _, labels in test_loader]), test_set.targets)


@pytest.mark.parametrize(
    ("platform", "method", "device", "workers"),
    [
        ("linux", "fork", "cpu", True),
        ("linux", "fork", "cuda", True),
        ("linux", "forkserver", "cpu", False),
        ("darwin", "fork", "mps", False),
        ("darwin", "spawn", "cpu", False),
        ("win32", "spawn", "cuda", False),
    ],
)
def test_workers_and_pinning(
    monkeypatch: pytest.MonkeyPatch, platform: str, method: str, device: str, workers: bool
) -> None:
    monkeypatch.setattr(loaders.multiprocessing, "get_all_start_methods", lambda: [method])
    monkeypatch.setattr(loaders.multiprocessing, "get_start_method", lambda allow_none: None)
    monkeypatch.setattr(loaders.sys, "platform", platform)
    monkeypatch.setattr(loaders.os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    _, loader = s5.get_testloader(source="sample", device=device)
    assert loader.num_workers == (2 if workers else 0)
    assert loader.pin_memory == (device == "cuda")


def test_one_core_gets_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders.multiprocessing, "get_start_method", lambda allow_none: "fork")
    monkeypatch.setattr(loaders.sys, "platform", "linux")
    monkeypatch.setattr(loaders.os, "sched_getaffinity", lambda process: {5}, raising=False)
    assert s5.get_testloader(source="sample")[1].num_workers == 1


SCRIPT = """
import multiprocessing
multiprocessing.set_start_method({method!r})
{loader}
print(next(iter(loader))[0].shape)
"""
OURS = """
import mnist_s5 as s5
from mnist_s5.data import digits
_, loader = s5.get_trainloader(8, source="sample", transform=lambda image: digits.train_transforms()(image))
"""
PLAIN = """
import torch
loader = torch.utils.data.DataLoader([(torch.ones(1, 28, 28), 1)] * 8, 8, num_workers=2)
"""


# The defaults of Python 3.14, and of Windows and macOS.
@pytest.mark.fault(26, "Python 3.14's start method: a script without a main guard, and a lambda as transform")
@pytest.mark.parametrize("method", ["forkserver", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_script_without_a_main_guard_works_with_every_start_method(fault: Fault, tmp_path: Path, method: str) -> None:
    said = []
    for loader in (OURS, PLAIN)[: 1 + fault.shown]:
        (tmp_path / "script.py").write_text(SCRIPT.format(method=method, loader=loader))
        done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
        said.append((done.stdout or done.stderr).strip().splitlines()[-1])
    works = "torch.Size([8, 1, 28, 28])"
    assert said[0] == works
    fault.saw("the batches, without worker processes")
    if fault.shown:
        fault.plain("correct" if said[1] == works else "unclear error", said[1])
