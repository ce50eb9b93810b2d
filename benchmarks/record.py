"""Save benchmark results."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import mnist_s5 as s5

RESULTS = Path(__file__).parent / "results"


def record(name: str, **found: Any) -> Path:
    """Write the results, and what `describe_machine` returns, to results/NAME.json. Return its path."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    with TemporaryDirectory() as folder:
        s5.write_metrics(Path(folder), **gpu, **found)
        return Path(shutil.copy(Path(folder) / "metrics.json", RESULTS / f"{name}.json"))
