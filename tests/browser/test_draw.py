"""The Draw page: its network and its preparation against Python, and the page in a browser."""

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from drawings import CANVAS, DIGITS, draw, on_screen, swipe
from PIL import Image, ImageDraw, ImageFilter

import mnist_s5 as s5
from mnist_s5.figures.in_browser import PREDICTOR, bundle, encode_known_digits, encode_weights
from mnist_s5.pictures.distance import distance_to_digits
from mnist_s5.pictures.prepare import to_mnist
from mnist_s5.pictures.read import ImageError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
PAGES = Path(__file__).parents[2] / "docs" / "pages"
PHONE = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
STATUS, WHY = ".digit-pad [role=status]", ".digit-pad .why"
CONV1 = ".digit-pad figure:first-child canvas"
LINE = [(0.5, 0.2), (0.5, 0.8)]
SETUP = """
const { Predictor } = modules["predictor.js"];
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const predictors = {};
globalThis.load = (name, weights, known) => {
    predictors[name] = new Predictor();
    predictors[name].load({ weights: bytes(weights), known: bytes(known) });
};
globalThis.outputs = (name, images) => {
    const [all, rows] = [new Uint8Array(bytes(images)), []];
    for (let at = 0; at < all.length; at += 784) {
        const { logProbs, layers } = modules["net.js"].forward(predictors[name].weights, all.subarray(at, at + 784));
        const sums = layers.map(({ values }) => values.reduce((sum, value) => sum + value, 0));
        rows.push([...logProbs, ...sums, predictors[name].distance(layers.at(-1).values)]);
    }
    return rows;
};
globalThis.prepare = (name, text) => {
    const drawing = { pixels: new Uint8Array(bytes(text)), width: 280, height: 280 };
    const { image, error } = modules["prepare.js"][name](drawing);
    return error ?? [...image];
};
"""


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def modules(chromium: "Browser") -> Iterator["Page"]:
    """A page that has only the network and the preparation."""
    page = chromium.new_page()
    page.set_content(f"<script>{bundle(*PREDICTOR)}{SETUP}</script>")
    yield page
    page.close()


@pytest.fixture(scope="module")
def pretrained() -> s5.Net:
    return s5.load_checkpoint()[0].eval()


@pytest.fixture(scope="module")
def rounded(pretrained: s5.Net) -> s5.Net:
    """The pretrained network with the weights of the page, 8-bit integers times the scale of their output."""
    model = s5.load_checkpoint()[0].eval()
    data, outputs = encode_weights(pretrained, small=True), 540
    scales = np.frombuffer(data, np.float32, outputs, 4 * outputs)
    integers = np.frombuffer(data, np.int8, offset=8 * outputs)
    for name, values in model.state_dict().items():
        if name.endswith("weight"):
            part, integers = integers[: values.numel()], integers[values.numel() :]
            scale, scales = scales[: len(values)], scales[len(values) :]
            values.copy_(torch.from_numpy(part.reshape(len(values), -1) * scale[:, None]).view_as(values))
    return model


@torch.no_grad()
def log_probs(model: s5.Net, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([model(s5.normalize(part[:, None])) for part in images.split(1000)])


@pytest.mark.parametrize("small", [False, True])
def test_the_network_in_the_browser_returns_the_same(
    modules: "Page", pretrained: s5.Net, rounded: s5.Net, small: bool
) -> None:
    model, images = (rounded if small else pretrained), s5.load_mnist()[1].data[:200]
    known = encode(encode_known_digits())
    modules.evaluate(
        "([weights, known]) => load('net', weights, known)", [encode(encode_weights(pretrained, small=small)), known]
    )
    rows = torch.tensor(modules.evaluate("(images) => outputs('net', images)", encode(images.numpy().tobytes())))
    expected = log_probs(model, images)
    torch.testing.assert_close(rows[:, :10], expected, atol=1e-4, rtol=0)
    assert torch.equal(rows[:, :10].argmax(dim=1), log_probs(pretrained, images).argmax(dim=1))
    torch.testing.assert_close(rows[:, -1], distance_to_digits(images), atol=0.05, rtol=0)  # 8-bit values
    sums = []
    for name in ("conv1", "conv2", "conv3", "conv4", "fc1"):
        hook = model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output: sums.append(output.relu().flatten(1).sum(dim=1))
        )
        log_probs(model, images)
        hook.remove()
    torch.testing.assert_close(rows[:, 10:15], torch.stack(sums, dim=1), atol=0.05, rtol=1e-4)


