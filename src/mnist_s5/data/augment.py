"""Batched augmentation: transform a whole batch at once on its device, with independent random parameters per image.

Random numbers come from PyTorch's global generators, which `seed_everything` seeds.
"""

import math
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
    device: torch.device | str = "cpu",
) -> Tensor:
    """Sample random affine matrices for n images.

    Angles, scales, and shifts are uniform.

    Args:
        n: Number of matrices.
        crop_prob: Probability of zooming in on the central 22×22 of 28×28 pixels, as the reference does.
        degrees: Maximum rotation in either direction.
        scale_jitter: Maximum relative change in size. 0.1 scales by 0.9 to 1.1.
        translate_px: Maximum shift in pixels of the input, horizontally and vertically, before rotation and scaling.
        flip_prob: Probability of a horizontal flip.
        augment_prob: Probability of transforming an image. Otherwise its matrix is the identity.
        device: Where to sample.

    Returns:
        Float tensor [n, 2, 3]. Each maps output to input coordinates, normalized to [-1, 1] as in `F.affine_grid`.
    """

    def uniform(limit: float) -> Tensor:
        return limit * (2 * torch.rand(n, device=device) - 1)

    def happens(probability: float) -> Tensor:
        return torch.rand(n, device=device) < probability

    # The inverse scale, because matrices map output to input. 14 pixels are half of 28, so they are 1 in coordinates.
    angle, scale = torch.deg2rad(uniform(degrees)), 1 / (1 + uniform(scale_jitter))
    scale = torch.where(happens(crop_prob), scale * 22 / 28, scale)
    flip = torch.where(happens(flip_prob), -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([flip * cos, -flip * sin, uniform(translate_px / 14), sin, cos, uniform(translate_px / 14)], 1)
    return torch.where(happens(augment_prob).view(n, 1, 1), theta.view(n, 2, 3), torch.eye(2, 3, device=device))


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
    if images.shape[-2] != side:
        raise ValueError(f"Expected square images [N, 1, S, S], got {list(images.shape)}. Pad them first.")
    grid = (theta.reshape(-1, 3) @ _pixel_centers(side, images.device)).view(-1, 2, side, side)
    return F.grid_sample(images.float(), grid.permute(0, 2, 3, 1), align_corners=False)


def photometric_distort(
    images: Tensor,
    photometric_prob: float = 1.0,
    *,
    stroke_px: float = 0.5,
    line_px: float = 6.0,
    gradient: float = 0.6,
    noise: float = 0.4,
    salt_pepper: float = 0.15,
    invert_prob: float = 0.3,
    contrast_loss: float = 0.8,
) -> Tensor:
    """Distort strokes, background, and contrast of a fraction of the images, and add noise and lines.

    The distorted images are the first ones, which are a random sample if the loader shuffles. Each kind of distortion
    changes a third of them, independently of the others, by an amount that is uniform between zero and its maximum.
    (Thicker and thinner strokes are two kinds. If both occur, they partly cancel. Inversion has its own probability.)
    Unlike torchvision's `RandomPhotometricDistort`, it also changes strokes and adds lines.

    Args:
        images: Float [N, 1, S, S], from 0 (background) to 255.
        photometric_prob: Fraction of the images to distort.
        stroke_px: Maximum change of the strokes, in pixels on each side. They get thicker or thinner. At most 1.
        line_px: Maximum width in pixels, with soft edges, of a line across the image. It is white, or inverts what it
            crosses.
        gradient: Maximum brightness that the background rises to, on one side of the image. 1 is a stroke's brightness.
        noise: Maximum amplitude of uniform noise. 1 is a stroke's brightness.
        salt_pepper: Maximum fraction of the pixels that become black or white.
        invert_prob: Probability of dark strokes on a bright background.
        contrast_loss: Maximum reduction of the contrast. The background gets a random gray level.

    Returns:
        Float [N, 1, S, S], from 0 to 255.
    """
    # Rounds up or down at random, so the mean over many batches is exact.
    n, side, device = int(photometric_prob * len(images) + torch.rand(()).item()), images.shape[-1], images.device
    if not n:
        return images

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n, 1, 1, 1, device=device).uniform_(low, high)

    def sometimes(maximum: float) -> Tensor:  # the result is zero for two thirds of the images
        return maximum * uniform(-2, 1).clamp(min=0)

    def distance() -> Tensor:  # signed distance in pixels from a random line that passes near the center
        angle, offset = uniform(0, 2 * math.pi), uniform(-0.4, 0.4)
        line = torch.cat([angle.cos(), angle.sin(), offset], dim=1).view(n, 3)
        return (line @ _pixel_centers(side, device)).view(n, 1, side, side) * side / 2

    x = images[:n] / 255
    change = sometimes(stroke_px) - sometimes(stroke_px)
    thicker, thinner = F.max_pool2d(x, 3, 1, 1) - x, F.max_pool2d(-x, 3, 1, 1) + x  # change by one pixel
    x = x + change.clamp(min=0) * thicker + change.clamp(max=0) * thinner
    x = x.lerp(1 - x * uniform(0, 1).round(), (sometimes(line_px) / 2 - distance().abs()).clamp(0, 1))
    x = x + (1 - x) * sometimes(gradient) * (0.5 + distance() / side).clamp(0, 1)
    # Noise, salt, and pepper use the same random number per pixel, which saves time.
    random, extreme = torch.rand_like(x), sometimes(salt_pepper) / 2
    x = x + sometimes(noise) * (2 * random - 1)
    x = torch.where(random < extreme, 0, torch.where(random > 1 - extreme, 1, x)).clamp(0, 1)
    x = torch.where(uniform(0, 1) < invert_prob, 1 - x, x)
    contrast = 1 - sometimes(contrast_loss)
    return torch.cat([255 * (contrast * x + (1 - contrast) * uniform(0, 1)), images[n:]])
