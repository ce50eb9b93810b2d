"""Run notebooks with papermill, and find run folders and recorded results."""

import base64
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from ..files import atomic_write, course_path, did_you_mean, runs_folder, to_write_error
from ..training.checkpoint import MODEL_FILE, PRETRAINED_WEIGHTS, Epoch, History
from .parameters import RunError


def new_run(run_dir: str = "") -> Path:
    """Create the run's folder: the given one, or a new one in `runs_folder`, named after the time.

    Raises:
        OSError: If it cannot be created.
    """
    # microseconds, because several runs may start within a second
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    folder = Path(run_dir).expanduser() if run_dir else runs_folder() / stamp
    try:
        folder.mkdir(parents=True, exist_ok=bool(run_dir))
    except OSError as error:
        raise to_write_error(error, folder) from error
    return folder


def last_checkpoint(run_dir: str = "") -> Path:
    """Return the newest weights in the given folder; without one, in any run, otherwise the pretrained weights.

    The empty folder that `new_run` creates for a run without a name counts as no folder.

    Raises:
        FileNotFoundError: If the given folder does not exist, or has no weights.
    """
    given = Path(run_dir).expanduser()
    unnamed = given.parent == runs_folder().resolve() and re.fullmatch(r"[\d_-]{26}", given.name)
    falls_back = not run_dir or bool(unnamed and given.is_dir())
    for place in [given] * bool(run_dir) + [runs_folder()] * falls_back:
        if found := list(place.rglob(MODEL_FILE)):
            return max(found, key=lambda path: path.stat().st_mtime)
    if not falls_back:
        raise FileNotFoundError(
            f"There are no weights in {run_dir}. Pass the folder of a finished run, run 02_training with this folder "
            "first, or pass no folder to use the newest run."
        )
    return PRETRAINED_WEIGHTS


def recorded(name: str) -> tuple[History, dict[str, Any]]:
    """Return the history (empty for a comparison) and everything else that benchmarks/results/NAME.json records."""
    metrics = json.loads(course_path(f"benchmarks/results/{name}.json").read_text())
    entries = (Epoch(**entry) for entry in metrics.get("history", ()))
    return History(entries, metrics.get("dataset", "unknown")), metrics


def find_notebooks(names: Iterable[str]) -> list[Path]:
    """Return the notebooks with these names or paths. "all" means the numbered ones, without the exercises.

    Raises:
        RunError: If a notebook does not exist, or two different ones have the same file name.
    """
    folder = course_path("notebooks")  # not recursively: executed copies in other folders have the same names
    ours = {path.stem: path for path in sorted([*folder.glob("*.ipynb"), *folder.glob("exercises/*.ipynb")])}
    found: list[Path] = []
    for name in names:
        if name == "all":
            found += [path for name, path in ours.items() if name[0].isdigit()]
        elif name in ours or Path(name).is_file():
            found.append(ours.get(name, Path(name)))
        else:
            raise RunError(f"There is no notebook {name}. {did_you_mean(name, ['all', *ours])}")
    found = list({path.resolve(): path for path in found}.values())
    for name, count in Counter(path.name for path in found).items():
        if count > 1:
            raise RunError(f"Two notebooks are named {name}. Run each with its own --out.")
    return found


def run_notebook(notebook: Path, folder: Path, parameters: dict[str, Any], timeout: int | None = None) -> None:
    """Execute a notebook into an existing folder, and save each figure next to it, named after its cell.

    Until it succeeds, the notebook is called NAME-unfinished.ipynb, so a failed run never replaces a finished one.

    Args:
        notebook: The notebook.
        folder: Where to write.
        parameters: Values of its parameters.
        timeout: Stop a cell that takes more than this many seconds. None sets no limit.

    Raises:
        RunError: If a cell fails or takes too long. The unfinished notebook is kept.
        ModuleNotFoundError: If a package that executes notebooks is missing.
    """
    import ipykernel  # noqa: F401 (without it, the error would be that the kernel died)
    from papermill import PapermillExecutionError, execute_notebook
    from papermill.log import logger

    logger.setLevel(logging.CRITICAL)  # errors are reported below
    target, unfinished = folder / notebook.name, folder / f"{notebook.stem}-unfinished.ipynb"
    if target.resolve() == notebook.resolve():
        raise RunError(f"This run would overwrite its own notebook {notebook.name}. Choose another folder with --out.")

    def stopped(why: str) -> RunError:
        return RunError(f"{notebook.stem} stopped: {why} (see {unfinished}).")

    paths = [re.sub("[{}]", r"\g<0>\g<0>", str(path)) for path in (notebook, unfinished)]  # papermill formats them
    options: dict[str, Any] = {"kernel_name": "python3", "language": "python", "execution_timeout": timeout}
    options["extra_arguments"] = ["--log-level=CRITICAL"]  # hide the kernel's messages about its sockets
    try:
        done = execute_notebook(*paths, parameters, **options)
    except PapermillExecutionError as error:
        raise stopped(f"{error.ename}: {error.evalue}") from None
    except TimeoutError:
        raise stopped(f"a cell took more than {timeout} seconds") from None
    except RuntimeError as error:  # the kernel died
        raise stopped(f"{error}. The kernel may have run out of memory") from error
    if any(output.get("ename") == "SystemExit" for cell in done.cells for output in cell.get("outputs", [])):
        raise stopped("a cell called exit()")
    try:
        os.replace(unfinished, target)
    except OSError as error:
        raise to_write_error(error, target) from error
    for cell in done.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                atomic_write(folder / f"{notebook.stem}-{cell.id}.png", base64.b64decode(output.data["image/png"]))
