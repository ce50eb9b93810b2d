"""The page Break it: its network against PyTorch, the fingerprints of the mistakes, and the page in a browser."""

import base64
import functools
import gzip
import http.server
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_s5 import normalize

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
SEEDS, STEPS = range(1, 9), 100
SHAPES = {"filters": (8, 1, 5, 5), "filterBias": (8,), "weight": (10, 512), "bias": (10,)}
NAMES = ["leak", "lr", "labels", "zero_grad", "dim", "logits", "backward", "step", "eval", "normalize"]
LONG = 120_000  # milliseconds: the machine may be busy
Open = Callable[..., "Page"]

# Sets `digits` from pixels and labels in base64.
LOAD = """([images, labels]) => {
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const [pixels, classes] = [bytes(images), [...bytes(labels)]];
    const part = (first, end) => (
        { images: pixels.subarray(784 * first, 784 * end), labels: classes.slice(first, end) });
    globalThis.digits = { train: part(0, 2000), test: part(2000, 2500) };
}"""

# Trains, and returns all that was random: the batches, and the masks of the dropout as one bit a value.
RECORD = """([seed, steps]) => {
    const run = new train.Run(digits, "", seed);
    const copy = () => Object.entries(run.network.parameters).map(([name, values]) => [name, [...values]]);
    const start = Object.fromEntries(copy());
    const batches = [];
    let bits = "";
    for (let step = 0; step < steps; step++) {
        const { chosen, mask } = run.step();
        batches.push(chosen);
        for (let i = 0; i < mask.length; i += 8)
            bits += String.fromCharCode(mask.slice(i, i + 8).reduce((byte, value) => 2 * byte + (value > 0), 0));
    }
    return { start, batches, masks: btoa(bits), losses: run.losses, end: Object.fromEntries(copy()) };
}"""

# Trains with a mistake to the end. JSON has no nan, but Playwright keeps it.
TRAIN = """(mistake) => {
    const run = new train.Run(digits, mistake);
    while (!run.done) run.advance();
    const { losses, tests, start, network } = run;
    const change = Math.max(...network.parameters.filters.map((value, index) => Math.abs(value - start[index])));
    return { losses, tests, change, again: run.accuracy(), unseen: run.accuracy(run.unseen) };
}"""


@pytest.fixture(scope="module")
def digits(build: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """The digits of the page: uint8 [2500, 28, 28], int64 [2500]."""
    packed = np.frombuffer(gzip.decompress(build.encode_digits()), np.uint8)
    pixels, labels = packed[: 2500 * 392], packed[2500 * 392 :]
    images = np.stack([pixels >> 4, pixels & 15], 1).reshape(-1, 28, 28) * np.uint8(17)
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


@pytest.fixture(scope="module")
def trainer(chromium: "Browser", build: SimpleNamespace, digits: tuple[Tensor, Tensor]) -> Iterator["Page"]:
    """A page that has only the network, its training, and the digits."""
    page = chromium.new_page()
    page.set_content(f"<script>{build.join(['train.js'])}globalThis.train = modules['train.js'];</script>")
    texts = [base64.b64encode(values.to(torch.uint8).numpy().tobytes()).decode() for values in digits]
    page.evaluate(LOAD, texts)
    yield page
    page.close()


def test_the_digits_are_balanced_and_those_of_the_sample(digits: tuple[Tensor, Tensor]) -> None:
    images, labels = digits
    assert labels[:2000].bincount().tolist() == [200] * 10
    assert labels[2000:].bincount().tolist() == [50] * 10
    assert len(np.unique(images.flatten(1).numpy(), axis=0)) == 2500  # no training digit is a test digit


def train_with_torch(digits: tuple[Tensor, Tensor], record: dict[str, Any]) -> tuple[list[float], dict[str, Tensor]]:
    """Repeat a recorded run in float32. Returns the losses and the parameters."""
    images, labels = digits
    start = {name: torch.tensor(record["start"][name]).view(shape) for name, shape in SHAPES.items()}
    parameters = {name: values.requires_grad_() for name, values in start.items()}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.02, momentum=0.9)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(record["masks"]), np.uint8))
    masks = torch.from_numpy(bits.reshape(STEPS, 32, 512)).float() / 0.5
    losses = []
    for batch, mask in zip(record["batches"], masks, strict=True):
        x, y = normalize(images[batch])[:, None], labels[batch]
        optimizer.zero_grad()
        maps = F.conv2d(x, parameters["filters"], parameters["filterBias"])
        hidden = F.relu(F.max_pool2d(maps, 3)).flatten(1) * mask
        log_probs = F.log_softmax(F.linear(hidden, parameters["weight"], parameters["bias"]), dim=1)
        loss = F.nll_loss(log_probs, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: values.detach() for name, values in parameters.items()}


