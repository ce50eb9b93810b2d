import errno
import gzip
import hashlib
import multiprocessing
import os
import re
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
import requests
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
    """Assert that the digits are loaded, and are right."""
    train, test = s5.load_mnist("mnist")
    assert (len(train), len(test)) == (20, 10)
    assert train.data.numpy().tobytes() == tiny[IMAGES][16:]
    assert bytes(train.targets.tolist()) == tiny[LABELS][8:]


def plain(fault: Fault, root: str | Path, tiny: Tiny) -> None:
    """Record what torchvision.datasets.MNIST does with the same folder."""
    try:
        digits = torchvision.datasets.MNIST(root, train=True)
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


def plain_download(fault: Fault, tiny: Tiny, folder: Path) -> None:
    """Record what torchvision.datasets.MNIST does with the same mirrors within 20 seconds."""
    if not fault.shown:
        return
    packed = {name: gzip.compress(blob, mtime=0) for name, blob in tiny.items()}
    resources = [(f"{name}.gz", hashlib.md5(blob).hexdigest()) for name, blob in packed.items()]
    facts = {"mirrors": list(download.MIRRORS), "resources": resources, "folder": str(folder)}
    command = [sys.executable, "-c", PROGRAM.format(**facts, pixels=tiny[IMAGES][16:].hex())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except subprocess.TimeoutExpired:
        fault.plain("hangs", "no response within 20 seconds")
    else:
        verdict, _, what = done.stdout.strip().splitlines()[-1].partition(": ")
        fault.plain(verdict, what)


@pytest.mark.fault(8, "no network, a good cache: no connection is tried")
def test_downloads_verifies_and_keeps(
    fault: Fault, tiny: Tiny, mirror: str, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MIRRORS", (mirror,))
    good(tiny)
    tried: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *call: tried.append(call))  # no network from here on
    forget()
    good(tiny)
    forget()
    assert s5.load_mnist("auto")[0].data.numpy().tobytes() == tiny[IMAGES][16:]
    assert not tried
    fault.saw("the right digits, and no connection is tried")


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


@pytest.mark.fault(6, "the first mirror returns 403, a login page, or too few bytes")
def test_tries_the_next_mirror(
    fault: Fault,
    tiny: Tiny,
    mirror: str,
    wrong_mirror: str,
    forbidding: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/", forbidding, wrong_mirror, mirror))
    assert s5.load_mnist("auto")[0].name == "mnist"
    good(tiny)
    fault.saw("the right digits, from the next mirror")
    plain_download(fault, tiny, tmp_path / "plain")


@pytest.mark.fault(3, "a raw file is empty, or a login page, or has a flipped byte; a good .gz is next to it")
@pytest.mark.parametrize("damage", [b"", b"<html>", None])
def test_a_corrupted_raw_file_is_rebuilt_from_the_gz(
    fault: Fault, tiny: Tiny, cached: Path, damage: bytes | None
) -> None:
    flipped = bytearray(tiny[IMAGES])
    flipped[7777] ^= 4
    (cached / IMAGES).write_bytes(flipped if damage is None else damage)
    (cached / f"{IMAGES}.gz").write_bytes(gzip.compress(tiny[IMAGES], mtime=0))
    plain(fault, data_folder(), tiny)
    good(tiny)
    assert (cached / IMAGES).read_bytes() == tiny[IMAGES]
    fault.saw("the right digits: the file is rebuilt from the .gz")


@pytest.mark.fault(7, "no mirror responds, and nothing is cached")
def test_an_unavailable_mnist_is_one_message_with_three_fixes(
    fault: Fault,
    tiny: Tiny,
    wrong_mirror: str,
    forget: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for mirror in (wrong_mirror, f"http://127.0.0.1:{unused.getsockname()[1]}/"):
            forget()
            monkeypatch.setattr(download, "MIRRORS", (mirror,))
            said = fault.refused(DataError, "try another network", lambda: s5.load_mnist("mnist"))
            for part in (mirror, "MNIST_S5_DATA", "source='sample'"):
                assert part in said
            assert s5.load_mnist("auto")[0].name == "sample"
            assert "NOTICE: using the embedded sample" in capsys.readouterr().err
        plain_download(fault, tiny, tmp_path / "plain")


def test_a_session_uses_the_same_digits_everywhere(
    tiny: Tiny, mirror: str, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s5.load_mnist("auto")[0].name == "sample"
    monkeypatch.setattr(download, "MIRRORS", (mirror,))  # the network is back
    assert s5.load_mnist("auto")[1].name == "sample"
    forget()
    assert s5.load_mnist("auto")[1].name == "mnist"


def damaged(number: int, injected: str, name: str, damage: Callable[[bytes], bytes]) -> Any:
    return pytest.param(name, damage, marks=pytest.mark.fault(number, injected), id=injected)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        damaged(1, "a raw file is truncated", IMAGES, lambda blob: blob[:5000]),
        damaged(2, "a raw file is empty", LABELS, lambda blob: b""),
        damaged(2, "a raw file is a login page", LABELS, lambda blob: b"<!DOCTYPE html><title>Log in</title>"),
        damaged(4, "fewer labels than images", LABELS, lambda blob: b"\0\0\x08\x01\0\0\0\x05\0\1\2\3\4"),
        damaged(4, "a label above 9", LABELS, lambda blob: b"\0\0\x08\x01\0\0\0\x14" + bytes(range(20))),
        damaged(5, "other files under MNIST's names", IMAGES, lambda blob: blob[:16] + blob[:15:-1]),
    ],
)
def test_a_corrupted_file_is_called_corrupted(
    fault: Fault, tiny: Tiny, cached: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    (cached / name).write_bytes(damage(tiny[name]))
    plain(fault, data_folder(), tiny)
    fault.refused(DataError, f"{name} is corrupted", lambda: s5.load_mnist("mnist"))


@pytest.mark.fault(5, "a stale processed/*.pt")
def test_a_stale_processed_file_is_not_read(fault: Fault, tiny: Tiny, cached: Path) -> None:
    (cached.parent / "processed").mkdir()
    for name, count in (("training", 20), ("test", 10)):
        digits = torch.zeros(count, 28, 28, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64)
        torch.save(digits, cached.parent / "processed" / f"{name}.pt")
    good(tiny)
    fault.saw("the right digits")


@pytest.mark.fault(28, "MNIST_S5_DATA names MNIST/raw, MNIST, or a folder relative to the course, in a notebook")
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("below", ["", "MNIST", "MNIST/raw"])
def test_the_variable_may_name_the_folder_or_mnist_or_raw(
    fault: Fault, tiny: Tiny, cached: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, relative: bool, below: str
) -> None:
    given = str(Path("" if relative else tmp_path, "data", below))
    monkeypatch.setenv("MNIST_S5_DATA", given)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")  # as Jupyter does
    good(tiny)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["data", "MNIST", "raw", "notebooks", *tiny])
    fault.saw("the right digits")
    plain(fault, given, tiny)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("below", ["", "MNIST", "MNIST/raw"])
def test_the_folder_may_be_a_link(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, below: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "store" / "abc" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "MNIST").symlink_to(tmp_path / "store" / "abc")
    for name, blob in tiny.items():
        (tmp_path / "store" / "abc" / "raw" / name).write_bytes(blob)
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "data" / below))
    good(tiny)


