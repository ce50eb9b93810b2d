"""Draw pictures of handwritten digits: pens, papers, light, and cameras, with random parameters for each picture.

A picture starts from the strokes of an MNIST digit: either its gray levels, enlarged, or its center line, which is
drawn again with a pen of any width. `TUNING` and `REPORTING` are two sets of ranges of the parameters. The preparation
of pictures in `mnist_s5.pictures` was tuned on training digits with `TUNING`. Results are reported on test digits
with `REPORTING`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

Pair = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """Ranges of the parameters. Lengths are relative to the height of the digit, gray levels are from 0 to 255."""

    height: Pair = (70, 300)  # of the digit, in pixels
    margin: Pair = (0.3, 1.2)  # around the digit
    pen: Pair = (0.03, 0.16)  # width of the pen
    stroke: Pair = (15, 90)  # gray level of the pen
    paper: Pair = (205, 250)
    noise: Pair = (0, 5)
    tilt: Pair = (-6, 6)  # degrees, of the whole picture
    line: Pair = (110, 190)  # gray level of printed lines
    line_width: Pair = (0.006, 0.02)
    spacing: Pair = (0.25, 0.6)  # of printed lines
    dim: Pair = (0.45, 0.8)  # fraction of the light that is left in the dark
    table: Pair = (30, 120)
    quality: Pair = (60, 95)  # of the JPEG file


TUNING = Ranges()
REPORTING = Ranges(
    height=(60, 360), margin=(0.25, 1.5), pen=(0.025, 0.18), stroke=(5, 100), paper=(195, 255), noise=(0, 7),
    tilt=(-8, 8), line=(100, 200), line_width=(0.005, 0.025), spacing=(0.2, 0.7), dim=(0.4, 0.85), table=(20, 130),
    quality=(50, 98),
)  # fmt: skip


def center_line(digit: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel from the center line of the strokes, in pixels of MNIST: float [112, 112]."""
    from skimage.morphology import skeletonize

    large = Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC)
    distance = ndimage.distance_transform_edt(~skeletonize(np.asarray(large) > 110))
    return (ndimage.gaussian_filter(distance, 1) / 4).astype(np.float32)


def similarity(digit: np.ndarray) -> float:
    """Draw the center line with a pen that covers as much as the strokes. Return the intersection over the union."""
    strokes = np.asarray(Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC)) > 110
    distance = center_line(digit)
    drawn = distance < np.quantile(distance, strokes.mean())
    return float((strokes & drawn).sum() / (strokes | drawn).sum())


def write(digit: np.ndarray, height: float, pen: float | None) -> np.ndarray:
    """Return the strokes of a digit, uint8 [28, 28], without margin: float [H, W] from 0 to 1.

    Args:
        digit: Image from MNIST.
        height: Height of 20 of its 28 pixels, in pixels.
        pen: Width of the pen, relative to the height. None keeps the gray levels of the image. They are also kept if
            the center line does not describe the digit, for example because a loop is filled.
    """
    side = round(height * 28 / 20)
    if pen is None or similarity(digit) < 0.8:
        strokes = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)) / 255
    else:
        distance = np.asarray(Image.fromarray(center_line(digit)).resize((side, side), Image.Resampling.BICUBIC))
        strokes = np.clip((20 * pen / 2 - distance) * side / 28 + 0.5, 0, 1)
    rows, columns = (np.flatnonzero(strokes.max(axis) > 0.1) for axis in (1, 0))
    return strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


