"""Any input from outside is either used correctly or rejected with one clear message."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

import mnist_s5 as s5
from mnist_s5.jobs.parameters import RunError, _from_text, check_cells, check_value
from mnist_s5.pictures.find import find_digits
from mnist_s5.pictures.read import ImageError
from mnist_s5.training.checkpoint import CheckpointError
from mnist_s5.training.recipes import RECIPES, Recipe

FIELDS = sorted(set(Recipe.__dataclass_fields__) - {"name"})
VALUES = st.one_of(st.floats(), st.integers(), st.booleans(), st.text(max_size=9), st.sampled_from(["step", "he", []]))


@given(st.sampled_from(list(RECIPES)), st.sampled_from(FIELDS), VALUES)
def test_recipes(name: str, field: str, value: Any) -> None:
    try:
        recipe = s5.get_recipe(name, **{field: value})
    except ValueError as error:
        assert "\n" not in str(error)
        assert field in str(error)
    else:
        assert getattr(recipe, field) == value
        assert 1 <= recipe.steps(10) <= 10**8


KINDS = ["int", "float", "bool", "str", "Optional[float]", "Optional[int]", "float | None"]
ACCEPTED = {"int": int, "float": (int, float), "bool": bool, "str": str}


def accepts(kind: str, value: Any) -> bool:
    """Whether a value has the type, written independently of the package."""
    bare = kind.removesuffix(" | None").removeprefix("Optional[").removesuffix("]")
    if value is None:
        return bare != kind
    if isinstance(value, bool) and bare != "bool":
        return False
    return isinstance(value, ACCEPTED[bare]) and (not isinstance(value, float) or np.isfinite(value))


@given(
    st.text(max_size=12) | st.sampled_from(["1", "-2", "1e-3", "inf", "nan", "true", "None"]), st.sampled_from(KINDS)
)
def test_parameters_of_the_command_line(text: str, kind: str) -> None:
    value = _from_text(text, kind)
    try:
        check_value("x", value, {"x": kind})
    except RunError as error:
        assert str(error).startswith("x=")
        assert not accepts(kind, value)
    else:
        assert accepts(kind, value)


@given(VALUES, st.sampled_from(KINDS))
def test_parameters_of_papermill(value: Any, kind: str) -> None:
    written = f"float('{value}')" if isinstance(value, float) else repr(value)
    try:
        check_cells([f"x: {kind} = {written}", f"# Parameters\nx = {written}"])
    except RunError as error:
        assert str(error).startswith("x=")
        assert not accepts(kind, value)
    else:
        assert accepts(kind, value)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_files_that_are_not_pictures(blob: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"):
            path.write_bytes(start + blob)
            try:
                assert all(digit.image.shape == (28, 28) for digit in find_digits(path))
            except ImageError as error:
                assert str(path) in str(error)


@settings(deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=60)), st.sampled_from([0, 40]))
def test_pictures_of_anything(pixels: np.ndarray, margin: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        Image.fromarray(np.pad(pixels, margin)).save(path)
        try:
            found = find_digits(path)
        except ImageError as error:
            assert re.search("shows no digit|is less narrow", str(error))
        else:
            assert found
            for digit in found:
                assert (str(digit.image.dtype), tuple(digit.image.shape)) == ("torch.uint8", (28, 28))
                assert digit.image.max() > 0


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300))
def test_files_that_are_not_checkpoints(blob: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(blob)
        try:
            s5.load_checkpoint(path)
            raise AssertionError("that was not a checkpoint")
        except CheckpointError as error:
            assert path.name in str(error)
