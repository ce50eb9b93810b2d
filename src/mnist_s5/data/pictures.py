"""Find the handwritten digits in a picture, and convert each to MNIST's format.

As on the MNIST page of LeCun, Cortes, and Burges, the strokes of a digit are scaled to fit 20×20 pixels, and their
center of mass goes to the middle of 28×28.
"""

import io
import os
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from ..files import atomic_write, runs_folder
from .digits import DigitDataset, normalize

MAX_PIXELS = 100_000_000
SIDES = 200, 800  # pictures are enlarged or reduced to this number of pixels on the shorter side
SMALL = 64  # a picture with at most this number of pixels per side shows one digit on an even background
WIDEST_STROKE = 0.35  # relative to the shorter side of the picture
MIN_CONTRAST = 0.12  # of the strokes in a picture that is not blank; 1 is black on white
WIDEST = 8  # no digit has strokes that are wider, in pixels of MNIST
MOST = 300  # shapes in a picture
SURE = 0.9  # probability from which a digit counts as recognized
STROKE_WIDTHS = 1.7, 3.6  # 90% of MNIST's training digits are between these, in pixels
Picture = str | Path | bytes | Image.Image | np.ndarray | Tensor


class ImageError(ValueError):
    """The picture cannot be read, or does not show what is expected. The message says why."""


@dataclass
class FoundDigit:
    """A digit in a picture.

    Attributes:
        image: The digit in MNIST's format, uint8 [28, 28], 0 for background.
        box: Left, top, right, and bottom edge, in pixels of the upright picture.
        probabilities: Of each class, float [10], after `classify`.
    """

    image: Tensor
    box: tuple[int, int, int, int]
    probabilities: Tensor = field(default_factory=lambda: torch.full((10,), 0.1))

    @property
    def label(self) -> int:
        """The most likely class."""
        return int(self.probabilities.argmax())

    @property
    def sure(self) -> bool:
        """Whether the most likely class is likely enough."""
        return float(self.probabilities.max()) >= SURE

    def __str__(self) -> str:
        (p, second), (label, other) = (values.tolist() for values in self.probabilities.topk(2))
        return f"{label} ({p:.1%})" if self.sure else f"not sure: {label} ({p:.1%}) or {other} ({second:.1%})"

    def as_dict(self) -> dict[str, Any]:
        """Return everything except the image, for JSON."""
        probabilities = [round(p, 4) for p in self.probabilities.tolist()]
        return {"label": self.label, "sure": self.sure, "box": self.box, "probabilities": probabilities}

    def save(self, label: int, folder: str | Path = "") -> Path:
        """Add the digit to a folder of your own digits. See `save_digit`."""
        return save_digit(self.image, label, folder)


def _squeeze(picture: np.ndarray | Tensor) -> np.ndarray:
    """Return an array that Pillow takes.

    Raises:
        ImageError: If this is not an image.
    """
    array = np.squeeze(np.asarray(picture))
    if array.size and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8)):
        return array.astype(np.float32) if array.dtype.kind == "f" else array
    shape = list(np.shape(picture))
    raise ImageError(f"Expected an image [H, W], or uint8 [H, W, 3], got {array.dtype} {shape}. Convert it first.")


