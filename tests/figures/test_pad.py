"""The kernel's side of the drawing pad. tests/browser has the front end."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mnist_s5 as s5
from mnist_s5 import live
from mnist_s5.figures import drawing_pad as pad
from mnist_s5.figures.drawing_pad import DrawingPad
from mnist_s5.figures.in_browser import PAD, encode_weights, runs_in_browser
from mnist_s5.pictures.find import CONFIDENT


def digit(value: int = 255) -> Tensor:
    """Return a straight 1, uint8 [28, 28]."""
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[4:24, 13:15] = value
    return image


@pytest.fixture(scope="module")
def pretrained() -> s5.Net:
    return s5.load_checkpoint()[0]


def ask(widget: DrawingPad, image: Tensor | None = None, **message: Any) -> tuple[dict[str, Any], list[bytes]]:
    """Return the reply to a message, and its buffers."""
    replies: list[tuple[dict[str, Any], list[bytes]]] = []
    widget.send = lambda content, buffers: replies.append((content, buffers))
    pixels = (digit() if image is None else image).numpy().tobytes()
    widget._handle_custom_msg({"kind": "predict", "id": 0.5} | message, [memoryview(pixels)])
    (reply,) = replies
    assert reply[0]["id"] == 0.5
    return reply


class Raises(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise KeyError("x")


def tell(widget: DrawingPad, image: Tensor | None) -> list[dict[str, Any]]:
    """Say that something was drawn, or that the pad is empty. Returns the replies."""
    replies: list[dict[str, Any]] = []
    widget.send = lambda content, buffers: replies.append(content)
    buffers = [] if image is None else [memoryview(image.numpy().tobytes())]
    widget._handle_custom_msg({"kind": "drawn", "id": 0}, buffers)
    return replies


def test_the_reply_holds_the_probabilities_and_the_maps(net: s5.Net) -> None:
    widget = DrawingPad(net.train())
    assert widget.image is widget.probabilities is None
    reply, buffers = ask(widget)
    torch.testing.assert_close(widget.image, digit())
    images = s5.normalize(digit())[None, None]
    with torch.no_grad():
        torch.testing.assert_close(widget.probabilities, net(images)[0].exp())
        conv2 = net.conv2(F.relu(net.conv1(images)))[0].relu()
    assert widget.probabilities is not None
    assert reply["probabilities"] == widget.probabilities.tolist()
    shapes = [(layer["name"], layer["count"], layer["height"], layer["width"]) for layer in reply["layers"]]
    conv = [("conv1", 32, 26, 26), ("conv2", 64, 24, 24), ("conv3", 128, 10, 10), ("conv4", 256, 8, 8)]
    assert shapes == [*conv, ("fc1", 50, 1, 1)]
    torch.testing.assert_close(torch.frombuffer(bytearray(buffers[1]), dtype=torch.float32).view(64, 24, 24), conv2)
    assert [len(buffer) for buffer in buffers] == [4 * n * h * w for _, n, h, w in shapes]


def test_only_an_unchanged_net_runs_in_the_browser(net: s5.Net) -> None:
    assert runs_in_browser(net)
    assert runs_in_browser(net.to(memory_format=torch.channels_last))
    assert not runs_in_browser(Strange())
    assert not runs_in_browser(Remembers())
    hooked = s5.Net()
    hooked.conv2.register_forward_hook(lambda *_: None)
    assert not runs_in_browser(hooked)
    wider, padded, odd, replaced = (s5.Net() for _ in range(4))
    wider.fc2 = nn.Linear(50, 11)
    padded.conv1 = nn.Conv2d(1, 32, 3, padding=1)
    odd.conv1 = type("Conv2d", (nn.Conv2d,), {"forward": lambda self, x: super(nn.Conv2d, self).forward(x).tanh()})(
        1, 32, 3
    )
    replaced.conv1.forward = lambda images: -images  # type: ignore[method-assign]
    assert not any(map(runs_in_browser, (wider, padded, odd, replaced)))


def test_the_weights_are_sent_and_sent_again_when_they_change(net: s5.Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "get_ipython", lambda: SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)))
    assert DrawingPad(Strange()).weights == b""
    widget = DrawingPad(net)
    assert len(widget.weights) == 4 * 593_200
    assert len(widget.pretrained) == 593_200 + 7 * 540  # its biases and scales are floats
    assert len(widget.known) == 8 + 4_000 * 50
    sent: list[bytes] = []
    widget.observe(lambda change: sent.append(change["new"]), "weights")
    assert tell(widget, digit()) == []
    assert sent == []
    with torch.no_grad():
        net.fc2.bias[7] = 100
    assert tell(widget, digit()) == []
    assert np.frombuffer(sent[0], np.float32)[537] == 100  # the last but two of 540 biases
    assert widget.probabilities is not None
    assert widget.probabilities[7] == pytest.approx(1)


def test_the_small_weights_give_the_same_outputs(pretrained: s5.Net) -> None:
    data = encode_weights(pretrained, small=True)
    scales = np.frombuffer(data, np.float32, 540, 4 * 540)
    last = np.frombuffer(data, np.int8)[-500:].reshape(10, 50) * scales[-10:, None]
    expected = pretrained.fc2.weight.detach().numpy()
    np.testing.assert_allclose(last, expected, atol=np.abs(expected).max() / 250)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What is displayed in a notebook with a front end, one after another at each place."""
    places: dict[str, list[Any]] = {}

    def display(value: Any, *, display_id: str, update: bool, **_: Any) -> None:
        if not display_id.endswith("-words"):
            assert update == (display_id in places)
            places.setdefault(display_id, []).append(value["text/plain"] if isinstance(value, dict) else value)

    monkeypatch.setattr(pad, "display", display)
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(live, "get_ipython", lambda: SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True)))
    return places


