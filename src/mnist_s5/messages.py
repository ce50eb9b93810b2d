"""Parts of error messages."""

import difflib
import re
from collections.abc import Iterable


def printable(text: str) -> str:
    """Return a text without characters that a terminal obeys, or that UTF-8 cannot encode."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "�", text)


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return a hint for an unknown name: the closest match, if any, and all allowed names."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(name), allowed, 1)
    return (f"Did you mean {near[0]}? " if near else "") + f"Choose from {', '.join(allowed)}."
