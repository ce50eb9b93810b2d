"""A notebook's parameters: which it has, of which types, and a sentence for what it has not."""

import ast
import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .runs import RunError


def _kind(facts: dict[str, Any]) -> str:
    """The parameter's type: as annotated, or else that of its default."""
    if facts["inferred_type_name"] != "None":
        return str(facts["inferred_type_name"])
    try:
        return type(ast.literal_eval(facts["default"])).__name__
    except (ValueError, SyntaxError):
        return "unknown"


_TYPES: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str}
_WANTED = {"int": "a whole number", "float": "a finite number", "bool": "True or False", "str": "a text in quotes"}


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("Optional["):
        return value is None or _fits(value, kind[9:-1])
    if kind == "float":
        return type(value) in (int, float) and math.isfinite(value)
    return type(value).__name__ == kind


def _parse(name: str, text: str, kind: str) -> Any:
    if kind.startswith("Optional["):
        return None if text == "None" else _parse(name, text, kind[9:-1])
    if kind not in _WANTED:
        raise RunError(f"{name} is of type {kind}, which the command line cannot give: set it in the notebook.")
    value: Any = None
    with suppress(KeyError, ValueError):
        value = {"true": True, "false": False}[text.lower()] if kind == "bool" else _TYPES[kind](text)
    if not _fits(value, kind):
        raise RunError(f"{name}={text} cannot be used: it must be {_WANTED[kind]}.")
    return value


def _unknown(name: str, allowed: Sequence[str]) -> RunError:
    near = difflib.get_close_matches(name, allowed, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return RunError(f"There is no parameter {name}{hint}: choose from {', '.join(allowed)}.")


def check_parameters(cells: Iterable[str]) -> None:
    """Refuse what a notebook was given and has no parameter for, or of another type than it declares.

    cells: the sources of the cells that were run, IPython's `In`. papermill itself runs a notebook with a misspelt
    parameter as if nothing had been asked. Raises RunError.
    """
    declared: dict[str, str] = {}
    for source in cells:
        try:
            lines = ast.parse(source).body
        except SyntaxError:  # magics
            continue
        injected = source.startswith("# Parameters")
        for line in lines:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                name = line.target.id
                declared[name] = ast.unparse(line.annotation)
            elif injected and isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                name = line.targets[0].id
                if name not in declared:
                    raise _unknown(name, list(declared))
            elif injected:
                raise RunError(f"A parameter's name is code ({ast.unparse(line)}): name a parameter of the notebook.")
            else:
                continue
            value = _literal(line.value)
            kind = declared[name]
            if not _fits(value, kind):
                wanted = _WANTED.get(kind.removeprefix("Optional[").rstrip("]"), kind)
                raise RunError(f"{name}={value!r} cannot be used: it must be {wanted}.")


def _literal(value: ast.expr | None) -> Any:
    """The value that is written there; papermill writes float('inf') for one that has no literal."""
    text = ast.unparse(value) if value else "None"
    try:
        return float(text[7:-2]) if text.startswith("float(") else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ...


def strict_parameters(notebooks: Sequence[Path], pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """For each notebook its share of the values, typed as its parameters cell declares them.

    Raises RunError for a name that none of the notebooks has and for a value of another type.
    """
    from papermill import inspect_notebook

    declared = []
    for notebook in notebooks:
        try:
            about = inspect_notebook(notebook)
        except Exception as error:  # whatever nbformat and papermill raise for a file that is no notebook
            raise RunError(f"{notebook} is no notebook of Python that can be read ({type(error).__name__}).") from error
        declared.append({name: _kind(facts) for name, facts in about.items()})
    shares: list[dict[str, Any]] = [{} for _ in notebooks]
    for name, text in pairs:
        if name == "run_dir":
            raise RunError("run_dir is set by --out: name the run's folder there.")
        if not any(name in kinds for kinds in declared):
            raise _unknown(name, list(dict.fromkeys(known for kinds in declared for known in kinds)))
        for kinds, share in zip(declared, shares):
            if name in kinds:
                share[name] = _parse(name, text, kinds[name])
    return shares
