"""Exercises: from one solution come its stub, the student's notebook and the check, which names common mistakes."""

import ast
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from textwrap import dedent, shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

LESSONS = {
    "digits": "01_data_visualization",
    "loop": "02_training",
    "network": "03_summary",
    "ingredients": "04_faster_training",
    "bugs": "05_debugging",
    "measures": "06_measuring",
}
TRIALS = 20
Draw = Callable[[torch.Generator], tuple[Any, ...]]  # random inputs for a solution

RESULTS: dict[str, bool] = {}  # what `check` found in this session


@dataclass
class Exercise:
    """A solution, how to ask for it, and wrong answers that its check knows: what to say to whom gives them."""

    solution: Callable[..., Any]
    title: str
    task: str
    hint: str
    difficulty: int  # 1 to 3
    minutes: int
    draw: Draw
    mistakes: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def mistake(self, message: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """The function below it is a wrong answer; message: what somebody who gives it hears."""

        def known(wrong: Callable[..., Any]) -> Callable[..., Any]:
            self.mistakes[message] = wrong
            return wrong

        return known

    def code(self) -> str:
        """The solution as it is written, without its decorator."""
        source = dedent(inspect.getsource(self.solution))
        return "\n".join(source.splitlines()[ast.parse(source).body[0].lineno - 1 :])

    def stub(self) -> str:
        """The solution's first lines and its docstring; the rest is to be written."""
        function = ast.parse(self.code()).body[0]
        assert isinstance(function, ast.FunctionDef)
        head = self.code().splitlines()[: function.body[0].end_lineno]
        return "\n".join([*head, "    raise NotImplementedError  # your lines instead of this one"])

    def judge(self, function: Callable[..., Any]) -> str:
        """What is wrong with an answer, in a sentence, or "" for a right one: as the solution on random inputs."""
        try:
            found = self._outcomes(function)
        except NotImplementedError:
            return "not solved yet."
        except Exception as error:  # whatever a learner's function raises
            return f"it raises {type(error).__name__}: {shorten(str(error), 150) or 'without a word'}"
        wanted = self._outcomes(self.solution)
        if _alike(found, wanted):
            return ""
        for message, wrong in self.mistakes.items():
            if _alike(found, self._outcomes(wrong)):
                return message
        (given, _), (due, _) = next((a, b) for a, b in zip(found, wanted, strict=True) if not _alike(a, b))
        if _alike(given, due):
            return "the answer is right, but one of the inputs is not left as it should be: in its values, or its mode."
        return f"for a random input it gives {_shown(given)}, and should give {_shown(due)}."

    def _outcomes(self, function: Callable[..., Any]) -> list[tuple[Any, Any]]:
        """For each trial what the function gives, and what it makes of its inputs."""
        outcomes = []
        for trial in range(TRIALS):
            inputs = self.draw(torch.Generator().manual_seed(trial))
            torch.manual_seed(trial)  # for what draws, as dropout does
            outcomes.append((function(*inputs), inputs))
        return outcomes


def exercise(**about: Any) -> Callable[[Callable[..., Any]], Exercise]:
    """The function below it is an exercise's solution; its name is the exercise's."""
    return lambda solution: Exercise(solution, **about)


def exercises(lesson: str) -> dict[str, Exercise]:
    """The lesson's exercises by their names."""
    module = import_module(f"{__name__}.{lesson}")
    return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


def check(answer: Callable[..., Any]) -> None:
    """Print whether the answer is right, or which mistake it makes; its name says which exercise it is for.

    Raises ValueError for a name that no exercise has.
    """
    everything = {name: each for lesson in LESSONS for name, each in exercises(lesson).items()}
    name = getattr(answer, "__name__", str(answer))
    if name not in everything:
        raise ValueError(f"There is no exercise {name}: choose from {', '.join(everything)}.")
    wrong = everything[name].judge(answer)
    RESULTS[name] = not wrong
    print(f"{name}: {wrong or f'right, on {TRIALS} random inputs.'}")


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.shape == b.shape and a.dtype == b.dtype
        return same and torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
    if isinstance(a, nn.Module) and isinstance(b, nn.Module):
        return a.training == b.training and _alike(list(a.state_dict().values()), list(b.state_dict().values()))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    if _number(a) and _number(b):
        return math.isclose(float(a), float(b), rel_tol=1e-4, abs_tol=1e-6)
    return isinstance(a, Optimizer | torch.Generator) or (type(a) is type(b) and a == b)


def _number(value: Any) -> bool:
    """A plain number, or a tensor of one that holds no graph."""
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor) and value.numel() > 1:
        kind = str(value.dtype).removeprefix("torch.")
        return f"{kind} {list(value.shape)} that begins with {[round(x, 4) for x in value.flatten()[:3].tolist()]}"
    if isinstance(value, tuple):
        return " and ".join(map(_shown, value))
    return shorten(repr(value), 100)
