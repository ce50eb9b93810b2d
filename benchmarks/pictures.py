"""Count how many digits in drawn pictures are found and recognized by the pretrained network.

`python benchmarks/pictures.py` draws pictures of test digits with the ranges `REPORTING`, and records the result as
results/pictures.json. `--tuning` draws pictures of training digits with the ranges `TUNING`, and records nothing.
`--rules` also measures what each rule gains: it counts the scenes that are read correctly without the rule.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
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
Drawn = tuple[np.ndarray, list[int]]
# What replaces each rule: the name of its function, and what does nothing instead.
RULES: dict[str, tuple[Any, str, Any]] = {}
with suppress(ImportError):
    from mnist_s5.pictures import page as sheet
    from mnist_s5.pictures import ways
    from mnist_s5.pictures.reading import Reading

    RULES = {
        "an even background is simple": (ways, "even_contrast", lambda rgb: None),
        "lines are removed": (ways, "remove_lines", lambda contrast, page, threshold: contrast),
        "bent lines are removed": (ways, "remove_thin", lambda contrast, threshold: contrast),
        "touching digits are cut": (Reading, "_cut", lambda self, candidate: []),
        "parts side by side are joined": (Reading, "_join", lambda self, candidates: candidates),
        "shapes that are one by mistake are separated": (Reading, "_split", lambda self, candidates: candidates),
        "thin lines are not a 1": (Reading, "_without_lines", lambda self, candidates: candidates),
        "a glare is not a sheet": (sheet, "SHARP", 0.0),
        "faint digits beside strong ones": (Reading, "overlooks", property(lambda self: False)),
        "a clear way is better than others": (ways, "best_of", lambda tried: max(tried, key=lambda way: way.score)),
        "several ways are compared": (Reading, "clear", property(lambda self: bool(self.digits))),
    }


def outcome(found: list[FoundDigit], labels: list[int]) -> str:
    """Say what happened with a picture of these digits."""
    if len(found) != len(labels):
        return "wrong number of digits"
    wrong = [digit for digit, label in zip(found, labels, strict=True) if digit.label != label]
    if not wrong:
        return "correct" if all(digit.sure for digit in found) else "correct, but not sure"
    return "wrong and sure" if any(digit.sure for digit in wrong) else "wrong, but not sure"


def naive(picture: np.ndarray) -> int:
    """Classify a picture in the obvious way: make the background dark, and shrink the picture."""
    gray = Image.fromarray(picture).convert("RGBA")
    gray = Image.alpha_composite(Image.new("RGBA", gray.size, "white"), gray).convert("L")
    values = np.asarray(gray, np.float32)
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    values = 255 - values if np.median(border) > 127 else values
    small = np.asarray(Image.fromarray(values).resize((28, 28), Image.Resampling.BOX)).round()
    with torch.no_grad():
        return int(network()(s5.normalize(torch.from_numpy(small).byte()[None, None])).argmax())


def read(make: Callable[[], Drawn]) -> tuple[str, int, int, bool]:
    """Draw and classify a picture.

    Returns:
        The outcome, the number of correct digits in order, the number of all digits, and whether the naive way is
        correct.
    """
    torch.set_num_threads(1)
    picture, labels = make()
    try:
        found = classify(network(), picture)
    except ImageError:
        found = []
    correct = sum(digit.label == label for digit, label in zip(found, labels, strict=False))
    return outcome(found, labels), correct if len(found) == len(labels) else 0, len(labels), naive(picture) == labels[0]


def sureness(make: Callable[[], Drawn]) -> tuple[bool, bool]:
    """Return whether a drawing that is not a digit is classified with a high probability, and whether it is sure."""
    torch.set_num_threads(1)
    try:
        found = classify(network(), make()[0])
    except ImageError:
        return False, False
    return any(float(each.probabilities.max()) >= CONFIDENT for each in found), any(each.sure for each in found)


def pick(dataset: s5.DigitDataset, rng: np.random.Generator, labels: tuple[int, ...] = ()) -> tuple[np.ndarray, int]:
    """Return a random digit, and its label, which is one of the given labels if there are any."""
    while True:
        index = int(rng.integers(len(dataset)))
        if not labels or int(dataset.targets[index]) in labels:
            return dataset.data[index].numpy(), int(dataset.targets[index])


def one_digit(kind: str, seed: int, ranges: render.Ranges) -> Drawn:
    rng = np.random.default_rng(seed)
    image, label = pick(digits(ranges), rng)
    draw = render.transparent if kind == "transparent" else partial(render.draw, kind)
    return draw(image, ranges, rng), [label]


def page(layout: str, kind: str, seed: int, ranges: render.Ranges, turns: int = 0) -> Drawn:
    """Draw digits on a page, and turn it by quarter turns counterclockwise. Boxes for digits are printed on a scan."""
    kind = "scan" if layout == "boxes" else kind
    rng, dataset = np.random.default_rng(seed), digits(ranges)
    indices = rng.integers(len(dataset), size=60)
    picture, shown = render.draw_layout(layout, list(dataset.data[indices].numpy()), kind, ranges, rng)
    return np.rot90(picture, turns).copy(), dataset.targets[indices[:shown]].tolist()


def scene(draw: render.Scene, seed: int, ranges: render.Ranges) -> Drawn:
    rng = np.random.default_rng(seed)
    return draw(partial(pick, digits(ranges), rng), ranges, rng)


def own_image(index: int, ranges: render.Ranges) -> Drawn:
    dataset = digits(ranges)
    return dataset.data[index].numpy(), [int(dataset.targets[index])]


def speed(count: int, ranges: render.Ranges) -> dict[str, float]:
    """Classify files one after the other. Returns pictures per second, and CPU seconds for a photo of 12 megapixels."""
    model, total, photo = network(), 0.0, []
    with TemporaryDirectory() as folder:
        for index in range(count):
            kind, path = list(render.KINDS)[index % len(render.KINDS)], Path(folder) / f"{index}.jpg"
            image = Image.fromarray(one_digit(kind, index, ranges)[0])
            image.save(path, quality=90)
            total -= time.perf_counter()
            with suppress(ImageError):
                classify(model, path)
            total += time.perf_counter()
            if index < 2 * len(render.KINDS):
                image.resize((4000, 3000), Image.Resampling.BICUBIC).save(path, quality=92)
                start = time.process_time()
                with suppress(ImageError):
                    classify(model, path)
                photo.append(time.process_time() - start)
    return {
        "pictures": count,
        "pictures_per_second": count / total,
        "cpu_seconds_12_megapixels": float(np.median(photo)),
    }


@contextmanager
def without(rule: str) -> Iterator[None]:
    """Read pictures without a rule."""
    place, name, replacement = RULES[rule]
    before = vars(place)[name]
    setattr(place, name, replacement)
    try:
        yield
    finally:
        setattr(place, name, before)


@lru_cache
def digits(ranges: render.Ranges) -> s5.DigitDataset:
    return s5.load_mnist("mnist")[ranges != render.TUNING]


@lru_cache
def network() -> s5.Net:
    return s5.load_checkpoint()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuning", action="store_true", help="use training digits, and record nothing")
    parser.add_argument("--rules", action="store_true", help="also measure what each rule gains")
    parser.add_argument("--pictures", type=int, default=80, metavar="N", help="pictures of each kind")
    parser.add_argument("--scenes", type=int, default=40, metavar="N", help="pictures of each scene")
    parser.add_argument("--images", type=int, default=10_000, metavar="N", help="MNIST's own images")
    parser.add_argument("--seed", type=int, default=500_000, metavar="N", help="seed of the first picture")
    parser.add_argument("--out", default="pictures", metavar="NAME", help="name of the record (default: pictures)")
    args = parser.parse_args()
    ranges, first = render.TUNING if args.tuning else render.REPORTING, args.seed
    papers = ["scan", "colored_pen", "lined", "uneven_light", "sheet_on_table"]
    results: dict[str, Any] = {name: {} for name in ("pictures", "pages", "turned_pages", "scenes", "not_digits")}
    results["sure"] = CONFIDENT

    def count(makes: list[Callable[[], Drawn]]) -> dict[str, int]:
        found = [*pool.map(read, makes, chunksize=4)]
        return {**Counter(each for each, *_ in found), "naive": sum(each[3] for each in found)}

    def total(makes: list[Callable[[], Drawn]]) -> dict[str, int]:
        found = [*pool.map(read, makes)]
        return {"correct": sum(each[1] for each in found), "digits": sum(each[2] for each in found)}

    def scenes(number: int, name: str) -> list[Callable[[], Drawn]]:
        seeds = range(first + 100_000 + 1000 * number, first + 100_000 + 1000 * number + args.scenes)
        return [partial(scene, (render.SCENES | render.NOT_DIGITS)[name], seed, ranges) for seed in seeds]

    with ProcessPoolExecutor() as pool:
        for number, kind in enumerate(KINDS if args.pictures else ()):
            seeds = range(first + 1000 * number, first + 1000 * number + args.pictures)
            results["pictures"][kind] = count([partial(one_digit, kind, seed, ranges) for seed in seeds])
            print(kind, results["pictures"][kind], flush=True)
        for layout in render.LAYOUTS if args.pictures else ():
            results["pages"][layout] = total([partial(page, layout, paper, first, ranges) for paper in papers])
            print(layout, results["pages"][layout], flush=True)
        for turns in (1, 2, 3) if args.pictures else ():
            makes = [partial(page, layout, "colored_pen", first, ranges, turns) for layout in render.LAYOUTS]
            results["turned_pages"][90 * turns] = total(makes)
            print("turned", 90 * turns, results["turned_pages"][90 * turns], flush=True)
        for number, name in enumerate(render.SCENES if args.scenes else ()):
            results["scenes"][name] = count(scenes(number, name))
            print(name, results["scenes"][name], flush=True)
        for number, name in enumerate(render.NOT_DIGITS if args.scenes else ()):
            found = [*pool.map(sureness, scenes(100 + number, name), chunksize=4)]
            probable, sure = (sum(column) for column in zip(*found, strict=True))
            results["not_digits"][name] = {"drawings": len(found), "probable": probable, "sure": sure}
            print(name, results["not_digits"][name], flush=True)
        makes = [partial(own_image, index, ranges) for index in range(args.images)]
        results["mnist"] = {"images": args.images, **Counter(each[0] for each in pool.map(read, makes, chunksize=100))}
        print("MNIST", results["mnist"], flush=True)
    if args.rules:
        results["without_rule"] = {}
        for rule in ["nothing", *RULES]:
            # The processes start with the rule replaced.
            with without(rule) if rule in RULES else nullcontext(), ProcessPoolExecutor() as pool:
                makes = [make for number, name in enumerate(render.SCENES) for make in scenes(number, name)]
                right = Counter(each[0].startswith("correct") for each in pool.map(read, makes, chunksize=10))[True]
            results["without_rule"][rule] = {"correct": right, "pictures": len(makes)}
            print("without", rule, results["without_rule"][rule], flush=True)
    if args.pictures:
        results["speed"] = speed(args.pictures, ranges)
        print("speed", results["speed"])
    if not args.tuning:
        record(args.out, **results)


if __name__ == "__main__":
    main()
