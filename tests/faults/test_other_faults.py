"""Faults of installations, notebooks, images, and parameters."""

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from papermill import PapermillExecutionError, execute_notebook
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from photos import PHOTOS
from PIL import Image, ImageOps
from table import Fault, SilentlyWrong
from torchvision import transforms

import mnist_s5 as s5
from mnist_s5.__main__ import main
from mnist_s5.data.digits import test_transforms as usual_transforms
from mnist_s5.jobs.parameters import RunError, check_cells
from mnist_s5.jobs.runs import run_notebook
from mnist_s5.pictures.classify import classify
from mnist_s5.pictures.read import ImageError

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
        time.sleep(0.3)
        manager.interrupt_kernel()

    try:
        ask("import mnist_s5 as s5; from mnist_s5.training.checkpoint import fingerprint")
        ask("recipe, sets = s5.get_recipe('fast', 'sample', epochs=3), s5.load_mnist('sample')")
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


def on_white(digit: Image.Image) -> Image.Image:
    return ImageOps.invert(digit.resize((280, 280), Image.Resampling.BICUBIC))


def transparent(digit: Image.Image) -> Image.Image:
    strokes = Image.new("RGBA", (280, 280), (20, 20, 60, 255))
    strokes.putalpha(digit.resize((280, 280), Image.Resampling.BICUBIC))
    return strokes


def rotated(digit: Image.Image) -> Image.Image:
    picture = on_white(digit).rotate(90)
    picture.getexif()[0x0112] = 6  # rotate by 90° clockwise
    return picture


def off_center(digit: Image.Image) -> Image.Image:
    sheet = Image.new("L", (900, 600), 235)
    sheet.paste(ImageOps.invert(digit.resize((112, 112))).point(lambda shade: min(shade, 235)), (700, 60))
    return sheet


@pytest.mark.fault(21, "images of digits: white background, transparent, rotated by EXIF, off-center")
@pytest.mark.parametrize("draw", [on_white, transparent, rotated, off_center])
def test_pictures(fault: Fault, sample: Any, tmp_path: Path, draw: Callable[[Image.Image], Image.Image]) -> None:
    model, _ = s5.load_checkpoint()
    usual = [transforms.Grayscale(), transforms.Resize((28, 28)), usual_transforms()]
    right = plain = 0
    for index in range(0, 1000, 50):  # two of each class
        picture = draw(Image.fromarray(sample[1].data[index].numpy()))
        picture.save(tmp_path / "digit.png", exif=picture.getexif())
        found = classify(model, tmp_path / "digit.png")
        right += [digit.label for digit in found] == [int(sample[1].targets[index])]
        opened = transforms.Compose(usual)(Image.open(tmp_path / "digit.png"))
        plain += int(model(opened[None]).argmax()) == int(sample[1].targets[index])
    if right < 19:
        raise SilentlyWrong(f"{draw.__name__}: {right} of 20")
    fault.saw(f"{draw.__name__}: {right} of 20 right")
    fault.plain("silently wrong" if plain < 19 else "correct", f"{draw.__name__}: {plain} of 20 right")


