"""Trained weights in a file that runs no code, is written whole or not at all, and is checked when it is read."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .files import write_whole
from .model import Net

SHIPPED = Path(__file__).parent / "weights.safetensors"


class CheckpointError(RuntimeError):
    """The file is damaged, or holds another network or training; the message says which."""


def fingerprint(weights: dict[str, Tensor]) -> str:
    """SHA-256 of the weights, wherever and in whatever layout they lie."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(weights[name].detach().cpu().numpy().tobytes())
    return found.hexdigest()


def save_checkpoint(model: nn.Module, path: str | Path, **about: Any) -> None:
    """Write the model's weights, and plain facts about them (recipe, data set, accuracy, …), to a safetensors file.

    Raises CheckpointError for weights that are not finite.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise CheckpointError("The network's weights are not finite, and would answer nonsense: train again.")
    facts = {"about": json.dumps(about), "sha256": fingerprint(weights)}
    write_whole(Path(path), save(weights, facts))


def load_checkpoint(path: str | Path = SHIPPED) -> tuple[Net, dict[str, Any]]:
    """The network with the file's weights, in eval mode on the CPU, and the facts; by default the shipped ones.

    Raises FileNotFoundError, or CheckpointError for a damaged file or another network's.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}: train first, or load the shipped weights.")
    model = Net()
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        intact = facts.get("sha256") == fingerprint(weights)
        about = json.loads(facts.get("about", "{}"))
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path.name} is damaged or no safetensors file ({error}): train again.") from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != expected:
        raise CheckpointError(f"{path.name} holds another network's weights: it needs {', '.join(expected)}.")
    if not intact:
        raise CheckpointError(f"{path.name} is damaged (its weights are not those that were saved): train again.")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise CheckpointError(f"{path.name} holds weights that are not finite, and would answer nonsense: train again.")
    model.load_state_dict(weights)
    return model.eval(), about
