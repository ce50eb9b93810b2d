"""The website in Chromium: from a server under a sub-path, and opened as files."""

import base64
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from drawings import KERNEL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]
ROOT = Path(__file__).parents[2]
READ = ("docs/course", "docs/glossary", "docs/api", "docs/teaching", "docs/model_card", "docs/exercises")
READ += ("benchmarks/README", "README", "CONTRIBUTING")
FILES = ("docs/course", "docs/api", "notebooks/02_training", "notebooks/05_debugging", "index", "break")
PHONE = {"width": 375, "height": 812}
# Images that have no alt text, or whose proportions on the page are not those of the file.
WRONG_IMAGES = """() => [...document.querySelectorAll('article img')].filter((image) => {
    const { width, height, naturalWidth, naturalHeight } = image;
    return !image.alt || !naturalWidth || Math.abs(width - height * naturalWidth / naturalHeight) > 0.02 * width;
}).map((image) => image.outerHTML)"""
LOADED = """() => Promise.all([...document.querySelectorAll('article img')].map((image) => {
    image.loading = 'eager';
    return image.decode();
}))"""


def build(source: Path, target: Path, *options: str) -> None:
    """Build a website, or skip the test if the packages for it are not installed."""
    missing = [name for name in ("sphinx", "myst_nb", "furo", "latex2mathml") if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed: pip install 'mnist-s5[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", str(ROOT / "docs")]
    command += ["-d", str(target.with_name("doctrees")), *options, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the website."""
    folder = tmp_path_factory.mktemp("site") / "someone" / "course"
    build(ROOT, folder)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[str]:
    """The address of the website on a server, under a sub-path as on GitHub Pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site.parent))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/course"
        running.shutdown()


@pytest.fixture(scope="module")
def open_page(chromium: "Browser") -> Iterator[Callable[..., "Page"]]:
    """Return a function that opens a page. It raises an error about what is written to the console or requested."""
    contexts = []

    def start(address: str, **options: object) -> "Page":
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.wrong = []
        page.on("console", lambda message: message.type in ("error", "warning") and page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda request: expect_local(page, request.url))
        page.goto(address)
        return page

    yield start
    for context in contexts:
        context.close()


def expect_local(page: "Page", url: str) -> None:
    if urlsplit(url).hostname not in ("127.0.0.1", None, ""):
        page.wrong.append(f"request to {url}")


class Links(HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("href", "src") and value and tag != "use"]
        self.ids |= {value for name, value in attrs if name == "id" and value}


def test_all_internal_links_resolve(site: Path) -> None:
    pages = {path.resolve(): Links(path) for path in site.rglob("*.html")}
    assert {site / f"{name}.html" for name in ("index", "break", "course", "search", *READ)} <= set(pages)
    assert len(pages) > 30
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            found = goal.is_file() and goal.is_relative_to(site)
            interactive = goal.name in ("index.html", "break.html")  # scripts read their fragments
            if not found or (parts.fragment and not interactive and parts.fragment not in pages[goal].ids):
                broken.append((path.relative_to(site), link))
    assert not broken


def test_every_page_on_a_phone(site: Path, server: str, open_page: Callable[..., "Page"]) -> None:
    """Nothing is wrong in the console, nothing comes from elsewhere, and figures are whole."""
    names = sorted({path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"course.html"})  # redirects
    page = open_page(f"{server}/docs/course.html", viewport=PHONE)
    images = 0
    for name in names:
        page.goto(f"{server}/{name}")
        page.evaluate(LOADED)
        assert page.evaluate(WRONG_IMAGES) == [], name
        images += page.locator("article img").count()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], (name, wide)
        assert page.wrong == [], name
    assert images > 60


@pytest.mark.parametrize("name", FILES)
def test_a_page_as_a_file(site: Path, open_page: Callable[..., "Page"], name: str) -> None:
    page = open_page((site / f"{name}.html").as_uri())
    page.evaluate(LOADED)
    assert page.evaluate(WRONG_IMAGES) == []
    assert page.wrong == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["docs/course", "docs/glossary", "docs/api", "docs/teaching", "notebooks/02_training"])
