import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

import mnist_s5 as s5
from mnist_s5 import data, raw


def idx_files(count: int) -> dict[str, bytes]:
    """Four small raw files in MNIST's format, with made-up pixels."""
    files = {}
    for part, n in (("train", count), ("t10k", count // 2)):
        pixels = bytes(range(256)) * (n * 784 // 256 + 1)
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, n, 28, 28) + pixels[: n * 784]
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, n) + bytes(i % 10 for i in range(n))
    return files


def forget() -> None:
    """As in a new session."""
    data._mnist.cache_clear()
    data._why_not.cache_clear()


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
    forget()
    yield files
    forget()


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


def test_downloads_verifies_and_keeps(tiny: dict[str, bytes], mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "MIRRORS", (mirror,))
    train, test = s5.load_mnist("mnist")
    assert (len(train), len(test)) == (20, 10)
    assert train.targets.tolist() == [i % 10 for i in range(20)]
    assert train.data.flatten()[:256].tolist() == list(range(256))
    monkeypatch.setattr(raw, "MIRRORS", ())  # from here on there is no network
    forget()
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
    forget()
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


def test_a_session_has_one_answer(tiny: dict[str, bytes], mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert s5.load_mnist("auto")[0].source == "sample"
    monkeypatch.setattr(raw, "MIRRORS", (mirror,))  # the network is back
    assert s5.load_mnist("auto")[1].source == "sample"
    forget()
    assert s5.load_mnist("auto")[1].source == "mnist"


def test_a_damaged_file_is_called_damaged(tiny: dict[str, bytes]) -> None:
    folder = s5.data_folder() / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"nothing")
    with pytest.raises(s5.DataError, match="train-images-idx3-ubyte is damaged"):
        s5.load_mnist("mnist")
