"""Faults of installations, notebooks, and their parameters."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from papermill import execute_notebook
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from table import Fault, SilentlyWrong

from mnist_s5.jobs.parameters import RunError, check_cells

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.fault(12, "torch and torchvision versions that do not match")
@pytest.mark.parametrize(
    "raises",
    [
        "raise RuntimeError('operator torchvision::nms does not exist')\n",
        pytest.param("import torch\ntorch.library.nothing_of_that_name\n", marks=pytest.mark.slow),  # AttributeError
    ],
)
def test_misfit(fault: Fault, tmp_path: Path, raises: str) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(raises)
    world = os.environ | {"PYTHONPATH": str(tmp_path)}
    said = {}
    for words in (["-c", "import mnist_s5; mnist_s5.load_mnist()"], ["-m", "mnist_s5", "doctor"]):
        done = subprocess.run([sys.executable, *words], env=world, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        lines = (done.stdout + done.stderr).strip().splitlines()
        said[words[0]] = next(line for line in reversed(lines) if "torchvision cannot be imported" in line)
    assert "pip install --upgrade torch torchvision" in said["-c"]
    assert said["-m"].startswith("FAIL torch")
    for line in said.values():
        fault.saw(line)


@pytest.mark.slow
@pytest.mark.fault(18, "the kernel is interrupted within an epoch, through Jupyter's protocol")
def test_interrupted(fault: Fault, tmp_path: Path) -> None:
    manager, client = start_new_kernel(kernel_name="python3")

    def ask(code: str, during: Callable[[], None] = lambda: None) -> tuple[str, str]:
        """Return what the cell printed, and its error."""
        printed, ended = [], ""
        request = client.execute(code)
        during()
        while True:
            message = client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
                printed.append(message["content"]["text"])
            elif message["msg_type"] == "error":
                ended = f"{message['content']['ename']}: {message['content']['evalue']}"
            elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return "".join(printed), ended

    cell = "model, history = s5.fit(recipe, *sets, device='cpu', folder={!r}); print(fingerprint(model.state_dict()))"

    def interrupt() -> None:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("epoch-*.pt")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)
        manager.interrupt_kernel()

    try:
        ask("import mnist_s5 as s5; from mnist_s5.training.checkpoint import fingerprint")
        ask("recipe, given = s5.get_recipe('fast', 'sample', epochs=3), s5.load_mnist('sample')")
        ask("sets = [s5.DigitDataset(each.data[::4], each.targets[::4], 'sample') for each in given]")
        whole, ended = ask(cell.format(None))
        assert not ended
        printed, ended = ask(cell.format(str(tmp_path)), interrupt)
        assert ended.startswith("KeyboardInterrupt"), (printed, ended)
        assert ask("print(6 * 7)") == ("42\n", "")
        again, ended = ask(cell.format(str(tmp_path)))
        assert not ended
        assert again.startswith("resumed after epoch")
        if again.splitlines()[-1] != whole.splitlines()[-1]:
            raise SilentlyWrong(fault.injected)
        fault.saw(again.splitlines()[0])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


GIVEN = [
    ("epoch", 1, r"There is no parameter epoch. Did you mean epochs\?"),
    ("seed", "one", "seed='one' is invalid. It must be an integer"),
    ("resume", "false", "resume='false' is invalid. It must be True or False"),
    ("learning_rate", "1e-3", r"must be a finite number or None\. YAML reads it as text\. Write 0\.001\."),
    ("learning_rate", float("inf"), "learning_rate=inf is invalid"),
    ("epochs", float("nan"), "epochs=nan is invalid"),
    ("seed = 2; import os; epochs", 1, "got code: import os"),
]


@pytest.mark.fault(22, "papermill: unknown names, wrong types, infinities, a name that is code")
@pytest.mark.parametrize(("name", "value", "sentence"), GIVEN, ids=[name for name, _, _ in GIVEN])
def test_papermill(fault: Fault, name: str, value: Any, sentence: str) -> None:
    notebook = load_notebook_node(str(NOTEBOOKS / "02_training.ipynb"))
    given = parameterize_notebook(notebook, {name: value})
    cells = [cell.source for cell in given.cells if cell.cell_type == "code"]
    start = next(cell for cell in notebook.cells if cell.id == "start")
    assert "s5.check_parameters()" in start.source
    fault.refused(RunError, sentence, lambda: check_cells(["", *cells]))


@pytest.mark.slow
@pytest.mark.fault(22, "the notebook itself stops at its first cell")
def test_a_notebook_stops(fault: Fault, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(NOTEBOOKS / "01_data_visualization.ipynb"),
        str(tmp_path / "x.ipynb"),
    ]
    done = subprocess.run([*command, "-p", "sed", "3"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    said = next(line for line in done.stderr.splitlines()[::-1] if "RunError" in line)
    assert "Did you mean seed?" in said
    fault.saw(said)
    cell = nbformat.v4.new_code_cell("seed = 1", metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    plain = nbformat.v4.new_notebook(cells=[cell], metadata=kernel)
    nbformat.write(plain, tmp_path / "plain.ipynb")
    execute_notebook(tmp_path / "plain.ipynb", tmp_path / "done.ipynb", {"sed": 3}, kernel_name="python3")
    fault.plain("silently wrong", "a notebook without the check ignores the parameter")
