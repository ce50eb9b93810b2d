import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import mnist_s5 as s5
from mnist_s5 import data, raw


@pytest.fixture(scope="session")
def sample() -> tuple[s5.Digits, s5.Digits]:
    return s5.load_mnist("sample")


@pytest.fixture
def few(sample: tuple[s5.Digits, s5.Digits]) -> DataLoader:
    """Ten test digits, one a class, in batches of 4, 4 and 2."""
    digits = sample[1]
    picked = range(0, 1000, 100)
    images = torch.stack([digits[i][0] for i in picked])
    return DataLoader(TensorDataset(images, digits.targets[list(picked)]), batch_size=4)


@pytest.fixture
def net() -> s5.Net:
    s5.seed_everything(3)
    return s5.Net()


def idx_files(count: int) -> dict[str, bytes]:
    """Four small raw files in MNIST's format, with made-up pixels."""
    files = {}
    for part, n in (("train", count), ("t10k", count // 2)):
        pixels = bytes(range(256)) * (n * 784 // 256 + 1)
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, n, 28, 28) + pixels[: n * 784]
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, n) + bytes(i % 10 for i in range(n))
    return files


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """Called, it makes the course forget the digits that it has read, as in a new session."""

    def clear() -> None:
        data._mnist.cache_clear()
        data._why_not.cache_clear()

    clear()
    yield clear
    clear()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forget: Callable[[], None]) -> dict[str, bytes]:
    """Four small files take the place of the published ones; the data folder is empty and no mirror is there."""
    files = idx_files(20)
    sums = {}
    for name, blob in files.items():
        packed = gzip.compress(blob, mtime=0)
        sums[name] = (hashlib.sha256(blob).hexdigest(), hashlib.sha256(packed).hexdigest())
    monkeypatch.setattr(raw, "SHA256", sums)
    monkeypatch.setattr(raw, "MIRRORS", ())
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "data"))
    return files


def serve(folder: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
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
