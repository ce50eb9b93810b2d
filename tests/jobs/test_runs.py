import json
import platform
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from papermill import PapermillExecutionError, execute_notebook
from PIL import Image
from table import Fault, SilentlyWrong

import mnist_s5 as s5
from mnist_s5.__main__ import main
from mnist_s5.files import MODEL_FILE, PRETRAINED_WEIGHTS
from mnist_s5.jobs import runs
from mnist_s5.jobs.compare import read_runs
from mnist_s5.jobs.parameters import RunError
from mnist_s5.metrics import read_metrics
from mnist_s5.training.checkpoint import save_checkpoint


def test_a_failing_cell_is_one_sentence_and_the_notebook_is_kept(notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match=r"small stopped in cell \[3\]: AssertionError: slow"):
        runs.run_notebook(notebook, tmp_path / "out", {"fast": False})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small-unfinished.ipynb"]


@pytest.mark.fault(24, "a rerun with a mistake into the folder of a finished run")
def test_a_failed_rerun_keeps_the_finished_notebook(fault: Fault, notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    mistake = {"count": 3, "fast": False}
    runs.run_notebook(notebook, tmp_path / "out", {"count": 2})
    finished = (tmp_path / "out" / "small.ipynb").read_bytes()
    fault.refused(RunError, "small-unfinished", lambda: runs.run_notebook(notebook, tmp_path / "out", mistake))
    if (tmp_path / "out" / "small.ipynb").read_bytes() != finished:
        raise SilentlyWrong(fault.injected)
    runs.run_notebook(notebook, tmp_path / "out", {"count": 4})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.ipynb"]
    assert b"count = 4" in (tmp_path / "out" / "small.ipynb").read_bytes()
    for given in ({"count": 2}, mistake):
        with suppress(PapermillExecutionError):
            execute_notebook(notebook, tmp_path / "plain.ipynb", given, kernel_name="python3")
    lost = "count = 2" not in (tmp_path / "plain.ipynb").read_text()
    fault.plain("silently wrong" if lost else "correct", "papermill replaces the notebook of the finished run" * lost)


def test_a_run_does_not_overwrite_its_notebook(notebook: Path) -> None:
    with pytest.raises(RunError, match="would overwrite its own notebook"):
        runs.run_notebook(notebook, notebook.parent, {})


def test_a_new_run_makes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert s5.new_run(str(tmp_path / "mine")).is_dir()
    monkeypatch.delenv("MNIST_S5_RUNS")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "exercises").mkdir()
    for folder in ("notebooks", "notebooks/exercises"):
        monkeypatch.chdir(tmp_path / folder)
        assert s5.new_run().parent == tmp_path / "runs"
    (tmp_path / "notebooks" / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks" / "clone")  # a clone in a folder that is called notebooks
    assert s5.new_run().parent == tmp_path / "notebooks" / "clone" / "runs"


def test_weights_are_those_of_this_run_or_the_named_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, net: s5.Net
) -> None:
    """No other folder is searched, even if it has newer weights."""
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path / "runs"))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    trained = tmp_path / "runs" / "trained" / MODEL_FILE
    save_checkpoint(net, trained)
    for weights, run_dir, expected in (
        ("auto", "", PRETRAINED_WEIGHTS),
        ("auto", str(s5.new_run()), PRETRAINED_WEIGHTS),
        ("auto", str(tmp_path / "typo"), PRETRAINED_WEIGHTS),
        ("auto", str(trained.parent), trained),
        ("pretrained", str(trained.parent), PRETRAINED_WEIGHTS),
        (str(trained), "", trained),
        (str(trained.parent), str(s5.new_run()), trained),
        ("runs/trained", "", trained),
    ):
        assert s5.find_weights(weights, run_dir).resolve() == expected.resolve()
    for wrong in (str(tmp_path / "typo"), "runs"):
        with pytest.raises(FileNotFoundError, match=f"There are no weights in {re.escape(wrong)}. Pass the folder"):
            s5.find_weights(wrong)


