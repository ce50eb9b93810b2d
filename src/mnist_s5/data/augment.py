"""Batched affine augmentation: transform a whole batch at once, with independent random parameters per image."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_affine(
    n: int,
    *,
    crop_prob: float = 0.0,
    degrees: float = 0.0,
    scale_jitter: float = 0.0,
    translate_px: float = 0.0,
    flip_prob: float = 0.0,
    augment_prob: float = 1.0,
) -> Tensor:
    """Sample random affine matrices for n images from torch's global CPU generator.

    Angles, scales, and shifts are uniform.

    Args:
        n: Number of matrices.
        crop_prob: Probability of zooming in on the central 22×22 of 28×28 pixels, as the reference does.
        degrees: Maximum rotation in either direction.
        scale_jitter: Maximum relative change in size. 0.1 scales by 0.9 to 1.1.
        translate_px: Maximum shift in pixels, horizontally and vertically.
        flip_prob: Probability of a horizontal flip.
        augment_prob: Probability of augmenting an image. Otherwise its matrix is the identity.

    Returns:
        Float tensor [n, 2, 3]. Each maps output to input coordinates, normalized to [-1, 1] as in `F.affine_grid`.
    """

    def uniform(limit: float) -> Tensor:
        return limit * (2 * torch.rand(n) - 1)

    def happens(probability: float) -> Tensor:
        return torch.rand(n) < probability

    # The inverse scale, because matrices map output to input. 14 pixels are half of 28, so they are 1 in coordinates.
    angle, scale = torch.deg2rad(uniform(degrees)), 1 / (1 + uniform(scale_jitter))
    scale = torch.where(happens(crop_prob), scale * 22 / 28, scale)
    mirror = torch.where(happens(flip_prob), -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = (
        torch.stack([mirror * cos, -mirror * sin, uniform(translate_px / 14)], 1),
        torch.stack([sin, cos, uniform(translate_px / 14)], 1),
    )
    return torch.where(happens(augment_prob).view(-1, 1, 1), torch.stack(rows, 1), torch.eye(2, 3))


@lru_cache
def _pixel_centers(side: int, device: torch.device) -> Tensor:
    """Return the homogeneous coordinates (x, y, 1) of all pixel centers, row by row: float [3, side * side].

    A matrix times these is `F.affine_grid`, several times faster.
    """
    at = (torch.arange(side, device=device) * 2 + 1) / side - 1
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1)


def apply_affine(images: Tensor, theta: Tensor) -> Tensor:
    """Transform each image by its own matrix, with bilinear interpolation and zeros (background) outside.

    Args:
        images: uint8 or float [N, 1, S, S].
        theta: Float [N, 2, 3] from `sample_affine`.

    Returns:
        Float [N, 1, S, S], with the same range of values as the images.
    """
    side = images.shape[-1]
    grid = (theta.reshape(-1, 3) @ _pixel_centers(side, images.device)).view(-1, 2, side, side)
    return F.grid_sample(images.float(), grid.permute(0, 2, 3, 1), align_corners=False)
