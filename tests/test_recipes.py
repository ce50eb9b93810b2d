import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR

import mnist_s5 as s5


def test_the_reference_is_as_published() -> None:
    recipe = s5.get_recipe("reference")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.momentum) == (20, 512, 0.01, 0.9)
    assert (recipe.nesterov, recipe.muon, recipe.schedule, recipe.init) == (False, False, "step", "torch")
    assert (recipe.crop, recipe.degrees, recipe.zoom, recipe.shift, recipe.flip) == (0.1, 15.0, 0.0, 0.0, 0.0)
    assert (recipe.batched, recipe.channels_last, recipe.bfloat16, recipe.label_smoothing) == (False, False, False, 0.0)
    assert s5.get_recipe("reference", "sample") == recipe


def rates(recipe: s5.Recipe, per_epoch: int) -> list[float]:
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    optimizer = s5.make_optimizer(recipe, network.parameters())
    scheduler = s5.make_scheduler(recipe, optimizer, per_epoch)
    found = []
    for _ in range(recipe.steps(per_epoch)):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_reference_schedule_is_a_step_every_15_epochs() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.01)
    classic, expected = StepLR(optimizer, step_size=15, gamma=0.1), []
    for _ in range(20):
        expected += classic.get_last_lr() * 7
        optimizer.step()
        classic.step()
    assert rates(s5.get_recipe("reference"), 7) == pytest.approx(expected)


def test_one_cycle_warms_up_for_a_fifth_and_ends_near_zero() -> None:
    recipe = s5.get_recipe("fast", epochs=1)
    found = rates(recipe, 100)
    assert len(found) == 100
    assert max(found) == pytest.approx(recipe.learning_rate)
    assert found.index(max(found)) == 19
    assert found[-1] < 1e-4


@pytest.mark.parametrize("total", range(1, 13))
def test_the_shortest_runs_have_a_schedule_too(total: int) -> None:
    recipe = s5.get_recipe("fast", epochs=total)
    found = rates(recipe, 1)
    assert len(found) == total
    assert max(found) == pytest.approx(recipe.learning_rate, rel=0.1)  # the peak may fall between two steps


def test_initial_weights_are_the_recipes() -> None:
    torch.manual_seed(0)
    plain = s5.Net().state_dict()
    torch.manual_seed(0)
    assert all(
        torch.equal(a, b)
        for a, b in zip(s5.make_model(s5.get_recipe("reference")).state_dict().values(), plain.values())
    )
    for name, weight in s5.make_model(s5.get_recipe("fast")).named_parameters():
        if name.endswith("bias"):
            assert not weight.any()
        else:
            fan_in = weight[0].numel()
            assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15), name


def test_muon_gets_the_hidden_weights_and_sgd_the_rest() -> None:
    model, recipe = s5.Net(), s5.get_recipe("fast")
    names = {parameter: name for name, parameter in model.named_parameters()}
    others, hidden = s5.make_optimizer(recipe, model.parameters()).param_groups
    assert {names[p] for p in hidden["params"]} == {
        f"{layer}.weight" for layer in ("conv1", "conv2", "conv3", "conv4", "fc1")
    }
    assert len(others["params"]) + len(hidden["params"]) == len(names)
    assert (others["orthogonal"], others["lr"], others["weight_decay"]) == (False, recipe.learning_rate, 0)
    assert (hidden["lr"], hidden["weight_decay"]) == (recipe.learning_rate, recipe.weight_decay)
    assert type(s5.make_optimizer(s5.get_recipe("reference"), model.parameters())) is torch.optim.SGD
    with pytest.raises(ValueError, match="set muon=False"):
        s5.make_optimizer(recipe, nn.Linear(3, 3).parameters())


def test_every_rate_follows_the_schedule() -> None:
    recipe = s5.get_recipe("fast")
    optimizer = s5.make_optimizer(recipe, s5.Net().parameters())
    highest = [group["lr"] for group in optimizer.param_groups]
    scheduler = s5.make_scheduler(recipe, optimizer, 100)
    for _ in range(50):
        optimizer.step()
        scheduler.step()
    shares = [now / top for now, top in zip(scheduler.get_last_lr(), highest)]
    assert shares == pytest.approx([shares[0]] * 2)
    assert 0.5 < shares[0] < 0.7


