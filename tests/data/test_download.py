from collections.abc import Callable

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
