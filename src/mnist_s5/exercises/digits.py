"""Exercises of 01_data_visualization."""

import torch
from torch import Generator, Tensor

from . import exercise


def _digits(generator: Generator, n: int = 6) -> Tensor:
    return torch.randint(0, 256, (n, 28, 28), generator=generator, dtype=torch.uint8)


@exercise(
    title="From bytes to what the network gets",
    task="The raw digits are bytes. Make of them what the first layer takes: scaled to 0 to 1, a channel dimension, "
    "mean and deviation of MNIST's training pixels taken out.",
    hint="`images[:, None]` adds a dimension; divide first, subtract then, and divide again.",
    difficulty=1,
    minutes=5,
    draw=lambda generator: (_digits(generator),),
)
def normalised(images: Tensor) -> Tensor:
    """images: uint8 [N, 28, 28]; gives float32 [N, 1, 28, 28], with MNIST's 0.1307 and 0.3081."""
    return (images[:, None].float() / 255 - 0.1307) / 0.3081


@normalised.mistake("the pixels still reach to 255: divide them by 255 first, 0.1307 is of pixels from 0 to 1.")
def _(images: Tensor) -> Tensor:
    return (images[:, None].float() - 0.1307) / 0.3081


@normalised.mistake("each batch is normalised by its own mean and deviation: use 0.1307 and 0.3081 for every digit.")
def _(images: Tensor) -> Tensor:
    x = images[:, None].float() / 255
    return (x - x.mean()) / x.std()


@normalised.mistake("the mean is taken away after the division by the deviation: first subtract, then divide.")
def _(images: Tensor) -> Tensor:
    return images[:, None].float() / 255 / 0.3081 - 0.1307


@normalised.mistake("the division 0.1307 / 0.3081 comes first: put the difference in brackets, (x - 0.1307) / 0.3081.")
def _(images: Tensor) -> Tensor:
    return images[:, None].float() / 255 - 0.1307 / 0.3081


@normalised.mistake("this is scaled to 0 to 1, and not centred yet: subtract 0.1307, and divide by 0.3081.")
def _(images: Tensor) -> Tensor:
    return images[:, None].float() / 255


@normalised.mistake("the channel dimension is missing: a convolution takes [N, 1, 28, 28].")
def _(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.1307) / 0.3081


@exercise(
    title="The mean digits",
    task="The baseline of 01 begins with an average of each class.",
    hint="`images[labels == 3]` are the threes; `torch.stack` makes one tensor of ten.",
    difficulty=1,
    minutes=5,
    draw=lambda generator: (
        torch.rand(40, 28, 28, generator=generator),
        torch.cat([torch.arange(10), torch.randint(0, 10, (30,), generator=generator)]),
    ),
)
def mean_digits(images: Tensor, labels: Tensor) -> Tensor:
    """images: float [N, 28, 28]; labels: int64 [N], each class at least once; gives float [10, 28, 28]."""
    return torch.stack([images[labels == digit].mean(dim=0) for digit in range(10)])


@mean_digits.mistake("these are sums: divide each by the number of digits of its class.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([images[labels == digit].sum(dim=0) for digit in range(10)])


@mean_digits.mistake("each sum is divided by the number of all digits: divide by that of its own class.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([images[labels == digit].sum(dim=0) / len(images) for digit in range(10)])


@mean_digits.mistake("this is one number a class: average over the digits (dim=0), not over the pixels.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([images[labels == digit].mean() for digit in range(10)])


@mean_digits.mistake("all ten are the mean of all digits: choose those of each class with labels == digit.")
def _(images: Tensor, labels: Tensor) -> Tensor:
    return images.mean(dim=0).expand(10, 28, 28)


@exercise(
    title="The nearest mean",
    task="And it ends with an answer for new digits: the class whose mean is nearest, by the sum of squared "
    "differences of all pixels.",
    hint="`images[:, None] - means` has the shape [N, 10, 28, 28].",
    difficulty=2,
    minutes=10,
    draw=lambda generator: (
        torch.rand(12, 28, 28, generator=generator),
        torch.rand(10, 28, 28, generator=generator) * torch.linspace(0.6, 1.4, 10)[:, None, None],
    ),
)
def nearest_mean(images: Tensor, means: Tensor) -> Tensor:
    """images: float [N, 28, 28]; means: float [10, 28, 28]; gives the answers, int64 [N]."""
    return (images[:, None] - means).square().sum(dim=(2, 3)).argmin(dim=1)


@nearest_mean.mistake("that is the mean farthest away: the nearest has the smallest distance, so argmin.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3)).argmax(dim=1)


@nearest_mean.mistake("differences are summed with their signs, so that they cancel: square them first.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).sum(dim=(2, 3)).argmin(dim=1)


@nearest_mean.mistake("this is the nearest digit of each mean: the minimum is over the ten means, dim=1.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3)).argmin(dim=0)


@nearest_mean.mistake("this sums distances without squaring them: another measure, and another answer for some digits.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).abs().sum(dim=(2, 3)).argmin(dim=1)


@nearest_mean.mistake("these are the distances: give the number of the class that has the smallest, argmin.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3))


@nearest_mean.mistake("this is how near the nearest mean is: give which one it is, argmin.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images[:, None] - means).square().sum(dim=(2, 3)).min(dim=1).values


@nearest_mean.mistake("this compares only how much ink there is: compare pixel by pixel, and sum afterwards.")
def _(images: Tensor, means: Tensor) -> Tensor:
    return (images.mean(dim=(1, 2))[:, None] - means.mean(dim=(1, 2))).square().argmin(dim=1)
