from pathlib import Path

import pytest
from PIL import Image

import mnist_s5 as s5
from mnist_s5.__main__ import main
from mnist_s5.data import download


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


def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for words, said in [
        (["run", "02_trainig"], "There is no notebook"),
        (["run", "02_training", "-p", "epoch", "1"], "Did you mean epochs?"),
        (["run", "02_training", "-p", "seed", "one"], "an integer"),
        (["run", "02_training", "--out", str(tmp_path / "file")], "A file with the folder's name is in the way"),
        (["predict", "--checkpoint", str(tmp_path / "none"), "x.png"], "There is no checkpoint"),
    ]:
        assert main(words) == 1
        error = capsys.readouterr().err
        assert error.startswith("mnist-s5: ")
        assert said in error
        assert error.count("\n") == 1


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
    for part in ("Python 3.", "torch 2.", "threads", "data folder", "notebooks", "disk"):
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
