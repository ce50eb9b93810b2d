"""The table of faults that `make faults` prints: `pytest -m fault tests`."""

import re
from collections.abc import Callable, Iterator
from textwrap import shorten

PLAIN = ("correct", "clear error", "unclear error", "hangs", "silently wrong")


class SilentlyWrong(AssertionError):
    """The fault had an effect, and no message told the user."""


class Fault:
    """The results of one injected fault: in this course, and with plain torch and torchvision.

    `shown` says whether the table is printed. Otherwise, tests can skip what plain torch does if that takes long.
    """

    def __init__(self, number: int, injected: str, shown: bool) -> None:
        self.number, self.injected, self.shown, self.result = number, injected, shown, "FAIL"
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


def table(faults: list[Fault]) -> Iterator[str]:
    """Generate the lines of the table: each fault, and how many kinds passed. Without faults, there are none."""
    if not faults:
        return
    faults = sorted(faults, key=lambda fault: fault.number)
    yield ""
    for fault in faults:
        yield f"{fault.number:2d}  {fault.result}  {fault.injected}"
        for sentence in fault.seen:
            yield f"          {shorten(sentence, 170, placeholder=' …')}"
        for sentence in fault.beside:
            yield f"          plain: {shorten(sentence, 160, placeholder=' …')}"
    kinds = [[fault for fault in faults if fault.number == number] for number in {fault.number for fault in faults}]
    results = [{fault.result for fault in kind} for kind in kinds]
    passed = sum(found <= {"pass", "skip"} and "pass" in found for found in results)
    yield f"\n{passed}/{len(kinds)} passed, {sum('WRONG' in found for found in results)} silently wrong"
    verdicts = [[each.split(":")[0] for fault in kind for each in fault.beside] for kind in kinds]
    beside = [max(found, key=PLAIN.index) for found in verdicts if found]  # the worst of each
    tally = ", ".join(f"{beside.count(verdict)} {verdict}" for verdict in PLAIN if verdict in beside)
    yield f"plain torch, torchvision, and papermill, where a fault applies: {tally}" if tally else ""
