"""A number and a curve to guess, in JupyterLab, with the mouse, the keyboard, and a finger."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import nbformat
import pytest
from drawings import KERNEL, Lab, Points, run, swipe

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]  # nothing is timed; one JupyterLab
NUMBER, CURVE = ".digit-guess:has(.scale)", ".digit-guess:has(.chart)"
CELLS = [
    'import mnist_s5 as s5\ns5.Guess("How many of 100 new digits?", 82.03, (0, 100), "%", dataset="sample")',
    "losses = [2.3 * 0.97**step for step in range(121)]\n"
    's5.Guess("The loss of each batch", (range(121), losses), (0, 3), "loss (nats)", dataset="mnist", xlabel="step")',
]
TITLE = "How many of 100 new digits? · embedded sample, not full MNIST"
TRUTH = [(0, 2.3 / 3), (0.25, 0.31), (0.5, 0.12), (1, 0.02)]
OpenNotebook = Callable[..., "Page"]


def open_guesses(open_notebook: OpenNotebook, name: str, theme: str = "Light", **options: object) -> "Page":
    """Open a notebook with a number and a curve, and run it."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    page = open_notebook(name, nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), **options)
    page.errors = []
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    run(page, "apputils:change-theme", {"theme": f"JupyterLab {theme}"})
    run(page, "notebook:run-all-cells")
    page.wait_for_selector(f"{CURVE} .tick", timeout=120_000)
    return page


def on_screen(page: "Page", guess: str, points: Points) -> Points:
    """Return where the points are, given as fractions of the plot, with y upwards."""
    plot = page.locator(f"{guess} [role=slider]")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + (1 - y) * box["height"]) for x, y in points]


