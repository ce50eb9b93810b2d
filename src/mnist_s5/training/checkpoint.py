"""Files in a run folder: weights, a resume file per epoch, and metrics.json. Each is validated when read.

A run is identified by its facts: only a run with the same ones is resumed.
"""

import contextlib
import hashlib
import inspect
import io
import json
import math
import os
import platform
import re
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..data.digits import DigitDataset
from ..files import atomic_write, to_write_error
from ..model import Net
from .recipes import Recipe

PRETRAINED_WEIGHTS = Path(__file__).parents[1] / "weights.safetensors"
MODEL_FILE = "model.safetensors"


class Epoch(NamedTuple):
    """One entry of a History: losses in nats, accuracies in percent. Training scores are since the previous one."""

    epoch: float  # passes completed, possibly fractional
    learning_rate: float  # at the first step after the previous entry
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float  # training only, without evaluation

    def __str__(self) -> str:
        train = f"train {self.train_loss:.4f} {self.train_accuracy:6.2f}%"
        return f"{train}  test {self.test_loss:.4f} {self.test_accuracy:6.2f}%  {self.seconds:.0f} s"


class History(list[Epoch]):
    """What `fit` measured at each evaluation; `dataset` is the name of the training set."""

    def __init__(self, epochs: Iterable[Epoch] = (), dataset: str = "unknown") -> None:
        super().__init__(epochs)
        self.dataset = dataset


class CheckpointError(RuntimeError):
    """A file is corrupted, or belongs to another network or run. The message says which, and what to do."""


