"""Faults of files, folders, and networks: either the digits are correct, or an error says why not."""

import errno
import gzip
import hashlib
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from table import Fault, SilentlyWrong

import mnist_s5 as s5
from mnist_s5.data import download
from mnist_s5.data.download import DataError, data_folder

Tiny = dict[str, bytes]
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture
def cached(tiny: Tiny) -> Path:
    """Return the folder of a data folder's intact raw files. No network is available."""
    folder = data_folder() / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, blob in tiny.items():
        (folder / name).write_bytes(blob)
    return folder


def good(tiny: Tiny) -> None:
    train, _ = s5.load_mnist("mnist")
    assert train.data.numpy().tobytes() == tiny[IMAGES][16:]
    assert bytes(train.targets.tolist()) == tiny[LABELS][8:]


def plain(fault: Fault, folder: Path, tiny: Tiny) -> None:
    """Record what torchvision.datasets.MNIST does with the same folder."""
    (folder / LABELS.replace("train", "t10k")).touch()
    try:
        digits = torchvision.datasets.MNIST(str(folder.parents[1]), train=True)
        right = digits.data.numpy().tobytes() == tiny[IMAGES][16:] and bytes(digits.targets) == tiny[LABELS][8:]
        fault.plain("correct" if right else "silently wrong", "" if right else f"returns {len(digits)} digits")
    except Exception as error:  # its user sees any error that it raises
        fault.plain("unclear error", f"{type(error).__name__}: {error}")


PROGRAM = """
import sys
from torchvision.datasets import MNIST

MNIST.mirrors, MNIST.resources = {mirrors!r}, {resources!r}
try:
    digits = MNIST({folder!r}, download=True)
except Exception as error:
    print("unclear error", type(error).__name__, *str(error).splitlines()[:1], sep=": ")
else:
    print("correct" if digits.data.numpy().tobytes() == bytes.fromhex({pixels!r}) else "silently wrong")
"""


