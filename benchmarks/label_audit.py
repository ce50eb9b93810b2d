"""What people say about the labels of the digits that the pretrained network misclassifies.

python benchmarks/label_audit.py VOTES

Northcutt, Athalye, and Mueller (2021) showed doubtful test digits of MNIST to five people each, who chose between the
label, another digit that looked more likely, both, or neither. VOTES is their file mnist_mturk.json
(github.com/cleanlab/label-errors). Writes the votes for the network's mistakes to results/label_audit.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

from record import record

import mnist_s5 as s5
from mnist_s5.data.loaders import DeviceLoader

MAJORITY = 3  # of five people


def main(path: Path) -> dict[str, Any]:
    """Compare the network's predictions with the votes, and return what to record."""
    asked = {entry["id"]: entry for entry in json.loads(path.read_text())}
    # In 13 entries, both choices are the label, and the file counts each vote twice.
    asked = {n: entry for n, entry in asked.items() if entry["given_original_label"] != entry["our_guessed_label"]}
    device, test_set = s5.get_device(), s5.load_mnist("mnist")[1]
    model = s5.load_checkpoint()[0].to(device)
    log_probs, labels = s5.predict(model, device, DeviceLoader(test_set, device=device))
    predicted = log_probs.argmax(dim=1)
    rows = []
    for index in (predicted != labels).nonzero().flatten().tolist():
        row: dict[str, int] = {"index": index, "label": int(labels[index]), "predicted": int(predicted[index])}
        if (entry := asked.get(index)) is not None:
            assert entry["given_original_label"] == row["label"]
            votes = entry["mturk"]
            agree = votes["guessed"] if entry["our_guessed_label"] == row["predicted"] else 0  # it was not a choice
            row |= {"for_label": votes["given"], "for_prediction": agree}
        rows.append(row)
    rejected = [index for index, entry in asked.items() if entry["mturk"]["given"] < MAJORITY]
    return {
        "asked": len(asked),
        "mistakes": rows,
        "rejected_labels": len(rejected),
        "rejected_but_predicted": sum(int(predicted[index]) == int(labels[index]) for index in rejected),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(record("label_audit", **main(Path(sys.argv[1]))).name)
