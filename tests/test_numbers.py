"""Every number in the notebooks' text is a constant with a reason, or agrees with a record or an output."""

import math
import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import nbformat
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest, chi2

import mnist_s5 as s5

ROOT = Path(__file__).parents[1]
LESSONS = {path.stem[:2]: path for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
NO_PROSE = re.compile(r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*\.ipynb\)|\]\([^)]*\)|<[^>]*>|\$[^$]*\$", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[−-]?\d+(?:,\d{3})*(?:\.\d+)?%?")

# Digits, positions in a list, and the like, which no measurement can change.
SMALL = {*map(str, range(11)), *(f"0{lesson}" for lesson in range(1, 10)), "100", "80%", "90%", "95%", "100%"}
CONSTANTS: dict[str, set[str]] = {
    "01": {
        *("20", "22", "28", "784", "255", "−15", "15", "512"),  # sizes in pixels, shades, degrees
        *("10,000", "60,000", "70,000"),  # MNIST's digits
        *("0.1307", "0.3081"),  # mean and standard deviation of MNIST's training pixels
        "−0.42",  # background, normalized with these
        *("4,000", "5,000", "93%"),  # the embedded sample, and its nearest neighbors
        "10%",  # one class of ten
        *("6,742", "5,421"),  # ones and fives among the training digits
    },
    "02": {
        *("32", "64", "128", "256", "120", "593,200", "4,000"),  # counts that the code sets
        *("26", "−1", "4,096"),  # of the filter, and of flatten
        *("0.1", "2.3", "2.30", "0.01", "0.9"),  # ln 10, a learning rate, and a momentum
        *("15", "16", "20", "3,840"),  # the reference's schedule, epochs, and digits of the loop by hand
        *("99.35%", "99.20", "99.37%", "20%"),  # published, and settings
        *("99.55%", "99.50%", "10%"),  # examples
    },
    "03": {
        *("16", "64", "28", "32", "50", "256", "20"),  # counts
        *("−0.42", "99.7%"),  # background, and an example
        "2021",  # a year
        *("21", "59", "116"),  # a filter, and mistakes of the nearest mean image (the figure in 01)
        *("0.93", "0.98"),  # computed from the weights of reference-mnist-1, which are not recorded
    },
    "06": {
        *("32", "0.01"),  # settings of SGD
        *("5,000", "4,000", "1,000", "160"),  # counts
        *("20", "40", "128", "512", "16"),  # epochs and batches
        *("10%", "5%", "30%", "0.05", "99%"),  # settings, and examples
        *("99.35%", "24"),  # published
    },
    "04": {
        *("20", "28", "240", "50", "784", "1,000", "2,000", "5,000"),  # counts, and sizes in pixels
        *("1,500", "129", "92.6%"),  # measured on real pictures, which are not part of the course
        "99%",  # of training digits are nearer than the limit
        *("32", "64", "128", "256"),  # feature maps
        "30%",  # a threshold
    },
    "05": {"30", "2.30", "3.47", "32", "500", "255", "4,096", "593,200", "−0.42", "2.82", "−37"},
    "07": {
        *("20", "32", "40", "252", "90,000", "1,000", "2,000", "10,000"),  # counts
        *("1.96", "5%", "10%", "2.9%", "0.8%", "0.05"),  # of statistics
        *("0.9", "0.95", "15%", "45%", "86%"),  # momentum, gray levels, and a range of confidence
        *("99.4%", "99.40%", "99.57%", "99.50%"),  # examples
        *("297", "249", "5,001", "48", "130", "8"),  # writers, and their digits, in QMNIST's labels
        *("30", "1.12", "99.70%", "99.77%", "0.07", "0.03"),  # MnistSimpleCNN, computed from its logs
        *("1947", "2019", "30%", "99.7%"),  # years, and examples
    },
    "08": {
        *("54%", "12%", "40%", "30%", "0.8%", "5%", "3%"),  # computed from probabilities, and examples
        *("252", "15", "20", "17", "625", "500", "1,000"),  # counts
        *("0.01", "0.02", "0.04", "0.03", "0.06", "0.12", "0.8"),  # examples
        "1979",  # a year
    },
    "09": {
        *("32", "64", "128", "256", "2,000"),  # digits
        *("60", "30", "16", "15"),  # seconds, minutes, steps or significant digits, and seeds
        *("593,200", "2.4"),  # gradients, and their megabytes in float32
        "2017",  # a year
    },
}


def recorded(name: str, fact: str = "test_accuracy", seeds: Iterable[int] = range(1, 6)) -> list[float]:
    """Return a value from the records of some seeds."""
    return [s5.recorded(f"{name}-{seed}")[1][fact] for seed in seeds]


