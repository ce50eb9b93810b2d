import hashlib
import os

import pytest
import torch
from PIL import Image
from torchvision import datasets, transforms

import mnist_s5 as s5
from mnist_s5.data import digits

REAL = pytest.mark.skipif(not os.environ.get("MNIST_S5_DATA"), reason="MNIST_S5_DATA names no folder with full MNIST")


def test_sample_is_the_same_400_and_100_of_each_class(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
    train, test = sample
    assert (len(train), len(test), train.name) == (4000, 1000, "sample")
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
    for ours, train in zip(s5.load_mnist("mnist"), (True, False), strict=True):
        theirs = datasets.MNIST(os.environ["MNIST_S5_DATA"], train=train)
        assert torch.equal(ours.data, theirs.data)
        assert torch.equal(ours.targets, theirs.targets)
        assert ours.name == "mnist"


@REAL
def test_the_sample_holds_no_test_digit(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
    known = {image.numpy().tobytes() for image in s5.load_mnist("mnist")[1].data}
    assert not any(image.numpy().tobytes() in known for part in sample for image in part.data)


def test_an_unknown_source_names_the_known() -> None:
    with pytest.raises(ValueError, match="auto, mnist, sample"):
        s5.load_mnist("emnist")


def test_the_reference_pipelines(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
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
        step
        for step in digits.train_transforms(flip_prob=0.5).transforms
        if isinstance(step, transforms.RandomHorizontalFlip)
    ]
    assert [flip.p for flip in flips] == [0.5]
    assert not any(isinstance(step, transforms.RandomHorizontalFlip) for step in digits.train_transforms().transforms)


def test_the_validation_set_is_not_trained_on(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
    train_set, val_set = s5.train_val_split(sample[0], 500)
    assert (len(train_set), len(val_set), val_set.name) == (3500, 500, "sample")
    known = {image.numpy().tobytes() for image in train_set.data}
    assert not any(image.numpy().tobytes() in known for image in val_set.data)
    assert torch.equal(val_set.data, s5.train_val_split(sample[0], 500)[1].data)
    assert [len(part) for part in s5.train_val_split(sample[0])] == [3667, 333]  # a twelfth, as 5,000 of 60,000
    with pytest.raises(ValueError, match="Cannot split 4000 digits off 4,000"):
        s5.train_val_split(sample[0], 4000)


def test_validation_digits_are_not_augmented(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
    train_set, val_set = s5.train_val_split(sample[0], 500)
    assert torch.equal(val_set[7][0], val_set[7][0])
    assert torch.equal(val_set[7][0], digits.test_transforms()(Image.fromarray(val_set.data[7].numpy())))
    assert len({train_set[7][0].numpy().tobytes() for _ in range(10)}) > 1


def test_normalize_is_the_references(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> None:
    pixels = sample[1].data[5]
    assert torch.equal(s5.normalize(pixels), sample[1][5][0][0])
    as_float = pixels.float()
    s5.normalize(as_float)
    assert torch.equal(as_float, pixels.float())  # the input is unchanged


def test_digits_that_somebody_changes_are_a_copy() -> None:
    train_set, _ = s5.load_mnist("sample")
    train_set.targets[:] = 0
    assert s5.load_mnist("sample")[0].targets.sum() > 0
