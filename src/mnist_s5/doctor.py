"""Check whether this machine can run the course, and say how to fix what fails."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

Line = tuple[bool, str]  # whether the check passed, and what to print


def examine() -> Iterator[Line]:
    """Check Python, the packages, torch with torchvision, the device, the data, and the disk."""
    yield True, f"Python {platform.python_version()}"
    missing = {what: " ".join(_missing(extra)) for what, extra in (("course", ""), ("notebooks", "notebook"))}
    for what, names in missing.items():
        yield not names, f"packages of the {what}" + f". Missing: {names}. Run: pip install {names}" * bool(names)
    if not missing["course"]:
        yield from _torch()
    free = shutil.disk_usage(".").free / 1e9
    yield free > 0.5, f"disk: {free:.1f} GB free" + ("" if free > 0.5 else ". Free some space for the runs")


def _missing(extra: str) -> Iterator[str]:
    """Yield the packages that are not installed, of those that the course needs, or that one of its extras adds."""
    for line in requires("mnist-s5") or ():
        match = re.fullmatch(r"([\w.-]+)[^;]*(?:; extra == .(\w+).)?", line)
        if match and (match[2] or "") == extra:
            try:
                version(match[1])
            except PackageNotFoundError:
                yield match[1]


def _torch() -> Iterator[Line]:
    import torch

    from .data.digits import test_transforms
    from .data.download import SHA256, data_folder, local_file
    from .device import get_device

    try:
        test_transforms()  # imports torchvision
    except ImportError as error:
        yield False, str(error)
        return
    yield True, f"torch {version('torch')} and torchvision {version('torchvision')}"
    yield True, f"device {get_device()}, {torch.get_num_threads()} threads on {os.cpu_count()} cores"
    raw = data_folder() / "MNIST" / "raw"
    missing = [name for name in SHA256 if not name.endswith(".gz") and local_file(raw, name) is None]
    if not missing:
        yield True, f"data folder {data_folder()}: full MNIST, verified"
    elif any(raw.glob("*ubyte*")):
        yield False, f"data folder {data_folder()}: {', '.join(missing)} missing or corrupted. Run: mnist-s5 data"
    else:
        yield True, f"data folder {data_folder()} is empty. The sample is used until you run: mnist-s5 data"
