"""Count how many digits in drawn pictures are found and recognized by the pretrained network.

`python benchmarks/pictures.py` draws pictures of test digits with the ranges `REPORTING`, and records the result as
results/pictures.json. `--tuning` draws pictures of training digits with the ranges `TUNING`, and records nothing.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import render
import torch
from PIL import Image
from record import record

import mnist_s5 as s5
from mnist_s5.pictures.classify import classify
from mnist_s5.pictures.find import CONFIDENT, FoundDigit
from mnist_s5.pictures.read import ImageError

KINDS = [*render.KINDS, "transparent"]


def outcome(found: list[FoundDigit], labels: list[int]) -> str:
    """Say what happened with a picture of these digits."""
    if len(found) != len(labels):
        return "wrong number of digits"
    wrong = [digit for digit, label in zip(found, labels, strict=True) if digit.label != label]
    if not wrong:
        return "correct" if all(digit.sure for digit in found) else "correct, but not sure"
    return "wrong and sure" if any(digit.sure for digit in wrong) else "wrong, but not sure"


def read(make: Callable[[], tuple[np.ndarray, list[int]]]) -> tuple[str, int, int]:
    """Draw and classify a picture. Returns the outcome, the number of correct digits in order, and that of all."""
    torch.set_num_threads(1)
    picture, labels = make()
    try:
        found = classify(network(), picture)
    except ImageError:
        found = []
    correct = sum(digit.label == label for digit, label in zip(found, labels, strict=False))
    return outcome(found, labels), correct if len(found) == len(labels) else 0, len(labels)


def one_digit(kind: str, seed: int, ranges: render.Ranges) -> tuple[np.ndarray, list[int]]:
    rng, dataset = np.random.default_rng(seed), digits(ranges)
    index = int(rng.integers(len(dataset)))
    image = dataset.data[index].numpy()
    draw = render.transparent if kind == "transparent" else partial(render.draw, kind)
    return draw(image, ranges, rng), [int(dataset.targets[index])]


def page(layout: str, kind: str, seed: int, ranges: render.Ranges) -> tuple[np.ndarray, list[int]]:
    rng, dataset = np.random.default_rng(seed), digits(ranges)
    indices = rng.integers(len(dataset), size=60)
    picture, shown = render.draw_layout(layout, list(dataset.data[indices].numpy()), kind, ranges, rng)
    return picture, dataset.targets[indices[:shown]].tolist()


def own_image(index: int, ranges: render.Ranges) -> tuple[np.ndarray, list[int]]:
    dataset = digits(ranges)
    return dataset.data[index].numpy(), [int(dataset.targets[index])]


def speed(count: int, ranges: render.Ranges) -> dict[str, float]:
    """Classify files one after the other. Returns pictures per second, and the fraction of time outside the network."""
    model, inside, total = network(), [0.0], 0.0
    model.register_forward_pre_hook(lambda *_: inside.append(-time.perf_counter()))
    model.register_forward_hook(lambda *_: inside.append(time.perf_counter()))
    with TemporaryDirectory() as folder:
        for index in range(count):
            kind, path = list(render.KINDS)[index % len(render.KINDS)], Path(folder) / f"{index}.jpg"
            Image.fromarray(one_digit(kind, index, ranges)[0]).save(path, quality=90)
        for path in Path(folder).iterdir():
            total -= time.perf_counter()
            with suppress(ImageError):
                classify(model, path)
            total += time.perf_counter()
    return {"pictures": count, "pictures_per_second": count / total, "outside_network": 1 - sum(inside) / total}


@lru_cache
def digits(ranges: render.Ranges) -> s5.DigitDataset:
    return s5.load_mnist("mnist")[ranges != render.TUNING]


@lru_cache
def network() -> s5.Net:
    return s5.load_checkpoint()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="use training digits, and record nothing")
    parser.add_argument("--pictures", type=int, default=80, metavar="N", help="pictures of each kind")
    parser.add_argument("--images", type=int, default=10_000, metavar="N", help="MNIST's own images")
    args = parser.parse_args()
    ranges = render.TUNING if args.tuning else render.REPORTING
    papers = ["scan", "colored_pen", "lined", "uneven_light", "sheet_on_table"]
    results: dict[str, Any] = {"pictures": {}, "pages": {}, "sure": CONFIDENT}
    with ProcessPoolExecutor() as pool:
        for number, kind in enumerate(KINDS):
            seeds = range(1000 * number, 1000 * number + args.pictures)
            makes = [partial(one_digit, kind, seed, ranges) for seed in seeds]
            results["pictures"][kind] = Counter(each for each, _, _ in pool.map(read, makes))
            print(kind, dict(results["pictures"][kind]), flush=True)
        for layout in render.LAYOUTS:
            makes = [partial(page, layout, "scan" if layout == "boxes" else paper, 0, ranges) for paper in papers]
            counts = list(pool.map(read, makes))
            correct, total = sum(n for _, n, _ in counts), sum(n for _, _, n in counts)
            results["pages"][layout] = {"correct": correct, "digits": total}
            print(layout, correct, total, flush=True)
        makes = [partial(own_image, index, ranges) for index in range(args.images)]
        outcomes = Counter(each for each, _, _ in pool.map(read, makes, chunksize=100))
        results["mnist"] = {"images": args.images, **outcomes}
        print("MNIST", dict(outcomes), flush=True)
    results["speed"] = speed(12 * args.pictures, ranges)
    print("speed", results["speed"])
    if not args.tuning:
        record("pictures", **results)


if __name__ == "__main__":
    main()
