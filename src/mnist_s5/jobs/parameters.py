"""The parameters of a notebook: their types, and the values from the command line or from papermill."""

import ast
import math
import re
import sys
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Optional, Union, get_args, get_origin

from ..messages import did_you_mean

_WANTED: dict[Any, str] = {
    **{int: "an integer", float: "a finite number", bool: "True or False", str: "text"},
    **{None: "None", NoneType: "None"},
}
_NAMES = {
    **{each.__name__: each for each in (bool, dict, float, int, list, str, tuple)},
    **{"Any": Any, "Literal": Literal, "Optional": Optional, "Union": Union, "typing": typing, "None": None},
}


class RunError(RuntimeError):
    """A run cannot start, or one of its cells failed. The message says why."""


def local_path(path: str) -> Path:
    """Return the path, with ~ expanded.

    Raises:
        RunError: For an address such as s3://bucket/run, which would become a folder with this name.
    """
    if re.match(r"[A-Za-z][\w+.-]+:/", path):  # not a drive of Windows, which has one letter
        raise RunError(f"{path} is an address, not a path on this machine. Write to a folder here, and copy it there.")
    return Path(path).expanduser()


def read_notebook(path: Path) -> Any:
    """Return a notebook, without the parameters that papermill added to it, if it was executed.

    Raises:
        RunError: If the file is not a notebook.
    """
    import nbformat

    try:
        notebook = nbformat.reads(path.read_text("utf-8-sig"), as_version=4)  # some editors write a byte-order mark
    except Exception as error:  # nbformat raises many types for other files
        raise RunError(f"{path} is not a notebook ({type(error).__name__}). Pass an .ipynb file.") from error
    added = "injected-parameters"
    notebook.cells = [cell for cell in notebook.cells if added not in cell.metadata.get("tags", ())]
    return notebook


def _is_python(source: str) -> bool:
    """Return False for a cell with IPython's magics, or a syntax error."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def declared(source: str, untyped: bool = False) -> dict[str, tuple[str, str]]:
    """Return the type and the code of the value of each annotated variable that a cell sets.

    Args:
        source: The code of the cell.
        untyped: Whether to include variables without annotation. They have the type of their value.
    """
    found = {}
    for line in ast.parse(source).body if _is_python(source) else ():
        if isinstance(line, ast.AnnAssign) and line.value:
            found[ast.unparse(line.target)] = ast.unparse(line.annotation), ast.unparse(line.value)
        elif untyped and isinstance(line, ast.Assign):
            code = ast.unparse(line.value)
            found[ast.unparse(line.targets[0])] = type(_literal(code)).__name__, code
    return found


def _type_of(annotation: str) -> Any:
    """Return the type that an annotation names, such as Optional[float]; Any if it is not one of Python's own."""
    try:
        kind = eval(annotation, {"__builtins__": {}}, _NAMES)
        return _type_of(kind) if isinstance(kind, str) else kind  # "int" in quotes is int
    except Exception:  # any code may stand there
        return Any


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value has a type. The elements of lists, tuples, and dicts are not checked."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in get_args(kind))
    if kind is Any or kind is None or kind is NoneType:
        return kind is Any or value is None
    if kind is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return type(value) is (origin or kind)


def _wanted(kind: Any) -> str:
    """Return a type in words."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_wanted, get_args(kind))))
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return _WANTED.get(kind) or str(getattr(kind, "__name__", kind))


def check_value(name: str, value: Any, types: dict[str, str]) -> None:
    """Raise RunError unless there is a parameter of this name, and the value has its type."""
    if name not in types:
        ways = did_you_mean(name, types) if types else 'No cell of the notebook has the tag "parameters".'
        raise RunError(f"There is no parameter {name}. {ways}")
    kind = _type_of(types[name])
    if not _fits(value, kind):
        raise RunError(f"{name}={value!r} is invalid. It must be {_wanted(kind)}.{_yaml_hint(value, kind)}")


def _yaml_hint(value: Any, kind: Any) -> str:
    """Return how to write a number that YAML (papermill's -y and -f) reads as text, such as 1e-2."""
    number = _literal(value) if type(value) is str else None
    if type(number) is not float or not math.isfinite(number) or not _fits(number, kind):
        return ""
    text = repr(number)
    return f" YAML reads it as text. Write {text if '.' in text else text.replace('e', '.0e')}."


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
    annotated variables, otherwise the last one with variables before the cell that papermill added. That one starts
    with "# Parameters". If a cell was run twice, the last time counts.
    """
    own: dict[str, tuple[str, str]] = {}
    plain: dict[str, tuple[str, str]] = {}  # of a cell without annotations
    injected = ""
    for source in cells:
        found, everything = declared(source), declared(source, untyped=True)
        marked = source.partition("\n")[0].strip() == "# Parameters"
        if marked and (own or plain.keys() & everything.keys()):
            injected = source
        elif found and (not own or found.keys() == own.keys() or "run_dir" in found.keys() - own.keys()):
            own = found
        elif not own and not injected:
            plain = everything or plain
    types = {name: kind for name, (kind, _) in (own or plain).items()}
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


def _from_text(text: str, annotation: str) -> Any:
    """Convert a text from the command line to the type of its parameter, as far as possible."""
    kind = _type_of(annotation)
    if kind is str:
        return text
    value = _literal(text.title() if text.lower() in ("true", "false", "none") else text)
    if value is ... or (not _fits(value, kind) and _fits(text, kind)):
        return text
    options = get_args(kind) or (kind,)
    if type(value) is int and float in options and int not in options and _fits(value, float):
        return float(value)
    return value


def to_text(value: Any) -> str:
    """Return a value as in the names of folders. Equal values have equal texts: 1 and 1.0 are "1"."""
    short = re.sub(r"e([+-])0*", lambda sign: f"e{sign[1].strip('+')}", f"{value:g}") if type(value) is float else ""
    return short if short and float(short) == value else str(value)


def parameter_types(notebooks: Iterable[Path], passed: bool = True) -> list[dict[str, str]]:
    """Return the names and types of the parameters of each notebook.

    Args:
        notebooks: The notebooks.
        passed: Whether values will be passed. Then the parameters cell must be readable.

    Raises:
        RunError: For a file that is not a notebook, or a parameters cell that cannot be read.
    """
    types = []
    for path in notebooks:
        source = parameters_cell(read_notebook(path), path)
        if passed and not _is_python(source):
            raise RunError(
                f"The parameters cell of {path.name} contains a magic or a syntax error. Move it to another cell."
            )
        types.append({name: kind for name, (kind, _) in declared(source, untyped=True).items()})
    return types


def parse_parameters(types: Sequence[dict[str, str]], pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return, for each notebook, the values of its parameters in their declared types.

    Args:
        types: From `parameter_types`.
        pairs: Names and texts, as on the command line.

    Raises:
        RunError: For a name that no notebook has, or a value of another type.
    """
    everything = {name: kind for each in types for name, kind in each.items()}
    values: list[dict[str, Any]] = [{} for _ in types]
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


def parameters_cell(notebook: Any, path: Path) -> str:
    """Return the code of the cell that is tagged "parameters", as papermill asks for; "" if there is none."""
    found = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    if len(found) > 1:  # the later one would set the defaults again, after the values that were passed
        raise RunError(f'{path} has {len(found)} cells with the tag "parameters". Keep one of them.')
    return "".join(found)
