import hashlib
import os
from functools import partial

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


def test_a_device_loaders_batches(sample: tuple[s5.Digits, s5.Digits]) -> None:
    loader = s5.DeviceLoader(sample[1], 300)
    batches = list(loader)
    assert [tuple(images.shape) for images, _ in batches] == [(300, 1, 28, 28)] * 3 + [(100, 1, 28, 28)]
    assert len(loader) == 4
    assert torch.equal(torch.cat([labels for _, labels in batches]), sample[1].targets)
    assert torch.equal(batches[0][0][5], sample[1][5][0])  # to the bit what the transforms give
    assert data.source_of(loader) == "sample"
    assert torch.equal(loader.images[:, 0], sample[1].data)  # a batch is no view that somebody could spoil them by


def test_a_device_loader_repeats_for_a_seed_whatever_ran_before(sample: tuple[s5.Digits, s5.Digits]) -> None:
    def two_epochs(seed: int, noise: int) -> list[torch.Tensor]:
        torch.manual_seed(noise)
        draw = partial(s5.draw_affine, degrees=15)
        loader = s5.DeviceLoader(sample[0], 1000, draw, shuffle=True, seed=seed)
        found = []
        for _ in range(2):
            torch.rand(noise)
            found += [part for batch in loader for part in batch]
        return found

    first = two_epochs(1, 3)
    assert all(torch.equal(a, b) for a, b in zip(first, two_epochs(1, 8)))
    assert not torch.equal(first[1], two_epochs(2, 3)[1])
    assert not torch.equal(first[1], first[9])  # another order in the second epoch
    assert torch.equal(torch.cat(first[1:8:2]).sort().values, sample[0].targets.sort().values)  # each digit once


def test_digits_held_out_are_not_trained_on(sample: tuple[s5.Digits, s5.Digits]) -> None:
    rest, held = s5.hold_out(sample[0], 500)
    assert (len(rest), len(held), held.source) == (3500, 500, "sample")
    known = {image.numpy().tobytes() for image in rest.data}
    assert not any(image.numpy().tobytes() in known for image in held.data)
    assert torch.equal(held.data, s5.hold_out(sample[0], 500)[1].data)
    with pytest.raises(ValueError, match=r"n=4000 cannot be held out of 4,000 digits"):
        s5.hold_out(sample[0], 4000)


def test_normalize_is_the_references(sample: tuple[s5.Digits, s5.Digits]) -> None:
    pixels = sample[1].data[5]
    assert torch.equal(s5.normalize(pixels), sample[1][5][0][0])
    as_float = pixels.float()
    s5.normalize(as_float)
    assert torch.equal(as_float, pixels.float())  # what was given stays as it was


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