def record(name: str) -> dict[str, Any]:
    return s5.recorded(name)[1]


def ablated(name: str, fact: str) -> list[float]:
    """Return a value of each seed of one recipe of the ablation in 06."""
    rows = record("ablation")
    return next(each[fact] for each in rows["ablations"] + rows["variants"] if each["name"] == name)


def wrong(name: str) -> float:
    return 100 - median(ablated(name, "val_accuracy"))


def seconds(name: str) -> float:
    return median(ablated(name, "seconds"))


def printed(lesson: str, pattern: str) -> float:
    """Return a number from the committed outputs."""
    outputs = [output for cell in nbformat.read(LESSONS[lesson], 4).cells for output in cell.get("outputs", [])]
    text = "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
    found = re.search(pattern, text)
    assert found, pattern
    return float(found[1])


def distance(name: str) -> float:
    return printed("04", rf"{name}: [\d.]+ to [\d.]+, median (\d\.\d+)")


def gained(step: str, before: str) -> float:
    """Return by how many percentage points a step of 04 is better than another."""
    return printed("04", rf"{step}: (\S+)%") - printed("04", rf"{before}: (\S+)%")


def interval(percent: float, n: int) -> float:
    """Return half of a 95% interval, in percentage points."""
    return 1.96 * (percent * (100 - percent) / n) ** 0.5


def deviation(quantile: float) -> float:
    """Return an end of the interval of the standard deviation over the five seeds of `fast`."""
    return stdev(recorded("fast-mnist")) * (4 / chi2.ppf(quantile, 4)) ** 0.5


def public() -> list[float]:
    """Return the accuracies of the public runs of the reference."""
    return [run["last"] for run in record("published")["runs"]]


def effects(network: str) -> list[float]:
    """Return the design effects of a network's seeds: the variance from writers, divided by that from digits."""
    return [facts["design_effect"] for name, facts in record("writers")["networks"].items() if network in name]


def speed(precision: str = "") -> dict[str, Any]:
    return record("time_to_accuracy" + precision)


def loading() -> float:
    rates = speed()["loader_images_per_second"]
    return rates["batched"] / rates["by image"]


def evened() -> float:
    """Return the fraction of a gradient's singular values that Muon brings near 1."""
    s5.seed_everything(1)
    fast, data = s5.get_recipe("fast", use_bf16=False), s5.load_mnist("sample")
    model = s5.make_model(fast)
    images, labels = next(iter(s5.make_loaders(fast, *data)[0]))
    F.nll_loss(model(images), labels).backward()
    assert model.conv3.weight.grad is not None
    values = torch.linalg.svdvals(s5.orthogonalize(model.conv3.weight.grad.flatten(1), 5))
    return float(((values > 0.7) & (values < 1.25)).float().mean())


def scaled(setup: str) -> list[float]:
    """Return the accuracies of a setup in 09, one per seed."""
    return [row[f"scaling_out.accuracies.{setup}"] for row in record("scaling_out")["runs"]]


def more_jobs() -> float:
    """Return how many times more runs per hour two jobs do than one."""
    jobs = record("sweeps")["jobs"]
    return median(one / two for one, two in zip(jobs["1"], jobs["2"], strict=True))


ONE, TWO, LARGER = "1 rank, 128 each", "2 ranks, 64 each", "2 ranks, 128 each"