def test_a_folder_that_is_called_mnist_may_hold_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "MNIST").mkdir(parents=True)
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "MNIST"))
    assert data_folder() == tmp_path / "MNIST"


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/exercises", "."])
def test_a_relative_path_is_the_same_folder_in_a_notebook(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "notebooks" / "exercises").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MNIST_S5_DATA", "data")
    monkeypatch.chdir(tmp_path / folder)
    assert data_folder() == tmp_path / "data"
    monkeypatch.setenv("MNIST_S5_DATA", "none")
    assert data_folder() == tmp_path / "none"
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"


def test_nothing_is_created_if_there_is_nothing_to_put_into_it(tiny: Tiny, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert s5.load_mnist("auto")[0].name == "sample"
    with pytest.raises(DataError):
        s5.load_mnist("mnist")
    assert sorted(tmp_path.rglob("*")) == before


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
        plain_download(fault, tiny, tmp_path / "plain")
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


@pytest.mark.fault(11, "the disk is full, and a good .gz is there")
def test_full_disk_with_gz(fault: Fault, cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (cached / f"{IMAGES}.gz").write_bytes(gzip.compress(tiny[IMAGES], mtime=0))
    (cached / IMAGES).unlink()
    monkeypatch.setattr(os, "replace", full)
    good(tiny)
    fault.saw("the right digits: a copy is not needed")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support."),
            "(InvalidSchema: Missing dependencies for SOCKS support.)",
        ),
        (
            OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /none.pem"),
            "(OSError: Could not find a suitable TLS CA certificate bundle, invalid path: /none.pem)",
        ),
    ],
)
def test_the_cause_of_a_failed_download_is_told(
    error: Exception, said: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(download, "MIRRORS", ("https://mirror.example/",))
    monkeypatch.setattr("pooch.HTTPDownloader.__call__", fail)
    with pytest.raises(download.DataError, match=re.escape(said)):
        s5.load_mnist("mnist")


def test_the_cause_of_a_failed_connection_is_told(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MIRRORS", ("https://mirror.example/",))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(download.DataError, match=r"\(ProxyError: .Unable to connect to proxy.*refused") as refused:
        s5.load_mnist("mnist")
    assert "object at 0x" not in str(refused.value)


def test_kaggles_folders_are_read(tiny: Tiny) -> None:
    """Its archive has a folder with the name of each file."""
    for name, blob in tiny.items():
        folder = download.data_folder() / "MNIST" / "raw" / name
        folder.mkdir(parents=True)
        (folder / name).write_bytes(blob)
    good(tiny)
