"""A notebook's parameters: which it has, of which types, and a sentence for what it has not."""

import ast
import difflib
import math
import re
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


def _inner(kind: str) -> tuple[str, bool]:
    """The type, and whether None will do as well: Optional[float], typing.Optional[float] and float | None alike."""
    bare = re.sub(r"^(typing\.)?Optional\[(.*)\]$|^(.*) \| None$", r"\2\3", kind)
    return bare, bare != kind


def _wanted(kind: str) -> str:
    bare, optional = _inner(kind)
    return _WANTED.get(bare, bare) + (" or None" if optional else "")


def _fits(value: Any, kind: str) -> bool:
    bare, optional = _inner(kind)
    if value is None and optional:
        return True
    if bare == "float":
        return type(value) in (int, float) and math.isfinite(value)
    return type(value).__name__ == bare


def _parse(name: str, text: str, kind: str) -> Any:
    bare, optional = _inner(kind)
    if optional and text.lower() == "none":
        return None
    if bare not in _WANTED:
        raise RunError(f"{name} is of type {kind}, which the command line cannot give: set it in the notebook.")
    value: Any = None
    with suppress(KeyError, ValueError):
        value = {"true": True, "false": False}[text.lower()] if bare == "bool" else _TYPES[bare](text)
    if not _fits(value, bare):
        raise RunError(f"{name}={text} cannot be used: it must be {_wanted(kind)}.")
    return value


def _unknown(name: str, allowed: Sequence[str]) -> RunError:
    near = difflib.get_close_matches(name, allowed, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return RunError(f"There is no parameter {name}{hint}: choose from {', '.join(allowed)}.")


def check_parameters(cells: Iterable[str]) -> None:
    """Refuse what a notebook was given and has no parameter for, or of another type than it declares.

    cells: the sources of the cells that were run, IPython's `In`: the first one that declares types is the notebook's
    parameters, one that begins with "# Parameters" is papermill's; of each the last run counts. papermill itself runs
    a notebook with a misspelt parameter as if nothing had been asked. Raises RunError.
    """
    declared: dict[str, str] = {}
    own: list[ast.AnnAssign] = []
    injected: list[ast.stmt] = []
    for source in cells:
        try:
            lines = ast.parse(source).body
        except SyntaxError:  # magics
            continue
        typed = [line for line in lines if isinstance(line, ast.AnnAssign) and line.value]
        kinds = {ast.unparse(line.target): ast.unparse(line.annotation) for line in typed}
        if source.partition("\n")[0].strip() == "# Parameters":
            injected = lines
        elif kinds and (not declared or kinds.keys() == declared.keys()):
            declared, own = kinds, typed
    given = [(name, line.value) for name, line in zip(declared, own)]
    for statement in injected:
        if not isinstance(statement, ast.Assign) or [type(target) for target in statement.targets] != [ast.Name]:
            code = ast.unparse(statement)
            raise RunError(f"A parameter's name is code ({code}): name a parameter of the notebook.")
        name = ast.unparse(statement.targets[0])
        if name not in declared:
            raise _unknown(name, list(declared))
        given.append((name, statement.value))
    for name, expression in given:
        value = _literal(expression)
        if value is not ... and not _fits(value, declared[name]):  # an expression is the notebook's own affair
            raise RunError(f"{name}={value!r} cannot be used: it must be {_wanted(declared[name])}.")


def _literal(value: ast.expr | None) -> Any:
    """The value that is written there, or ... for an expression; papermill writes float('inf')."""
    text = ast.unparse(value) if value else "None"
    try:
        return float(text[7:-2]) if text.startswith("float('") else ast.literal_eval(text)
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
