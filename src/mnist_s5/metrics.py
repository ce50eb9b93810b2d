"""What a run measured: metrics.json, and the history of `fit`. Does not import torch."""

import hashlib
import json
import platform
import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from .files import atomic_write


class MetricsError(RuntimeError):
    """A metrics.json is corrupted. The message says which one, and what to do."""


class Evaluation(NamedTuple):
    """One entry of a History: losses in nats, accuracies in percent.

    The training scores are of the steps since the previous entry. The test scores are of the set that was passed to
    `fit` as `test_set`, which may be a validation set.
    """

    epoch: float  # passes over the training set so far, possibly fractional
    learning_rate: float  # at the first step after the previous entry
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float  # training only, without evaluation

    def __str__(self) -> str:
        train = f"train {self.train_loss:.4f} {self.train_accuracy:6.2f}%"
        return f"{train}  test {self.test_loss:.4f} {self.test_accuracy:6.2f}%  {self.seconds:.0f} s"


class History(list[Evaluation]):
    """What `fit` measured at each evaluation; `dataset` is the name of the training set."""

    def __init__(self, evaluations: Iterable[Evaluation] = (), dataset: str = "unknown") -> None:
        super().__init__(evaluations)
        self.dataset = dataset


def sha256(*parts: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the parts, one after another."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def source_sha256() -> str:
    """Return a hash of the package's Python files, to tell whether two runs used the same code."""
    folder = Path(__file__).parent
    paths = [path for path in sorted(folder.rglob("*.py")) if (path.parent / "__init__.py").exists()]
    # As text, because line ends differ between systems.
    return sha256(*(f"{path.relative_to(folder).as_posix()}\n{path.read_text('utf-8')}".encode() for path in paths))


def _processor() -> dict[str, str]:
    """Return the processor's name; on x86 Linux also its family, its model, and its instructions for bfloat16."""
    text = path.read_text() if (path := Path("/proc/cpuinfo")).exists() else ""
    found = dict(re.findall(r"^(cpu family|model|model name)\s*: (.+)", text, re.M))
    instructions = {"bfloat16": " ".join(sorted({*re.findall(r"\b(?:avx512|amx)_bf16\b", text)}))}
    return found | instructions if found else {"model name": platform.processor()}


def describe_machine() -> dict[str, Any]:
    """Return the processor, the versions of the packages, the hash of the course's source, and torch's threads."""
    versions = {"python": platform.python_version()}
    versions |= {package: version(package) for package in ("torch", "torchvision", "mnist-s5")}
    facts = {"machine": platform.machine(), "versions": versions, "source_sha256": source_sha256()}
    torch = sys.modules.get("torch")  # metrics can be written without it
    return facts | {"processor": _processor()} | ({"threads": torch.get_num_threads()} if torch else {})


def read_metrics(folder: str | Path) -> dict[str, Any]:
    """Return the content of the folder's metrics.json, or {} if there is none.

    Raises:
        MetricsError: If the file is corrupted.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    path = Path(folder).expanduser() / "metrics.json"
    try:
        return dict(json.loads(path.read_text("utf-8"), parse_constant=refuse)) if path.exists() else {}
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise MetricsError(f"{path} is corrupted. Move or delete it, then run again.") from error


def write_metrics(folder: str | Path, **metrics: Any) -> None:
    """Add metrics to the folder's metrics.json, beside what `describe_machine` returns, and the peak memory.

    What the first call says about the machine is kept. The peak memory is the highest of all processes that wrote here.
    NumPy and torch values become plain numbers and lists.

    Raises:
        ValueError: If a metric contains NaN or infinity, which JSON does not have.
        TypeError: If a metric is neither a number, text, a list, nor a dict of these.
        MetricsError: If the file is corrupted.
    """
    facts = describe_machine() | read_metrics(folder)
    status = Path("/proc/self/status")  # Linux only. getrusage would include the memory of the parent process.
    if peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else ""):
        facts["peak_memory_mb"] = max(int(peak[1]) * 1024 // 10**6, facts.get("peak_memory_mb", 0))
    atomic_write(Path(folder).expanduser() / "metrics.json", to_json(facts | metrics, indent=1).encode())


def to_json(value: dict[str, Any], indent: int | None = None) -> str:
    """Return JSON. NumPy and torch values become plain numbers and lists.

    Raises:
        ValueError: For NaN and infinity, which JSON does not have.
        TypeError: For a value that is neither a number, text, a list, nor a dict of these.
    """

    def plain(part: Any) -> Any:
        if hasattr(part, "tolist"):  # of NumPy and torch
            return part.tolist()
        raise TypeError(f"{part!r} cannot be saved as JSON. Convert it to numbers, text, lists, and dicts.")

    for name, each in value.items():
        try:
            json.dumps(each, default=plain, allow_nan=False)
        except ValueError as error:
            raise ValueError(f"{name} cannot be saved: JSON has no NaN and no infinity. Save None instead.") from error
    return json.dumps(value, default=plain, indent=indent)
