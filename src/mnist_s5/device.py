"""Where to compute, and the seed of everything that is drawn."""

import random
from typing import Any

import numpy as np
import torch


def get_device(name: str | torch.device = "auto") -> torch.device:
    """The named device; for "auto" CUDA, then MPS, then CPU. Raises ValueError where it is unknown or not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kinds = [kind for kind, present in there.items() if present]
    if name == "auto":
        return torch.device(kinds[0])
    kind, _, index = str(name).partition(":")
    if kind not in kinds or (
        index and not (kind == "cuda" and index.isdigit() and int(index) < torch.cuda.device_count())
    ):
        raise ValueError(f"device={str(name)!r} is not on this machine: choose one of auto, {', '.join(kinds)}.")
    return torch.device(name)


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where torch knows that the device multiplies it faster (CUDA, x86), and otherwise float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        with torch.cuda.device(device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if kind == "cpu" else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def synchronize(device: torch.device | str) -> None:
    """Wait until the device has done all that it was given: without it, a GPU's time is not what a clock shows."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch on every device, and let cuDNN choose only algorithms that repeat bit for bit."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the global generator is what is to be seeded)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def generators_of(*loaders: Any) -> list[torch.Generator]:
    """The generators that the loaders, or their samplers, draw from by themselves, each once."""
    holders = [(loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)) for loader in loaders]
    found = [getattr(holder, "generator", None) for each in holders for holder in each]
    return list({id(generator): generator for generator in found if generator is not None}.values())


def random_states(*loaders: Any) -> dict[str, Any]:
    """Where all that `seed_everything` seeds stands, and the loaders' own generators: plain values."""
    kind, key, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 (as above)
    states: dict[str, Any] = {"python": random.getstate(), "numpy": (kind, np.asarray(key).tolist(), *rest)}
    states |= {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
    return states | {"loaders": [generator.get_state() for generator in generators_of(*loaders)]}


def restore_random_states(states: dict[str, Any], *loaders: Any) -> None:
    """Back to where `random_states` found them; without loaders, theirs stay where they are."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    for generator, state in zip(generators_of(*loaders), states["loaders"]):
        generator.set_state(state)
