"""Compare runs: a table of their results, and which differences exceed the noise."""

import itertools
import math
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from ..files import atomic_write
from ..messages import did_you_mean, printable
from ..metrics import Evaluation, MetricsError, read_metrics
from ..training.recipes import Recipe
from .parameters import RunError, to_text
from .runs import ERROR_FILE, is_interrupted

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

        The status is "finished", "failed" (an error was recorded, or metrics.json is corrupted), "partial" (cells
        failed, and the others were executed), "unfinished" (interrupted), "missing" (not started), or "repeated" (a run
        of `fit` with the same facts, parameters, and seed is already in the table).

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
    labels = [", ".join(f"{name}={to_text(row[name])}" for name in names if row.get(name) is not None) for row in rows]
    runs["group"] = [label or "all" for label in labels]
    return runs


def _is_run(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in ("metrics.json", ERROR_FILE, "*.ipynb", _RESUME_FILES))


def _runs_in(folder: Path) -> list[Path]:
    """Return the runs in a folder, a sweep, or a folder of sweeps. An empty folder is a run that was not started."""
    if not folder.exists():
        raise RunError(f"There is no folder {folder}. Pass the folder of a run or of a sweep.")
    if folder.is_file():  # such as runs.csv
        return []
    runs = _search(folder)
    if runs == [folder] and not _is_run(folder):
        raise RunError(f"{folder} contains no runs. Pass the folder of a run or of a sweep.")
    return runs


def _search(folder: Path) -> list[Path]:
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if _is_run(folder) or not inside:
        return [folder]
    folders = [path for path in inside if path.is_dir()]
    folders.sort(key=lambda path: [int(n) if n.isdecimal() else n for n in re.split(r"(\d+)", path.name)])
    return [run for each in folders for run in _search(each)]


def _read(folder: Path) -> dict[str, Any]:
    """Return a row of the table."""
    error, flat = folder / ERROR_FILE, dict[str, Any]()
    why = error.read_text("utf-8", errors="replace") if error.exists() else ""
    try:
        metrics = read_metrics(folder)
        flat = _flatten(metrics)
    except (MetricsError, RecursionError, ValueError) as corrupted:
        metrics, why = {}, why or str(corrupted)
    executed = any(folder.glob("*.ipynb"))
    interrupted = is_interrupted(folder) or (not metrics and any(folder.glob(_RESUME_FILES)))
    ended = "finished" if metrics or executed else "missing"
    status = "unfinished" if interrupted else ended
    if why:
        status = "partial" if metrics and executed and not interrupted else "failed"
    named = {name: _same_text(value) for name, value in re.findall(r"(\w+)=([^,]*)", folder.name)}
    ours = {"run": _clean(folder.name), "group": "", "status": status, "error": _clean(why)}
    return ours | {"history": None} | named | (flat if status in ("finished", "partial") else {}) | ours


def _flatten(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers and texts of metrics.json, and the history. Other lists are left out."""
    flat = pd.json_normalize(metrics).to_dict("records")[0] if metrics else {}
    found = {_clean(name): _clean(value) for name, value in flat.items() if isinstance(value, str | int | float)}
    try:
        history: Any = [Evaluation(**entry)._asdict() for entry in metrics["history"]]
    except (KeyError, TypeError):  # it has none, or one that a notebook wrote in its own way
        history = None
    return found | {"history": history}


def _clean(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _same_text(text: str) -> str:
    """Return a text, or if it is a number, the text that all equal numbers have."""
    with suppress(ValueError):
        return to_text(float(text))
    return text


def number(value: Any) -> float:
    """Return a value of a metric as a number, NaN if it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def write_table(runs: pd.DataFrame, path: Path) -> None:
    """Write the table of runs, without the histories, as CSV.

    A text that a spreadsheet would execute as a formula gets an apostrophe in front.
    """
    table = runs.drop(columns="history")
    safe = table.map(lambda value: f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@")) else value)
    atomic_write(path, safe.to_csv(index=False).encode())


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
        RunError: If no run is finished, or none has the metric as a number.
    """
    finished = runs[runs["status"] == "finished"].copy()
    if not len(finished):
        raise RunError("No run is finished, so there is nothing to compare. Wait, or read why the runs failed.")
    if metric in finished:
        finished[metric] = finished[metric].map(number)
    numbers = finished.select_dtypes("number").dropna(axis="columns", how="all")
    if metric not in numbers:
        ways = did_you_mean(metric, numbers) if len(numbers.columns) else "They have recorded no numbers at all."
        raise RunError(f"No finished run has a number {metric}. {ways}")
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
    """Return the p-value of a permutation test for the difference of two means.

    Accuracies lie on a grid, so many splits have the same difference as the observed one. Rounding makes them equal.

    Args:
        a: The results of one recipe, such as its accuracies for different seeds. At least two.
        b: Those of the other recipe.

    Raises:
        ValueError: If there are fewer, or one of them is NaN or infinite.
    """
    for values in (a, b):
        if len(values) < 2 or not np.isfinite(np.asarray(values, float)).all():
            raise ValueError(f"Expected at least two finite numbers for each recipe, got {list(values)}.")
    scale = max(map(abs, [*a, *b])) or 1

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.round((y.mean(axis) - x.mean(axis)) / scale, 12)

    return float(permutation_test((a, b), difference, n_resamples=_SPLITS, rng=1).pvalue)


def write_tensorboard(runs: pd.DataFrame, folder: Path) -> None:
    """Write the curves of each run as TensorBoard event files. The step is the number of training images seen so far.

    Use a new folder: an existing one keeps its old curves.

    Raises:
        RunError: If no run has a history.
    """
    if "train_images" not in runs or not len(trained := runs.dropna(subset=["history", "train_images"])):
        raise RunError("No run has a history and its number of training images. Pass runs that train with fit.")
    from torch.utils.tensorboard import SummaryWriter

    for run in trained.itertuples():
        with SummaryWriter(str(folder / run.run)) as writer:
            for entry in run.history:
                for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"):
                    writer.add_scalar(name, entry[name], round(entry["epoch"] * run.train_images))
