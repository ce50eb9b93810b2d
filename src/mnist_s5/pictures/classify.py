"""Classify the digits in a picture."""

import torch
from torch import nn

from ..data.digits import normalize
from ..training.checks import check_output
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
        log_probs = model.eval()(images.to(next(model.parameters(), images)))  # to the device and dtype of the model
    finally:
        for module, mode in modes:
            module.training = mode
    check_output(log_probs.cpu(), images, "The digits of a picture")
    if log_probs.isnan().any():
        raise ValueError("The network returns NaN. Build and train it again, with a lower learning rate.")
    for digit, probabilities in zip(found, log_probs.float().exp().cpu(), strict=True):
        digit.probabilities = probabilities
    return found
