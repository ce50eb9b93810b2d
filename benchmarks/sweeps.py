"""Measure sweeps on the embedded sample: python benchmarks/sweeps.py [PART ...]. Needs the extra `ray`.

Each run has one epoch. The parts are:

- one_run: one run as the bare loop, as a script with the code of the notebook, by papermill, by `mnist-s5 run`, and by
  `mnist-s5 sweep`, alternating.
- jobs: the runs of `fast` and `best` with three seeds, one at a time and two at a time, alternating seed by seed.
- interrupted: ten runs with five seeds, and two with an invalid seed, by one command that is ended and started again.
- ray: the same ten runs on Ray.
- class_of_30: a class of 30 copies of ex02_training.

Writes results/sweeps.json.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import pandas as pd
from record import RESULTS, record

import mnist_s5 as s5
from mnist_s5.exercises import exercises
from mnist_s5.jobs.compare import read_runs
from mnist_s5.metrics import describe_machine

COURSE = [sys.executable, "-m", "mnist_s5"]
TEN = ["02_training", "-p", "source", "sample", "-p", "epochs", "1", "-p", "recipe", "fast,best"]
BARE = """
import mnist_s5 as s5
train_set, test_set = s5.load_mnist("sample")
s5.fit(s5.get_recipe("fast", "sample", epochs=1), train_set, test_set, seed=1, folder="bare")
"""


def seconds(command: list[str], folder: Path, **options: Any) -> float:
    """Execute a command in a folder, and return how long it took."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    return time.perf_counter() - start


def one_run(folder: Path, rounds: int = 3) -> dict[str, Any]:
    """Return the seconds of one run in each of five ways."""
    notebook = str(s5.course_path("notebooks/02_training.ipynb"))
    values = ["-p", "source", "sample", "-p", "epochs", "1", "-p", "recipe", "fast"]
    found: dict[str, list[float]] = {"bare loop": [], "script": [], "papermill": [], "run": [], "sweep": []}
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    source = "\n\n".join(cell.source for cell in cells if cell.id != "setup")
    source = source.replace('"auto"  # "mnist"', '"sample"  # "mnist"').replace(
        "] = None  # passes", "] = 1.0  # passes"
    )
    (folder / "script.py").write_text(source)
    papermill = [sys.executable, "-m", "papermill", notebook, "p.ipynb", *values]
    for number in range(rounds):
        commands = {
            "bare loop": [sys.executable, "-c", BARE],
            "script": [sys.executable, "script.py"],
            "papermill": [*papermill, "-p", "run_dir", f"p{number}"],
            "run": [*COURSE, "run", "02_training", *values, "--out", f"r{number}"],
            "sweep": [*COURSE, "sweep", "02_training", *values, "--out", f"s{number}"],
        }
        for name in list(commands)[:: 1 - 2 * (number % 2)]:
            found[name].append(seconds(commands[name], folder, check=True))
    print({name: median(each) for name, each in found.items()})
    return {"one_run": found}


def jobs(folder: Path) -> dict[str, Any]:
    """Return the seconds of two runs for each of three seeds, one at a time and two at a time."""
    found: dict[str, list[float]] = {"1": [], "2": []}
    for seed in range(1, 4):
        for number in ("1", "2") if seed % 2 else ("2", "1"):
            command = [*COURSE, "sweep", *TEN, "-p", "seed", str(seed), "--jobs", number, "--out", f"jobs-{number}"]
            found[number].append(seconds(command, folder, check=True))
    ratios = [one / two for one, two in zip(*found.values(), strict=True)]
    per_hour = {name: round(3600 * 2 / median(each)) for name, each in found.items()}
    print(f"runs per hour {per_hour}, ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return {"jobs": found} | accuracies(folder, "jobs-1", "jobs-2")


def interrupted(folder: Path) -> dict[str, Any]:
    """Start ten runs and two that fail, end the sweep after four runs, and start it again."""
    command = [*COURSE, "sweep", *TEN, "-p", "seed", "1..5,-1", "--jobs", "2", "--out", "interrupted"]
    started = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(folder.glob("interrupted/*/02_training.ipynb"))) < 4:
        time.sleep(1)
    started.send_signal(signal.SIGTERM)
    started.wait()
    before = statuses(folder / "interrupted")
    rest = seconds(command, folder)
    found = {"before": before, "after": statuses(folder / "interrupted"), "seconds": rest}
    found["errors"] = errors(read_runs(folder / "interrupted"))
    print(json.dumps(found))
    return {"interrupted": found} | accuracies(folder, "interrupted")


