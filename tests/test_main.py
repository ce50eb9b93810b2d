import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image
from table import Fault

import mnist_s5 as s5
from mnist_s5 import doctor
from mnist_s5.__main__ import main
from mnist_s5.data import download
from mnist_s5.pictures import find
from mnist_s5.pictures.find import find_digits
from mnist_s5.pictures.read import ImageError
from mnist_s5.training.checkpoint import save_checkpoint


def test_predict_answers_and_refuses(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(sample[1].data[300].numpy()).resize((140, 140)).save(tmp_path / "three.png")
    Image.new("L", (50, 50)).save(tmp_path / "blank.png")
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "three.png")]) == 0
    assert ": 3 (" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "blank.png"), str(tmp_path / "three.png")]) == 1
    said = capsys.readouterr()
    assert "shows no digit" in said.err
    assert ": 3 (" in said.out


def test_predict_reports_folders_as_json_and_shows_what_the_network_got(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos" / "more"
    folder.mkdir(parents=True)
    three, four = (Image.fromarray(sample[1].data[index].numpy()).resize((140, 140)) for index in (300, 400))
    three.save(folder / "three.png")
    both = Image.new("L", (280, 140))
    both.paste(three)
    both.paste(four, (140, 0))
    both.save(folder / "pair.JPG")
    (folder / "broken.png").write_text("text")
    (folder / "notes.txt").write_text("text")
    capsys.readouterr()
    shown = tmp_path / "shown"
    assert main(["predict", "--json", "--show", str(shown), str(tmp_path / "photos")]) == 1
    said = capsys.readouterr()
    broken, pair, three_ = (json.loads(line) for line in said.out.splitlines())
    assert broken["file"] == str(folder / "broken.png")
    assert "not an image" in broken["error"]
    assert broken["error"] in said.err
    assert [digit["label"] for digit in pair["digits"]] == [3, 4]
    assert [digit["label"] for digit in three_["digits"]] == [3]
    assert len(three_["digits"][0]["probabilities"]) == 10
    assert len(list(shown.glob("[23]-*.png"))) == 2
    assert main(["predict", str(folder / "pair.JPG")]) == 0
    assert capsys.readouterr().out.endswith("pair.JPG: 3 4\n")


def test_predict_says_that_it_is_not_sure(
    sample: tuple[s5.DigitDataset, s5.DigitDataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(find, "CONFIDENT", 1.1)
    digit = np.pad(sample[1].data[300].numpy(), 8)
    Image.fromarray(digit).save(tmp_path / "three.png")
    Image.fromarray(np.concatenate([digit, digit], axis=1)).save(tmp_path / "pair.png")
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "three.png"), str(tmp_path / "pair.png")]) == 0
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert "three.png: not sure: 3 (" in first
    assert second.endswith("pair.png: ? ?")
    assert "pair.png, digit 1: not sure: 3 (" in third
    assert "pair.png, digit 2: not sure: 3 (" in fourth


@pytest.mark.fault(22, "mnist-s5 run: unknown names, wrong types, infinities, a name that is code")
def test_mistakes_are_one_sentence(fault: Fault, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = ["run", "02_training", "--out", str(tmp_path / "out"), "-p"]
    for words, said in [
        (["run", "02_trainig"], "There is no notebook"),
        ([*run, "epoch", "1"], "Did you mean epochs?"),
        ([*run, "seed", "one"], "an integer"),
        ([*run, "resume", "perhaps"], "True or False"),
        ([*run, "epochs", "inf"], "finite number"),
        ([*run, "seed = 2; import os; epochs", "1"], "There is no parameter"),
        (["run", "02_training", "--out", str(tmp_path / "file")], "A file with the folder's name is in the way"),
        (["predict", "--checkpoint", str(tmp_path / "none"), "x.png"], "There is no checkpoint"),
    ]:
        assert main(words) == 1
        error = capsys.readouterr().err
        assert error.startswith("mnist-s5: ")
        assert said in error
        fault.saw(error)
    assert not (tmp_path / "out").exists()


def test_data_tells_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path))
    monkeypatch.setattr(download, "MIRRORS", ())
    assert main(["data"]) == 1
    assert "use source='sample'" in capsys.readouterr().err


def test_doctor_says_ok_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("OK ") for line in lines)
    for part in ("Python 3.", "torch 2.", "threads", "data folder", "packages of the notebooks", "disk"):
        assert any(part in line for line in lines), part