def drag(page: "Page", guess: str, points: Points) -> None:
    first, *rest = on_screen(page, guess, points)
    page.mouse.move(*first)
    page.mouse.down()
    for point in rest:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def press(page: "Page", keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def status(page: "Page", guess: str) -> str:
    return page.locator(f"{guess} [role=status]").inner_text()


def value(page: "Page", guess: str, what: str = "valuetext") -> str | None:
    return page.locator(f"{guess} [role=slider]").get_attribute(f"aria-{what}")


@pytest.fixture(scope="module")
def desk(open_notebook: OpenNotebook) -> "Page":
    return open_guesses(open_notebook, "guess.ipynb", viewport={"width": 1200, "height": 900})


def test_a_number(desk: "Page") -> None:
    page, button = desk, desk.locator(f"{NUMBER} button")
    assert page.locator(f"{NUMBER} .title").inner_text() == TITLE
    assert page.locator(f"{NUMBER} .tick").all_inner_texts() == ["0%", "20%", "40%", "60%", "80%", "100%"]
    assert page.locator(".digit-guess-note").first.is_hidden()
    assert button.is_disabled()
    assert value(page, NUMBER) == "No guess yet"
    drag(page, NUMBER, [(0.5, 0.25), (0.7, 0.25), (0.6, 0.25)])
    assert (value(page, NUMBER), value(page, NUMBER, "valuenow")) == ("60%", "60")
    press(page, "ArrowRight ArrowUp ArrowLeft PageDown")
    assert value(page, NUMBER) == "51%"
    press(page, "End ArrowUp Home")
    assert value(page, NUMBER) == "0%"
    page.mouse.click(*on_screen(page, NUMBER, [(0.6, 0.25)])[0])
    assert "82" not in page.locator(NUMBER).inner_html().split("</style>")[1]
    button.focus()
    press(page, "Enter")
    assert status(page, NUMBER) == "Your guess: 60%. The answer: 82.03%. 22 percentage points too low."
    assert page.locator(f"{NUMBER} .pill").all_inner_texts() == ["82.03%", "60%"]
    drag(page, NUMBER, [(0.5, 0.25), (0.7, 0.25)])
    assert value(page, NUMBER) == "60%"
    assert button.inner_text() == "Guess again"
    button.click()
    assert "82" not in page.locator(NUMBER).inner_html().split("</style>")[1]
    press(page, "ArrowRight")  # the scale has the focus
    assert value(page, NUMBER) == "51%"
    assert page.locator(".jp-Cell").count() == len(CELLS)
    assert page.errors == []


def test_a_close_guess_is_told(desk: "Page") -> None:
    desk.mouse.click(*on_screen(desk, NUMBER, [(0.82, 0.25)])[0])
    desk.locator(f"{NUMBER} button").click()
    assert status(desk, NUMBER) == "Your guess: 82%. The answer: 82.03%. You cannot get closer on this scale."
    desk.locator(f"{NUMBER} button").click()


def test_a_curve_with_the_mouse(desk: "Page") -> None:
    page, button = desk, desk.locator(f"{CURVE} button")
    assert page.locator(f"{CURVE} .hint").is_visible()
    assert page.locator(f"{CURVE} .legend").is_hidden()
    drag(page, CURVE, [(0.02, 0.9), (0.5, 0.9)])
    assert status(page, CURVE) == "Continue until the line reaches both edges."
    assert button.is_disabled()
    drag(page, CURVE, [(0.5, 0.9), (0.98, 0.9)])
    assert button.is_enabled()
    drag(page, CURVE, TRUTH)  # over the first line
    assert page.locator(f"{CURVE} path").count() == 1
    button.click()
    assert page.locator(f"{CURVE} path").count() == 3
    told, gap = status(page, CURVE).rsplit(" ", 1)
    assert told.startswith("Your guess: from 2.3")
    assert told.endswith("The answer: from 2.3 to 0.059. The mean gap between the two curves is")
    assert float(gap.rstrip(".")) < 0.2
    assert page.locator(f"{CURVE} .legend").is_visible()
    button.click()
    assert page.locator(f"{CURVE} path").count() == 0
    assert button.is_disabled()
    assert page.errors == []


def test_a_curve_with_the_keyboard(desk: "Page") -> None:
    page, button = desk, desk.locator(f"{CURVE} button")
    page.locator(f"{CURVE} [role=slider]").focus()
    press(page, "PageUp ArrowDown")
    assert value(page, CURVE) == "1.95 at step 0"
    press(page, "ArrowRight " * 12)
    assert value(page, CURVE) == "1.95 at step 120"
    assert button.is_enabled()
    press(page, "Home ArrowLeft Home")
    assert value(page, CURVE) == "0 at step 110"
    button.focus()
    press(page, "Space")
    assert status(page, CURVE).startswith("Your guess: from 1.95 to 0. The answer: from 2.3 to 0.059.")
    button.click()
    assert page.locator(".jp-Cell").count() == len(CELLS)
    assert page.errors == []


def test_the_answer_moves_only_if_the_reader_likes_motion(desk: "Page") -> None:
    moves = "(mark) => getComputedStyle(mark).animationName"
    for motion, name in (("reduce", "none"), ("no-preference", "guess-from")):
        desk.emulate_media(reduced_motion=motion)
        desk.mouse.click(*on_screen(desk, NUMBER, [(0.3, 0.25)])[0])
        desk.locator(f"{NUMBER} button").click()
        assert desk.eval_on_selector(f"{NUMBER} .pill.true", moves) == name
        desk.locator(f"{NUMBER} button").click()


def test_a_finger_on_a_phone_in_the_dark(open_notebook: OpenNotebook) -> None:
    phone = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True, "device_scale_factor": 3}
    page = open_guesses(open_notebook, "phone.ipynb", "Dark", **phone)
    fingers = page.context.new_cdp_session(page)
    for guess, points in ((NUMBER, [(x / 50, 0.25) for x in range(10, 31)]), (CURVE, TRUTH)):
        swipe(fingers, on_screen(page, guess, points))
        page.locator(f"{guess} button").tap()
        assert status(page, guess).startswith("Your guess: ")
        right, inner, width = page.eval_on_selector(
            guess, "(e) => [e.getBoundingClientRect().right, e.clientWidth, e.scrollWidth]"
        )
        assert right <= 375
        assert width <= inner
    assert page.errors == []


def test_without_a_kernel_the_guess_works_and_the_saved_notebook_has_a_note(
    open_notebook: OpenNotebook, lab: Lab
) -> None:
    page = open_guesses(open_notebook, "saved.ipynb", viewport={"width": 1200, "height": 900})
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    run(page, "kernelmenu:shutdown")
    page.mouse.click(*on_screen(page, NUMBER, [(0.6, 0.25)])[0])
    page.locator(f"{NUMBER} button").click()
    assert "22 percentage points too low" in status(page, NUMBER)
    saved = (lab.folder / "saved.ipynb").read_text()
    assert "82.03" not in json.dumps([cell["outputs"] for cell in json.loads(saved)["cells"]])
    page.reload()
    page.wait_for_selector(".digit-guess-note")
    page.wait_for_function("!document.querySelector('.jp-Notebook').innerText.includes('Loading widget')")
    assert page.locator(".digit-guess-note").all_inner_texts() == ["Run this cell to guess."] * len(CELLS)
    assert not page.locator("text=Error displaying widget").first.is_visible()
