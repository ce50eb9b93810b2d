"""Ten digits, and how to draw them with a mouse or a finger, in JupyterLab or elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

OpenPad = Callable[..., "Page"]
Points = list[tuple[float, float]]
Strokes = list[Points]
# The points that each stroke of a digit passes, in percent of the pad's side.
POINTS = [
    "52,17 36,28 31,50 37,73 52,83 66,72 70,50 65,27 52,17",
    "56,16 52,50 48,84",
    "31,33 39,19 54,16 67,26 64,43 48,63 30,81 / 30,81 50,80 73,81",
    "33,22 50,15 66,24 63,40 45,48 64,55 69,70 54,83 33,79",
    "38,17 34,35 30,52 48,54 72,51 / 65,20 61,50 57,85",
    "70,17 55,18 38,18 36,32 34,46 52,43 67,54 66,72 50,83 31,79",
    "62,15 44,30 34,55 37,76 52,84 66,73 63,58 49,53 36,64",
    "29,21 50,19 71,20 58,45 49,64 43,85",
    "65,26 51,16 36,26 41,42 60,56 66,72 50,84 35,72 43,55 60,42 65,26",
    "65,30 53,18 37,26 37,43 51,49 64,38 66,26 63,50 57,85",
]


def curve(points: Points, steps: int = 6) -> Points:
    """Return points on a smooth curve (Catmull-Rom) that passes the given ones."""
    p = np.array([points[0], *points, points[-1]])
    t = (np.arange(steps) / steps)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return [(float(x), float(y)) for x, y in [*np.concatenate(parts), points[-1]]]


def parse(points: str) -> Points:
    return [(float(x) / 100, float(y) / 100) for x, y in (point.split(",") for point in points.split())]


DIGITS: list[Strokes] = [[curve(parse(stroke)) for stroke in digit.split("/")] for digit in POINTS]
CANVAS = ".digit-pad .draw canvas"
NEXT = """() => {
    const pad = document.querySelector(".digit-pad");
    window.next = new Promise((resolve) => {
        pad.addEventListener("digitpad:result", ({ detail }) => resolve(detail.milliseconds), { once: true });
    });
}"""


def on_screen(page: "Page", points: Points) -> Points:
    box = page.locator(CANVAS).bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]


def draw(page: "Page", strokes: Strokes) -> list[float]:
    """Draw with the mouse. Returns for each stroke the milliseconds from its end until its prediction is shown."""
    waited = []
    for first, *rest in (on_screen(page, points) for points in strokes):
        page.mouse.move(*first)
        page.mouse.down()
        for point in rest:
            page.mouse.move(*point)
        page.evaluate(NEXT)
        page.mouse.up()
        waited.append(page.evaluate("window.next"))
    return waited


def touch(page: "Page", fingers: "CDPSession", strokes: Strokes) -> None:
    """Draw with a finger, and wait for the prediction of each stroke."""
    for points in strokes:
        page.evaluate(NEXT)
        swipe(fingers, on_screen(page, points))
        page.evaluate("window.next")


def swipe(fingers: "CDPSession", points: Points) -> None:
    """Move a finger over the screen."""
    for index, (x, y) in enumerate(points):
        kind = "touchMove" if index else "touchStart"
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


class Lab(NamedTuple):
    url: str
    folder: Path


def run(page: "Page", command: str, arguments: dict[str, str] | None = None) -> None:
    """Start a command of JupyterLab."""
    page.evaluate("([name, args]) => { window.jupyterapp.commands.execute(name, args) }", [command, arguments or {}])
