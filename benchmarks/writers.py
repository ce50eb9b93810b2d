"""Who wrote the digits that a network misclassifies: python benchmarks/writers.py [LABELS]

MNIST does not say who wrote a digit. QMNIST's labels (Yadav and Bottou 2019) do. LABELS is their file
qmnist-test-labels-idx2-int, or its .gz. Without it, torchvision downloads them. The first 10,000 are those of MNIST's
test digits. Counts the mistakes by writer, of the pretrained network and of each record that lists them, computes the
95% interval of the accuracy from digits and from writers, and writes results/writers.json.
"""

import gzip
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from record import RESULTS, record
from torchvision.datasets import QMNIST
from train import mistakes

import mnist_s5 as s5

STUDENTS = 4  # NIST's series of digits by high-school students. The others are by Census employees.


def read_labels(path: Path | None = None) -> np.ndarray:
    """Return eight integers for each of MNIST's test digits, int [10000, 8]: label, NIST's series, writer, ..."""
    if path is None:
        with TemporaryDirectory() as folder:
            return QMNIST(folder, what="test10k", compat=False, download=True).targets.numpy()
    blob = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return np.frombuffer(blob, ">i4", offset=12).reshape(-1, 8)[:10_000].astype(np.int64)


def variances(digits: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return the variance of the number of mistakes, if digits are independent, and if only writers are: float [2].

    Args:
        digits: Number of digits of each writer, int [W].
        wrong: Number of misclassified digits of each writer, int [W].
    """
    n, p = digits.sum(), wrong.sum() / digits.sum()
    residuals = wrong - p * digits  # of a ratio of two sums over writers (Cochran 1977, section 6.4)
    return np.array([n * p * (1 - p), len(digits) / (len(digits) - 1) * (residuals**2).sum()])


def main(path: Path | None = None) -> dict[str, Any]:
    """Count the mistakes by writer, and return what to record."""
    test_set = s5.load_mnist("mnist")[1]
    labels = read_labels(path)
    assert (labels[:, 0] == test_set.targets.numpy()).all(), "These are not the labels of MNIST's test digits."
    _, writer = np.unique(labels[:, 2], return_inverse=True)
    digits = np.bincount(writer)
    student = np.bincount(writer, labels[:, 1] == STUDENTS) > 0
    records = {path.stem: s5.recorded(path.stem)[1] for path in sorted(RESULTS.glob("*-mnist-*.json"))}
    wrong = {name: found["mistakes"] for name, found in records.items() if "mistakes" in found}
    wrong["pretrained"] = mistakes(s5.load_checkpoint()[0], test_set, s5.get_device("cpu"))
    networks = {}
    for name, indices in wrong.items():
        counts = np.bincount(writer[indices], minlength=len(digits))
        groups = {"students": student, "employees": ~student}
        whole = variances(digits, counts)
        within = sum(variances(digits[where], counts[where]) for where in groups.values())
        from_digits, from_writers = 196 * whole**0.5 / digits.sum()  # half of the 95% interval, in percentage points
        networks[name] = {"mistakes": counts, "half_width_digits": from_digits, "half_width_writers": from_writers}
        networks[name] |= {"design_effect": whole[1] / whole[0], "design_effect_within": within[1] / within[0]}
        for group, where in groups.items():
            networks[name][group] = 100 * (1 - counts[where].sum() / digits[where].sum())
    return {"digits": digits, "student": student, "networks": networks}


if __name__ == "__main__":
    print(record("writers", **main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)).name)