def test_rounding_changes_no_prediction_as_the_page_says(pretrained: s5.Net, rounded: s5.Net) -> None:
    test_set = s5.load_mnist()[1]
    if test_set.name != "mnist":
        pytest.skip("MNIST's test digits are not here.")
    before, after = (log_probs(model, test_set.data).argmax(dim=1) for model in (pretrained, rounded))
    assert torch.equal(before, after)
    assert round(100 * (after == test_set.targets).double().mean().item(), 2) == 99.71
    text = " ".join((PAGES / "draw.html").read_text().split())
    assert "changes none of its predictions for MNIST's 10,000 test digits, of which it gets 99.71% right" in text


def made_up_drawings(count: int) -> Iterator[np.ndarray]:
    """Yield drawings, uint8 [280, 280]: digits of all sizes and places, with pens of all widths, and sheared."""
    rng = np.random.default_rng(0)
    for index in range(count):
        image = Image.new("L", (280, 280))
        side, angle = rng.uniform(0.25, 1), rng.uniform(-0.5, 0.5)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corner, width = rng.uniform(0, 280 * (1 - side), 2), int(rng.integers(3, 44))
        for stroke in DIGITS[index % 10]:
            points = ((np.array(stroke) - 0.5) @ turn * [1, rng.uniform(0.6, 1)] + 0.5) * 280 * side + corner
            ImageDraw.Draw(image).line([(x, y) for x, y in points], fill=255, width=width, joint="curve")
        yield np.asarray(image.filter(ImageFilter.GaussianBlur(index % 3)))


def test_the_preparation_differs_by_one_gray_level_at_most(modules: "Page") -> None:
    same, errors = 0, 0
    for drawing in made_up_drawings(300):
        found = modules.evaluate("(text) => prepare('toMnist', text)", encode(drawing.tobytes()))
        if isinstance(found, str):
            with pytest.raises(ImageError, match=f"^{re.escape(found)}$"):
                to_mnist(drawing / 255)
            errors += 1
            continue
        expected = to_mnist(drawing / 255).flatten().int()
        difference = (torch.tensor(found) - expected).abs().max()
        assert difference <= 1
        same += int(difference == 0)
    assert errors < 60
    assert same > 0.95 * (300 - errors)


def test_without_preparation_a_drawing_is_only_shrunk(modules: "Page") -> None:
    drawing = next(made_up_drawings(1))
    found = modules.evaluate("(text) => prepare('onlyShrink', text)", encode(drawing.tobytes()))
    means = drawing.reshape(28, 10, 28, 10).mean(axis=(1, 3)).flatten()
    assert np.abs(np.array(found) - means).max() <= 0.5 + 1e-6


