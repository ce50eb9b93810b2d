import itertools
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import psutil
import pytest
import torch

import mnist_s5 as s5
from mnist_s5.__main__ import main
from mnist_s5.exercises.ex07_measuring import half_width
from mnist_s5.jobs import parameters, sweep
from mnist_s5.jobs.compare import FACTS, compare_runs, p_value, read_runs, write_tensorboard
from mnist_s5.jobs.parameters import RunError, to_text
from mnist_s5.jobs.runs import run_notebook
from mnist_s5.jobs.sweep import combinations, each_notebook, expand
from mnist_s5.training.resume import describe_network, describe_run

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SCORES = """
import json, os, pathlib, sys
assert count < 3, "too many"
facts = {"test_accuracy": 10.0 * count, "threads": os.environ["OMP_NUM_THREADS"], "student": student}
pathlib.Path(run_dir, "metrics.json").write_text(json.dumps(facts))
"""


def write(path: Path, *cells: str, executed_with: dict[str, object] | None = None) -> Path:
    """Write a notebook, and what papermill adds to one that it has executed with these parameters."""
    declared = 'count: int = 1\nname: str = ""\nstudent: str = ""\nrun_dir: str = ""'
    parts = [nbformat.v4.new_code_cell(declared, metadata={"tags": ["parameters"]})]
    parts += [nbformat.v4.new_code_cell(cell) for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    added = {} if executed_with is None else {"papermill": {"parameters": executed_with}}
    nbformat.write(nbformat.v4.new_notebook(cells=parts, metadata=KERNEL | added), path)
    return path


def test_lists_and_ranges() -> None:
    assert expand("fast,best") == ["fast", "best"]
    assert expand("1..3,7,2") == ["1", "2", "3", "7"]
    assert expand("-2..0") == ["-2", "-1", "0"]
    assert expand("0.5") == ["0.5"]
    with pytest.raises(RunError, match=r"The range 5\.\.1 is empty"):
        expand("5..1")


def test_each_combination_has_its_folder(tmp_path: Path) -> None:
    notebook = write(tmp_path / "n.ipynb")
    runs = combinations([notebook], [("name", "a,b"), ("count", "1..2")], tmp_path)
    assert [run.folder.name for run in runs] == [f"count={c},name={n}" for c in (1, 2) for n in ("a", "b")]
    assert runs[2].parameters == {"name": "a", "count": "2"}
    slash, colon = combinations([notebook], [("name", "a/b,a:b")], tmp_path)
    assert [run.folder.name[:9] for run in (slash, colon)] == ["name=a_b-"] * 2
    assert slash.folder != colon.folder
    with pytest.raises(RunError, match="same folder"):
        combinations([notebook], [("name", "a,A")], tmp_path)
    for pairs, message in (([("count", "1,x")], "count='x' is invalid"), ([("cuont", "1")], "Did you mean count")):
        with pytest.raises(RunError, match=message):
            combinations([notebook], pairs, tmp_path)


@pytest.mark.parametrize(
    "pairs",
    [
        [("rate", "1.0"), ("seed", "1,2"), ("name", "a,b")],
        [("name", "a, b"), ("seed", "1, 2"), ("rate", "1")],
        [("seed", "1,+1,2,1"), ("rate", "1,1.0,10e-1"), ("name", "b"), ("name", "a")],
    ],
)
def test_the_same_runs_have_the_same_folders(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    """In any order of the parameters, and however a value is written. They are repeated otherwise."""
    cell = nbformat.v4.new_code_cell(
        'rate: float = 0.5\nseed: int = 1\nname: str = ""', metadata={"tags": ["parameters"]}
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    runs = combinations([tmp_path / "n.ipynb"], pairs, tmp_path)
    expected = {f"name={name},rate=1,seed={seed}" for name in "ab" for seed in (1, 2)}
    assert {run.folder.name for run in runs} == expected
    assert len(runs) == len(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,", "A value is missing in '1,'. Remove the extra comma."),
        ("1..200000", "The sweep would have 200,000 runs. At most 10,000 are allowed."),
        ("1..99999999999", "At most 10,000 are allowed"),
    ],
)
def test_values_that_nobody_means_are_refused(tmp_path: Path, text: str, said: str) -> None:
    notebook = write(tmp_path / "n.ipynb")
    with pytest.raises(RunError, match=said):
        combinations([notebook], [("count", text)], tmp_path)
    with pytest.raises(RunError, match="The sweep would have 40,000 runs"):
        combinations([notebook], [("count", "1..200"), ("name", ",".join(f"x{n}" for n in range(200)))], tmp_path)


def test_a_notebook_is_read_once_for_all_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it takes longer than all else."""
    notebook, read = write(tmp_path / "n.ipynb"), []

    def read_notebook(path: Path) -> object:
        read.append(path)
        return nbformat.read(path, 4)

    monkeypatch.setattr(parameters, "read_notebook", read_notebook)
    assert len(combinations([notebook], [("count", "1..500"), ("name", "a,b")], tmp_path)) == 1000
    assert read == [notebook]


def test_commas_in_brackets_separate_no_values() -> None:
    assert expand("[1, 2],[3]") == ["[1, 2]", "[3]"]
    assert expand("(1, 2)") == ["(1, 2)"]


def test_a_command_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    notebook, out = write(tmp_path / "n.ipynb"), tmp_path / "out"
    for words in ([str(notebook), "-p", "cuont", "1"], ["--each", f"{tmp_path}/none/*.ipynb"]):
        assert main(["sweep", *words, "--out", str(out)]) == 1
        assert not out.exists()


def test_copies_are_named_after_their_files(tmp_path: Path) -> None:
    one, two = write(tmp_path / "class" / "kim.ipynb"), write(tmp_path / "class" / "lee.ipynb")
    runs = each_notebook(f"{tmp_path}/class/*.ipynb", [], tmp_path / "out")
    assert [(run.folder.name, run.notebooks, run.parameters["student"]) for run in runs] == [
        ("kim", [one], "kim"),
        ("lee", [two], "lee"),
    ]
    write(tmp_path / "class" / "more" / "kim.ipynb")
    names = [run.folder.name for run in each_notebook(f"{tmp_path}/class/**/*.ipynb", [], tmp_path / "out")]
    assert names == ["kim", "lee", "more-kim"]
    with pytest.raises(RunError, match="No notebook matches"):
        each_notebook(f"{tmp_path}/none/*.ipynb", [], tmp_path)


def test_a_folder_with_brackets_and_the_working_folder_are_no_obstacles(tmp_path: Path) -> None:
    """Brackets are wildcards for glob. What an earlier sweep wrote into the same folder is no copy."""
    write(tmp_path / "class [2026]" / "kim.ipynb")
    assert [run.folder.name for run in each_notebook(f"{tmp_path}/class [2026]/*.ipynb", [], tmp_path)] == ["kim"]
    write(tmp_path / "kim" / "kim.ipynb")
    (tmp_path / "kim" / "log.txt").touch()
    assert [run.folder.name for run in each_notebook(f"{tmp_path}/**/*.ipynb", [], tmp_path)] == ["class [2026]-kim"]


@pytest.mark.slow
def test_a_failed_run_is_reported_and_only_missing_runs_are_started_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook, out = write(tmp_path / "scores.ipynb", SCORES), tmp_path / "out"
    command = ["sweep", str(notebook), "-p", "count", "1..3", "--jobs", "2", "--out", str(out)]
    assert main(command) == 1
    said = capsys.readouterr()
    message = "count=3: scores stopped in cell [3]: AssertionError: too many"
    assert message in said.err
    assert message in said.out
    table = pd.read_csv(out / "runs.csv", keep_default_na=False)
    assert table["status"].tolist() == ["finished", "finished", "failed"]
    assert table["test_accuracy"].tolist() == ["10.0", "20.0", ""]
    assert len({*table["threads"][:2]}) == 1  # each has its share
    done = out / "count=1" / "scores.ipynb"
    before = done.stat().st_mtime_ns
    write(notebook, SCORES.replace("count < 3", "count < 4"))  # now all code differs
    changed = SCORES.replace("count < 3", "count < 4")
    write(out / "count=1" / "scores.ipynb", changed, executed_with={"count": 1})  # except for this run
    before = done.stat().st_mtime_ns
    assert main(command) == 0
    assert done.stat().st_mtime_ns == before
    assert read_runs(out)["test_accuracy"].tolist() == [10, 20, 30]


@pytest.mark.slow
def test_a_copy_is_graded_although_some_of_its_cells_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that takes too long is not a wrong answer: its exercise has no result."""
    first = "import torch, math\nfrom mnist_s5.exercises import RESULTS, check\nimport mnist_s5 as s5"
    right = half_width.code()
    endless = "def calibration_error(*arguments):\n    while True: pass"
    last = "names = ('half_width', 'calibration_error', 'paired_p_value')\n"
    last += "s5.write_metrics(run_dir, exercises_07={name: RESULTS.get(name) for name in names})"
    cells = [first, f"{right}\ncheck(half_width)", f"{endless}\ncheck(calibration_error)", "check(renamed)", last]
    write(tmp_path / "class" / "kim.ipynb", *cells)
    spoils = "import pathlib, shutil\nshutil.rmtree(run_dir)"
    write(tmp_path / "class" / "lee.ipynb", spoils)
    out, words = tmp_path / "out", ["--each", f"{tmp_path}/class/*.ipynb", "--cell-timeout", "60"]
    assert main(["sweep", *words, "--out", str(out)]) == 1
    said = capsys.readouterr().out
    (tmp_path / "class" / "kim.ipynb").unlink()
    assert main(["sweep", *words, "--out", str(out)]) == 1  # not stopped by what the first sweep left
    assert "cell [5]: it took more than 60 seconds" in said
    assert "NameError: name 'renamed' is not defined" in said
    table = read_runs(out).set_index("run")
    assert table["status"].to_dict() == {"kim": "partial", "lee": "failed"}
    assert table.loc["kim", "exercises_07.half_width"] is True
    assert "exercises_07.calibration_error" not in table
    assert "exercises_07.paired_p_value" not in table


@pytest.mark.slow
def test_a_class_in_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solved = "pathlib.Path(run_dir, 'metrics.json').write_text(json.dumps({'exercises_02': {'sum': count == 1}}))"
    write(tmp_path / "class" / "right.ipynb", "import json, pathlib, os", solved)
    write(tmp_path / "class" / "endless.ipynb", "while True: pass")
    (tmp_path / "class" / "broken.ipynb").write_text("not a notebook")
    out = tmp_path / "out"
    assert main(["sweep", "--each", f"{tmp_path}/class/*.ipynb", "--timeout", "20", "--out", str(out)]) == 1
    table = read_runs(out).set_index("run")
    assert table["status"].to_dict() == {"broken": "failed", "endless": "failed", "right": "finished"}
    assert "is not a notebook" in table.loc["broken", "error"]
    assert table.loc["endless", "error"] == "The run took more than 20 seconds."
    assert table.loc["right", "exercises_02.sum"] is True
    assert "endless: The run took more than 20 seconds." in capsys.readouterr().out


def test_either_notebooks_or_each(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["02_training", "--each", "*.ipynb"]):
        assert main(["sweep", *words]) == 1
        assert "Pass the notebooks to run, or --each" in capsys.readouterr().err


def test_a_range_may_start_with_a_negative_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", str(write(tmp_path / "n.ipynb")), "-p", "count", "-2..-3", "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "The range -2..-3 is empty." in capsys.readouterr().err


def test_a_ray_address_needs_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(write(tmp_path / "n.ipynb")), "--address", "host:6379"]) == 1
    assert "--address is for a Ray cluster. Add --on ray." in capsys.readouterr().err


