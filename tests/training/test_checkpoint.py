import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from table import Fault

import mnist_s5 as s5
from mnist_s5.metrics import MetricsError, read_metrics, source_sha256
from mnist_s5.training.checkpoint import CheckpointError, save_checkpoint


def test_returns_the_same_network_and_facts(net: s5.Net, tmp_path: Path) -> None:
    save_checkpoint(net, tmp_path / "a" / "model.safetensors", recipe="fast", test_accuracy=12.5)
    again, about = s5.load_checkpoint(tmp_path / "a" / "model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert about == {"recipe": "fast", "test_accuracy": 12.5}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("place", [3, 200, -5000])
def test_a_flipped_byte_is_refused(net: s5.Net, tmp_path: Path, place: int) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(net, path)
    blob = bytearray(path.read_bytes())
    blob[place] ^= 0x10
    path.write_bytes(blob)
    with pytest.raises(CheckpointError, match=r"corrupted|another network"):
        s5.load_checkpoint(path)


@pytest.mark.parametrize("size", [0, 7, 1000, 2_000_000])
def test_a_truncated_file_is_refused(net: s5.Net, tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(net, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="corrupted"):
        s5.load_checkpoint(path)


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(8, 1, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="another network"):
        s5.load_checkpoint(tmp_path / "other.safetensors")


def test_weights_that_are_not_finite_are_not_saved(net: s5.Net, tmp_path: Path) -> None:
    net.fc2.bias.data[3] = torch.nan
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(net, tmp_path / "nan.safetensors")
    assert not (tmp_path / "nan.safetensors").exists()


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Train first"):
        s5.load_checkpoint(tmp_path / "none.safetensors")


def test_the_pretrained_weights_are_the_recorded_best_trained_a_little_further() -> None:
    _, about = s5.load_checkpoint()
    history, metrics = s5.recorded("best-mnist-1")
    shipped = json.loads((Path(__file__).parents[2] / "benchmarks" / "results" / "temperature.json").read_text())
    assert about["recipe"] == metrics["recipe"] == "best"
    assert about["seed"] == metrics["seed"] == 1
    assert about["styles"] == {"epochs": 0.3, "learning_rate": 0.003, "batch_size": 128, "init": "torch"}
    assert about["temperature"] == shipped["temperature"]
    assert about["test_accuracy"] == shipped["test_accuracy"]
    assert shipped["test_accuracy_of_best"] == history[-1].test_accuracy
    assert shipped["styles"] > 99 > shipped["styles_of_best"]


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MNIST_S5_DATA"), reason="MNIST_S5_DATA names no folder with full MNIST")
def test_the_pretrained_weights_score_what_they_say() -> None:
    model, about = s5.load_checkpoint()
    score = s5.test(model, "cpu", s5.get_testloader(source="mnist")[1])
    assert score.accuracy == pytest.approx(
        about["test_accuracy"], abs=0.011
    )  # another machine may classify one digit differently


def test_metrics_are_added_and_never_lost(tmp_path: Path) -> None:
    s5.write_metrics(tmp_path, accuracy=1)
    s5.write_metrics(tmp_path, loss=2)
    metrics = read_metrics(tmp_path)
    assert (metrics["accuracy"], metrics["loss"], metrics["threads"]) == (1, 2, torch.get_num_threads())
    assert set(metrics["versions"]) == {"python", "torch", "torchvision", "mnist-s5"}
    assert metrics["source_sha256"] == source_sha256()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and platform.machine() == "x86_64":
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        found = {name.strip(): value.strip() for name, _, value in lines}
        assert {name: found[name] for name in ("cpu family", "model", "model name")}.items() <= metrics[
            "processor"
        ].items()
        assert bool(metrics["processor"]["bfloat16"]) == (s5.get_recipe("fast").dtype("cpu") == torch.bfloat16)
    (tmp_path / "metrics.json").write_text("{")
    for call in (lambda: s5.write_metrics(tmp_path, accuracy=1), lambda: read_metrics(tmp_path)):
        with pytest.raises(MetricsError, match=r"is corrupted\. Move or delete it"):
            call()
    assert (tmp_path / "metrics.json").read_text() == "{"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_peak_memory_of_a_process_is_its_own(tmp_path: Path) -> None:
    larger = b"x" * 1_500_000_000  # a child's getrusage would include this
    code = f"import torch, mnist_s5; mnist_s5.write_metrics({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert 100 < read_metrics(tmp_path)["peak_memory_mb"] < len(larger) / 1e6


def test_numpys_and_torchs_numbers_are_saved(tmp_path: Path, net: s5.Net) -> None:
    values = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": torch.tensor([1.5]),
        "d": np.arange(2),
        "e": [np.bool_(True)],
    }
    plain = {"a": 0.5, "b": 3, "c": [1.5], "d": [0, 1], "e": [True]}
    s5.write_metrics(tmp_path, **values)
    assert {name: read_metrics(tmp_path)[name] for name in plain} == plain
    save_checkpoint(net, tmp_path / "model.safetensors", **values)
    assert s5.load_checkpoint(tmp_path)[1] == plain  # the run's folder


@pytest.mark.fault(27, "a metric that is NaN or infinite")
@pytest.mark.parametrize("value", [math.nan, [1, {"x": math.inf}], np.float32("nan"), torch.zeros(5000).log()])
def test_metrics_that_json_does_not_have_are_refused(fault: Fault, tmp_path: Path, net: s5.Net, value: Any) -> None:
    s5.write_metrics(tmp_path, accuracy=1)
    for save in (
        lambda: s5.write_metrics(tmp_path, name="Fernanda", loss=value),
        lambda: save_checkpoint(net, tmp_path / "x", name="Fernanda", loss=value),
    ):
        fault.refused(ValueError, r"^loss cannot be saved: JSON has no NaN and no infinity. Save None", save)
    assert read_metrics(tmp_path)["accuracy"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    with pytest.raises(TypeError, match="cannot be saved as JSON"):
        s5.write_metrics(tmp_path, net=net)
    fault.plain("silently wrong", f"json.dumps writes {json.dumps(math.nan)}, which is not JSON")


def test_weights_without_a_checksum_are_not_called_corrupted(tmp_path: Path, net: s5.Net) -> None:
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"has no checksum. Save the weights with save_checkpoint"):
        s5.load_checkpoint(tmp_path)


def test_a_buffer_may_be_infinite_but_not_nan(tmp_path: Path, net: s5.Net) -> None:
    net.register_buffer("mask", torch.tensor([0, -math.inf]))
    save_checkpoint(net, tmp_path / "model.safetensors")
    net.register_buffer("mask", torch.tensor([0, math.nan]))
    with pytest.raises(CheckpointError, match="The weights are not finite"):
        save_checkpoint(net, tmp_path / "model.safetensors")
