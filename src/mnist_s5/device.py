"""Device selection, random seeds, and memory."""

import contextlib
import ctypes
import operator
import random
import re
import sys

import numpy as np
import torch

Device = torch.device | str


def get_device(name: Device = "auto") -> torch.device:
    """Return the named device. "auto" is the first available of CUDA, MPS, and CPU.

    Raises:
        ValueError: If there is no such device on this machine.
    """
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    available = [kind for kind, count in counts.items() if count]
    if name == "auto":
        return torch.device(available[0])
    match = re.fullmatch("([a-z]+)(?::([0-9]+))?", str(name))
    if not match or int(match[2] or 0) >= counts.get(match[1], 0):
        raise ValueError(f"device={str(name)!r} is not available. Choose from auto, {', '.join(available)}.")
    return torch.device(name)


def autocast_dtype(device: Device) -> torch.dtype:
    """Return bfloat16 if the device supports it in hardware (CUDA and x86 are checked), otherwise float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        with torch.cuda.device(device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if kind == "cpu" else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def seed_everything(seed: int, epoch: int = 0) -> None:
    """Seed Python, NumPy, and torch on every device, and make cuDNN deterministic.

    Args:
        seed: An integer from 0 to 2**32 - 1.
        epoch: Zero-based index of the epoch. Each pair of seed and epoch has its own random numbers. Epoch 0 uses the
            seed unchanged.
    """
    seed = operator.index(seed)  # raises TypeError unless it is an integer
    if epoch:
        # seed + epoch would give seed 1's second epoch the numbers of seed 2's first. seed + 2**32 * epoch would give
        # every epoch the same numbers, because torch's CPU generator reads only 32 bits of its seed.
        seed = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (libraries draw from the global generator)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def keep_freed_memory() -> None:
    """Make glibc reuse the memory of freed tensors, instead of returning it to the system.

    By default, glibc returns the memory of a large tensor at once. Then each training step on the CPU gets new pages,
    and the system first fills them with zeros. With other C libraries, this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # other C libraries have no mallopt
            libc = ctypes.CDLL(None)
            libc.mallopt(-4, 0)  # M_MMAP_MAX: allocate nothing outside the heap
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: up to 2 GB of the heap may be unused