def largest_difference(digits: tuple[Tensor, Tensor], record: dict[str, Any]) -> float:
    losses, parameters = train_with_torch(digits, record)
    ends = [(parameters[name].flatten(), torch.tensor(record["end"][name])) for name in SHAPES]
    pairs = [(torch.tensor(losses), torch.tensor(record["losses"])), *ends]
    return max((mine - theirs).abs().max().item() for mine, theirs in pairs)


def test_a_hundred_steps_agree_with_pytorch(trainer: "Page", digits: tuple[Tensor, Tensor]) -> None:
    records = [trainer.evaluate(RECORD, [seed, STEPS]) for seed in SEEDS]
    assert sum(len(values) for values in records[0]["start"].values()) == 5338
    differences = [largest_difference(digits, record) for record in records]
    print(differences)
    assert sum(difference < 1e-4 for difference in differences) >= 6, differences


@pytest.fixture(scope="module")
def runs(trainer: "Page") -> dict[str, dict[str, Any]]:
    return {name: trainer.evaluate(TRAIN, name) for name in ["", *NAMES]}


def near(losses: list[float], expected: float, tolerance: float = 0.25) -> bool:
    return abs(np.mean(losses) - expected) < tolerance


def test_the_healthy_run(runs: dict[str, dict[str, Any]]) -> None:
    healthy = runs[""]
    assert len(healthy["losses"]) == 400
    assert len(healthy["tests"]) == 17
    assert healthy["tests"][4] >= 90  # after 100 steps
    assert min(healthy["tests"][4:]) >= 90
    assert healthy["again"] == healthy["tests"][-1]
    assert near(healthy["losses"][:1], math.log(10))
    assert np.mean(healthy["losses"][-40:]) < 0.4


@pytest.mark.parametrize("name", ["backward", "step"])
def test_without_backward_or_step_nothing_changes(runs: dict[str, dict[str, Any]], name: str) -> None:
    run = runs[name]
    assert run["change"] == 0
    assert len(set(run["tests"])) == 1
    assert near(run["losses"], math.log(10))
    assert run["losses"] == runs["step"]["losses"]  # no curve tells the two apart


def test_runs_that_explode(runs: dict[str, dict[str, Any]]) -> None:
    too_fast, accumulated = runs["lr"]["losses"], runs["zero_grad"]["losses"]
    first = [next(step for step, loss in enumerate(losses) if math.isnan(loss)) for losses in (too_fast, accumulated)]
    assert first[0] < 50 < 200 < first[1]
    assert max(accumulated[:200]) > 1e6
    assert near(accumulated[:2], math.log(10))
    assert runs["lr"]["tests"][-1] == runs["zero_grad"]["tests"][-1] == 10  # nan always predicts 0


def test_losses_with_a_wrong_start_or_sign(runs: dict[str, dict[str, Any]]) -> None:
    assert near(runs["dim"]["losses"][:1], math.log(32))
    assert min(runs["dim"]["losses"]) > 1
    assert runs["dim"]["tests"][-1] > 70
    assert near(runs["logits"]["losses"][:1], 0)
    assert min(loss for loss in runs["logits"]["losses"][:100]) < -100
    assert near(runs["labels"]["losses"][-100:], math.log(10), 0.05)
    assert max(runs["labels"]["tests"][-4:]) < 25
    assert runs["labels"]["change"] > 0.01


def test_mistakes_of_the_test_leave_the_loss_as_it_is(runs: dict[str, dict[str, Any]]) -> None:
    healthy, with_dropout, scaled = (runs[name] for name in ("", "eval", "normalize"))
    assert with_dropout["losses"] == scaled["losses"] == healthy["losses"]
    assert with_dropout["again"] != with_dropout["tests"][-1]
    assert np.mean(healthy["tests"][4:]) - np.mean(with_dropout["tests"][4:]) > 2
    assert scaled["again"] == scaled["tests"][-1]
    assert min(scaled["tests"][4:]) < healthy["tests"][4] - 15


