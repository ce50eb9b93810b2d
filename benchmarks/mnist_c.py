"""MNIST-C's fifteen corruptions: python benchmarks/mnist_c.py [RUN ...]

Scores the network in each run's folder, or the pretrained one, on MNIST's 10,000 test digits with each corruption, and
writes results/mnist_c.json. The scores of other networks in this file are kept. The definitions and
severities are those of Mu and Gilmer 2019, arXiv:1906.02337, and of the code that they published,
google-research/mnist-c. This is another implementation, for whole batches, with other random numbers. With the same
random numbers, the images differ by at most one gray level.
Nothing was chosen with these scores.
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from record import record
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from skimage.feature import canny
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader

Array = np.ndarray  # float [N, 28, 28], from 0 (background) to 1 (stroke)
Corruption = Callable[[Array, np.random.Generator], Array]
PIXELS = np.arange(28)


def smooth(images: Array, sigma_px: float) -> Array:
    """Blur each image with a Gaussian filter. Outside an image, its border pixels are repeated."""
    return gaussian_filter(images, (0, sigma_px, sigma_px), mode="nearest")


def sign(n: int, rng: np.random.Generator) -> Array:
    """Sample n signs, float [N]."""
    return rng.choice([-1.0, 1.0], n)


def warp(images: Array, matrices: Array, shift_px: Array | float = 0.0) -> Array:
    """Look up each output pixel at matrix @ (x, y) + shift, relative to the center, with bilinear interpolation.

    Args:
        images: Float [N, 28, 28].
        matrices: Float [N, 2, 2].
        shift_px: Float [N, 2], or 0.
    """
    theta = np.zeros((len(images), 2, 3), np.float32)
    theta[:, :, :2] = matrices
    theta[:, :, 2] = np.asarray(shift_px) / 14  # half of the side is 1
    return s5.apply_affine(torch.from_numpy(images[:, None]), torch.from_numpy(theta))[:, 0].numpy()


def matrix(a: Array | float, b: Array | float, c: Array | float, d: Array | float, n: int) -> Array:
    """Return n matrices [[a, b], [c, d]]."""
    return np.stack([np.broadcast_to(value, n) for value in (a, b, c, d)], axis=1).reshape(n, 2, 2)


def shot_noise(images: Array, rng: np.random.Generator) -> Array:
    """Count photons: a white pixel has three on average."""
    return rng.poisson(3 * images) / 3


def impulse_noise(images: Array, rng: np.random.Generator) -> Array:
    """Set 17% of the pixels to black or white."""
    return np.where(rng.random(images.shape) < 0.17, rng.random(images.shape) < 0.5, images)


def glass_blur(images: Array, rng: np.random.Generator) -> Array:
    """Blur, swap half of the pixels with a neighbor above, to the left, or both, twice, and blur again.

    As in the published code, whose filter takes the columns of a gray image for channels, this blurs only vertically.
    """
    images = np.floor(255 * gaussian_filter1d(images, 0.7, axis=1, mode="nearest")) / 255
    every = np.arange(len(images))
    for y, x in 2 * [(y, x) for y in range(27, 1, -1) for x in range(27, 1, -1)]:
        swapped = rng.random(len(images)) < 0.5
        other_y, other_x = (at - swapped * rng.integers(0, 2, len(images)) for at in (y, x))
        here, there = images[:, y, x].copy(), images[every, other_y, other_x].copy()
        images[every, other_y, other_x], images[:, y, x] = here, there
    return gaussian_filter1d(images, 0.7, axis=1, mode="nearest")


def motion_blur(images: Array, rng: np.random.Generator) -> Array:
    """Average over 21 pixels, with falling weights, in a direction within 45 degrees of the horizontal."""
    angle = np.radians(rng.uniform(-45, 45, len(images)))
    steps = np.arange(21)
    weights = np.exp(-(steps**2) / (2 * 3**2))
    every = np.arange(len(images))[:, None, None]
    blurred = np.zeros_like(images)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        right, down = (np.ceil(step * way - 0.5).astype(int)[:, None, None] for way in (np.cos(angle), np.sin(angle)))
        y, x = (PIXELS[:, None] + down).clip(0, 27), (PIXELS + right).clip(0, 27)
        blurred += weight * images[every, y, x]
    return blurred


def shear(images: Array, rng: np.random.Generator) -> Array:
    """Shear by an angle of 0.4 radians, which also stretches the digit vertically."""
    angle = 0.4 * sign(len(images), rng)
    return warp(images, matrix(1.0, -np.sin(angle), 0.0, np.cos(angle), len(images)))


def scale(images: Array, rng: np.random.Generator) -> Array:
    """Shrink the digit to 70%."""
    return warp(images, matrix(1 / 0.7, 0.0, 0.0, 1 / 0.7, len(images)))


def rotate(images: Array, rng: np.random.Generator) -> Array:
    """Rotate by 0.4 radians, 23 degrees."""
    angle = 0.4 * sign(len(images), rng)
    return warp(images, matrix(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle), len(images)))


def brightness(images: Array, rng: np.random.Generator) -> Array:
    """Add half of white."""
    return images + 0.5


def translate(images: Array, rng: np.random.Generator) -> Array:
    """Shift by three pixels, horizontally and vertically."""
    shift = 3 * np.stack([sign(len(images), rng), sign(len(images), rng)], axis=1)
    return warp(images, matrix(1.0, 0.0, 0.0, 1.0, len(images)), shift)


def stripe(images: Array, rng: np.random.Generator) -> Array:
    """Invert the left and the right quarter of the image."""
    return np.where((PIXELS < 7) | (PIXELS >= 21), 1 - images, images)


def fractal(n: int, rng: np.random.Generator) -> Array:
    """Return n clouds, float [N, 28, 28], by the diamond-square algorithm: parts of maps of 256 × 256 from 0 to 1."""
    maps = np.zeros((n, 256, 256), np.float32)
    step, height = 256, 100.0

    def mean(corners: Array) -> Array:  # of four sums, and a random offset
        return corners / 4 + height**2 * rng.uniform(-1, 1, corners.shape).astype(np.float32)

    while step >= 2:
        half = step // 2
        corners = maps[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, 1)
        maps[:, half::step, half::step] = mean(pairs + np.roll(pairs, -1, 2))
        middles = maps[:, half::step, half::step]
        across, down = corners + np.roll(corners, -1, 2), corners + np.roll(corners, -1, 1)
        maps[:, ::step, half::step] = mean(middles + np.roll(middles, 1, 1) + across)
        maps[:, half::step, ::step] = mean(middles + np.roll(middles, 1, 2) + down)
        step, height = half, height / 1.4
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return ((maps - low) / (high - low))[:, :28, :28]


def fog(images: Array, rng: np.random.Generator) -> Array:
    """Add a cloud three times as bright as white, and scale the sum back."""
    clouds = np.concatenate([fractal(len(part), rng) for part in np.array_split(images, len(images) // 100 + 1)])
    white = images.max((1, 2), keepdims=True)
    return (images + 3 * clouds) * white / (white + 3)


def spatter(images: Array, rng: np.random.Generator) -> Array:
    """Cover the image with dark gray spots."""
    spots = smooth(rng.normal(0.65, 0.3, images.shape), 1) > 0.65
    cover = smooth(spots.astype(float), 1.5)
    cover = np.where(cover < 0.8, 0, cover)
    return images * (1 - cover) + cover * 63 / 255


def segment(x0: Array, y0: Array, x1: Array, y1: Array) -> Array:
    """Draw a line from (x0, y0) to (x1, y1), both float [N], which fades out over 1.5 pixels: float [N, 28, 28]."""
    x0, y0, x1, y1 = (value[:, None, None] for value in (x0, y0, x1, y1))
    away = np.abs(PIXELS[:, None] - y0 - (y1 - y0) / (x1 - x0) * (PIXELS - x0))  # vertically
    drawn = np.clip(1 + np.log1p(-np.minimum(away, 2.3 - 1e-10) / 2.3), 0, 1)
    return np.where((np.floor(x0) <= PIXELS) & (np.ceil(x1) > PIXELS), drawn, 0)


def dotted_line(images: Array, rng: np.random.Generator) -> Array:
    """Draw a line across the image, with gaps of two pixels."""
    left, right = rng.integers(0, 27, (2, len(images)))
    line = segment(np.zeros(len(images)), left, np.full(len(images), 27), right)
    return images + np.where(PIXELS % 4 >= 2, line, 0)


def zigzag(images: Array, rng: np.random.Generator) -> Array:
    """Draw a zigzag line from column 2 to column 25, with edges every four pixels, two pixels above and below."""
    start = rng.integers(0, 27, len(images))
    slope = rng.integers(-5, 5, len(images)) / 23
    angle = np.arctan(slope)
    length = 23 / np.cos(angle)  # at least 23, and less than 24
    edges = [(np.zeros_like(length), np.zeros_like(length))]
    edges += [(np.full_like(length, 4 * n + 2), np.full_like(length, 2 * (-1) ** n)) for n in range(6)]
    edges.append((length, edges[-1][1] / (2 * (length - 20))))
    cos, sin = np.cos(angle), np.sin(angle)
    for one, other in pairwise((2 + x * cos - y * sin, start + x * sin + y * cos) for x, y in edges):
        images = np.minimum(images + segment(*one, *other), 1)
    return images


def canny_edges(images: Array, rng: np.random.Generator) -> Array:
    """Keep only the edges, with Canny's detector."""
    return np.stack([canny(image) for image in images]).astype(float)


