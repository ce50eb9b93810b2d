"""A notebook as a job: find it, and execute it with papermill into a run's folder."""

import base64
import glob
import json
import logging
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..course import course_path, runs_folder
from ..files import MODEL_FILE, PRETRAINED_WEIGHTS, atomic_write, course_folder, to_write_error
from ..messages import did_you_mean
from ..metrics import read_metrics, to_json
from .parameters import RunError, declared, local_path, parameters_cell, read_notebook

ERROR_FILE = "error.txt"  # in a run's folder: why the run failed, in a sweep


def run_path(run_dir: str = "") -> Path:
    """Return the run's folder: the given one, or a new one in `runs_folder`, named after the time.

    Raises:
        RunError: If it is an address, such as s3://bucket/run.
    """
    # microseconds, because several runs may start within a second
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    return local_path(run_dir) if run_dir else runs_folder() / stamp


def new_run(run_dir: str = "") -> Path:
    """Create the run's folder, and return it. See `run_path`.

    Raises:
        OSError: If it cannot be created.
        RunError: If it is an address, such as s3://bucket/run.
    """
    folder = run_path(run_dir)
    try:
        folder.mkdir(parents=True, exist_ok=bool(run_dir))
    except OSError as error:
        raise to_write_error(error, folder) from error
    return folder


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Keep other commands on this machine from running notebooks in the same folder.

    Raises:
        RunError: If one does.
    """
    import psutil

    lock = folder / ".running"  # names the process
    for _ in range(2):
        try:
            with lock.open("x") as file:
                json.dump([platform.node(), os.getpid(), psutil.Process().create_time()], file)
            break
        except FileExistsError:
            with suppress(OSError, ValueError, psutil.NoSuchProcess):  # that process is gone, or wrote nothing yet
                host, pid, started = json.loads(lock.read_text())
                if host == platform.node() and abs(psutil.Process(pid).create_time() - started) < 1:
                    raise RunError(
                        f"Another command (process {pid}) is running notebooks in {folder}. Wait until it ends, or "
                        "choose another folder with --out."
                    ) from None
            lock.unlink(missing_ok=True)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def matches(pattern: str) -> list[str]:
    """Return the files and folders that match a pattern, sorted. A leading ~ is the home folder.

    A part of the pattern that exists is taken literally, such as "class [2026]" in "class [2026]/*.ipynb".
    """
    path = Path(os.path.expanduser(pattern))
    literal, parts = Path(path.anchor), [path.anchor]
    for part in path.relative_to(path.anchor).parts:
        literal /= part
        parts.append(glob.escape(part) if os.path.lexists(literal) else part)
    return sorted(glob.glob(os.path.join(*parts), recursive=True))


def find_weights(weights: str = "auto", run_dir: str | Path = "") -> Path:
    """Return the file that a notebook's parameter `weights` means.

    Args:
        weights: "auto" (the network that was trained in `run_dir`, otherwise the pretrained one), "pretrained", a file,
            or a run's folder. A relative path is also looked up in the folder above `notebooks`.
        run_dir: The folder of this run.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    trained = Path(run_dir).expanduser() / MODEL_FILE
    if weights == "auto" and run_dir and trained.is_file():
        return trained
    if weights in ("auto", "pretrained"):
        return PRETRAINED_WEIGHTS
    for path in (local_path(weights), course_folder() / weights):
        for file in (path, path / MODEL_FILE):
            if file.is_file():
                return file
    raise FileNotFoundError(
        f"There are no weights in {weights}. Pass the folder of a finished run, a file, or weights='pretrained'."
    )


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
    found = list(dict.fromkeys(Path(os.path.abspath(path)) for path in found))
    for name, count in Counter(path.name for path in found).items():
        if count > 1:
            raise RunError(f"Two notebooks are named {name}. Run each with its own --out.")
    return found


def _kernel_manager() -> type:
    """Return a kernel manager that starts this Python: a kernel called python3 may belong to another environment."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            # A file of the working folder, such as types.py, must not hide a module that the kernel imports.
            launch = "import sys; del sys.path[0]; from ipykernel.kernelapp import launch_new_instance as f; f()"
            argv = [sys.executable, "-c", launch, "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    return ThisPython


def _execute(
    notebook: Any, name: str, target: Path, parameters: dict[str, Any], cell_timeout: int | None, keep_going: bool
) -> Any:
    """Execute a notebook with papermill, which writes it to the target after each cell. Return the notebook.

    Raises:
        RunError: If a cell fails or takes too long, and we do not keep going, or if the kernel dies.
    """
    import nbformat
    from papermill import PapermillExecutionError, execute_notebook
    from papermill.log import logger

    logger.setLevel(logging.CRITICAL)  # errors are reported below

    def stopped(why: str, cell: int | None = None) -> RunError:
        place = f" in cell [{cell}]" if cell else ""
        return RunError(f"{name} stopped{place}: {why} (see {target}).")

    path = re.sub("[{}]", r"\g<0>\g<0>", str(target))  # papermill formats it
    options: dict[str, Any] = {"kernel_name": "python3", "language": "python", "execution_timeout": cell_timeout}
    options["kernel_manager_class"] = _kernel_manager()
    options["extra_arguments"] = ["--log-level=CRITICAL"]  # hide the kernel's messages about its sockets
    options["iopub_timeout"] = 3600  # after 4 seconds, a cell with much output would fail
    options |= {"allow_errors": keep_going, "interrupt_on_timeout": keep_going}
    try:
        done = execute_notebook(notebook, path, parameters, **options)
    except PapermillExecutionError as error:
        if not keep_going:
            raise stopped(f"{error.ename}: {error.evalue}", error.exec_count) from None
        return nbformat.read(target, as_version=4)
    except TimeoutError:
        raise stopped(f"a cell took more than {cell_timeout} seconds") from None
    except RuntimeError as error:  # the kernel died
        raise stopped(f"{error}. The kernel may have run out of memory") from error
    exits = any(output.get("ename") == "SystemExit" for cell in done.cells for output in cell.get("outputs", []))
    if exits and not keep_going:
        raise stopped("a cell called exit()")
    return done


def _failed_cells(notebook: Any, cell_timeout: int | None) -> list[str]:
    """Return what went wrong in each cell that failed."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                interrupted = cell_timeout and output.ename == "KeyboardInterrupt"
                why = f"it took more than {cell_timeout} seconds" if interrupted else f"{output.ename}: {output.evalue}"
                found.append(f"cell [{cell.execution_count}]: {why}")
    return found


