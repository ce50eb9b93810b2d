import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

import mnist_s5 as s5


class Fixed(nn.Module):
    """Always the same log-probabilities: half for the answer 3, the rest shared evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        row = torch.full((10,), math.log(0.5 / 9))
        row[3] = math.log(0.5)
        return row.expand(len(images), 10) + 0 * self.shift


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of blank images; the labels of each are 3 in the first, 0 in all others."""
    return [(torch.zeros(n, 1, 28, 28), torch.full((n,), 0 if i else 3)) for i, n in enumerate(sizes)]


def test_counts_correct_predictions() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert s5.GetCorrectPredCount(scores, torch.tensor([1, 1, 1])) == 2


@pytest.mark.parametrize("criterion", [F.nll_loss, nn.NLLLoss(), nn.NLLLoss(reduction="sum")])
def test_scores_weigh_every_digit_alike(criterion: nn.Module) -> None:
    expected = -(6 * math.log(0.5) + 2 * math.log(0.5 / 9)) / 8  # by hand; the mean of the batches' means is another
    model = Fixed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for score in (
        s5.train(model, "cpu", batches(6, 2), optimizer, criterion),
        s5.test(model, "cpu", batches(6, 2), criterion),
    ):
        assert score.loss == pytest.approx(expected)
        assert score.accuracy == pytest.approx(75.0)


def test_train_is_the_plain_loop(net: s5.Net, few: DataLoader) -> None:
    twin = s5.Net()
    twin.load_state_dict(net.state_dict())
    s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
    velocity = {name: torch.zeros_like(weight) for name, weight in twin.named_parameters()}
    for images, labels in few:
        log_probs = twin(images)
        loss = -log_probs[torch.arange(len(labels)), labels].mean()
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for (name, weight), gradient in zip(twin.named_parameters(), gradients):
                velocity[name] = 0.9 * velocity[name] + gradient
                weight -= 0.1 * velocity[name]
    for a, b in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(a, b)


def test_train_learns_and_test_does_not(net: s5.Net, few: DataLoader) -> None:
    before = [weight.clone() for weight in net.parameters()]
    first = s5.test(net, "cpu", few)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters()))
    assert not net.training
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(60):
        s5.train(net, "cpu", few, optimizer)
    assert net.training
    assert s5.test(net, "cpu", few).loss < 0.1 < 2 < first.loss


def test_train_stops_after_the_steps_it_is_given(net: s5.Net, few: DataLoader) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    s5.train(net, "cpu", few, optimizer, scheduler=scheduler, steps=2)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


def test_a_loss_that_is_not_finite_stops(net: s5.Net, few: DataLoader) -> None:
    with pytest.raises(FloatingPointError, match="learning rate"):
        s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), lr=1e30))


def fitted(seed: int, capsys: pytest.CaptureFixture[str]) -> tuple[s5.Net, s5.History, str]:
    s5.seed_everything(seed)
    model = s5.Net()
    recipe = s5.get_recipe("fast", "sample", epochs=1.02)
    train_loader, test_loader = s5.make_loaders(recipe, *s5.load_mnist("sample"), seed=seed)
    capsys.readouterr()
    return model, s5.fit(model, recipe, train_loader, test_loader, progress=False), capsys.readouterr().out


def test_fit_repeats_to_the_bit_for_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    first, history, printed = fitted(5, capsys)
    torch.rand(3)  # whatever ran in between
    second, again, _ = fitted(5, capsys)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert [entry[:-1] for entry in history] == [entry[:-1] for entry in again]  # all but the seconds
    other, _, _ = fitted(6, capsys)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert [entry.epoch for entry in history] == pytest.approx([1, 64 / 63])
    assert history.dataset == "sample"
    assert len(printed.splitlines()) == 2  # a line an epoch, and no trace of a bar
    assert history[-1].test_accuracy > 80


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_label_smoothing_is_torchs_and_not_in_the_score(net: s5.Net, few: DataLoader, reduction: str) -> None:
    twin = s5.Net()
    twin.load_state_dict(net.state_dict())
    rate, criterion = (0.1, nn.NLLLoss()) if reduction == "mean" else (0.001, nn.NLLLoss(reduction="sum"))
    optimizer = torch.optim.SGD(net.parameters(), rate)
    score = s5.train(net, "cpu", few, optimizer, criterion, label_smoothing=0.2, steps=1)
    images, labels = next(iter(few))
    log_probs = twin(images)
    F.cross_entropy(log_probs, labels, reduction=reduction, label_smoothing=0.2).backward()
    torch.optim.SGD(twin.parameters(), rate).step()
    assert score.loss == pytest.approx(F.nll_loss(log_probs, labels).item())
    for a, b in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(a, b)


