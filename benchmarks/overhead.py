"""Measure what saving and checking cost, per round for one epoch of `fast`: python benchmarks/overhead.py [ROUNDS].

Alternates between `fit` with a folder, and a bare loop of the same steps that saves, checks, and counts nothing. Two
runs of the same loop differ by several percent on a shared machine, so `fit` is also timed from inside: the seconds
spent in the functions that save, check, and count. Then it measures how long it takes to verify the four raw files.
Writes results/overhead.json.
"""

import sys
import tempfile
import time
from statistics import median
from typing import Any

import torch
from bare import bare
from record import record
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5.data.download import SHA256, data_folder, local_file
from mnist_s5.training import fit, loops
from mnist_s5.training.resume import RunFolder


def timed(owner: Any, name: str, spent: list[float]) -> None:
    """Make a function of the package add the seconds that it takes to the list's last entry."""
    function = getattr(owner, name)

    def wrapper(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        given = function(*args, **options)
        spent[-1] += time.perf_counter() - start
        return given

    setattr(owner, name, wrapper)


def main(rounds: int) -> None:
    """Print and record the medians of both, and their ratio in each round."""
    device, data, recipe = s5.get_device(), s5.load_mnist("mnist"), s5.get_recipe("fast")
    seconds: dict[str, list[float]] = {"bare": [], "fit": []}
    ends, inside, fractions = [], [0.0], []
    for name in ("describe_run", "describe_network"):
        timed(fit, name, inside)
    for name in ("restore", "save", "finish"):
        timed(RunFolder, name, inside)
    for name in ("check_batch", "check_output", "check_loss", "_score"):
        timed(loops, name, inside)
    for number in tqdm(range(2 * rounds)):
        kind = ("bare", "fit")[(number + number // 2) % 2]  # which one is first alternates, too
        inside.append(0.0)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            if kind == "bare":
                model, _ = bare(recipe, *data, seed=1, device=device)
            else:
                model, _ = s5.fit(recipe, *data, seed=1, device=device, folder=folder)
        torch.get_device_module(device).synchronize()
        seconds[kind].append(time.perf_counter() - start)
        if kind == "fit":
            fractions.append(inside[-1] / seconds[kind][-1])
        ends.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    if not all(torch.equal(end, ends[0]) for end in ends):
        sys.exit("The two loops end with different weights, so they do not take the same steps.")
    ratios = [whole / alone for whole, alone in zip(seconds["fit"], seconds["bare"], strict=True)]
    start = time.perf_counter()
    for name in SHA256:
        if not name.endswith(".gz"):
            local_file(data_folder() / "MNIST" / "raw", name)
    verified = time.perf_counter() - start
    facts = {"recipe": recipe.name, "seconds": seconds, "ratios": ratios, "fractions": fractions}
    path = record("overhead", **facts, verify_seconds=verified)
    print(f"fit {median(seconds['fit']):.2f} s, bare loop {median(seconds['bare']):.2f} s")
    print(f"ratio {median(ratios):.4f} ({', '.join(f'{ratio:.4f}' for ratio in ratios)})")
    print(f"inside fit: {100 * median(fractions):.2f}% ({', '.join(f'{100 * each:.2f}' for each in fractions)})")
    print(f"raw files verified in {verified:.3f} s; recorded in {path.name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
