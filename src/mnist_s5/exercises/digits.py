"""Exercises of 01_data_visualization."""

import torch
from torch import Generator, Tensor

from . import exercise, random_int


def _digits(generator: Generator) -> Tensor:
    """Four to eight images. The brightest pixel is not always 255."""
    n, high = random_int(generator, 4, 9), random_int(generator, 120, 257)
    return torch.randint(0, high, (n, 28, 28), generator=generator, dtype=torch.uint8)


def _images_and_labels(generator: Generator) -> tuple[Tensor, Tensor]:
    """30 to 49 images, with each class at least once, in random order."""
    n = random_int(generator, 30, 50)
    labels = torch.cat([torch.arange(10), torch.randint(0, 10, (n - 10,), generator=generator)])
    return torch.rand(n, 28, 28, generator=generator), labels[torch.randperm(n, generator=generator)]


@exercise(
    title="From bytes to the network's input",
    task="The raw digits are bytes. Convert them to the input of the first layer: scale them to the range 0 to 1, add "
    "a channel dimension, and normalize them with the mean and standard deviation of MNIST's training pixels.",
    hint="`images[:, None]` adds a dimension. Divide by 255, then subtract the mean, then divide by the standard "
    "deviation.",
    difficulty=1,
    minutes=5,
    make_inputs=lambda generator: (_digits(generator),),
)
def normalized(images: Tensor) -> Tensor:
    """images: uint8 [N, 28, 28]. Return float32 [N, 1, 28, 28], normalized with 0.1307 and 0.3081."""
    return (images[:, None].float() / 255 - 0.1307) / 0.3081


@normalized.mistake("The pixels still range up to 255. Divide by 255 first: 0.1307 is for pixels from 0 to 1.")
def _(images: Tensor) -> Tensor:
    return (images[:, None].float() - 0.1307) / 0.3081


@normalized.mistake("Each batch is normalized with its own statistics. Use 0.1307 and 0.3081 for every digit.")
def _(images: Tensor) -> Tensor:
    x = images[:, None].float() / 255
    return (x - x.mean()) / x.std()


@normalized.mistake("The mean is subtracted after the division by the standard deviation. Subtract it first.")
def _(images: Tensor) -> Tensor:
    return images[:, None].float() / 255 / 0.3081 - 0.1307


@normalized.mistake(
    "The division 0.1307 / 0.3081 comes first. Put the difference in parentheses: (x - 0.1307) / 0.3081."
)
def _(images: Tensor) -> Tensor:
    return images[:, None].float() / 255 - 0.1307 / 0.3081


@normalized.mistake("This is only scaled to the range 0 to 1. Subtract 0.1307, then divide by 0.3081.")
def _(images: Tensor) -> Tensor:
    return images[:, None].float() / 255


@normalized.mistake("This divides by the brightest pixel of the batch. Divide by 255.")
def _(images: Tensor) -> Tensor:
    return (images[:, None].float() / images.max() - 0.1307) / 0.3081


@normalized.mistake("The channel dimension is missing. A convolution needs [N, 1, 28, 28].")
def _(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.1307) / 0.3081


@exercise(
    title="The mean images",
    task="The baseline of 01 starts with the average image of each class. Compute all ten.",
    hint="`images[labels == 3]` are the threes. `torch.stack` makes one tensor of ten.",
    difficulty=1,
    minutes=5,
    make_inputs=_images_and_labels,
)
def mean_images(images: Tensor, labels: Tensor) -> Tensor:
    """images: float [N, 28, 28]; labels: int64 [N], each class at least once. Return float [10, 28, 28]."""
    return torch.stack([images[labels == digit].mean(dim=0) for digit in range(10)])


@mean_images.mistake("These are sums. Divide each by the number of digits in its class.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([images[labels == digit].sum(dim=0) for digit in range(10)])


@mean_images.mistake("Each sum is divided by the number of all digits. Divide by the number of digits in its class.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([images[labels == digit].sum(dim=0) / len(images) for digit in range(10)])


@mean_images.mistake("This is one number per class. Average over the digits (dim=0), not over the pixels.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([images[labels == digit].mean() for digit in range(10)])


@mean_images.mistake("All ten are the mean of all digits. Select the digits of each class with labels == digit.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return images.mean(dim=0).expand(10, 28, 28)


@exercise(
    title="The nearest mean image",
    task="The baseline ends with a prediction for each new digit: the class whose mean image is nearest. The distance "
    "is the sum of squared differences over all pixels.",
    hint="`images[:, None] - means` has the shape [N, 10, 28, 28].",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (
        torch.rand(random_int(generator, 8, 16), 28, 28, generator=generator),
        torch.rand(10, 28, 28, generator=generator) * torch.linspace(0.6, 1.4, 10)[:, None, None],
    ),
)
def nearest_mean(images: Tensor, means: Tensor) -> Tensor:
    """images: float [N, 28, 28]; means: float [10, 28, 28]. Return the predictions, int64 [N]."""
    return (images[:, None] - means).square().sum(dim=(2, 3)).argmin(dim=1)


@nearest_mean.mistake("This is the mean image with the largest distance. The nearest has the smallest: use argmin.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3)).argmax(dim=1)


@nearest_mean.mistake("Positive and negative differences cancel in the sum. Square them first.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).sum(dim=(2, 3)).argmin(dim=1)


@nearest_mean.mistake("This is the nearest digit for each mean image. Take the minimum over the ten means (dim=1).")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3)).argmin(dim=0)


@nearest_mean.mistake("This sums absolute differences, which gives other predictions for some digits. Square them.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).abs().sum(dim=(2, 3)).argmin(dim=1)


@nearest_mean.mistake("These are the distances. Return the class with the smallest distance: use argmin.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3))


@nearest_mean.mistake("This is the smallest distance. Return the class that it belongs to: use argmin.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3)).min(dim=1).values


@nearest_mean.mistake("This compares only the total intensity. Compare pixel by pixel, and sum afterwards.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images.mean(dim=(1, 2))[:, None] - means.mean(dim=(1, 2))).square().argmin(dim=1)