def _open(picture: Picture, name: str) -> tuple[np.ndarray, float]:
    """Return an upright RGB image, float [H, W, 3] from 0 to 255, and how many pixels of the picture each one is wide.

    Transparency becomes black behind bright strokes, and white behind dark ones.
    """
    if isinstance(picture, str | Path) and not os.path.isfile(picture):
        raise ImageError(f"{name} does not exist or is not a file.")
    too_large = ImageError(f"{name} has more than {MAX_PIXELS:,} pixels. Save it smaller.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns only above its own, higher limit
            if isinstance(picture, np.ndarray | Tensor):
                file = Image.fromarray(_squeeze(picture))
            elif isinstance(picture, Image.Image):
                file = picture
            else:
                file = Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture)
            width = max(file.size)
            if not min(file.size) or width > 20 * min(file.size):
                raise ImageError(f"{name} has {file.width}×{file.height} pixels. Use a picture that is less narrow.")
            if file.width * file.height > MAX_PIXELS:
                raise too_large
            file.draft("RGB", (2 * SIDES[1], 2 * SIDES[1]))  # decode a large JPEG at a lower resolution
            image = ImageOps.exif_transpose(file)
            if image.mode[0] in "IF":  # 16 bits or floats per pixel, which Pillow would clip at 255
                values = np.asarray(image, np.float64)
                if not np.isfinite(values).all():
                    raise ImageError(f"{name} contains NaN or infinity. Use finite brightnesses.")
                values = (values - values.min()) * (255 / (np.ptp(values) or 1.0))
                image = Image.fromarray(values.astype(np.uint8))
            image = image.convert("RGBA")
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise too_large from None
    except Exception as error:  # Pillow raises nearly anything for a corrupted image
        raise ImageError(f"{name} is not an image that can be read. Save it as PNG or JPEG.") from error
    scale = max(SIDES[0] // min(image.size), 1) / max(min(image.size) / SIDES[1], 1)
    scale = min(scale, (3 * SIDES[1] ** 2 / (image.width * image.height)) ** 0.5)  # a long picture becomes smaller
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    image = image.resize([max(1, round(side * scale)) for side in image.size], method)
    gray, alpha = np.asarray(image.convert("L")), np.asarray(image.getchannel("A"))
    bright = alpha.any() and np.average(gray, weights=alpha) > 127
    backdrop = Image.new("RGBA", image.size, "black" if bright and (alpha < 128).any() else "white")
    return np.asarray(Image.alpha_composite(backdrop, image).convert("RGB"), np.float32), width / max(image.size)


def _page(rgb: np.ndarray) -> np.ndarray:
    """Return which pixels show the page: bool [H, W]. These are all, unless a dark table surrounds a bright sheet."""
    from scipy import ndimage

    step = max(1, min(rgb.shape[:2]) // 100)
    gray = ndimage.uniform_filter(rgb.mean(axis=2), step)[::step, ::step]
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    for threshold in np.linspace(gray.min(), gray.max(), 16)[1:-1]:
        if np.mean(border > threshold) > 0.35 or np.mean(gray > threshold) < 0.15:
            continue
        # The closing removes printed lines, which would cut the sheet into pieces.
        bright = ndimage.binary_closing(np.pad(gray > threshold, 2, mode="edge"), iterations=2)[2:-2, 2:-2]
        regions, _ = ndimage.label(bright)
        sheet = ndimage.binary_fill_holes(regions == np.bincount(regions[bright]).argmax())
        smaller, larger = ndimage.binary_erosion(sheet, iterations=2), ndimage.binary_dilation(sheet, iterations=2)
        # Light that falls off has no edge. The strokes of a 0 or an 8 surround more than the strokes on a sheet cover.
        has_edge = np.median(gray[sheet & ~smaller]) > 1.25 * np.median(gray[larger & ~sheet])
        if has_edge and sheet.mean() > 0.2 and np.mean(bright[sheet]) > 0.9 and _is_rectangle(sheet):
            large = smaller.repeat(step, axis=0).repeat(step, axis=1)  # not smaller than the picture
            return large[: rgb.shape[0], : rgb.shape[1]]
    return np.ones(rgb.shape[:2], bool)


def _is_rectangle(mask: np.ndarray) -> bool:
    """Return whether a mask fills at least 82% of the smallest rectangle around it, at any angle."""
    y, x = np.nonzero(mask)
    turns = np.deg2rad(np.arange(0, 90, 3))[:, None]
    width, height = (np.ptp(np.cos(turns) * u + np.sin(turns) * v, axis=1) + 1 for u, v in ((x, y), (y, -x)))
    return len(x) > 0.82 * (width * height).min()


def _contrast(rgb: np.ndarray) -> np.ndarray:
    """Return how much each pixel differs from the background around it, float [H, W] from 0 to 1.

    A morphological closing removes dark strokes. It keeps the edges of shadows and of the sheet where they are, because
    these areas are wider than a stroke. The strokes are the difference.
    """
    from scipy import ndimage

    size = round(WIDEST_STROKE * min(rgb.shape[:2])) | 1
    sigma = min(rgb.shape[:2]) / 600
    rgb = ndimage.gaussian_filter(rgb, (sigma, sigma, 0))
    step = max(1, size // 16)
    small, window = rgb[::step, ::step], (2 * (size // step) | 1,) * 2 + (1,)
    high, low = ndimage.maximum_filter(small, window), ndimage.minimum_filter(small, window)
    near_strokes = high - low > 0.5 * (high - low).max(axis=(0, 1))
    is_light = np.mean(2 * small > high + low, axis=(0, 1), where=near_strokes | ~near_strokes.any(axis=(0, 1))) > 0.5
    rgb = np.where(is_light, rgb, 255 - rgb)  # strokes may be darker in one color and lighter in another
    rgb = np.pad(rgb, ((size, size), (size, size), (0, 0)), mode="edge")
    background = ndimage.grey_closing(rgb, (size, size, 1))
    # Much faster than max(axis=2).
    difference, brightness = (np.maximum.reduce([*np.moveaxis(each, 2, 0)]) for each in (background - rgb, background))
    return (difference / (brightness + 1))[size:-size, size:-size]


def _lines(strokes: np.ndarray, page: np.ndarray) -> list[tuple[float, float]]:
    """Return the straight lines that cross the whole page, as angle and distance: x cos + y sin = distance."""
    from scipy import ndimage
    from skimage.transform import hough_line, hough_line_peaks

    step = max(1, min(strokes.shape) // 200)
    small, page = ndimage.maximum_filter(strokes, step + 2)[::step, ::step], page[::step, ::step]
    angles = np.deg2rad(np.arange(-90, 90))
    votes, _, distances = hough_line(small, angles)
    length, _, _ = hough_line(page, angles)
    coverage = np.where(length > 0.5 * min(page.shape), votes / np.maximum(length, 1), 0)
    peaks = hough_line_peaks(coverage, angles, distances, 3, 2, threshold=0.7, num_peaks=100)
    (rows, columns), near = np.nonzero(page), ndimage.maximum_filter(small, 3)
    found = []
    for _, angle, distance in zip(*peaks, strict=True):
        on = abs(columns * np.cos(angle) + rows * np.sin(angle) - distance) < 0.71
        along, marked = (rows * np.cos(angle) - columns * np.sin(angle))[on], near[rows[on], columns[on]]
        first, last = np.quantile(along, (0.06, 0.94))
        if min(marked[along < first].mean(), marked[along > last].mean()) > 0.5:  # a stroke does not reach the edges
            found.append((float(angle), float(distance) * step))
    return found


def _run_lengths(mask: np.ndarray) -> np.ndarray:
    """Return, for each pixel of a mask, the length of the vertical run of pixels that it is in: int [H, W]."""
    columns = np.pad(mask, ((1, 1), (0, 0))).T
    edges = np.flatnonzero(np.diff(columns.ravel()))
    lengths = np.zeros(columns.shape, int)
    lengths[columns] = np.repeat(edges[1::2] - edges[::2], edges[1::2] - edges[::2])
    return lengths.T[1:-1]


def _without_lines(contrast: np.ndarray, page: np.ndarray, threshold: float) -> np.ndarray:
    """Remove printed lines, but not the strokes that cross them."""
    strokes = contrast > threshold
    keep = np.ones(strokes.shape, bool)
    # Views in which the lines are nearly horizontal.
    views = {True: (strokes, contrast, keep), False: (strokes.T, contrast.T, keep.T)}
    runs = {horizontal: _run_lengths(view[0]) for horizontal, view in views.items()}
    for angle, distance in _lines(strokes, page):
        horizontal = bool(abs(np.sin(angle)) > 0.7)
        along, across = sorted((np.cos(angle), np.sin(angle)), key=abs)
        marked, values, kept = views[horizontal]
        y, x = np.nonzero(marked)
        near = abs(y - (distance - x * along) / across) < 2 + min(strokes.shape) / 150
        if not near.any():
            continue
        curve = np.polyval(np.polyfit(x[near], y[near], 2), np.arange(marked.shape[1]))  # paper is not always flat
        off = abs(np.arange(marked.shape[0])[:, None] - curve)
        line = (off < 1.5) & marked
        if line.any():
            width, level = (np.quantile(each[line], 0.3) for each in (runs[horizontal], values))
            darker = values > max(1.3 * level, (level + contrast.max()) / 2)
            kept &= (off > width + 2) | (runs[horizontal] > 2 * width + 2) | darker
    return np.where(keep, contrast, 0)


def _groups(linked: np.ndarray) -> list[np.ndarray]:
    """Return the indices of each connected component of a graph, bool [N, N]."""
    from scipy.sparse.csgraph import connected_components

    number, component = connected_components(linked)
    return [np.flatnonzero(component == which) for which in range(number)]


def _overlaps(boxes: np.ndarray) -> list[np.ndarray]:
    """Return by how much each pair of boxes, [N, 4], overlaps vertically and horizontally. Gaps are negative."""
    return [
        np.minimum.outer(stop, stop) - np.maximum.outer(start, start)
        for start, stop in (boxes[:, [0, 2]].T, boxes[:, [1, 3]].T)
    ]


def _shapes(labels: np.ndarray, page: np.ndarray, name: str) -> list[Any]:
    """Return the labeled regions without specks, boxes around something, and what touches the edge of the page.

    If nothing large remains, what touches the edge is returned, too.
    """
    from scipy import ndimage
    from skimage.measure import regionprops

    regions = sorted(regionprops(labels), key=lambda region: region.area)
    regions = [region for region in regions if region.area > 0.01 * regions[-1].area]
    if len(regions) > MOST:
        raise ImageError(f"{name} shows more than {MOST} shapes. Crop it into several pictures.")

    def surrounds(outer: Any, inner: Any) -> bool:
        top, left, bottom, right = np.subtract(inner.bbox, outer.bbox[:2] * 2)
        height, width = outer.image.shape
        inside = top > 0 and left > 0 and bottom < height and right < width
        return inside and bottom - top > 0.15 * height and bool(outer.image_filled[top:bottom, left:right].all())

    regions = [outer for outer in regions if not any(surrounds(outer, inner) for inner in regions)]
    cut_off = np.unique(labels[ndimage.binary_dilation(~np.pad(page, 1), iterations=2)[1:-1, 1:-1]])
    kept = [region for region in regions if region.label not in cut_off]
    # A digit that fills the picture touches its edges, too.
    return kept if kept and 3 * kept[-1].area > regions[-1].area else regions


def _digits(labels: np.ndarray, page: np.ndarray, name: str) -> list[list[int]]:
    """Return the labels of the regions of each digit, in reading order."""
    shapes = _shapes(labels, page, name)
    boxes = np.array([shape.bbox for shape in shapes]).reshape(-1, 4)
    (height, width), area = (boxes[:, 2:] - boxes[:, :2]).T, np.array([shape.area for shape in shapes])
    tall = height > 0.3 * width
    if not tall.any():
        return []
    tallest, largest = height[tall].max(), area[tall].max()
    y, x = _overlaps(boxes)
    whole = tall & (height > 0.45 * tallest) & (area > 0.1 * largest)
    # A digit may have parts on top of each other, and small parts at its side.
    stacked = (x > 0.4 * np.minimum.outer(width, width)) & (y > -0.2 * tallest)
    linked = stacked & (np.add.outer(height, height) - y < 1.5 * tallest) & np.logical_and.outer(whole, whole)
    gap = np.where(area > area[:, None], np.maximum(-x, -y), np.inf)
    part = ~whole & (area > 0.02 * largest) & (gap.min(axis=1) < 0.15 * tallest)
    linked[part, gap.argmin(axis=1)[part]] = True
    groups = [group for group in _groups(linked) if area[group].sum() > 0.1 * largest]
    boxes = np.array([[*boxes[group, :2].min(axis=0), *boxes[group, 2:].max(axis=0)] for group in groups])
    height = boxes[:, 2] - boxes[:, 0]
    y, x = _overlaps(boxes)
    lower = np.minimum.outer(height, height)
    same_row = (y > 0.4 * lower) & ((x > -5 * tallest) | (y > 0.7 * lower))
    rows = sorted(_groups(same_row), key=lambda row: float(boxes[row][:, [0, 2]].mean()))
    return [
        [shapes[index].label for index in groups[digit]]
        for row in rows
        for digit in row[np.argsort(boxes[row, 1])]
        if height[digit] > 0.45 * tallest
    ]


def to_mnist(strokes: np.ndarray) -> Tensor:
    """Convert the strokes of one digit to MNIST's format.

    Strokes that are thinner or bolder than nearly all in MNIST are changed to the limits in `STROKE_WIDTHS`.

    Args:
        strokes: Float [H, W], from 0 (background) to 1. Margins do not matter.

    Returns:
        uint8 [28, 28]. The strokes fit 20×20, and pixel (14, 14), counted from 0, is their center of mass.

    Raises:
        ImageError: If there are no strokes, or only a solid area.
    """
    from scipy import ndimage

    strokes = np.where(strokes < 0.12, 0, strokes.clip(0, 1))
    mask = strokes > 0.5
    if not mask.any():
        raise ImageError("There is nothing to see. Draw a digit.")
    side = max(int(np.ptp(np.flatnonzero(mask.any(axis)))) + 1 for axis in (0, 1))
    pixel = 20 / side  # the size of a pixel of the strokes, in pixels of MNIST
    # In a long stroke, the mean distance from the edge is a quarter of the width.
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    width = 4 * (inside[mask].mean() - 0.5) * pixel
    if width > WIDEST:
        raise ImageError("This is a solid area. Draw a digit with thinner strokes.")
    if change := float(np.clip(width, *STROKE_WIDTHS) - width) / pixel / 2:
        margin = max(0, round(change)) + 2
        mask = np.pad(mask, margin)
        distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        strokes = (distance + change + 0.5 - 0.5 * np.sign(distance)).clip(0, 1)
    rows, columns = (np.flatnonzero(strokes.any(axis)) for axis in (1, 0))
    box = Image.fromarray(strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32))
    size = [max(1, round(side * 20 / max(box.size))) for side in box.size]
    small = np.asarray(box.resize(size, Image.Resampling.BOX), np.float64)
    small = small * (255 / small.max())
    y, x = (int(14.5 - np.average(np.indices(small.shape)[axis], weights=small)) for axis in (0, 1))
    x, y = min(max(x, 0), 28 - size[0]), min(max(y, 0), 28 - size[1])
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[y : y + size[1], x : x + size[0]] = torch.from_numpy(small.round().astype(np.uint8))
    return image


def _one_shape(rgb: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the contrast with an even background, float [H, W], and a mask of all strokes."""
    gray = rgb.mean(axis=2)
    contrast = abs(gray - np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]]))) / 255
    return contrast, [contrast > 0.3 * contrast.max()] if contrast.max() > MIN_CONTRAST else []


def _all_shapes(rgb: np.ndarray, name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the contrast with the background, without lines, float [H, W], and a mask for each digit."""
    from scipy import ndimage

    page = _page(rgb)
    if not page.all():  # continue the light and the shadows of the page around it
        rgb = rgb[tuple(ndimage.distance_transform_edt(~page, return_distances=False, return_indices=True))]
    contrast = np.where(page, _contrast(rgb), 0)
    peak = float(np.quantile(contrast, 1 - 60 / contrast.size))  # a digit has more pixels
    if peak < MIN_CONTRAST:
        return contrast.clip(max=peak), []
    contrast = _without_lines(contrast, page, 0.3 * peak)
    labels, _ = ndimage.label(contrast > 0.3 * peak, np.ones((3, 3)))
    return contrast, [np.isin(labels, numbers) for numbers in _digits(labels, page, name)]


def find_digits(picture: Picture) -> list[FoundDigit]:
    """Find the digits in a picture, row by row.

    Args:
        picture: A file, its bytes, a Pillow image, or an array (uint8 [H, W], [H, W, 3], or [H, W, 4]). The strokes may
            be dark or light, the light uneven, and the paper lined. Digits must not touch each other.

    Raises:
        ImageError: If the picture cannot be read, is too large, is blank, or shows no digit.
    """
    from scipy import ndimage

    name = str(picture) if isinstance(picture, str | Path) else "The picture"
    rgb, scale = _open(picture, name)
    small = max(rgb.shape) * scale <= SMALL
    contrast, shapes = _one_shape(rgb) if small else _all_shapes(rgb, name)
    found = []
    for mask in shapes:
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        around = max(2, len(rows) // 20)
        part = np.s_[
            max(0, rows[0] - around) : rows[-1] + around + 1, max(0, columns[0] - around) : columns[-1] + around + 1
        ]
        edges = ndimage.binary_dilation(mask[part], iterations=max(1, around // 2))
        strokes = np.where(edges, contrast[part], 0) / np.quantile(contrast[part][mask[part]], 0.8)
        left, top, right, bottom = (
            round(float(side) * scale) for side in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        )
        with suppress(ImageError):  # a solid area
            found.append(FoundDigit(to_mnist(strokes), (left, top, right, bottom)))
    if not found and contrast.max() < MIN_CONTRAST:
        raise ImageError(f"{name} shows no digit: it is nearly uniform. Use dark strokes on a light background.")
    if not found:
        raise ImageError(f"{name} shows no digit. Write larger, or crop the picture to the digits.")
    return found


@torch.no_grad()
def classify(model: nn.Module, picture: Picture) -> list[FoundDigit]:
    """Find the digits in a picture, and set the probabilities that a network, in evaluation mode, gives them.

    Raises:
        ImageError: See `find_digits`.
        ValueError: If the network does not return log-probabilities.
    """
    found = find_digits(picture)
    images = normalize(torch.stack([digit.image for digit in found]))[:, None]
    modes = [(module, module.training) for module in model.modules()]
    try:
        probabilities = model.eval()(images.to(next(model.parameters(), images))).float().exp().cpu()
    finally:
        for module, mode in modes:
            module.training = mode
    sums = probabilities.sum(dim=-1)
    if probabilities.shape != (len(found), 10) or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise ValueError(
            f"Expected log-probabilities [{len(found)}, 10], got values whose exponentials do not sum to 1 "
            f"({list(probabilities.shape)}). End forward() with log_softmax(x, dim=1), and check that no weight is NaN."
        )
    for digit, each in zip(found, probabilities, strict=True):
        digit.probabilities = each
    return found


def own_digits_folder(folder: str | Path = "") -> Path:
    """Return where your own digits are kept: in the given folder, or in `runs/my_digits`."""
    return Path(folder).expanduser() if str(folder) else runs_folder() / "my_digits"


def save_digit(image: Tensor, label: int, folder: str | Path = "") -> Path:
    """Add a digit, uint8 [28, 28], to a folder of your own digits, as FOLDER/LABEL/TIME.png.

    Args:
        image: The digit in MNIST's format.
        label: The digit that the writer meant, 0 to 9.
        folder: Without it, the digit goes to `runs/my_digits`.

    Raises:
        ValueError: If the label is not 0 to 9, or if this is not a digit in MNIST's format.
        WriteError: If the file cannot be written.
    """
    if label not in range(10):
        raise ValueError(f"A digit cannot have the label {label}. Choose one from 0 to 9.")
    if not isinstance(image, Tensor) or (image.shape, image.dtype) != ((28, 28), torch.uint8):
        raise ValueError("Expected a tensor uint8 [28, 28]. Convert a picture with find_digits first.")
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}-{uuid4().hex[:8]}.png"  # the clock may stand still
    path = own_digits_folder(folder) / str(int(label)) / name
    file = io.BytesIO()
    Image.fromarray(image.numpy()).save(file, "PNG")
    atomic_write(path, file.getvalue())
    return path


def load_digits(folder: str | Path = "") -> DigitDataset:
    """Load your own digits from a folder, or from all folders in it, in the order of their paths.

    Args:
        folder: Contains LABEL/*.png, written by the drawing pad or by `FoundDigit.save`. Without it, the digits in
            `runs/my_digits` are loaded.

    Raises:
        FileNotFoundError: If there are none.
        ImageError: If one is not an image in MNIST's format.
    """
    images, labels, folder = [], [], own_digits_folder(folder)
    for path in sorted(folder.rglob("*.png")):
        if path.name.startswith("."):  # macOS adds such files when it copies a folder
            continue
        if path.parent.name not in map(str, range(10)):
            raise ImageError(f"{path} is not in a folder that is named after its label, 0 to 9. Move it, or remove it.")
        try:
            with Image.open(path) as file:
                mode, image = file.mode, torch.from_numpy(np.array(file))
        except Exception as error:  # Pillow raises nearly anything for a corrupted image
            raise ImageError(f"{path} is not an image that can be read. Remove it.") from error
        if (mode, image.shape) != ("L", (28, 28)):
            raise ImageError(f"{path} is not a gray image of 28×28 pixels. Remove it.")
        images.append(image)
        labels.append(int(path.parent.name))
    if not images:
        missing = "" if folder.is_dir() else ", which is not a folder"
        raise FileNotFoundError(
            f"There are no digits in {folder}{missing}. Draw some, choose their label, and keep them."
        )
    return DigitDataset(torch.stack(images), torch.tensor(labels), "own")
