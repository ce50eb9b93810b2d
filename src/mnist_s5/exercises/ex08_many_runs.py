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


@time_to_accuracy.mistake("This is the time of one part. Add the seconds of all parts up to this one.")
def _(seconds: list[float], accuracies: list[float], target: float) -> float:
    return next((time for time, each in zip(seconds, accuracies, strict=True) if each >= target), math.inf)


@time_to_accuracy.mistake(
    "The seconds of the part that reaches the target are missing. Accuracies are those at the end."
)
def _(seconds: list[float], accuracies: list[float], target: float) -> float:
    starts = [0.0, *itertools.accumulate(seconds)]
    return next((time for time, each in zip(starts, accuracies, strict=False) if each >= target), math.inf)


@time_to_accuracy.mistake("An accuracy that is equal to the target counts, too: use >= instead of >.")
def _(seconds: list[float], accuracies: list[float], target: float) -> float:
    return time_to_accuracy.solution(seconds, accuracies, target + 1e-6)


@time_to_accuracy.mistake("A run that never reaches the target has no time. Return math.inf instead of its whole time.")
def _(seconds: list[float], accuracies: list[float], target: float) -> float:
    return min(time_to_accuracy.solution(seconds, accuracies, target), sum(seconds))


@time_to_accuracy.mistake("The accuracy may fall below the target again. Return the first time, not the last one.")
def _(seconds: list[float], accuracies: list[float], target: float) -> float:
    times = zip(itertools.accumulate(seconds), accuracies, strict=True)
    return max((time for time, each in times if each >= target), default=math.inf)


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


def _all_runs(values: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


@missing_runs.mistake("These are the runs that are finished. Return the others.")
def _(values: dict[str, list], finished: list[dict]) -> list[dict]:
    return [each for each in _all_runs(values) if each in finished]


@missing_runs.mistake("These are all combinations. Leave out those that are finished.")
def _(values: dict[str, list], finished: list[dict]) -> list[dict]:
    return _all_runs(values)


@missing_runs.mistake("With zip, each value is used only once. A sweep has every combination: use itertools.product.")
def _(values: dict[str, list], finished: list[dict]) -> list[dict]:
    runs = [dict(zip(values, chosen, strict=True)) for chosen in zip(*values.values(), strict=False)]
    return [each for each in runs if each not in finished]


@missing_runs.mistake("The first parameter must change most slowly. Here, the last one does.")
def _(values: dict[str, list], finished: list[dict]) -> list[dict]:
    turned = _all_runs(dict(reversed(values.items())))
    return [{name: each[name] for name in values} for each in turned if each not in finished]


@missing_runs.mistake("A run is finished only if all of its parameters agree. This compares only some of them.")
def _(values: dict[str, list], finished: list[dict]) -> list[dict]:
    seeds = {each["seed"] for each in finished}
    return [each for each in _all_runs(values) if each["seed"] not in seeds]


@missing_runs.mistake("Return dictionaries instead of tuples.")
def _(values: dict[str, list], finished: list[dict]) -> list[tuple]:
    done = [tuple(each.values()) for each in finished]
    return [chosen for chosen in itertools.product(*values.values()) if chosen not in done]


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


@holm.mistake("This is Bonferroni's correction. Only the smallest p-value is multiplied by m.")
def _(p_values: list[float]) -> list[float]:
    return [min(1.0, p * len(p_values)) for p in p_values]


@holm.mistake("The results are sorted. Return them in the order of the given p-values.")
def _(p_values: list[float]) -> list[float]:
    return sorted(holm.solution(p_values))


@holm.mistake("A corrected value is smaller than that of a smaller p-value. Use a running maximum.")
def _(p_values: list[float]) -> list[float]:
    factors = {p: len(p_values) - place for place, p in enumerate(sorted(p_values))}
    return [min(1.0, p * factors[p]) for p in p_values]


@holm.mistake("Some results are larger than 1. A p-value is at most 1.")
def _(p_values: list[float]) -> list[float]:
    largest, found = 0.0, {}
    for place, p in enumerate(sorted(p_values)):
        largest = found[p] = max(largest, p * (len(p_values) - place))
    return [found[p] for p in p_values]


@holm.mistake("The factors are in the wrong order. The smallest p-value is multiplied by m, the largest one by 1.")
def _(p_values: list[float]) -> list[float]:
    largest, found = 0.0, {}
    for place, p in enumerate(sorted(p_values)):
        largest = found[p] = max(largest, min(1.0, p * (place + 1)))
    return [found[p] for p in p_values]


@holm.mistake("The factors follow the given order. Sort the p-values first.")
def _(p_values: list[float]) -> list[float]:
    largest, corrected = 0.0, []
    for place, p in enumerate(p_values):
        largest = max(largest, min(1.0, p * (len(p_values) - place)))
        corrected.append(largest)
    return corrected


@holm.mistake("This is the correction by Benjamini and Hochberg, which controls the fraction of false discoveries.")
def _(p_values: list[float]) -> list[float]:
    smallest, found = 1.0, {}
    for place, p in reversed(list(enumerate(sorted(p_values), 1))):
        smallest = found[p] = min(smallest, p * len(p_values) / place)
    return [found[p] for p in p_values]