def test_a_run_is_finished_only_without_signs_of_a_failure(tmp_path: Path) -> None:
    (run,) = combinations([write(tmp_path / "n.ipynb", "print(1)")], [("count", "2")], tmp_path / "out")
    assert not run.finished()
    write(run.folder / "n.ipynb", "print(1)", executed_with={"count": 3, "run_dir": "out"})
    assert not run.finished()  # it belongs to other parameters
    write(run.folder / "n.ipynb", "print(1)", executed_with={"count": 2, "run_dir": "out"})
    assert run.finished()
    for sign in ("error.txt", "n-unfinished.ipynb"):
        (run.folder / sign).touch()
        assert not run.finished()
        (run.folder / sign).unlink()
    write(tmp_path / "n.ipynb", "print(2)")  # the notebook has changed
    assert not run.finished()


def test_a_notebook_whose_own_name_ends_in_unfinished_is_finished_once(tmp_path: Path) -> None:
    """Its result is named like an interrupted run. Executed from there, and failing, it is unfinished again."""
    notebook = write(tmp_path / "n-unfinished.ipynb", "assert count != 3")
    (run,) = combinations([notebook], [("count", "2")], tmp_path / "out")
    run.folder.mkdir(parents=True)
    run_notebook(notebook, run.folder, {"count": 2})
    assert [path.name for path in run.folder.iterdir()] == ["n-unfinished.ipynb"]
    assert run.finished()
    assert read_runs(run.folder)["status"].tolist() == ["finished"]
    again = tmp_path / "again"
    again.mkdir()
    with pytest.raises(RunError, match="n-unfinished-unfinished"):
        run_notebook(run.folder / "n-unfinished.ipynb", again, {"count": 3})
    assert read_runs(again)["status"].tolist() == ["unfinished"]


