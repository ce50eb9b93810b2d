"""The course's own files: its notebooks, its recorded runs, and where new runs go."""

import json
import os
from pathlib import Path
from typing import Any

from .files import course_folder
from .metrics import Evaluation, History


def course_path(path: str) -> Path:
    """Return a path in the course: from the installed package if it has a copy, otherwise from the checkout."""
    package = Path(__file__).parent
    return package / path if (package / path).exists() else package.parents[1] / path


def runs_folder() -> Path:
    """Return where new runs go: $MNIST_S5_RUNS, or `runs` in the working folder, or next to `notebooks`."""
    return Path(os.environ.get("MNIST_S5_RUNS") or course_folder() / "runs")


def recorded(name: str) -> tuple[History, dict[str, Any]]:
    """Return the history (empty for a comparison) and everything else that benchmarks/results/NAME.json records."""
    metrics = json.loads(course_path(f"benchmarks/results/{name}.json").read_text())
    evaluations = [Evaluation(**entry) for entry in metrics.get("history", ())]
    return History(evaluations, metrics.get("dataset", "unknown")), metrics
