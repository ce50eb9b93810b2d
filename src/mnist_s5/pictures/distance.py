"""How far images are from the training digits, as the pretrained network describes them, upright and turned."""

from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from ..data.digits import normalize
from ..model import Net
from ..training.checkpoint import load_checkpoint

KNOWN_DIGITS = Path(__file__).with_name("known.safetensors")  # made by benchmarks/ship.py


@torch.no_grad()
def describe(model: Net, images: Tensor) -> Tensor:
    """Return the 50 values of `fc1` after its ReLU, float [N, 50], for images uint8 [N, 28, 28]."""
    found: list[Tensor] = []
    hook = model.fc1.register_forward_hook(lambda module, inputs, output: found.append(F.relu(output)))
    try:
        for part in images.split(500):
            model(normalize(part[:, None]))
    finally:
        hook.remove()
    return torch.cat(found)


@lru_cache
def _known() -> tuple[Net, Tensor, float]:
    """Return the pretrained network, the 50 values of 4,000 training digits, and the distance called 1."""
    with safe_open(KNOWN_DIGITS, "pt") as file:
        return load_checkpoint()[0], file.get_tensor("fc1").float(), float(file.metadata()["limit"])


def distance_to_digits(images: Tensor) -> Tensor:
    """Return the distance of images, uint8 [N, 28, 28], to the nearest of 4,000 training digits: float [N].

    It is the Euclidean distance between the 50 values of `fc1` of the pretrained network. 99% of other training digits
    are nearer than 1, so an image that is farther is unlike the digits that the network has learned from.
    """
    model, known, limit = _known()
    return torch.cdist(describe(model, images), known).amin(dim=1) / limit


def gain_of_turning(images: Tensor) -> Tensor:
    """Return how much nearer images, uint8 [N, 28, 28], would be after 1, 2, and 3 counterclockwise quarter turns.

    Returns:
        Differences of `distance_to_digits`, float [3, N]. Distances above 1.5 count as 1.5.
    """
    distances = [distance_to_digits(images.rot90(turns, (1, 2))).clamp(max=1.5) for turns in range(4)]
    return distances[0] - torch.stack(distances[1:])
