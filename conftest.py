"""Runs that tests start go to a folder of their own; of the notebooks, all but the core ones count as slow."""

import os
import tempfile

import pytest

os.environ.setdefault("MNIST_S5_RUNS", tempfile.mkdtemp(prefix="mnist_s5-runs-"))
QUICK = ("01_data_visualization.ipynb", "02_training.ipynb", "03_summary.ipynb", "template.ipynb")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.suffix == ".ipynb" and item.path.name not in QUICK:
            item.add_marker(pytest.mark.slow)
