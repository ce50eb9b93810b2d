import pytest
import torch
from torch import Tensor, nn

import mnist_s5 as s5
from mnist_s5.training.muon import Muon

SHAPES = {"wide": (50, 400), "tall": (64, 9), "square": (30, 30)}


def exactly(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix, from a singular value decomposition in float64."""
    u, _, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return u @ v


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_singular_values_come_near_1_and_vectors_stay(shape: tuple[int, int], scale: float) -> None:
    torch.manual_seed(0)
    spread = torch.logspace(-1.3, 0, min(shape))  # from a twentieth of the largest
    matrix = scale * exactly(torch.randn(shape[0], min(shape))) * spread @ exactly(torch.randn(min(shape), shape[1]))
    found = s5.orthogonalize(matrix.float()).double()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.25
    straight = exactly(matrix).T @ found if shape[0] >= shape[1] else found @ exactly(matrix).T
    torch.testing.assert_close(straight, straight.T, atol=0.02, rtol=0)  # the same singular vectors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_is_the_exact_one_within_tolerance(dtype: torch.dtype) -> None:
    """Compare direction and norm of the update with momentum and an SVD in float64."""
    torch.manual_seed(0)
    filters = nn.Parameter(torch.randn(64, 8, 3, 3))
    optimizer = Muon([filters], lr=0.1, momentum=0.9, dtype=dtype)
    velocity = torch.zeros(64, 72, dtype=torch.float64)
    for _ in range(3):
        filters.grad = torch.randn_like(filters)
        before = filters.detach().clone()
        optimizer.step()
        gradient = filters.grad.flatten(1).double()
        velocity = 0.9 * velocity + gradient
        exact = exactly(gradient + 0.9 * velocity)
        ours = ((before - filters.detach()) / 0.1).flatten(1).double()
        cosine = (exact * ours).sum() / exact.norm() / ours.norm()
        assert cosine > 0.97
        assert ours.norm().item() == pytest.approx(exact.norm().item(), rel=0.25)


def test_a_matrix_with_more_rows_gets_a_longer_step() -> None:
    torch.manual_seed(0)
    tall = nn.Parameter(torch.zeros(64, 4))
    tall.grad = torch.randn(64, 4)
    Muon([tall], lr=1.0).step()
    assert torch.linalg.svdvals(tall.detach()).mean().item() == pytest.approx((64 / 4) ** 0.5, rel=0.25)


def test_groups_without_muon_get_torchs_sgd() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    muon = Muon([{"params": [ours], "use_muon": False}], lr=0.1, momentum=0.9)
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(4):
        ours.grad = torch.randn(5)
        theirs.grad = ours.grad.clone()
        muon.step()
        sgd.step()
    torch.testing.assert_close(ours, theirs)


def test_weight_decay_shrinks_by_rate_times_it() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.zeros(2, 2)
    Muon([weight], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.95))


def test_biases_get_sgd_in_any_group() -> None:
    torch.manual_seed(0)
    bias = nn.Parameter(torch.ones(5))
    bias.grad = torch.randn(5)
    Muon([bias], lr=0.1, momentum=0.9).step()
    torch.testing.assert_close(bias.detach(), 1 - 0.1 * 1.9 * bias.grad)


def test_parameters_without_gradient_stay_and_its_state_is_plain_tensors() -> None:
    layer = nn.Linear(3, 3, bias=False)
    before = layer.weight.detach().clone()
    optimizer = Muon(layer.parameters(), lr=0.1)
    optimizer.step()
    assert torch.equal(layer.weight, before)
    layer.weight.grad = torch.randn(3, 3)
    optimizer.step()
    again = Muon(layer.parameters(), lr=0.5)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["lr"] == 0.1
    assert torch.equal(again.state[layer.weight]["momentum_buffer"], layer.weight.grad)
