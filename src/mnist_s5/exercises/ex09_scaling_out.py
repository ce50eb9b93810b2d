"""Exercises of 09_scaling_out."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from . import exercise, random_int


def _run_on_ranks(generator: Generator) -> tuple[int, int, int, int]:
    """In half of the trials, rounding the share of a rank down would lose a batch."""
    world_size, batch_size = random_int(generator, 2, 5), random_int(generator, 16, 200)
    digits = random_int(generator, 1000, 5000)
    if random_int(generator, 0, 2):
        digits = world_size * batch_size * random_int(generator, 3, 8) + random_int(generator, 1, world_size)
    return digits, world_size, batch_size, random_int(generator, 2, 9)


@exercise(
    title="Steps of a run on several ranks",
    task="Count the optimizer steps of a run. Each rank gets the same number of digits (some digits are repeated if "
    "the number of digits is not divisible by the number of ranks), and `batch_size` is the batch size of one rank. "
    "The last batch of an epoch may be smaller.",
    hint="All ranks make the same step at the same time, so count the batches of one rank. `math.ceil` rounds up.",
    difficulty=1,
    minutes=5,
    make_inputs=_run_on_ranks,
)
def total_steps(digits: int, world_size: int, batch_size: int, epochs: int) -> int:
    """digits: in one epoch of all ranks; batch_size: of one rank. Return the number of steps of the run."""
    share = math.ceil(digits / world_size)
    return epochs * math.ceil(share / batch_size)


total_steps.edit(
    "These are the steps of one process. A rank gets only its share of the digits.",
    "math.ceil(digits / world_size)",
    "digits",
)
total_steps.edit(
    "The share of a rank is rounded down. Some digits are repeated, so round it up.",
    "math.ceil(digits / world_size)",
    "digits // world_size",
)
total_steps.edit(
    "This counts each step once per rank. A step of all ranks is one step.",
    "return epochs",
    "return world_size * epochs",
)
total_steps.edit(
    "The last batch of an epoch is missing. It may be smaller, but it is a step: round up.",
    "math.ceil(share / batch_size)",
    "(share // batch_size)",
)
total_steps.edit("These are the steps of one epoch. Multiply them by the number of epochs.", "epochs * ", "")
total_steps.edit(
    "This rounds once per run. Every epoch ends with its own last batch, so round up per epoch.",
    "epochs * math.ceil(share / batch_size)",
    "math.ceil(epochs * digits / world_size / batch_size)",
)


def _facts_about_shares(function: Callable[..., Any], n: int, world_size: int, seed: int) -> dict[str, bool]:
    """Return what has to hold for the shares of all ranks."""

    def shares(seed: int, epoch: int) -> list[list[int]]:
        return [torch.as_tensor(function(n, rank, world_size, seed, epoch)).tolist() for rank in range(world_size)]

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = shares(seed, 0)
    left_alone = torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)  # the ranks' global generators differ, too
    again, later, other = shares(seed, 0), shares(seed, 1), shares(seed + 1, 0)
    every = [index for share in first for index in share]
    gaps = {b - a for a, b in itertools.pairwise(sorted(first[0]))}  # many if the digits were shuffled
    return {
        "the same seed and epoch give the same share": first == again,
        "every share has n // world_size digits": all(len(share) == n // world_size for share in first),
        "different ranks have different shares": sorted(first[0]) != sorted(first[1]),
        "no digit is in two shares, or twice in one": len(set(every)) == len(every),
        "all indices are at least 0 and less than n": all(0 <= index < n for index in every),
        "each epoch has new shares": sorted(first[0]) != sorted(later[0]),
        "another seed gives other shares": sorted(first[0]) != sorted(other[0]),
        "the digits are shuffled before they are divided": len(gaps) > 3 and first[0] != sorted(first[0]),
        "the function leaves the global generator as it is": left_alone,
    }


@exercise(
    title="The share of a rank",
    task="Return the indices of the digits that a rank gets in an epoch. Shuffle all `n` digits in an order that "
    "depends only on the seed and the epoch, so all ranks know it without asking each other. All shares have the same "
    "size, and no digit is in two of them, so up to `world_size − 1` digits are left out.",
    hint="`torch.randperm(n, generator=torch.Generator().manual_seed(seed + epoch))` has its own generator. "
    "`order[rank::world_size]` takes every `world_size`-th index.",
    difficulty=2,
    minutes=10,
    make_inputs=lambda generator: (
        random_int(generator, 8, 50) * 12 + random_int(generator, 1, 12),
        (2, 3, 4)[random_int(generator, 0, 3)],
        random_int(generator, 0, 100),
    ),
    result=_facts_about_shares,
)
def share(n: int, rank: int, world_size: int, seed: int, epoch: int) -> Tensor:
    """n: number of digits; rank: 0 to world_size - 1; epoch: from 0. Return indices, int64 [n // world_size]."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + epoch))
    return order[: n - n % world_size][rank::world_size]


share.edit("Every epoch has the same shares. Seed the shuffle with the epoch, too.", "seed + epoch", "seed")
share.edit(
    "Each rank shuffles in its own order, so digits are in two shares. Leave the rank out of the seed.",
    "seed + epoch",
    "1000 * rank + seed + epoch",
)
share.edit(
    "Some shares are larger by one digit. Leave out the last n % world_size digits.", "[: n - n % world_size]", ""
)
share.edit(
    "Nothing is shuffled. Use torch.randperm with a generator that seed and epoch determine.",
    "torch.randperm(n, generator=torch.Generator().manual_seed(seed + epoch))",
    "torch.arange(n)",
)
share.edit(
    "This uses the global generator, which differs from rank to rank. Use a seeded torch.Generator.",
    ", generator=torch.Generator().manual_seed(seed + epoch)",
    "",
)
share.edit(
    "This seeds the global generator, so all ranks augment alike. Use a generator of your own.",
    "order = torch.randperm(n, generator=torch.Generator().manual_seed(seed + epoch))",
    "torch.manual_seed(seed + epoch)\n    order = torch.randperm(n)",
)
share.edit("Another seed gives the same shares. Seed the shuffle with the seed and the epoch.", "seed + epoch", "epoch")
share.edit(
    "Every rank gets all digits. Take only every world_size-th index, starting at the rank.",
    "[: n - n % world_size][rank::world_size]",
    "",
)
share.edit("Every rank gets the same digits. Start at the rank.", "[rank::world_size]", "[::world_size]")


def _gradients_of_ranks(generator: Generator) -> tuple[list[Tensor], list[int]]:
    """Two to four gradients, and how many digits each is the mean of. In some trials, one rank has no digits."""
    world_size = random_int(generator, 2, 5)
    sizes = [random_int(generator, 3, 65) for _ in range(world_size)]
    sizes[0] += 64  # never all equal
    gradients = [torch.randn(6, generator=generator, dtype=torch.float64) for _ in sizes]
    if random_int(generator, 0, 3) == 0:
        sizes[-1], gradients[-1] = 0, torch.full((6,), math.nan, dtype=torch.float64)
    return gradients, sizes


@exercise(
    title="Uneven batches",
    task="In the last step of an epoch, the ranks may have batches of different sizes. Each rank's gradient is the "
    "mean over its own digits. Return the gradient of the whole batch: the mean over the digits of all ranks. A rank "
    "may have no digits. Then its gradient is nan, because it is a mean of nothing.",
    hint="Multiply each gradient by its number of digits. `nan` times 0 is still `nan`.",
    difficulty=2,
    minutes=10,
    make_inputs=_gradients_of_ranks,
)
def average_gradients(gradients: list[Tensor], sizes: list[int]) -> Tensor:
    """gradients: float [P] of each rank; sizes: number of digits of each rank. Return float [P]."""
    parts = [size * gradient for gradient, size in zip(gradients, sizes, strict=True) if size]
    return torch.stack(parts).sum(dim=0) / sum(sizes)


average_gradients.edit(
    "Every rank counts the same. Weight each gradient by its number of digits.",
    "torch.stack(parts).sum(dim=0) / sum(sizes)",
    "torch.stack(gradients).nanmean(dim=0)",
)
average_gradients.edit(
    "Every rank counts the same, and nan of an empty rank spreads. Weight by the digits.",
    "torch.stack(parts).sum(dim=0) / sum(sizes)",
    "torch.stack(gradients).mean(dim=0)",
)
average_gradients.edit(
    "This is the sum of the gradients. Return their mean, weighted by the number of digits.",
    "torch.stack(parts).sum(dim=0) / sum(sizes)",
    "torch.stack(gradients).nansum(dim=0)",
)
average_gradients.edit(
    "The sum is weighted, but not divided. Divide it by the number of all digits.", " / sum(sizes)", ""
)
average_gradients.edit(
    "The weighted sum is divided by the number of ranks. Divide it by the number of all digits.",
    "sum(sizes)",
    "len(sizes)",
)
average_gradients.edit(
    "The gradient of a rank without digits is nan, and nan times 0 is nan. Skip this rank.", " if size", ""
)
