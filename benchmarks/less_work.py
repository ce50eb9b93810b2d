"""Three ideas for less work, against `fast`: python benchmarks/less_work.py SEED ...

Each network is trained in float32 on 50,000 training digits, and scored on the other 10,000. The test set is not used.
Half an epoch of `fast` is 30,000 digits. Every other run sees so many digits that it should take 1/1.3 of the time:

- only fewer digits,
- the first tenth of the run in smaller batches,
- only the hardest half of each batch is trained: a forward pass without gradients finds it,
- digits that the network is already certain of are skipped. The same forward pass finds them.

Runs alternate. The seconds are those of the CPU, of one thread, so other programs matter less. Writes
results/less_work.json.
"""

import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from record import record
from torch import Tensor
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5.device import keep_freed_memory
from mnist_s5.training.fit import smoothed_nll_loss

Choice = Callable[[Tensor], Tensor]  # losses [N] to the indices of the digits to train on


def hardest_half(losses: Tensor) -> Tensor:
    """Choose the half with the highest losses."""
    return losses.topk(max(1, len(losses) // 2)).indices


def uncertain(losses: Tensor, probability: float = 0.9) -> Tensor:
    """Choose the digits whose label has a lower probability than this, and at least the eight hardest."""
    n = int((losses.exp() > 1 / probability).sum())
    return losses.topk(max(n, min(8, len(losses)))).indices


class Variant(NamedTuple):
    """How a run differs from half an epoch of `fast`."""

    digits: int = 30_000
    batch_size: int = 128
    first_batch_size: int = 128  # in the first tenth of the run
    choose: Choice | None = None


VARIANTS = {
    "today's": Variant(),
    "fewer digits, 1.15 times faster": Variant(26_100),
    "fewer digits": Variant(23_100),
    "first tenth in batches of 64": Variant(23_100, first_batch_size=64),
    "first tenth in batches of 32": Variant(23_100, first_batch_size=32),
    "hardest half of 128": Variant(27_700, choose=hardest_half),
    "hardest half of 256": Variant(27_700, 256, 256, hardest_half),
    "without those of 90% and more": Variant(27_700, choose=uncertain),
}


def run(variant: Variant, data: tuple[s5.DigitDataset, s5.DigitDataset], seed: int) -> dict[str, float]:
    """Train one network. Return its accuracy, its CPU time, and the fraction of digits that it trained on."""
    device, (train_set, val_set) = torch.device("cpu"), data
    changes: dict[str, Any] = {"batch_size": variant.batch_size, "epochs": variant.digits / len(train_set)}
    recipe = s5.get_recipe("fast", **changes, use_bf16=False)
    s5.seed_everything(seed)
    model = s5.make_model(recipe, device=device)
    loader, val_loader = s5.make_loaders(recipe, train_set, val_set, device)
    optimizer = s5.make_optimizer(recipe, model.parameters())
    batches = recipe.steps(len(loader))
    first = round(batches / 10)
    parts = variant.batch_size // variant.first_batch_size
    one_pass = s5.get_recipe("fast", use_bf16=False)
    scheduler = s5.make_scheduler(one_pass, optimizer, batches + (parts - 1) * first)
    seen = trained = 0
    model.train()
    start = time.process_time()
    for step, batch in enumerate(islice(loader, batches)):
        size = variant.first_batch_size if step < first else variant.batch_size
        for images, labels in split(batch, size):
            seen += len(labels)
            if variant.choose:
                with torch.no_grad():
                    losses = F.nll_loss(model(images), labels, reduction="none")
                chosen = variant.choose(losses)
                images, labels = images[chosen], labels[chosen]
            trained += len(labels)
            optimizer.zero_grad()
            smoothed_nll_loss(model(images), labels, recipe.label_smoothing).backward()
            optimizer.step()
            scheduler.step()
    seconds = time.process_time() - start
    accuracy = s5.test(model, device, val_loader, progress=False).accuracy
    return {"val_accuracy": accuracy, "seconds": seconds, "trained": trained / seen}


def split(batch: tuple[Tensor, Tensor], size: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Split a batch into smaller ones."""
    return zip(*(part.split(size) for part in batch), strict=True)


def main(seeds: list[int]) -> None:
    """Train every variant with every seed, alternating between the variants."""
    torch.set_num_threads(1)  # other threads would wait, and count
    keep_freed_memory()
    data = s5.train_val_split(s5.load_mnist("mnist")[0], 10_000)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for seed, (name, variant) in tqdm([(seed, pair) for seed in seeds for pair in VARIANTS.items()]):
        found[name].append(run(variant, data, seed))
        tqdm.write(f"{name}, seed {seed}: {found[name][-1]}")
    rows = []
    for name, runs in found.items():
        ratios = [ours["seconds"] / each["seconds"] for ours, each in zip(found["today's"], runs, strict=True)]
        rows.append(
            {
                "name": name,
                "digits": VARIANTS[name].digits,
                "fraction_trained": fmean(each["trained"] for each in runs),
                "val_accuracy": [each["val_accuracy"] for each in runs],
                "seconds": [round(each["seconds"], 1) for each in runs],
                "speedup": median(ratios),
            }
        )
    facts = {"train_images": len(data[0]), "val_images": len(data[1]), "dtype": "float32"}
    print(record("less_work", seeds=seeds, **facts, variants=rows).name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([int(seed) for seed in sys.argv[1:]])