def test_accessible(server: str, open_page: Callable[..., "Page"], name: str, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    page = open_page(f"{server}/{name}.html", color_scheme=theme)
    found = axe.Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not grave, [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in grave]


@pytest.mark.parametrize("place", ["server", "file"])
@pytest.mark.parametrize(
    ("word", "title", "said"),
    [
        ("Muon", "06 · The same network, faster", "muon"),
        ("reliability", "Glossary > reliability diagram", "a plot of accuracy against confidence"),
        ("reliability", "07 · How sure can you be?", "a reliability diagram shows it"),
    ],
)
def test_search(
    site: Path, server: str, open_page: Callable[..., "Page"], place: str, word: str, title: str, said: str
) -> None:
    base = server if place == "server" else site.as_uri()
    page = open_page(f"{base}/docs/course.html")
    page.locator(".sidebar-search").fill(word)
    page.keyboard.press("Enter")
    result = page.locator("#search-results li", has_text=title).first
    result.wait_for()
    assert said in result.locator("p").inner_text().lower()
    assert [text.lower() for text in result.locator("mark").all_inner_texts()] in ([], [word.lower()])
    result.locator("a").click()
    page.locator("h1").wait_for()
    assert page.wrong == []


def test_a_search_shows_the_entry_that_it_found(server: str, open_page: Callable[..., "Page"]) -> None:
    page = open_page(f"{server}/search.html?q=accuracy")
    entry = page.locator("#search-results li:has(a[href$='glossary.html#accuracy']) p")
    entry.wait_for()
    assert entry.inner_text() == "The percentage of digits whose predicted class is the label."


def test_no_page_names_a_folder_of_the_machine_that_built_it(site: Path) -> None:
    texts = [path for path in site.rglob("*") if path.suffix in (".html", ".js", ".inv")]
    assert len(texts) > 30
    assert not [path for path in texts if str(ROOT) in path.read_text(encoding="utf-8", errors="replace")]


def test_answers_are_folded_in_05(server: str, open_page: Callable[..., "Page"]) -> None:
    page = open_page(f"{server}/notebooks/05_debugging.html")
    hidden = page.get_by_text("without_zero_grad").first
    assert not hidden.is_visible()
    assert page.get_by_text("import mnist_s5 # noqa").count() == 0  # nor does the setup cell get in the way
    assert not page.get_by_text("5, shuffled independently").is_visible()
    page.locator("summary", has_text="The training mistakes").first.click()
    assert hidden.is_visible()
    page.locator("details:has-text('5, shuffled independently') > summary").click()
    assert page.locator("details strong", has_text="5, shuffled independently").is_visible()


def test_a_term_explains_itself(server: str, open_page: Callable[..., "Page"]) -> None:
    page = open_page(f"{server}/notebooks/01_data_visualization.html")
    tip, term = page.locator("#term-tip"), page.locator("a[data-term]", has_text="accuracy").first
    assert not tip.is_visible()
    term.focus()
    assert tip.inner_text() == "The percentage of digits whose predicted class is the label."
    assert term.get_attribute("aria-describedby") == tip.get_attribute("id")
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    term.hover()
    assert tip.is_visible()
    tip.hover()  # it stays while the pointer is on it
    page.wait_for_timeout(400)
    assert tip.is_visible()
    page.mouse.move(2, 2)
    tip.wait_for(state="hidden")


def test_the_first_tap_explains_a_term_and_the_second_opens_it(server: str, open_page: Callable[..., "Page"]) -> None:
    page = open_page(f"{server}/notebooks/01_data_visualization.html", viewport=PHONE, has_touch=True, is_mobile=True)
    term = page.locator("a[data-term]", has_text="accuracy").first
    term.tap()
    box = page.locator("#term-tip").bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    term.tap()
    page.wait_for_url("**/docs/glossary.html#accuracy")


def test_figures_are_dimmed_but_not_inverted_in_dark_mode(server: str, open_page: Callable[..., "Page"]) -> None:
    for theme, expected in (("light", "none"), ("dark", "brightness(0.86)")):
        page = open_page(f"{server}/notebooks/01_data_visualization.html", color_scheme=theme)
        style = "getComputedStyle(document.querySelector('.cell_output img')).filter"
        assert page.evaluate(style) == expected


def test_a_notebook_page_leads_on(site: Path, server: str, open_page: Callable[..., "Page"]) -> None:
    page = open_page(f"{server}/notebooks/02_training.html")
    about = page.locator(".about-notebook")
    assert "about two minutes" in about.inner_text()
    with page.expect_download() as download:
        about.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "02_training.ipynb"
    original = (ROOT / "notebooks" / "02_training.ipynb").read_bytes()
    assert Path(download.value.path()).read_bytes() == original
    assert page.locator("math[display=block]").bounding_box()["width"] > 100
    page.locator(".next-page").click()
    page.wait_for_url("**/03_summary.html")
    page.locator(".prev-page").click()
    page.wait_for_url("**/02_training.html")
    page.get_by_role("link", name="Draw a digit").first.click()
    page.wait_for_url("**/course/index.html")


def test_the_api_has_every_name(site: Path) -> None:
    import mnist_s5

    ids = Links(site / "docs" / "api.html").ids
    assert {f"mnist_s5.{name}" for name in mnist_s5.__all__} <= ids


def test_attached_images_and_collapsed_cells(tmp_path: Path) -> None:
    png = (ROOT / "docs" / "result.png").read_bytes()
    text = nbformat.v4.new_markdown_cell("# Title\n\n![twelve digits](attachment:some.png)")
    text.attachments = {"some.png": {"image/png": base64.b64encode(png).decode()}}
    cell = nbformat.v4.new_code_cell("# @title Its name\nnumber = 1", metadata={"jupyter": {"source_hidden": True}})
    folder = tmp_path / "source" / "notebooks"
    folder.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[text, cell], metadata=KERNEL), folder / "0.ipynb")
    build(tmp_path / "source", tmp_path / "site", "-D", "root_doc=notebooks/0", "-D", "interactive_pages=0")
    page = (tmp_path / "site" / "notebooks" / "0.html").read_text(encoding="utf-8")
    assert 'alt="twelve digits"' in page
    assert [path.read_bytes() for path in (tmp_path / "site" / "_images").iterdir()] == [png]
    assert "Its name</p>" in page
    assert "@title" not in page


def test_the_page_at_the_top_leads_to_the_course(server: str, open_page: Callable[..., "Page"]) -> None:
    page = open_page(f"{server}/course.html")
    page.wait_for_url("**/docs/course.html")
    assert page.locator("h1").inner_text().startswith("From pixels")
