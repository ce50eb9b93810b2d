"""From the reference to `fast`, one ingredient at a time: python benchmarks/ablation.py SEED ...

Each recipe is trained for half an epoch on 55,000 training digits, and scored on a validation set of the other 5,000.
The test set is not used. It also trains variants of `fast`. Writes results/ablation.json.
"""

import sys
from collections import defaultdict
from dataclasses import replace
from typing import Any

from record import record
from tqdm import tqdm

import mnist_s5 as s5
from mnist_s5.training.recipes import Recipe

EPOCHS = 0.5
ABLATIONS: dict[str, dict[str, Any]] = {
    "the reference": {},
    "batched augmentation": {"batch_augment": True},
    "channels last": {"channels_last": True},
    "bfloat16": {"use_bf16": True},
    "batches of 128": {"batch_size": 128},
    "one cycle, 3 × learning rate, Nesterov": {"schedule": "one_cycle", "nesterov": True, "learning_rate": 0.03},
    "He initialization": {"init": "he"},
    "scaling, translation": {"crop_prob": 0.0, "scale_jitter": 0.1, "translate_px": 2.0},
    "label smoothing": {"label_smoothing": 0.05},
    "Muon": {"muon": True},
    "weight decay": {"weight_decay": 0.3},
    "photometric distortion": {"photometric_prob": 0.3, "photometric_decay": True},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "batches of 64, half the learning rate": {"batch_size": 64, "learning_rate": 0.015},
    "batches of 256": {"batch_size": 256},
    "twice the learning rate": {"learning_rate": 0.06},
    "half the learning rate": {"learning_rate": 0.015},
    "momentum 0.95": {"momentum": 0.95},
    "no label smoothing": {"label_smoothing": 0.0},
    "twice the translation": {"translate_px": 4.0},
    "half of all digits flipped": {"flip_prob": 0.5},
}


def recipes() -> dict[str, Recipe]:
    """Return the recipe of each ablation, with all changes up to it, and that of each variant."""
    recipe, found = s5.get_recipe("reference", epochs=EPOCHS), {}
    for name, changes in ABLATIONS.items():
        recipe = found[name] = replace(recipe, **changes)
    return found | {name: replace(recipe, **changes) for name, changes in VARIANTS.items()}


def main(seeds: list[int]) -> None:
    """Train every recipe with every seed, alternating between the recipes."""
    device = s5.get_device()
    train_set, val_set = s5.train_val_split(s5.load_mnist("mnist")[0])
    seconds, accuracy = defaultdict(list), defaultdict(list)
    for seed, (name, recipe) in tqdm([(seed, pair) for seed in seeds for pair in recipes().items()]):
        _, (last,) = s5.fit(recipe, train_set, val_set, seed=seed, device=device)
        seconds[name].append(round(last.seconds, 2))
        accuracy[name].append(last.test_accuracy)
        tqdm.write(f"{name}, seed {seed}: {last.test_accuracy:.2f}%, {last.seconds:.0f} s")

    def rows(changes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"name": name, "changes": changed, "seconds": seconds[name], "val_accuracy": accuracy[name]}
            for name, changed in changes.items()
        ]

    facts: dict[str, Any] = {"epochs": EPOCHS, "seeds": seeds, "device": str(device)}
    facts |= {"train_images": len(train_set), "val_images": len(val_set)}
    print(record("ablation", **facts, ablations=rows(ABLATIONS), variants=rows(VARIANTS)).name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([int(seed) for seed in sys.argv[1:]])
