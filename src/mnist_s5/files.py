"""Where the course keeps its files, and atomic writes."""

import errno
import os
import threading
from pathlib import Path

PRETRAINED_WEIGHTS = Path(__file__).with_name("weights.safetensors")
MODEL_FILE = "model.safetensors"  # the weights in a run's folder
_FIXES = {
    (errno.ENOSPC, errno.EDQUOT): "The disk or your quota is full. Free some space, or use a folder on another disk.",
    (errno.EFBIG,): "The file is larger than this machine allows. Raise the limit, or use another folder.",
    (errno.EROFS, errno.EACCES, errno.EPERM): "Permission is denied. Change the permissions, or use another folder.",
    (errno.EEXIST, errno.ENOTDIR): "A file with the folder's name is in the way. Use another folder.",
    (errno.EISDIR,): "It is a folder. Use the path of a file.",
    (errno.ENOENT,): "A folder of this path does not exist and cannot be created. Use another folder.",
    (errno.ENAMETOOLONG,): "The name is too long. Use a shorter one.",
}


class WriteError(OSError):
    """A file or folder cannot be written. The message says why, and what to do."""


def course_folder() -> Path:
    """Return the working folder, or the folder above `notebooks` if it is `notebooks` or `notebooks/exercises`."""
    here = Path.cwd()
    folder = here.parent if here.name == "exercises" else here
    return folder.parent if folder.name == "notebooks" else here


def to_write_error(error: OSError, path: Path) -> OSError:
    """Return a WriteError if there is a fix for this error, otherwise the error itself."""
    fix = next((fix for codes, fix in _FIXES.items() if error.errno in codes), "")
    return WriteError(f"Cannot use {path}. {fix}") if fix else error


def atomic_write(path: Path, blob: bytes) -> None:
    """Write a file atomically: readers see either the old or the new content, never part of it.

    Raises:
        OSError: If writing fails; a WriteError if the fix is known.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise to_write_error(error, path) from error
