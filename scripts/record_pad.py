"""Record the README's animation, a digit that is drawn on the pad: python scripts/record_pad.py

Writes docs/drawing.webp. It needs Playwright and a Chromium: pip install playwright
"""

import io
import runpy
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "drawing.webp"
SIZE = 1240, 720  # pixels of the page
WIDTH = 900  # of the animation
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# A 4, in fractions of the pad's side: the points that each stroke passes.
STROKES = [
    [(0.40, 0.18), (0.37, 0.28), (0.34, 0.38), (0.31, 0.48), (0.38, 0.54), (0.50, 0.53), (0.62, 0.52), (0.72, 0.51)],
    [(0.65, 0.22), (0.64, 0.34), (0.62, 0.46), (0.61, 0.58), (0.59, 0.70), (0.58, 0.82)],
]


def build(folder: Path) -> None:
    """Build the pages, whose program is not part of the package."""
    runpy.run_path(str(ROOT / "docs" / "pages" / "build.py"))["build"](folder)


def record(folder: Path) -> list[Image.Image]:
    """Draw the strokes with the mouse, and return a picture of the pad after each part of them."""
    from playwright.sync_api import sync_playwright

    frames = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce")
        page.goto((folder / "index.html").as_uri())
        page.wait_for_function("() => window.known")  # the data have arrived
        canvas = page.locator(".digit-pad .draw canvas")
        canvas.press("Delete")
        box = canvas.bounding_box()
        assert box

        def take() -> None:
            page.wait_for_timeout(500)  # until the prediction and the maps are shown
            picture = Image.open(io.BytesIO(page.locator(".digit-pad").screenshot())).convert("RGB")
            picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
            frames.append(picture)

        for stroke in STROKES:
            for index, (x, y) in enumerate(stroke):
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
                if index == 0:
                    page.mouse.down()
                else:
                    take()
            page.mouse.up()
        take()
        browser.close()
    return frames


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("There is no Chromium here. Install the package chromium, and run this again.")
    with TemporaryDirectory() as folder:
        build(Path(folder))
        first, *rest = record(Path(folder))
    times = [180] * len(rest) + [2500]  # milliseconds
    first.save(TARGET, save_all=True, append_images=rest, duration=times, loop=0, quality=70, method=6)
    print(f"{TARGET.name}: {TARGET.stat().st_size / 1000:.0f} kB")
