"""What every figure has: one palette, two sizes, an alt text, and a title that says when it shows the sample."""

import base64
import io
from html import escape

from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"  # of Okabe and Ito's palette, and a grey that reads on white
WIDE, TALL = (9.0, 3.4), (9.0, 6.6)  # inches


class Picture(Figure):
    """A matplotlib Figure that shows itself with its alt text, which can also be unfolded and read below it."""

    alt = ""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        png = io.BytesIO()
        self.savefig(png, format="png")
        data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": self.alt}
        display(data, raw=True, metadata={"image/png": {"alt": self.alt}})
        words = f"<details><summary>This figure in words</summary>{escape(self.alt)}</details>"
        display({"text/html": words}, raw=True)


def new_picture(title: str, alt: str, source: str, size: tuple[float, float] = WIDE) -> Picture:
    """An empty figure whose title and alt text say so where it shows other digits than full MNIST."""
    picture = Picture(figsize=size, dpi=80, layout="constrained", facecolor="white")
    notices = {"mnist": "", "sample": " · embedded sample, not full MNIST"}
    notice = notices.get(source, " · digits from elsewhere, not full MNIST")
    picture.suptitle(title + notice, fontsize=12)
    stop = "" if f"{title}{notice}".endswith("?") else "."
    picture.alt = f"{title}{notice}{stop} {alt}"
    return picture
