"""A progress bar for those who watch."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def _watched() -> bool:
    """Whether somebody sees a progress bar: on a terminal, or in a notebook that is not executed in batch."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    if kernel is None:
        return sys.stdout.isatty()
    return bool(kernel.get_parent().get("content", {}).get("allow_stdin"))  # a person can be asked, a batch cannot


def bar(items: Iterable[Any], what: str, total: int, progress: bool | None) -> Iterable[Any]:
    """The items, with a bar while they are used; progress: None for a bar where somebody watches."""
    hidden = not (_watched() if progress is None else progress)
    return tqdm(items, what, total, leave=False, file=sys.stdout, mininterval=0.5, disable=hidden)