def fingerprint(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the weights, which does not depend on their device or memory layout."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(weights[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def save_checkpoint(model: nn.Module, path: str | Path, **about: Any) -> None:
    """Save the model's weights and JSON-serializable metadata to a safetensors file.

    Raises:
        CheckpointError: If a weight is not finite.
    """
    state = {name: value.detach().cpu() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    weights = {name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise CheckpointError(
            "The weights are not finite, so they were not saved. Lower the learning rate, and train again."
        )
    facts = {"about": _to_json(about), "sha256": fingerprint(weights)}
    atomic_write(Path(path), save(weights, facts))


def load_checkpoint(path: str | Path = PRETRAINED_WEIGHTS) -> tuple[Net, dict[str, Any]]:
    """Load weights into a `Net` on the CPU, in eval mode; by default the pretrained ones.

    Args:
        path: A file, or a run's folder.

    Returns:
        The network, and the facts that were saved with it.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is corrupted or belongs to another network.
    """
    path = Path(path).expanduser()
    path = path / MODEL_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}. Train first, or use the pretrained weights.")
    model = Net()
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        about = json.loads(facts.get("about", "{}"))
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is corrupted or not a safetensors file ({error}). Train again.") from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != expected:
        raise CheckpointError(
            f"{path} was saved from another network than Net. Choose another run, or load it yourself."
        )
    if "sha256" not in facts:
        raise CheckpointError(f"{path} has no checksum. Save the weights with save_checkpoint.")
    if facts["sha256"] != fingerprint(weights):
        raise CheckpointError(f"{path} is corrupted: its weights have changed since they were saved. Train again.")
    model.load_state_dict(weights)
    return model.eval(), about


class RunFolder:
    """What `fit` keeps in a folder: a resume file after each epoch, and at the end the weights and metrics.json.

    A resume file holds the state of the model, the optimizer, and the scheduler, the history, the facts, and the
    environment. The last two are kept: if the newest one is corrupted, the run resumes from the one before.

    Args:
        folder: Where to write.
        facts: Identify the run. Only a run with equal facts is resumed.
        environment: Device, dtype, threads, and versions. A change may alter the results slightly.
        parts: The objects to save and restore: "model", "optimizer", and "scheduler".
    """

    def __init__(self, folder: Path, facts: dict[str, Any], environment: dict[str, Any], parts: dict[str, Any]) -> None:
        self.folder, self.facts, self.environment, self.parts = folder, facts, environment, parts
        self.saved_environment = environment  # of the last epoch that was trained
        self.stale: list[Path] = []
        self.newest: tuple[Path, int] | None = None  # the newest resume file that this run has seen, and its time

    def _newest(self) -> tuple[Path, int] | None:
        return next(((file, file.stat().st_mtime_ns) for file in self.files()), None)

    def files(self) -> list[Path]:
        """Return the resume files, the newest first."""
        return sorted(self.folder.glob(f"epoch-{'[0-9]' * 6}.pt"), reverse=True)

    def restore(self, resume: bool = True) -> list[Epoch]:
        """Restore the newest intact state, and return its history, which is empty if there is nothing to resume.

        Args:
            resume: False starts over. The old resume files are deleted when there is a new one.

        Raises:
            CheckpointError: If the state belongs to a different run, or every resume file is corrupted.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise to_write_error(error, self.folder) from error
        read_metrics(self.folder)  # if they are corrupted, stop now instead of after the training
        for part in self.folder.glob(".epoch-*"):
            if time.time() - part.stat().st_mtime > 3600:  # left by a killed process, not being written by another one
                part.unlink(missing_ok=True)
        files, self.newest = self.files(), self._newest()
        if not resume:
            self.stale = files
            return []
        for file in files:
            if (saved := self._read(file)) is not None:
                return self._apply(file, saved)
        if files:
            raise CheckpointError(f"All resume files in {self.folder} are corrupted. Pass resume=False to start over.")
        return []

    def _apply(self, file: Path, saved: dict[str, Any]) -> list[Epoch]:
        if different := _differences(saved["facts"], self.facts):
            ways = "Use another folder, or pass resume=False to start over."
            raise CheckpointError(f"{self.folder} contains a different run: {different}. {ways}")
        if changed := _differences(saved["environment"], self.environment):
            print(f"NOTICE: {changed}. The results may differ slightly.", file=sys.stderr)
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.saved_environment = saved["environment"]
        print(f"resumed after epoch {saved['history'][-1][0]:g}, from {file.name}")
        return [Epoch(*entry) for entry in saved["history"]]

    def _read(self, file: Path) -> dict[str, Any] | None:
        """Return the state in a resume file, or None, with a notice, if it is corrupted."""
        with contextlib.suppress(Exception):  # zipfile and torch raise nearly anything for a corrupted file
            with zipfile.ZipFile(file) as archive:
                intact = archive.testzip() is None
            state = torch.load(file, "cpu", weights_only=True) if intact else None  # runs no code
            if isinstance(state, dict) and state.keys() == {*self.parts, "history", "facts", "environment"}:
                return state
        print(f"NOTICE: skipping {file.name}, which is corrupted or unreadable", file=sys.stderr)
        return None

    def save(self, history: History) -> None:
        """Write the latest epoch's resume file, and keep only the newest two.

        Raises:
            CheckpointError: If another process has written a resume file since the last epoch.
        """
        newest, found = self.folder / f"epoch-{math.ceil(history[-1].epoch):06}.pt", self._newest()
        if found and found != self.newest and found[0] >= newest:
            raise CheckpointError(f"Another process wrote to {self.folder} during this run. Use a folder for each run.")
        self.saved_environment = self.environment
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"history": [list(entry) for entry in history], "facts": self.facts, "environment": self.environment}
        blob = io.BytesIO()
        torch.save(state, blob)
        atomic_write(newest, blob.getvalue())
        for old in {*self.files()[2:], *self.stale} - {newest}:
            old.unlink(missing_ok=True)
        self.stale, self.newest = [], self._newest()

    def finish(self, history: History) -> None:
        """Write the weights and metrics.json, both with the facts of the run."""
        results: dict[str, Any] = {"test_accuracy": history[-1].test_accuracy, "test_loss": history[-1].test_loss}
        save_checkpoint(self.parts["model"], self.folder / MODEL_FILE, **self.facts, **results)
        results["train_seconds"] = sum(entry.seconds for entry in history)
        entries = [entry._asdict() for entry in history]
        write_metrics(self.folder, **self.facts, **self.saved_environment, **results, history=entries)


def _differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Describe up to three values that differ. Each starts shortly before its first difference."""
    found = []
    for name in here:
        if there.get(name) != here[name]:
            one, other = str(there.get(name)), str(here[name])
            start = max(0, len(os.path.commonprefix([one, other])) - 20)  # noqa: RUF071 (characters are meant)
            found.append(
                f"{name} is {one[start : start + 60]} in the folder, and {other[start : start + 60]} in this call"
            )
    return ", ".join(found[:3])


def describe_run(
    recipe: Recipe, seed: int, model: nn.Module, train_set: DigitDataset, test_set: DigitDataset
) -> dict[str, Any]:
    """Return the facts that identify a run. Resuming compares them, and metrics.json records them."""
    data = [part for each in (train_set, test_set) for part in (each.data, each.targets)]
    facts: dict[str, Any] = {"dataset": train_set.name, "recipe": recipe.name, "seed": seed}
    facts |= {name: value for name, value in asdict(recipe).items() if name != "name"}
    facts |= {"train_images": len(train_set), "test_images": len(test_set)}
    facts["checksum"] = _checksum(*(part.numpy().tobytes() for part in data))
    facts["network"] = " ".join(str(model).split())  # its layers, on one line
    facts["trainable_parameters"] = sum(each.numel() for each in model.parameters() if each.requires_grad)
    if settings := _settings(model):
        facts["settings"] = settings
    return facts | {"forward": _checksum(*(source.encode() for source in _forward_sources(model)))}


def _checksum(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:16]


def _own_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules whose class is not torch's own, with their names."""
    return ((name, each) for name, each in model.named_modules() if not type(each).__module__.startswith("torch."))


def _forward_sources(model: nn.Module) -> list[str]:
    """Return the code of each forward() that is not torch's own, if its source is available."""
    sources = set()
    for _, module in _own_modules(model):
        with contextlib.suppress(OSError, TypeError):
            sources.add(inspect.getsource(type(module).forward))
    return sorted(sources)


def _settings(model: nn.Module) -> str:
    """Return what changes the result of forward() besides its code: attributes, and variables from outside."""
    found = []
    for name, module in _own_modules(model):
        values = {key: value for key, value in vars(module).items() if key[0] != "_" and key != "training"}
        with contextlib.suppress(TypeError, ValueError):  # forward() is not a plain function
            outside = inspect.getclosurevars(type(module).forward)
            values |= {**outside.globals, **outside.nonlocals}
        for key, value in values.items():
            text = getattr(value, "__qualname__", str(value))
            if text != str(value) or isinstance(value, int | float | str | list | tuple | dict | None):
                found.append(f"{name}.{key}={text}".lstrip("."))
    return ", ".join(text for text in found if " at 0x" not in text)  # an address differs from run to run


def describe_environment(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return the device, dtype, threads, machine, and versions, which can affect results slightly."""
    return {"device": str(device), "dtype": str(dtype)[6:]} | _machine()


def _machine() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    versions["torchvision"] = version("torchvision")
    return {"threads": torch.get_num_threads(), "machine": platform.machine(), "versions": versions}


def read_metrics(folder: str | Path) -> dict[str, Any]:
    """Return the content of the folder's metrics.json, or {} if there is none.

    Raises:
        CheckpointError: If the file is corrupted.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    path = Path(folder).expanduser() / "metrics.json"
    try:
        return dict(json.loads(path.read_text(), parse_constant=refuse)) if path.exists() else {}
    except (ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{path} is corrupted. Move or delete it, then run again.") from error


def write_metrics(folder: str | Path, **metrics: Any) -> None:
    """Add metrics to the folder's metrics.json. The threads, machine, and versions from the first call are kept.

    NumPy and torch values are converted to plain numbers and lists.

    Raises:
        ValueError: If a metric contains NaN or infinity, which JSON does not have.
        TypeError: If a metric is neither a number, text, a list, nor a dict of these.
        CheckpointError: If the file is corrupted.
    """
    facts = _machine() | read_metrics(folder)
    status = Path("/proc/self/status")  # Linux only. getrusage would include the memory of the parent process.
    if peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else ""):
        facts["peak_memory_mb"] = int(peak[1]) * 1024 // 10**6
    atomic_write(Path(folder).expanduser() / "metrics.json", _to_json(facts | metrics, indent=1).encode())


def _to_json(value: dict[str, Any], indent: int | None = None) -> str:
    """Return JSON. NumPy and torch values are converted to plain numbers and lists.

    Raises:
        ValueError: For NaN and infinity, which JSON does not have.
        TypeError: For a value that is neither a number, text, a list, nor a dict of these.
    """

    def plain(part: Any) -> Any:
        if isinstance(part, np.generic | np.ndarray | Tensor):
            return part.tolist()
        raise TypeError(f"{part!r} cannot be saved as JSON. Convert it to numbers, text, lists, and dicts.")

    for name, each in value.items():
        try:
            json.dumps(each, default=plain, allow_nan=False)
        except ValueError as error:
            raise ValueError(f"{name} cannot be saved: JSON has no NaN and no infinity. Save None instead.") from error
    return json.dumps(value, default=plain, indent=indent)