# The current value of each number. The text states it rounded.
MEASURED: dict[str, dict[str, Callable[[], float]]] = {
    "08": {"1.5": more_jobs},
    "01": {
        "11%": lambda: 100 * 6_742 / 60_000,  # the ones in the figure of the classes
        "97%": lambda: printed("01", r"'nearest neighbor': '(\S+)%'"),
    },
    "02": {
        "99.61%": lambda: record("fast-mnist-1")["test_accuracy"],
        "99.54%": lambda: record("fast-amx-mnist-1")["test_accuracy"],
    },
    "03": {
        "1.44": lambda: 295168 / 204850,  # their parameters
        "92": lambda: 18874368 / 204800,  # multiply-adds of conv4 and fc1, both in the table above it
        "84%": lambda: 100 * (295168 + 204850) / 593200,
        "37": lambda: sum(layer.multiply_adds for layer in s5.layer_table(s5.Net())) / 1e6,
        "99.19%": lambda: record("reference-mnist-1")["test_accuracy"],
        "29": lambda: len(record("label_audit")["mistakes"]),
        "15": lambda: record("label_audit")["rejected_labels"],
    },
    "04": {
        "99.71%": lambda: record("temperature")["test_accuracy"],
        "97%": lambda: printed("04", r"prediction: 9 \((\d+)%\)"),
        "60": lambda: printed("04", r"9 of 10 digits, 90.0% \((\S+)%"),
        "98%": lambda: printed("04", r"9 of 10 digits, 90.0% \(\S+ to (\S+)%"),
        "78": lambda: printed("04", r"resized +from 90% +(\d+)"),
        "25": lambda: printed("04", r"resized +from 90% +\d+ +(\d+)"),
        "2.2": lambda: printed("04", r"this digit , a 9 (\S+),"),
        "122": lambda: printed("04", r"resized +from 0% +\d+ +(\d+)"),
        "97": lambda: printed("04", r"resized +from 0% +\d+ +(\d+)") - printed("04", r"resized +from 90% +\d+ +(\d+)"),
        "65": lambda: (
            240
            - printed("04", r"resized +from 0% +\d+ +(\d+)")
            - printed("04", r"resized +from 90% +(\d+)")
            + printed("04", r"resized +from 90% +\d+ +(\d+)")
        ),
        "72": lambda: 100 * binomtest(10, 10).proportion_ci(method="wilson").low,
    },
    "06": {
        "99.37%": lambda: median(with_optimizer("Muon", 0.5)),
        "42": lambda: len(record("sgd_trials")["trials"]),
        "99.42%": lambda: median(with_optimizer("SGD, batches of 8", 1)),
        "99.56%": lambda: median(with_optimizer("Muon", 1)),
        "47": lambda: seconds("the reference"),
        "20": lambda: seconds("bfloat16"),
        "4%": lambda: wrong("batches of 128"),
        "3%": lambda: wrong("one cycle, 3 × learning rate, Nesterov"),
        "2.4": lambda: seconds("the reference") / seconds("bfloat16"),
        "33": lambda: speed()["ratio"] / (seconds("the reference") / seconds("bfloat16")),
        "45": lambda: speed("-float32")["ratio"],
        "2.45": lambda: (
            math.sqrt(2) / math.sqrt(1 / 3)
        ),  # He's variance is 2/n, that of PyTorch's uniform weights 1/(3n)
        "95.5%": lambda: 95 + 5 / 10,
        "0.28": lambda: interval(99, 5_000),
        "99.35": lambda: min(speed()["test_accuracy"]),
        "99.44%": lambda: max(speed()["test_accuracy"]),
        "99.39%": lambda: median(speed()["test_accuracy"]),
        "27": lambda: median(speed()["fast_seconds"]),
        "46": lambda: median(speed("-float32")["fast_seconds"]),
        "77": lambda: speed()["ratio"],
        "99.57": lambda: min(recorded("fast-mnist")),
        "99.61%": lambda: max(recorded("fast-mnist")),
    },
    "07": {
        "0.15": lambda: interval(99.4, 10_000),
        "99.54%": lambda: printed("07", r"best of 20: 1000 values, median (\S+)"),
        "0.14": lambda: printed("07", r"best of 20 is (\S+) percentage points too high"),
        "0.018": lambda: stdev(recorded("fast-mnist")),
        "54": lambda: record("best-before-mnist-1")["corruptions"]["gray_background"][0],
        "12": lambda: record("best-before-mnist-1")["corruptions"]["gray_background"][2],
        "91%": lambda: printed("07", r"with 86% confidence, (\d+)% correct"),
        "99.71%": lambda: record("temperature")["test_accuracy"],
        "99.19%": lambda: s5.recorded("reference-mnist-1")[1]["test_accuracy"],
        "84%": lambda: s5.recorded("reference-mnist-1")[1]["corrupted"],
        "0.011": lambda: deviation(0.975),
        "0.051": lambda: deviation(0.025),
        "0.02": lambda: 1.867 * deviation(0.975),  # the mean of the largest of 20 normal draws is 1.867
        "0.10": lambda: 1.867 * deviation(0.025),
        "1.9": lambda: record("writers")["networks"]["reference-mnist-1"]["design_effect"],
        "0.17": lambda: max(public()) - min(public()),
        "99.20": lambda: min(public()),
        "99.37%": lambda: max(public()),
        "90%": lambda: printed("07", r"empty: (\d+)"),
        "6%": lambda: 200 / 2**5,  # two of all signs of five differences
    },
}


def with_optimizer(optimizer: str, epochs: float) -> list[float]:
    """Return the test accuracies of the runs with Muon or SGD."""
    rows = record("sgd")["rows"]
    return next(row["test_accuracy"] for row in rows if (row["optimizer"], row["epochs"]) == (optimizer, epochs))


