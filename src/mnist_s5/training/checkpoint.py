"""A network's weights in a file: saved with a checksum, and verified when they are loaded."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..files import MODEL_FILE, PRETRAINED_WEIGHTS, atomic_write
from ..metrics import to_json
from ..model import Net


class CheckpointError(RuntimeError):
    """A file is corrupted, or belongs to another network or run. The message says which, and what to do."""


def fingerprint(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the weights, which does not depend on their device or memory layout."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(weights[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def save_checkpoint(model: nn.Module, path: str | Path, **about: Any) -> None:
    """Save the model's weights and JSON-serializable metadata to a safetensors file.

    The entry sha256 of the metadata is the checksum of the weights. The file of a compiled model is the same as that of
    the model itself.

    Raises:
        CheckpointError: If a weight is not finite, or a buffer contains NaN. It may contain infinity, as a mask does.
    """
    state = getattr(model, "_orig_mod", model).state_dict()  # torch.compile wraps the model
    tensors = {name: value.detach().cpu() for name, value in state.items() if isinstance(value, Tensor)}
    weights = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    finite = all(parameter.isfinite().all() for parameter in model.parameters())
    if not finite or any(value.isnan().any() for value in weights.values()):
        raise CheckpointError("The weights are not finite, so they are not saved. Lower the learning rate.")
    about["sha256"] = fingerprint(weights)  # not beside it: safetensors writes several entries in a random order
    atomic_write(Path(path), save(weights, {"about": to_json(about)}))


def load_checkpoint(path: str | Path = PRETRAINED_WEIGHTS) -> tuple[Net, dict[str, Any]]:
    """Load weights into a `Net` on the CPU, in eval mode; by default the pretrained ones.

    Args:
        path: A file, or a run's folder.

    Returns:
        The network, and what `save_checkpoint` was told about it.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is corrupted or belongs to another network.
    """
    path = Path(path).expanduser()
    path = path / MODEL_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}. Train first, or use the pretrained weights.")
    weights, checksum, about = _read(path)
    model = Net()
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != expected:
        raise CheckpointError(
            f"{path} holds another network's weights, not Net's. Choose another run, or load it yourself."
        )
    if not checksum:
        raise CheckpointError(f"{path} has no checksum. Save the weights with save_checkpoint.")
    if checksum != fingerprint(weights):
        raise CheckpointError(f"{path} is corrupted: its weights have changed since they were saved. Train again.")
    model.load_state_dict(weights)
    return model.eval(), about


def _read(path: Path) -> tuple[dict[str, Tensor], str | None, dict[str, Any]]:
    """Return the weights, their checksum, and what `save_checkpoint` was told about the model."""
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        about = dict(json.loads(facts.get("about", "{}")))
        return weights, about.pop("sha256", facts.get("sha256")), about
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is corrupted or not a safetensors file ({error}). Train again.") from error
