"""Read a picture, from whatever holds it, as an upright RGB image."""

import io
import os
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

MAX_PIXELS = 100_000_000
SIDES = 200, 800  # pictures are enlarged or reduced to this number of pixels on the shorter side
Picture = str | Path | bytes | Image.Image | np.ndarray | Tensor


class ImageError(ValueError):
    """The picture cannot be read, or does not show what is expected. The message says why."""


def image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the images in a folder and in all folders in it, and all other files there, in the order of their paths.

    Links are followed. A folder that cannot be read is one of the other files. Hidden files, and those that macOS adds
    to an archive, are left out.
    """
    endings = {*Image.registered_extensions(), ".heic", ".heif"}
    found: list[Path] = []
    unreadable: list[Path] = []
    seen: set[str] = set()  # links can form a loop

    def failed(error: OSError) -> None:
        unreadable.append(Path(error.filename))

    for top, folders, files in os.walk(folder, followlinks=True, onerror=failed):
        new = os.path.realpath(top) not in seen
        seen.add(os.path.realpath(top))
        folders[:] = sorted(name for name in folders if new and name != "__MACOSX" and not name.startswith("."))
        found += [Path(top, name) for name in files if new and not name.startswith(".")]
    images = [path for path in sorted(found) if path.suffix.lower() in endings and path.is_file()]
    return images, sorted({*found, *unreadable} - set(images))


def listed(paths: list[Path]) -> str:
    """Return the first five paths as text, and how many more there are."""
    more = f", and {len(paths) - 5} more" * (len(paths) > 5)
    return ", ".join(map(str, paths[:5])) + more


def _is_heic(picture: str | Path | bytes) -> bool:
    head = b""
    with suppress(OSError), io.BytesIO(picture) if isinstance(picture, bytes) else Path(picture).open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf")


def _to_array(picture: np.ndarray | Tensor) -> np.ndarray:
    """Return an array that Pillow takes.

    Raises:
        ImageError: If this is not an image.
    """
    if isinstance(picture, Tensor):
        picture = picture.detach().cpu()
        picture = (picture.float() if picture.is_floating_point() else picture).numpy()
    array, got = np.squeeze(picture), f"{picture.dtype} {list(picture.shape)}"
    gray = array.ndim == 2
    if not array.size or not (gray or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(f"Expected an image [H, W], [H, W, 3], or [H, W, 4], got {got}. Convert it first.")
    if gray and array.dtype.kind == "f":
        array = array.astype(np.float32)
    if array.dtype not in ((np.uint8, np.float32, np.bool_, np.uint16, np.int32) if gray else (np.uint8,)):
        raise ImageError(f"Expected {'uint8 or float' if gray else 'uint8'}, got {got}. Convert it first.")
    return array


def _open(picture: Picture, name: str) -> Image.Image:
    """Return a Pillow image, which may not be decoded yet.

    Raises:
        ImageError: If it is too large or narrow, or one of several in a file.
    """
    if isinstance(picture, np.ndarray | Tensor):
        file = Image.fromarray(_to_array(picture))
    elif isinstance(picture, Image.Image):
        file = picture
    else:
        file = Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture)
        # An MPO is a camera's JPEG with previews, and a PSD begins with the whole picture.
        if file.format not in ("MPO", "PSD") and (count := getattr(file, "n_frames", 1)) > 1:
            raise ImageError(f"{name} contains {count} pictures. Save each page or frame as a file.")
    if not min(file.size) or max(file.size) > 20 * min(file.size):
        raise ImageError(f"{name} has {file.width}×{file.height} pixels. Use a picture that is less narrow.")
    if file.width * file.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return file


def _decode(file: Image.Image, name: str) -> Image.Image:
    """Return the upright image in RGBA.

    Raises:
        ImageError: If it contains NaN or infinity.
    """
    image = ImageOps.exif_transpose(file)
    if image.mode[0] in "IF":  # 16 bits or floats per pixel, which Pillow would clip at 255
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise ImageError(f"{name} contains NaN or infinity. Use finite brightnesses.")
        values = (values - values.min()) * (255 / (np.ptp(values) or 1.0))
        image = Image.fromarray(values.astype(np.uint8))
    return image.convert("RGBA")


def open_picture(picture: Picture, name: str, detail: float = 1.0) -> tuple[np.ndarray, float]:
    """Return an upright RGB image, float [H, W, 3] from 0 to 255, and how many pixels of the picture each one is wide.

    Transparency becomes black behind bright strokes, and white behind dark ones.

    Args:
        picture: See `find_digits`.
        name: Of the picture, for messages.
        detail: Factor for the largest number of pixels per side.

    Raises:
        ImageError: If it cannot be read, or is too large or narrow.
    """
    if isinstance(picture, str | Path) and not os.path.isfile(picture):
        raise ImageError(f"{name} does not exist or is not a file.")
    longest = round(detail * SIDES[1])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns only above its own, higher limit
            file = _open(picture, name)
            width = max(file.size)
            if file is not picture:  # draft() would change the caller's image
                file.draft("RGB", (longest, longest))  # decode a large JPEG at a lower resolution
            image = _decode(file, name)
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise ImageError(f"{name} has more than {MAX_PIXELS:,} pixels. Save it smaller.") from None
    except PermissionError as error:
        raise ImageError(f"{name} cannot be read: permission is denied. Change the permissions.") from error
    except Exception as error:  # Pillow raises nearly anything for a corrupted image
        if isinstance(picture, str | Path | bytes) and _is_heic(picture):
            ways = "Save it as JPEG. On an iPhone, choose Settings > Camera > Formats > Most Compatible."
            raise ImageError(f"{name} is a HEIC picture, which cannot be read here. {ways}") from error
        raise ImageError(f"{name} is not an image that can be read. Save it as PNG or JPEG.") from error
    scale = max(SIDES[0] // min(image.size), 1) / max(min(image.size) / longest, 1)
    scale = min(scale, (3 * longest**2 / (image.width * image.height)) ** 0.5)  # a long picture becomes smaller
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    image = image.resize([max(1, round(side * scale)) for side in image.size], method)
    gray, alpha = np.asarray(image.convert("L")), np.asarray(image.getchannel("A"))
    bright = alpha.any() and np.average(gray, weights=alpha) > 127
    backdrop = Image.new("RGBA", image.size, "black" if bright and (alpha < 128).any() else "white")
    return np.asarray(Image.alpha_composite(backdrop, image).convert("RGB"), np.float32), width / max(image.size)
