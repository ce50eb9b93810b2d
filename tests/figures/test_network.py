import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnist_s5 as s5


def test_torchinfo_counts_every_parameter(net: s5.Net) -> None:
    statistics = s5.model_summary(net)
    assert statistics.total_params == 593_200
    assert "593,200" in str(statistics)


def test_the_table_is_the_references(net: s5.Net) -> None:
    table = s5.layer_table(net)
    sizes = [(step.output[-1], step.receptive_field) for step in table if len(step.output) == 3]
    assert sizes == [(26, 3), (24, 5), (12, 6), (10, 10), (8, 14), (4, 16)]
    assert [step.output for step in table[6:]] == [(4096,), (50,), (10,)]
    assert sum(step.parameters for step in table) == 593_200


def test_multiply_adds_are_torchinfos_without_the_biases(net: s5.Net) -> None:
    table = {step.layer: step for step in s5.layer_table(net)}
    outputs = {
        "conv1": 26 * 26 * 32,
        "conv2": 24 * 24 * 64,
        "conv3": 100 * 128,
        "conv4": 64 * 256,
        "fc1": 50,
        "fc2": 10,
    }
    counted = sum(step.multiply_adds for step in table.values())
    assert counted + sum(outputs.values()) == s5.model_summary(net).total_mult_adds


class Other(nn.Module):
    """A network with strides, dilation, batch normalization, a branch, and a global average."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
        self.branch = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.pool, self.mean = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
        self.drop, self.fc = nn.Dropout(), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.pool(x + self.branch(x).relu())
        return F.log_softmax(self.fc(self.drop(self.mean(x).flatten(1))), dim=1)


def test_the_table_is_right_for_other_networks() -> None:
    """Computed by hand. A stride of 2 doubles what later pixels add; with dilation 2, a 3×3 filter is 5 pixels wide."""
    torch.manual_seed(0)
    model = Other().train()
    expected = [
        ("stem.0", (8, 13, 13), 80, 9 * 8 * 169, 3),
        ("stem.2", (8, 11, 11), 584, 9 * 8 * 8 * 121, 7),
        ("stem.3", (8, 11, 11), 16, 0, 7),
        ("branch", (8, 11, 11), 296, 9 * 4 * 8 * 121, 15),
        ("pool", (8, 5, 5), 0, 0, 17),
        ("mean", (8, 1, 1), 0, 0, 27),  # the stride leaves out the last row and column
        ("flatten", (8,), 0, 0, 27),
        ("fc", (10,), 90, 80, 27),
    ]
    found = [tuple(step) for step in s5.layer_table(model)]
    assert found[:5] == expected[:5]
    assert [step[:4] for step in found] == [step[:4] for step in expected]
    assert model.training  # unchanged


@pytest.mark.parametrize("seed", range(4))
def test_receptive_fields_do_not_depend_on_the_weights(seed: int) -> None:
    torch.manual_seed(seed)
    model = s5.make_model(s5.get_recipe("fast" if seed % 2 else "reference"))
    assert [step.receptive_field for step in s5.layer_table(model)] == [3, 5, 6, 10, 14, 16, 16, 28, 28]


def test_the_drawing_tells_every_layer(net: s5.Net) -> None:
    picture = s5.architecture(net, torch.zeros(28, 28, dtype=torch.uint8))
    for part in ("593,200", "conv4: 256×8×8", "fc2: 10"):
        assert part in picture.alt


class Branching(s5.Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


def test_a_network_that_cannot_be_traced_is_one_sentence_and_keeps_its_modes() -> None:
    model = Branching().train()
    model.conv1.eval()
    for network in (model, nn.LSTM(28, 10)):
        with pytest.raises(ValueError, match=r"^layer_table cannot trace .*Use model_summary\.$"):
            s5.layer_table(network)
    assert (model.training, model.conv1.training, model.conv2.training) == (True, False, True)


class Direct(nn.Module):
    """A network with a parameter outside of layers, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.same = nn.Parameter(torch.randn(784, 10)), nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.same(self.same(x.flatten(1) @ self.weight)).log_softmax(1)


def test_each_parameter_is_counted_once() -> None:
    assert [step.parameters for step in s5.layer_table(Direct())] == [0, 7840, 110, 0]
    assert "7,950 parameters" in s5.architecture(Direct(), torch.zeros(28, 28, dtype=torch.uint8)).get_suptitle()


@pytest.mark.parametrize(
    ("layer", "field"),
    [(nn.Conv2d(1, 2, 3, stride=(4, 1)), 3), (nn.Conv2d(1, 2, (1, 5)), 5), (nn.ZeroPad2d((4, 0, 0, 0)), 1)],
)
def test_receptive_fields_of_layers_that_are_not_square(layer: nn.Module, field: int) -> None:
    model = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(10))
    model(torch.zeros(1, 1, 28, 28))
    assert s5.layer_table(model)[0].receptive_field == field


def test_a_network_with_dead_layers_is_described(net: s5.Net) -> None:
    nn.init.constant_(net.conv1.bias, -1000)
    assert [step.receptive_field for step in s5.layer_table(net)][:2] == [3, 0]


class Shared(nn.Module):
    """A linear layer that is used twice, and a layer with its weights, behind a frozen batch normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.into, self.same = nn.Linear(784, 12), nn.Linear(12, 12)
        self.again, self.tied, self.out = self.same, nn.Linear(12, 12), nn.Linear(12, 10)
        self.tied.weight = self.same.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.into(self.norm(x).flatten(1))
        return F.log_softmax(self.out(self.tied(self.again(self.same(x)))), dim=1)


def test_a_shared_layer_counts_once_and_a_frozen_layer_stays_frozen() -> None:
    model = Shared().train()
    model.norm.eval()
    model.out.bias.requires_grad_(False)
    unique = sum(parameter.numel() for parameter in model.parameters())
    statistics = s5.model_summary(model)
    assert statistics.total_params == unique == sum(layer.parameters for layer in s5.layer_table(model))
    assert statistics.trainable_params == unique - 10
    assert (model.training, model.norm.training, model.same.training) == (True, False, True)