# Ranges, and numbers in words: the text, the values, and the range that they have to be in.
STATED: list[tuple[str, str, Callable[[], list[float]], float, float]] = [
    ("01", "It gets about four in five right", lambda: [printed("01", r"'nearest mean image': '(\S+)%")], 78, 84),
    ("01", "About four pixels in five", lambda: [100 - printed("01", r"(\d+)% of all pixels belong")], 78, 84),
    (
        "02",
        "between 99.45 and 99.65%",
        lambda: [*recorded("fast-mnist"), printed("02", r"you: (\S+)%")],
        99.45,
        99.65,
    ),
    ("02", "more than 99 of 100", lambda: [*recorded("fast-mnist"), printed("02", r"you: (\S+)%")], 99, 100),
    ("02", "you should see 98.7 to 99.6%", lambda: recorded("fast-sample"), 98.7, 99.6),
    ("03", "six of the 29 mistakes are wrong labels", lambda: [printed("03", r"the prediction +(\d+)")], 6, 6),
    ("03", "eleven are the network's fault", lambda: [printed("03", r"the label +(\d+)")], 11, 11),
    (
        "03",
        "and of six digits for which the network predicts the rejected label",
        lambda: [record("label_audit")["rejected_but_predicted"]],
        6,
        6,
    ),
    ("04", "one picture in eight", lambda: [printed("04", r"common label: (\S+)%")], 12, 13),
    ("04", "Half of them are wrong", lambda: [printed("04", r"resized: (\S+)%")], 48, 52),
    ("04", "Together, they even lose a few points", lambda: [gained("fitted", "resized")], -9, -2),
    ("04", "Inverting alone gains only two points", lambda: [gained("inverted", "resized")], 1.5, 2.5),
    ("04", "two thirds of the pictures are right", lambda: [printed("04", r"strokes: (\S+)%")], 65, 69),
    ("04", "The largest shape gains 21 points", lambda: [gained("largest", "strokes")], 20.5, 21.5),
    ("04", "Centering changes almost nothing", lambda: [gained("centered", "largest")], -1, 1),
    (
        "04",
        "One of them has a probability below 90%",
        lambda: [
            printed("04", r"find_digits +from 0% +\d+ +(\d+)") - printed("04", r"find_digits +from 90% +\d+ +(\d+)")
        ],
        1,
        1,
    ),
    (
        "04",
        "prevents two of the three mistakes",
        lambda: [printed("04", r"find_digits +from 0% +\d+ +(\d+)") - printed("04", r"from 90%, near +\d+ +(\d+)")],
        2,
        2,
    ),
    ("04", "rejects one correct prediction", lambda: [240 - printed("04", r"from 90%, near +(\d+)")], 3, 3),
    ("04", "All but three of the pictures", lambda: [printed("04", r"find_digits +from 0% +\d+ +(\d+)")], 3, 3),
    ("04", "about seven times as far away", lambda: [distance("resized only") / distance("mnist")], 6.5, 7.5),
    (
        "04",
        "the preparation gained three times as many",
        lambda: [
            gained("find_digits", "resized")
            / (printed("04", r"resized only, fine-tuned: (\S+)%") - printed("04", r"resized: (\S+)%"))
        ],
        2.5,
        3.5,
    ),
    ("04", "more than 99% of 2,000", lambda: [printed("04", r"fine-tuned: .*\n.*networks: (\S+)%")], 99.1, 100),
    ("06", "end between 99.35 and 99.44%", lambda: speed()["test_accuracy"], 99.35, 99.44),
    ("06", "reaches 98.9 to 99.5%", lambda: recorded("fast-sample"), 98.9, 99.5),
    (
        "06",
        "batches are 5 to 10 times faster",
        lambda: [loading(), printed("06", r"The answer: (\S+) times")],
        4.5,
        10.5,
    ),
    (
        "06",
        "half of the time per image",
        lambda: [seconds("photometric distortion") / seconds("the reference")],
        0.45,
        0.55,
    ),
    ("06", "nearly twice as long", lambda: [seconds("channels last") / seconds("bfloat16")], 1.75, 2),
    ("06", "three quarters of the singular values end between 0.7 and 1.2", lambda: [evened()], 0.7, 0.85),
    ("06", "takes little more time", lambda: [seconds("Muon") / seconds("label smoothing")], 1.03, 1.07),
    (
        "06",
        "with each seed, it removes half of the mistakes that are left",
        lambda: [
            (100 - muon) / (100 - before)
            for before, muon in zip(
                ablated("label smoothing", "val_accuracy"), ablated("Muon", "val_accuracy"), strict=True
            )
        ],
        0.4,
        0.6,
    ),
    (
        "06",
        "doubles the mistakes",
        lambda: [wrong("half of all digits flipped") / wrong("photometric distortion")],
        1.8,
        2.2,
    ),
    (
        "08",
        "end between 65 and 80%",
        lambda: [printed("08", rf"seed={n} finished  sample +(\S+)") for n in (1, 2)],
        65,
        80,
    ),
    ("08", "the best trial reaches 88 to 95%", lambda: [printed("08", r"best so far from \S+ to ([\d.]+\d)")], 88, 95),
    ("08", "about a third of all sweeps", lambda: [printed("08", r"in (\d+)% of all sweeps")], 28, 38),
    (
        "08",
        "nearly all of the margin came from the first trial",
        lambda: [
            printed("08", r"first trial: .*new seeds: ([+-]\S+)")
            / (printed("08", r"margin: (\S+) points in") - printed("08", r"points in the search, (\S+) with new seeds"))
        ],
        0.8,
        1.2,
    ),
    ("08", "it gets about ten points more", lambda: [printed("08", r"first trial: .*new seeds: ([+-]\S+)")], 8, 12),
    ("08", "The best trial was as good", lambda: [printed("08", r"best trial: .*new seeds: ([+-]\S+)")], -1, 1.5),
    ("07", "1.3 to 1.9 times for five seeds of `fast`", lambda: effects("fast-amx"), 1.3, 1.9),
    ("07", "hardly come in groups", lambda: effects("pretrained"), 0.8, 1.2),
    (
        "07",
        "two to three times as many mistakes",
        lambda: [
            (100 - facts["students"]) / (100 - facts["employees"])
            for name, facts in record("writers")["networks"].items()
            if name in ("reference-mnist-1", "fast-amx-mnist-1", "pretrained")
        ],
        2,
        3.2,
    ),
    ("07", "fourteen people", lambda: [len(public())], 14, 14),
    ("02", "thirteen other public runs, 99.20 to 99.37%", lambda: sorted(public()), 99.20, 99.37),
    ("02", "above all fourteen public runs", lambda: [min(recorded("fast-mnist")) - max(public())], 0.01, 1),
    (
        "06",
        "99.56%, above all twenty runs with SGD",
        lambda: [
            median(with_optimizer("Muon", 1)) - max(with_optimizer(f"SGD, batches of {size}", 1)) for size in (8, 32)
        ],
        0.01,
        1,
    ),
    (
        "06",
        "2.4 times as long with batches of 8",
        lambda: [record("sgd_time")["ratios"]["SGD, batches of 8"]],
        2.35,
        2.45,
    ),
    ("06", "with SGD, the medians are 99.35", lambda: [median(with_optimizer("SGD, batches of 32", 1))], 99.345, 99.36),
    (
        "06",
        "saves only a tenth",
        lambda: [1 - seconds("batched augmentation") / seconds("the reference")],
        0.08,
        0.12,
    ),
    (
        "06",
        "With each of the three seeds, it lowers the error",
        lambda: [
            after - before
            for before, after in zip(
                ablated("batches of 128", "val_accuracy"),
                ablated("one cycle, 3 × learning rate, Nesterov", "val_accuracy"),
                strict=True,
            )
        ],
        0.5,
        2,
    ),
    ("09", "end between 97.0 and 97.5%", lambda: scaled(ONE) + scaled(TWO), 97.0, 97.5),
    ("09", "those with 128 each between 91.1 and 94.8%", lambda: scaled(LARGER), 91.1, 94.8),
    ("09", "by three to four percentage points", lambda: [fmean(scaled(TWO)) - fmean(scaled(LARGER))], 3, 4),
    (
        "09",
        "less than about 0.2 percentage points",
        lambda: [stdev(scaled(name)) * math.sqrt(8 / 5) for name in (ONE, TWO)],
        0.15,
        0.25,
    ),
    ("09", "The test finds no difference", lambda: [printed("09", r"each: p = (\d+)%")], 10, 100),
    ("09", "a few seconds after the failure", lambda: [printed("09", r"(\S+) seconds after the failure")], 0, 10),
    (
        "06",
        "are within 0.4 percentage points",
        lambda: [wrong(row["name"]) - wrong("photometric distortion") for row in record("ablation")["variants"][:-1]],
        -0.4,
        0.4,
    ),
]


