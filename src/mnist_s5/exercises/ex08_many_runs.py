"""Exercises of 08_many_runs."""

import itertools
import math
from typing import Any

import torch
from torch import Generator

from . import exercise, random_int


def _curve(generator: Generator) -> tuple[list[float], list[float], float]:
    """The seconds and the accuracy of each part of a run, and a target, which some runs never reach."""
    n = random_int(generator, 5, 12)
    seconds = [random_int(generator, 10, 40) / 10 for _ in range(n)]
    accuracies = [float(random_int(generator, 80, 96) + part) for part in range(n)]
    never = random_int(generator, 0, 4) == 0
    return seconds, accuracies, 150.0 if never else accuracies[random_int(generator, 1, n)]


@exercise(
    title="Time to an accuracy",
    task="A run has several parts. For each part you have its seconds of training, and the accuracy at its end. Return "
    "the seconds of training until the accuracy is at least `target` for the first time, or infinity if it never is.",
    hint="`itertools.accumulate(seconds)` gives the seconds since the start. `math.inf` is infinity.",
    difficulty=1,
    minutes=5,
    make_inputs=_curve,
)
def time_to_accuracy(seconds: list[float], accuracies: list[float], target: float) -> float:
    """seconds: of each part; accuracies: in percent, at the end of each part. Return seconds since the start."""
    reached = (time for time, each in zip(itertools.accumulate(seconds), accuracies, strict=True) if each >= target)
    return next(reached, math.inf)


time_to_accuracy.edit(
    "This is the time of one part. Add the seconds of all parts up to this one.",
    "itertools.accumulate(seconds)",
    "seconds",
)
time_to_accuracy.edit(
    "The seconds of the part that reaches the target are missing. Accuracies are those at the end.",
    "accumulate(seconds)",
    "accumulate([0.0, *seconds[:-1]])",
)
time_to_accuracy.edit(
    "An accuracy that is equal to the target counts, too: use >= instead of >.", ">= target", "> target"
)
time_to_accuracy.edit(
    "A run that never reaches the target has no time. Return math.inf instead of its whole time.",
    "math.inf",
    "sum(seconds)",
)
time_to_accuracy.edit(
    "The accuracy may fall below the target again. Return the first time, not the last one.",
    "next(reached, math.inf)",
    "max(reached, default=math.inf)",
)


def _sweep(generator: Generator) -> tuple[dict[str, list[Any]], list[dict[str, Any]]]:
    """The values of three parameters, and the runs of a sweep that are finished."""
    values: dict[str, list[Any]] = {
        "recipe": ["fast", "best", "reference"][: random_int(generator, 2, 4)],
        "learning_rate": [0.01, 0.02, 0.04][: random_int(generator, 2, 4)],
        "seed": list(range(1, random_int(generator, 3, 6))),
    }
    runs = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    order = torch.randperm(len(runs), generator=generator).tolist()
    return values, [runs[n] for n in order[: random_int(generator, 1, len(runs) - 1)]]


@exercise(
    title="What is missing?",
    task="A sweep makes a run for each combination of the values. Some runs are finished, in any order. Return the "
    "combinations that are missing, each as a dictionary. The first parameter changes most slowly, as in nested loops.",
    hint="`itertools.product(*values.values())` yields a tuple per combination, and `dict(zip(values, chosen))` makes "
    "it a dictionary.",
    difficulty=1,
    minutes=5,
    make_inputs=_sweep,
)
def missing_runs(values: dict[str, list], finished: list[dict]) -> list[dict]:
    """values: a list for each parameter; finished: a dictionary for each run. Return one for each missing run."""
    runs = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return [each for each in runs if each not in finished]


missing_runs.edit("These are the runs that are finished. Return the others.", "not in", "in")
missing_runs.edit("These are all combinations. Leave out those that are finished.", " if each not in finished", "")
missing_runs.edit(
    "With zip, each value is used only once. A sweep has every combination: use itertools.product.",
    "itertools.product",
    "zip",
)


@missing_runs.mistake("The first parameter must change most slowly. Here, the last one does.")
def _(values: dict[str, list], finished: list[dict]) -> list[dict]:
    return missing_runs.solution(dict(reversed(values.items())), finished)


missing_runs.edit(
    "A run is finished only if all of its parameters agree. This compares only some of them.",
    "each not in finished",
    'each["seed"] not in [run["seed"] for run in finished]',
)
missing_runs.edit("Return dictionaries instead of tuples.", "[each for", "[tuple(each.values()) for")


@exercise(
    title="Holm's correction",
    task="Correct the p-values of *m* tests by Holm's method (1979). Multiply the smallest by *m*, the second smallest "
    "by *m* − 1, and so on. A corrected value is at least that of a smaller p-value, and at most 1. "
    "Return them in the order of the given p-values.",
    hint="Sort the indices by p-value. Go through them with a running maximum, and write each result to its place.",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (
        (torch.rand(random_int(generator, 3, 9), generator=generator, dtype=torch.float64) ** 2).tolist(),
    ),
)
def holm(p_values: list[float]) -> list[float]:
    """p_values: of m tests, in any order. Return the corrected p-values in the same order."""
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, n in enumerate(order):
        largest = max(largest, p_values[n] * (len(p_values) - rank))
        corrected[n] = min(1.0, largest)
    return corrected


holm.edit(
    "This is Bonferroni's correction. Only the smallest p-value is multiplied by m.",
    "(len(p_values) - rank)",
    "len(p_values)",
)
holm.edit(
    "The results are sorted. Return them in the order of the given p-values.",
    "return corrected",
    "return sorted(corrected)",
)
holm.edit(
    "A corrected value is smaller than that of a smaller p-value. Use a running maximum.",
    "max(largest, p_values[n] * (len(p_values) - rank))",
    "p_values[n] * (len(p_values) - rank)",
)
holm.edit("Some results are larger than 1. A p-value is at most 1.", "min(1.0, largest)", "largest")
holm.edit(
    "The factors are in the wrong order. The smallest p-value is multiplied by m, the largest one by 1.",
    "(len(p_values) - rank)",
    "(rank + 1)",
)
holm.edit(
    "The factors follow the given order. Sort the p-values first.",
    "sorted(range(len(p_values)), key=lambda n: p_values[n])",
    "range(len(p_values))",
)


@holm.mistake("This is the correction by Benjamini and Hochberg, which controls the fraction of false discoveries.")
def _(p_values: list[float]) -> list[float]:
    smallest, found = 1.0, {}
    for place, p in reversed(list(enumerate(sorted(p_values), 1))):
        smallest = found[p] = min(smallest, p * len(p_values) / place)
    return [found[p] for p in p_values]