@pytest.fixture(scope="module")
def site(build: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the two pages."""
    folder = tmp_path_factory.mktemp("pages")
    build.build(folder)
    return folder


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(chromium: "Browser", site: Path) -> Iterator[Open]:
    """Return a function that opens the page as a file, waits for its first answer, and clears the pad."""
    contexts = []

    def start(**options: Any) -> "Page":
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 800}} | options))
        page = contexts[-1].new_page()
        page.goto((site / "index.html").as_uri())
        page.wait_for_selector(".digit-pad .best")
        page.locator(CANVAS).press("Delete")
        page.wait_for_selector(".digit-pad .best", state="detached")
        return page

    yield start
    for context in contexts:
        context.close()


def best(page: "Page") -> str:
    return page.locator(".digit-pad .best").inner_text()[0]


@pytest.mark.parametrize("how", ["server", "file"])
def test_it_draws_a_digit_by_itself_and_asks_no_other_host(chromium: "Browser", site: Path, how: str) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    address = (site / "index.html").as_uri()
    if how == "server":
        page.route("**/*", lambda route: wrong.append(route.request.url))
        page.route(
            "http://site.test/a/course/*",
            lambda route: route.fulfill(path=site / (route.request.url.rpartition("/")[2] or "index.html")),
        )
        address = "http://site.test/a/course/"
    page.goto(address)
    page.wait_for_selector(f"{STATUS}:text('5 (')")
    page.wait_for_selector(".digit-pad .distance:has-text('like a digit')")
    for part in (".draw", ".row >> nth=9", ".layers"):  # all at once on the first screen
        box = page.locator(f".digit-pad {part}").bounding_box()
        assert box
        assert box["y"] + box["height"] <= 800
    marks = page.evaluate("performance.getEntriesByType('mark').map(({ name }) => name)")
    assert marks == ["pad", "weights", "answer"]
    page.locator(CANVAS).press("Delete")  # the demo ends
    page.wait_for_selector(".digit-pad .best", state="detached")
    draw(page, DIGITS[3])
    assert best(page) == "3"
    assert wrong == []
    page.close()


def test_looking_at_the_demo_does_not_erase_it(chromium: "Browser", site: Path) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    held: list[Any] = []
    page.route("**/weights.js", lambda route: held.append(route))
    page.goto((site / "index.html").as_uri(), wait_until="domcontentloaded")
    page.wait_for_selector(f"{STATUS}:text('Loading the network')")
    held[0].continue_()
    page.wait_for_selector(f"{STATUS}:text('5 (')")
    page.wait_for_selector(".digit-pad .distance:has-text('like a digit')")  # the training digits arrive later
    page.locator(".digit-pad .layers canvas").first.click()
    page.locator(".digit-pad input").press("Tab")
    assert page.locator(STATUS).inner_text().startswith("5 (")
    page.eval_on_selector(".digit-pad .tools button:last-child", "(clear) => clear.click()")
    assert page.locator(STATUS).inner_text() == ""
    draw(page, DIGITS[3])
    assert best(page) == "3"
    page.close()


def test_ten_digits(open_page: Open) -> None:
    page, predicted = open_page(), []
    for digit in DIGITS:
        draw(page, digit)
        predicted.append(best(page))
        page.locator(CANVAS).press("Delete")
    assert sum(map(str.__eq__, predicted, "0123456789")) >= 9, predicted


def test_it_predicts_during_a_stroke(open_page: Open) -> None:
    page = open_page()
    (x, y), end = on_screen(page, LINE)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(*end, steps=10)
    assert page.wait_for_selector(".digit-pad .best").inner_text()[0] == "1"
    page.mouse.up()


def test_what_is_unlike_any_digit_is_not_sure(open_page: Open) -> None:
    page = open_page()
    smiley = [
        [(0.3, 0.25), (0.3, 0.35)],
        [(0.7, 0.25), (0.7, 0.35)],
        [(0.2, 0.6), (0.35, 0.8), (0.65, 0.8), (0.8, 0.6)],
    ]
    page.wait_for_function("() => window.known")
    draw(page, smiley)
    page.wait_for_selector(".digit-pad .distance:has-text('unlike any digit')")
    assert page.locator(STATUS).inner_text().startswith("Not sure: ")
    assert not page.locator(".digit-pad[data-sure]").count()


def test_pointing_at_a_map_shows_what_its_value_is_computed_from(open_page: Open, pretrained: s5.Net) -> None:
    page = open_page()
    draw(page, DIGITS[7])
    page.wait_for_selector(".digit-pad figure")
    box = page.locator(CONV1).bounding_box()
    assert box
    columns = page.eval_on_selector(CONV1, "(canvas) => (canvas.width + 1) / 27")
    page.mouse.move(box["x"] + 13.5 / (27 * columns - 1) * box["width"], box["y"] + 9.5 / 53 * box["height"])
    assert page.locator(WHY).inner_text().startswith("conv1, map 0, row 9, column 13: ")
    pixels, weights, products = (
        [
            float(text.replace("−", "-"))
            for text in page.locator(f"{WHY} .cells").nth(n).locator("span").all_inner_texts()
        ]
        for n in range(3)
    )
    assert weights == pytest.approx(pretrained.conv1.weight[0].flatten().tolist(), abs=0.02)
    assert products == pytest.approx([a * b for a, b in zip(pixels, weights, strict=True)], abs=0.02)
    text = page.locator(f"{WHY} p").all_inner_texts()
    value = float(text[0].split(": ")[1].split(". ")[0])
    total = sum(products) + pretrained.conv1.bias[0].item()
    assert value == pytest.approx(max(total, 0), abs=0.05)
    assert "It depends on 3 × 3 pixels." in text[0]
    page.locator(".digit-pad figure:nth-of-type(4) canvas").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    assert page.locator(WHY).inner_text().startswith("conv4, map 0, row 2, column 0: ")
    assert "14 × 14 pixels" in page.locator(WHY).inner_text()
    page.locator(CANVAS).focus()
    assert "Point at a map" in page.locator(WHY).inner_text()


def test_digits_are_kept_and_counted_and_the_last_one_can_be_dropped(open_page: Open) -> None:
    page = open_page()
    for drawn, label in ((3, "3"), (7, "1")):
        draw(page, DIGITS[drawn])
        page.locator(".digit-pad select").select_option(label)
        page.locator(".digit-pad button:text-is('Keep')").click()
        page.wait_for_selector(f"{STATUS}:has-text('Kept as {label}.')")
    kept = page.locator(".digit-pad .kept")
    assert kept.locator("li").all_inner_texts() == ["3", "1, not 7"]
    assert kept.locator("p").inner_text() == "Kept just now: 2. The network gets 1 right."
    kept.locator("button").click()
    page.wait_for_selector(f"{STATUS}:text('Not kept. 1 on this page.')")
    assert kept.locator("li").all_inner_texts() == ["3"]


def test_unprepared_drawings_show_why_the_preparation_is_needed(open_page: Open) -> None:
    page = open_page()
    corner = [[(0.3 * x, 0.3 * y) for x, y in stroke] for stroke in DIGITS[3]]
    draw(page, corner)
    assert best(page) == "3"
    with_preparation = page.locator(".digit-pad .row").all_inner_texts()
    page.get_by_label("Unprepared").check()
    page.wait_for_function(
        "(old) => document.querySelector('.digit-pad .row').innerText !== old[0]"
        " || [...document.querySelectorAll('.digit-pad .row')].some((row, n) => row.innerText !== old[n])",
        arg=with_preparation,
    )
    page.locator(".digit-pad select").select_option("3")
    assert page.locator(".digit-pad button:text-is('Keep')").is_disabled()
    page.get_by_label("Unprepared").uncheck()
    page.wait_for_function("() => document.querySelector('.digit-pad .best')?.innerText[0] === '3'")


def test_on_a_phone_nothing_scrolls_while_drawing(open_page: Open) -> None:
    page = open_page(**PHONE)
    fingers = page.context.new_cdp_session(page)
    for stroke in DIGITS[2]:
        swipe(fingers, on_screen(page, stroke))
    page.wait_for_selector(".digit-pad .best")
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    bars = page.locator(".digit-pad .row").nth(6).bounding_box()
    assert bars
    assert bars["y"] + bars["height"] <= 812  # most of them are on the first screen


def test_with_reduced_motion_the_digit_is_there_at_once(chromium: "Browser", site: Path) -> None:
    page = chromium.new_page(reduced_motion="reduce")
    page.goto((site / "index.html").as_uri())
    page.wait_for_function("() => performance.getEntriesByName('pad').length")
    assert page.eval_on_selector(".digit-pad button", "(undo) => undo.disabled") is False
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    page = open_page(color_scheme=scheme)
    draw(page, DIGITS[3])
    page.locator(".digit-pad select").select_option("3")
    page.locator(".digit-pad button:text-is('Keep')").click()
    page.wait_for_selector(".digit-pad .kept li")
    draw(page, DIGITS[4])
    found = axe.Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not grave, [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in grave]