def bomb(side: int) -> bytes:
    """A black PNG of side × side/2 pixels in a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side // 2, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * (side // 2)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.fault(21, "images without a digit: blank, not an image, truncated, 200 megapixels")
def test_no_pictures(fault: Fault, sample: Any, tmp_path: Path) -> None:
    model, _ = s5.load_checkpoint()
    Image.new("L", (100, 100), 255).save(tmp_path / "blank.png")
    (tmp_path / "notes.png").write_text("not a picture")
    noise = np.random.default_rng(1).integers(0, 255, (200, 200), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:9000])
    (tmp_path / "large.png").write_bytes(bomb(20_000))
    for name, why in {"blank": "no digit", "notes": "not an image", "cut": "not an image", "large": "pixels"}.items():
        fault.refused(ImageError, why, lambda name=name: classify(model, tmp_path / f"{name}.png"))
    usual = transforms.Compose([transforms.Grayscale(), transforms.Resize((28, 28)), usual_transforms()])
    said = int(model(usual(Image.open(tmp_path / "blank.png"))[None]).argmax())
    fault.plain("silently wrong", f"classifies a blank page as {said}")


@pytest.mark.fault(23, "photographs: lined paper, a shadow, a frame, a sheet on a table, falling light")
@pytest.mark.parametrize("draw", PHOTOS, ids=lambda draw: draw.__name__)
def test_photographs(fault: Fault, sample: Any, draw: Callable[[Image.Image], Any]) -> None:
    model, _ = s5.load_checkpoint()
    usual = transforms.Compose([transforms.Grayscale(), transforms.Resize((28, 28)), usual_transforms()])
    right = plain = 0
    for index in range(0, 1000, 100):
        label = int(sample[1].targets[index])
        picture = draw(Image.fromarray(sample[1].data[index].numpy())).clip(0, 255).astype(np.uint8)
        right += [digit.label for digit in classify(model, picture)] == [label]
        plain += int(model(usual(Image.fromarray(picture))[None]).argmax()) == label
    if right < 9:
        raise SilentlyWrong(f"{draw.__name__}: {right} of 10")
    fault.saw(f"{draw.__name__}: {right} of 10 right")
    fault.plain("silently wrong" if plain < 9 else "correct", f"{draw.__name__}: {plain} of 10 right")


@pytest.mark.fault(24, "a rerun with a mistake into the folder of a finished run")
def test_refused_rerun(fault: Fault, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("seed: int = 1", metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell("assert seed == 2, 'this folder contains a different run'"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "train.ipynb")
    for folder in ("ours", "plain"):
        (tmp_path / folder).mkdir()
    run_notebook(tmp_path / "train.ipynb", tmp_path / "ours", {"seed": 2})
    fault.refused(
        RunError, "unfinished", lambda: run_notebook(tmp_path / "train.ipynb", tmp_path / "ours", {"seed": 3})
    )
    if "seed = 2" not in (tmp_path / "ours" / "train.ipynb").read_text():
        raise SilentlyWrong(fault.injected)
    for seed in (2, 3):
        with suppress(PapermillExecutionError):
            execute_notebook(
                tmp_path / "train.ipynb", tmp_path / "plain" / "train.ipynb", {"seed": seed}, kernel_name="python3"
            )
    lost = "seed = 2" not in (tmp_path / "plain" / "train.ipynb").read_text()
    fault.plain("silently wrong" if lost else "correct", "papermill replaces the notebook of the finished run" * lost)


@pytest.mark.slow
@pytest.mark.fault(25, "a cell that never ends")
def test_endless(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    endless = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("while True: pass")], metadata=kernel)
    nbformat.write(endless, tmp_path / "endless.ipynb")
    assert main(["run", str(tmp_path / "endless.ipynb"), "--out", str(tmp_path / "out"), "--timeout", "2"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "a cell took more than 2 seconds" in said
    fault.saw(said)
    command = [sys.executable, "-m", "papermill", str(tmp_path / "endless.ipynb"), str(tmp_path / "x.ipynb")]
    try:
        subprocess.run(command, capture_output=True, check=False, timeout=20)
        fault.plain("clear error")
    except subprocess.TimeoutExpired:
        fault.plain("hangs", "papermill's default sets no limit")


LOADER = """
import multiprocessing
multiprocessing.set_start_method("forkserver")
{loader}
print("worked:", next(iter(loader))[0].shape[0])
"""
OURS = "import mnist_s5 as s5\n_, loader = s5.get_trainloader(8, source='sample', transform=lambda image: 1)"
PLAIN = "from torch.utils.data import DataLoader\nloader = DataLoader([(1, 1)] * 9, 8, num_workers=2)"


@pytest.mark.slow
@pytest.mark.fault(26, "Python 3.14's start method: a script without a main guard, and a lambda as transform")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork server")
def test_start_method(fault: Fault, tmp_path: Path) -> None:
    ended = []
    for loader in (OURS, PLAIN):
        (tmp_path / "script.py").write_text(LOADER.format(loader=loader))
        done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
        ended.append((done.stdout or done.stderr).strip().splitlines()[-1])
    assert ended[0] == "worked: 8"
    fault.saw("the batches, without worker processes")
    fault.plain("correct" if ended[1] == "worked: 8" else "unclear error", ended[1])


@pytest.mark.fault(27, "a metric that is NaN; a percentage that is taken for a fraction")
def test_numbers(fault: Fault, tmp_path: Path) -> None:
    fault.refused(ValueError, "JSON has no NaN", lambda: s5.write_metrics(tmp_path, loss=float("nan")))
    percent = {"network": (torch.tensor([99.5]), torch.tensor([True]))}
    fault.refused(ValueError, "Divide percentages by 100", lambda: s5.reliability_diagram(percent, "t", None))
    assert not list(tmp_path.iterdir())
    fault.plain("silently wrong", f"json.dumps writes {json.dumps(float('nan'))}, which is not JSON")


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


@pytest.mark.fault(22, "mnist-s5 run: the same")
def test_run(fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value, sentence in (
        ("epoch", "1", "Did you mean epochs?"),
        ("seed", "one", "an integer"),
        ("resume", "perhaps", "True or False"),
        ("epochs", "inf", "finite number"),
        ("seed = 2; import os; epochs", "1", "There is no parameter"),
    ):
        assert main(["run", "02_training", "-p", name, value, "--out", str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err.strip()
        assert sentence in said
        fault.saw(said)
    assert not (tmp_path / "out").exists()
    check_cells(["rate: float = 0.5\nn: int = 1", "# Parameters\nrate = 1e-3\nn = 4\n"])  # valid ones pass


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


def test_a_corrected_parameter_is_taken() -> None:
    first = "seed: int = 1\nepochs: Optional[float] = None"
    check_cells(["", first, "# Parameters\nseed = 2", "n: int = len(first)", "w: torch.Tensor", "x: int = 'a'"])
    for wrong in ("# Parameters\nepoch = 1", "seed: int = '1'\nepochs: Optional[float] = None"):
        with pytest.raises(RunError):
            check_cells(["", first, wrong])
        right = wrong.replace("epoch =", "epochs =").replace("'1'", "1")
        check_cells(["", first, wrong, right, "# Parameters of the network\nn = 3"])
    for kind in ("float | None", "typing.Optional[float]"):
        check_cells([f"epochs: {kind} = None", "# Parameters\nepochs = 0.5"])
    for mine in ("colors: list[str] = ['red']\nn: int = 'a'", "half: float = 0.5"):  # a learner's cell above
        check_cells([mine, first + "\nrun_dir: str = ''", "# Parameters\nseed = 2", "x: int = 'a'"])
        with pytest.raises(RunError, match="Did you mean seed"):
            check_cells([mine, first + "\nrun_dir: str = ''", "# Parameters\nsed = 2"])
    check_cells(["epochs: Optional[float] = 1 / 2\nseed: int = -2**5"])
    for code in ("epoch: float = 1", "seed = epochs = 1", "del seed"):
        with pytest.raises(RunError, match="got code"):
            check_cells([first, f"# Parameters\n{code}"])