def ray(folder: Path) -> dict[str, Any]:
    """Execute the ten runs on Ray."""
    command = [*COURSE, "sweep", *TEN, "-p", "seed", "1..5", "--jobs", "2", "--on", "ray", "--out", "ray"]
    return {"ray_seconds": seconds(command, folder, check=True)} | accuracies(folder, "ray")


def errors(table: pd.DataFrame) -> list[str]:
    """Return the different messages, without the paths of files."""
    return sorted({error.partition(" (see")[0] for error in table["error"] if error})


def statuses(folder: Path) -> dict[str, int]:
    """Return how many runs have each status."""
    return read_runs(folder)["status"].value_counts().to_dict()


def accuracies(folder: Path, *names: str) -> dict[str, dict[str, float]]:
    """Return the accuracy of each finished run of these sweeps."""
    found = {}
    for name in names:
        table = read_runs(folder / name)
        table = table[table["status"] == "finished"]
        runs = table["run"].str.removeprefix("source=sample,epochs=1,")
        found[f"accuracies of {name}"] = dict(zip(runs, table["test_accuracy"], strict=True))
    return found


def class_of_30(folder: Path) -> dict[str, Any]:
    """Execute 30 copies: 12 right, 6 with one wrong solution, 6 unfinished, 3 crashing, and 3 endless ones."""
    source = s5.course_path("notebooks/exercises/ex02_training.ipynb")
    solutions = {name: each.code() for name, each in exercises("02_training").items()}
    kinds = ["right"] * 12 + ["wrong"] * 6 + ["unfinished"] * 6 + ["crashing"] * 3 + ["endless"] * 3
    for number, kind in enumerate(kinds, 1):
        copy = nbformat.read(source, as_version=4)
        for n, (name, code) in enumerate(solutions.items()):
            cell = next(cell for cell in copy.cells if cell.source.startswith(f"def {name}("))
            if n == 0 and kind == "wrong":
                code = code.replace("-log_probs", "log_probs")
            if n == 0 and kind == "endless":
                code += "\n\n\nwhile True:\n    pass"
            if n == 0 and kind == "crashing":
                code += "\n\n\nnegative_log_likelihod(1)"
            if n < 2 or kind != "unfinished":
                cell.source = f"{code}\n\n\ncheck({name})"
        path = folder / "class" / f"{number:02}-{kind}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(copy, path)
    command = [*COURSE, "sweep", "--each", "class/*.ipynb", "--jobs", "2", "--timeout", "60", "--out", "graded"]
    took = seconds(command, folder)
    table = read_runs(folder / "graded")
    solved = [name for name in table if name.startswith("exercises_")]
    rows = table.assign(kind=table["run"].str.slice(3), solved=table[solved].astype(float).sum(axis=1))
    kinds_of = rows.groupby("kind")
    found = {name: {"solved": group["solved"].tolist(), "errors": errors(group)} for name, group in kinds_of}
    print(json.dumps(found, indent=1))
    return {"class": {"seconds": took, "kinds": found}}


PARTS = {part.__name__: part for part in (one_run, jobs, interrupted, ray, class_of_30)}


def main(names: list[str]) -> None:
    """Measure some parts, or all, and record them. Parts that are not measured again keep their records."""
    path = RESULTS / "sweeps.json"
    found = json.loads(path.read_text()) if names and path.exists() else {}
    for fact in describe_machine():  # `record` adds them again
        found.pop(fact, None)
    with TemporaryDirectory() as folder:
        for name in names or PARTS:
            found |= PARTS[name](Path(folder))
    print(f"recorded in {record('sweeps', **found).name}")


if __name__ == "__main__":
    main(sys.argv[1:])
