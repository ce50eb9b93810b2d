"""What a training is at one of its steps, in a file to go on from: written whole, checked when it is read."""

import io
import os
import platform
import re
import sys
import zipfile
import zlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoint import CheckpointError, fingerprint
from .device import generators_of
from .engine import Batches
from .files import explained, write_whole
from .loaders import source_of
from .recipes import Recipe


def _before(path: Path) -> Path:
    return path.with_name(f"{path.name}.before")


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, by torch.save; the file that was there is kept, as PATH.before."""
    blob = io.BytesIO()
    torch.save(state, blob)
    write_whole(path, blob.getvalue(), before=_before(path))


def has_state(path: Path) -> bool:
    """Whether `save_state` has left anything there."""
    return path.exists() or _before(path).exists()


def drop_state(path: Path) -> None:
    """Remove what `save_state` left there."""
    try:
        for file in (
            path,
            _before(path),
            *path.parent.glob(f".{path.name}.*"),
        ):  # of killed writers, too
            file.unlink(missing_ok=True)
    except OSError as error:
        raise explained(error, path) from error


def _read_state(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        if file.testzip():
            raise zipfile.BadZipFile("a checksum is wrong")
    state = torch.load(path, "cpu", weights_only=True)  # runs no code
    if not isinstance(state, dict):
        raise TypeError("it holds no state")
    return state


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote; or, with a notice, what it wrote before, where the file is damaged or missing.

    Raises FileNotFoundError where there is neither, CheckpointError where neither is intact.
    """
    there = [file for file in (path, _before(path)) if file.exists()]
    if not there:
        raise FileNotFoundError(f"There is no training at {path}: train first.")
    for file in there:
        try:
            state = _read_state(file)
        except (PermissionError, IsADirectoryError) as error:
            raise explained(error, file) from error
        except Exception:  # a damaged file can make zipfile and torch raise nearly anything
            continue
        if file != path:
            print(f"NOTICE: {path.name} is damaged or missing, the one before it is used", file=sys.stderr)
            with suppress(OSError):
                os.replace(file, path)  # so that the next save does not put the damaged one in its place
        return state
    raise CheckpointError(f"{' and '.join(map(str, there))}: damaged or no training, begin anew with resume=False.")


def _crc32(*tensors: torch.Tensor) -> int:
    found = 0
    for tensor in tensors:
        found = zlib.crc32(tensor.contiguous().numpy().data, found)
    return found


def _about(loader: Batches) -> dict[str, Any]:
    """What can be known of a loader without drawing from it; the code of transforms and samplers is not looked at."""
    digits, found = getattr(loader, "dataset", None), []
    while digits is not None:
        held = [getattr(digits, name, None) for name in ("data", "targets", "indices")]
        found += [torch.as_tensor(each) for each in (*held, *getattr(digits, "tensors", ())) if _plain(each)]
        transform, digits = getattr(digits, "transform", None), getattr(digits, "dataset", None)
    about = {name: getattr(loader, name, None) for name in ("batch_size", "shuffle", "drop_last")}
    kind, drawn = type(getattr(loader, "sampler", None)).__name__, getattr(loader, "draw", None)
    about |= {"source": source_of(loader), "batches": len(loader), "sampler": kind}
    if found:
        about |= {"digits": len(found[-1]), "crc32": _crc32(*found)}
        about["transform"] = re.sub(" at 0x[0-9a-f]+", "", f"{transform!r} {drawn!r}")
    return about


def _plain(values: Any) -> bool:
    return isinstance(values, torch.Tensor) or (isinstance(values, list) and all(isinstance(x, int) for x in values))


def identity_of(model: nn.Module, recipe: Recipe, loader: Batches, test_loader: Batches) -> dict[str, Any]:
    """What a training is, before its first step: a checkpoint belongs to it where all of this agrees."""
    orders = [generator.get_state() for generator in generators_of(loader)] or [torch.get_rng_state()]
    return {
        "recipe": asdict(recipe),
        "network": {name: list(weight.shape) for name, weight in model.state_dict().items()} | {"layers": repr(model)},
        "data set": _about(loader),
        "test set": _about(test_loader),
        "seed": {"weights": fingerprint(model.state_dict()), "order": _crc32(*orders)},
    }


def _differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Where two identities differ, said of the first that does: its recipe, network, data set or seed."""
    for part, ours in here.items():
        theirs = there.get(part, {})
        names = [name for name in ours.keys() | theirs.keys() if theirs.get(name) != ours.get(name)]
        if names:
            told = [name for name in sorted(names) if name not in ("crc32", "layers", "transform", "weights", "order")]
            shown = told[:3]
            values = "; ".join(f"{name} {theirs.get(name)} there, {ours.get(name)} here" for name in shown)
            hidden = {
                "seed": "another one, or the network is trained already: make network and loaders anew",
                "network": "other layers",
            }.get(part, "other pixels, labels or transforms")
            return f"{part} ({values or hidden})"
    return ""


def machine_of(device: torch.device, recipe: Recipe) -> str:
    kind = f"{platform.machine()} {device.type}, {str(recipe.precision(device))[6:]}"
    return f"torch {torch.__version__}, {kind}, {torch.get_num_threads()} threads"


def going_on(path: Path, identity: dict[str, Any], machine: str) -> dict[str, Any]:
    """The saved state, if it is this training's; CheckpointError if not."""
    state = load_state(path)
    anew = "name another folder, or begin anew with resume=False."
    if "step" not in state or not isinstance(state.get("identity"), dict):
        raise CheckpointError(f"{path} is no training to go on with: {anew}")
    if different := _differences(state["identity"], identity):
        raise CheckpointError(f"{path} is of another training, by its {different}: {anew}")
    if state["machine"] != machine:
        print(f"NOTICE: begun with {state['machine']}, goes on with {machine}: last digits may differ", file=sys.stderr)
    return state
