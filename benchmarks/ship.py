"""Make the pretrained weights from runs/best-mnist-1: python benchmarks/ship.py

Temperature scaling (Guo et al. 2017): a network that was trained in the same way on 55,000 digits shows by which
temperature to divide the logits, so that the confidence on a validation set of the other 5,000 is calibrated. The last
layer is divided by it. This changes no prediction, and everything that loads the weights gets calibrated probabilities.
"""

import torch
import torch.nn.functional as F
from record import record
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader
from mnist_s5.training.checkpoint import PRETRAINED_WEIGHTS, save_checkpoint


@torch.no_grad()
def predictions(model: nn.Module, dataset: s5.DigitDataset, device: torch.device) -> Tensor:
    """Return log-probabilities, float [N, 10], on the CPU."""
    return torch.cat([model(images).cpu() for images, _ in DeviceLoader(dataset, device=device)])


def best_temperature(log_probs: Tensor, labels: Tensor) -> float:
    """Return the temperature with the lowest negative log likelihood."""

    def loss(temperature: float) -> float:
        return F.nll_loss((log_probs.double() / temperature).log_softmax(dim=1), labels).item()

    return float(minimize_scalar(loss, bounds=(0.1, 10)).x)


@torch.no_grad()
def scale(model: s5.Net, temperature: float) -> None:
    """Divide the logits of the network by the temperature."""
    model.fc2.weight /= temperature
    model.fc2.bias /= temperature


def main(source: str = "mnist", run: str = "runs/best-mnist-1") -> None:
    """Choose the temperature, and write the weights and results/temperature.json."""
    device, (train_set, test_set) = s5.get_device(), s5.load_mnist(source)
    model, facts = s5.load_checkpoint(run)
    recipe = s5.get_recipe(facts["recipe"], source)
    rest, val_set = s5.train_val_split(train_set)
    other, _ = s5.fit(recipe, rest, val_set, seed=facts["seed"], device=device)
    temperature = best_temperature(predictions(other, val_set, device), val_set.targets)
    found: dict[str, float] = {"temperature": temperature}
    for when in ("before", "after"):
        log_probs = predictions(model.to(device), test_set, device)
        found[f"test_loss_{when}"] = F.nll_loss(log_probs, test_set.targets).item()
        found[f"mean_confidence_{when}"] = log_probs.exp().max(dim=1).values.mean().item()
        if when == "before":
            scale(model, temperature)
    facts |= {"test_loss": found["test_loss_after"], "temperature": temperature}
    save_checkpoint(model, PRETRAINED_WEIGHTS, **facts)
    print(record("temperature", test_accuracy=facts["test_accuracy"], **found).name)


if __name__ == "__main__":
    main()