class Page:
    """A sheet of paper with strokes, and how it is lit and photographed."""

    def __init__(self, strokes: np.ndarray, height: float, ranges: Ranges, rng: np.random.Generator) -> None:
        self.strokes, self.height, self.ranges, self.rng = strokes, height, ranges, rng
        self.paper = np.full((*strokes.shape, 3), self.sample("paper"))
        self.color = np.full(3, min(self.sample("stroke"), self.paper.max() - 90))
        self.light = np.ones(strokes.shape)
        self.table = 0.0  # width of the table around the sheet
        self.x, self.y = (axis / max(axis.shape) for axis in np.meshgrid(*map(np.arange, strokes.shape[::-1])))

    def sample(self, name: str) -> float:
        """Sample a parameter uniformly from its range."""
        return float(self.rng.uniform(*getattr(self.ranges, name)))

    def photograph(self) -> np.ndarray:
        """Return the picture, uint8 [H, W, 3], with tilt, noise, and the artifacts of JPEG."""
        image = self.paper + self.strokes[..., None] * (self.color - self.paper)
        if self.table:
            pad = round(self.table)
            widths = [(round(pad * self.rng.uniform(0.3, 2)), round(pad * self.rng.uniform(0.3, 2))) for _ in range(2)]
            image = np.pad(image, (*widths, (0, 0)), constant_values=self.sample("table"))
            self.light = np.pad(self.light, widths, mode="edge")
        image = ndimage.rotate(image, self.sample("tilt"), reshape=False, order=1, mode="nearest")
        image = image * self.light[..., None] + self.rng.normal(0, self.sample("noise") + 1e-9, image.shape)
        return jpeg(image, round(self.sample("quality")))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return the image after it was saved as JPEG: uint8 [H, W, 3]."""
    file = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def scan(page: Page) -> None:
    """A clean scan."""


def pencil(page: Page) -> None:
    """Little contrast."""
    page.color = page.paper[0, 0] - page.rng.uniform(50, 90)


def colored_pen(page: Page) -> None:
    """Blue, red, green, or orange strokes."""
    colors = np.array([(30, 60, 200), (200, 30, 40), (20, 130, 60), (235, 120, 20)])
    page.color = np.clip(colors[page.rng.integers(4)] + page.rng.normal(0, 15, 3), 0, 255)


def chalk(page: Page) -> None:
    """Light strokes with a rough edge on a dark board."""
    page.color, page.paper = page.paper[0, 0], page.paper * 0 + page.color + page.rng.uniform(-10, 30, 3)
    page.strokes = page.strokes * page.rng.uniform(0.55, 1, page.strokes.shape)


def lined(page: Page) -> None:
    """Printed lines."""
    _print_lines(page, axes=(0,))


def graph_paper(page: Page) -> None:
    """Printed squares."""
    _print_lines(page, axes=(0, 1))


def _print_lines(page: Page, axes: tuple[int, ...]) -> None:
    spacing, width = round(page.height * page.sample("spacing")), max(1, round(page.height * page.sample("line_width")))
    color = page.sample("line") + page.rng.uniform(0, 1) * np.array([-30, 0, 30])
    for axis in axes:
        start = page.rng.integers(spacing)
        for at in range(start, page.paper.shape[axis], spacing):
            np.moveaxis(page.paper, axis, 0)[at : at + width] = np.minimum(color, page.paper.max())


def corner_shadow(page: Page) -> None:
    """A shadow with a fairly sharp edge in one corner, which may reach the digit."""
    x, y = (axis if page.rng.random() < 0.5 else axis.max() - axis for axis in (page.x, page.y))
    edge = (x + y - page.rng.uniform(0.3, 0.8)) / page.rng.uniform(0.002, 0.06)
    page.light = 1 - (1 - page.sample("dim")) / (1 + np.exp(edge.clip(-50, 50)))


def uneven_light(page: Page) -> None:
    """Light that falls off across the page, in any direction."""
    angle = page.rng.uniform(0, 2 * np.pi)
    across = page.x * np.cos(angle) + page.y * np.sin(angle)
    across = (across - across.min()) / np.ptp(across)
    page.light = 1 - (1 - page.sample("dim")) * across


def frame(page: Page) -> None:
    """A box drawn around the digit."""
    rows, columns = (np.flatnonzero(page.strokes.max(axis) > 0.3) for axis in (1, 0))
    gap = page.height * page.rng.uniform(0.1, 0.25)
    box = [columns[0] - gap, rows[0] - gap, columns[-1] + gap, rows[-1] + gap]
    image = Image.fromarray((page.strokes * 255).clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(image).rectangle(box, outline=255, width=max(1, round(page.height * page.rng.uniform(0.01, 0.05))))
    page.strokes = np.asarray(image) / 255


def border(page: Page) -> None:
    """A thin dark border at the edge of the picture."""
    width = max(1, round(page.height * page.rng.uniform(0.003, 0.03)))
    for edge in (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:]):
        page.paper[edge] = page.sample("stroke")


def sheet_on_table(page: Page) -> None:
    """A light sheet on a dark table."""
    page.table = page.height * page.rng.uniform(0.2, 0.8)


def phone_photo(page: Page) -> None:
    """Everything at once: lines, uneven light, and a shadow on a sheet on a table."""
    if page.rng.random() < 0.6:
        lined(page)
    corner_shadow(page)
    shadow = page.light
    uneven_light(page)
    page.light = page.light * (shadow + 1) / 2
    if page.rng.random() < 0.4:
        sheet_on_table(page)


KINDS: dict[str, Callable[[Page], None]] = {
    kind.__name__: kind
    for kind in (
        scan, pencil, colored_pen, chalk, lined, graph_paper, corner_shadow, uneven_light, frame, border,
        sheet_on_table, phone_photo,
    )
}  # fmt: skip


def one_digit(digit: np.ndarray, ranges: Ranges, rng: np.random.Generator) -> Page:
    """Write one digit on a page, with margins of different widths around it."""
    height = rng.uniform(*ranges.height)
    strokes = write(digit, height, rng.uniform(*ranges.pen) if rng.random() < 0.7 else None)
    widths = (height * rng.uniform(*ranges.margin, (2, 2))).round().astype(int) + round(0.15 * height)
    return Page(np.pad(strokes, widths), height, ranges, rng)


def draw(kind: str, digit: np.ndarray, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """Draw one picture of a digit, uint8 [28, 28], of a kind in `KINDS`: uint8 [H, W, 3]."""
    page = one_digit(digit, ranges, rng)
    KINDS[kind](page)
    return page.photograph()


def transparent(digit: np.ndarray, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """Strokes of any color on a transparent background: uint8 [H, W, 4]."""
    strokes = one_digit(digit, ranges, rng).strokes
    image = np.zeros((*strokes.shape, 4))
    image[..., :3], image[..., 3] = rng.uniform(0, 255) + rng.uniform(-20, 20, 3), 255 * strokes
    return image.clip(0, 255).astype(np.uint8)


# Each layout is rows of digits: d is a digit, a space is a gap, and - and . are not digits.
LAYOUTS = {
    "phone number": ["ddd-dddd"],
    "phone number with spaces": ["dddd ddd dddd"],
    "date": ["dd.dd.dddd"],
    "column": ["d", "d", "d", "d", "d"],
    "grid": ["ddddd"] * 4,
    "dense page": ["ddddddddd"] * 6,
    "sums": ["ddd", " dd", "dddd"],
    "ragged rows": ["dddd", "dd", "dddddd"],
    "two columns": ["dd   dd"] * 3,
    "diagonal": ["d", "  d", "    d"],
    "two digits": ["dd"],
    "boxes": ["dddd"],
}


def draw_layout(
    name: str, digits: list[np.ndarray], kind: str, ranges: Ranges, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw a page of several digits. Returns the picture, and how many of the digits it shows (the first ones)."""
    rows, shown = LAYOUTS[name], 0
    height, pen, gap = rng.uniform(50, 110), rng.uniform(*ranges.pen), rng.uniform(0.25, 0.6)
    pitch = height * rng.uniform(1.5, 2)
    canvas = Image.new("L", (round((max(map(len, rows)) + 1) * 1.7 * height), round((len(rows) + 1) * pitch)))
    for row, text in enumerate(rows):
        x = height * rng.uniform(0.8, 1)
        for character in text:
            y = pitch * (row + 0.6)
            if character == "d":
                strokes = write(digits[shown], height * rng.uniform(0.85, 1.1), pen)
                shown += 1
                y += rng.uniform(-0.1, 0.1) * height
            elif character == " ":
                x += 0.7 * height
                continue
            else:
                width = max(2, round(pen * height))
                strokes = np.ones((width, width if character == "." else round(0.35 * height)))
                y += (0.95 if character == "." else 0.5) * height
            if name == "boxes":
                box = [x, pitch * 0.4, x + 1.5 * height, pitch * 0.4 + 1.7 * height]
                ImageDraw.Draw(canvas).rectangle(box, outline=200, width=max(1, round(0.02 * height)))
                middle = x + 0.75 * height - strokes.shape[1] / 2
                canvas.paste(
                    255, (round(middle), round(y)), Image.fromarray((255 * strokes.clip(0, 1)).astype(np.uint8))
                )
                x += 1.5 * height
                continue
            canvas.paste(255, (round(x), round(y)), Image.fromarray((255 * strokes.clip(0, 1)).astype(np.uint8)))
            x += strokes.shape[1] + gap * height
    strokes = np.asarray(canvas.crop((0, 0, canvas.getbbox()[2] + round(height), canvas.height))) / 255
    page = Page(strokes, height, ranges, rng)
    KINDS[kind](page)
    return page.photograph(), shown
