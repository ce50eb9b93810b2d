import math
from fractions import Fraction
from typing import Any

import pytest
import torch

import mnist_s5 as s5


def test_the_reference_is_as_published() -> None:
    recipe = s5.get_recipe("reference")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.momentum) == (20, 512, 0.01, 0.9)
    assert (recipe.nesterov, recipe.muon, recipe.schedule, recipe.init) == (False, False, "step", "torch")
    assert (recipe.crop_prob, recipe.degrees, recipe.flip_prob) == (0.1, 15.0, 0.0)
    assert (recipe.scale_jitter, recipe.translate_px, recipe.augment_prob) == (0.0, 0.0, 1.0)
    assert not any((recipe.batch_augment, recipe.channels_last, recipe.use_bf16, recipe.label_smoothing))
    assert s5.get_recipe("reference", "sample") == recipe


@pytest.mark.parametrize(
    ("able", "fast"),
    [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16)],
)
def test_bfloat16_if_asked_for_and_fast(
    able: dict[str, bool], fast: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert s5.get_recipe("reference").dtype("cpu") == torch.float32
    assert s5.get_recipe("fast").dtype("cpu") == fast


def test_epochs_may_be_a_fraction() -> None:
    assert s5.get_recipe("fast", epochs=0.5).steps(469) == 234
    assert s5.get_recipe("fast", epochs=1e-9).steps(469) == 1


def test_a_recipe_adapts_to_the_sample_and_to_changes() -> None:
    assert (s5.get_recipe("fast", "sample").epochs, s5.get_recipe("fast", "sample").batch_size) == (16, 64)
    assert s5.get_recipe("fast", "sample", epochs=2, batch_size=None).epochs == 2


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("epochs", 0, "greater than 0"),
        ("epochs", -1, "greater than 0"),
        ("epochs", math.inf, "greater than 0"),
        ("epochs", True, "greater than 0"),
        ("epochs", Fraction(5, 2), "greater than 0"),
        ("learning_rate", 10**400, "finite"),
        ("batch_size", 0, "at least 1"),
        ("batch_size", 2.5, "an integer"),
        ("learning_rate", math.nan, "finite"),
        ("learning_rate", math.inf, "finite"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", "0.1", "finite"),
        ("momentum", 1.0, "less than 1"),
        ("nesterov", "yes", "True or False"),
        ("flip_prob", 1.5, "0 to 1"),
        ("crop_prob", -0.1, "0 to 1"),
        ("photometric_prob", 1.1, "0 to 1"),
        ("scale_jitter", 1.0, "less than 1"),
        ("translate_px", 29, "28"),
        ("degrees", math.nan, "180"),
        ("muon", 1, "True or False"),
        ("weight_decay", float("inf"), "finite number of at least 0"),
        ("weight_decay", 0.1, "only with Muon"),
        ("label_smoothing", 1, "less than 1"),
        ("batch_augment", 1, "True or False"),
        ("use_bf16", "True", "True or False"),
        ("schedule", "cosine", "step or one_cycle"),
        ("init", "zeros", "torch or he"),
    ],
)
def test_an_invalid_value_is_named(field: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted) as error:
        s5.get_recipe("reference", **{field: value})
    assert str(error.value).startswith(f"{field}=")
    assert "\n" not in str(error.value)


def test_unknown_names_get_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="reference, fast, best"):
        s5.get_recipe("slow")
    with pytest.raises(ValueError, match=r"dataset='smaple' is unknown. Did you mean sample\?"):
        s5.get_recipe("fast", "smaple")
    with pytest.raises(ValueError, match="momentum=0"):
        s5.get_recipe("fast", momentum=0)
    with pytest.raises(ValueError, match="Set nesterov=True"):
        s5.get_recipe("fast", nesterov=False)
    with pytest.raises(ValueError, match="need batch_augment=True"):
        s5.get_recipe("reference", translate_px=2.0)
    with pytest.raises(ValueError, match="Did you mean learning_rate"):
        s5.get_recipe("fast", learnig_rate=0.1)
