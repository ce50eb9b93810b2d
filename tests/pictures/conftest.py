import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the benchmark that counts what is found in drawn pictures."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("pictures")


@pytest.fixture
def render(pictures: ModuleType) -> ModuleType:
    """Return the benchmark's module that draws photographs."""
    return pictures.render