def plain_download(fault: Fault, tiny: Tiny, folder: Path, *mirrors: str) -> None:
    """Record what torchvision.datasets.MNIST does with these mirrors within 20 seconds."""
    packed = {name: gzip.compress(blob, mtime=0) for name, blob in tiny.items()}
    resources = [(f"{name}.gz", hashlib.md5(blob).hexdigest()) for name, blob in packed.items()]
    facts = {"mirrors": list(mirrors), "resources": resources, "folder": str(folder), "pixels": tiny[IMAGES][16:].hex()}
    command = [sys.executable, "-c", PROGRAM.format(**facts)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except subprocess.TimeoutExpired:
        fault.plain("hangs", "no response within 20 seconds")
    else:
        verdict, _, what = done.stdout.strip().splitlines()[-1].partition(": ")
        fault.plain(verdict, what)


@pytest.mark.fault(1, "a raw file is truncated")
def test_truncated(fault: Fault, cached: Path, tiny: Tiny) -> None:
    (cached / IMAGES).write_bytes(tiny[IMAGES][:5000])
    plain(fault, cached, tiny)
    fault.refused(DataError, "corrupted", lambda: s5.load_mnist("mnist"))


@pytest.mark.fault(2, "a raw file is empty, or a login page")
@pytest.mark.parametrize("blob", [b"", b"<!DOCTYPE html><title>Log in to the hotel's network</title>"])
def test_no_file(fault: Fault, cached: Path, tiny: Tiny, blob: bytes) -> None:
    (cached / LABELS).write_bytes(blob)
    plain(fault, cached, tiny)
    fault.refused(DataError, "corrupted", lambda: s5.load_mnist("mnist"))


@pytest.mark.fault(3, "one byte of a raw file is flipped; a good .gz is next to it")
def test_flipped(fault: Fault, cached: Path, tiny: Tiny) -> None:
    flipped = bytearray(tiny[IMAGES])
    flipped[7777] ^= 4
    (cached / IMAGES).write_bytes(flipped)
    plain(fault, cached, tiny)
    (cached / f"{IMAGES}.gz").write_bytes(gzip.compress(tiny[IMAGES], mtime=0))
    good(tiny)
    assert (cached / IMAGES).read_bytes() == tiny[IMAGES]
    fault.saw("the right digits: the file is rebuilt from the .gz")


@pytest.mark.fault(4, "fewer labels than images; a label above 9")
@pytest.mark.parametrize("blob", [b"\0\0\x08\x01\0\0\0\x05\0\1\2\3\4", b"\0\0\x08\x01\0\0\0\x14" + bytes(range(20))])
def test_labels(fault: Fault, cached: Path, tiny: Tiny, blob: bytes) -> None:
    (cached / LABELS).write_bytes(blob)
    plain(fault, cached, tiny)
    fault.refused(DataError, "corrupted", lambda: s5.load_mnist("mnist"))


@pytest.mark.fault(5, "other files under MNIST's names; a stale processed/*.pt")
def test_others(fault: Fault, cached: Path, tiny: Tiny, forget: Callable[[], None]) -> None:
    stale = cached.parent / "processed"
    stale.mkdir()
    torch.save((torch.zeros(20, 28, 28, dtype=torch.uint8), torch.zeros(20, dtype=torch.int64)), stale / "training.pt")
    torch.save((torch.zeros(10, 28, 28, dtype=torch.uint8), torch.zeros(10, dtype=torch.int64)), stale / "test.pt")
    good(tiny)  # it is not read
    forget()
    (cached / IMAGES).write_bytes(tiny[IMAGES][:16] + tiny[IMAGES][:15:-1])
    plain(fault, cached, tiny)
    fault.refused(DataError, "corrupted", lambda: s5.load_mnist("mnist"))


class Forbidding(BaseHTTPRequestHandler):
    """Returns 403 for images, and half of each label file."""

    def do_GET(self) -> None:
        if "images" in self.path:
            self.send_error(403)
            return
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(gzip.compress(b"half")[:10])

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def forbidding() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Forbidding) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.fault(6, "the first mirror returns 403, a login page, or too few bytes")
def test_first_mirror(
    fault: Fault,
    tiny: Tiny,
    mirror: str,
    wrong_mirror: str,
    forbidding: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(download, "MIRRORS", (forbidding, wrong_mirror, mirror))
    good(tiny)
    fault.saw("the right digits, from the next mirror")
    plain_download(fault, tiny, tmp_path / "plain", forbidding, wrong_mirror, mirror)


@pytest.mark.fault(7, "no mirror responds, and nothing is cached")
def test_no_mirror(
    fault: Fault, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(download, "MIRRORS", (f"http://127.0.0.1:{unused.getsockname()[1]}/",))
        fault.refused(DataError, "try another network", lambda: s5.load_mnist("mnist"))
        assert s5.load_mnist("auto")[0].name == "sample"
        plain_download(fault, tiny, tmp_path / "plain", *download.MIRRORS)
    assert "NOTICE: using the embedded sample" in capsys.readouterr().err


@pytest.mark.fault(8, "no network, a good cache: no connection is tried")
def test_offline(fault: Fault, cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/",))
    tried: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *call: tried.append(call))
    good(tiny)
    assert not tried
    fault.saw("the right digits, and no connection is tried")


@pytest.mark.slow
@pytest.mark.fault(9, "a server that accepts and never responds")
def test_silent_server(fault: Fault, tiny: Tiny, mirror: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    assert len(tiny) * download.TIMEOUT < 20
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts for it
        monkeypatch.setattr(download, "MIRRORS", (f"http://127.0.0.1:{silent.getsockname()[1]}/", mirror))
        start = time.monotonic()
        good(tiny)
        assert time.monotonic() - start < 20
        plain_download(fault, tiny, tmp_path / "plain", *download.MIRRORS)
    fault.saw("the right digits, from the next mirror after a time-out")


def _load(sums: dict[str, tuple[str, str]], mirror: str, barrier: Any, answers: Any) -> None:
    download.SHA256, download.MIRRORS = sums, (mirror,)
    barrier.wait()
    try:
        answers.put(s5.load_mnist("mnist")[0].data.numpy().tobytes())
    except Exception as error:
        answers.put(repr(error))


@pytest.mark.slow
@pytest.mark.fault(10, "two processes start at once on an empty folder")
def test_two_at_once(fault: Fault, tiny: Tiny, mirror: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    starts = [context.Process(target=_load, args=(download.SHA256, mirror, barrier, answers)) for _ in range(3)]
    for process in starts:
        process.start()
    found = [answers.get(timeout=120) for _ in starts]
    for process in starts:
        process.join()
    assert found == [tiny[IMAGES][16:]] * 3
    left = sorted(path.name for path in (data_folder() / "MNIST" / "raw").iterdir())
    assert left == sorted(download.SHA256)
    fault.saw("the right digits, in each of them")


def _alone(code: str) -> str:
    """Run the code and then load a raw file in a separate process. Return the last line that it prints."""
    begin = "import encodings.idna, http.client, os, pooch, requests, resource, signal, sys\n"
    begin += "from mnist_s5.data import download\n"
    begin += "pooch.core.time = type('', (), {'sleep': lambda seconds: None})\n"  # wait before a retry
    begin += f"download.SHA256, download.MIRRORS = {download.SHA256!r}, {download.MIRRORS!r}\n"
    end = f"try: download.raw_file(download.data_folder() / 'MNIST' / 'raw', {IMAGES!r})\n"
    end += "except download.DataError as error: sys.exit(str(error))\n"
    program = [sys.executable, "-c", begin + code + end]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        raise SilentlyWrong(code)
    return done.stderr.strip().splitlines()[-1]  # progress bars of the downloads come before


@pytest.mark.fault(11, "the folder is read-only")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_read_only(fault: Fault, tiny: Tiny, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MIRRORS", (mirror,))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        monkeypatch.setenv("MNIST_S5_DATA", folder)
        said = _alone("os.geteuid() or os.setuid(65534)\n")  # root can write everywhere
        assert "Permission is denied" in said
        fault.saw(said)


@pytest.mark.fault(11, "the disk is full")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
@pytest.mark.parametrize("room", [100, 10_000])
def test_full_disk(fault: Fault, tiny: Tiny, mirror: str, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Files cannot exceed `room` bytes: the downloaded one, or (10,000) the unpacked one."""
    monkeypatch.setattr(download, "MIRRORS", (mirror,))
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"
    said = _alone(limit.format(room))
    assert "Cannot use" in said
    fault.saw(said)
    left = [path.name for path in (data_folder() / "MNIST" / "raw").glob(".*")]
    assert not left  # no partial files


@pytest.mark.fault(28, "MNIST_S5_DATA names MNIST/raw, MNIST, or a folder relative to the course, in a notebook")
@pytest.mark.parametrize("given", ["data/MNIST/raw", "data/MNIST", "data"])
def test_data_folder(
    fault: Fault, cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    monkeypatch.setenv("MNIST_S5_DATA", given)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")  # as Jupyter does
    good(tiny)
    assert not list((tmp_path / "notebooks").iterdir())
    fault.saw("the right digits")
    with pytest.raises(RuntimeError, match="Dataset not found") as error:
        torchvision.datasets.MNIST(given)
    fault.plain("unclear error", str(error.value))


@pytest.mark.fault(11, "the disk is full, and a good .gz is there")
def test_full_disk_with_gz(fault: Fault, cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (cached / f"{IMAGES}.gz").write_bytes(gzip.compress(tiny[IMAGES], mtime=0))
    (cached / IMAGES).unlink()
    monkeypatch.setattr(os, "replace", full)
    good(tiny)
    fault.saw("the right digits: a copy is not needed")
