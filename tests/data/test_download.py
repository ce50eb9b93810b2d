import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import mnist_s5 as s5
from mnist_s5.data import download
from mnist_s5.data.download import DataError, data_folder


def test_downloads_verifies_and_keeps(
    tiny: dict[str, bytes], mirror: str, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MIRRORS", (mirror,))
    train, test = s5.load_mnist("mnist")
    assert (len(train), len(test)) == (20, 10)
    assert train.targets.tolist() == [i % 10 for i in range(20)]
    assert train.data.flatten()[:256].tolist() == list(range(256))
    monkeypatch.setattr(download, "MIRRORS", ())  # no network from here on
    forget()
    assert torch.equal(s5.load_mnist("auto")[0].data, train.data)


def test_tries_the_next_mirror(
    tiny: dict[str, bytes], mirror: str, wrong_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/", wrong_mirror, mirror))
    assert s5.load_mnist("auto")[0].name == "mnist"


@pytest.mark.parametrize("damage", [b"", b"<html>", None])
def test_a_corrupted_raw_file_is_rebuilt_from_the_gz(
    tiny: dict[str, bytes],
    mirror: str,
    forget: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    damage: bytes | None,
) -> None:
    monkeypatch.setattr(download, "MIRRORS", (mirror,))
    good = s5.load_mnist("mnist")[0].data
    monkeypatch.setattr(download, "MIRRORS", ())
    path = data_folder() / "MNIST" / "raw" / "train-images-idx3-ubyte"
    blob = bytearray(path.read_bytes())
    blob[5000] ^= 1
    path.write_bytes(blob if damage is None else damage)
    forget()
    assert torch.equal(s5.load_mnist("mnist")[0].data, good)
    assert path.read_bytes() == tiny["train-images-idx3-ubyte"]


def test_an_unavailable_mnist_is_one_message_with_three_fixes(
    tiny: dict[str, bytes], wrong_mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "MIRRORS", (wrong_mirror,))
    with pytest.raises(DataError) as error:
        s5.load_mnist("mnist")
    for part in (wrong_mirror, "MNIST_S5_DATA", "another network", "source='sample'"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    train, _ = s5.load_mnist("auto")
    assert train.name == "sample"
    assert "NOTICE: using the embedded sample" in capsys.readouterr().err


def test_a_session_uses_the_same_digits_everywhere(
    tiny: dict[str, bytes], mirror: str, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s5.load_mnist("auto")[0].name == "sample"
    monkeypatch.setattr(download, "MIRRORS", (mirror,))  # the network is back
    assert s5.load_mnist("auto")[1].name == "sample"
    forget()
    assert s5.load_mnist("auto")[1].name == "mnist"


def test_a_corrupted_file_is_called_corrupted(tiny: dict[str, bytes]) -> None:
    folder = data_folder() / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"nothing")
    with pytest.raises(DataError, match="train-images-idx3-ubyte is corrupted"):
        s5.load_mnist("mnist")


@pytest.mark.parametrize("below", ["", "MNIST", "MNIST/raw"])
def test_the_variable_may_name_the_folder_or_mnist_or_raw(
    tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, below: str
) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, blob in tiny.items():
        (raw / name).write_bytes(blob)
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "data" / below))
    assert len(s5.load_mnist("mnist")[0]) == 20
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["data", "MNIST", "raw", *tiny])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("below", ["", "MNIST", "MNIST/raw"])
def test_the_folder_may_be_a_link(
    tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, below: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "store" / "abc" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "MNIST").symlink_to(tmp_path / "store" / "abc")
    for name, blob in tiny.items():
        (tmp_path / "store" / "abc" / "raw" / name).write_bytes(blob)
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "data" / below))
    assert len(s5.load_mnist("mnist")[0]) == 20


def test_a_folder_that_is_called_mnist_may_hold_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "MNIST").mkdir(parents=True)
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "MNIST"))
    assert data_folder() == tmp_path / "MNIST"


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/exercises", "."])
def test_a_relative_path_is_the_same_folder_in_a_notebook(
    tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "notebooks" / "exercises").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("MNIST_S5_DATA", "data")
    monkeypatch.chdir(tmp_path / folder)
    assert data_folder() == tmp_path / "data"
    monkeypatch.setenv("MNIST_S5_DATA", "none")
    assert data_folder() == tmp_path / "none"
    monkeypatch.setenv("MNIST_S5_DATA", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"


def test_nothing_is_created_if_there_is_nothing_to_put_into_it(tiny: dict[str, bytes], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert s5.load_mnist("auto")[0].name == "sample"
    with pytest.raises(DataError):
        s5.load_mnist("mnist")
    assert sorted(tmp_path.rglob("*")) == before
