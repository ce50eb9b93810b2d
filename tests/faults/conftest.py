"""The table of faults that `make faults` prints. Each test injects one, and records the message."""

from collections.abc import Iterator
from textwrap import shorten

import pytest
from table import PLAIN, Fault, SilentlyWrong

FAULTS: dict[str, Fault] = {}


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Fault:
    number, injected = request.node.get_closest_marker("fault").args
    FAULTS[request.node.nodeid] = Fault(number, injected)
    return FAULTS[request.node.nodeid]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    fault = FAULTS.get(item.nodeid)
    if fault and call.when == "call":
        wrong = call.excinfo is not None and call.excinfo.errisinstance(SilentlyWrong)
        fault.result = "pass" if report.passed else "skip" if report.skipped else "WRONG" if wrong else "FAIL"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not FAULTS:
        return
    write = terminalreporter.write_line
    numbers = sorted({fault.number for fault in FAULTS.values()})
    write("")
    for fault in sorted(FAULTS.values(), key=lambda each: each.number):
        write(f"{fault.number:2d}  {fault.result}  {fault.injected}")
        for sentence in fault.seen:
            write(f"          {shorten(sentence, 170, placeholder=' …')}")
        for sentence in fault.beside:
            write(f"          plain: {shorten(sentence, 160, placeholder=' …')}")
    results = {n: {fault.result for fault in FAULTS.values() if fault.number == n} for n in numbers}
    passed = sum(found <= {"pass", "skip"} and "pass" in found for found in results.values())
    wrong = sum("WRONG" in found for found in results.values())
    verdicts = {n: [each.split(":")[0] for f in FAULTS.values() if f.number == n for each in f.beside] for n in numbers}
    beside = [max(found, key=PLAIN.index) for found in verdicts.values() if found]  # the worst of each
    tally = ", ".join(f"{beside.count(verdict)} {verdict}" for verdict in PLAIN if verdict in beside)
    write(f"\n{passed}/{len(numbers)} passed, {wrong} silently wrong")
    write(f"plain torch, torchvision, and papermill, where a fault applies: {tally}" if tally else "")
