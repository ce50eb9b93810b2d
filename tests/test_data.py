import gzip
import hashlib
import http.server
import os
import struct
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torchvision import datasets, transforms

import mnist_s5 as s5
from mnist_s5 import data, raw

REAL = pytest.mark.skipif(not os.environ.get("MNIST_S5_DATA"), reason="MNIST_S5_DATA names no folder with full MNIST")


def idx_files(count: int) -> dict[str, bytes]:
    """Four small raw files in MNIST's format, with made-up pixels."""
    files = {}
    for part, n in (("train", count), ("t10k", count // 2)):
        pixels = bytes(range(256)) * (n * 784 // 256 + 1)
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, n, 28, 28) + pixels[: n * 784]
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, n) + bytes(i % 10 for i in range(n))
    return files


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Four small files take the place of the published ones; the data folder is empty and no mirror is there."""
    files = idx_files(20)
    sums = {}
    for name, blob in files.items():
        packed = gzip.compress(blob, mtime=0)
        sums[name] = (hashlib.sha256(blob).hexdigest(), hashlib.sha256(packed).hexdigest())
    monkeypatch.setattr(raw, "SHA256", sums)
    monkeypatch.setattr(raw, "MIRRORS", ())
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "data"))
    data._mnist.cache_clear()
    yield files
    data._mnist.cache_clear()


def serve(folder: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def mirror(tiny: dict[str, bytes], tmp_path: Path) -> Iterator[str]:
    """A mirror on this machine that has the small files."""
    (tmp_path / "mirror").mkdir()
    for name, blob in tiny.items():
        (tmp_path / "mirror" / f"{name}.gz").write_bytes(gzip.compress(blob, mtime=0))
    yield from serve(tmp_path / "mirror")


@pytest.fixture
def wrong_mirror(tmp_path: Path) -> Iterator[str]:
    """A mirror that answers everything with something else."""
    (tmp_path / "wrong").mkdir()
    for name in raw.SHA256:
        (tmp_path / "wrong" / f"{name}.gz").write_text("<html>Please log in</html>")
    yield from serve(tmp_path / "wrong")


def test_sample_is_the_same_400_and_100_of_each_class(sample: tuple[s5.Digits, s5.Digits]) -> None:
    train, test = sample
    assert (len(train), len(test), train.source) == (4000, 1000, "sample")
    assert train.data.dtype == torch.uint8
    assert train.targets.dtype == torch.int64
    assert train.targets.bincount().tolist() == [400] * 10
    assert test.targets.bincount().tolist() == [100] * 10
    assert not {image.numpy().tobytes() for image in train.data} & {image.numpy().tobytes() for image in test.data}
    assert hashlib.sha256(test.data.numpy().tobytes()).hexdigest()[:16] == "c472d02b59d863f0"


def test_sample_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    s5.load_mnist("sample")
    assert "embedded sample" in capsys.readouterr().err


@REAL
def test_full_mnist_is_what_torchvision_reads() -> None:
    for ours, train in zip(s5.load_mnist("mnist"), (True, False)):
        theirs = datasets.MNIST(os.environ["MNIST_S5_DATA"], train=train)
        assert torch.equal(ours.data, theirs.data)
        assert torch.equal(ours.targets, theirs.targets)
        assert ours.source == "mnist"


@REAL
def test_the_sample_holds_no_test_digit(sample: tuple[s5.Digits, s5.Digits]) -> None:
    known = {image.numpy().tobytes() for image in s5.load_mnist("mnist")[1].data}
    assert not any(image.numpy().tobytes() in known for part in sample for image in part.data)


def test_downloads_verifies_and_keeps(tiny: dict[str, bytes], mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "MIRRORS", (mirror,))
    train, test = s5.load_mnist("mnist")
    assert (len(train), len(test)) == (20, 10)
    assert train.targets.tolist() == [i % 10 for i in range(20)]
    assert train.data.flatten()[:256].tolist() == list(range(256))
    monkeypatch.setattr(raw, "MIRRORS", ())  # from here on there is no network
    data._mnist.cache_clear()
    assert torch.equal(s5.load_mnist("auto")[0].data, train.data)


def test_goes_on_to_the_next_mirror(
    tiny: dict[str, bytes], mirror: str, wrong_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "MIRRORS", ("http://127.0.0.1:9/", wrong_mirror, mirror))
    assert s5.load_mnist("auto")[0].source == "mnist"


@pytest.mark.parametrize("damage", [b"", b"<html>", None])
def test_a_damaged_raw_file_is_rebuilt_from_the_gz(
    tiny: dict[str, bytes], mirror: str, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    monkeypatch.setattr(raw, "MIRRORS", (mirror,))
    good = s5.load_mnist("mnist")[0].data
    monkeypatch.setattr(raw, "MIRRORS", ())
    path = s5.data_folder() / "MNIST" / "raw" / "train-images-idx3-ubyte"
    blob = bytearray(path.read_bytes())
    blob[5000] ^= 1
    path.write_bytes(blob if damage is None else damage)
    data._mnist.cache_clear()
    assert torch.equal(s5.load_mnist("mnist")[0].data, good)
    assert path.read_bytes() == tiny["train-images-idx3-ubyte"]


def test_nothing_to_be_had_is_one_sentence_with_three_ways_on(
    tiny: dict[str, bytes], wrong_mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(raw, "MIRRORS", (wrong_mirror,))
    with pytest.raises(s5.DataError) as error:
        s5.load_mnist("mnist")
    for part in (wrong_mirror, "MNIST_S5_DATA", "another network", "source='sample'"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    train, _ = s5.load_mnist("auto")
    assert train.source == "sample"
    assert "NOTICE: embedded sample" in capsys.readouterr().err


def test_an_unknown_source_names_the_known() -> None:
    with pytest.raises(ValueError, match="auto, mnist, sample"):
        s5.load_mnist("emnist")


def test_the_reference_pipelines(sample: tuple[s5.Digits, s5.Digits]) -> None:
    train, test = sample
    steps = train.transform.transforms
    assert [type(step).__name__ for step in steps] == [
        "RandomApply",
        "Resize",
        "RandomRotation",
        "ToTensor",
        "Normalize",
    ]
    assert (steps[0].p, steps[0].transforms[0].size, steps[1].size) == (0.1, (22, 22), (28, 28))
    assert (steps[2].degrees, steps[2].fill) == ([-15.0, 15.0], 0)
    image, label = test[5]
    torch.testing.assert_close(image[0], (test.data[5] / 255 - 0.1307) / 0.3081)
    assert label == 0


def test_flipping_is_off_unless_asked_for() -> None:
    flips = [
        step for step in s5.train_transforms(flip=0.5).transforms if isinstance(step, transforms.RandomHorizontalFlip)
    ]
    assert [flip.p for flip in flips] == [0.5]
    assert not any(isinstance(step, transforms.RandomHorizontalFlip) for step in s5.train_transforms().transforms)


def test_loaders_repeat_for_a_seed() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        return next(iter(s5.get_trainloader(32, source="sample", seed=seed)[1]))[1]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_published_calls_give_dataset_and_loader() -> None:
    train_set, train_loader = s5.get_trainloader(source="sample")
    test_set, test_loader = s5.get_testloader(source="sample")
    assert (train_loader.dataset, test_loader.dataset) == (train_set, test_set)
    assert (train_loader.batch_size, len(test_loader)) == (512, 2)
    assert torch.equal(torch.cat([labels for _, labels in test_loader]), test_set.targets)


@pytest.mark.parametrize(
    ("platform", "device", "workers"),
    [("linux", "cpu", True), ("linux", "mps", False), ("win32", "cuda", False), ("darwin", "cpu", False)],
)
def test_workers_and_pinning(monkeypatch: pytest.MonkeyPatch, platform: str, device: str, workers: bool) -> None:
    monkeypatch.setattr(data.sys, "platform", platform)
    _, loader = s5.get_testloader(source="sample", device=device)
    assert bool(loader.num_workers) == workers
    assert loader.pin_memory == (device == "cuda")