def test_sixteen_bits_train_nearly_alike_and_weights_stay_float32(net: s5.Net, few: DataLoader) -> None:
    twin = s5.Net()
    twin.load_state_dict(net.state_dict())
    full = s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), lr=0.01))
    half = s5.train(twin, "cpu", few, torch.optim.SGD(twin.parameters(), lr=0.01), precision=torch.bfloat16)
    assert half.loss == pytest.approx(full.loss, rel=0.01)
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.float32}
    assert any(not torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters()))


@pytest.mark.parametrize("channels_last", [False, True])
def test_fit_uses_the_recipes_layout(channels_last: bool) -> None:
    recipe = s5.get_recipe("fast", "sample", epochs=0.05, channels_last=channels_last)
    model = s5.make_model(recipe)
    s5.fit(model, recipe, *s5.make_loaders(recipe, *s5.load_mnist("sample")), progress=False)
    assert model.conv3.weight.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_nothing_in_the_loop_waits_for_the_gpu() -> None:
    recipe = s5.get_recipe("fast", "sample")
    model = s5.make_model(recipe).to("cuda")
    loader, _ = s5.make_loaders(recipe, *s5.load_mnist("sample"), device="cuda")
    optimizer = s5.make_optimizer(recipe, model.parameters())
    scheduler = s5.make_scheduler(recipe, optimizer, len(loader))
    how = {"scheduler": scheduler, "label_smoothing": 0.05, "precision": torch.bfloat16}

    def waits(steps: int) -> int:
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            s5.train(model, "cuda", loader, optimizer, steps=steps, **how)
        torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    waits(1)
    assert waits(20) == waits(2) > 0  # before the first step and after the last, as often as it may


def test_progress_can_be_seen_and_turned_off(net: s5.Net, few: DataLoader, capsys: pytest.CaptureFixture[str]) -> None:
    s5.test(net, "cpu", few, progress=False)
    s5.test(net, "cpu", few)  # nobody watches a pipe
    assert capsys.readouterr().out == ""
    s5.test(net, "cpu", few, progress=True)
    assert "3" in capsys.readouterr().out


@pytest.mark.parametrize("criterion", [nn.NLLLoss(reduction="none"), lambda p, y: p * math.nan])
def test_a_criterion_that_neither_averages_nor_sums_is_refused(
    net: s5.Net, few: DataLoader, criterion: nn.Module
) -> None:
    with pytest.raises(ValueError, match="neither a batch's mean"):
        s5.test(net, "cpu", few, criterion)


def test_a_weighted_criterion_is_taken_at_its_word() -> None:
    score = s5.test(Fixed(), "cpu", batches(4, 4), nn.NLLLoss(ignore_index=9))
    assert score.loss == pytest.approx(-(math.log(0.5) + math.log(0.5 / 9)) / 2)


def test_labels_of_another_shape_are_refused(net: s5.Net) -> None:
    with pytest.raises(ValueError, match=r"must be \[N\] and \[N, 10\]"):
        s5.GetCorrectPredCount(torch.zeros(4, 10), torch.zeros(4, 1))


def test_nothing_to_train_on_is_refused(net: s5.Net, few: DataLoader) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="steps=0"):
        s5.train(net, "cpu", few, optimizer, steps=0)
    for call in (
        lambda: s5.train(net, "cpu", [], optimizer),
        lambda: s5.test(net, "cpu", []),
        lambda: s5.fit(net, s5.get_recipe("fast"), few, []),
    ):
        with pytest.raises(ValueError, match="loader is empty"):
            call()
