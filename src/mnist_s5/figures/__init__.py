"""What every figure shares: palette, default sizes, alt text, and a title that names any dataset but full MNIST."""

import base64
import io
from collections.abc import Callable, Sized
from functools import wraps
from html import escape
from typing import Any, ParamSpec
from uuid import uuid4

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import Normal, Stroke
from PIL import Image
from torch import Tensor

BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#767676"  # Okabe-Ito blue and vermilion, and a gray legible on white
WIDE, TALL = (6.6, 2.9), (6.6, 5.0)  # inches
PIXELS = 110  # per inch, where a figure is displayed. Its file has twice as many, for screens with small pixels.
SMALL = 9  # font size in points: as large as the text around a figure
STYLE: list[Any] = ["default", {"text.parse_math": False}]  # the name of a file may contain two $
OUTLINED = [Stroke(linewidth=3, foreground="white"), Normal()]  # text that stays legible on lines and dots

P = ParamSpec("P")


class AltTextFigure(Figure):
    """A matplotlib Figure that notebooks display with its alt text, which unfolds below it."""

    alt = ""

    def savefig(self, *args: Any, **options: Any) -> None:
        """Save the figure in matplotlib's default style. See `matplotlib.figure.Figure.savefig`."""
        with style.context(STYLE):
            super().savefig(*args, **options)

    def to_display(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the figure as a PNG with its alt text, and the metadata, as IPython's `display` takes them."""
        full, png = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png")
        Image.open(full).convert("RGB").quantize(256).save(png, "png", optimize=True)  # a third of the size
        data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": self.alt}
        width, height = (int.from_bytes(png.getvalue()[at : at + 4]) // 2 for at in (16, 20))  # in a PNG's header
        return data, {"image/png": {"alt": self.alt, "width": width, "height": height}}

    def display(self, place: str, *, update: bool = False) -> None:
        """Display the figure and its alt text in a notebook, at a place where others can be displayed later.

        Args:
            place: Name of the place.
            update: Whether to replace what is there.
        """
        from IPython.display import display

        data, metadata = self.to_display()
        display(data, raw=True, metadata=metadata, display_id=place, update=update)
        words = f"<details><summary>This figure in words</summary>{escape(self.alt)}</details>"
        display({"text/html": words}, raw=True, display_id=f"{place}-words", update=update)

    def _ipython_display_(self) -> None:
        self.display(uuid4().hex)


def check_not_empty(what: str, *values: Sized) -> None:
    """Raise ValueError if there is nothing to draw."""
    if not all(map(len, values)):
        raise ValueError(f"There are no {what} to draw. Pass at least one.")


def new_figure(title: str, alt: str, dataset: str | None, size: tuple[float, float] = WIDE) -> AltTextFigure:
    """Return an empty figure.

    Args:
        title: Its title. Unless the dataset is full MNIST, the title and the alt text say which one it is.
        alt: The figure in words.
        dataset: Name of the dataset, as `DigitDataset.name`; None if the figure does not depend on digits.
        size: Width and height in inches.
    """
    if dataset not in (None, "mnist"):
        which = f"{'embedded sample' if dataset == 'sample' else f'{dataset} digits'}, not full MNIST"
        title += f" · {which}" if len(title) + len(which) < 77 else f"\n{which}"  # as wide as the figure
    figure = AltTextFigure(figsize=size, dpi=2 * PIXELS, layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=11)
    figure.alt = f"{title}{'' if title.endswith('?') else '.'} {alt}".replace("\n", " · ")
    return figure


def place_image(axes: Axes, image: Tensor, xy: tuple[float, float], zoom: float, **options: Any) -> None:
    """Draw an image, uint8 [H, W], at a point. A pixel is `zoom` points wide. See AnnotationBbox for the options."""
    box = OffsetImage(image.numpy(), zoom=zoom, cmap="gray", norm=Normalize(0, 255))
    axes.add_artist(AnnotationBbox(box, xy, pad=0, annotation_clip=False, **options))


def in_default_style(draw: Callable[P, AltTextFigure]) -> Callable[P, AltTextFigure]:
    """Let a function draw in matplotlib's default style. A dark theme would draw white text on our white background."""

    @wraps(draw)
    def wrapper(*args: P.args, **options: P.kwargs) -> AltTextFigure:
        with style.context(STYLE):
            return draw(*args, **options)

    return wrapper