def prose_of(lesson: str) -> str:
    cells = nbformat.read(LESSONS[lesson], 4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def numbers_in(text: str) -> set[str]:
    return set(NUMBER.findall(NO_PROSE.sub(" ", text)))


@pytest.mark.parametrize("lesson", sorted(LESSONS))
def test_every_number_has_a_reason(lesson: str) -> None:
    said = set().union(*(numbers_in(words) for where, words, *_ in STATED if where == lesson))
    numbers, known = numbers_in(prose_of(lesson)), CONSTANTS[lesson] | set(MEASURED.get(lesson, {}))
    assert numbers <= SMALL | known | said
    assert known <= numbers  # no number is listed that the text does not state


@pytest.mark.parametrize(("lesson", "number"), [(lesson, number) for lesson in MEASURED for number in MEASURED[lesson]])
def test_a_measured_number_is_what_was_measured(lesson: str, number: str) -> None:
    digits = number.removesuffix("%")
    decimals = len(digits.partition(".")[2])
    assert f"{MEASURED[lesson][number]():.{decimals}f}" == digits


@pytest.mark.parametrize("stated", STATED, ids=lambda stated: f"{stated[0]}: {stated[1]}")
def test_what_is_stated_holds(stated: tuple[str, str, Callable[[], list[float]], float, float]) -> None:
    lesson, words, values, low, high = stated
    assert words in prose_of(lesson)
    assert all(low <= value <= high for value in values())


def test_a_number_that_rots_is_noticed() -> None:
    assert numbers_in("it took 1,234 s, −0.5%, `77`, and 99.1 to 99.2%.") == {"1,234", "−0.5%", "99.1", "99.2%"}
    assert numbers_in("[02](02_training.ipynb) reads 88%") - SMALL == {"88%"}


def test_the_readme_agrees_with_the_records() -> None:
    text = " ".join((ROOT / "README.md").read_text().replace("*", "").split())
    fast, half = recorded("fast-mnist"), speed()["test_accuracy"]
    every, epyc, xeon = (recorded("best-mnist", seeds=range(*ends)) for ends in ((1, 11), (1, 6), (6, 11)))
    for values in (epyc, xeon):
        assert f"({median(values):.2f}%, {min(values):.2f} to {max(values):.2f}%)" in text
    for values in (fast, recorded("fast-amx-mnist"), every, half, recorded("fast-sample", "mnist_test_accuracy")):
        assert f"{median(values):.2f}% ({min(values):.2f} to {max(values):.2f}%)" in text
    assert f"gets {median(fast):.2f}% of MNIST's 10,000 test digits right" in text
    assert f"misclassifies only {10_000 - round(100 * record('temperature')['test_accuracy'])} of the 10,000" in text
    for baseline in ("nearest mean image", "linear classifier", "nearest neighbor"):
        accuracy = printed("01", rf"'{baseline}': '(\S+)%")
        assert f"| {baseline}, without a network | | {accuracy:.2f}% |" in text
    assert f"its mean confidence is {100 * record('temperature')['mean_confidence_after']:.1f}%" in text
    reference = s5.recorded("reference-mnist-1")[1]
    assert f"our run, one seed | 20 | {reference['test_accuracy']:.2f}% |" in text
    assert f"The reference gets {reference['corrupted']:.1f}%" in text
    only_ours, only_reference = (
        printed("07", rf"only A is right: {count} digits, only B: {other},")
        for count, other in ((r" *(\d+)", r" *\d+"), (r" *\d+", r" *(\d+)"))
    )
    assert f"{only_ours:.0f} for the pretrained network, and {only_reference:.0f} for our run" in text
    ratio, ratio_in_float32 = speed()["ratio"], speed("-float32")["ratio"]
    assert f" {ratio:.0f} times" in text
    assert f" {ratio_in_float32:.0f} times" in text


def test_the_public_runs_and_intervals_are_stated() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    text = " ".join((ROOT / "benchmarks" / "README.md").read_text().split())
    own, *others = record("published")["runs"]
    assert own["repository"] == record("published")["assignment"]
    ends = [run["last"] for run in others]
    assert f"| `reference`, the assignment's own log | 20 | {own['last']:.2f}% |" in readme
    stated = f"{median(ends):.2f}% ({min(ends):.2f} to {max(ends):.2f}%)"
    assert f"| `reference`, thirteen other public runs | 20 | {stated} |" in readme
    assert f"end at {min(ends):.2f} to {max(ends):.2f}%, with a median of {median(ends):.2f}%" in text
    for run in (own, *others):
        name, commit, date = (run[fact] for fact in ("repository", "commit", "date"))
        assert f"| [{name}](https://github.com/{name}) | {commit} | {date} |" in text
        assert f"`{run['file']}` | {run['last']:.2f}% | {run['highest']:.2f}% |" in text
    networks = record("writers")["networks"]
    for name, facts in networks.items():
        halves = f"{facts['half_width_digits']:.2f} | {facts['half_width_writers']:.2f}"
        effects = f"{facts['design_effect']:.2f} | {facts['design_effect_within']:.2f}"
        groups = f"{facts['students']:.2f}% | {facts['employees']:.2f}%"
        assert f"| `{name}` | {sum(facts['mistakes'])} | {halves} | {effects} | {groups} |" in text
    fast = [facts for name, facts in networks.items() if name.startswith("fast-amx")]
    writers, digits = (sorted(each[f"half_width_{kind}"] for each in fast) for kind in ("writers", "digits"))
    reference = networks["reference-mnist-1"]
    said = (
        f"±{reference['half_width_writers']:.2f} points instead of ±{reference['half_width_digits']:.2f} for our run of"
    )
    said += (
        f" the reference, and ±{writers[0]:.2f} to {writers[-1]:.2f} instead of ±{digits[0]:.2f} to {digits[-1]:.2f}"
    )
    assert said in readme
    audit = record("label_audit")
    asked = [row for row in audit["mistakes"] if "for_label" in row]
    assert (
        f"Of the {len(audit['mistakes'])} mistakes of the pretrained network, people were asked about {len(asked)}"
        in text
    )
    assert [sum(row[f"for_{what}"] >= 3 for row in asked) for what in ("label", "prediction")] == [11, 6]
    assert f"In {audit['rejected_labels']} of the {audit['asked']} entries, fewer than three chose the label" in text


def test_single_networks_are_stated() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for name, epochs, seeds in (("best", 20, range(1, 11)), ("fast", 1, range(1, 6))):
        values = recorded(f"{name}-mnist", seeds=seeds)
        spread = f"{fmean(values):.3f} ± {stdev(values):.3f}%"
        assert f"| `{name}` | 593,200 | {epochs} | {len(values)} | {spread} | last | `{name}-mnist-*.json` |" in text


def test_muon_and_sgd_are_stated() -> None:
    text = " ".join((ROOT / "benchmarks" / "README.md").read_text().split())
    found, trials = record("sgd"), record("sgd_trials")["trials"]
    assert found["seeds"] == list(range(1, 11))
    for row in found["rows"]:
        values = row["test_accuracy"]
        spread = f"{min(values):.2f} to {max(values):.2f} | {fmean(values):.3f} ± {stdev(values):.3f} |"
        assert f"| {row['optimizer']} | {row['epochs']:g} | {median(values):.2f} | {spread}" in text
    for trial in trials:
        changes = trial["changes"]
        if set(changes) == {"batch_size", "learning_rate"}:
            accuracy = f"{trial['val_accuracy']:.2f}" if "val_accuracy" in trial else "not finite"
            half = trial["epochs"] == 0.5
            start = rf"\| {changes['batch_size']} \| " + ("[^|]*" if half else "")
            middle = f"{changes['learning_rate']:g}" + (": " if half else r" \| [^|]*")
            assert re.search(start + middle + accuracy, text), trial
    assert f"in {len(trials)} trials" in prose_of("06")
    ratios = record("sgd_time")["ratios"]
    assert f"takes {ratios['SGD, batches of 32']:.2f} times as long as one with Muon" in text
    for setting in found["settings"].values():
        assert f"batches of {setting['batch_size']} with" in prose_of("06")
        (row,) = (
            row
            for row in found["rows"]
            if row["optimizer"].endswith(f" {setting['batch_size']}") and row["epochs"] == 1
        )
        values = row["test_accuracy"]
        told = f"{median(values):.2f}% ({min(values):.2f} to {max(values):.2f}%), ten seeds"
        assert f"| `fast` with {row['optimizer']} | 1 | {told} | |" in (ROOT / "README.md").read_text()


def test_less_work_is_stated() -> None:
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for row in record("less_work")["variants"]:
        scores = ", ".join(f"{accuracy:.2f}" for accuracy in row["val_accuracy"])
        start = f"| {row['name']} | {row['digits']:,} | {100 * row['fraction_trained']:.0f}% |"
        assert f"{start} {scores} | {row['speedup']:.2f} |" in text


def test_mnist_c_and_the_model_card_are_stated() -> None:
    readme, text, card = (
        " ".join((ROOT / path).read_text().split())
        for path in ("README.md", "benchmarks/README.md", "docs/model_card.md")
    )
    networks = record("mnist_c")["networks"]
    network, reference = (
        next(row for row in networks if row["recipe"] == recipe) for recipe in ("pretrained", "reference")
    )
    fast, best = ([row for row in networks if row["recipe"] == recipe] for recipe in ("fast", "best"))
    assert len(fast) == 5
    assert [row["seed"] for row in best] == [6, 7, 8, 9, 10]

    def spread(values: list[float], decimals: int = 2) -> str:
        low, middle, high = (f"{value:.{decimals}f}" for value in (min(values), median(values), max(values)))
        return f"{middle} ({low} to {high})" if decimals == 2 else f"{middle}% ({low} to {high}%, five seeds)"

    for kind, accuracy in network["accuracies"].items():
        others = " | ".join(spread([row["accuracies"][kind] for row in rows]) for rows in (best, fast))
        assert f"| {kind.replace('_', ' ')} | {accuracy:.2f} | {others} | {reference['accuracies'][kind]:.2f} |" in text
    worst, second, *_ = sorted(reference["accuracies"].values())
    least = f"least with stripes ({worst:.1f}%) and shifted digits ({second:.1f}%)"
    assert reference["accuracies"] | {"stripe": worst, "translate": second} == reference["accuracies"]
    assert f"the reference {reference['mean']:.1f}% (seed {reference['seed']}), {least}" in readme
    told = [f"`{rows[0]['recipe']}` {spread([row['mean'] for row in rows], 1)}" for rows in (best, fast)]
    assert ", ".join(told) in readme
    mean, (worst, second, third, *_) = network["mean"], sorted(network["accuracies"].values())
    assert (
        f"gets {mean:.1f}% right on average, least with Canny edges ({worst:.1f}%) and zigzag lines ({second:.1f}%)"
        in readme
    )
    assert f"mean {mean:.1f}%; lowest: Canny edges {worst:.1f}%, zigzag {second:.1f}%, glass blur {third:.1f}%" in card
    writers, temperature = record("writers")["networks"]["pretrained"], record("temperature")
    assert f"{temperature['test_accuracy']:.2f}% ({sum(writers['mistakes'])} mistakes)" in card
    for kind in ("digits", "writers"):
        assert f"±{writers[f'half_width_{kind}']:.2f} points" in card
    assert f"{writers['students']:.2f}% for high-school students, {writers['employees']:.2f}% for Census" in card
    assert f"{record('best-mnist-1')['corrupted']:.1f}% (`best`, seed 1" in card
    calibration = f"mean confidence {100 * temperature['mean_confidence_after']:.1f}%, calibration error "
    assert calibration + f"{100 * temperature['calibration_error_after']:.2f}%" in card
    assert f"{record('best-mnist-1')['train_seconds'] / 60:.0f} minutes on two cores" in card
    letters = record("pictures")["not_digits"]["letter"]["sure"]
    assert f"of 40 drawn letters, {letters} are" in card


def test_the_recorded_pictures_are_stated() -> None:
    found, before = record("pictures"), record("pictures-before")

    def correct(counts: dict[str, int]) -> int:
        return counts.get("correct", 0) + counts.get("correct, but not sure", 0)

    def total(recorded: dict[str, Any], what: str) -> int:
        return sum(correct(counts) for counts in recorded[what].values())

    readme = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"Of 1,040 pictures of one test digit, drawn by a program, {total(found, 'pictures'):,} are classified"
        in readme
    )
    assert f"of 760 more difficult scenes {total(found, 'scenes')} " in readme
    text = " ".join((ROOT / "benchmarks" / "README.md").read_text().split())
    for what, count in (("pictures", "1,040"), ("scenes", "760")):
        assert f"| **all {count}** | **{total(before, what):,}** | **{total(found, what):,}** |" in text
    first = record("pictures-first")
    singles, scenes = total(first, "pictures"), total(first, "scenes")
    assert f"The first time, {singles:,} of 1,040 and {scenes} of 760 were correct" in text
    assert f"it was {100 * correct(first['mnist']) / first['mnist']['images']:.2f}% the first time" in text
    for rule, counts in first["without_rule"].items():
        assert f"| {rule if rule != 'nothing' else '(with all rules)'} | {counts['correct']} of 760 |" in text
    accuracy = 100 * correct(found["mnist"]) / found["mnist"]["images"]
    assert f"are classified with {accuracy:.2f}% accuracy" in text
    turned = [counts["correct"] for counts in found["turned_pages"].values()]
    assert "{} were found, in order, and right after a turn by 90°, {} by 180°, and {} by 270°".format(*turned) in text
    for name, counts in found["not_digits"].items():
        assert f"| {name.replace('_', ' ')} | {counts['probable']} | {counts['sure']} |" in text


def test_the_readmes_first_figure_is_that_of_03() -> None:
    cell = next(cell for cell in nbformat.read(LESSONS["03"], 4).cells if cell.id == "mistakes")
    assert b64decode(cell.outputs[0].data["image/png"]) == (ROOT / "docs" / "mistakes.png").read_bytes()
