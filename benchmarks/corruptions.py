"""Sixteen corruptions of digits, each in five strengths.

They are modeled on MNIST-C (Mu and Gilmer 2019) and ImageNet-C (Hendrycks and Dietterich 2019). Except for the
interpolation in motion blur, they share no code with the package's augmentation, and they have other parameters. No
recipe trains on the kinds in `UNSEEN`. The strengths were chosen by looking at the images, before any network was
trained with photometric distortion, and have not changed since.
"""

import math
from collections.abc import Callable, Collection
from statistics import mean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader

# Every function takes images, float [N, 1, 28, 28] from 0 (background) to 1 (stroke), and a strength. Values outside
# 0 to 1 are clipped afterward. Random parameters are independent for each image.


def per_image(images: Tensor, low: float, high: float) -> Tensor:
    """Sample one uniform number per image: float [N, 1, 1, 1]."""
    return low + (high - low) * torch.rand(len(images), 1, 1, 1)


def distance(images: Tensor, offset_px: float) -> Tensor:
    """Return each pixel's signed distance, in pixels, from a random line that passes near the center."""
    angle, offset = per_image(images, 0, 2 * math.pi), per_image(images, -offset_px, offset_px)
    at = torch.arange(28) - 13.5
    return at * angle.cos() + at[:, None] * angle.sin() - offset


def gray_background(images: Tensor, level: float) -> Tensor:
    """Brighten the background. The strokes stay white."""
    return level + (1 - level) * images


def gradient(images: Tensor, level: float) -> Tensor:
    """Brighten the background from 0 on one side to `level` on the other side, in a random direction."""
    return gray_background(images, level * (0.5 + distance(images, 0) / 28).clamp(0, 1))


def low_contrast(images: Tensor, contrast: float) -> Tensor:
    """Reduce the contrast around middle gray."""
    return 0.5 + contrast * (images - 0.5)


def inverted(images: Tensor, contrast: float) -> Tensor:
    """Draw dark strokes on a bright background, with this contrast."""
    return low_contrast(1 - images, contrast)


def gaussian_noise(images: Tensor, std: float) -> Tensor:
    """Add Gaussian noise."""
    return images + std * torch.randn_like(images)


def salt_and_pepper(images: Tensor, fraction: float) -> Tensor:
    """Set this fraction of the pixels to black or white."""
    random = torch.rand_like(images)
    return torch.where(random < fraction, (random < fraction / 2).float(), images)


def thick(images: Tensor, radius_px: float) -> Tensor:
    """Make the strokes thicker by this many pixels on each side."""
    inner, outer = (F.max_pool2d(images, 2 * r + 1, 1, r) for r in (math.floor(radius_px), math.ceil(radius_px)))
    return torch.lerp(inner, outer, radius_px % 1)


def thin(images: Tensor, radius_px: float) -> Tensor:
    """Make the strokes thinner by this many pixels on each side."""
    return 1 - thick(1 - images, radius_px)


def line(images: Tensor, width_px: float) -> Tensor:
    """Draw a white line across the digit."""
    return torch.maximum(images, (width_px / 2 + 0.5 - distance(images, 4).abs()).clamp(0, 1))


def band(images: Tensor, width_px: float) -> Tensor:
    """Invert a band across the digit."""
    return ((distance(images, 6).abs() < width_px / 2).float() - images).abs()


def shadow(images: Tensor, darkness: float) -> Tensor:
    """Put a shadow on one half of a white digit on a gray background."""
    shaded = (distance(images, 4) + 0.5).clamp(0, 1)
    return gray_background(images, 0.5) * (1 - darkness * shaded)


def blur(images: Tensor, sigma_px: float) -> Tensor:
    """Blur with a Gaussian filter."""
    at = torch.arange(-9, 10)
    kernel = torch.softmax(-(at**2) / (2 * sigma_px**2), 0)
    return F.conv2d(images, kernel.outer(kernel)[None, None], padding=9)