def _figures(stem: str, notebook: Any) -> dict[str, bytes]:
    """Return the figures in an executed notebook, and the names of their files."""
    found = {}
    for cell in notebook.cells:
        pngs = [output.data["image/png"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        for number, png in enumerate(pngs, start=1):
            found[f"{stem}-{cell.get('id')}" + f"-{number}" * (number > 1) + ".png"] = base64.b64decode(png)
    return found


def _forget_results(folder: Path, notebook: Path) -> None:
    """Remove the metrics and the figures of an earlier execution, so they cannot be taken for those of the next one."""
    import nbformat

    with suppress(Exception):  # there is none, or it is corrupted
        earlier = nbformat.read(folder / notebook.name, as_version=4)
        _remove_metrics(folder, earlier.metadata.get("mnist_s5", {}).get("metrics", {}))
        for name in _figures(notebook.stem, earlier):
            (folder / name).unlink(missing_ok=True)


def _remove_metrics(folder: Path, names: Iterable[str]) -> None:
    metrics = read_metrics(folder)
    if removed := metrics.keys() & set(names):
        kept = {name: value for name, value in metrics.items() if name not in removed}
        atomic_write(folder / "metrics.json", to_json(kept, indent=1).encode())


def _changed(folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics that are new or different."""
    after = read_metrics(folder)
    return {name: value for name, value in after.items() if name not in before or before[name] != value}


def is_interrupted(folder: Path) -> bool:
    """Return whether a notebook in the folder failed, or was interrupted, and was not executed again.

    A finished notebook has its metrics in its metadata. Its own name may end in -unfinished, too.
    """
    for path in folder.glob("*-unfinished.ipynb"):
        try:
            if "mnist_s5" not in read_notebook(path).metadata:
                return True
        except RunError:  # it is corrupted
            return True
    return False


def run_notebook(
    notebook: Path,
    folder: Path,
    parameters: dict[str, Any],
    cell_timeout: int | None = None,
    keep_going: bool = False,
) -> None:
    """Execute a notebook into an existing folder, and save its figures next to it, named after their cells.

    Until it succeeds, the notebook is called NAME-unfinished.ipynb, so a failed run never replaces a finished one.

    The metrics and figures of an earlier execution are removed first, and a failed execution leaves none. The executed
    notebook keeps its own metrics in its metadata. The metrics of other notebooks, and the files from which `fit`
    resumes, stay.

    Args:
        notebook: The notebook.
        folder: Where to write.
        parameters: Values of its parameters. The folder is added as `run_dir`, if the notebook has it.
        cell_timeout: Stop a cell that takes more than this many seconds. None sets no limit.
        keep_going: Execute the remaining cells if a cell fails or takes too long. The metrics and figures are kept.

    Raises:
        RunError: If a cell fails or takes too long. The unfinished notebook is kept.
        ModuleNotFoundError: If a package that executes notebooks is missing.
    """
    import ipykernel  # noqa: F401 (without it, the error would be that the kernel died)
    import nbformat

    target, unfinished = folder / notebook.name, folder / f"{notebook.stem}-unfinished.ipynb"
    if target.resolve() == notebook.resolve():
        raise RunError(f"This run would overwrite its own notebook {notebook.name}. Choose another folder with --out.")
    source = read_notebook(notebook)
    source.metadata.pop("mnist_s5", None)  # if it was executed before
    earlier = source.metadata.get("papermill", {}).get("parameters", {})
    again = {name: value for name, value in earlier.items() if name not in {"run_dir", *parameters}}
    takes_run_dir = "run_dir" in declared(parameters_cell(source, notebook), untyped=True)
    ours = {"run_dir": str(folder.resolve())} if takes_run_dir else {}
    if again:
        values = ", ".join(f"{name}={value!r}" for name, value in again.items())
        print(f"NOTICE: {notebook.name} was executed with {values}, and is now. Set them with -p.", file=sys.stderr)
    _forget_results(folder, notebook)
    before = read_metrics(folder)
    try:
        done = _execute(source, notebook.stem, unfinished, ours | again | parameters, cell_timeout, keep_going)
    except BaseException:
        _remove_metrics(folder, _changed(folder, before))
        raise
    done.metadata["mnist_s5"] = {"metrics": _changed(folder, before)}
    try:
        atomic_write(target, nbformat.writes(done).encode())
        unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise to_write_error(error, target) from error
    for name, png in _figures(notebook.stem, done).items():
        atomic_write(folder / name, png)
    if failed := _failed_cells(done, cell_timeout):
        raise RunError(f"{notebook.stem}: {'; '.join(failed)} (see {target}).")
