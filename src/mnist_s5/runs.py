"""A notebook as a job: strict parameters, a folder for each run, and what it measured as JSON."""

import base64
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoint import SHIPPED, fingerprint, save_checkpoint
from .files import explained, write_whole
from .recipes import Recipe
from .training import Epoch, History

CHECKPOINT, TRAINING = "model.safetensors", "training.pt"


class RunError(RuntimeError):
    """The run cannot start, or a cell of it failed; the message says why."""


def course_path(path: str) -> Path:
    """A folder or file of the course: in the installed package, which carries a copy, or in the checkout around it."""
    package = Path(__file__).parent
    return package / path if (package / path).exists() else package.parents[1] / path


def runs_folder() -> Path:
    """Where runs go: $MNIST_S5_RUNS, or else `runs` in the working directory (beside it where that is `notebooks`)."""
    here = Path.cwd()
    return Path(os.environ.get("MNIST_S5_RUNS") or (here.parent if here.name == "notebooks" else here) / "runs")


def new_run(run_dir: str = "") -> Path:
    """The run's folder, made: the named one, or else a new one under `runs_folder`, called after the time.

    Raises OSError where it cannot be made, and says why.
    """
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    names = itertools.chain([stamp], (f"{stamp}-{n}" for n in itertools.count(2)))  # many may start in one second
    folder = Path(run_dir).expanduser() if run_dir else runs_folder() / next(names)
    try:
        if run_dir:
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        while True:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
            folder = folder.with_name(next(names))
    except OSError as error:
        raise explained(error, folder) from error


def last_checkpoint(run_dir: str = "") -> Path:
    """The newest checkpoint under the named folder, or else of all runs, or else the one that the package ships.

    Raises FileNotFoundError for a named folder that does not exist.
    """
    if run_dir and not Path(run_dir).expanduser().is_dir():
        raise FileNotFoundError(f"There is no run {run_dir}: name a run's folder, or leave run_dir empty.")
    for place in [Path(run_dir).expanduser(), runs_folder()] if run_dir else [runs_folder()]:
        found = sorted(place.rglob(CHECKPOINT), key=lambda path: path.stat().st_mtime)
        if found:
            return found[-1]
    return SHIPPED


def write_metrics(folder: str | Path, **metrics: Any) -> None:
    """Add what a run measured to its metrics.json, together with the versions and threads that it used."""
    path = Path(folder) / "metrics.json"
    try:
        known = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise RunError(f"{path} is damaged: move it away, and run again.") from error
    versions = {"python": platform.python_version(), "torch": torch.__version__, "torchvision": version("torchvision")}
    facts: dict[str, Any] = {"threads": torch.get_num_threads(), "machine": platform.machine(), "versions": versions}
    if sys.platform == "linux":
        import resource

        facts["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6
    write_whole(path, json.dumps(known | facts | metrics, indent=1).encode())


def save_run(
    folder: str | Path,
    model: nn.Module,
    recipe: Recipe,
    history: History,
    *,
    seed: int,
    device: str,
    images: tuple[int, int],
) -> None:
    """Write the trained weights, and to metrics.json what somebody needs to repeat the run; images: train and test."""
    if history.weights and history.weights != fingerprint(model.state_dict()):
        raise RunError("This history is of another network than this one: train again, and save both then.")
    if not history:
        raise RunError("This history is empty: train for an epoch at least, and save then.")
    last = history[-1]
    facts: dict[str, Any] = {"dataset": history.dataset, "recipe": recipe.name, "epochs": recipe.epochs, "seed": seed}
    facts["test_accuracy"] = last.test_accuracy
    save_checkpoint(model, Path(folder) / CHECKPOINT, **facts)
    facts |= {key: value for key, value in asdict(recipe).items() if key != "name"}
    facts |= {"device": device, "train_images": images[0], "test_images": images[1], "test_loss": last.test_loss}
    facts["precision"] = str(recipe.precision(device))[6:]
    facts["train_seconds"] = sum(entry.seconds for entry in history)
    write_metrics(folder, **facts, history=[entry._asdict() for entry in history])


def recorded(name: str) -> tuple[History, dict[str, Any]]:
    """What the course recorded in benchmarks/results/NAME.json: the run's history, empty for a comparison, and all."""
    metrics = json.loads(course_path(f"benchmarks/results/{name}.json").read_text())
    entries = metrics.get("history", ())
    return History((Epoch(**entry) for entry in entries), metrics.get("dataset", "unknown")), metrics


def find_notebooks(names: Iterable[str]) -> list[Path]:
    """The notebooks of these names (paths do as well); "all" is every notebook of the course."""
    ours = {
        path.stem: path for path in sorted(course_path("notebooks").rglob("*.ipynb")) if "checkpoint" not in path.stem
    }
    found: list[Path] = []
    for name in names:
        if name == "all":
            found += [path for name, path in ours.items() if name[0].isdigit()]
        elif name in ours or Path(name).is_file():
            found.append(ours.get(name, Path(name)))
        else:
            raise RunError(f"There is no notebook {name}: name a file, all, or one of {', '.join(ours)}.")
    return found


def run_notebook(notebook: Path, folder: Path, parameters: dict[str, Any]) -> Path:
    """Execute the notebook through papermill into the folder, its figures beside it, each called after its cell.

    Returns the executed notebook. Raises RunError where a cell fails; the notebook up to there is kept.
    """
    from papermill import PapermillExecutionError, execute_notebook

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / notebook.name
    if target.resolve() == notebook.resolve():
        raise RunError(f"{notebook.name} would be overwritten by its own run: choose another folder with --out.")
    try:
        quiet = ["--log-level=ERROR"]  # of the kernel: its advice on transports is not for learners
        done = execute_notebook(notebook, target, parameters, kernel_name="python3", extra_arguments=quiet)
    except PapermillExecutionError as error:
        raise RunError(f"{notebook.stem} stopped: {error.ename}: {error.evalue} (see {target})") from None
    except RuntimeError as error:  # the kernel died
        raise RunError(f"{notebook.stem} stopped: {error}; perhaps the memory was too small (see {target})") from error
    for cell in done.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                write_whole(folder / f"{notebook.stem}-{cell.id}.png", base64.b64decode(output.data["image/png"]))
    return target
