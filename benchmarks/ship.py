"""Make the pretrained weights from runs/best-mnist-1: python benchmarks/ship.py

Temperature scaling (Guo et al. 2017): another network is trained in the same way on 55,000 digits. The temperature is
the number by which to divide its logits for the lowest loss on the other 5,000. Then the last layer of the pretrained
network is divided by it. This changes no prediction, and the pretrained network returns calibrated probabilities.
"""

import sys
from dataclasses import asdict

import torch
import torch.nn.functional as F
from record import record
from scipy.optimize import minimize_scalar
from torch import Tensor

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader
from mnist_s5.files import PRETRAINED_WEIGHTS
from mnist_s5.training.checkpoint import save_checkpoint

RUN = "runs/best-mnist-1"


def best_temperature(log_probs: Tensor, labels: Tensor) -> float:
    """Return the temperature with the lowest negative log likelihood."""

    def loss(temperature: float) -> float:
        return F.nll_loss((log_probs.double() / temperature).log_softmax(dim=1), labels).item()

    return float(minimize_scalar(loss, bounds=(0.1, 10)).x)


def calibration(log_probs: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the loss, the mean confidence, and the expected calibration error in ten bins (0 to 1)."""
    confidence, predicted = log_probs.exp().max(dim=1)
    bins = (10 * confidence).long().clamp(max=9)
    gaps = torch.bincount(bins, confidence.double() - (predicted == labels).double())  # the sum for each bin
    return {
        "test_loss": F.nll_loss(log_probs, labels).item(),
        "mean_confidence": confidence.mean().item(),
        "calibration_error": gaps.abs().sum().item() / len(labels),
    }


@torch.no_grad()
def scale(model: s5.Net, temperature: float) -> None:
    """Divide the logits of the network by the temperature."""
    model.fc2.weight /= temperature
    model.fc2.bias /= temperature


def main() -> None:
    """Choose the temperature, and write the weights and results/temperature.json."""
    device, (train_set, test_set) = s5.get_device(), s5.load_mnist("mnist")
    model, facts = s5.load_checkpoint(RUN)
    recipe = s5.get_recipe(facts["recipe"])
    if any(facts[name] != value for name, value in asdict(recipe).items() if name != "name"):
        sys.exit(f"{RUN} has another recipe than today's {recipe.name}. Train it again: python benchmarks/train.py")
    rest, val_set = s5.train_val_split(train_set)
    other, _ = s5.fit(recipe, rest, val_set, seed=facts["seed"], device=device)
    temperature = best_temperature(*s5.predict(other, device, DeviceLoader(val_set, device=device)))
    test_loader = DeviceLoader(test_set, device=device)
    before, labels = s5.predict(model.to(device), device, test_loader)
    scale(model, temperature)
    after, _ = s5.predict(model, device, test_loader)
    if not torch.equal(before.argmax(dim=1), after.argmax(dim=1)):
        sys.exit("The temperature changes predictions, because some probabilities are nearly equal.")
    scores = {f"{name}_before": value for name, value in calibration(before, labels).items()}
    scores |= {f"{name}_after": value for name, value in calibration(after, labels).items()}
    facts |= {"test_loss": scores["test_loss_after"], "temperature": temperature}
    save_checkpoint(model, PRETRAINED_WEIGHTS, **facts)
    print(record("temperature", temperature=temperature, test_accuracy=facts["test_accuracy"], **scores).name)


if __name__ == "__main__":
    main()
