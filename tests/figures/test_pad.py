"""The kernel's side of the drawing pad. tests/browser has the front end."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mnist_s5 as s5
from mnist_s5.figures.pad import widget as pad
from mnist_s5.figures.pad.widget import DrawingPad
from mnist_s5.pictures.distance import distance_to_digits
from mnist_s5.pictures.find import CONFIDENT


def drawing(value: int = 255) -> memoryview:
    pixels = np.zeros((280, 280), np.uint8)
    pixels[60:220, 130:150] = value
    return memoryview(pixels.tobytes())


def ask(widget: DrawingPad, buffer: memoryview | None = None, **message: Any) -> tuple[dict[str, Any], list[bytes]]:
    """Return the reply to a message, and its buffers."""
    replies: list[tuple[dict[str, Any], list[bytes]]] = []
    widget.send = lambda content, buffers: replies.append((content, buffers))
    widget._handle_custom_msg({"kind": "predict", "id": 0.5} | message, [buffer or drawing()])
    (reply,) = replies
    assert reply[0]["id"] == 0.5
    return reply


def test_the_reply_holds_the_image_the_probabilities_and_the_maps(net: s5.Net) -> None:
    widget = DrawingPad(net.train())
    assert widget.image is widget.probabilities is None
    reply, buffers = ask(widget)
    assert widget.image is not None
    assert widget.image.shape == (28, 28)
    images = s5.normalize(widget.image)[None, None]
    with torch.no_grad():
        torch.testing.assert_close(widget.probabilities, net(images)[0].exp())
        conv2 = net.conv2(F.relu(net.conv1(images)))[0].relu()
    assert reply["probabilities"] == widget.probabilities.tolist()
    assert reply["doubt"] == pytest.approx(float(distance_to_digits(widget.image[None])))
    assert reply["doubt"] < 1  # a straight 1
    shapes = [(layer["name"], layer["count"], layer["height"], layer["width"]) for layer in reply["layers"]]
    conv = [("conv1", 32, 26, 26), ("conv2", 64, 24, 24), ("conv3", 128, 10, 10), ("conv4", 256, 8, 8)]
    assert shapes == [*conv, ("fc1", 50, 1, 1)]
    assert buffers[0] == widget.image.numpy().tobytes()
    shown = torch.frombuffer(bytearray(buffers[2]), dtype=torch.uint8).view(64, 24, 24)
    torch.testing.assert_close(shown.float(), conv2 * 255 / conv2.max(), atol=1.01, rtol=0)
    assert [len(buffer) for buffer in buffers[1:]] == [n * h * w for _, n, h, w in shapes]


def test_a_drawing_may_be_unlike_the_training_digits(net: s5.Net) -> None:
    grid = np.zeros((280, 280), np.uint8)
    grid[60:220, 60:220:50] = grid[60:220:50, 60:220] = 255
    grid = np.maximum.reduce([np.roll(grid, (y, x), (0, 1)) for y in range(12) for x in range(12)])
    assert ask(DrawingPad(net), memoryview(grid.tobytes()))[0]["doubt"] > 1


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
    assert [len(buffer) for buffer in buffers] == [784, 10, 10]
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
    for message, buffers in (({}, []), ({"kind": "keep"}, [drawing()]), ({"kind": "predict"}, [memoryview(b"x" * 3)])):
        widget._handle_custom_msg(message, buffers)
    assert len(replies) == 3
    assert all("error" in reply for reply in replies)
    assert ask(widget, kind="keep", label=3.0)[0]["text"].startswith("Kept as 3. ")


def test_without_anywidget_the_fix_is_named() -> None:
    program = "import sys; sys.modules['anywidget'] = None; import mnist_s5 as s5; s5.DrawingPad"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "The drawing pad needs anywidget. Run: pip install anywidget. Then restart the kernel." in done.stderr


def test_a_network_without_layers_or_parameters() -> None:
    model = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10), nn.LogSoftmax(dim=1))
    reply, buffers = ask(DrawingPad(model))
    assert reply["layers"] == []
    assert len(buffers) == 1
    assert sum(reply["probabilities"]) == pytest.approx(1)


def test_every_error_is_a_sentence_in_the_pad(net: s5.Net) -> None:
    widget = DrawingPad(net)
    ask(widget)
    assert ask(widget, drawing(0)) == ({"error": "There is nothing to see. Draw a digit.", "id": 0.5}, [])
    assert widget.image is widget.probabilities is None
    with torch.no_grad():
        net.fc2.bias.fill_(torch.nan)
    assert "The network returns NaN" in ask(widget)[0]["error"]
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
    reply, _ = ask(widget, drawing(200), kind="keep", label=4)
    assert reply["text"] == f"Kept as 4. 2 digits in {tmp_path}."
    (tmp_path / "5").touch()
    assert "error" in ask(widget, kind="keep", label=5)[0]


@pytest.mark.parametrize("somebody", [False, True])
def test_text_takes_the_place_of_the_pad_if_nobody_can_draw(
    net: s5.Net, monkeypatch: pytest.MonkeyPatch, somebody: bool
) -> None:
    monkeypatch.setattr(pad, "get_ipython", lambda: SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=somebody)))
    widget = DrawingPad(net)
    data, _ = widget._repr_mimebundle_()
    assert (widget.comm is not None) == somebody == ("application/vnd.jupyter.widget-view+json" in data)
    assert data["text/plain"] == ("DrawingPad" if somebody else pad.NOBODY)


def test_the_pad_is_as_sure_as_predict() -> None:
    assert f"not_sure: {CONFIDENT}," in Path(pad.__file__).with_name("pad.js").read_text()
