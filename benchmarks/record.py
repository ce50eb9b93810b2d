"""What the benchmarks share: a run as 02_training makes it, and where they keep what they found."""

import platform
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import mnist_s5 as s5

RESULTS = Path(__file__).parent / "results"


def trained(
    recipe: s5.Recipe, data: tuple[s5.Digits, s5.Digits], seed: int, device: torch.device
) -> tuple[s5.Net, s5.History]:
    """A network trained by the recipe, everything seeded, as 02_training does it."""
    s5.seed_everything(seed)
    model = s5.make_model(recipe)
    return model, s5.fit(model, recipe, *s5.make_loaders(recipe, *data, seed=seed, device=device), device=device)


def record(name: str, **found: Any) -> Path:
    """Write it, with the versions and threads that it was found with, to results/NAME.json, and give that path."""
    if torch.cuda.is_available():
        processor = torch.cuda.get_device_name()
    else:
        processor = torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    with TemporaryDirectory() as folder:
        s5.write_metrics(Path(folder), processor=processor, **found)
        return Path(shutil.copy(Path(folder) / "metrics.json", RESULTS / f"{name}.json"))
