"""Whatever comes from outside, it is used as it was meant or refused in one sentence."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

import mnist_s5 as s5
from mnist_s5.parameters import _fits, _parse
from mnist_s5.recipes import Recipe

FIELDS = sorted(set(Recipe.__dataclass_fields__) - {"name"})
VALUES = st.one_of(st.floats(), st.integers(), st.booleans(), st.text(max_size=9), st.sampled_from(["step", "he", []]))


@given(st.sampled_from(list(s5.RECIPES)), st.sampled_from(FIELDS), VALUES)
def test_recipes(name: str, field: str, value: Any) -> None:
    try:
        recipe = s5.get_recipe(name, **{field: value})
    except ValueError as error:
        assert "\n" not in str(error)
        assert field in str(error)
    else:
        assert getattr(recipe, field) == value
        assert 1 <= recipe.steps(10) <= 10**8


@given(st.text(max_size=12), st.sampled_from(["int", "float", "bool", "str", "Optional[float]", "Optional[int]"]))
def test_parameters_of_the_command_line(text: str, kind: str) -> None:
    try:
        assert _fits(_parse("x", text, kind), kind)
    except s5.RunError as error:
        assert str(error).startswith("x=")


@given(VALUES, st.sampled_from(["int", "float", "bool", "str", "Optional[float]"]))
def test_parameters_of_papermill(value: Any, kind: str) -> None:
    written = f"float('{value}')" if isinstance(value, float) else repr(value)
    try:
        s5.check_parameters([f"x: {kind} = None" if "Opt" in kind else "", f"x: {kind} = {written}"])
    except s5.RunError as error:
        assert str(error).startswith("x=")
    else:
        assert _fits(value, kind)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_files_that_are_no_pictures(blob: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"):
            path.write_bytes(start + blob)
            try:
                assert s5.prepare(path).shape == (28, 28)
            except s5.PictureError as error:
                assert str(path) in str(error)


@settings(deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=60)))
def test_pictures_of_anything(pixels: np.ndarray) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        Image.fromarray(pixels).save(path)
        try:
            digit = s5.prepare(path)
        except s5.PictureError as error:
            assert "no digit" in str(error)
        else:
            assert (str(digit.dtype), tuple(digit.shape)) == ("torch.uint8", (28, 28))
            assert digit.max() > 0


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300))
def test_files_that_are_no_checkpoints(blob: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(blob)
        try:
            s5.load_checkpoint(path)
            raise AssertionError("that was no checkpoint")
        except s5.CheckpointError as error:
            assert path.name in str(error)
