"""A notebook as a job: find it, check its parameters, and execute it with papermill; and find what runs have left."""

import ast
import base64
import json
import logging
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..files import atomic_write, course_path, did_you_mean, runs_folder, to_write_error
from ..training.checkpoint import MODEL_FILE, PRETRAINED_WEIGHTS, Epoch, History

_WANTED = {"int": "an integer", "float": "a finite number", "bool": "True or False", "str": "text"}


class RunError(RuntimeError):
    """A run cannot start, or one of its cells failed. The message says why."""


def declared(source: str, untyped: bool = False) -> dict[str, tuple[str, str]]:
    """Return the type and the code of the value of each annotated variable that a cell sets.

    Args:
        source: The code of the cell.
        untyped: Whether to include variables without annotation. They have the type of their value.
    """
    found = {}
    try:
        lines = ast.parse(source).body
    except (SyntaxError, ValueError):  # the cell contains IPython magics
        lines = []
    for line in lines:
        if isinstance(line, ast.AnnAssign) and line.value:
            found[ast.unparse(line.target)] = ast.unparse(line.annotation), ast.unparse(line.value)
        elif untyped and isinstance(line, ast.Assign):
            code = ast.unparse(line.value)
            found[ast.unparse(line.targets[0])] = type(_literal(code)).__name__, code
    return found


def check_value(name: str, value: Any, types: dict[str, str]) -> None:
    """Raise RunError unless there is a parameter of this name, and the value has its type."""
    if name not in types:
        ways = did_you_mean(name, types) if types else 'No cell of the notebook has the tag "parameters".'
        raise RunError(f"There is no parameter {name}. {ways}")
    bare, optional = _without_none(types[name])
    fits = (
        type(value) in (int, float) and abs(value) <= sys.float_info.max
        if bare == "float"
        else type(value).__name__ == bare.partition("[")[0]
    )
    if not fits and not (value is None and optional):
        wanted = _WANTED.get(bare, bare) + (" or None" if optional else "")
        raise RunError(f"{name}={value!r} is invalid. It must be {wanted}.{_yaml_hint(value, bare)}")


def _yaml_hint(value: Any, kind: str) -> str:
    """Return how to write a number that YAML (papermill's -y and -f) reads as text, such as 1e-2."""
    number = _literal(value) if kind == "float" and type(value) is str else None
    if type(number) is not float or not math.isfinite(number):
        return ""
    text = repr(number)
    return f" YAML reads it as text. Write {text if '.' in text else text.replace('e', '.0e')}."


def _without_none(kind: str) -> tuple[str, bool]:
    """Split Optional[float], typing.Optional[float], or float | None into the type and whether None is allowed."""
    bare = re.sub(r"^(typing\.)?Optional\[(.*)\]$|^(.*) \| None$", r"\2\3", kind)
    return bare, bare != kind


def check_parameters() -> None:
    """Check the parameters of the notebook that calls this, right after its parameters cell.

    papermill only warns about an unknown parameter, so a misspelled name would be ignored.

    Raises:
        RunError: If a parameter is unknown, or its value has the wrong type.
    """
    from IPython import get_ipython

    shell = get_ipython()
    check_cells(shell.user_ns["In"] if shell else [])


def check_cells(cells: Iterable[str]) -> None:
    """Check the parameters in the cells that were run so far.

    The parameters cell is the one that sets run_dir, as in every notebook of the course, otherwise the first one with
    annotated variables. A cell that starts with "# Parameters" was added by papermill. If a cell was run twice, the
    last time counts.
    """
    own: dict[str, tuple[str, str]] = {}
    injected = ""
    for source in cells:
        found = declared(source)
        if source.partition("\n")[0].strip() == "# Parameters":
            injected = source
        elif found and (not own or found.keys() == own.keys() or "run_dir" in found.keys() - own.keys()):
            own = found
    types = {name: kind for name, (kind, _) in own.items()}
    given = [(name, code) for name, (_, code) in own.items()]
    for line in ast.parse(injected).body:
        if not isinstance(line, ast.Assign) or len(line.targets) > 1:
            raise RunError(f"Expected the name of a parameter, got code: {ast.unparse(line)}.")
        given.append((ast.unparse(line.targets[0]), ast.unparse(line.value)))
    for name, code in given:
        value = _literal(code)
        if value is not ... or name not in types:  # other expressions cannot be checked
            check_value(name, value, types)


def _literal(text: str) -> Any:
    """Return the value of a literal, or ... for any other expression. papermill writes infinity as float('inf')."""
    try:
        return float(text[7:-2]) if text.startswith("float('") else ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ...


def _from_text(text: str, kind: str) -> Any:
    """Convert a text from the command line to the type of its parameter. Return it unchanged if that fails."""
    bare, _ = _without_none(kind)
    if bare == "str":
        return text
    value = _literal(text.title() if text.lower() in ("true", "false", "none") else text)
    return (
        text if value is ... else float(value) if bare == "float" and type(value) is int and len(text) < 300 else value
    )


def parse_parameters(notebooks: Sequence[Path], pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return, for each notebook, the values of its parameters in their declared types.

    Raises:
        RunError: For a name that no notebook has, a value of another type, or a file that is not a notebook.
    """
    cells = [declared(_parameters_cell(notebook), untyped=True) for notebook in notebooks]
    types = [{name: kind for name, (kind, _) in cell.items()} for cell in cells]
    everything = {name: kind for each in types for name, kind in each.items()}
    values: list[dict[str, Any]] = [{} for _ in notebooks]
    for name, text in pairs:
        if name == "run_dir":
            raise RunError("run_dir is set by --out. Pass the run's folder there.")
        if name not in everything:
            check_value(name, text, everything)
        for each, found in zip(types, values, strict=True):
            if name in each:
                found[name] = _from_text(text, each[name])
                check_value(name, found[name], each)
    return values


def _parameters_cell(notebook: Path) -> str:
    """Return the code of the cell that is tagged "parameters", as papermill asks for."""
    import nbformat

    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat raises many types for other files
        raise RunError(f"{notebook} is not a notebook ({type(error).__name__}).") from error
    return "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", ()))


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
    found = list(dict.fromkeys(Path(os.path.abspath(path)) for path in found))
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

    def stopped(why: str, cell: int | None = None) -> RunError:
        place = f" in cell [{cell}]" if cell else ""
        return RunError(f"{notebook.stem} stopped{place}: {why} (see {unfinished}).")

    paths = [re.sub("[{}]", r"\g<0>\g<0>", str(path)) for path in (notebook, unfinished)]  # papermill formats them
    options: dict[str, Any] = {"kernel_name": "python3", "language": "python", "execution_timeout": timeout}
    options["extra_arguments"] = ["--log-level=CRITICAL"]  # hide the kernel's messages about its sockets
    try:
        done = execute_notebook(*paths, parameters, **options)
    except PapermillExecutionError as error:
        raise stopped(f"{error.ename}: {error.evalue}", error.exec_count) from None
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
