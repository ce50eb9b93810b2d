"""What a training is at one of its steps, in a file to go on from: written whole, checked when it is read."""

import io
import pickle
import sys
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoint import CheckpointError, fingerprint
from .engine import Batches
from .files import write_whole
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
    for file in (path, _before(path)):
        file.unlink(missing_ok=True)


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
        except (OSError, ValueError, RuntimeError, TypeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
            continue
        if file != path:
            print(f"NOTICE: {path.name} is damaged or missing, the one before it is used", file=sys.stderr)
        return state
    raise CheckpointError(f"{' and '.join(map(str, there))}: damaged or no training, begin anew with resume=False.")


def _crc32(*tensors: torch.Tensor) -> int:
    found = 0
    for tensor in tensors:
        found = zlib.crc32(tensor.contiguous().numpy().data, found)
    return found


def identity_of(model: nn.Module, recipe: Recipe, loader: Batches) -> dict[str, Any]:
    """What a training is, before its first step: a checkpoint belongs to it where all of this agrees."""
    digits = getattr(loader, "dataset", None)
    pixels, labels = getattr(digits, "data", None), getattr(digits, "targets", None)
    data = {"source": source_of(loader), "batches": len(loader)}
    if isinstance(pixels, torch.Tensor) and isinstance(labels, torch.Tensor):
        data |= {"digits": len(labels), "crc32": _crc32(pixels, labels)}
    generator = getattr(loader, "generator", None)
    order = generator.get_state() if generator is not None else torch.get_rng_state()
    return {
        "recipe": asdict(recipe),
        "network": {name: list(weight.shape) for name, weight in model.state_dict().items()},
        "data set": data,
        "seed": {"weights": fingerprint(model.state_dict()), "order": _crc32(order)},
    }


def _differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Where two identities differ, said of the first that does: its recipe, network, data set or seed."""
    for part, ours in here.items():
        theirs = there.get(part, {})
        names = [name for name in ours.keys() | theirs.keys() if theirs.get(name) != ours.get(name)]
        if names:
            shown = [name for name in sorted(names) if part != "seed" and name != "crc32"][:3]
            values = "; ".join(f"{name} {theirs.get(name)} there, {ours.get(name)} here" for name in shown)
            hidden = "other weights or another order to begin with" if part == "seed" else "other pixels or labels"
            return f"{part} ({values or hidden})"
    return ""


def machine_of(device: torch.device) -> str:
    return f"torch {torch.__version__}, {device.type}, {torch.get_num_threads()} threads"


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