def test_values_of_a_repeated_parameter_are_joined(tmp_path: Path) -> None:
    runs = combinations([write(tmp_path / "n.ipynb")], [("count", "1"), ("count", "-2..-1")], tmp_path)
    assert [run.parameters["count"] for run in runs] == ["1", "-2", "-1"]
    with pytest.raises(RunError, match="count has several values"):
        each_notebook(str(tmp_path / "*.ipynb"), [("count", "1..2")], tmp_path / "out")


def record(folder: Path, accuracy: float, **metrics: object) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"test_accuracy": accuracy, "train_seconds": 2.0} | metrics))


@pytest.fixture
def runs(tmp_path: Path) -> pd.DataFrame:
    history = [{"epoch": 0.5, "learning_rate": 0.1, "seconds": 1.0}]
    history[0] |= dict.fromkeys(("train_loss", "test_loss", "train_accuracy", "test_accuracy"), 50.0)
    for seed in range(1, 6):
        record(tmp_path / "sweep" / f"recipe=a,seed={seed}", 90 + seed, recipe="a", seed=seed)
        more = {"recipe": "b", "seed": seed, "history": history, "train_images": 4000}
        record(tmp_path / "sweep" / f"recipe=b,seed={seed}", 95.5 + seed, **more)
    (tmp_path / "sweep" / "recipe=b,seed=10").mkdir()
    return read_runs(tmp_path / "sweep")


