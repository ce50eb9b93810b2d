import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from table import Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import mnist_s5 as s5


class Fixed(nn.Module):
    """Always returns the same log-probabilities: half for class 3, the rest divided evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        row = torch.full((10,), math.log(0.5 / 9))
        row[3] = math.log(0.5)
        return row.expand(len(images), 10) + 0 * self.shift


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of blank images. The labels are 3 in the first one, and 0 in all others."""
    return [(torch.zeros(n, 1, 28, 28), torch.full((n,), 0 if i else 3)) for i, n in enumerate(sizes)]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.fixture
def twin(net: s5.Net) -> s5.Net:
    """Another network with the weights of `net`."""
    other = s5.Net()
    other.load_state_dict(net.state_dict())
    return other


def test_counts_correct_predictions() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert s5.GetCorrectPredCount(scores, torch.tensor([1, 1, 1])) == 2


def test_each_image_has_the_same_weight() -> None:
    expected = -(6 * math.log(0.5) + 2 * math.log(0.5 / 9)) / 8  # by hand; the mean of the batches' means differs
    model = Fixed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for score in (
        s5.train(model, "cpu", batches(6, 2), optimizer),
        s5.train(model, "cpu", batches(6, 2), optimizer, nn.NLLLoss(reduction="sum")),  # still reports the mean
        s5.test(model, "cpu", batches(6, 2)),
        s5.test(model, "cpu", batches(6, 2), nn.NLLLoss()),
    ):
        assert score.loss == pytest.approx(expected)
        assert score.accuracy == pytest.approx(75.0)


def test_test_applies_the_criterion_to_all_images_at_once() -> None:
    """This is correct for every criterion, also with sums, class weights, and ignored labels."""
    rows = batches(6, 2)
    log_probs, labels = Fixed()(torch.zeros(8, 1, 28, 28)), torch.cat([labels for _, labels in rows])
    weights = torch.linspace(0.1, 1, 10)
    for criterion in (nn.NLLLoss(reduction="sum"), nn.NLLLoss(weights), nn.NLLLoss(ignore_index=3)):
        expected = criterion(log_probs, labels).item()
        assert s5.test(Fixed(), "cpu", rows, criterion).loss == pytest.approx(expected)


def test_train_is_the_plain_loop(net: s5.Net, twin: s5.Net, few: DataLoader) -> None:
    s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
    velocity = {name: torch.zeros_like(weight) for name, weight in twin.named_parameters()}
    for images, labels in few:
        log_probs = twin(images)
        loss = -log_probs[torch.arange(len(labels)), labels].mean()
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for (name, weight), gradient in zip(twin.named_parameters(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient
                weight -= 0.1 * velocity[name]
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_train_learns_and_test_does_not(net: s5.Net, twin: s5.Net, few: DataLoader) -> None:
    first = s5.test(net, "cpu", few)
    assert same_weights(net, twin)
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
    with pytest.raises(FloatingPointError, match=r"Step \d: the loss is NaN or infinite. Lower the learning rate"):
        s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), lr=1e30))


def test_a_test_names_the_batch_whose_loss_is_not_finite() -> None:
    rows = batches(2, 2, 2)
    criterion = nn.NLLLoss(weight=torch.tensor([math.inf, *[1.0] * 9]))
    with pytest.raises(FloatingPointError, match="Test batch 2: the loss is NaN or infinite"):
        s5.test(Fixed(), "cpu", rows, criterion)


def test_bfloat16_trains_nearly_the_same_and_weights_stay_float32(net: s5.Net, twin: s5.Net, few: DataLoader) -> None:
    full = s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), lr=0.01))
    half = s5.train(twin, "cpu", few, torch.optim.SGD(twin.parameters(), lr=0.01), dtype=torch.bfloat16)
    assert half.loss == pytest.approx(full.loss, rel=0.01)
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.float32}
    assert not same_weights(net, twin)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_no_step_waits_for_the_gpu() -> None:
    recipe = s5.get_recipe("fast", "sample")
    model = s5.make_model(recipe, device="cuda")
    loader, _ = s5.make_loaders(recipe, *s5.load_mnist("sample"), device="cuda")
    optimizer = s5.make_optimizer(recipe, model.parameters())
    scheduler = s5.make_scheduler(recipe, optimizer, len(loader))

    def waits(steps: int) -> int:
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            s5.train(model, "cuda", loader, optimizer, steps=steps, scheduler=scheduler, dtype=torch.bfloat16)
        torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)

    waits(1)
    assert waits(20) == waits(2) > 0  # in the first step and after the last, which is allowed


def test_progress_can_be_turned_on_and_off(net: s5.Net, few: DataLoader, capsys: pytest.CaptureFixture[str]) -> None:
    s5.test(net, "cpu", few, progress=False)
    s5.test(net, "cpu", few)  # a pipe is not interactive
    assert capsys.readouterr().out == ""
    s5.test(net, "cpu", few, progress=True)
    assert "3" in capsys.readouterr().out


def test_a_criterion_that_does_not_return_a_scalar_is_rejected(net: s5.Net, few: DataLoader) -> None:
    criterion = nn.NLLLoss(reduction="none")
    for call in (
        lambda: s5.test(net, "cpu", few, criterion),
        lambda: s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), lr=0.1), criterion),
    ):
        with pytest.raises(ValueError, match="expected the criterion to return a scalar"):
            call()


def test_labels_of_another_shape_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"got \[4, 10\] and \[4, 1\]"):
        s5.GetCorrectPredCount(torch.zeros(4, 10), torch.zeros(4, 1))


