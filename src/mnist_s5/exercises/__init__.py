"""Exercises. Each solution is the source of its stub, of the student's notebook, and of a check that names mistakes."""

import ast
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from numbers import Integral, Real
from pathlib import Path
from textwrap import dedent, shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:  # matplotlib takes a second to import
    from ..figures import AltTextFigure

LESSONS = sorted(path.stem[2:] for path in Path(__file__).parent.glob("ex[0-9]*.py"))  # the names of the notebooks
TRIALS = 20
MakeInputs = Callable[[torch.Generator], tuple[Any, ...]]  # returns random inputs for a solution

RESULTS: dict[str, bool | None] = {}  # results of `check` in this session; None if it was interrupted
LAST: dict[str, str] = {}  # the last mistake that `check` named for each exercise


@dataclass
class Exercise:
    """An exercise: its solution, task text, and known wrong answers, each with the message shown to the student.

    The solution is a function, or a class that inherits from nn.Module.
    """

    solution: Callable[..., Any]
    title: str
    task: str
    hint: str
    difficulty: int  # 1 to 3
    minutes: int
    make_inputs: MakeInputs
    result: Callable[..., Any] = lambda function, *inputs: function(*inputs)  # what `judge` compares
    forbidden: Mapping[Callable[..., Any], str] = field(default_factory=dict)  # torch's functions, and how to name them
    trials: int = TRIALS  # how many random inputs
    mistakes: dict[str, Callable[..., Any]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)  # by message, what `check` adds if it has to repeat it
    _known: dict[Callable[..., Any], list[tuple[Any, Any]]] = field(default_factory=dict)  # outcomes of our functions

    def mistake(self, message: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that registers a wrong answer, and the message for students who submit it."""

        def register(wrong: Callable[..., Any]) -> Callable[..., Any]:
            self.mistakes[message] = wrong
            return wrong

        return register

    def edit(self, message: str, old: str, new: str, answer: str = "") -> None:
        """Register a wrong answer: the solution's code with one part replaced.

        Args:
            message: For students who submit it.
            old: The part of the code.
            new: What replaces it.
            answer: For students who submit it again.

        Raises:
            ValueError: The part does not occur exactly once in the code.
        """
        name, code = self.solution.__name__, self.code()
        if (times := code.count(old)) != 1:
            raise ValueError(f"{old!r} must occur once in the code of {name}, not {times} times.")
        defined: dict[str, Callable[..., Any]] = {}  # so that the exercise keeps its name in the module
        exec(code.replace(old, new), vars(sys.modules[self.solution.__module__]), defined)
        self.mistakes[message] = defined[name]
        self.answers[message] = answer

    def code(self) -> str:
        """Return the source of the solution, without its decorator."""
        source = dedent(inspect.getsource(self.solution))
        return "\n".join(source.splitlines()[ast.parse(source).body[0].lineno - 1 :])

    def stub(self) -> str:
        """Return the signature and docstring of the solution, with a body that raises NotImplementedError.

        For a class, return its first line, and the same for each of its methods.
        """
        lines, solution = self.code().splitlines(), ast.parse(self.code()).body[0]

        def unsolved(function: ast.AST) -> str:
            assert isinstance(function, ast.FunctionDef)
            first = function.body[0]
            end = first.end_lineno if ast.get_docstring(function) else first.lineno - 1
            indent = " " * first.col_offset
            return "\n".join(
                [*lines[function.lineno - 1 : end], f"{indent}raise NotImplementedError  # replace this line"]
            )

        if not isinstance(solution, ast.ClassDef):
            return unsolved(solution)
        methods = (each for each in solution.body if isinstance(each, ast.FunctionDef))
        return f"{lines[0]}\n" + "\n\n".join(map(unsolved, methods))

    def judge(self, function: Callable[..., Any]) -> str:
        """Compare a function with the solution on random inputs. Return the mistake, or "" if it is correct."""
        try:
            found = self._outcomes(function)
        except Rejected as error:
            return str(error)
        except (Exception, SystemExit) as error:  # a student's function can raise anything
            if isinstance(error, NotImplementedError) and not error.args:  # torch's errors of this type have a message
                return "Not solved yet."
            said = shorten(str(error), 150) or "no message"
            what = "class" if isinstance(self.solution, type) else "function"
            return f"The {what} raises {type(error).__name__}: {said}. Call it yourself to see the traceback."
        wanted = self._known_outcomes(self.solution)
        if _alike(found, wanted):
            return ""
        for message, wrong in self.mistakes.items():
            if _alike(found, self._known_outcomes(wrong)):
                return message
        trial = next(n for n, pair in enumerate(zip(found, wanted, strict=True)) if not _alike(*pair))
        (got, inputs_after), (expected, expected_after) = found[trial], wanted[trial]
        if _alike(got, expected):
            names = ["x"] if isinstance(self.solution, type) else inspect.signature(self.solution).parameters
            after = zip(names, inputs_after, expected_after, strict=False)
            changed = next(_side_effect(*each) for each in after if not _alike(*each[1:]))
            # If the function returns nothing, there is no result to mention.
            return changed[0].upper() + changed[1:] if expected is None else f"The result is correct, but {changed}"
        if got is None:
            return "The function returns None. Is `return` missing, or do you return what backward() returns?"
        inputs = ", ".join(map(repr, self.make_inputs(torch.Generator().manual_seed(trial))))
        which = f"the inputs {inputs}" if len(inputs) < 80 and "tensor" not in inputs else "a random input"
        return f"For {which}, {_difference(expected, got)}"

    def _known_outcomes(self, function: Callable[..., Any]) -> list[tuple[Any, Any]]:
        """Return the outcomes of the solution or a known wrong answer, none if it is rejected. They never change."""
        if function not in self._known:
            try:
                self._known[function] = self._outcomes(function)
            except Rejected:  # its message is in the exception
                self._known[function] = []
        return self._known[function]

    def _outcomes(self, function: Callable[..., Any]) -> list[tuple[Any, Any]]:
        """Return the function's result and its inputs after the call, for each trial."""
        outcomes = []
        for trial in range(self.trials):
            inputs = self.make_inputs(torch.Generator().manual_seed(trial))
            torch.manual_seed(trial)  # for random layers such as dropout
            dtype = torch.get_default_dtype()
            with torch.enable_grad(), _Forbid(self.forbidden):
                try:
                    outcomes.append((self.result(function, *inputs), inputs))
                    if not torch.is_grad_enabled():
                        raise Rejected("Gradients are still disabled after the call. Use `with torch.no_grad():`.")
                    if torch.get_default_dtype() != dtype:
                        raise Rejected("The function changes torch's default dtype. Convert the tensors instead.")
                finally:
                    torch.set_default_dtype(dtype)
        return outcomes


class Rejected(Exception):
    """An answer is wrong in a way that needs no comparison of results. The message is for the student."""


class _Forbid(TorchFunctionMode):
    """Raise Rejected when one of these functions is called."""

    def __init__(self, forbidden: Mapping[Callable[..., Any], str]) -> None:
        super().__init__()
        self.forbidden = forbidden

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.forbidden:
            raise Rejected(f"The code uses {self.forbidden[func]}. Solve this task without it.")
        return func(*args, **(kwargs or {}))


def exercise(**about: Any) -> Callable[[Callable[..., Any]], Exercise]:
    """Return a decorator that turns a solution into an exercise with the same name."""
    return lambda solution: Exercise(solution, **about)


def exercises(lesson: str) -> dict[str, Exercise]:
    """Return the exercises of a lesson, such as "02_training", by name."""
    module = import_module(f"{__name__}.ex{lesson}")
    return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


def check(function: Callable[..., Any]) -> "AltTextFigure | None":
    """Print whether the function or class solves the exercise of the same name, or which mistake it makes.

    A correct answer is also called with real digits, and what it does is printed.

    Returns:
        For some exercises, a figure of what it does, which a notebook shows below the cell.

    Raises:
        ValueError: No exercise has the function's name.
    """
    everything = {name: each for lesson in LESSONS for name, each in exercises(lesson).items()}
    name = getattr(function, "__name__", str(function)).lower()
    if name not in everything:
        raise ValueError(f"There is no exercise {name}. Choose from {', '.join(everything)}.")
    RESULTS[name] = None
    mistake = everything[name].judge(function)
    RESULTS[name] = not mistake
    answer = everything[name].answers.get(mistake, "") if LAST.get(name) == mistake else ""
    LAST[name] = mistake
    print(f"{name}: {mistake or f'Correct for {everything[name].trials} random inputs.'} {answer}".rstrip())
    if mistake:
        return None
    try:
        shown = getattr(import_module(f"{__name__}.real"), name)(function)
    except Exception as error:  # the function is correct for the random inputs, but may fail for many digits
        shown = f"On real digits, it raises {type(error).__name__}: {shorten(str(error), 150)}."
    said, figure = shown if isinstance(shown, tuple) else (shown, None)
    print(said)
    return figure


def random_int(generator: torch.Generator, low: int, high: int) -> int:
    """Return a random integer of at least low and less than high."""
    return int(torch.randint(low, high, (), generator=generator))


def _alike(a: Any, b: Any) -> bool:
    if _number(a) and _number(b):
        return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        names = ("shape", "dtype", "layout", "device", "requires_grad")
        same = all(getattr(a, name) == getattr(b, name) for name in names)
        return same and torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
    if isinstance(a, nn.Module) and isinstance(b, nn.Module):
        return _alike(_facts(a), _facts(b))
    if isinstance(a, Optimizer) and isinstance(b, Optimizer):
        return _alike(a.state_dict(), b.state_dict())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    return isinstance(a, torch.Generator) or (type(a) is type(b) and bool(a == b))


def _facts(model: nn.Module) -> dict[str, Any]:
    """Return what a solution must leave as it should be in a model, each with the sentence for students who don't."""
    layers, weights = list(model.modules()), list(model.parameters())
    return {
        "the model, or one of its layers, is left in the wrong mode. Call train() or eval() on the model.": [
            layer.training for layer in layers
        ],
        "the function changes the probability of a dropout layer.": [getattr(layer, "p", None) for layer in layers],
        "the function changes requires_grad of the weights.": [weight.requires_grad for weight in weights],
        "the model's weights or buffers after the call are not correct.": list(model.state_dict().values()),
    }


def _number(value: Any) -> bool:
    """Whether the value is a number, or an array or tensor with no dimensions that does not require a gradient."""
    scalar = isinstance(value, Tensor | np.ndarray) and value.ndim == 0
    return isinstance(value, Real) or (scalar and not getattr(value, "requires_grad", False))


def _side_effect(name: str, got: Any, expected: Any) -> str:
    """Say how an input after the call differs from what it should be."""
    if isinstance(got, nn.Module):
        facts, correct = _facts(got), _facts(expected)
        return next(sentence for sentence in facts if not _alike(facts[sentence], correct[sentence]))
    if isinstance(got, Optimizer):
        return "the optimizer's state or settings after the call are not correct. Only call its methods."
    return f"the function changes its input `{name}`. Work on a copy."


def _difference(expected: Any, got: Any) -> str:
    """Say how two results differ: in their type, shape, or dtype, or the first value that differs."""
    gradients = [getattr(each, "requires_grad", False) for each in (expected, got)]
    if gradients == [True, False]:
        return "no gradient flows through the result. Return a tensor, without detach(), item(), or no_grad()."
    if gradients == [False, True] and isinstance(expected, Tensor):
        return "the result requires a gradient. Compute it inside `with torch.no_grad():`."
    if gradients == [False, True] and _alike(expected, got.detach()):
        return "the result is a tensor that requires a gradient. `.item()` turns it into a plain number."
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        if expected.shape != got.shape:
            none = " (no dimensions)" * (not expected.ndim)
            return f"the shape is {list(got.shape)}. It must be {list(expected.shape)}{none}."
        if expected.dtype != got.dtype:
            return f"the dtype is {got.dtype}. It must be {expected.dtype}."
        if expected.ndim:
            if (got.layout, got.device) != (expected.layout, expected.device):
                return f"the tensor is {got.layout} on {got.device}. It must be {expected.layout} on {expected.device}."
            place = tuple((~torch.isclose(got, expected, 1e-4, 1e-5, equal_nan=True)).nonzero()[0].tolist())
            return f"expected {_shown(expected[place])} at {list(place)}, got {_shown(got[place])}."
    elif isinstance(expected, dict) and isinstance(got, dict):
        wrong = next(key for key in expected if not _alike(got.get(key), expected[key]))
        return f"this does not hold: {wrong}."
    elif isinstance(expected, list) and isinstance(got, tuple | list):
        pass  # the values, or their number, differ
    elif isinstance(expected, tuple) and isinstance(got, tuple | list) and len(expected) == len(got):
        pass  # the values differ
    elif not (_number(expected) and _number(got)) and not getattr(got, "requires_grad", False):
        return f"the result is {_kind(got)}. It must be {_kind(expected)}."
    return f"expected {_shown(expected)}, got {_shown(got)}."


def _kind(value: Any) -> str:
    if isinstance(value, Tensor) and value.ndim:
        return f"a tensor {str(value.dtype)[6:]} {list(value.shape)}"
    return "a number" if _number(value) else f"of the type {type(value).__name__}"


def _shown(value: Any) -> str:
    if _number(value):
        return str(int(value)) if isinstance(value, Integral) else f"{float(value):.6g}"
    if isinstance(value, Tensor) and value.ndim == 0:
        return f"{value.item():.6g}" + " (a tensor that requires a gradient)" * value.requires_grad
    if isinstance(value, Tensor) and value.numel() > 1:
        kind = str(value.dtype).removeprefix("torch.")
        return f"{kind} {list(value.shape)} starting with {[round(x, 4) for x in value.flatten()[:3].tolist()]}"
    if isinstance(value, tuple):
        return " and ".join(map(_shown, value))
    if isinstance(value, list):
        return shorten(f"[{', '.join(map(_shown, value))}]", 100)
    return shorten(repr(value), 100)
