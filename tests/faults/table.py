"""One fault: what was injected, the message in this course, and the result with plain torch and torchvision."""

import re
from collections.abc import Callable

PLAIN = ("correct", "clear error", "unclear error", "hangs", "silently wrong")


class SilentlyWrong(AssertionError):
    """The fault had an effect, and no message told the user."""


class Fault:
    """The results of one injected fault: in this course, and with plain torch and torchvision."""

    def __init__(self, number: int, injected: str) -> None:
        self.number, self.injected, self.result = number, injected, "FAIL"
        self.seen: list[str] = []
        self.beside: list[str] = []

    def saw(self, what: str) -> None:
        """Record a message that the user of the course sees."""
        assert "\n" not in what.strip(), f"more than one sentence: {what}"
        self.seen.append(what.strip())

    def refused(self, error: type[BaseException], match: str, call: Callable[[], object]) -> str:
        """Assert that the call raises the error with a matching message. If it returns, it is silently wrong."""
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
        """Record the result with plain torch or torchvision."""
        assert verdict in PLAIN
        self.beside.append(f"{verdict}{f': {what}' if what else ''}")
