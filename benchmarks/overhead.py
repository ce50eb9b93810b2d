"""What saving and checking cost: python benchmarks/overhead.py [ROUNDS], one epoch of `fast` on full MNIST each.

In turns: `fit` with a checkpoint, and a bare loop of the same steps that neither saves nor checks nor counts. Two runs
of one loop differ by several percent on a shared machine, so that `fit` is also timed from inside: the seconds spent
in what saves, checks and counts. Then the time that the four raw files take to be verified. Writes
results/overhead.json.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from record import record
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5 import engine, training
from mnist_s5.raw import SHA256, raw_file


def bare(model: s5.Net, recipe: s5.Recipe, loader: s5.DeviceLoader, device: torch.device) -> None:
    """The steps of `fit`, and nothing else."""
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = s5.make_optimizer(recipe, model.parameters())
    scheduler = s5.make_scheduler(recipe, optimizer, len(loader))
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        with torch.autocast(device.type, recipe.precision(device), enabled=recipe.bfloat16):
            log_probs = model(images)
        log_probs = log_probs.float()
        loss = F.nll_loss(log_probs, labels)
        torch.lerp(loss, -log_probs.mean(), recipe.label_smoothing).backward()
        optimizer.step()
        scheduler.step()


def timed(owner: Any, name: str, spent: list[float]) -> None:
    """Let a function of the package add the seconds that it takes to the list's last entry."""
    function = getattr(owner, name)

    def wrapper(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        given = function(*args, **options)
        spent[-1] += time.perf_counter() - start
        return given

    setattr(owner, name, wrapper)


def main(rounds: int) -> None:
    """Prints and records the medians of both, and their ratio round by round."""
    device, data, recipe = s5.get_device(), s5.load_mnist("mnist"), s5.get_recipe("fast")
    seconds: dict[str, list[float]] = {"bare": [], "fit": []}
    ends, inside, shares = [], [0.0], []
    for name in ("identity_of", "random_states", "restore_random_states", "save_state", "fingerprint"):
        timed(training, name, inside)
    for owner, name in ((engine, "check_batch"), (engine, "check_answers"), (engine._Tally, "add")):
        timed(owner, name, inside)
    for number in tqdm(range(2 * rounds)):
        kind = ("bare", "fit")[(number + number // 2) % 2]  # who is first changes from round to round
        s5.seed_everything(1)
        model = s5.make_model(recipe)
        loader, tested = s5.make_loaders(recipe, *data, seed=1, device=device)
        inside.append(0.0)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            if kind == "bare":
                bare(model, recipe, loader, device)
                s5.test(model, device, tested)
            else:
                s5.fit(model, recipe, loader, tested, device=device, checkpoint=Path(folder) / s5.TRAINING)
        s5.synchronize(device)
        seconds[kind].append(time.perf_counter() - start)
        if kind == "fit":
            shares.append(inside[-1] / seconds[kind][-1])
        ends.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    if not all(torch.equal(end, ends[0]) for end in ends):
        sys.exit("The two loops end with other weights: they are not the same steps.")
    ratios = [whole / alone for whole, alone in zip(seconds["fit"], seconds["bare"])]
    start = time.perf_counter()
    for name in SHA256:
        raw_file(s5.data_folder() / "MNIST" / "raw", name)
    verified = time.perf_counter() - start
    path = record(
        "overhead", recipe=recipe.name, seconds=seconds, ratios=ratios, shares=shares, verify_seconds=verified
    )
    print(f"fit {median(seconds['fit']):.2f} s, bare loop {median(seconds['bare']):.2f} s")
    print(f"ratio {median(ratios):.4f} ({', '.join(f'{ratio:.4f}' for ratio in ratios)})")
    print(f"inside fit: {100 * median(shares):.2f} % ({', '.join(f'{100 * share:.2f}' for share in shares)})")
    print(f"raw files verified in {verified:.3f} s; recorded in {path.name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
