"""Augmentation: one affine warp for a whole batch, an own draw for each image."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_affine(
    n: int,
    generator: torch.Generator,
    *,
    crop: float = 0.0,
    degrees: float = 0.0,
    zoom: float = 0.0,
    shift: float = 0.0,
    flip: float = 0.0,
    warped: float = 1.0,
) -> Tensor:
    """n maps, float [n, 2, 3], from where a pixel is drawn to where it is looked up; 1 is half the image's side.

    crop: probability that the middle 22 of 28 pixels fill the image, as in the reference; degrees: of rotation, to
    either side; zoom: enlarged or shrunk by up to this share; shift: pixels to each side; flip: probability of a
    mirror image; warped: probability that anything of this is done. All but the probabilities are drawn uniformly.
    """

    def uniform(limit: float) -> Tensor:
        return limit * (2 * torch.rand(n, generator=generator) - 1)

    def happens(probability: float) -> Tensor:
        return torch.rand(n, generator=generator) < probability

    angle, scale = torch.deg2rad(uniform(degrees)), 1 / (1 + uniform(zoom))
    scale = torch.where(happens(crop), scale * 22 / 28, scale)
    mirror = torch.where(happens(flip), -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = (
        torch.stack([mirror * cos, -mirror * sin, uniform(shift / 14)], 1),
        torch.stack([sin, cos, uniform(shift / 14)], 1),
    )
    maps = torch.stack(rows, 1)
    return torch.where(happens(warped).view(-1, 1, 1), maps, torch.eye(2, 3)) if warped < 1 else maps


@lru_cache
def _pixels(side: int, device: torch.device) -> Tensor:
    """The centres of all pixels, row by row: x, y (from -1 to 1) and a 1 for the shift, float [3, side * side]."""
    at = (torch.arange(side, device=device) * 2 + 1) / side - 1
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1)


def warp(images: Tensor, affine: Tensor) -> Tensor:
    """Each image by its own map, blended from the four nearest pixels; what lies outside is paper, 0.

    images: uint8 or float [N, 1, S, S]; affine: float [N, 2, 3], as `draw_affine` gives them. Returns float
    [N, 1, S, S] on the scale of the images.
    """
    side = images.shape[-1]
    places = (affine.reshape(-1, 3) @ _pixels(side, images.device)).view(-1, 2, side, side)
    return F.grid_sample(images.float(), places.permute(0, 2, 3, 1), align_corners=False)
