"""One fault: what was injected, what its user sees, and what a user of plain torch and torchvision sees."""

import re
from collections.abc import Callable

PLAIN = ("right", "refused", "unclear", "hangs", "silently wrong")


class SilentlyWrong(AssertionError):
    """The fault went through, and nobody was told."""


class Fault:
    """What is seen of one fault, by the course's user and by one of plain torch and torchvision."""

    def __init__(self, number: int, injected: str) -> None:
        self.number, self.injected, self.result = number, injected, "FAIL"
        self.seen: list[str] = []
        self.beside: list[str] = []

    def saw(self, what: str) -> None:
        """What the user of the course sees."""
        assert "\n" not in what.strip(), f"more than one sentence: {what}"
        self.seen.append(what.strip())

    def refused(self, error: type[BaseException], match: str, call: Callable[[], object]) -> str:
        """The call must raise that error, with that in its sentence; to go through is to be silently wrong."""
        said = None
        try:
            call()
        except error as caught:
            said = str(caught)
        if said is None:
            raise SilentlyWrong(self.injected)
        assert re.search(match, said), said
        self.saw(said)
        return said

    def plain(self, verdict: str, what: str = "") -> None:
        """What plain torch or torchvision made of it."""
        assert verdict in PLAIN
        self.beside.append(f"{verdict}{f': {what}' if what else ''}")
