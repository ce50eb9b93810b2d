import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from table import Fault, SilentlyWrong, table
from torch.utils.data import DataLoader, TensorDataset

import mnist_s5 as s5
from mnist_s5.data import digits, download

FAULTS: dict[str, Fault] = {}  # of the tests in this process
SHOWN: dict[str, Fault] = {}  # of all tests, from their reports


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Fault:
    """Return the fault that the test's marker names, to record messages for the table that `make faults` prints."""
    number, injected = request.node.get_closest_marker("fault").args
    FAULTS[request.node.nodeid] = Fault(number, injected, shown=request.config.option.markexpr == "fault")
    return FAULTS[request.node.nodeid]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    fault = FAULTS.get(item.nodeid)
    if fault and (call.when == "call" or not report.passed):
        wrong = call.excinfo is not None and call.excinfo.errisinstance(SilentlyWrong)
        fault.result = "pass" if report.passed else "skip" if report.skipped else "WRONG" if wrong else "FAIL"
        report.user_properties.append(("fault", vars(fault)))  # also reaches the process that prints the table
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, facts in report.user_properties:
        if name == "fault":
            SHOWN[report.nodeid] = Fault(facts["number"], facts["injected"], facts["shown"])
            vars(SHOWN[report.nodeid]).update(facts)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in table([fault for fault in SHOWN.values() if fault.shown]):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def sample() -> tuple[s5.DigitDataset, s5.DigitDataset]:
    return s5.load_mnist("sample")


@pytest.fixture
def few(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> DataLoader:
    """Ten test digits, one per class, in batches of 4, 4, and 2."""
    test_set, picked = sample[1], range(0, 1000, 100)
    images = torch.stack([test_set[i][0] for i in picked])
    return DataLoader(TensorDataset(images, test_set.targets[list(picked)]), batch_size=4)


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
    """Return a function that makes the course forget the digits it has loaded, as in a new session."""

    def clear() -> None:
        digits._mnist.cache_clear()
        digits._why_unavailable.cache_clear()

    clear()
    yield clear
    clear()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forget: Callable[[], None]) -> dict[str, bytes]:
    """Replace the published files by four small ones, with an empty data folder and no mirror."""
    files = idx_files(20)
    sums: dict[str, str] = {}
    for name, blob in files.items():
        packed = gzip.compress(blob, mtime=0)
        sums |= {name: hashlib.sha256(blob).hexdigest(), f"{name}.gz": hashlib.sha256(packed).hexdigest()}
    monkeypatch.setattr(download, "SHA256", sums)
    monkeypatch.setattr(download, "MIRRORS", ())
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))  # before it tries again
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
    """A local mirror that has the small files."""
    (tmp_path / "mirror").mkdir()
    for name, blob in tiny.items():
        (tmp_path / "mirror" / f"{name}.gz").write_bytes(gzip.compress(blob, mtime=0))
    yield from serve(tmp_path / "mirror")


@pytest.fixture
def wrong_mirror(tmp_path: Path) -> Iterator[str]:
    """A mirror that returns something else for every file."""
    (tmp_path / "wrong").mkdir()
    for name in download.SHA256:
        (tmp_path / "wrong" / name).write_text("<html>Please log in</html>")
    yield from serve(tmp_path / "wrong")