def motion_blur(images: Tensor, length_px: float) -> Tensor:
    """Average over a shift of this length, in a random direction."""
    angle, steps = per_image(images, 0, math.pi).flatten(), torch.linspace(-0.5, 0.5, 15)
    theta = torch.eye(2, 3).repeat(len(images), 1, 1)
    direction = torch.stack([angle.cos(), angle.sin()], 1) / 14
    shifted = []
    for step in steps:
        theta[:, :, 2] = step * length_px * direction
        shifted.append(s5.apply_affine(images, theta))
    return torch.stack(shifted).mean(0)


def pixelate(images: Tensor, side_px: float) -> Tensor:
    """Reduce the image to this many pixels a side, and enlarge it again."""
    return F.interpolate(F.interpolate(images, int(side_px), mode="area"), 28, mode="nearest")


def fog(images: Tensor, density: float) -> Tensor:
    """Put a random cloud in front of the digit."""
    cloud = F.interpolate(torch.rand(len(images), 1, 5, 5), 28, mode="bicubic", align_corners=True)
    return torch.lerp(images, torch.ones(()), density * cloud.clamp(0, 1))


def graph_paper(images: Tensor, brightness: float) -> Tensor:
    """Draw a grid of lines behind the digit, 7 pixels apart."""
    at = torch.arange(28) + torch.randint(7, (len(images), 2, 1))
    lines = at % 7 == 0
    grid = (lines[:, 0, :, None] | lines[:, 1, None, :]).unsqueeze(1)
    return torch.maximum(images, brightness * grid)


Corruption = Callable[[Tensor, float], Tensor]
CORRUPTIONS: dict[Corruption, tuple[float, ...]] = {
    gray_background: (0.15, 0.3, 0.45, 0.6, 0.75),
    gradient: (0.2, 0.4, 0.6, 0.75, 0.85),
    low_contrast: (0.7, 0.5, 0.35, 0.25, 0.15),
    inverted: (1.0, 0.7, 0.5, 0.35, 0.2),
    gaussian_noise: (0.1, 0.2, 0.3, 0.4, 0.5),
    salt_and_pepper: (0.04, 0.08, 0.13, 0.19, 0.26),
    thick: (0.3, 0.6, 0.9, 1.2, 1.5),
    thin: (0.15, 0.3, 0.45, 0.55, 0.65),
    line: (1.0, 1.4, 1.8, 2.2, 2.6),
    band: (2.0, 4.0, 6.0, 8.0, 10.0),
    shadow: (0.2, 0.35, 0.5, 0.65, 0.8),
    blur: (0.6, 1.0, 1.3, 1.6, 2.0),
    motion_blur: (2.0, 3.0, 4.0, 5.0, 6.0),
    pixelate: (14, 12, 11, 10, 9),
    fog: (0.3, 0.45, 0.6, 0.75, 0.9),
    graph_paper: (0.2, 0.35, 0.5, 0.65, 0.8),
}
UNSEEN = ("shadow", "blur", "motion_blur", "pixelate", "fog", "graph_paper")  # in training


def corrupt(dataset: s5.DigitDataset, corruption: Corruption, strength: float) -> s5.DigitDataset:
    """Return a copy of the dataset with this corruption, always the same one."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        images = corruption(dataset.data.unsqueeze(1) / 255, strength)
    data = (255 * images).round().clamp(0, 255).to(torch.uint8).squeeze(1)
    return s5.DigitDataset(data, dataset.targets, dataset.name)


def corruption_accuracies(model: nn.Module, dataset: s5.DigitDataset, device: torch.device) -> dict[str, list[float]]:
    """Return the accuracy in percent for each strength of each corruption, on every fifth digit of the dataset."""
    some = s5.DigitDataset(dataset.data[::5], dataset.targets[::5], dataset.name)
    return {
        corruption.__name__: [
            s5.test(model, device, DeviceLoader(corrupt(some, corruption, strength), device=device)).accuracy
            for strength in strengths
        ]
        for corruption, strengths in CORRUPTIONS.items()
    }


def mean_accuracy(accuracies: dict[str, list[float]], kinds: Collection[str] = ()) -> float:
    """Return the mean accuracy over all strengths of these kinds of corruption, or of all kinds."""
    return mean(mean(accuracies[kind]) for kind in kinds or accuracies)
