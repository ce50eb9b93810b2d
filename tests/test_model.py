import torch
import torch.nn.functional as F

import mnist_s5 as s5


def test_has_the_reference_parameters_and_names(net: s5.Net) -> None:
    assert sum(parameter.numel() for parameter in net.parameters()) == 593_200
    layers = ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2"]
    assert list(net.state_dict()) == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]


def test_forward_equals_an_independent_one(net: s5.Net) -> None:
    w = net.double().state_dict()
    x = torch.randn(5, 1, 28, 28, dtype=torch.float64)
    expected = x
    for conv, pools in (("conv1", False), ("conv2", True), ("conv3", False), ("conv4", True)):
        kernel = w[f"{conv}.weight"]  # a convolution as the product of its patches with its flattened filters
        patches = F.unfold(expected, 3)
        side = expected.shape[-1] - 2
        expected = kernel.flatten(1) @ patches + w[f"{conv}.bias"][:, None]
        expected = expected.view(5, len(kernel), side, side)
        if pools:
            expected = expected.view(5, len(kernel), side // 2, 2, side // 2, 2).amax(dim=(3, 5))
        expected = expected.clamp(min=0)
    hidden = (expected.reshape(5, 4096) @ w["fc1.weight"].T + w["fc1.bias"]).clamp(min=0)
    logits = hidden @ w["fc2.weight"].T + w["fc2.bias"]
    torch.testing.assert_close(net(x), logits - logits.logsumexp(dim=1, keepdim=True))


def test_gives_log_probabilities(net: s5.Net) -> None:
    log_probs = net(torch.randn(7, 1, 28, 28))
    assert log_probs.shape == (7, 10)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(7))
