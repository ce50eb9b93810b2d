import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest

import mnist_s5 as s5
from mnist_s5 import parameters, runs


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook with a parameter of each type, and a cell that fails on demand."""
    cell = nbformat.v4.new_code_cell
    declared = "\n".join(
        [
            "from typing import Optional",
            'name: str = "x"',
            "count: int = 1",
            "rate: float = 0.5",
            "epochs: Optional[float] = None",
            "fast: bool = True",
            'run_dir: str = ""',
        ]
    )
    cells = [
        cell(declared, metadata={"tags": ["parameters"]}),
        cell("assert fast, 'slow'"),
        cell("print(name, count)"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "small.ipynb")
    return tmp_path / "small.ipynb"


def test_values_get_their_types(notebook: Path) -> None:
    pairs = [("name", "1"), ("count", "3"), ("rate", "1e-3"), ("epochs", "None"), ("fast", "false")]
    expected = {"name": "1", "count": 3, "rate": 0.001, "epochs": None, "fast": False}
    assert parameters.strict_parameters([notebook], pairs) == [expected]
    assert parameters.strict_parameters([notebook], [("epochs", "2")]) == [{"epochs": 2.0}]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epoch", "1", "did you mean epochs"),
        ("import os", "1", "choose from name, count, rate"),
        ("count", "1.5", "whole number"),
        ("count", "False", "whole number"),
        ("rate", "fast", "finite number"),
        ("rate", "inf", "finite number"),
        ("epochs", "nan", "finite number"),
        ("fast", "1", "True or False"),
        ("run_dir", "x", "--out"),
    ],
)
def test_wrong_names_and_types_are_refused(notebook: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(s5.RunError, match=said):
        parameters.strict_parameters([notebook], [(name, value)])


def test_a_failing_cell_is_one_sentence_and_the_notebook_is_kept(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(s5.RunError, match="small stopped: AssertionError: slow"):
        runs.run_notebook(notebook, tmp_path / "out", {"fast": False})
    assert (tmp_path / "out" / "small.ipynb").exists()


def test_a_run_does_not_overwrite_its_notebook(notebook: Path) -> None:
    with pytest.raises(s5.RunError, match="overwritten"):
        runs.run_notebook(notebook, notebook.parent, {})


def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("{}")
    with pytest.raises(s5.RunError, match="no notebook"):
        parameters.strict_parameters([tmp_path / "x.ipynb"], [])


def test_metrics_add_up_and_know_their_versions(tmp_path: Path) -> None:
    s5.write_metrics(tmp_path, first=1)
    s5.write_metrics(tmp_path, second=[2])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["first"], metrics["second"]) == (1, [2])
    assert set(metrics["versions"]) == {"python", "torch", "torchvision"}


def test_a_saved_run_can_be_read_and_repeated(tmp_path: Path, net: s5.Net) -> None:
    history = s5.History([s5.Epoch(0.5, 0.05, 0.9, 70.0, 0.4, 88.0, 5.0)], "sample")
    recipe = s5.get_recipe("fast", "sample", epochs=0.5)
    s5.save_run(tmp_path, net, recipe, history, seed=9, device="cpu", images=(4000, 1000))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    facts = {"dataset": "sample", "recipe": "fast", "epochs": 0.5, "seed": 9, "train_images": 4000, "init": "he"}
    assert facts.items() <= metrics.items()
    assert (metrics["test_accuracy"], metrics["test_loss"], metrics["train_seconds"]) == (88.0, 0.4, 5.0)
    assert s5.load_checkpoint(tmp_path / s5.CHECKPOINT)[1]["dataset"] == "sample"
    assert "name" not in metrics


def test_a_new_run_makes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert s5.new_run(str(tmp_path / "mine")).is_dir()
    monkeypatch.delenv("MNIST_S5_RUNS")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert s5.new_run().parent == tmp_path / "runs"


def test_the_last_checkpoint_is_the_newest_or_the_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: s5.Net
) -> None:
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path / "runs"))
    assert s5.last_checkpoint() == s5.SHIPPED
    for age, name in enumerate(("new", "old")):
        path = tmp_path / "runs" / name / s5.CHECKPOINT
        s5.save_checkpoint(net, path)
        os.utime(path, (1e9 - age, 1e9 - age))
    assert s5.last_checkpoint().parent.name == "new"
    assert s5.last_checkpoint(str(tmp_path / "runs" / "old")).parent.name == "old"
    assert s5.last_checkpoint(str(tmp_path)).parent.name == "new"
    with pytest.raises(FileNotFoundError, match="There is no run"):
        s5.last_checkpoint(str(tmp_path / "typo"))


def test_the_recorded_reference_is_an_honest_reproduction() -> None:
    history, metrics = s5.recorded("reference-mnist-1")
    assert len(history) == metrics["epochs"] == 20
    assert (metrics["dataset"], metrics["recipe"], metrics["train_images"]) == ("mnist", "reference", 60_000)
    assert abs(history[-1].test_accuracy - 99.27) <= 0.15
    assert [entry.learning_rate for entry in history] == pytest.approx([0.01] * 15 + [0.001] * 5)


@pytest.mark.parametrize("dataset", ["mnist", "sample"])
def test_recorded_runs_lie_in_the_range_that_the_notebook_states(dataset: str) -> None:
    notebook = nbformat.read(runs.course_path("notebooks/02_training.ipynb"), as_version=4)
    prose = next(cell.source for cell in notebook.cells if cell.id == "expect")
    stated = {
        "mnist": r"full MNIST ends between ([\d.]+) and ([\d.]+) %",
        "sample": r"sample, .* it is ([\d.]+) to ([\d.]+) %",
    }
    match = re.search(stated[dataset], prose)
    assert match
    for seed in range(1, 6):
        assert float(match[1]) <= s5.recorded(f"fast-{dataset}-{seed}")[0][-1].test_accuracy <= float(match[2])


def test_unknown_notebooks_name_the_known() -> None:
    with pytest.raises(s5.RunError, match="02_training"):
        runs.find_notebooks(["2_training"])
    assert [path.stem for path in runs.find_notebooks(["all"])][:2] == ["01_data_visualization", "02_training"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_runs_folder_that_is_gone_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "not mounted")
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path / "runs"))
    with pytest.raises(OSError, match="a file is in its place"):
        s5.new_run()


def test_metrics_that_are_damaged_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(s5.RunError, match="is damaged: move it away"):
        s5.write_metrics(tmp_path, accuracy=1)
