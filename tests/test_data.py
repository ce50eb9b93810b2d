import hashlib
import os

import pytest
import torch
from torchvision import datasets, transforms

import mnist_s5 as s5
from mnist_s5 import data

REAL = pytest.mark.skipif(not os.environ.get("MNIST_S5_DATA"), reason="MNIST_S5_DATA names no folder with full MNIST")


def test_sample_is_the_same_400_and_100_of_each_class(sample: tuple[s5.Digits, s5.Digits]) -> None:
    train, test = sample
    assert (len(train), len(test), train.source) == (4000, 1000, "sample")
    assert train.data.dtype == torch.uint8
    assert train.targets.dtype == torch.int64
    assert train.targets.bincount().tolist() == [400] * 10
    assert test.targets.bincount().tolist() == [100] * 10
    assert not {image.numpy().tobytes() for image in train.data} & {image.numpy().tobytes() for image in test.data}
    assert hashlib.sha256(test.data.numpy().tobytes()).hexdigest()[:16] == "c472d02b59d863f0"


def test_sample_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    s5.load_mnist("sample")
    assert "embedded sample" in capsys.readouterr().err


@REAL
def test_full_mnist_is_what_torchvision_reads() -> None:
    for ours, train in zip(s5.load_mnist("mnist"), (True, False)):
        theirs = datasets.MNIST(os.environ["MNIST_S5_DATA"], train=train)
        assert torch.equal(ours.data, theirs.data)
        assert torch.equal(ours.targets, theirs.targets)
        assert ours.source == "mnist"


@REAL
def test_the_sample_holds_no_test_digit(sample: tuple[s5.Digits, s5.Digits]) -> None:
    known = {image.numpy().tobytes() for image in s5.load_mnist("mnist")[1].data}
    assert not any(image.numpy().tobytes() in known for part in sample for image in part.data)


def test_an_unknown_source_names_the_known() -> None:
    with pytest.raises(ValueError, match="auto, mnist, sample"):
        s5.load_mnist("emnist")


def test_the_reference_pipelines(sample: tuple[s5.Digits, s5.Digits]) -> None:
    train, test = sample
    steps = train.transform.transforms
    assert [type(step).__name__ for step in steps] == [
        "RandomApply",
        "Resize",
        "RandomRotation",
        "ToTensor",
        "Normalize",
    ]
    assert (steps[0].p, steps[0].transforms[0].size, steps[1].size) == (0.1, (22, 22), (28, 28))
    assert (steps[2].degrees, steps[2].fill) == ([-15.0, 15.0], 0)
    image, label = test[5]
    torch.testing.assert_close(image[0], (test.data[5] / 255 - 0.1307) / 0.3081)
    assert label == 0


def test_flipping_is_off_unless_asked_for() -> None:
    flips = [
        step for step in s5.train_transforms(flip=0.5).transforms if isinstance(step, transforms.RandomHorizontalFlip)
    ]
    assert [flip.p for flip in flips] == [0.5]
    assert not any(isinstance(step, transforms.RandomHorizontalFlip) for step in s5.train_transforms().transforms)


def test_loaders_repeat_for_a_seed() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        return next(iter(s5.get_trainloader(32, source="sample", seed=seed)[1]))[1]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_published_calls_give_dataset_and_loader() -> None:
    train_set, train_loader = s5.get_trainloader(source="sample")
    test_set, test_loader = s5.get_testloader(source="sample")
    assert (train_loader.dataset, test_loader.dataset) == (train_set, test_set)
    assert (train_loader.batch_size, len(test_loader)) == (512, 2)
    assert torch.equal(torch.cat([labels for _, labels in test_loader]), test_set.targets)


@pytest.mark.parametrize(
    ("platform", "device", "workers"),
    [("linux", "cpu", True), ("linux", "mps", False), ("win32", "cuda", False), ("darwin", "cpu", False)],
)
def test_workers_and_pinning(monkeypatch: pytest.MonkeyPatch, platform: str, device: str, workers: bool) -> None:
    monkeypatch.setattr(data.sys, "platform", platform)
    _, loader = s5.get_testloader(source="sample", device=device)
    assert bool(loader.num_workers) == workers
    assert loader.pin_memory == (device == "cuda")


def test_a_loader_knows_where_its_digits_come_from(sample: tuple[s5.Digits, s5.Digits]) -> None:
    part = torch.utils.data.Subset(torch.utils.data.Subset(sample[0], range(64)), range(32))
    assert data.source_of(torch.utils.data.DataLoader(part)) == "sample"
    assert data.source_of([(torch.zeros(1), torch.zeros(1))]) == "unknown"