@pytest.mark.fault(30, "a kernel called python3 in the user's folder that belongs to another environment")
def test_a_notebook_is_executed_by_this_python(fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the user's own Jupyter folder has a kernel of the same name that starts another one."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    another = {"argv": ["false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(another))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    cell = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    runs.run_notebook(tmp_path / "n.ipynb", s5.new_run(str(tmp_path / "out")), {})
    done = nbformat.read(tmp_path / "out" / "n.ipynb", 4)
    if done.cells[-1].outputs[0].text.strip() != sys.executable:
        raise SilentlyWrong(fault.injected)
    fault.saw("the notebook is executed by the Python that runs the command")
    fault.plain("silently wrong", "papermill executes it with the other environment")


@pytest.mark.fault(29, "a student's new copy fails in the folder of the copy that was graded before")
def test_a_run_that_is_executed_again_begins_without_its_old_results(fault: Fault, tmp_path: Path) -> None:
    """A copy of an exercise notebook that is solved, fails, or does not reach its last cell. 03's results stay."""
    out = s5.new_run(str(tmp_path / "out"))
    s5.write_metrics(out, summary={"accuracy": 99})
    solved = f"import mnist_s5 as s5; s5.write_metrics({str(out)!r}, exercises={{'normalized': True}})"
    figure = "display(s5.bar_chart(['a'], [1], 'title', 'y', None))"

    def run(*cells: str) -> dict[str, object]:
        parts = [nbformat.v4.new_code_cell(cell, id=f"cell-{n}") for n, cell in enumerate(cells)]
        nbformat.write(nbformat.v4.new_notebook(cells=parts), tmp_path / "ex.ipynb")
        with suppress(RunError):
            runs.run_notebook(tmp_path / "ex.ipynb", out, {})
        return {name: value for name, value in read_metrics(out).items() if name in ("exercises", "summary")}

    both = {"summary": {"accuracy": 99}, "exercises": {"normalized": True}}
    assert run(solved, figure) == both
    assert (out / "ex-cell-1.png").exists()
    if run(solved, "1 / 0") != {"summary": {"accuracy": 99}}:
        raise SilentlyWrong(fault.injected)
    assert not (out / "ex-cell-1.png").exists()
    assert read_runs(out)["status"].tolist() == ["unfinished"]
    assert "exercises.normalized" not in read_runs(out)
    assert run(solved) == both
    assert run("pass") == {"summary": {"accuracy": 99}}
    assert read_runs(out)["status"].tolist() == ["finished"]
    fault.saw("the table shows none of the former results")


@pytest.mark.parametrize("address", ["s3://bucket/run", "gs://bucket/run", "https://host.example/run", "file:/run"])
def test_an_address_is_not_a_folder(
    address: str, notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["run", str(notebook)], ["sweep", str(notebook), "-p", "count", "1"]):
        assert main([*command, "--out", address]) == 1
        assert f"{address} is an address, not a path on this machine" in capsys.readouterr().err
    for command in (["compare", ".", "--csv", address], ["predict", "x.png", "--show", address]):
        with pytest.raises(SystemExit):
            main(command)
        assert "is an address" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [notebook.name]


def test_all_figures_of_a_cell_are_saved(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell(
        """import mnist_s5 as s5
display(s5.line_plot({"a": ([0, 1], [0, 1])}, "first", "x", "y", None))
s5.line_plot({"a": ([0, 1], [1, 0])}, "second", "x", "y", None)""",
        id="twice",
    )
    notebook = tmp_path / "n.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    runs.run_notebook(notebook, s5.new_run(str(tmp_path / "out")), {})
    first, second = (Image.open(tmp_path / "out" / f"n-twice{number}.png").tobytes() for number in ("", "-2"))
    assert first != second


def test_the_recorded_reference_is_an_honest_reproduction() -> None:
    history, metrics = s5.recorded("reference-mnist-1")
    assert len(history) == metrics["epochs"] == 20
    assert (metrics["dataset"], metrics["recipe"], metrics["train_images"]) == ("mnist", "reference", 60_000)
    assert abs(history[-1].test_accuracy - 99.27) <= 0.15
    assert [entry.learning_rate for entry in history] == pytest.approx([0.01] * 15 + [0.001] * 5)


def test_a_copy_in_another_folder_does_not_replace_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (".", "exercises", "exercises/runs/today", "mine", ".ipynb_checkpoints"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in ("01_a.ipynb", "exercises/ex01_a.ipynb", "exercises/runs/today/ex01_a.ipynb", "mine/01_a.ipynb"):
        (tmp_path / name).touch()
    (tmp_path / ".ipynb_checkpoints" / "01_a-checkpoint.ipynb").touch()
    monkeypatch.setattr(runs, "course_path", lambda path: tmp_path)
    expected = [tmp_path / "01_a.ipynb", tmp_path / "exercises" / "ex01_a.ipynb"]
    assert runs.find_notebooks(["01_a", "ex01_a"]) == expected
    assert runs.find_notebooks(["all"]) == expected[:1]
    assert runs.find_notebooks([str(tmp_path / "mine" / "01_a.ipynb")]) == [tmp_path / "mine" / "01_a.ipynb"]


@pytest.mark.parametrize("name", ["{seed}", "{", "{}{{0}}"])
def test_braces_in_paths_are_no_placeholders(notebook: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    copy = notebook.rename(tmp_path / name / f"{name}.ipynb")
    (tmp_path / name / "out").mkdir()
    runs.run_notebook(copy, tmp_path / name / "out", {"count": 2})
    assert [path.name for path in (tmp_path / name / "out").iterdir()] == [f"{name}.ipynb"]


@pytest.mark.fault(25, "a cell that never ends")
def test_a_cell_that_never_ends_is_stopped(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = nbformat.v4.new_code_cell("while True: pass")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "endless.ipynb")
    command = ["run", str(tmp_path / "endless.ipynb"), "--out", str(tmp_path / "out"), "--cell-timeout", "2"]
    assert main(command) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"endless stopped: a cell took more than 2 seconds \(see .*endless-unfinished", said)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["endless-unfinished.ipynb"]
    fault.saw(said)
    if fault.shown:
        papermill = [sys.executable, "-m", "papermill", str(tmp_path / "endless.ipynb"), str(tmp_path / "x.ipynb")]
        try:
            subprocess.run(papermill, capture_output=True, check=False, timeout=20)
            fault.plain("clear error")
        except subprocess.TimeoutExpired:
            fault.plain("hangs", "papermill's default sets no limit")


def test_a_cell_that_calls_exit_is_an_error_and_a_kernel_needs_no_name(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(code) for code in ("import sys; sys.exit(0)", "print('not reached')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "exits.ipynb")
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match=r"exits stopped: a cell called exit\(\) \(see .*exits-unfinished"):
        runs.run_notebook(tmp_path / "exits.ipynb", tmp_path / "out", {})


def test_a_missing_ipykernel_is_named(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    with pytest.raises(ModuleNotFoundError, match="ipykernel"):
        runs.run_notebook(notebook, tmp_path, {})


def test_two_notebooks_with_the_same_name_do_not_overwrite_each_other(notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / notebook.name
    copy.write_bytes(notebook.read_bytes())
    assert runs.find_notebooks([str(notebook), str(notebook)]) == [notebook]
    with pytest.raises(RunError, match=r"Two notebooks are named small.ipynb. Run each with its own --out."):
        runs.find_notebooks([str(notebook), str(copy)])


def test_unknown_notebooks_name_the_known() -> None:
    with pytest.raises(RunError, match="02_training"):
        runs.find_notebooks(["2_training"])
    assert [path.stem for path in runs.find_notebooks(["all"])][:2] == ["01_data_visualization", "02_training"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_runs_folder_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "not mounted")
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path / "runs"))
    with pytest.raises(OSError, match="A file with the folder's name is in the way"):
        s5.new_run()


def test_runs_that_start_in_one_second_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path))
    assert len({s5.new_run() for _ in range(20)}) == 20


def test_two_commands_do_not_run_in_one_folder(
    notebook: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        started = psutil.Process(other.pid).create_time()
        (tmp_path / "out" / ".running").write_text(json.dumps([platform.node(), other.pid, started]))
        assert main(["run", str(notebook), "--out", str(tmp_path / "out")]) == 1
        assert f"Another command (process {other.pid}) is running notebooks in" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".running"]
        other.kill()
    with runs.reserved(tmp_path / "out"):  # it was killed, so its file means nothing
        pass
    (tmp_path / "out" / ".running").write_text("")
    with runs.reserved(tmp_path / "out"):
        pass
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_a_cell_may_write_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """papermill waits for the output that is left when a cell ends, by default at most 4 seconds."""
    process = NotebookClient.process_message

    def slowly(*arguments: object) -> object:
        time.sleep(0.1)
        return process(*arguments)

    monkeypatch.setattr(NotebookClient, "process_message", slowly)
    cell = nbformat.v4.new_code_cell("for i in range(60): display(i)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "much.ipynb")
    (tmp_path / "out").mkdir()
    runs.run_notebook(tmp_path / "much.ipynb", tmp_path / "out", {})
    assert (tmp_path / "out" / "much.ipynb").exists()


def test_a_byte_order_mark_is_skipped(notebook: Path, tmp_path: Path) -> None:
    """Some editors on Windows write one."""
    notebook.write_bytes(b"\xef\xbb\xbf" + notebook.read_bytes())
    assert main(["run", str(notebook), "-p", "count", "2", "--out", str(tmp_path / "out")]) == 0
    assert read_metrics(tmp_path / "out") == {}


@pytest.mark.slow
def test_an_executed_copy_keeps_its_parameters(
    notebook: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """papermill would replace the cell that holds them, and use the defaults."""
    assert main(["run", str(notebook), "-p", "count", "7", "-p", "name", "a", "--out", str(tmp_path / "one")]) == 0
    copy = tmp_path / "one" / "small.ipynb"
    capsys.readouterr()
    assert main(["run", str(copy), "-p", "name", "b", "--out", str(tmp_path / "two")]) == 0
    assert "NOTICE: small.ipynb was executed with count=7, and is now." in capsys.readouterr().err
    done = nbformat.read(tmp_path / "two" / "small.ipynb", 4)
    assert done.cells[-1].outputs[0].text == "b 7\n"
    assert len(done.cells) == 4  # with one cell that papermill added


@pytest.mark.slow
def test_files_beside_a_notebook_are_found_and_hide_no_modules_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a run and in a sweep: the working folder is that of the command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "types.py").write_text("raise SystemExit('this is not the module of Python')")
    (tmp_path / "helper.py").write_text("answer = 42")
    (tmp_path / "words.txt").write_text("text")
    code = "import helper, pathlib; assert (helper.answer, pathlib.Path('words.txt').read_text()) == (42, 'text')"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), tmp_path / "n.ipynb")
    assert main(["run", "n.ipynb", "--out", "out"]) == 0
    assert main(["sweep", "--each", "*.ipynb", "--out", "graded"]) == 0


def test_a_notebook_needs_no_run_dir(tmp_path: Path) -> None:
    """check_parameters would call it an unknown parameter."""
    cells = [nbformat.v4.new_code_cell("x: int = 1", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell("import mnist_s5 as s5\ns5.check_parameters()\nassert x == 3")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "n.ipynb")
    assert main(["run", str(tmp_path / "n.ipynb"), "-p", "x", "3", "--out", str(tmp_path / "out")]) == 0
