"""Draw pictures of handwritten digits: pens, papers, light, and cameras, with random parameters for each picture.

A picture starts from the strokes of an MNIST digit: either its gray levels, enlarged, or its center line, which is
drawn again with a pen of any width. `TUNING` and `REPORTING` are two sets of ranges of the parameters. The preparation
of pictures in `mnist_s5.pictures` was tuned on training digits with `TUNING`. Results are reported on test digits
with `REPORTING`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont
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
    tight: Pair = (0, 0.06)  # margin of a tight crop
    smaller: Pair = (0.4, 0.7)  # height of small digits beside others
    faint: Pair = (0.35, 0.7)  # contrast of faint strokes beside others
    cut: Pair = (0.02, 0.12)  # fraction of a digit beyond the edge of the picture
    column_gap: Pair = (0.08, 0.3)  # between digits above each other
    bend: Pair = (0.03, 0.15)  # of paper that is not flat
    glare: Pair = (0.5, 0.9)  # strength
    bold: Pair = (0.2, 0.32)  # width of a very bold pen


TUNING = Ranges()
REPORTING = Ranges(
    height=(60, 360), margin=(0.25, 1.5), pen=(0.025, 0.18), stroke=(5, 100), paper=(195, 255), noise=(0, 7),
    tilt=(-8, 8), line=(100, 200), line_width=(0.005, 0.025), spacing=(0.2, 0.7), dim=(0.4, 0.85), table=(20, 130),
    quality=(50, 98), tight=(0, 0.08), smaller=(0.35, 0.75), faint=(0.3, 0.75), cut=(0.01, 0.15),
    column_gap=(0.06, 0.35), bend=(0.02, 0.2), glare=(0.4, 0.95), bold=(0.18, 0.35),
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


# Scenes: pictures that show more than one well-placed digit on a page, after reports of what real pictures look like.

Pick = Callable[..., tuple[np.ndarray, int]]  # returns an image and its label, optionally one of the given labels
Scene = Callable[[Pick, Ranges, np.random.Generator], tuple[np.ndarray, list[int]]]


def polyline(strokes: list[list[Pair]], height: float, pen: float, rng: np.random.Generator) -> np.ndarray:
    """Draw strokes, each a list of points (x, y) in heights, with slightly moved points: float [H, W] from 0 to 1."""
    scale, width = 4, max(4, round(4 * pen * height))  # drawn larger, for soft edges
    moved = [[(x + rng.normal(0, 0.015), y + rng.normal(0, 0.015)) for x, y in stroke] for stroke in strokes]
    left, top = (min(point[axis] for stroke in moved for point in stroke) for axis in (0, 1))
    moved = [[((x - left) * height * scale + width, (y - top) * height * scale + width) for x, y in s] for s in moved]
    size = [round(max(point[axis] for stroke in moved for point in stroke)) + width + scale for axis in (0, 1)]
    image = Image.new("L", (size[0], size[1]))
    for stroke in moved:
        ImageDraw.Draw(image).line(stroke, 255, width, joint="curve")
        for x, y in (stroke[0], stroke[-1]):
            ImageDraw.Draw(image).ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], 255)
    small = np.asarray(image.resize((size[0] // scale, size[1] // scale), Image.Resampling.BOX)) / 255
    rows, columns = (np.flatnonzero(small.max(axis) > 0.1) for axis in (1, 0))
    return small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def flagged_one(rng: np.random.Generator, height: float = 100, pen: float = 0.1) -> np.ndarray:
    """Return the strokes of a 1 with a flag, and sometimes a foot, as it is written in much of Europe."""
    lean, length, angle = rng.uniform(-0.06, 0.18), rng.uniform(0.18, 0.5), np.deg2rad(rng.uniform(25, 58))
    stroke = [(lean - length * np.sin(angle), length * np.cos(angle)), (lean, 0), (0, 1)]
    foot = [(-rng.uniform(0.12, 0.3), 1.0), (rng.uniform(0.12, 0.3), 1.0)]
    return polyline([stroke, *[foot] * int(rng.random() < 0.35)], height, pen, rng)


def barred_seven(rng: np.random.Generator, height: float = 100, pen: float = 0.1) -> np.ndarray:
    """Return the strokes of a 7 with a bar."""
    width, lean, at = rng.uniform(0.45, 0.75), rng.uniform(0.15, 0.45), rng.uniform(0.42, 0.6)
    x, half = width - lean * at, rng.uniform(0.14, 0.28)
    bar = [(x - half, at + rng.uniform(-0.03, 0.05)), (x + half, at + rng.uniform(-0.05, 0.03))]
    return polyline([[(0, rng.uniform(-0.02, 0.05)), (width, 0), (width - lean, 1)], bar], height, pen, rng)


def open_four(rng: np.random.Generator, height: float = 100, pen: float = 0.1) -> np.ndarray:
    """Return the strokes of a 4 in two parts side by side: an L, and a stem that does not touch it."""
    arm, top, x = rng.uniform(0.35, 0.5), rng.uniform(0.5, 0.65), rng.uniform(0.0, 0.15)
    gap = pen + rng.uniform(0.02, 0.06)
    stem = arm + gap
    left = [(x, rng.uniform(0, 0.1)), (0, top), (arm, top + rng.uniform(-0.03, 0.03))]
    return polyline([left, [(stem + rng.uniform(0, 0.05), rng.uniform(0, 0.25)), (stem, 1)]], height, pen, rng)


def paste(canvas: np.ndarray, strokes: np.ndarray, x: float, y: float) -> None:
    """Add strokes to a canvas, in place. What lies outside is cut off."""
    x, y = round(x), round(y)
    top, left = max(0, -y), max(0, -x)
    part = strokes[top : canvas.shape[0] - y, left : canvas.shape[1] - x]
    here = canvas[y + top : y + top + part.shape[0], x + left : x + left + part.shape[1]]
    np.maximum(here, part, out=here)


def row(
    digits: list[np.ndarray], gap: float, margin: float, rng: np.random.Generator, *, align: float = 1.0
) -> np.ndarray:
    """Put strokes beside each other, aligned at the bottom (1) or the top (0): float [H, W]."""
    height = max(len(each) for each in digits)
    width = sum(each.shape[1] for each in digits) + gap * (len(digits) - 1)
    canvas, x = np.zeros((round(height + 2 * margin), round(width + 2 * margin))), margin
    for each in digits:
        paste(canvas, each, x, margin + align * (height - len(each)) + rng.uniform(-0.04, 0.04) * height)
        x += each.shape[1] + gap
    return canvas


def pens(pick: Pick, count: int, ranges: Ranges, rng: np.random.Generator) -> tuple[list[np.ndarray], list[int], float]:
    """Write digits of one height with one pen. Returns their strokes and labels, and the height."""
    height, pen = rng.uniform(50, 130), rng.uniform(*ranges.pen) if rng.random() < 0.8 else None
    chosen = [pick() for _ in range(count)]
    return [write(d, height * rng.uniform(0.9, 1.1), pen) for d, _ in chosen], [n for _, n in chosen], height


def developed(strokes: np.ndarray, height: float, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """Photograph strokes on plain paper: uint8 [H, W, 3]."""
    return Page(strokes, height, ranges, rng).photograph()


def flat(strokes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a drawing without noise, as a paint program exports it, dark on light or light on dark: [H, W, 3]."""
    dark, light = rng.uniform(0, 70, 3) * (rng.random() < 0.5), 255 - rng.uniform(0, 50, 3) * (rng.random() < 0.5)
    stroke, paper = (dark, light) if rng.random() < 0.65 else (light, dark)
    return (paper + strokes[..., None] * (stroke - paper)).round().clip(0, 255).astype(np.uint8)