@pytest.mark.parametrize(
    ("able", "fast"),
    [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16)],
)
def test_sixteen_bits_where_they_are_asked_for_and_fast(
    able: dict[str, bool], fast: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert s5.get_recipe("reference").precision("cpu") == torch.float32
    assert s5.get_recipe("fast").precision("cpu") == fast


def test_loaders_are_the_recipes(sample: tuple[s5.Digits, s5.Digits]) -> None:
    classic, classic_test = s5.make_loaders(s5.get_recipe("reference", crop=0.3, flip=0.5), *sample, seed=7)
    steps = classic.dataset.transform.transforms
    assert (classic.batch_size, classic.generator.initial_seed()) == (512, 7)
    assert (type(steps[0]).__name__, steps[1].p) == ("RandomHorizontalFlip", 0.3)
    batched, batched_test = s5.make_loaders(s5.get_recipe("fast", "sample"), *sample, seed=7)
    assert isinstance(batched, s5.DeviceLoader)
    assert batched.batch_size == 64
    assert not torch.equal(next(iter(batched))[0], next(iter(batched))[0])
    for (images, labels), (theirs, same) in zip(classic_test, batched_test, strict=True):
        assert torch.equal(images, theirs)  # to the bit: one test for all recipes
        assert torch.equal(labels, same)


def test_epochs_may_be_a_fraction() -> None:
    assert s5.get_recipe("fast", epochs=0.5).steps(469) == 234
    assert s5.get_recipe("fast", epochs=1e-9).steps(469) == 1


def test_a_recipe_adapts_to_the_sample_and_to_changes() -> None:
    assert (s5.get_recipe("fast", "sample").epochs, s5.get_recipe("fast", "sample").batch_size) == (16, 64)
    assert s5.get_recipe("fast", "sample", epochs=2, batch_size=None).epochs == 2


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("epochs", 0, "above 0"),
        ("epochs", -1, "above 0"),
        ("epochs", math.inf, "above 0"),
        ("epochs", True, "above 0"),
        ("batch_size", 0, "at least 1"),
        ("batch_size", 2.5, "whole number"),
        ("learning_rate", math.nan, "finite"),
        ("learning_rate", math.inf, "finite"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", "0.1", "finite"),
        ("momentum", 1.0, "below 1"),
        ("nesterov", "yes", "True or False"),
        ("flip", 1.5, "0 to 1"),
        ("crop", -0.1, "0 to 1"),
        ("zoom", 1.0, "below 1"),
        ("shift", 29, "28"),
        ("degrees", math.nan, "180"),
        ("muon", 1, "True or False"),
        ("weight_decay", float("inf"), "finite number of at least 0"),
        ("weight_decay", 0.1, "without muon"),
        ("label_smoothing", 1, "below 1"),
        ("batched", 1, "True or False"),
        ("bfloat16", "True", "True or False"),
        ("schedule", "cosine", "step, one_cycle"),
        ("init", "zeros", "torch, he"),
    ],
)
def test_a_useless_value_is_one_sentence(field: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted) as error:
        s5.get_recipe("reference", **{field: value})
    assert str(error.value).startswith(f"{field}=")
    assert "\n" not in str(error.value)


def test_unknown_names_get_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match="reference, fast, best"):
        s5.get_recipe("slow")
    with pytest.raises(ValueError, match="momentum=0"):
        s5.get_recipe("fast", momentum=0)
    with pytest.raises(ValueError, match="set nesterov=True"):
        s5.get_recipe("fast", nesterov=False)
    with pytest.raises(ValueError, match="set batched=True"):
        s5.get_recipe("reference", shift=2.0)
    with pytest.raises(ValueError, match="did you mean learning_rate"):
        s5.get_recipe("fast", learnig_rate=0.1)
