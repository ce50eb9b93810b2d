"""A whole training run in one function, in the order of execution: `fit` without checks, files, and options.

The parts that a recipe determines come from the package. It ends with the same weights as `fit`, bit for bit.
python benchmarks/bare.py trains one epoch of `fast`.
"""

import math
from itertools import islice

import torch
import torch.nn.functional as F
from torch import nn

import mnist_s5 as s5
from mnist_s5.training.loops import Score
from mnist_s5.training.recipes import Recipe


def bare(
    recipe: Recipe, train_set: s5.DigitDataset, test_set: s5.DigitDataset, seed: int, device: torch.device
) -> tuple[nn.Module, Score]:
    """Train a network, and test it."""
    dtype = recipe.dtype(device)
    s5.seed_everything(seed)
    model = s5.make_model(recipe, device=device)
    loader, test_loader = s5.make_loaders(recipe, train_set, test_set, device)
    optimizer = s5.make_optimizer(recipe, model.parameters())
    scheduler = s5.make_scheduler(recipe, optimizer, len(loader))
    steps = recipe.steps(len(loader))
    model.train()
    for epoch in range(math.ceil(steps / len(loader))):
        s5.seed_everything(seed, epoch)
        loader.epoch = epoch
        for images, labels in islice(loader, steps - epoch * len(loader)):
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                log_probs = model(images)
            log_probs = log_probs.float()
            loss = torch.lerp(F.nll_loss(log_probs, labels), -log_probs.mean(), recipe.label_smoothing)
            loss.backward()
            optimizer.step()
            scheduler.step()
    return model, s5.test(model, device, test_loader)


if __name__ == "__main__":
    train_set, test_set = s5.load_mnist()
    _, score = bare(s5.get_recipe("fast", train_set.name), train_set, test_set, seed=1, device=s5.get_device())
    print(f"{score.accuracy:.2f}% of {len(test_set):,} test digits")