CORRUPTIONS: tuple[Corruption, ...] = (
    shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, brightness, translate, stripe, fog,
    spatter, dotted_line, zigzag, canny_edges,
)  # fmt: skip


def corrupt(dataset: s5.DigitDataset, corruption: Corruption) -> s5.DigitDataset:
    """Return a copy of the dataset with this corruption, always the same one."""
    images = corruption(dataset.data.numpy() / 255, np.random.default_rng(0))
    data = (255 * images).clip(0, 255).round().astype(np.uint8)
    return s5.DigitDataset(torch.from_numpy(data), dataset.targets, dataset.name)


def main(folders: list[Path]) -> dict[str, Any]:
    """Score all networks, and return what to record."""
    device, clean = s5.get_device(), s5.load_mnist("mnist")[1]
    test_sets = {"clean": clean} | {each.__name__: corrupt(clean, each) for each in tqdm(CORRUPTIONS, "corruptions")}
    rows = []
    for folder in tqdm(folders or [None], "networks"):
        model, about = s5.load_checkpoint(*[folder] if folder else [])
        name, seed = (about["recipe"], about["seed"]) if folder else ("pretrained", None)
        scores = {
            kind: s5.test(model.to(device), device, DeviceLoader(test_set, device=device), progress=False).accuracy
            for kind, test_set in test_sets.items()
        }
        rows.append(
            {
                "recipe": name,
                "seed": seed,
                "epochs": about["epochs"],
                "clean": scores.pop("clean"),
                "accuracies": scores,
            }
        )
        rows[-1]["mean"] = fmean(scores.values())
    new = [(row["recipe"], row["seed"], row["epochs"]) for row in rows]
    old = s5.recorded("mnist_c")[1]["networks"]
    rows += [row for row in old if (row["recipe"], row["seed"], row.get("epochs", 20)) not in new]
    return {"test_images": len(clean), "networks": rows}


if __name__ == "__main__":
    print(record("mnist_c", **main([Path(folder) for folder in sys.argv[1:]])).name)