def tight_crop(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A scan or a thresholded crop, cut at the strokes."""
    digit, label = pick()
    height = rng.uniform(35, 300)
    strokes = write(digit, height, rng.uniform(*ranges.pen) if rng.random() < 0.5 else None)
    if label == 1 and rng.random() < 0.3:
        strokes = polyline([[(0, 0), (rng.uniform(-0.08, 0.08), 1)]], height, rng.uniform(*ranges.pen), rng)
    margins = (height * rng.uniform(*ranges.tight, (2, 2)) * (rng.random((2, 2)) < 0.8)).round().astype(int)
    strokes = np.pad(strokes, margins)
    if rng.random() < 0.5:
        strokes = (strokes > 0.5).astype(float)
    picture = flat(strokes, rng) if rng.random() < 0.5 else developed_tight(strokes, height, ranges, rng)
    return picture, [label]


def developed_tight(strokes: np.ndarray, height: float, ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    page = Page(strokes, height, ranges, rng)
    image = page.paper + strokes[..., None] * (page.color - page.paper)
    image = image + rng.normal(0, page.sample("noise") + 1e-9, image.shape)
    return jpeg(image, round(page.sample("quality")))


def drawing(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A digit that was drawn with a mouse, with any pen, anywhere on the canvas. It may run off an edge a little."""
    digit, label = pick()
    side = rng.uniform(100, 500)
    height = side * rng.uniform(0.4, 0.95)
    strokes = write(digit, height, rng.uniform(0.02, 0.2))
    canvas = np.zeros((round(side), round(side * rng.uniform(0.8, 1.3))))
    spare = [canvas.shape[axis] - strokes.shape[axis] for axis in (1, 0)]
    over = 0.06 * height * (rng.random() < 0.3)
    x, y = (rng.uniform(min(-over, each + over), max(each + over, -over)) for each in spare)
    paste(canvas, strokes, x, y)
    if rng.random() < 0.4:
        canvas = (canvas > 0.5).astype(float)
    return flat(canvas, rng), [label]


def small_picture(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """At most 64 pixels per side, cut from a photo or exported."""
    digit, label = pick()
    strokes = one_digit(digit, replace(ranges, margin=(0.0, 0.5)), rng).strokes
    picture = flat(strokes, rng)
    if rng.random() < 0.3:
        page = Page(strokes, len(strokes) / 2, replace(ranges, tilt=(0, 0)), rng)
        uneven_light(page)
        picture = page.photograph()
    return shrink(picture, rng.uniform(20, 64)), [label]


def shrink(picture: np.ndarray, side: float) -> np.ndarray:
    """Reduce a picture to this number of pixels on the longer side."""
    scale = side / max(picture.shape[:2])
    size = [max(1, round(n * scale)) for n in picture.shape[1::-1]]
    return np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.BOX))