def test_a_leak_is_too_good_on_the_test_digits_only(runs: dict[str, dict[str, Any]]) -> None:
    leak, healthy = runs["leak"], runs[""]
    assert leak["tests"][-1] > max(98, healthy["tests"][-1])
    assert leak["unseen"] < healthy["tests"][-1]


@pytest.fixture(scope="module")
def site(build: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("web")
    build.build(root / "some" / "path")
    return root


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()


@pytest.fixture
def open_page(chromium: "Browser", server: str) -> Iterator[Open]:
    """Return a function that opens the page, and check in the end that it had no error, and asked no other host."""
    contexts, problems = [], []

    def start(address: str = "{server}/some/path/break.html", motion: str = "reduce", **options: object) -> "Page":
        contexts.append(chromium.new_context(reduced_motion=motion, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(LONG)
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        known = (server, "file:", "blob:", "data:")
        page.on("request", lambda request: request.url.startswith(known) or problems.append(request.url))
        page.goto(address.format(server=server))
        return page

    yield start
    for context in contexts:
        context.close()
    assert problems == []


def line(page: "Page", name: str) -> Any:
    return page.locator(f"#code [data-name={name}]")


def finish(page: "Page", name: str = "yours") -> None:
    page.wait_for_function("(name) => document.querySelector('#twice').textContent.includes(name)", arg=name)


def verdict(page: "Page") -> str:
    return page.locator("#verdict").inner_text()


def test_as_a_file_with_an_address_of_a_mistake(open_page: Open, site: Path) -> None:
    page = open_page(f"{(site / 'some' / 'path' / 'break.html').as_uri()}#dim")
    assert line(page, "dim").get_attribute("aria-pressed") == "true"
    assert line(page, "dim").inner_text().split("\n")[-1].endswith("dim=0)")
    page.get_by_text("Skip the guess").click()
    finish(page)
    assert "ln 32 = 3.47" in verdict(page)
    line(page, "backward").click()
    assert page.url.endswith("#backward")
    page.go_back()
    assert line(page, "dim").get_attribute("aria-pressed") == "true"
    line(page, "dim").click()
    assert "#" not in page.url
    assert page.locator("[aria-pressed=true]").count() == 0


def test_a_guess_by_the_keyboard(open_page: Open) -> None:
    page = open_page()
    finish(page, "healthy")
    assert "right. Now click a line." in verdict(page)
    line(page, "labels").focus()
    page.keyboard.press("Enter")
    assert verdict(page).startswith("You changed x, y = normalize(images[batch]), labels[batch].")
    assert page.evaluate("document.activeElement.dataset.name") == "labels"
    page.locator("#guess [role=slider]").focus()
    for key in ["Home", *["ArrowRight"] * 12, "PageUp"]:
        page.keyboard.press(key)
    page.get_by_text("Train", exact=True).focus()
    page.keyboard.press("Space")
    finish(page)
    assert page.evaluate("document.activeElement.id") == "accuracies"
    assert "You guessed 10% at the end." in verdict(page)
    label = page.locator("#accuracy").get_attribute("aria-label")
    assert label
    assert "Your guess: from 0.0% to 10.0%." in label
    assert "% at step 400." in label
    assert "ln 10 = 2.30" in verdict(page)
    line(page, "labels").focus()
    page.keyboard.press("Space")
    assert page.locator("[aria-pressed=true]").count() == 0


def test_nan_is_shown(open_page: Open) -> None:
    page = open_page("{server}/some/path/break.html#lr")
    page.get_by_text("Skip the guess").click()
    finish(page)
    assert "nan from step" in page.locator("#loss").inner_html()
    assert "nan at step 400" in (page.locator("#loss").get_attribute("aria-label") or "")
    assert "yours: nan" in page.locator("#filters").inner_text()
    draw(page)
    page.wait_for_function("document.querySelector('#pad [role=status]').textContent.includes('nan')")


def draw(page: "Page") -> None:
    """Draw a 1 on the pad."""
    canvas = page.locator("#pad .draw canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.8 * box["height"], steps=8)
    page.mouse.up()


def test_drawing_on_a_broken_network_on_a_phone(open_page: Open) -> None:
    phone = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True}
    page = open_page("{server}/some/path/break.html#backward", motion="no-preference", color_scheme="dark", **phone)
    page.get_by_text("Skip the guess").tap()
    finish(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    draw(page)
    page.wait_for_function("document.querySelector('#healthy').textContent.includes('1 (')")
    shares = page.locator("#pad .row span").all_inner_texts()
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=1)
    assert max(float(share.rstrip("%")) for share in shares) < 60  # it has learned nothing


def test_a_slow_click_counts_while_a_network_trains(open_page: Open) -> None:
    page = open_page(motion="no-preference")
    finish(page, "healthy")
    line(page, "backward").click()
    page.get_by_text("Skip the guess").click()
    for name in ("step", "zero_grad", "dim"):
        page.wait_for_timeout(200)  # reports arrive
        line(page, name).click(delay=150)
        assert page.url.endswith(f"#{name}")
        page.get_by_text("Skip the guess").click()


def test_a_run_that_is_asked_for_before_the_digits_arrive(open_page: Open, server: str) -> None:
    page = open_page("about:blank")
    held: list[Any] = []
    page.route("**/digits.js", lambda route: held.append(route))
    page.goto(f"{server}/some/path/break.html#zero_grad", wait_until="domcontentloaded")
    page.get_by_text("Skip the guess").click()
    held[0].continue_()
    finish(page)


def test_without_workers_it_trains_on_the_page(open_page: Open, server: str) -> None:
    page = open_page("about:blank")
    page.add_init_script("delete window.Worker")
    page.goto(f"{server}/some/path/break.html#backward")
    page.get_by_text("Skip the guess").click()
    finish(page)


def test_the_reader_hears_that_the_digits_are_missing(open_page: Open, server: str) -> None:
    page = open_page("about:blank")
    page.route("**/digits.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto(f"{server}/some/path/break.html")
    page.evaluate("document.querySelector('script[src]').onerror()")
    line(page, "backward").click()
    assert verdict(page) == "The digits could not be loaded. Reload the page."


def test_the_focus_stays_after_a_button_and_the_address_ends_a_mystery(open_page: Open) -> None:
    page = open_page()
    finish(page, "healthy")
    line(page, "backward").click()
    page.locator("#repair").press("Enter")
    assert page.evaluate("document.activeElement.id") == "code"
    page.locator("#mystery").click()
    line(page, "step").press("Enter")
    assert page.evaluate("document.activeElement.id") == "next"
    finish(page, "secret")
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "code"
    for name in NAMES:  # one of them is the secret
        page.evaluate("(name) => { location.hash = name }", name)
        page.wait_for_selector(f"#code [data-name={name}][aria-pressed=true]")
        page.locator("#mystery").click()
    draw(page)
    page.wait_for_function("document.querySelector('#healthy').textContent")
    page.locator("#pad button", has_text="Clear").click()
    assert page.locator("#healthy").inner_text() == ""


def test_ten_mysteries(open_page: Open) -> None:
    page = open_page()
    finish(page, "healthy")
    page.locator("#mystery").click()
    seen = []
    for number in range(1, 11):
        assert page.locator("#score").inner_text().startswith(f"Round {number} of 10.")
        assert page.locator("#code del").count() == 0
        assert page.locator("[aria-pressed]").count() == 0
        line(page, "backward").click()
        seen.append(page.locator("#code .line:has(del)").get_attribute("data-name"))
        right = seen[-1] in ("backward", "step")
        assert verdict(page).startswith("Right" if right else "No")
        line(page, "step").click()  # does not count anymore
        if number < 10:
            page.locator("#next").click()
    assert sorted(seen) == sorted(NAMES)
    assert page.locator("#score").inner_text() == "Round 10 of 10. Score: 2"
    assert "2 of 10." in verdict(page)
    page.locator("#next").click()
    assert page.locator("#score").inner_text() == "Round 1 of 10. Score: 0"
    finish(page, "secret")
    page.locator("#mystery").click()
    assert page.locator("#score").inner_text() == ""
    assert page.locator("[aria-pressed=true]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    page = open_page("{server}/some/path/break.html#eval", color_scheme=scheme)
    finish(page, "healthy")
    asked = axe.Axe().run(page).response["violations"]
    page.get_by_text("Skip the guess").click()
    finish(page)
    found = [*asked, *axe.Axe().run(page).response["violations"]]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
