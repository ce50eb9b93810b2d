"""Compare runs: a table of their results, and which differences exceed the noise."""

import itertools
import math
import os
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from ..messages import did_you_mean
from ..metrics import MetricsError, read_metrics
from ..training.recipes import Recipe
from .parameters import RunError
from .runs import ERROR_FILE

# What identifies a run of `fit`, without the seed, as in metrics.json. The readable facts come first.
FACTS = (
    *("dataset", "recipe", *(field.name for field in fields(Recipe) if field.name != "name")),
    *("train_images", "test_images", "trainable_parameters", "data_sha256", "network_sha256"),
)
_RESUME_FILES = "epoch-*.pt"
_SPLITS = 20_000  # maximum number of splits in a permutation test


def read_runs(*folders: str | Path) -> pd.DataFrame:
    """Return a table with a row for each run.

    Args:
        folders: Runs, or folders of runs, such as that of a sweep.

    Returns:
        The columns `run` (the folder's name; its path if two names are equal), `group` (the facts and parameters that
        tell groups of runs apart, such as "recipe=fast"), `status`, `error` (why a run failed, or which one it
        repeats), `history`, and a column for each number and text in metrics.json, such as `test_accuracy` in percent,
        or `data.pixel_mean`. For a run of a sweep, the parameters in its name are columns, too.

        The runs of a group agree in all facts and parameters except the seed. Their devices and versions may differ.

        The status is "finished", "failed" (an error was recorded, or metrics.json is corrupted), "unfinished"
        (interrupted), "missing" (not started), or "repeated" (a run of `fit` with the same facts, parameters, and seed
        is already in the table).

    Raises:
        RunError: If a folder does not exist, or there are no runs.
    """
    found = dict.fromkeys(run.resolve() for folder in folders for run in _runs_in(Path(folder).expanduser()))
    if not found:
        raise RunError("There are no runs. Pass the folder of a run or of a sweep.")
    rows = [_read(run) for run in found]
    if len({row["run"] for row in rows}) < len(rows):  # of several sweeps
        above = os.path.commonpath(found)
        for run, row in zip(found, rows, strict=True):
            row["run"] = run.relative_to(above).as_posix()
    _mark_repeated(rows)
    runs = pd.DataFrame(rows)
    names = _columns_that_vary(runs[runs["status"] == "finished"])
    labels = [", ".join(f"{name}={row[name]}" for name in names if row.get(name) is not None) for row in rows]
    runs["group"] = [label or "all" for label in labels]
    return runs


def _runs_in(folder: Path) -> list[Path]:
    if not folder.exists():
        raise RunError(f"There is no folder {folder}. Pass the folder of a run or of a sweep.")
    if folder.is_file():  # such as runs.csv
        return []
    if any(any(folder.glob(pattern)) for pattern in ("metrics.json", ERROR_FILE, "*.ipynb", _RESUME_FILES)):
        return [folder]
    runs = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not runs:
        raise RunError(f"{folder} contains no runs. Pass the folder of a run or of a sweep.")
    return sorted(runs, key=lambda path: [int(n) if n.isdecimal() else n for n in re.split(r"(\d+)", path.name)])


def _read(folder: Path) -> dict[str, Any]:
    """Return a row of the table."""
    error, metrics = folder / ERROR_FILE, {}
    why = error.read_text("utf-8") if error.exists() else ""
    try:
        metrics = read_metrics(folder)
    except MetricsError as corrupted:
        why = why or str(corrupted)
    ended = "finished" if metrics or any(folder.glob("*.ipynb")) else "missing"
    interrupted = any(folder.glob("*-unfinished.ipynb")) or (not metrics and any(folder.glob(_RESUME_FILES)))
    status = "failed" if why else "unfinished" if interrupted else ended
    metrics = metrics if status == "finished" else {}  # others have no results
    flat = pd.json_normalize(metrics).to_dict("records")[0] if metrics else {}
    named = dict(re.findall(r"(\w+)=([^,]*)", folder.name))
    ours = {"run": folder.name, "group": "", "status": status, "error": why}
    row = ours | {"history": None} | named | flat | ours  # a notebook's own metrics cannot replace ours
    return {name: value for name, value in row.items() if name == "history" or not isinstance(value, list)}


def _names_in(runs: Iterable[str]) -> list[str]:
    """Return the names of the parameters in the names of runs, such as recipe=fast,seed=1."""
    return [*dict.fromkeys(re.findall(r"(\w+)=", " ".join(runs)))]