def small_two_digits(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Two digits in at most 64 pixels: written, or two of MNIST's images beside each other."""
    if rng.random() < 0.4:
        pair = [pick() for _ in range(2)]
        strokes = np.concatenate([digit for digit, _ in pair], axis=1) / 255
        if rng.random() < 0.5:
            strokes = np.pad(strokes, [(18, 18), (4, 4)])
        return flat(strokes, rng), [label for _, label in pair]
    digits, labels, height = pens(pick, 2, replace(ranges, pen=(0.06, 0.16)), rng)
    strokes = row(digits, height * rng.uniform(0.12, 0.5), height * rng.uniform(0.1, 0.4), rng)
    return shrink(flat(strokes, rng), rng.uniform(40, 64)), labels


def styles(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A 1 with a flag, or a 7 with a bar."""
    height, pen, label = rng.uniform(*ranges.height), rng.uniform(0.04, 0.14), (1, 7)[int(rng.random() < 0.4)]
    strokes = (flagged_one if label == 1 else barred_seven)(rng, height, pen)
    strokes = np.pad(strokes, (height * rng.uniform(0.05, 0.6, (2, 2))).round().astype(int))
    return flat(strokes, rng) if rng.random() < 0.5 else developed(strokes, height, ranges, rng), [label]


def mixed_sizes(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A row in which some digits are much smaller than others."""
    count, height, pen = int(rng.integers(3, 7)), rng.uniform(60, 120), rng.uniform(0.03, 0.1)
    chosen = [pick() for _ in range(count)]
    sizes = [height * (rng.uniform(*ranges.smaller) if rng.random() < 0.35 else rng.uniform(0.85, 1)) for _ in chosen]
    digits = [write(d, size, pen * height / size) for (d, _), size in zip(chosen, sizes, strict=True)]
    strokes = row(digits, height * rng.uniform(0.2, 0.5), height * rng.uniform(0.2, 0.5), rng, align=rng.uniform(0, 1))
    return developed(strokes, height, ranges, rng) if rng.random() < 0.5 else flat(strokes, rng), [n for _, n in chosen]


def faint_part(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A row in which some digits are much fainter than others."""
    digits, labels, height = pens(pick, int(rng.integers(1, 6)), ranges, rng)
    digits = [each * (rng.uniform(*ranges.faint) if rng.random() < 0.5 else 1) for each in digits]
    strokes = row(digits, height * rng.uniform(0.2, 0.5), height * rng.uniform(0.2, 0.5), rng)
    return developed(strokes, height, replace(ranges, noise=(0, 3)), rng), labels


def cut_at_the_edge(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A row whose first or last digit crosses the edge of the picture a little."""
    digits, labels, height = pens(pick, int(rng.integers(2, 6)), ranges, rng)
    margin = height * rng.uniform(0.15, 0.4)
    strokes = row(digits, height * rng.uniform(0.2, 0.5), margin, rng)
    side = int(rng.integers(3))
    cut = round(margin + rng.uniform(*ranges.cut) * digits[(0, -1)[side == 1]].shape[1])
    if side == 0:
        strokes = strokes[:, cut:]
    elif side == 1:
        strokes = strokes[:, :-cut]
    else:
        strokes = strokes[: -round(margin + rng.uniform(*ranges.cut) * 0.5 * height)]
    return developed_tight(strokes, height, ranges, rng) if rng.random() < 0.5 else flat(strokes, rng), labels


def sheet_of_cells(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """MNIST's images in a grid, as programs save them: cells of 28 pixels."""
    rows, columns, pad = int(rng.integers(1, 7)), int(rng.integers(3, 9)), int(rng.integers(0, 4))
    chosen = [[pick() for _ in range(columns)] for _ in range(rows)]
    grid = np.concatenate([np.concatenate([np.pad(d, pad) for d, _ in line], axis=1) for line in chosen], axis=0)
    return flat(grid / 255, rng), [label for line in chosen for _, label in line]


def two_parts(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """An open 4, which consists of two parts side by side, alone or in a row."""
    height, pen = rng.uniform(60, 200), rng.uniform(0.04, 0.1)
    digits, labels = [open_four(rng, height, pen)], [4]
    for _ in range(int(rng.integers(0, 3))):
        digit, label = pick()
        digits.append(write(digit, height, pen))
        labels.append(label)
    strokes = row(digits, height * rng.uniform(0.25, 0.5), height * rng.uniform(0.05, 0.4), rng)
    return developed(strokes, height, ranges, rng) if rng.random() < 0.5 else flat(strokes, rng), labels


def close_column(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Digits closely above each other, with different heights."""
    count, height, pen = int(rng.integers(2, 7)), rng.uniform(50, 100), rng.uniform(0.03, 0.1)
    chosen = [pick() for _ in range(count)]
    digits = [write(d, height * rng.uniform(0.6, 1.2), pen) for d, _ in chosen]
    margin, gap, y = height * rng.uniform(0.2, 0.6), height * rng.uniform(*ranges.column_gap), 0.0
    width = max(d.shape[1] for d in digits)
    canvas = np.zeros((round(sum(len(d) + gap for d in digits) + 2 * margin), round(width + 2 * margin)))
    for d in digits:
        paste(canvas, d, margin + rng.uniform(0, 1) * (width - d.shape[1]), margin + y)
        y += len(d) + gap
    return developed_tight(canvas, height, ranges, rng) if rng.random() < 0.5 else flat(canvas, rng), [
        label for _, label in chosen
    ]


def on_one_line(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Digits that stand on one ruled line."""
    digits, labels, height = pens(pick, int(rng.integers(1, 5)), replace(ranges, pen=(0.05, 0.14)), rng)
    strokes = row(digits, height * rng.uniform(0.2, 0.5), height * rng.uniform(0.2, 0.7), rng)
    page = Page(strokes, height, ranges, rng)
    bottom = np.flatnonzero(strokes.max(axis=1) > 0.3)[-1]
    width = max(1, round(height * page.sample("line_width")))
    at = round(bottom - height * rng.uniform(-0.03, 0.06))
    page.paper[at : at + width] = np.minimum(page.sample("line"), page.paper.max())
    return page.photograph(), labels


def cropped_table(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Cells of a printed table whose lines end at the edge of the picture."""
    rows, columns, height = int(rng.integers(1, 4)), int(rng.integers(1, 5)), rng.uniform(40, 90)
    pitch_x, pitch_y, pen = height * rng.uniform(1.3, 2), height * rng.uniform(1.3, 1.8), rng.uniform(0.05, 0.12)
    x0, y0 = height * rng.uniform(0.1, 0.4, 2)
    canvas = np.zeros((round(rows * pitch_y + 2 * y0), round(columns * pitch_x + 2 * x0)))
    labels = []
    for r in range(rows):
        for c in range(columns):
            digit, label = pick()
            strokes = write(digit, height * rng.uniform(0.85, 1), pen)
            x = x0 + c * pitch_x + (pitch_x - strokes.shape[1]) * rng.uniform(0.25, 0.75)
            paste(canvas, strokes, x, y0 + r * pitch_y + (pitch_y - len(strokes)) * rng.uniform(0.25, 0.75))
            labels.append(label)
    page = Page(canvas, height, ranges, rng)
    width, color = max(1, round(height * page.sample("line_width"))), rng.uniform(20, 150)
    for r in range(rows + 1):
        page.paper[round(y0 + r * pitch_y) :][:width] = color
    for c in range(columns + 1):
        page.paper[:, round(x0 + c * pitch_x) :][:, :width] = color
    return page.photograph(), labels


def bent_paper(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Ruled or graph paper that is not flat."""
    digits, labels, height = pens(pick, int(rng.integers(1, 4)), replace(ranges, pen=(0.05, 0.14)), rng)
    page = Page(row(digits, height * rng.uniform(0.3, 0.6), height * rng.uniform(0.4, 1), rng), height, ranges, rng)
    _print_lines(page, (0,) if rng.random() < 0.6 else (0, 1))
    image = page.paper + page.strokes[..., None] * (page.color - page.paper)
    y, x = np.indices(page.strokes.shape)
    bend, period = height * rng.uniform(*ranges.bend), image.shape[1] * rng.uniform(0.8, 2)
    shift = bend * np.sin(2 * np.pi * (x / period + rng.random()))
    image = np.stack(
        [ndimage.map_coordinates(image[..., c], [y + shift, x], order=1, mode="nearest") for c in range(3)], 2
    )
    page.paper, page.strokes = image, np.zeros(image.shape[:2])
    if rng.random() < 0.5:
        uneven_light(page)
    return page.photograph(), labels


def glare(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Dim yellow light, and a bluish white glare on one side."""
    digits, labels, height = pens(pick, int(rng.integers(1, 7)), replace(ranges, pen=(0.04, 0.14)), rng)
    strokes = row(digits, height * rng.uniform(0.2, 0.5), height * rng.uniform(0.3, 0.8), rng)
    page = Page(strokes, height, ranges, rng)
    tint = np.array([1, rng.uniform(0.8, 0.95), rng.uniform(0.35, 0.7)]) * rng.uniform(0.4, 0.75)
    image = (page.paper + strokes[..., None] * (page.color - page.paper)) * tint
    angle = rng.uniform(0, 2 * np.pi)
    across = page.x * np.cos(angle) + page.y * np.sin(angle)
    across = (across - across.min()) / np.ptp(across)
    fog = 1 / (1 + np.exp(-(across - rng.uniform(0.6, 0.9)) / rng.uniform(0.04, 0.15)))
    image = image + fog[..., None] * (np.array([225, 235, 255]) - image) * rng.uniform(*ranges.glare)
    page.paper, page.strokes = image, np.zeros(strokes.shape)
    return page.photograph(), labels


def bright_desk(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A sheet on a desk that is nearly as bright, or brighter."""
    digits, labels, height = pens(pick, int(rng.integers(1, 5)), ranges, rng)
    strokes = row(digits, height * rng.uniform(0.2, 0.5), height * rng.uniform(0.4, 0.9), rng)
    page = Page(strokes, height, replace(ranges, paper=(170, 225)), rng)
    image = page.paper + strokes[..., None] * (page.color - page.paper)
    desk = np.clip(page.paper.mean() * rng.uniform(0.85, 1.25) + rng.normal(0, 12, 3), 120, 252)
    widths = (height * rng.uniform(0.05, 0.8, (2, 2)) * (rng.random((2, 2)) < 0.7)).round().astype(int)
    image = np.stack([np.pad(image[..., c], widths, constant_values=desk[c]) for c in range(3)], 2)
    page.paper, page.strokes = image, np.zeros(image.shape[:2])
    page.light = np.ones(page.strokes.shape)
    page.x, page.y = (axis / max(axis.shape) for axis in np.meshgrid(*map(np.arange, page.strokes.shape[::-1])))
    if rng.random() < 0.5:
        uneven_light(page)
    return page.photograph(), labels


def wide_stroke(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A very bold pen in a tight picture."""
    digit, label = pick(labels=(0, 1, 2, 3, 7, 1, 7))
    height = rng.uniform(60, 300)
    strokes = write(digit, height, rng.uniform(*ranges.bold))
    if label == 1:
        strokes = polyline([[(0, 0), (rng.uniform(-0.05, 0.15), 1)]], height, rng.uniform(*ranges.bold), rng)
    return flat(np.pad(strokes, (height * rng.uniform(0.02, 0.15, (2, 2))).round().astype(int)), rng), [label]


def colors(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Any color on any other that differs enough."""
    digits, labels, height = pens(pick, int(rng.integers(1, 4)), ranges, rng)
    strokes = row(digits, height * rng.uniform(0.2, 0.5), height * rng.uniform(0.1, 0.7), rng)
    while True:
        stroke, paper = rng.uniform(0, 255, (2, 3))
        if abs(stroke - paper).max() > 110:
            break
    image = paper + strokes[..., None] * (stroke - paper) + rng.normal(0, rng.uniform(0, 4) + 1e-9, (*strokes.shape, 3))
    return jpeg(image, int(rng.uniform(*ranges.quality))), labels


def touching(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Two digits that touch each other."""
    digits, labels, height = pens(pick, 2, ranges, rng)
    strokes = row(digits, -height * rng.uniform(0.0, 0.06), height * rng.uniform(0.2, 0.5), rng)
    return developed(strokes, height, ranges, rng), labels


SCENES: dict[str, Scene] = {
    scene.__name__: scene
    for scene in (
        tight_crop, drawing, small_picture, small_two_digits, styles, mixed_sizes, faint_part, cut_at_the_edge,
        sheet_of_cells, two_parts, close_column, on_one_line, cropped_table, bent_paper, glare, bright_desk,
        wide_stroke, colors, touching,
    )
}  # fmt: skip


# Drawings that are not digits, or that nobody can read. The right answer is "not sure".


def letter(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A printed letter that does not look like a digit."""
    canvas = Image.new("L", (160, 160))
    text = str(rng.choice(list("ACDEFGHJKLMNPQRTUVWXYabdefhkmnprtuvwxy")))
    ImageDraw.Draw(canvas).text((30, 20), text, 255, ImageFont.load_default(100))
    return flat(np.asarray(canvas) / 255, rng), []


def scribble(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A random polyline."""
    points = [(float(x), float(y)) for x, y in rng.uniform(0, 1, (6, 2))]
    return flat(np.pad(polyline([points], 120, rng.uniform(0.04, 0.12), rng), 30), rng), []


def half_a_digit(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """The left half of a digit that was not finished."""
    strokes = write(pick()[0], 150, rng.uniform(0.05, 0.15))
    return flat(np.pad(strokes[:, : round(strokes.shape[1] * rng.uniform(0.4, 0.65))], 40), rng), []


def on_its_side(pick: Pick, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A digit on a page on its side. Some, such as 0 and 8, still look like a digit."""
    digits, _, height = pens(pick, 1, ranges, rng)
    return np.rot90(developed(np.pad(digits[0], round(0.5 * height)), height, ranges, rng)).copy(), []


NOT_DIGITS: dict[str, Scene] = {scene.__name__: scene for scene in (letter, scribble, half_a_digit, on_its_side)}
