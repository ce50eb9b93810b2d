import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import mnist_s5 as s5
from mnist_s5 import doctor, raw
from mnist_s5.__main__ import main


def test_predict_answers_and_refuses(
    sample: tuple[s5.Digits, s5.Digits], tmp_path: Path, capsys: pytest.CaptureFixture[str]
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


def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for words, said in [
        (["run", "02_trainig"], "There is no notebook"),
        (["run", "02_training", "-p", "epoch", "1"], "did you mean epochs"),
        (["run", "02_training", "-p", "seed", "one"], "whole number"),
        (["run", "02_training", "--out", str(tmp_path / "file")], "a file is in its place"),
        (["predict", "--checkpoint", str(tmp_path / "none"), "x.png"], "There is no checkpoint"),
    ]:
        assert main(words) == 1
        error = capsys.readouterr().err
        assert error.startswith("mnist-s5: ")
        assert said in error
        assert error.count("\n") == 1


def test_data_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path))
    monkeypatch.setattr(raw, "MIRRORS", ())
    assert main(["data"]) == 1
    assert "choose source='sample'" in capsys.readouterr().err


def test_doctor_says_ok_line_by_line() -> None:
    done = subprocess.run([sys.executable, "-m", "mnist_s5", "doctor"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(line.startswith("OK ") for line in lines)
    for part in ("Python 3.", "torch 2.", "threads", "data folder", "notebooks", "disk"):
        assert any(part in line for line in lines), part


def test_doctor_knows_a_torchvision_of_another_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.torchvision_fits("2.11.0+cu130", ["numpy", "torch==2.11.0"])
    assert doctor.torchvision_fits("2.15.0", ["torch (>=2.14.0)"])
    assert not doctor.torchvision_fits("2.10.0", ["torch==2.11.0"])
    monkeypatch.setattr(doctor, "requires", lambda name: ["torch==1.0"])
    assert main(["doctor"]) == 1
    assert "FAIL torch" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "requires", lambda name: (_ for _ in ()).throw(ImportError("broken")))
    assert main(["doctor"]) == 1
    assert "do not load (broken): pip install" in capsys.readouterr().out
