"""Files that are written whole or not at all, and what a person can do where that fails."""

import errno
import os
from pathlib import Path

_WHY = {
    errno.ENOSPC: "the disk is full, make room, or name a folder on another disk",
    errno.EDQUOT: "your quota is used up, make room, or name a folder on another disk",
    errno.EFBIG: "the file would be larger than this machine allows, raise the limit, or name another folder",
    errno.EROFS: "the disk is read-only, name a folder that can be written to",
    errno.EACCES: "it may not be read or written, change its permissions, or name another",
    errno.EEXIST: "a file is in its place, name another",
    errno.ENOTDIR: "a file is in its place, name another",
    errno.EISDIR: "it is a folder, name a file in it",
}


class WriteError(OSError):
    """A file cannot be written; the message says why, and what to do."""


def explained(error: OSError, path: Path) -> OSError:
    """The error as a WriteError, where it is one that a person can do something about."""
    why = _WHY.get(errno.EACCES if error.errno == errno.EPERM else error.errno or 0)
    return WriteError(f"{path} cannot be used: {why}.") if why else error


def write_whole(path: Path, blob: bytes, *, before: Path | None = None) -> None:
    """Write the file at once or not at all, synced to the disk: nobody ever reads a half of it.

    before: where the file that was there is kept. Raises OSError, explained.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            if before and path.exists():
                os.replace(path, before)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise explained(error, path) from error
