"""Runs that tests start go to a separate folder. Notebooks count as slow if they train for more than a few seconds.

02_training is also executed by test_notebooks.py, with other parameters.
"""

import os
import tempfile

import pytest

os.environ.setdefault("MNIST_S5_RUNS", tempfile.mkdtemp(prefix="mnist_s5-runs-"))
QUICK = ("01_data_visualization.ipynb", "03_summary.ipynb", "template.ipynb")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.suffix == ".ipynb" and item.path.name not in QUICK:
            item.add_marker(pytest.mark.slow)