def test_doctor_verifies_the_raw_files_and_downloads_nothing(
    tiny: dict[str, bytes], mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "MIRRORS", (mirror,))
    raw = download.data_folder() / "MNIST" / "raw"
    assert main(["doctor"]) == 0
    assert "is empty. The sample is used until you run: mnist-s5 data" in capsys.readouterr().out
    raw.mkdir(parents=True)
    for name, blob in tiny.items():
        (raw / name).write_bytes(blob)
    assert main(["doctor"]) == 0
    assert "full MNIST, verified" in capsys.readouterr().out
    (raw / "t10k-labels-idx1-ubyte").unlink()
    (raw / "train-images-idx3-ubyte").write_bytes(b"x")
    assert main(["doctor"]) == 1
    said = "train-images-idx3-ubyte, t10k-labels-idx1-ubyte missing or corrupted. Run: mnist-s5 data"
    assert said in capsys.readouterr().out
    assert not (raw / "t10k-labels-idx1-ubyte").exists()


def test_corrupted_metrics_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.json").write_text("{")
    assert main(["run", "template", "--out", str(tmp_path)]) == 1
    assert "metrics.json is corrupted. Move or delete it, then run again." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ipykernel", "jupyter", "mlxtend", "pandas", "torchinfo", "pooch", "torch"])
def test_doctor_names_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    def version(package: str) -> str:
        if package == name:
            raise PackageNotFoundError(package)
        return "2.0"

    monkeypatch.setattr(doctor, "version", version)
    assert main(["doctor"]) == 1
    assert f"Missing: {name}. Run: pip install {name}\n" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert re.fullmatch(r"mnist-s5 \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_predict_expands_patterns_and_takes_a_runs_folder(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows' shell passes *.png as it is."""
    for index in (300, 400):
        Image.fromarray(sample[1].data[index].numpy()).resize((140, 140)).save(tmp_path / f"{index}.png")
    for index, name in ((500, "x[1].png"), (300, "x1.png")):
        Image.fromarray(sample[1].data[index].numpy()).resize((140, 140)).save(tmp_path / name)
    save_checkpoint(s5.load_checkpoint()[0], tmp_path / "run" / "model.safetensors")
    capsys.readouterr()
    assert main(["predict", "--checkpoint", str(tmp_path / "run"), str(tmp_path / "?00.png")]) == 0
    assert [line.split(": ")[1][0] for line in capsys.readouterr().out.splitlines()] == ["3", "4"]
    assert main(["predict", str(tmp_path / "x[1].png")]) == 0
    assert ": 5 (" in capsys.readouterr().out  # not x1.png, which the pattern matches
    assert main(["predict", str(tmp_path / "*.jpg")]) == 1
    assert "*.jpg does not exist" in capsys.readouterr().err
    assert main(["predict", "--checkpoint", str(tmp_path), "x.png"]) == 1
    assert f"There is no checkpoint at {tmp_path / 'model.safetensors'}" in capsys.readouterr().err


def three(sample: tuple[s5.DigitDataset, s5.DigitDataset]) -> Image.Image:
    return Image.fromarray(sample[1].data[300].numpy()).resize((140, 140))


@pytest.mark.fault(31, "predict with a folder that also holds other files, a picture from a phone, and several pages")
def test_every_file_in_a_folder_is_read_or_named(
    fault: Fault,
    sample: tuple[s5.DigitDataset, s5.DigitDataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "my pictures [1]"
    (folder / "__MACOSX").mkdir(parents=True)
    picture, blank = three(sample), Image.new("L", (140, 140))
    for name in ("A.PNG", "__MACOSX/a.png", "._a.png"):
        picture.save(folder / name)
    picture.save(folder / "pages.tif", save_all=True, append_images=[picture])
    blank.save(folder / "drawn.gif", save_all=True, append_images=[picture])
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    (folder / "IMG_1.HEIC").write_bytes(heic)
    (folder / "notes.txt").write_text("3")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")  # reading it would wait forever
    assert main(["predict", str(folder)]) == 1
    said = capsys.readouterr()
    assert [line.rpartition("/")[2][:8] for line in said.out.splitlines()] == ["A.PNG: 3"]
    for sentence in (
        "IMG_1.HEIC is a HEIC picture, which cannot be read here. Save it as JPEG.",
        "drawn.gif contains 2 pictures. Save each page or frame as a file.",
        "pages.tif contains 2 pictures. Save each page or frame as a file.",
        f"not read, because they are not images: {folder}/notes.txt" + f", {folder}/pipe.png" * hasattr(os, "mkfifo"),
    ):
        (line,) = [line for line in said.err.splitlines() if sentence in line]
        fault.saw(line)
    with pytest.raises(ImageError, match="HEIC"):
        find_digits(heic)
    with Image.open(folder / "drawn.gif") as opened:
        opened.seek(1)
        assert len(find_digits(opened)) == 1  # the caller has chosen the frame
    fault.plain("silently wrong", "Pillow returns the first page or frame")


def test_names_that_are_hard_to_draw(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [b"cost $5 and $\\frac{$.png", b"d\xe9.png", b"last.png"]
    for name in names:
        three(sample).save(tmp_path / "x.png")
        (tmp_path / "x.png").rename(tmp_path / os.fsdecode(name))
    assert main(["predict", str(tmp_path), "--show", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    assert capsys.readouterr().out.count(": 3 (") == 3


def test_predict_expands_the_home_folder(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(sample).save(tmp_path / "three.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for pattern in ("~/three.png", "~/*.png", "~"):
        assert main(["predict", pattern]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows writes Unicode to its console")
def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    world = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "mnist_s5", "predict", str(tmp_path / "é.png")]
    done = subprocess.run(command, env=world, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"mnist-s5: {tmp_path}/\\xe9.png does not exist or is not a file.\n"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "soon"])
def test_a_timeout_is_a_number_of_seconds(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--cell-timeout", text])
    assert "It must be a whole number, at least 1" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_is_one_sentence(tmp_path: Path) -> None:
    started = tmp_path / "started"
    cell = nbformat.v4.new_code_cell(f"open({str(started)!r}, 'w').close()\nwhile True: pass")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "long.ipynb")
    command = [sys.executable, "-m", "mnist_s5", "run", str(tmp_path / "long.ipynb"), "--out", str(tmp_path / "out")]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    said = running.communicate(timeout=60)[0]
    assert running.returncode == 130
    assert said.endswith("mnist-s5: interrupted\n")
    assert "Traceback" not in said
    assert "Kernel died" not in said


@pytest.mark.slow
@pytest.mark.alone
def test_predict_starts_fast(sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path) -> None:
    """It imports little besides torch, safetensors, and Pillow."""

    def seconds(command: list[str]) -> float:
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        return time.perf_counter() - start

    python, digit = [sys.executable, "-c"], tmp_path / "three.png"
    Image.fromarray(sample[1].data[300].numpy()).resize((140, 140)).save(digit)
    predict = [sys.executable, "-m", "mnist_s5", "predict", str(digit)]
    pairs = [(seconds(predict), seconds([*python, "import torch, safetensors, PIL"])) for _ in range(5)]
    assert median(ours / theirs for ours, theirs in pairs) < 1.5


def test_predict_does_not_import_torchvision() -> None:
    program = "import sys, mnist_s5.pictures.classify; from mnist_s5.training.checkpoint import load_checkpoint; "
    program += "load_checkpoint(); print([name for name in ('torchvision', 'torch._dynamo') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_a_reader_that_ends_early_is_no_error(unbuffered: str) -> None:
    """As in `mnist-s5 doctor | head -1`. With a buffer, everything is written at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "mnist_s5", "doctor"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    ) as command:
        assert command.stdout
        command.stdout.close()
        assert command.stderr
        assert command.stderr.read() == ""
        assert command.wait() == 141


def test_without_lazy_loader_the_fix_is_named() -> None:
    program = "import sys; sys.modules['lazy_loader'] = None; import mnist_s5"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("mnist_s5 needs lazy-loader. Run: pip install lazy-loader")


@pytest.mark.skipif(sys.platform == "win32", reason="links and permissions differ there")
def test_links_are_followed_and_what_cannot_be_opened_is_named(
    sample: tuple[s5.DigitDataset, s5.DigitDataset],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("real/a.png", "folder/b.png", "folder/z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        three(sample).save(tmp_path / name)
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "folder" / "loop").symlink_to(tmp_path / "folder")
    opens = Image.open

    def denied(picture: Any) -> Image.Image:
        if str(picture).endswith("b.png"):
            raise PermissionError(13, "Permission denied", picture)
        return opens(picture)

    monkeypatch.setattr(Image, "open", denied)
    assert main(["predict", str(tmp_path / "folder")]) == 1
    said = capsys.readouterr()
    assert [line.rpartition("/")[2][:5] for line in said.out.splitlines()] == ["a.png", "z.png"]
    assert "b.png cannot be read: permission is denied. Change the permissions." in said.err


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not possible there")
def test_a_name_cannot_control_the_terminal(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three(sample).save(tmp_path / "a\x1b[31m\n.png")
    assert main(["predict", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert len(said.splitlines()) == 1
