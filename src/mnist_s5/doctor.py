"""Is this machine fit for the course? A line a question, and the remedy where the answer is no."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.version import Version


def torchvision_fits(torch: str, wanted: list[str]) -> bool:
    """Whether torchvision's own requirements (as its metadata has them) admit this version of torch."""
    needs = [need for need in map(Requirement, wanted) if need.name == "torch"]
    return all(need.specifier.contains(Version(torch).public, prereleases=True) for need in needs)


def examine() -> Iterator[tuple[bool, str]]:
    """Yields (fit, line) for Python, torch, torchvision, device and threads, data, notebooks and disk."""
    fit = sys.version_info >= (3, 11)
    yield fit, f"Python {platform.python_version()}" + ("" if fit else ": install Python 3.11 or newer")
    try:
        torch, vision = version("torch"), version("torchvision")
        fit = torchvision_fits(torch, requires("torchvision") or [])
        if fit:
            import_module("torchvision.ops")  # its compiled part loads only beside the torch that it was built for
    except (PackageNotFoundError, ImportError, RuntimeError) as error:
        yield False, f"torch and torchvision do not load ({error}): pip install --upgrade torch torchvision"
        return
    remedy = "" if fit else " do not fit each other: pip install --upgrade torch torchvision"
    yield fit, f"torch {torch} and torchvision {vision}{remedy}"
    if not fit:
        return
    import torch as t

    from .data import DataError, data_folder, load_mnist
    from .device import get_device

    yield True, f"device {get_device()}, {t.get_num_threads()} threads on {os.cpu_count()} cores"
    folder = data_folder()
    if any((folder / "MNIST" / "raw").glob("*ubyte*")):
        try:
            train, test = load_mnist("mnist")
            yield True, f"data folder {folder}: full MNIST, verified ({len(train):,} + {len(test):,} digits)"
        except DataError as error:
            yield False, f"data folder: {error}"
    else:
        yield (
            True,
            f"data folder {folder}: empty; `mnist-s5 data` downloads MNIST, the embedded sample serves meanwhile",
        )
    missing = [name for name in ("papermill", "ipykernel") if find_spec(name) is None]
    yield (
        not missing,
        "notebooks" + (f": {', '.join(missing)} missing: pip install 'mnist-s5[notebook]'" if missing else ""),
    )
    free = shutil.disk_usage(".").free / 1e9
    yield free > 0.5, f"disk: {free:.1f} GB free here" + ("" if free > 0.5 else ": make room for the runs")
