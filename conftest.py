"""Runs that tests start, notebooks under nbval among them, go to a folder of their own."""

import os
import tempfile

os.environ.setdefault("MNIST_S5_RUNS", tempfile.mkdtemp(prefix="mnist_s5-runs-"))
