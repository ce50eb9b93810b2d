import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import mnist_s5 as s5


@pytest.fixture(scope="session")
def sample() -> tuple[s5.Digits, s5.Digits]:
    return s5.load_mnist("sample")


@pytest.fixture
def few(sample: tuple[s5.Digits, s5.Digits]) -> DataLoader:
    """Ten test digits, one a class, in batches of 4, 4 and 2."""
    digits = sample[1]
    picked = range(0, 1000, 100)
    images = torch.stack([digits[i][0] for i in picked])
    return DataLoader(TensorDataset(images, digits.targets[list(picked)]), batch_size=4)


@pytest.fixture
def net() -> s5.Net:
    s5.seed_everything(3)
    return s5.Net()
