"""Parts of error messages."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return a hint for an unknown name: the closest match, if any, and all allowed names."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(name), allowed, 1)
    return (f"Did you mean {near[0]}? " if near else "") + f"Choose from {', '.join(allowed)}."
