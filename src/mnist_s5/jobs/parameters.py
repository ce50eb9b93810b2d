"""The parameters of a notebook: their types, and the values from the command line or from papermill."""

import ast
import math
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..messages import did_you_mean

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
    if value is ...:
        return text
    if bare == "float" and type(value) is int and len(text) < 300:  # a longer one is not a finite float
        return float(value)
    return value


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