def _mark_repeated(rows: list[dict[str, Any]]) -> None:
    """Mark the runs of `fit` that are equal to an earlier one in all facts, parameters, and the seed."""
    names = ["seed", *FACTS, *_names_in(row["run"] for row in rows)]
    first: dict[tuple[Any, ...], tuple[str, Any]] = {}
    for row in rows:
        if row["status"] == "finished" and row.get("network_sha256"):
            accuracy = row.get("test_accuracy")
            earlier, result = first.setdefault(tuple(row.get(name) for name in names), (row["run"], accuracy))
            if earlier != row["run"]:
                but = "" if accuracy == result else ", and has another result"
                row |= {"status": "repeated", "error": f"It repeats {earlier}{but}."}


def _columns_that_vary(runs: pd.DataFrame) -> list[str]:
    """Choose the facts and the parameters of a sweep that tell the groups apart.

    The seed and the student do not define a group. A column is left out if those before it already separate the same
    runs.
    """
    chosen: list[str] = []
    count = 1
    for name in dict.fromkeys((*FACTS, *_names_in(runs["run"]))):
        if name in runs and name not in ("seed", "student"):
            more = runs.groupby([*chosen, name], dropna=False).ngroups
            if more > count:
                chosen, count = [*chosen, name], more
    return chosen or ["recipe"] * ("recipe" in runs)


def compare_runs(runs: pd.DataFrame, metric: str = "test_accuracy") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare groups of finished runs that differ only in their seeds.

    Args:
        runs: From `read_runs`.
        metric: The column to compare.

    Returns:
        A table of the groups (number of runs; median, minimum, and maximum of the metric; median training seconds), and
        a table of each pair of groups: the difference of their means, its p-value in a permutation test, this p-value
        with Holm's correction for the number of pairs, and the smallest p-value that so few runs can give.

    Raises:
        RunError: If no finished run has the metric, or it is not a number.
    """
    finished = runs[runs["status"] == "finished"]
    numbers = finished.select_dtypes("number").dropna(axis="columns", how="all")
    if metric not in numbers:
        raise RunError(f"No finished run has a number {metric}. {did_you_mean(metric, numbers)}")
    groups = finished.dropna(subset=[metric]).groupby("group", sort=False)
    columns = {"runs": (metric, "size"), "median": (metric, "median"), "min": (metric, "min"), "max": (metric, "max")}
    if "train_seconds" in finished:
        columns["seconds"] = ("train_seconds", "median")
    samples = {str(name): group[metric].tolist() for name, group in groups}
    pairs = pd.DataFrame([_difference(*pair) for pair in itertools.combinations(samples.items(), 2)])
    if len(pairs):  # Holm (1979): with many pairs, a small p-value becomes likely
        p = pairs["p"].dropna().sort_values()
        pairs.insert(4, "Holm p", (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1))
    return groups.agg(**columns), pairs


def _difference(first: tuple[str, list[float]], second: tuple[str, list[float]]) -> dict[str, Any]:
    (name, a), (other, b) = first, second
    p = p_value(a, b) if min(len(a), len(b)) > 1 else math.nan
    least = 2 / min(math.comb(len(a) + len(b), len(a)), _SPLITS + 1)  # with more splits, SciPy draws random ones
    return {"from": name, "to": other, "difference": fmean(b) - fmean(a), "p": p, "smallest p": least}


def p_value(a: list[float], b: list[float]) -> float:
    """Return the p-value of a permutation test for the difference of two means. Each list has at least two values.

    Accuracies lie on a grid, so many splits have the same difference as the observed one. Rounding makes them equal.
    """
    scale = max(map(abs, [*a, *b])) or 1

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.round((y.mean(axis) - x.mean(axis)) / scale, 12)

    return float(permutation_test((a, b), difference, n_resamples=_SPLITS, rng=1).pvalue)


def write_tensorboard(runs: pd.DataFrame, folder: Path) -> None:
    """Write the curves of each run as TensorBoard event files. The step is the number of training images seen so far.

    Use a new folder: an existing one keeps its old curves.
    """
    from torch.utils.tensorboard import SummaryWriter

    for run in runs[runs["history"].notna()].itertuples():
        with SummaryWriter(str(folder / run.run)) as writer:
            for entry in run.history:
                for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"):
                    writer.add_scalar(name, entry[name], round(entry["epoch"] * run.train_images))
