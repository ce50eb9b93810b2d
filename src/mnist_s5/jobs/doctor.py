"""Whether this machine can run the course: one line per check, and what to do if the answer is no."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

Line = tuple[bool, str]  # whether the check passed, and what to print


def examine() -> Iterator[Line]:
    """Check Python, torch, torchvision, the device, the data, the notebook packages, and the disk."""
    fine = sys.version_info >= (3, 11)
    yield fine, f"Python {platform.python_version()}" + ("" if fine else ": install Python 3.11 or newer")
    torch = _torch()
    yield torch
    if torch[0]:
        yield from _course()
    missing = [name for name in ("papermill", "ipykernel") if find_spec(name) is None]
    yield (
        not missing,
        "notebooks" + (f": install {' and '.join(missing)} with pip install 'mnist-s5[notebook]'" if missing else ""),
    )
    free = shutil.disk_usage(".").free / 1e9
    yield free > 0.5, f"disk: {free:.1f} GB free" + ("" if free > 0.5 else ": free some space for the runs")


def _torch() -> Line:
    try:
        torch, torchvision = import_module("torch"), import_module("torchvision")
        import_module("torchvision.ops")  # its compiled part loads only with the torch that it was built for
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return False, f"torch and torchvision cannot be imported ({why}): pip install --upgrade torch torchvision"
    return True, f"torch {torch.__version__} and torchvision {torchvision.__version__}"


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
        yield False, f"data folder {data_folder()}: {', '.join(missing)} missing or corrupted: run mnist-s5 data"
    else:
        yield True, f"data folder {data_folder()}: empty. mnist-s5 data downloads MNIST; until then, the sample is used"
