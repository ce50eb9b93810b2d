"""Exercises of 01_data_visualization."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from . import exercise, random_int


def _digits(generator: Generator) -> Tensor:
    """Four to eight images. The brightest pixel is not always 255."""
    n, high = random_int(generator, 4, 9), random_int(generator, 120, 257)
    return torch.randint(0, high, (n, 28, 28), generator=generator, dtype=torch.uint8)


@exercise(
    title="From bytes to the network's input",
    task="The raw digits are bytes. Convert them to the input of the first layer: scale them to the range 0 to 1, add "
    "a channel dimension, and normalize them with the mean and standard deviation of MNIST's training pixels.",
    hint="Indexing with None adds a dimension. 0.1307 and 0.3081 are for pixels from 0 to 1.",
    difficulty=1,
    minutes=5,
    make_inputs=lambda generator: (_digits(generator),),
)
def normalized(images: Tensor) -> Tensor:
    """images: uint8 [N, 28, 28]. Return float32 [N, 1, 28, 28], normalized with 0.1307 and 0.3081."""
    x = images[:, None].float() / 255
    return (x - 0.1307) / 0.3081


normalized.edit(
    "The pixels still range up to 255. Divide by 255 first: 0.1307 is for pixels from 0 to 1.", " / 255", ""
)
normalized.edit(
    "Each batch is normalized with its own statistics. Use 0.1307 and 0.3081 for every digit.",
    "(x - 0.1307) / 0.3081",
    "(x - x.mean()) / x.std()",
)
normalized.edit(
    "Each image is normalized with its own statistics. Use 0.1307 and 0.3081 for every digit.",
    "(x - 0.1307) / 0.3081",
    "(x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)",
)
normalized.edit(
    "The mean is subtracted after the division by the standard deviation. Subtract it first.",
    "(x - 0.1307) / 0.3081",
    "x / 0.3081 - 0.1307",
)
normalized.edit(
    "Python divides before it subtracts. Which of the two has to come first here?",
    "(x - 0.1307) / 0.3081",
    "x - 0.1307 / 0.3081",
    answer="Put the difference in parentheses: (x - 0.1307) / 0.3081.",
)
normalized.edit(
    "This is only scaled to the range 0 to 1. Subtract 0.1307, then divide by 0.3081.", "(x - 0.1307) / 0.3081", "x"
)
normalized.edit("This divides by the brightest pixel of the batch. Divide by 255.", "/ 255", "/ images.max()")
normalized.edit("The channel dimension is missing. A convolution needs [N, 1, 28, 28].", "[:, None]", "")


@exercise(
    title="Shift digits",
    task="Another augmentation: move each image by `right` pixels to the right and by `down` pixels down. Pixels that "
    "come in from outside are background, 0. Pixels that leave the image are lost.",
    hint="`right` and `down` can be negative. Slices work, or `F.pad`: what does a negative width do?",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (
        _digits(generator),
        (-27, -3, 0, 2, 9)[random_int(generator, 0, 5)],
        (-9, -2, 0, 1, 27)[random_int(generator, 0, 5)],
    ),
)
def shifted(images: Tensor, right: int, down: int) -> Tensor:
    """images: uint8 [N, 28, 28]; right, down: pixels from −27 to 27. Return uint8 [N, 28, 28]."""
    return F.pad(images, (right, -right, down, -down))


shifted.edit(
    "The pixels that leave the image come back on the other side. Fill with 0 instead.",
    "F.pad(images, (right, -right, down, -down))",
    "images.roll((down, right), (1, 2))",
)
shifted.edit(
    "The two axes are swapped: the last one is horizontal.",
    "(right, -right, down, -down)",
    "(down, -down, right, -right)",
)
shifted.edit(
    "This moves in the opposite direction, to the left and up.",
    "(right, -right, down, -down)",
    "(-right, right, -down, down)",
)
shifted.edit(
    "The image grows. Crop the pixels that leave it on the other side.",
    "(right, -right, down, -down)",
    "(right, 0, down, 0)",
)
shifted.edit("Up and down are swapped: a positive number moves down.", "down, -down", "-down, down")
shifted.edit("Left and right are swapped: a positive number moves to the right.", "right, -right", "-right, right")
shifted.edit("This only moves horizontally.", ", down, -down", "")
shifted.edit("This only moves vertically.", "right, -right", "0, 0")
shifted.edit(
    "Negative numbers have no effect here. They move to the left, or up.",
    "(right, -right, down, -down)",
    "(max(right, 0), min(-right, 0), max(down, 0), min(-down, 0))",
)


@exercise(
    title="The nearest mean image",
    task="The baseline of 01 predicts for each new digit the class whose mean image is nearest. The distance is the "
    "sum of squared differences over all pixels.",
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


nearest_mean.edit(
    "This is the mean image with the largest distance. The nearest has the smallest: use argmin.", "argmin", "argmax"
)
nearest_mean.edit("Positive and negative differences cancel in the sum. Square them first.", ".square()", "")
nearest_mean.edit(
    "This is the nearest digit for each mean image. Take the minimum over the ten means (dim=1).", "dim=1", "dim=0"
)
nearest_mean.edit(
    "This sums absolute differences, which gives other predictions for some digits. Square them.", "square", "abs"
)
nearest_mean.edit(
    "These are the distances. Return the class with the smallest distance: use argmin.", ".argmin(dim=1)", ""
)
nearest_mean.edit(
    "This is the smallest distance. Return the class that it belongs to: use argmin.",
    "argmin(dim=1)",
    "min(dim=1).values",
)
nearest_mean.edit(
    "This compares only the total intensity. Compare pixel by pixel, and sum afterwards.",
    ".square().sum(dim=(2, 3))",
    ".sum(dim=(2, 3)).square()",
)
