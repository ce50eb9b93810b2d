"""A headless Chromium and a JupyterLab."""

import importlib.util
import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import nbformat
import pytest
from drawings import KERNEL, Lab, OpenPad, run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
TOKEN = "digits"


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("There is no chromium here.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """The names of docs/pages/build.py."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "docs" / "pages" / "build.py")))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a free port, without the settings of the user."""
    root = tmp_path_factory.mktemp("lab")
    places = {f"JUPYTER_{name}_DIR": str(root / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(root / name) for name in ("SETTINGS", "WORKSPACES")}
    (root / "CONFIG" / "labconfig").mkdir(parents=True)
    news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (root / "CONFIG" / "labconfig" / "page_config.json").write_text(json.dumps(news))
    (root / "home").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root / 'home'}"]
    environment = os.environ | places | {"IPYTHONDIR": str(root / "ipython"), "MNIST_S5_RUNS": str(root / "runs")}
    with (root / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=environment, cwd=root, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api?token={TOKEN}", server, root / "log.txt")
        yield Lab(f"http://127.0.0.1:{port}", root / "home")
    finally:
        server.terminate()  # it shuts down its kernels
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start: {log.read_text()}")


CODE = """
import mnist_s5 as s5
model, _ = s5.load_checkpoint()
pad = s5.DrawingPad(model, {folder})
pad
"""
READY = """async () => {
    await window.jupyterapp.restored;
    const { context, sessionContext } = window.jupyterapp.shell.currentWidget;
    await Promise.all([context.ready, sessionContext.ready]);
    await sessionContext.session.kernel.info;
}"""


@pytest.fixture(scope="session")
def open_notebook(chromium: "Browser", lab: Lab) -> Iterator[Callable[..., "Page"]]:
    """Return a function that opens a notebook with a kernel, and returns the page."""
    contexts = []

    def start(name: str, notebook: nbformat.NotebookNode, app: str = "doc/tree", **options: object) -> "Page":
        nbformat.write(notebook, lab.folder / name)
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(f"{lab.url}/{app}/{name}?token={TOKEN}")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        if app == "notebooks":  # Notebook 7 has no window.jupyterapp
            page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
        else:
            page.evaluate(READY)
        return page

    yield start
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def open_pad(open_notebook: Callable[..., "Page"]) -> OpenPad:
    """Return a function that opens a new notebook, runs the cell with the pad, and returns the page."""

    def start(folder: str = "", theme: str = "Light", app: str = "doc/tree", **options: object) -> "Page":
        cell = nbformat.v4.new_code_cell(CODE.format(folder=repr(folder)).strip())
        notebook = nbformat.v4.new_notebook(cells=[cell], metadata=KERNEL)
        page = open_notebook(f"pad{time.time_ns()}.ipynb", notebook, app, **options)
        if app == "notebooks":
            page.locator(".jp-Cell .cm-content").click()
            page.keyboard.press("Shift+Enter")
        else:
            run(page, "apputils:change-theme", {"theme": f"JupyterLab {theme}"})
            run(page, "notebook:run-all-cells")
        page.wait_for_selector(".digit-pad", timeout=120_000)
        page.locator(".digit-pad .draw canvas").scroll_into_view_if_needed()
        return page

    return start
