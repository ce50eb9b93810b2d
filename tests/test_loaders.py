from functools import partial

import pytest
import torch

import mnist_s5 as s5
from mnist_s5 import loaders


def test_loaders_repeat_for_a_seed() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.rand(3)  # whatever ran before
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
    assert loaders.source_of(loader) == "sample"
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
    monkeypatch.setattr(loaders.sys, "platform", platform)
    _, loader = s5.get_testloader(source="sample", device=device)
    assert bool(loader.num_workers) == workers
    assert loader.pin_memory == (device == "cuda")


def test_a_loader_knows_where_its_digits_come_from(sample: tuple[s5.Digits, s5.Digits]) -> None:
    part = torch.utils.data.Subset(torch.utils.data.Subset(sample[0], range(64)), range(32))
    assert loaders.source_of(torch.utils.data.DataLoader(part)) == "sample"
    assert loaders.source_of([(torch.zeros(1), torch.zeros(1))]) == "unknown"
