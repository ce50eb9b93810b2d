"""Save benchmark results."""

import platform
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import mnist_s5 as s5

RESULTS = Path(__file__).parent / "results"


def record(name: str, **found: Any) -> Path:
    """Write the results, with the versions and the number of threads, to results/NAME.json. Return its path."""
    if torch.cuda.is_available():
        processor = torch.cuda.get_device_name()
    else:
        processor = torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    with TemporaryDirectory() as folder:
        s5.write_metrics(Path(folder), processor=processor, **found)
        return Path(shutil.copy(Path(folder) / "metrics.json", RESULTS / f"{name}.json"))
