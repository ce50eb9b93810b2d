import torch

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


def test_receptive_fields_are_where_the_gradient_is(net: s5.Net) -> None:
    net = net.double()
    expected = {step.layer: step.receptive_field for step in s5.layer_table(net.float())}
    net.double()
    outputs: dict[str, torch.Tensor] = {}
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
    images = torch.rand(
        64, 1, 28, 28, dtype=torch.float64, requires_grad=True
    )  # many, so that no pooling hides a pixel
    net(images)
    for name, output in outputs.items():
        value = output[:, :, 1, 1].sum() if output.dim() == 4 else output.sum()
        (gradient,) = torch.autograd.grad(value, images, retain_graph=True)
        touched = gradient.abs().sum(dim=(0, 1)).nonzero()
        assert int(touched.max() - touched.min()) + 1 == expected[name], name


def test_the_drawing_tells_every_layer(net: s5.Net) -> None:
    picture = s5.architecture(net)
    for part in ("593,200", "conv4 gives 256×8×8", "fc2 gives 10"):
        assert part in picture.alt
