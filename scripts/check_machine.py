"""Exit with an error if this machine cannot install the course. Runs on old Python versions, too."""

import os
import shutil
import sys

GIGABYTES = 8 if sys.platform.startswith("linux") else 3  # Linux wheels of torch include the CUDA libraries


def refusal(version, free):
    """Return an error for this (major, minor) version or this number of free bytes, or None."""
    if version < (3, 11):
        return "Python %d.%d is too old. Install Python 3.11 or newer, and run: make run PYTHON=python3.11" % version
    if free < GIGABYTES * 1e9:
        sizes = (GIGABYTES, free / 1e9)
        return "The packages need %d GB, but only %.1f GB are free. Free some space, or clone to another disk." % sizes
    return None


if __name__ == "__main__":
    free = shutil.disk_usage(os.getcwd()).free if sys.version_info > (3, 3) else 0
    sys.exit(refusal(sys.version_info[:2], free))