def test_two_recipes_are_compared_by_all_their_seeds(runs: pd.DataFrame) -> None:
    assert runs["run"].tolist()[-1] == "recipe=b,seed=10"  # after 5, not after 1
    assert runs["group"].tolist()[4:6] == ["recipe=a", "recipe=b"]
    groups, differences = compare_runs(runs)
    assert groups.loc["recipe=a"].to_dict() == {"runs": 5, "median": 93, "min": 91, "max": 95, "seconds": 2}
    assert groups.loc["recipe=b", "runs"] == 5  # the missing one does not count
    (row,) = differences.to_dict("records")
    least = pytest.approx(2 / 252)
    names = {"from": "recipe=a", "to": "recipe=b"}
    assert row == names | {"difference": 5.5, "p": least, "Holm p": least, "smallest p": least}


def test_p_values_are_corrected_for_the_number_of_pairs(tmp_path: Path) -> None:
    for name, best in (("a", 90), ("b", 92), ("c", 99)):
        for seed in range(4):
            record(tmp_path / f"recipe={name},seed={seed}", best + seed, recipe=name)
    record(tmp_path / "recipe=d,seed=0", 50, recipe="d")  # a single run has no p-value, and is no test
    _, differences = compare_runs(read_runs(tmp_path))
    tested = differences.dropna(subset=["p"])
    assert len(differences) == 6
    assert tested["p"].tolist() == pytest.approx([10 / 70, 2 / 70, 2 / 70])
    assert tested["Holm p"].tolist() == pytest.approx([10 / 70, 6 / 70, 6 / 70])  # the largest is multiplied by 1