@pytest.mark.fault(20, "an empty loader")
def test_nothing_to_train_on_is_rejected(fault: Fault, net: s5.Net) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    fault.refused(ValueError, "The loader produced no batches", lambda: s5.train(net, "cpu", [], optimizer))
    fault.refused(ValueError, "The loader produced no batches", lambda: s5.test(net, "cpu", []))


@pytest.mark.parametrize("n", [10, 20])
def test_a_softmax_over_the_batch_is_rejected(n: int) -> None:
    class Over(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.randn(len(x), 10).log_softmax(dim=0)

    with pytest.raises(ValueError, match="the probabilities of one image sum to"):
        s5.test(Over(), "cpu", [(torch.rand(n, 1, 28, 28), torch.arange(n) % 10)])


def test_an_output_of_another_shape_is_rejected() -> None:
    batch = [(torch.rand(4, 1, 28, 28), torch.tensor([1, 2, 7, 9]))]
    for model in (nn.Sequential(nn.Flatten(), nn.Linear(784, 5), nn.LogSoftmax(1)), nn.Flatten()):
        with pytest.raises(ValueError, match=r"expected the model to return \[4, 10\]"):
            s5.test(model, "cpu", batch)


def test_generators_are_batches_and_steps_are_counted_from_one(net: s5.Net, few: DataLoader) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    assert s5.train(net, "cpu", (batch for batch in few), optimizer, steps=2, progress=True).loss > 0  # type: ignore
    assert s5.test(net, "cpu", (batch for batch in few)) == s5.test(net, "cpu", few)  # type: ignore[arg-type]
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"steps={steps} is invalid. It must be an integer of at least 1"):
            s5.train(net, "cpu", few, optimizer, steps=steps)


@pytest.mark.fault(20, "images or labels of the wrong type")
def test_a_batch_of_another_form_is_rejected(fault: Fault, net: s5.Net) -> None:
    """The message about images of another shape does not say that they are not normalized."""
    images, labels = torch.zeros(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])
    for batch, said in (
        ((images.byte(), labels), r"got uint8 \[4, 1, 28, 28\].*Normalize them first"),
        ((images.squeeze(1), labels), r"got .*\[4, 28, 28\].*Reshape them"),
        ((torch.zeros(4, 3, 32, 32), labels), "3, 32, 32"),
        ((images.double(), labels), r"got .*Call \.float"),
        (([[1]], labels), "got .*Pass tensors"),
        ((images, labels.int()), "int32"),
        ((images, F.one_hot(labels)), r"expected labels int64 \[4\]"),
        ((images, torch.tensor([3, 1, 10, 1])), "labels from 0 to 9, got 10"),
        ((images, torch.tensor([3, 1, -100, 1])), "labels from 0 to 9, got -100"),
        ((images[:0], labels[:0]), "the batch is empty"),
    ):
        fault.refused(ValueError, said, lambda batch=batch: s5.test(net, "cpu", [batch]))
    loss = F.nll_loss(net(images), torch.tensor([3, 1, -100, 1]))
    fault.plain("silently wrong", f"F.nll_loss leaves out the label -100 and returns {loss:.2f}")


def test_the_optimizer_of_another_model_is_an_error(net: s5.Net, few: DataLoader) -> None:
    """In a notebook, this happens if only the model's cell is run again."""
    optimizer = torch.optim.SGD(s5.Net().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="updates no parameter of this model"):
        s5.train(net, "cpu", few, optimizer)


def test_gradients_are_computed_whatever_was_switched_off_before(net: s5.Net, twin: s5.Net, few: DataLoader) -> None:
    s5.train(twin, "cpu", few, torch.optim.SGD(twin.parameters(), 0.1))
    with torch.no_grad():
        s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), 0.1))
        assert not torch.is_grad_enabled()
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_loss_without_a_gradient_is_named(net: s5.Net, few: DataLoader, frozen: bool) -> None:
    def detached(log_probs: Tensor, labels: Tensor) -> Tensor:
        return F.nll_loss(log_probs.detach(), labels)

    net.requires_grad_(not frozen)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"^Step 1: the loss has no gradient\. Are all weights frozen"):
        s5.train(net, "cpu", few, optimizer, F.nll_loss if frozen else detached)


def test_a_criterion_or_scheduler_of_another_kind_is_named(net: s5.Net, few: DataLoader) -> None:
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(TypeError, match=r"The criterion is the class NLLLoss\. Create it: NLLLoss\(\)\."):
        s5.train(net, "cpu", few, optimizer, nn.NLLLoss)
    with pytest.raises(TypeError, match=r"The criterion is the class CrossEntropyLoss\. Create it"):
        s5.test(net, "cpu", few, nn.CrossEntropyLoss)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(TypeError, match="ReduceLROnPlateau needs a loss, so train cannot step it"):
        s5.train(net, "cpu", few, optimizer, scheduler=plateau)  # type: ignore[arg-type]


def test_weights_in_float64_are_named(net: s5.Net, few: DataLoader) -> None:
    net.double()
    for call in (
        lambda: s5.train(net, "cpu", few, torch.optim.SGD(net.parameters(), 0.1)),
        lambda: s5.test(net, "cpu", few),
        lambda: s5.predict(net, "cpu", few),
    ):
        with pytest.raises(ValueError, match=r"The model's weights are float64\. Call model\.float\(\)"):
            call()


def test_a_last_batch_of_one_image_is_named(few: DataLoader) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10), nn.LogSoftmax(dim=1))
    loader = DataLoader(few.dataset, batch_size=3)
    with pytest.raises(ValueError, match=r"^Step 4: the batch has one image, and BatchNorm needs two\."):
        s5.train(flat, "cpu", loader, torch.optim.SGD(flat.parameters(), 0.1))
