"""Refuse, in one sentence, a machine that cannot hold the course. Runs on any Python, old ones too."""

import os
import shutil
import sys

GIGABYTES = 8 if sys.platform.startswith("linux") else 3  # Linux wheels of torch bring the CUDA libraries


def refusal(version, free):
    """The sentence for this (major, minor) and these free bytes, or None where both do."""
    if version < (3, 11):
        return "Python %d.%d is too old: install Python 3.11 or newer and call make PYTHON=python3.11" % version
    if free < GIGABYTES * 1e9:
        have = "%.1f GB are free here and the packages need %d: make room, or clone elsewhere" % (free / 1e9, GIGABYTES)
        return "The disk is too full: " + have
    return None


if __name__ == "__main__":
    sentence = refusal(sys.version_info[:2], shutil.disk_usage(os.getcwd()).free if sys.version_info > (3, 3) else 0)
    sys.exit(sentence and sentence + ".")
