"""The four raw files of MNIST: where they lie, proved by their SHA-256, and downloaded where they are not."""

import gzip
import hashlib
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from .files import WriteError, explained, write_whole

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
TIMEOUT = 10  # seconds without an answer
SHA256 = {  # of each raw file, and of its .gz
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}


class DataError(RuntimeError):
    """Full MNIST is not to be had; the message says what was tried and how to go on."""


def data_folder() -> Path:
    """The folder that holds MNIST/raw: $MNIST_S5_DATA, or else a per-user cache."""
    import pooch

    return Path(os.environ.get("MNIST_S5_DATA") or pooch.os_cache("mnist_s5")).expanduser().resolve()


def _verified(path: Path, sha256: str) -> bytes | None:
    blob = path.read_bytes() if path.is_file() else b""
    return blob if hashlib.sha256(blob).hexdigest() == sha256 else None


def _download(raw: Path, name: str) -> bytes:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    failures = []
    for mirror in MIRRORS:
        shelf = pooch.create(raw, mirror, registry={f"{name}.gz": SHA256[name][1]}, retry_if_failed=1)
        try:
            get = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=True)
            return Path(shelf.fetch(f"{name}.gz", downloader=get)).read_bytes()
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
            if isinstance(error, OSError) and isinstance(explained(error, raw), WriteError):
                raise
            failures.append(f"{mirror} ({type(error).__name__})")
    raise DataError(
        f"{name} is {'damaged' if (raw / name).exists() else 'not'} in {raw}, and full MNIST is not to be had from "
        f"{' or '.join(failures) or 'any mirror'}: set MNIST_S5_DATA to a folder "
        "that holds MNIST/raw, or try again on another network, or choose source='sample'."
    )


def raw_file(raw: Path, name: str) -> bytes:
    """The file's published bytes: as they lie there, or unpacked from the .gz, or downloaded.

    Raises DataError where they are not to be had, or the folder cannot be written to.
    """
    verified = partial(_verified, raw / name, SHA256[name][0])
    try:
        if (blob := verified()) is not None:
            return blob
        if (packed := _verified(raw / f"{name}.gz", SHA256[name][1])) is not None:
            blob = gzip.decompress(packed)
            with suppress(OSError):  # it is good without a copy
                write_whole(raw / name, blob)
            return blob
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".lock", timeout=600):  # who comes second finds what the first one has downloaded
            if (blob := verified()) is None:
                blob = gzip.decompress(_download(raw, name))
                write_whole(raw / name, blob)
        return blob
    except Timeout as error:
        raise DataError(
            f"Another process has been downloading into {raw} for ten minutes: wait for it, or end it."
        ) from error
    except OSError as error:
        ways = "MNIST_S5_DATA names the folder, source='sample' needs none"
        raise DataError(f"{explained(error, raw)} ({ways})") from error
