import ast
import inspect
import io
import json
import os
import re
import runpy
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from click.testing import CliRunner
from papermill.cli import papermill
from PIL import Image
from torch import nn

import mnist_s5 as s5
from mnist_s5.__main__ import main
from mnist_s5.jobs.parameters import RunError
from mnist_s5.jobs.runs import run_notebook
from mnist_s5.training.checkpoint import save_checkpoint
from mnist_s5.training.recipes import Recipe

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "notebooks" / "template.ipynb"
EXERCISES = sorted((ROOT / "notebooks" / "exercises").glob("*.ipynb"))
COLLAPSED = {"cellView": "form", "jupyter": {"source_hidden": True}}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def load(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_the_core_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS][:3] == ["01_data_visualization", "02_training", "03_summary"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_hygiene(path: Path) -> None:
    notebook = load(path)
    nbformat.validate(notebook)
    assert path.stat().st_size < 1_000_000
    assert set(notebook.metadata) == {"kernelspec", "language_info"}  # no widget state, nothing from papermill
    assert notebook.metadata.language_info == {"name": "python"}
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells) <= 45
    assert all(re.fullmatch(r"[a-z][a-z-]*", cell.id) for cell in notebook.cells)  # readable ids that do not change
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if "parameters" in cell.metadata.get("tags", [])] == ["parameters"]
    for cell in code:
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 15, cell.id
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))  # run once, top to bottom


