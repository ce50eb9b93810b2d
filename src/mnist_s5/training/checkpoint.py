"""What a run keeps in its folder: weights, a resume file per epoch, and metrics.json. All are checked when read."""

import contextlib
import hashlib
import io
import json
import platform
import sys
import zipfile
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..files import atomic_write
from ..model import Net

PRETRAINED_WEIGHTS = Path(__file__).parents[1] / "weights.safetensors"
MODEL_FILE = "model.safetensors"


class Epoch(NamedTuple):
    """One entry of a History: losses in nats, accuracies in percent. `epoch` counts passes over the training set."""

    epoch: float
    learning_rate: float  # of the epoch's first step
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float  # of training, without the test

    def __str__(self) -> str:
        train = f"train {self.train_loss:.4f} {self.train_accuracy:6.2f}%"
        return f"{train}  test {self.test_loss:.4f} {self.test_accuracy:6.2f}%  {self.seconds:.0f} s"


class History(list[Epoch]):
    """What `fit` measured after each epoch; `dataset` is the name of the training set."""

    def __init__(self, epochs: Iterable[Epoch] = (), dataset: str = "unknown") -> None:
        super().__init__(epochs)
        self.dataset = dataset


class CheckpointError(RuntimeError):
    """A file is corrupted, or belongs to another network or run. The message tells which, and what to do."""


def fingerprint(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the weights, which does not depend on their device or memory layout."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(weights[name].detach().cpu().numpy().tobytes())
    return found.hexdigest()


def save_checkpoint(model: nn.Module, path: str | Path, **about: Any) -> None:
    """Save the model's weights, and plain facts about them, to a safetensors file.

    Raises:
        CheckpointError: If a weight is not finite.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise CheckpointError("The network's weights are not finite, so it cannot predict anything. Train again.")
    facts = {"about": json.dumps(about), "sha256": fingerprint(weights)}
    atomic_write(Path(path), save(weights, facts))


def load_checkpoint(path: str | Path = PRETRAINED_WEIGHTS) -> tuple[Net, dict[str, Any]]:
    """Load weights into a `Net` on the CPU, in eval mode; by default the pretrained ones.

    Returns:
        The network, and the facts that were saved with it.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is corrupted or belongs to another network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}. Train first, or load the pretrained weights.")
    model = Net()
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        intact = facts.get("sha256") == fingerprint(weights)
        about = json.loads(facts.get("about", "{}"))
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is corrupted or not a safetensors file ({error}). Train again.") from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != expected:
        raise CheckpointError(f"{path.name} belongs to another network. Expected the weights {', '.join(expected)}.")
    if not intact:
        raise CheckpointError(f"{path.name} is corrupted: its weights have changed since they were saved. Train again.")
    model.load_state_dict(weights)
    return model.eval(), about


class RunFolder:
    """What `fit` keeps in a folder: a resume file after each epoch, and at the end the weights and metrics.json.

    A resume file holds the state of the model, the optimizer, and the scheduler, the history, the facts, and the
    environment. The last two are kept: if the newest one is corrupted, the run resumes from the one before.

    Args:
        folder: Where to write.
        facts: What identifies the run. Only a run with the same facts is resumed.
        environment: What else the last digits of its results depend on.
        parts: The objects to save and restore: "model", "optimizer", and "scheduler".
    """

    def __init__(self, folder: Path, facts: dict[str, Any], environment: dict[str, Any], parts: dict[str, Any]) -> None:
        self.folder, self.facts, self.parts = folder, facts, parts
        self.environment = self.trained_in = environment

    def files(self) -> list[Path]:
        """Return the resume files, the newest first."""
        return sorted(self.folder.glob("epoch-*.pt"), reverse=True)

    def restore(self, resume: bool = True) -> list[Epoch]:
        """Restore the newest intact state, and return its history, which is empty if there is nothing to resume.

        Args:
            resume: False deletes the resume files instead, so that the run starts over.

        Raises:
            CheckpointError: If the state belongs to a different run, or every resume file is corrupted.
        """
        if not resume:
            for file in self.files():
                file.unlink()
        files = self.files()
        saved = next((state for state in map(self._read, files) if state), None)
        if saved is None:
            if files:
                raise CheckpointError(
                    f"All resume files in {self.folder} are corrupted. Pass resume=False to start over."
                )
            return []
        short, theirs = partial(shorten, width=60, placeholder="…"), saved["facts"]
        different = [name for name, ours in self.facts.items() if theirs.get(name) != ours]
        if different:
            pairs = ((name, short(str(theirs.get(name))), short(str(self.facts[name]))) for name in different[:3])
            why = ", ".join(f"{name} is {there} there and {here} here" for name, there, here in pairs)
            raise CheckpointError(f"{self.folder} has a different run: {why}. Use another folder or resume=False.")
        if saved["environment"] != self.environment:
            there, here = saved["environment"], self.environment
            print(f"NOTICE: this run was trained in {there}. In {here}, the last digits may differ.", file=sys.stderr)
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.trained_in = saved["environment"]
        print(f"resumed after epoch {saved['history'][-1][0]:g}, from {files[0].name}")
        return [Epoch(*entry) for entry in saved["history"]]

    def _read(self, file: Path) -> dict[str, Any] | None:
        """Return the state in a resume file, or None, with a notice, if it is corrupted."""
        with contextlib.suppress(Exception):  # zipfile and torch raise nearly anything for a corrupted file
            with zipfile.ZipFile(file) as archive:
                intact = archive.testzip() is None
            state = torch.load(file, "cpu", weights_only=True) if intact else None  # runs no code
            if isinstance(state, dict) and state.keys() == {*self.parts, "history", "facts", "environment"}:
                return state
        print(f"NOTICE: {file.name} is corrupted or not readable", file=sys.stderr)
        return None

    def save(self, history: History) -> None:
        """Write the resume file of the epoch that the history ends with, and delete all but the last two."""
        self.trained_in = self.environment
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"history": [list(entry) for entry in history], "facts": self.facts, "environment": self.environment}
        blob = io.BytesIO()
        torch.save(state, blob)
        atomic_write(self.folder / f"epoch-{len(history):06}.pt", blob.getvalue())
        for old in [*self.files()[2:], *self.folder.glob(".epoch-*")]:  # the latter are left by killed processes
            old.unlink(missing_ok=True)

    def finish(self, history: History) -> None:
        """Write the weights and metrics.json, both with the facts of the run."""
        results: dict[str, Any] = {"test_accuracy": history[-1].test_accuracy, "test_loss": history[-1].test_loss}
        save_checkpoint(self.parts["model"], self.folder / MODEL_FILE, **self.facts, **results)
        results["train_seconds"] = sum(entry.seconds for entry in history)
        entries = [entry._asdict() for entry in history]
        write_metrics(self.folder, **self.facts, **self.trained_in, **results, history=entries)


def describe_environment(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return what the last digits of a result depend on, besides the facts of the run."""
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
    path = Path(folder) / "metrics.json"
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"{path} is corrupted. Move it away, and run again.") from error


def write_metrics(folder: str | Path, **metrics: Any) -> None:
    """Add metrics to the folder's metrics.json, with the environment in which they were measured."""
    facts = read_metrics(folder) | _machine()
    if sys.platform == "linux":
        import resource

        facts["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6
    atomic_write(Path(folder) / "metrics.json", json.dumps(facts | metrics, indent=1).encode())
