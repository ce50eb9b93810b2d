"""Make the pretrained weights from runs/best-mnist-1: python benchmarks/ship.py [--same-temperature]

Few digits in MNIST are a 1 with a flag, so `best` takes most of those for a 7. The network is trained a little further
with 4,000 drawn 1s with a flag, and 2,000 drawn 7s with a bar, among all training digits.

Temperature scaling (Guo et al. 2017): another network is trained in the same way on 55,000 digits. The temperature is
the number by which to divide its logits for the lowest loss on the other 5,000. Then the last layer of the pretrained
network is divided by it. This changes no prediction, and the pretrained network returns calibrated probabilities.
`--same-temperature` uses the temperature in results/temperature.json.

Then the 50 values of `fc1` for 4,000 training digits, and the distance within which 99% of other training digits have a
neighbor among them, are saved for `mnist_s5.pictures.distance`.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace

import numpy as np
import render
import torch
import torch.nn.functional as F
from record import RESULTS, record
from safetensors.torch import save_file
from scipy.optimize import minimize_scalar
from torch import Tensor

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader
from mnist_s5.files import PRETRAINED_WEIGHTS
from mnist_s5.pictures.distance import KNOWN_DIGITS, describe
from mnist_s5.pictures.prepare import to_mnist
from mnist_s5.training.checkpoint import save_checkpoint
from mnist_s5.training.recipes import Recipe

RUN = "runs/best-mnist-1"
STYLES = {"epochs": 0.3, "learning_rate": 0.003, "batch_size": 128, "init": "torch"}  # changes to `best`


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


def styled_digits(ones: int, sevens: int, seed: int) -> s5.DigitDataset:
    """Draw 1s with a flag and 7s with a bar, with pens of any width."""
    rng = np.random.default_rng(seed)
    drawn = [render.flagged_one] * ones + [render.barred_seven] * sevens
    images = [to_mnist(draw(rng, 100, rng.uniform(0.04, 0.16))) for draw in drawn]
    return s5.DigitDataset(torch.stack(images), torch.tensor([1] * ones + [7] * sevens), "styles")


def accuracy(model: s5.Net, dataset: s5.DigitDataset, device: torch.device) -> float:
    """Return the accuracy in percent."""
    return s5.test(model, device, DeviceLoader(dataset, device=device)).accuracy


def train_styles(model: s5.Net, train_set: s5.DigitDataset, seed: int, device: torch.device) -> s5.Net:
    """Train a network a little further, with drawn digits among the training digits."""
    drawn = styled_digits(4000, 2000, seed=1)
    data, targets = torch.cat([train_set.data, drawn.data]), torch.cat([train_set.targets, drawn.targets])
    recipe = replace(s5.get_recipe("best"), name="styles", **STYLES)  # type: ignore[arg-type]
    both = s5.DigitDataset(data, targets, train_set.name)

    def network() -> s5.Net:
        net = s5.Net()
        net.load_state_dict(model.state_dict())
        return net

    tuned, _ = s5.fit(recipe, both, styled_digits(400, 200, seed=2), seed=seed, device=device, network=network)
    return tuned


def save_known_digits(model: s5.Net, train_set: s5.DigitDataset) -> float:
    """Save the 50 values of `fc1` for the sample's 4,000 training digits. Returns the limit of the distance."""
    known = s5.load_mnist("sample")[0].data
    seen = {image.numpy().tobytes() for image in known}
    other = torch.stack([image for image in train_set.data[:9000] if image.numpy().tobytes() not in seen])
    features = describe(model, known).half()
    limit = torch.cdist(describe(model, other), features.float()).amin(dim=1).quantile(0.99).item()
    save_file({"fc1": features}, KNOWN_DIGITS, {"limit": f"{limit:.4f}"})
    return limit


def main(*, same_temperature: bool) -> None:
    """Write the weights, what the distance needs, and results/temperature.json."""
    device, (train_set, test_set) = s5.get_device(), s5.load_mnist("mnist")
    model, facts = s5.load_checkpoint(RUN)
    recipe = s5.get_recipe(facts["recipe"])
    ran = asdict(Recipe(recipe.name)) | facts  # the run may be older than a field
    if any(ran[name] != value for name, value in asdict(recipe).items() if name != "name"):
        sys.exit(f"{RUN} has another recipe than today's {recipe.name}. Train it again: python benchmarks/train.py")
    styles = styled_digits(1000, 500, seed=3)
    scores = {"styles_of_best": accuracy(model, styles, device), "test_accuracy_of_best": facts["test_accuracy"]}
    model = train_styles(model, train_set, facts["seed"], device)
    if same_temperature:
        temperature = json.loads((RESULTS / "temperature.json").read_text())["temperature"]
    else:
        rest, val_set = s5.train_val_split(train_set)
        other, _ = s5.fit(recipe, rest, val_set, seed=facts["seed"], device=device)
        other = train_styles(other, rest, facts["seed"], device)
        temperature = best_temperature(*s5.predict(other, device, DeviceLoader(val_set, device=device)))
    test_loader = DeviceLoader(test_set, device=device)
    before, labels = s5.predict(model.to(device), device, test_loader)
    scale(model, temperature)
    after, _ = s5.predict(model, device, test_loader)
    if not torch.equal(before.argmax(dim=1), after.argmax(dim=1)):
        sys.exit("The temperature changes predictions, because some probabilities are nearly equal.")
    scores |= {"styles": accuracy(model, styles, device), "test_accuracy": accuracy(model, test_set, device)}
    scores |= {f"{name}_before": value for name, value in calibration(before, labels).items()}
    scores |= {f"{name}_after": value for name, value in calibration(after, labels).items()}
    facts |= {"test_accuracy": scores["test_accuracy"], "test_loss": scores["test_loss_after"]}
    save_checkpoint(model, PRETRAINED_WEIGHTS, **facts, temperature=temperature, styles=STYLES)
    limit = save_known_digits(model.cpu(), train_set)
    print(record("temperature", temperature=temperature, distance_limit=limit, **scores).name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--same-temperature", action="store_true", help="do not choose the temperature again")
    main(same_temperature=parser.parse_args().same_temperature)
