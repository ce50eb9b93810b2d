import platform
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

import mnist_s5 as s5
from mnist_s5 import device


def test_one_seed_for_all() -> None:
    def draws() -> tuple[float, float, float]:
        s5.seed_everything(4)
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    assert draws() == draws()


def test_device_prefers_cuda_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert s5.get_device().type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert s5.get_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert s5.get_device().type == "cuda"
    assert s5.get_device("cpu") == s5.get_device(torch.device("cpu")) == torch.device("cpu")
    for name in ("cpu:0", "mps:0", "cuda:1"):
        assert s5.get_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:1", "cpu:x", "cpu:", "", "tpu"])
def test_an_unknown_device_names_the_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"Choose from auto, .*cpu"):
        s5.get_device(name)


def test_a_run_on_the_cpu_initializes_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def initialize(*_: object) -> None:
        raise AssertionError("CUDA is initialized")

    monkeypatch.setattr(torch.cuda, "_lazy_init", initialize)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    recipe = s5.get_recipe("fast", "sample", epochs=0.05)
    s5.fit(recipe, *s5.load_mnist("sample"), device="cpu", progress=False)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_kept() -> None:
    script = """import resource, sys, torch
from mnist_s5.device import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt  # page faults
for _ in range(20):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    kept, default = (
        int(subprocess.run([sys.executable, "-c", script, how], capture_output=True, check=True).stdout)
        for how in ("kept", "default")
    )
    assert kept < default / 2


def test_other_systems_keep_their_memory_as_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: object())  # without mallopt, such as musl
    device.keep_freed_memory()
    monkeypatch.setattr(device.sys, "platform", "win32")
    device.keep_freed_memory()
