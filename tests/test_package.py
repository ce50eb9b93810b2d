"""The package has a small core, layers, and no name that nobody uses."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import mnist_s5 as s5

PACKAGE = Path(s5.__file__).parent
ROOT = PACKAGE.parents[1]
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]
# Imports point only to layers that come later. The core begins with training.
LAYERS = [
    "__main__", "doctor", "exercises", "jobs", "figures", "live", "pictures", "course",
    "training", "data", "metrics", "model", "device", "files", "messages",
]  # fmt: skip
CORE = LAYERS[LAYERS.index("training") :]
PATH = ["model", "data/augment", "data/loaders", "training/recipes", "training/loops", "training/fit", "training/muon"]


def code_lines(path: Path) -> set[int]:
    """Return the numbers of the lines with code: not blank, not a comment, not a docstring."""
    source = path.read_text()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            lines -= set(range(body[0].lineno, (body[0].end_lineno or 0) + 1))
    return lines


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            up = path.parents[node.level - 1]
            goals = [up / (node.module or alias.name).replace(".", "/") for alias in node.names]
            for goal in goals:
                if goal != PACKAGE:
                    ours, theirs = (LAYERS.index(layer_of(each)) for each in (path, goal.with_suffix(".py")))
                    assert ours < theirs or (ours == theirs and goal.parent == path.parent), goal


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_function_is_long(path: Path) -> None:
    code = code_lines(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert len(code & set(range(node.lineno, (node.end_lineno or 0) + 1))) <= 45, node.name


def size_of(paths: list[Path]) -> tuple[int, int]:
    """Return the number of lines of code, and of their characters."""
    lines = [path.read_text().splitlines()[number - 1] for path in paths for number in code_lines(path)]
    return len(lines), sum(map(len, lines))


def test_the_core_stays_thin() -> None:
    lines, characters = size_of([path for path in MODULES if layer_of(path) in CORE])
    assert lines <= 1145
    assert characters <= 66_000
    assert size_of([PACKAGE / f"{name}.py" for name in PATH])[0] < 500


def test_every_exported_name_is_used_and_has_a_docstring() -> None:
    notebooks = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks" / "exercises").glob("*.ipynb")]
    used = "\n".join(path.read_text() for path in [*notebooks, ROOT / "README.md"])
    for name in s5.__all__:
        value = getattr(s5, name)
        assert not callable(value) or value.__doc__, name
        assert re.search(rf"\bs5\.{name}\b", used), name


def test_metrics_can_be_read_without_torch() -> None:
    program = "import sys, mnist_s5.metrics, mnist_s5.jobs.runs; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
