"""The climb from the reference to `fast`, one ingredient at a time: python benchmarks/climb.py SEED ...

Every rung trains for half an epoch on 55,000 training digits and is scored on the 5,000 that are held out: no test
digit is looked at. Then come the detours, each a change to `fast` that was tried. Writes results/climb.json.
"""

import sys
from collections import defaultdict
from dataclasses import replace
from typing import Any

from record import record, trained
from tqdm import tqdm

import mnist_s5 as s5

EPOCHS = 0.5
RUNGS: dict[str, dict[str, Any]] = {
    "the reference": {},
    "batched warp": {"batched": True},
    "channels last": {"channels_last": True},
    "bfloat16": {"bfloat16": True},
    "batches of 128": {"batch_size": 128},
    "one cycle, Nesterov": {"schedule": "one_cycle", "nesterov": True, "learning_rate": 0.03},
    "He initialisation": {"init": "he"},
    "zoom and shift": {"crop": 0.0, "zoom": 0.1, "shift": 2.0},
    "label smoothing": {"label_smoothing": 0.05},
    "Muon": {"muon": True, "momentum": 0.95},
    "weight decay": {"weight_decay": 0.2},
}
DETOURS: dict[str, dict[str, Any]] = {
    "batches of 64, rates halved": {"batch_size": 64, "learning_rate": 0.015},
    "batches of 256": {"batch_size": 256},
    "rates doubled": {"learning_rate": 0.06},
    "rates halved": {"learning_rate": 0.015},
    "no label smoothing": {"label_smoothing": 0.0},
    "twice the shift": {"shift": 4.0},
    "half of all digits mirrored": {"flip": 0.5},
}


def recipes() -> dict[str, s5.Recipe]:
    """Each rung's recipe, all changes up to it made, and each detour's."""
    recipe, found = s5.get_recipe("reference", epochs=EPOCHS), {}
    for name, changes in RUNGS.items():
        recipe = found[name] = replace(recipe, **changes)
    return found | {name: replace(recipe, **changes) for name, changes in DETOURS.items()}


def main(seeds: list[int]) -> None:
    """Train every recipe with every seed, in turns."""
    device = s5.get_device()
    train_set, held = s5.hold_out(s5.load_mnist("mnist")[0])
    seconds, accuracy = defaultdict(list), defaultdict(list)
    for seed, (name, recipe) in tqdm([(seed, pair) for seed in seeds for pair in recipes().items()]):
        _, (last,) = trained(recipe, (train_set, held), seed, device)
        seconds[name].append(round(last.seconds, 2))
        accuracy[name].append(last.test_accuracy)
        tqdm.write(f"{name}, seed {seed}: {last.test_accuracy:.2f} %, {last.seconds:.0f} s")
    kinds = {
        kind: [
            {"name": name, "changes": about[name], "seconds": seconds[name], "held_out": accuracy[name]}
            for name in about
        ]
        for kind, about in (("rungs", RUNGS), ("detours", DETOURS))
    }
    facts = {"epochs": EPOCHS, "seeds": seeds, "device": str(device), "train_images": len(train_set)}
    print(record("climb", **facts, held_out_images=len(held), **kinds).name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([int(seed) for seed in sys.argv[1:]])
