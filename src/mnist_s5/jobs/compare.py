"""Compare runs: a table of their results, and which differences exceed the noise."""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from ..files import did_you_mean
from ..training.checkpoint import CheckpointError, read_metrics
from ..training.recipes import Recipe
from .runs import RunError
from .sweep import ERROR_FILE


def read_runs(folders: Iterable[str | Path]) -> pd.DataFrame:
    """Return a table with a row for each run.

    Args:
        folders: Runs, or folders of runs, such as that of a sweep.

    Returns:
        The columns `run` (the folder's name), `status` ("finished", "failed", "unfinished", or "missing"), `error`,
        `history`, and a column for each number and text in metrics.json, such as `test_accuracy` in percent, or
        `data.pixel_mean`. For a run of a sweep, the parameters in its name are columns, too.

    Raises:
        RunError: If a folder does not exist, or contains no runs.
    """
    rows = [_read(run) for folder in folders for run in _runs_in(Path(folder).expanduser())]
    return pd.DataFrame(rows)


def _runs_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}. Pass the folder of a run or of a sweep.")
    if (folder / "metrics.json").exists() or (folder / ERROR_FILE).exists() or any(folder.glob("*.ipynb")):
        return [folder]
    runs = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not runs:
        raise RunError(f"{folder} contains no runs. Pass the folder of a run or of a sweep.")
    return sorted(runs, key=lambda path: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", path.name)])


def _read(folder: Path) -> dict[str, Any]:
    """Return a row of the table."""
    error, metrics = folder / ERROR_FILE, {}
    why = error.read_text() if error.exists() else ""
    try:
        metrics = read_metrics(folder)
    except CheckpointError as corrupted:
        why = why or str(corrupted)
    unfinished, executed = any(folder.glob("*-unfinished.ipynb")), any(folder.glob("*.ipynb"))
    status = "failed" if why else "unfinished" if unfinished else "finished" if metrics or executed else "missing"
    flat = pd.json_normalize(metrics).iloc[0].to_dict() if metrics else {}
    values = {name: value for name, value in flat.items() if name == "history" or not isinstance(value, list)}
    named = dict(re.findall(r"(\w+)=([^,]*)", folder.name))
    ours = {"run": folder.name, "status": status, "error": why}
    return ours | named | values | ours  # these columns come first, and a notebook's own metrics cannot replace them


def columns_that_vary(runs: pd.DataFrame) -> list[str]:
    """Return the columns that tell groups of runs apart: of the dataset, the recipe and its fields, and the parameters
    of a sweep without the seed, those that divide the runs further than the columns before them."""
    named = [name for run in runs["run"] for name in re.findall(r"(\w+)=", run)]
    known = dict.fromkeys(("dataset", "recipe", *(field.name for field in fields(Recipe)), *named))
    names = [name for name in known if name in runs and name != "seed"]
    chosen: list[str] = []
    count = 1
    for name in names:
        if (more := runs.groupby([*chosen, name], dropna=False).ngroups) > count:
            chosen, count = [*chosen, name], more
    return chosen or ["recipe" if "recipe" in runs else "run"]


def compare_runs(runs: pd.DataFrame, metric: str = "test_accuracy") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare groups of finished runs that differ only in their seeds.

    Args:
        runs: From `read_runs`.
        metric: The column to compare.

    Returns:
        A table of the groups (number of runs; median, minimum, and maximum of the metric; median training seconds), and
        a table of each pair of groups: the difference of their means, and its p-value in a permutation test. The last
        column is the smallest p-value that so few runs can give.

    Raises:
        RunError: If no finished run has the metric, or it is not a number.
    """
    finished = runs[runs["status"] == "finished"]
    numbers = finished.select_dtypes("number").dropna(axis="columns", how="all")
    if metric not in numbers:
        raise RunError(f"No finished run has a number {metric}. {did_you_mean(metric, numbers)}")
    finished = finished.dropna(subset=[metric])
    by = columns_that_vary(finished)
    together = finished.groupby(by, dropna=False)
    values = {" · ".join(map(str, key)): group[metric].tolist() for key, group in together}
    about = {"runs": (metric, "size"), "median": (metric, "median"), "min": (metric, "min"), "max": (metric, "max")}
    if "train_seconds" in finished:
        about["seconds"] = ("train_seconds", "median")
    groups = together.agg(**about).set_axis(values).rename_axis(" · ".join(by))
    pairs = [_difference(one, other, values) for one, other in itertools.combinations(values, 2)]
    return groups, pd.DataFrame(pairs)


def _difference(one: str, other: str, values: dict[str, list[float]]) -> dict[str, Any]:
    a, b = values[one], values[other]
    gap, least = fmean(b) - fmean(a), (1 + (len(a) == len(b))) / math.comb(len(a) + len(b), len(a))
    p = permutation_test((a, b), _gap, n_resamples=20_000, rng=1).pvalue if min(len(a), len(b)) > 1 else math.nan
    return {"from": one, "to": other, "difference": gap, "p": p, "smallest p": least}


def _gap(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    return b.mean(axis) - a.mean(axis)


def write_tensorboard(runs: pd.DataFrame, folder: Path) -> None:
    """Write the curves of each run as TensorBoard event files. The step is the number of training images so far."""
    from torch.utils.tensorboard import SummaryWriter

    for run in runs[runs["history"].notna()].itertuples():
        with SummaryWriter(str(folder / run.run)) as writer:
            for entry in run.history:
                for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"):
                    writer.add_scalar(name, entry[name], round(entry["epoch"] * run.train_images))
