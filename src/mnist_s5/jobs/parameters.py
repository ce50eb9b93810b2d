"""A notebook's parameters: the types that its parameters cell declares, and the one check of every value."""

import ast
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..files import did_you_mean

_WANTED = {"int": "an integer", "float": "a finite number", "bool": "True or False", "str": "text"}


class RunError(RuntimeError):
    """A run cannot start, or one of its cells failed. The message tells why."""


def declared_types(source: str, untyped: bool = False) -> dict[str, str]:
    """Return the name and type of each annotated variable that a cell sets, in the order of the cell.

    Args:
        source: The code of the cell.
        untyped: Whether to include variables without annotation. They have the type of their value.
    """
    types = {}
    try:
        lines = ast.parse(source).body
    except (SyntaxError, ValueError):  # a magic
        lines = []
    for line in lines:
        if isinstance(line, ast.AnnAssign) and line.value:
            types[ast.unparse(line.target)] = ast.unparse(line.annotation)
        elif untyped and isinstance(line, ast.Assign):
            types[ast.unparse(line.targets[0])] = type(_literal(ast.unparse(line.value))).__name__
    return types


def check_value(name: str, value: Any, types: dict[str, str]) -> None:
    """Raise RunError unless there is a parameter of this name, and the value has its type."""
    if name not in types:
        raise RunError(f"There is no parameter {name}. {did_you_mean(name, types)}")
    bare, optional = _without_none(types[name])
    fits = type(value) in (int, float) and math.isfinite(value) if bare == "float" else type(value).__name__ == bare
    if not fits and not (value is None and optional):
        wanted = _WANTED.get(bare, bare) + (" or None" if optional else "")
        raise RunError(f"{name}={value!r} is invalid. It must be {wanted}.")


def _without_none(kind: str) -> tuple[str, bool]:
    """Split Optional[float], typing.Optional[float], or float | None into the type and whether None is allowed."""
    bare = re.sub(r"^(typing\.)?Optional\[(.*)\]$|^(.*) \| None$", r"\2\3", kind)
    return bare, bare != kind


def check_parameters() -> None:
    """Check the parameters of the notebook that calls this, right after its parameters cell.

    papermill runs a notebook with an unknown parameter as if it had not been passed.

    Raises:
        RunError: For an unknown parameter, and for a value of another type than the parameters cell declares.
    """
    from IPython import get_ipython

    shell = get_ipython()
    check_cells(shell.user_ns["In"] if shell else [])


def check_cells(cells: Iterable[str]) -> None:
    """Check parameters in the cells that were run so far. The first cell that declares types has the parameters.

    A cell that begins with "# Parameters" is papermill's. If a cell was run again, the last run counts.
    """
    types: dict[str, str] = {}
    own = injected = ""
    for source in cells:
        found = declared_types(source)
        if source.partition("\n")[0].strip() == "# Parameters":
            injected = source
        elif found and (not types or found.keys() == types.keys()):
            types, own = found, source
    typed = [line for line in ast.parse(own).body if isinstance(line, ast.AnnAssign) and line.value]
    given = [(ast.unparse(line.target), ast.unparse(line).partition(" = ")[2]) for line in typed]
    for line in ast.parse(injected).body:
        if not isinstance(line, ast.Assign) or len(line.targets) > 1:
            raise RunError(f"The name of a parameter is code ({ast.unparse(line)}). Use the name of a parameter.")
        given.append((ast.unparse(line.targets[0]), ast.unparse(line.value)))
    for name, code in given:
        value = _literal(code)
        if value is not ... or name not in types:  # other expressions are computed, and not checked
            check_value(name, value, types)


def _literal(text: str) -> Any:
    """Return the value of a literal, or ... for any other expression. papermill writes infinity as float('inf')."""
    try:
        return float(text[7:-2]) if text.startswith("float('") else ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ...


def _from_text(text: str, kind: str) -> Any:
    """Return the value that a text on the command line means for a parameter of this type, or the text itself."""
    bare, _ = _without_none(kind)
    if bare == "str":
        return text
    value = _literal(text.title() if text.lower() in ("true", "false", "none") else text)
    return text if value is ... else float(value) if bare == "float" and type(value) is int else value


def parse_parameters(notebooks: Sequence[Path], pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return, for each notebook, the values of the parameters that it has, in the types that it declares.

    Raises:
        RunError: For a name that no notebook has, a value of another type, or a file that is not a notebook.
    """
    types = [declared_types(_parameters_cell(notebook), untyped=True) for notebook in notebooks]
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
    """Return the code of the cell that is tagged as papermill asks for."""
    import nbformat

    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # whatever nbformat raises for another file
        raise RunError(f"{notebook} is not a notebook ({type(error).__name__}).") from error
    return "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", ()))