@pytest.fixture
def recorded_facts() -> dict[str, object]:
    """The facts of a recorded run, as `fit` writes them today."""
    recipe, (train_set, test_set) = s5.get_recipe("fast", "sample"), s5.load_mnist("sample")
    facts = describe_run(recipe, 1, train_set, test_set)
    return facts | describe_network(lambda: s5.make_model(recipe), torch.device("cpu"))


def test_groups_have_the_same_facts_except_the_seed(tmp_path: Path, recorded_facts: dict[str, object]) -> None:
    assert {"seed", *FACTS} == recorded_facts.keys()
    names = {
        "network_sha256": "another activation",
        "data_sha256": "other digits of the same number",
        "label_smoothing": 0.5,
    }
    for number, (fact, value) in enumerate(names.items()):
        record(tmp_path / f"{number}", 90, **recorded_facts | {fact: value})
    for seed in (1, 2):
        record(tmp_path / f"{10 + seed}", 90, **recorded_facts | {"seed": seed})
    groups, _ = compare_runs(read_runs(tmp_path))
    assert groups["runs"].tolist() == [1, 1, 1, 2]


def test_repeated_runs_count_once(
    tmp_path: Path, recorded_facts: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Four equal runs of seed 1 at each of two learning rates, and a sweep beside its copy."""
    for rate in (0.1, 0.2):
        for number in range(4):
            record(tmp_path / "equal" / f"{rate}-{number}", 90 + rate, **recorded_facts | {"learning_rate": rate})
        for seed in range(1, 4):
            facts = recorded_facts | {"learning_rate": rate, "seed": seed}
            for copy in ("sweep", "copy"):
                record(tmp_path / copy / f"learning_rate={rate},seed={seed}", 90 + 10 * rate + seed, **facts)
    groups, differences = compare_runs(read_runs(tmp_path / "equal"))
    assert groups["runs"].tolist() == [1, 1]
    assert differences["p"].isna().all()
    for threshold in (0.5, 0.9):  # a parameter that is not one of the facts
        record(tmp_path / "other" / f"threshold={threshold},seed=1", 90 + threshold, **recorded_facts)
    assert read_runs(tmp_path / "other")["status"].tolist() == ["finished"] * 2
    once = compare_runs(read_runs(tmp_path / "sweep"))
    twice = compare_runs(read_runs(tmp_path / "sweep", tmp_path / "copy"))
    for one, other in zip(once, twice, strict=True):
        pd.testing.assert_frame_equal(one, other)
    both = read_runs(tmp_path / "sweep", tmp_path / "copy")["run"]
    assert both.is_unique  # write_tensorboard uses them as folders
    assert main(["compare", str(tmp_path / "sweep"), str(tmp_path / "copy")]) == 0
    said = capsys.readouterr().out
    assert "(repeated) is not counted. It repeats sweep/learning_rate=0.1,seed=1." in said


def exact_p_value(a: list[str], b: list[str]) -> Fraction:
    """Return the fraction of all splits whose means differ at least as much as those of a and b."""
    values = [Fraction(each) for each in a + b]

    def gap(chosen: tuple[int, ...]) -> Fraction:
        first = sum((values[index] for index in chosen), Fraction(0))
        return abs(first / len(a) - (sum(values) - first) / len(b))

    splits = [*itertools.combinations(range(len(values)), len(a))]
    observed = gap(tuple(range(len(a))))
    return Fraction(sum(gap(split) >= observed for split in splits), len(splits))


def test_p_values_are_exact_where_accuracies_tie() -> None:
    sample = random.Random(1)
    ties = [(["99.34", "99.36", "99.34", "99.34", "99.30"], ["99.26", "99.32", "99.29", "99.26", "99.34"])]
    for _ in range(100):
        ties.append(tuple([f"{99.3 + sample.randint(-5, 5) / 100:.2f}" for _ in range(5)] for _ in range(2)))
    for a, b in ties:
        assert p_value([*map(float, a)], [*map(float, b)]) == pytest.approx(float(exact_p_value(a, b)))
    tiny = [1e-12, 2e-12, 3e-12], [4e-12, 5e-12, 6e-12]
    assert p_value(*tiny) == pytest.approx(0.1)


def test_an_unknown_metric_is_an_error(runs: pd.DataFrame) -> None:
    with pytest.raises(RunError, match=r"No finished run has a number test_acuracy\. Did you mean test_accuracy"):
        compare_runs(runs, "test_acuracy")
    with pytest.raises(RunError, match="No finished run has a number recipe"):
        compare_runs(runs, "recipe")


def test_runs_with_the_same_recipe_and_other_epochs_are_not_mixed(tmp_path: Path) -> None:
    for number in range(4):  # folders without parameters in their names
        record(
            tmp_path / f"{number}",
            90 + number,
            recipe="fast",
            epochs=1 + number // 2,
            batch_size=64 * (1 + number // 2),
        )
    groups, _ = compare_runs(read_runs(tmp_path))
    assert groups["runs"].to_dict() == {"epochs=1": 2, "epochs=2": 2}  # the batch size does not divide them further


def test_an_interrupted_run_of_fit_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "epoch-000003.pt").touch()
    assert read_runs(tmp_path)["status"].tolist() == ["unfinished"]


def test_a_corrupted_or_cheating_run_does_not_spoil_the_table(tmp_path: Path) -> None:
    record(tmp_path / "kim", 90, status="failed", run="lee")
    (tmp_path / "lee").mkdir()
    (tmp_path / "lee" / "metrics.json").write_text("{")
    table = read_runs(tmp_path)
    assert table[["run", "status"]].to_numpy().tolist() == [["kim", "finished"], ["lee", "failed"]]
    assert "corrupted" in table["error"][1]


NESTED: object = [[1], [[2]]]
for _ in range(400):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"history": [[1]], "test_accuracy": [[90]], "recipe": {"a": [1]}}),
        json.dumps(NESTED),
        "[" * 100_000 + "]" * 100_000,
        '{"student": "\\ud800", "test_accuracy": 1e999}',
        '{"test_accuracy": "high", "run": "=1+1"}',
        '{"a": {"b": 1}, "a.b": {"c": 2}, "": 3}',
        '{"test_accuracy": 123456789012345678901234567890}',
    ],
    ids=["lists", "nested", "deep", "surrogate", "text", "names", "integer"],
)
def test_one_bad_file_does_not_spoil_the_table(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "good", 99)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "metrics.json").write_text(text)
    assert main(["compare", str(tmp_path), "--csv", str(tmp_path / "runs.csv")]) == 0
    assert main(["compare", str(tmp_path), "--json"]) == 0
    table = pd.read_csv(tmp_path / "runs.csv").set_index("run")
    assert float(table.loc["good", "test_accuracy"]) == 99
    if "high" in text:
        assert "bad is not counted. It has no number test_accuracy." in capsys.readouterr().out


def test_equal_numbers_are_one_group(tmp_path: Path) -> None:
    for seed, epochs in enumerate((1, 1.0, 1)):
        record(tmp_path / "epochs" / f"epochs={epochs},seed={seed}", 90 + seed, epochs=epochs, seed=seed)
    for seed, size in enumerate(("5", "5.0")):  # a parameter that metrics.json does not have
        record(tmp_path / "sizes" / f"size={size},seed={seed}", 80 + seed, seed=seed)
    record(tmp_path / "sizes" / "size=6,seed=1", 80)
    groups, _ = compare_runs(read_runs(tmp_path / "epochs"))
    assert groups["runs"].to_dict() == {"all": 3}
    groups, _ = compare_runs(read_runs(tmp_path / "sizes"))
    assert groups["runs"].to_dict() == {"size=5": 2, "size=6": 1}


@pytest.mark.parametrize("value", ["98.5", True])
def test_only_numbers_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str], value: object) -> None:
    record(tmp_path / "a", value)  # type: ignore[arg-type]
    record(tmp_path / "b", 99.5)
    groups, _ = compare_runs(read_runs(tmp_path))
    assert groups["runs"].tolist() == [1]
    assert main(["compare", str(tmp_path)]) == 0
    assert "a is not counted. It has no number test_accuracy." in capsys.readouterr().out


@pytest.mark.parametrize("values", [[1.0], [], [1.0, float("nan")], [1.0, float("inf")]])
def test_a_p_value_needs_two_finite_numbers_each(values: list[float]) -> None:
    for pair in ((values, [2.0, 3.0]), ([2.0, 3.0], values)):
        with pytest.raises(ValueError, match="Expected at least two finite numbers for each recipe, got"):
            p_value(*pair)


def test_numbers_in_names_are_short_and_exact() -> None:
    numbers = {1.0: "1", 0.02: "0.02", 1e9: "1e9", 1e-5: "1e-5", 60_000.0: "60000", 1.23456789: "1.23456789"}
    assert {number: to_text(number) for number in numbers} == numbers
    assert [to_text(value) for value in (1, True, None, "1.0", [1])] == ["1", "True", "None", "1.0", "[1]"]


def test_sweeps_in_a_folder_are_found_and_other_folders_are_not_runs(tmp_path: Path) -> None:
    record(tmp_path / "one" / "seed=1", 90)
    (tmp_path / "one" / "seed=2").mkdir()
    record(tmp_path / "two", 91)
    (tmp_path / "my_digits" / "3").mkdir(parents=True)
    (tmp_path / "my_digits" / "3" / "a.png").touch()
    runs = read_runs(tmp_path)
    assert runs.set_index("run")["status"].to_dict() == {"seed=1": "finished", "seed=2": "missing", "two": "finished"}


def test_texts_are_harmless_in_a_terminal_and_in_a_spreadsheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "\x1b[2Jred", 90, student="=HYPERLINK(1)")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "error.txt").write_text("\x1b[31mnot red\x07")
    assert main(["compare", str(tmp_path), "--csv", str(tmp_path / "runs.csv")]) == 0
    assert "\x1b" not in capsys.readouterr().out
    text = (tmp_path / "runs.csv").read_text()
    assert "'=HYPERLINK(1)" in text
    assert "\x1b" not in text


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "error.txt").write_text("no")
    with pytest.raises(RunError, match=r"No run is finished, so there is nothing to compare\."):
        compare_runs(read_runs(tmp_path))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metrics.json").write_text('{"test_accuracy": "high"}')
    with pytest.raises(RunError, match=r"No finished run has a number test_accuracy\. They have recorded no numbers"):
        compare_runs(read_runs(tmp_path))
    with pytest.raises(RunError, match=r"No run has a history"):
        write_tensorboard(read_runs(tmp_path), tmp_path / "events")


def test_a_missing_extra_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["sweep", str(write(tmp_path / "n.ipynb")), "--on", "ray", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.endswith("Run: pip install 'mnist-s5[ray]'\n")


def test_compare_prints_missing_runs_and_writes_csv_and_json(
    tmp_path: Path, runs: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(tmp_path / "sweep"), "--csv", str(tmp_path / "t.csv")]) == 0
    assert "recipe=b,seed=10 (missing) is not counted." in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "t.csv")) == 11
    assert main(["compare", str(tmp_path / "sweep"), "--json"]) == 0
    parts = json.loads(capsys.readouterr().out)
    assert [len(parts[name]) for name in ("runs", "groups", "differences")] == [11, 2, 1]
    assert parts["groups"][0]["median"] == 93
    for folder, message in ((tmp_path / "none", "There is no folder"), (tmp_path / "sweep" / "recipe=b,seed=10", "no")):
        assert main(["compare", str(folder)]) == 1
        assert message in capsys.readouterr().err


def test_tensorboard_files_hold_the_curves(tmp_path: Path, runs: pd.DataFrame) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra: tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_tensorboard(runs, tmp_path / "tb")
    assert len(list((tmp_path / "tb").iterdir())) == 5
    events = EventAccumulator(str(tmp_path / "tb" / "recipe=b,seed=1")).Reload()
    assert [(each.step, each.value) for each in events.Scalars("test_accuracy")] == [(2000, 50.0)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_killed_sweep_ends_its_runs_and_does_the_rest_when_started_again(tmp_path: Path, number: int) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    mark = f"import pathlib, os, time\nhere = pathlib.Path({str(tmp_path)!r})\n"
    mark += "(here / 'marks' / f'{count}-{os.getpid()}').touch()"
    wait = "while count == 2 and not (here / 'go').exists(): time.sleep(0.1)"
    slow = write(tmp_path / "slow.ipynb", mark, wait, SCORES)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mnist_s5", "sweep", str(slow), "-p", "count", "1..2", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (second := list(marks.glob("2-*"))):
        time.sleep(0.1)
    process.send_signal(number)
    assert process.communicate(timeout=20)[1].endswith("mnist-s5: interrupted\n")
    assert process.returncode == 130
    kernel = int(second[0].name[2:])
    assert not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE
    assert read_runs(out)["status"].tolist() == ["finished", "unfinished"]
    (tmp_path / "go").touch()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert len(list(marks.glob("1-*"))) == 1
    assert read_runs(out)["status"].tolist() == ["finished", "finished"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Start a Ray cluster of two nodes, and stop it."""
    pytest.importorskip("ray", reason="needs the extra: ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes.address
    nodes.shutdown()


@pytest.mark.slow
@pytest.mark.xdist_group("ray")  # one cluster at a time
def test_ray_gives_the_same_metrics_seed_by_seed(tmp_path: Path, cluster: str) -> None:
    trains = "import mnist_s5 as s5\nrecipe = s5.get_recipe('fast', 'sample', epochs=0.05)\n"
    trains += "s5.fit(recipe, *s5.load_mnist('sample'), seed=count, device='cpu', folder=run_dir)"
    words = ["sweep", str(write(tmp_path / "trains.ipynb", trains)), "-p", "count", "1..2"]
    on_ray = ["--on", "ray", "--address", cluster, "--jobs", "2", "--out", str(tmp_path / "ray")]
    assert main([*words, "--jobs", "2", "--out", str(tmp_path / "local")]) == 0
    assert main([*words, *on_ray]) == 0
    here, there = (read_runs(tmp_path / name) for name in ("local", "ray"))
    for column in ("run", "seed", "test_accuracy", "test_loss", "threads", "status"):
        assert here[column].tolist() == there[column].tolist(), column
    assert here["test_loss"].nunique() == 2
    files = [{path.name for path in (tmp_path / name / here["run"][0]).iterdir()} for name in ("local", "ray")]
    assert files[0] == files[1]


@pytest.mark.slow
@pytest.mark.xdist_group("ray")  # one cluster at a time
def test_a_node_that_has_other_data_or_another_course_is_an_error(
    tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--on", "ray", "--address", cluster, "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "source_sha256", lambda: "another")
        assert main(["sweep", str(write(tmp_path / "scores.ipynb", SCORES)), *words]) == 1
        assert "is not ready: it has another version of the course. Install the same one" in capsys.readouterr().err
    ours = {"mnist": "sample", "sample": "mnist"}[s5.load_mnist("auto")[0].name]
    monkeypatch.setattr(sweep, "load_mnist", lambda source: [SimpleNamespace(name=ours)])
    assert main(["sweep", str(write(tmp_path / "scores.ipynb", SCORES)), *words]) == 1
    said = capsys.readouterr().err
    assert f"and this machine the {ours} digits. Set MNIST_S5_DATA on each node before you start Ray there" in said


def test_an_open_port_of_another_program_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="needs the extra: ray")
    monkeypatch.setattr(sweep, "ANSWER", 5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        words = ["sweep", str(write(tmp_path / "n.ipynb")), "--on", "ray", "--address", address]
        assert main([*words, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"mnist-s5: No Ray cluster answers at {address} (")
    assert not (tmp_path / "out").exists()


def test_an_address_without_a_cluster_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="needs the extra: ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused = f"127.0.0.1:{free.getsockname()[1]}"
    notebook = str(write(tmp_path / "n.ipynb"))
    for address in (unused, "nowhere"):
        words = ["sweep", notebook, "--on", "ray", "--address", address, "--out", str(tmp_path / "out")]
        assert main(words) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"mnist-s5: No Ray cluster answers at {address} (")
        assert last.endswith("Pass its HOST:PORT.")
