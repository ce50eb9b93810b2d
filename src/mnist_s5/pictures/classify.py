"""Classify the digits in a picture."""

import torch
from torch import nn

from ..data.digits import normalize
from .find import FoundDigit, find_digits
from .read import Picture


@torch.no_grad()
def classify(model: nn.Module, picture: Picture) -> list[FoundDigit]:
    """Find the digits in a picture, and set the probabilities that a network, in evaluation mode, gives them.

    Raises:
        ImageError: See `find_digits`.
        ValueError: If the network does not return log-probabilities.
    """
    found = find_digits(picture)
    images = normalize(torch.stack([digit.image for digit in found]))[:, None]
    modes = [(module, module.training) for module in model.modules()]
    try:
        probabilities = model.eval()(images.to(next(model.parameters(), images))).float().exp().cpu()
    finally:
        for module, mode in modes:
            module.training = mode
    sums = probabilities.sum(dim=-1)
    if probabilities.shape != (len(found), 10) or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise ValueError(
            f"Expected log-probabilities [{len(found)}, 10], got values whose exponentials do not sum to 1 "
            f"({list(probabilities.shape)}). End forward() with log_softmax(x, dim=1), and check that no weight is NaN."
        )
    for digit, each in zip(found, probabilities, strict=True):
        digit.probabilities = each
    return found
