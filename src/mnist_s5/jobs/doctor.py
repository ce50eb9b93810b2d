"""Check whether this machine can run the course, and say how to fix what fails."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

Line = tuple[bool, str]  # whether the check passed, and what to print


def examine() -> Iterator[Line]:
    """Check Python, torch, torchvision, the device, the data, the notebook packages, and the disk."""
    yield True, f"Python {platform.python_version()}"
    try:
        from ..data import digits  # noqa: F401 (imports torch and torchvision)
    except ImportError as error:
        yield False, str(error)
    else:
        yield True, f"torch {version('torch')} and torchvision {version('torchvision')}"
        yield from _course()
    missing = [name for name in ("papermill", "ipykernel") if find_spec(name) is None]
    fix = f" need {' and '.join(missing)}. Run: pip install 'mnist-s5[notebook]'" if missing else ""
    yield not missing, f"notebooks{fix}"
    free = shutil.disk_usage(".").free / 1e9
    yield free > 0.5, f"disk: {free:.1f} GB free" + ("" if free > 0.5 else ". Free some space for the runs")


def _course() -> Iterator[Line]:
    import torch

    from ..data.download import SHA256, data_folder, local_file
    from ..device import get_device

    yield True, f"device {get_device()}, {torch.get_num_threads()} threads on {os.cpu_count()} cores"
    raw = data_folder() / "MNIST" / "raw"
    missing = [name for name in SHA256 if not name.endswith(".gz") and local_file(raw, name) is None]
    if not missing:
        yield True, f"data folder {data_folder()}: full MNIST, verified"
    elif any(raw.glob("*ubyte*")):
        yield False, f"data folder {data_folder()}: {', '.join(missing)} missing or corrupted. Run: mnist-s5 data"
    else:
        yield True, f"data folder {data_folder()} is empty. The sample is used until you run: mnist-s5 data"
