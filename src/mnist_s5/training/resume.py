"""Resume an interrupted run of `fit`: what identifies a run, and its resume files."""

import contextlib
import io
import math
import os
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.digits import DigitDataset
from ..device import seed_everything
from ..files import MODEL_FILE, atomic_write, to_write_error
from ..metrics import Evaluation, History, describe_machine, read_metrics, sha256, write_metrics
from .checkpoint import CheckpointError, save_checkpoint
from .checks import check_output
from .recipes import Recipe


def describe_run(recipe: Recipe, seed: int, train_set: DigitDataset, test_set: DigitDataset) -> dict[str, Any]:
    """Return the facts that identify a run, besides those of its network: the recipe, the seed, and the digits."""
    facts: dict[str, Any] = {"dataset": train_set.name, "recipe": recipe.name, "seed": seed}
    facts |= {name: value for name, value in asdict(recipe).items() if name != "name"}
    facts |= {"train_images": len(train_set), "test_images": len(test_set)}
    digits = (train_set.data, train_set.targets, test_set.data, test_set.targets)
    return facts | {"data_sha256": sha256(*(part.numpy().tobytes() for part in digits))}


def describe_network(build: Callable[[], nn.Module], device: torch.device) -> dict[str, Any]:
    """Return the facts that identify a network: its number of parameters, and a hash of what it computes.

    With the weights of seed 0 and fixed images, these are its outputs in train mode, the norms of its gradients, and
    its outputs in eval mode. Comparing source code is not enough, because `forward` may call anything. All is computed
    in float64, so machines differ by less than the rounding. A network that takes only float32 computes in float32, on
    its device, and its hash may differ on another machine.
    """
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        return _facts_of_network(build, torch.device("cpu"), decimals=8)
    except Exception:  # a network can raise anything
        torch.set_default_dtype(default)
        return _facts_of_network(build, device, decimals=2)
    finally:
        torch.set_default_dtype(default)


def _facts_of_network(build: Callable[[], nn.Module], device: torch.device, decimals: int) -> dict[str, Any]:
    seed_everything(0)
    model = build().to(device)
    model = getattr(model, "_orig_mod", model)  # torch.compile wraps the model. Compiling takes a minute.
    state = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    images = 3.2 * torch.rand(16, 1, 28, 28).to(device) - 0.4  # about the range of normalized pixels
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    seed_everything(0)  # for dropout
    trained = model.train()(images)
    check_output(trained, images[:, 0, 0, 0], "A batch of 16 images")
    gradients = torch.autograd.grad(trained[:, 0].sum(), parameters, allow_unused=True) if trained.requires_grad else ()
    norms = [torch.zeros(()) if gradient is None else gradient.norm() for gradient in gradients]
    with torch.no_grad():
        computed = [trained, *norms, model.eval()(images)]
    model.load_state_dict(state, strict=False)  # buffers may have changed in train mode
    rounded = [(value.detach().cpu().double() * 10**decimals).round() + 0.0 for value in computed]  # without -0.0
    size = sum(parameter.numel() for parameter in parameters)
    return {"trainable_parameters": size, "network_sha256": sha256(*(value.numpy().tobytes() for value in rounded))}


def describe_environment(device: torch.device, recipe: Recipe, loader: object, model: nn.Module) -> dict[str, Any]:
    """Return what may change results slightly: device, dtype, workers, layers, and what `describe_machine` returns."""
    facts: dict[str, Any] = {"device": str(device), "dtype": str(recipe.dtype(device)).removeprefix("torch.")}
    facts["workers"] = getattr(loader, "num_workers", 0)
    facts["network"] = " ".join(str(model).split())  # its layers, on one line
    return facts | describe_machine()


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

    def __init__(
        self, folder: str | Path, facts: dict[str, Any], environment: dict[str, Any], parts: dict[str, Any]
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.facts, self.environment, self.parts = facts, environment, parts
        self.saved_environment = environment  # of the last epoch that was trained
        self.stale: list[Path] = []
        self.seen: tuple[Path, int] | None = None  # the newest resume file when this run last looked, and its time

    def _newest(self) -> tuple[Path, int] | None:
        return next(((file, file.stat().st_mtime_ns) for file in self.files()), None)

    def files(self) -> list[Path]:
        """Return the resume files, the newest first."""
        return sorted(self.folder.glob(f"epoch-{'[0-9]' * 6}.pt"), reverse=True)

    def restore(self, resume: bool = True) -> list[Evaluation]:
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
        files, self.seen = self.files(), self._newest()
        if not resume:
            self.stale = files
            return []
        for file in files:
            if (saved := self._read(file)) is not None:
                return self._apply(file, saved)
        if files:
            raise CheckpointError(f"All resume files in {self.folder} are corrupted. Pass resume=False to start over.")
        return []

    def _apply(self, file: Path, saved: dict[str, Any]) -> list[Evaluation]:
        if different := _differences(saved["facts"], self.facts):
            ways = "Use another folder, or pass resume=False to start over."
            raise CheckpointError(f"{self.folder} contains a different run: {different}. {ways}")
        if changed := _differences(saved["environment"], self.environment):
            print(f"NOTICE: {changed}. The results may differ slightly.", file=sys.stderr)
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.saved_environment = saved["environment"]
        print(f"resumed after epoch {saved['history'][-1][0]:g}, from {file.name}")
        return [Evaluation(*entry) for entry in saved["history"]]

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
            CheckpointError: If another process has written a resume file of this epoch or a later one.
        """
        target, newest = self.folder / f"epoch-{math.ceil(history[-1].epoch):06}.pt", self._newest()
        if newest and newest != self.seen and newest[0] >= target:
            raise CheckpointError(f"Another process wrote to {self.folder} during this run. Use a folder for each run.")
        self.saved_environment = self.environment
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"history": [list(entry) for entry in history], "facts": self.facts, "environment": self.environment}
        blob = io.BytesIO()
        torch.save(state, blob)
        atomic_write(target, blob.getvalue())
        for old in {*self.files()[2:], *self.stale} - {target}:
            old.unlink(missing_ok=True)
        self.stale, self.seen = [], self._newest()

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
            one, other = one[start : start + 60], other[start : start + 60]
            name = name.replace("_sha256", " (by its SHA-256)")
            found.append(f"{name} is {one} in the folder, and {other} in this call")
    return ", ".join(found[:3])