def test_figures_follow_the_drawing(net: s5.Net, shown: dict[str, list[Any]]) -> None:
    widget = DrawingPad(net)

    def follower(image: Tensor) -> Any:
        return s5.image_grid([image], [""], f"Sum {int(image.sum())}", None)

    widget.follow(follower)
    assert tell(widget, digit()) == []
    (first,) = shown.values()
    assert first[0] == "Draw a digit on the pad."
    assert first[1].startswith(f"Sum {int(digit().sum())}.")
    widget.follow(follower)  # the cell is run again
    assert tell(widget, digit(100)) == []
    first, second = shown.values()
    assert first[2:] == ["Another function named follower draws its figure now."]
    assert [text.split(".")[0] for text in second] == [f"Sum {int(digit(value).sum())}" for value in (255, 100)]
    assert tell(widget, None) == []  # the pad is empty again
    assert widget.image is None
    assert (len(first), len(second)) == (3, 2)


def test_a_function_that_fails_says_so_at_its_place_and_stops_no_other(
    net: s5.Net, shown: dict[str, list[Any]]
) -> None:
    widget = DrawingPad(net)

    def half(image: Tensor) -> str:
        if image.max() < 255:
            raise ValueError("Too dark")
        return "not a figure"

    widget.follow(half)
    widget.follow(partial(torch.sum))
    assert tell(widget, digit()) == tell(widget, digit(100)) == []
    one, other = shown.values()
    assert one[1:] == ["not a figure", "half raised ValueError: Too dark. Fix it, and run its cell again."]
    assert [int(each) for each in other[1:]] == [int(digit(value).sum()) for value in (255, 100)]
    with pytest.raises(ValueError, match="Too dark"):
        widget.follow(half)
    assert len(widget.followers) == 2
    assert len(shown) == 2
    assert widget.probabilities is not None


@pytest.mark.parametrize(
    ("model", "example", "said"),
    [
        (None, None, "Expected a network, got a NoneType. Pass one, such as Net() or load_checkpoint()[0]."),
        (s5.Net, None, "Expected a network, got the class Net."),
        ((s5.Net(), {}), None, "Expected a network, got a tuple."),
        (s5.Net(), torch.zeros(1, 28, 28), "Expected example to be uint8 [28, 28], got float32 [1, 28, 28]."),
    ],
)
def test_a_wrong_argument_is_refused(model: Any, example: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        DrawingPad(model, example=example)


def test_an_example_takes_the_place_of_a_drawing(net: s5.Net) -> None:
    widget = DrawingPad(net, example=digit())
    torch.testing.assert_close(widget.image, digit())
    assert widget.probabilities is not None
    tell(widget, digit(99))
    torch.testing.assert_close(widget.image, digit(99))
    tell(widget, None)
    torch.testing.assert_close(widget.image, digit())


@pytest.mark.parametrize("model", [s5.Net(), nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=1))])
def test_a_figure_takes_the_place_of_the_pad_if_there_is_an_example(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(pad, "display", shown.append)
    DrawingPad(model, example=digit())._ipython_display_()
    assert "until you draw. The network says: " in shown[0].alt
    with pytest.raises(NotImplementedError):
        DrawingPad(model)._ipython_display_()
    DrawingPad(model, example=digit()).follow(lambda image: s5.image_grid([image], [""], "A digit", None))
    assert shown[1].alt.startswith("A digit.")


class Strange(nn.Module):
    """A network with dropout, a layer that is used twice, and an attribute that is part of a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop, self.same = nn.Conv2d(1, 10, 28), nn.Dropout(), nn.Linear(10, 10)
        self.last = self.same(torch.ones(10))

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.drop(self.conv(x).flatten(1))
        return F.log_softmax(self.same(self.same(self.last)), dim=1)


def test_your_own_network_is_used_in_eval_mode_and_left_as_it_is() -> None:
    model = Strange().train()
    model.conv.eval()
    widget = DrawingPad(model)
    first, buffers = ask(widget)
    assert first == ask(widget)[0]
    assert [(layer["name"], layer["count"]) for layer in first["layers"]] == [("conv", 10), ("same", 10)]
    assert [len(buffer) for buffer in buffers] == [40, 40]
    assert (model.training, model.conv.training, model.drop.training) == (True, False, True)
    assert not any(module._forward_hooks for module in model.modules())
    with torch.no_grad():
        model.same.bias[7] = 100
    assert ask(widget)[0]["probabilities"][7] == pytest.approx(1)


class Remembers(s5.Net):
    """Keeps its activations, as learners do to look at them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append({"conv1": self.conv1(x)})
        return super().forward(x)


def test_a_network_that_keeps_its_activations() -> None:
    model = Remembers()
    model(torch.zeros(1, 1, 28, 28))  # with a gradient
    assert sum(ask(DrawingPad(model))[0]["probabilities"]) == pytest.approx(1)
    assert len(model.kept) == 1


def test_a_message_of_another_form_is_answered(net: s5.Net, tmp_path: Path) -> None:
    """It comes from the page, where anybody can send one."""
    widget = DrawingPad(net, tmp_path)
    replies: list[dict[str, Any]] = []
    widget.send = lambda content, buffers: replies.append(content)
    for message, buffers in (({}, []), ({"kind": "keep"}, []), ({"kind": "predict"}, [memoryview(b"x" * 3)])):
        widget._handle_custom_msg(message, buffers)
    assert len(replies) == 3
    assert all("error" in reply for reply in replies)
    assert ask(widget, kind="keep", label=3.0)[0]["text"].startswith("Kept as 3. ")


def test_without_anywidget_the_fix_is_named() -> None:
    program = "import sys; sys.modules['anywidget'] = None; import mnist_s5 as s5; s5.DrawingPad"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (
        "The drawing pad and the guesses need anywidget. Run: pip install anywidget. Then restart the kernel."
        in done.stderr
    )


def test_a_network_without_layers_or_parameters() -> None:
    model = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10), nn.LogSoftmax(dim=1))
    reply, buffers = ask(DrawingPad(model))
    assert reply["layers"] == []
    assert buffers == []
    assert sum(reply["probabilities"]) == pytest.approx(1)


