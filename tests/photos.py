"""Made-up photographs of a digit, and of two."""

import numpy as np
from PIL import Image, ImageDraw


def on_sheet(digit: Image.Image, shade: int = 40) -> np.ndarray:
    """A digit of 200 pixels on a light sheet of 400 × 400 pixels, float."""
    strokes = np.zeros((400, 400))
    strokes[100:300, 100:300] = np.asarray(digit.resize((200, 200), Image.Resampling.BICUBIC)) / 255
    return 235 + (shade - 235) * strokes


def scan(digit: Image.Image) -> np.ndarray:
    return on_sheet(digit) + np.random.default_rng(1).normal(0, 3, (400, 400))


def chalk(digit: Image.Image) -> np.ndarray:
    return 290 - on_sheet(digit) + np.random.default_rng(2).normal(0, 6, (400, 400))


def blue_pen(digit: Image.Image) -> np.ndarray:
    strokes = (235 - on_sheet(digit, 0))[:, :, None] / 235
    return 235 + strokes * (np.array([30, 60, 200]) - 235)


def lined(digit: Image.Image) -> np.ndarray:
    sheet = on_sheet(digit)
    sheet[25::50] = sheet[26::50] = 150
    return sheet


def squared(digit: Image.Image) -> np.ndarray:
    sheet = lined(digit)
    sheet[:, 25::50] = sheet[:, 26::50] = 150
    return sheet


def one_line(digit: Image.Image) -> np.ndarray:
    sheet = on_sheet(digit)
    sheet[200:202] = 150
    return sheet


def shadow(digit: Image.Image) -> np.ndarray:
    y, x = np.mgrid[:400, :400]
    return on_sheet(digit) * np.where(x + y < 260, 0.5, 1)


def frame(digit: Image.Image) -> np.ndarray:
    sheet = Image.fromarray(on_sheet(digit).astype(np.uint8))
    ImageDraw.Draw(sheet).rectangle([40, 40, 360, 360], outline=60, width=4)
    return np.asarray(sheet)


def half_light(digit: Image.Image) -> np.ndarray:
    return on_sheet(digit) * np.linspace(1, 0.5, 400)


def thin_border(digit: Image.Image) -> np.ndarray:
    return np.pad(on_sheet(digit)[1:-1, 1:-1], 1)


def sheet_on_a_table(digit: Image.Image) -> np.ndarray:
    return np.pad(on_sheet(digit), ((50, 50), (80, 120)), constant_values=60)


def a4_on_a_table(digit: Image.Image) -> np.ndarray:
    sheet = np.pad(on_sheet(digit), ((80, 86), (0, 0)), constant_values=235)
    return np.pad(sheet, 50, constant_values=60)


def two_digits(digit: Image.Image) -> np.ndarray:
    return np.concatenate([on_sheet(digit), on_sheet(digit)], axis=1)


def two_rows(digit: Image.Image) -> np.ndarray:
    return np.concatenate([on_sheet(digit), on_sheet(digit)])


PHOTOS = [
    scan, chalk, blue_pen, lined, squared, one_line, shadow, frame, half_light, thin_border, sheet_on_a_table,
    a4_on_a_table,
]  # fmt: skip
