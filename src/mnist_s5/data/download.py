"""The raw files of MNIST: where they are, their verification, and their download."""

import gzip
import hashlib
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from ..files import WriteError, atomic_write, course_folder, to_write_error

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
    path = path / path.name if path.is_dir() else path  # Kaggle's archive has a folder with the name of each file
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


def _reason(error: Exception) -> str:
    """Return the cause in the words of the library: they name a missing package, a certificate, or a proxy."""
    text = " ".join(str(error).split())
    cause = re.search(r"Caused by (\w+)\((.*)\)$", text)  # of urllib3
    kind, said = cause.groups() if cause else (type(error).__name__, text)
    return f"{kind}: {re.sub(r'HTTPS?Connection[^:]*: ', '', said)}"[:200]


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
            failures.append(f"{mirror} ({_reason(error)})")
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