@pytest.mark.parametrize("path", [*NOTEBOOKS, TEMPLATE, *EXERCISES], ids=lambda path: path.stem)
def test_only_setup_results_and_answers_are_collapsed(path: Path) -> None:
    for cell in load(path).cells:
        first = cell.source.partition("\n")[0]
        collapsed = cell.id in ("setup", "metrics", "results") or first.endswith(
            ("(open after your diagnosis)", "(open to read)")
        )
        assert {key: value for key, value in cell.metadata.items() if key != "tags"} == (COLLAPSED if collapsed else {})
        assert cell.source.startswith("# @title ") == collapsed  # the line that JupyterLab and Colab show


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs(path: Path) -> None:
    outputs = [output for cell in load(path).cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 3
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        assert not re.search(
            r"/(home|root|tmp|Users|work)/|<script|\r|0%\|", json.dumps(output.get("text", output.get("data")))
        )
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
        assert "embedded sample" not in str(output)  # the committed outputs are for full MNIST
    for picture in pictures:
        assert len(picture.data["image/png"]) * 3 / 4 < 100_000
        assert len(picture.metadata["image/png"]["alt"]) > 30


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_cell_that_draws_a_figure_shows_it(path: Path) -> None:
    """Jupyter shows a figure only if it is the value of the last line."""
    functions = {name: getattr(s5, name) for name in s5.__all__ if inspect.isfunction(getattr(s5, name))}
    drawing = {name for name in functions if "Figure" in str(inspect.signature(functions[name]).return_annotation)}
    assert {"image_grid", "line_plot"} <= drawing
    for cell in load(path).cells:
        if cell.cell_type == "code" and cell.id != "setup":
            called = re.findall(r"^s5\.(\w+)\(", cell.source, re.MULTILINE)
            assert not drawing & {*called} or "image/png" in str(cell.outputs), cell.id


def pixels(png: str) -> "np.ndarray[Any, Any]":
    return np.asarray(Image.open(io.BytesIO(b64decode(png))).convert("RGB"), dtype=float)


@pytest.mark.parametrize("path", NOTEBOOKS[:4], ids=lambda path: path.stem)
def test_the_first_screen_has_a_picture_from_the_notebook(path: Path) -> None:
    """Up to rounding, it is what `make notebooks` makes of the figure that is committed."""
    notebook = load(path)
    title = notebook.cells[0]
    (name,) = re.findall(r"^!\[[^\]]{30,}\]\(attachment:(\S+)\)$", title.source, re.MULTILINE)  # with an alt text
    assert [*title.attachments] == [name]
    committed = title.attachments[name]["image/png"]
    assert len(b64decode(committed)) < 40_000
    runpy.run_path(str(ROOT / "scripts" / "execute_notebooks.py"))["attach_figures"](notebook)
    made = title.attachments[name]["image/png"]
    assert pixels(committed).shape == pixels(made).shape
    assert np.abs(pixels(committed) - pixels(made)).max() < 32


def test_a_picture_on_the_first_screen_needs_its_figure() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "execute_notebooks.py"))
    title = nbformat.v4.new_markdown_cell("# Title\n\n![a black square](attachment:square.png)", id="title")
    square = nbformat.v4.new_code_cell("draw()", id="square")
    notebook = nbformat.v4.new_notebook(cells=[title, square])
    with pytest.raises(ValueError, match="no cell square has drawn a figure"):
        script["attach_figures"](notebook)
    image, png = Image.new("RGB", (1000, 1000), "white"), io.BytesIO()
    image.paste("black", (100, 200, 900, 400))
    image.save(png, "png")
    data = {"image/png": b64encode(png.getvalue()).decode()}
    square.outputs = [nbformat.v4.new_output("display_data", data={"text/plain": "first"})]
    square.outputs += [nbformat.v4.new_output("display_data", data=data)]
    script["attach_figures"](notebook)
    nbformat.validate(notebook)
    small = pixels(title.attachments["square.png"]["image/png"])
    assert small.shape == (188, 700, 3)  # 800 x 200, and 10 pixels of white on each side
    assert small[15:-15, 15:-15].max() == 0
    title.source = "# Title"
    script["attach_figures"](notebook)
    assert "attachments" not in title


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_five_cells_are_checked_by_nbval(path: Path) -> None:
    checked = [cell for cell in load(path).cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    assert len(checked) >= 5
    assert all(cell.outputs for cell in checked)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_explained(path: Path) -> None:
    said = CliRunner().invoke(papermill, ["--help-notebook", str(path)], catch_exceptions=False).output
    parameters = next(cell for cell in load(path).cells if cell.id == "parameters")
    declared = re.findall(r"^(\w+): ([\w\[\]]+) = .*  # (.+)$", parameters.source, re.MULTILINE)
    assert {"source", "run_dir"} <= {name for name, _, _ in declared}
    assert len(declared) == len(re.findall(r"^\w+:", parameters.source, re.MULTILINE))
    for name, kind, comment in declared:
        assert f"{name}: {kind} (default" in said
        assert comment in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_overwrites_a_parameter(path: Path) -> None:
    """Otherwise, running the first cells again would fail. Only `device` is replaced by what it names."""
    code = [cell for cell in load(path).cells if cell.cell_type == "code"]
    assigned = {
        node.id
        for cell in code
        if cell.id not in ("setup", "parameters")
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    parameters = next(cell for cell in code if cell.id == "parameters").source
    assert assigned & set(re.findall(r"^(\w+):", parameters, re.MULTILINE)) <= {"device"}


@pytest.mark.slow
def test_all_three_run_with_other_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "01_data_visualization", "02_training", "03_summary", "--out", str(tmp_path)]
    changes = {
        "source": "sample",
        "recipe": "reference",
        "epochs": "1.25",
        "batch_size": "200",
        "seed": "7",
        "digit": "11",
    }
    for name, value in changes.items():
        words += ["-p", name, value]
    assert main(words) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert f"{metrics['test_accuracy']:.2f}% of 1,000 test digits (sample, recipe reference)" in capsys.readouterr().out
    facts = ("dataset", "recipe", "epochs", "seed", "batch_size", "train_images", "test_images", "device")
    assert [metrics[fact] for fact in facts[:-1]] == ["sample", "reference", 1.25, 7, 200, 4000, 1000]
    assert {*facts, "threads", "train_seconds", "test_loss", "history", "versions", "learning_rate"} <= set(metrics)
    steps = (2, 5, 12, 20, 25)  # 10%, 20%, and half of the run, and each epoch
    assert [entry["epoch"] for entry in metrics["history"]] == pytest.approx([step / 20 for step in steps])
    assert metrics["history"][-1]["test_accuracy"] == metrics["test_accuracy"] > 15
    assert metrics["history"][-1]["train_loss"] < 2.31
    assert metrics["data"]["dataset"] == "sample"
    plausible({"data": metrics["data"]})
    assert metrics["data"]["class_counts"] == [400] * 10
    assert metrics["summary"]["weights"] == "run"  # the checkpoint that 02 has just written
    assert metrics["summary"]["test_accuracy"] == pytest.approx(metrics["test_accuracy"])
    assert not metrics["summary"]["seen_in_training"]
    if "peak_memory_mb" in metrics:
        assert metrics["peak_memory_mb"] < 2000
    for name in ("01_data_visualization-twelve", "02_training-curves", "03_summary-confusion", "train_test_plot"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
    executed = load(tmp_path / "02_training.ipynb")
    assert "embedded sample" in str([cell.get("outputs") for cell in executed.cells])
    assert "0%|" not in str([cell.get("outputs") for cell in executed.cells])  # no progress bar


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("03_summary", {"digit": 1000}, "digit=1000 is invalid. It must be from 0 to 999."),
        ("05_debugging", {"steps": 5}, "steps=5 is invalid. It must be from 10 to 125."),
        ("05_debugging", {"steps": 130}, "steps=130 is invalid."),
        ("07_measuring", {"seeds": 0}, "seeds=0 is invalid. It must be at least 2."),
        ("08_many_runs", {"trials": 1}, "trials=1 is invalid. It must be at least 2."),
        ("09_scaling_out", {"epochs": 1}, "epochs=1 is invalid. It must be at least 2."),
    ],
)
def test_values_out_of_range_stop_in_the_first_cell(
    name: str, parameters: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=message):
        run_notebook(ROOT / "notebooks" / f"{name}.ipynb", tmp_path, parameters | {"source": "sample"})
    executed = [cell for cell in load(tmp_path / f"{name}-unfinished.ipynb").cells if cell.get("outputs")]
    assert executed[-1].id in ("start", "load")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_takes_the_time_that_it_states(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With default parameters, on full MNIST if it is available. The training time of 02 and 06 does not count."""
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path))
    start = time.monotonic()
    assert main(["run", path.stem]) == 0
    (folder,) = tmp_path.iterdir()
    metrics = json.loads((folder / "metrics.json").read_text())
    training = metrics.get("train_seconds", 0) + metrics.get("faster", {}).get("train_seconds", 0)
    seconds = time.monotonic() - start - training
    with capsys.disabled():
        print(f"\n{path.stem}: {seconds:.0f} s, plus {training:.0f} s of training")
    plausible(metrics)
    checked = [cell for cell in load(path).cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    executed = {cell.id: cell for cell in load(folder / path.name).cells}
    for cell in checked:  # as nbval does
        assert texts(executed[cell.id]) == texts(cell), cell.id
    has_bf16 = s5.get_recipe("fast").dtype(s5.get_device()) != s5.get_recipe("reference").dtype("cpu")
    assert seconds < (120 if has_bf16 else 240)
    if "scaling_out" in metrics:
        starts_from_a_terminal(folder)


def starts_from_a_terminal(run: Path) -> None:
    """Run the script of 09 as its text says: with a new state, it trains, and started again, it has nothing to do."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "training.py"]
    for epochs in (["epoch 1", "epoch 1"], []):
        words = [*command, "--state", "mine.pt", "--epochs", "1"]
        done = subprocess.run(words, cwd=run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert re.findall(r"epoch \d", done.stdout) == epochs
        assert (run / "mine.pt").exists()


def texts(cell: nbformat.NotebookNode) -> str:
    """Return the text outputs of a cell."""
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def plausible(metrics: dict[str, Any]) -> None:
    """Check what the text says about the results with default parameters, on full MNIST and on the sample."""
    if "data" in metrics:
        data = metrics["data"]
        assert 75 < data["nearest_mean_accuracy"] < 88
        assert 80 < data["baselines"]["linear classifier"] < 90
        assert 90 < data["baselines"]["nearest neighbor"] < 98
        assert abs(data["pixel_mean"] - 0.1307) < 0.003
        assert abs(data["pixel_std"] - 0.3081) < 0.003
        assert max(data["class_counts"]) < 1.3 * min(data["class_counts"])
    if "history" in metrics:
        assert metrics["test_accuracy"] > 98
        evaluated = [entry["epoch"] / metrics["epochs"] for entry in metrics["history"]]
        assert evaluated[-1] == 1
        assert all(min(abs(mark - found) for found in evaluated) < 0.01 for mark in (0.1, 0.2, 0.5))
    if "own_digits" in metrics:
        own = metrics["own_digits"]
        assert 40 < own["pictures"]["resized"] < 60
        assert own["pictures"]["find_digits"] > 95
        assert (own["digits"], own["dataset"]) == (240, "pictures")
        assert own["accuracy"] == pytest.approx(own["pictures"]["find_digits"], abs=0.06)  # rounded
    if "faster" in metrics:
        assert metrics["faster"]["test_accuracy"] > 98
        assert metrics["faster"]["loading_ratio"] > 1
    if "debugging" in metrics:
        losses = metrics["debugging"]["losses"]
        assert abs(losses["healthy"]["first"] - 2.3) < 0.1
        assert losses["healthy"]["mean_of_last_10"] < 1
        assert abs(losses["logits into nll_loss"]["first"]) < 0.2
        assert abs(losses["softmax over the batch"]["first"] - 3.47) < 0.2
        assert abs(losses["labels shuffled independently"]["mean_of_last_10"] - 2.3) < 0.2
        assert losses["one batch"]["last"] < 0.1
        assert losses["wrong labels"]["last"] < 0.2
        assert metrics["debugging"]["graph_megabytes"] > 100
    if "measuring" in metrics:
        margins = metrics["measuring"]["accuracy_minus_confidence"]
        assert margins["smoothed labels"] > margins["hard labels"]  # smoothing lowers the confidence
        assert 0.1 < metrics["measuring"]["bias_of_best"] < 0.2
    if "many_runs" in metrics:
        many = metrics["many_runs"]
        assert many["statuses"] == ["finished", "finished", "failed", "failed"]
        assert len(many["accuracies"]) == 3
        assert len(many["search"]) >= 10
        assert min(many["again"]["first trial"]) > 70
    if "scaling_out" in metrics:
        scaling = metrics["scaling_out"]
        assert scaling["largest_gradient_difference"] < 1e-12
        assert scaling["resumed_equal"]
        assert scaling["restarted_equal"]
        assert scaling["seconds_until_stopped"] < 30
        assert scaling["accuracies"]["2 ranks, 64 each"] > 90


@pytest.mark.slow
@pytest.mark.alone
def test_the_notebooks_hold_on_the_sample_too(tmp_path: Path) -> None:
    """Run nbval without MNIST: no proxy responds, and the cache is empty. Two processes, as in `make test`."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    world = {key: value for key, value in os.environ.items() if key != "MNIST_S5_DATA"} | nowhere
    world |= {"MNIST_S5_DATA": str(tmp_path / "data"), "MNIST_S5_RUNS": str(tmp_path / "runs")}
    world |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "-m", "", "notebooks"],
        cwd=ROOT, env=world, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    texts = [path.read_text() for path in (tmp_path / "runs").glob("*/metrics.json")]
    assert not any('"dataset": "mnist"' in text for text in texts)
    metrics = [json.loads(text) for text in texts]
    notebooks = {"data", "history", "summary", "own_digits", "faster", "debugging", "measuring"}
    assert notebooks | {"many_runs", "scaling_out"} <= set().union(*metrics)
    for each in metrics:
        plausible(each)


def renamed(run: Path) -> None:
    s5.fit(Recipe("mine", epochs=0.1), *s5.load_mnist("sample"), device="cpu", folder=run)


def with_torchs_initialization(run: Path) -> None:
    recipe = s5.get_recipe("fast", "sample", epochs=0.02, init="torch")  # one step
    s5.fit(recipe, *s5.load_mnist("sample"), device="cpu", folder=run)


def without_facts(run: Path) -> None:
    save_checkpoint(s5.load_checkpoint()[0], run / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("save", [renamed, with_torchs_initialization, without_facts])
def test_03_describes_weights_that_were_saved_in_other_ways(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path)
    words = ["run", "03_summary", "-p", "source", "sample", "--out", str(tmp_path)]
    assert main(words) == 0
    cells = {cell.id: cell for cell in load(tmp_path / "03_summary.ipynb").cells}
    printed = "".join(output.get("text", "") for output in cells["moved"].outputs)
    if save is without_facts:
        assert "saved without their seed, so their initial weights are unknown" in printed
    else:
        assert "conv2: cosine similarity 1.00" in printed  # a few small steps from the initial weights
        assert any("image/png" in output.get("data", {}) for output in cells["moved"].outputs)


@pytest.mark.slow
def test_03_names_a_run_that_it_cannot_use(tmp_path: Path, capsys: Any) -> None:
    recipe, sets = s5.get_recipe("reference", epochs=0.1), s5.load_mnist("sample")
    s5.fit(recipe, *sets, device="cpu", folder=tmp_path / "mine", network=Linear)
    for words, said in (
        (["--out", str(tmp_path / "mine")], "mine.model.safetensors holds another network's weights"),
        (["-p", "weights", str(tmp_path / "mnie"), "--out", str(tmp_path / "new")], "There are no weights in .*mnie"),
    ):
        assert main(["run", "03_summary", "-p", "source", "sample", *words]) == 1
        assert re.search(said, capsys.readouterr().err)


@pytest.mark.slow
def test_03_describes_the_same_network_alone_in_a_sweep_and_after_other_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never uses the weights of another folder, unless the parameter names it. A relative path means the same."""
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    recipe = s5.get_recipe("fast", "sample", epochs=0.1)
    s5.fit(recipe, *s5.load_mnist("sample"), device="cpu", folder=tmp_path / "runs" / "newest")
    words = ["03_summary", "-p", "source", "sample"]
    assert main(["run", *words, "--out", "alone"]) == 0
    assert main(["sweep", *words, "-p", "digit", "0..1", "--out", "sweep"]) == 0
    assert main(["run", *words, "-p", "weights", "runs/newest", "--out", "named"]) == 0
    assert main(["sweep", *words, "-p", "weights", "runs/newest", "--out", "swept"]) == 0
    weights = {
        pattern: [json.loads(path.read_text())["summary"]["weights"] for path in Path().glob(f"{pattern}/metrics.json")]
        for pattern in ("alone", "sweep/*", "named", "swept/*")
    }
    assert [*weights.values()] == [["pretrained"], ["pretrained"] * 2, ["run"], ["run"]]


class Linear(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=1))