def test_every_error_is_a_sentence_in_the_pad(net: s5.Net) -> None:
    widget = DrawingPad(net)
    ask(widget)
    with torch.no_grad():
        net.fc2.bias.fill_(torch.nan)
    assert "The network returns NaN" in ask(widget)[0]["error"]
    assert widget.image is widget.probabilities is None
    assert "The network returns NaN" in tell(widget, digit())[0]["error"]
    assert ask(DrawingPad(Raises()))[0]["error"] == "KeyError: 'x'"
    assert "log-probabilities" in ask(DrawingPad(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))))[0]["error"]


def test_without_a_folder_keep_saves_to_my_digits(net: s5.Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_S5_RUNS", str(tmp_path))
    ask(DrawingPad(net), kind="keep", label=3)
    assert s5.load_digits().targets.tolist() == [3]
    assert len(list((tmp_path / "my_digits" / "3").glob("*.png"))) == 1


def test_keep_saves_the_image_with_its_label(net: s5.Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_digit(image: Tensor, label: int, folder: str) -> Path:
        path = Path(folder) / str(label) / f"{image.max()}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr(pad, "save_digit", save_digit)
    widget = DrawingPad(net, tmp_path)
    assert ask(widget, kind="keep", label=3)[0]["text"] == f"Kept as 3. 1 digit in {tmp_path}."
    reply, _ = ask(widget, digit(200), kind="keep", label=4)
    assert reply["text"] == f"Kept as 4. 2 digits in {tmp_path}."
    assert reply["name"] == "4/200.png"
    assert ask(widget, kind="undo_keep", name="4/200.png")[0]["text"] == f"Not kept. 1 digit in {tmp_path}."
    (tmp_path / "3" / "0.png").touch()
    for name in ("4/200.png", "3/0.png", "../3/0.png"):  # dropped before, and not kept by this pad
        assert "has not kept that digit" in ask(widget, kind="undo_keep", name=name)[0]["error"]
    assert len(list(tmp_path.rglob("*.png"))) == 2
    (tmp_path / "5").touch()
    assert "error" in ask(widget, kind="keep", label=5)[0]


@pytest.mark.parametrize("somebody", [False, True])
def test_text_takes_the_place_of_the_pad_if_nobody_can_draw(
    net: s5.Net, monkeypatch: pytest.MonkeyPatch, somebody: bool
) -> None:
    monkeypatch.setattr(live, "get_ipython", lambda: SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=somebody)))
    widget = DrawingPad(net)
    data, _ = widget._repr_mimebundle_()
    assert (widget.comm is not None) == somebody == ("application/vnd.jupyter.widget-view+json" in data)
    assert data["text/plain"] == ("DrawingPad" if somebody else pad.NOBODY)


def test_the_pad_is_as_sure_as_predict() -> None:
    assert f"not_sure: {CONFIDENT}," in (PAD / "pad.js").read_text()
