"""The drawing pad: draw a digit, and see the prediction and the feature maps of a network."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import traitlets
from IPython.display import display
from torch import Tensor, nn

from ..data.digits import normalize
from ..live import LiveWidget, can_use
from ..pictures.distance import distance_to_digits
from ..pictures.own import own_digits_folder, save_digit
from ..training.checkpoint import load_checkpoint
from ..training.checks import check_output
from . import AltTextFigure
from .in_browser import PAD, encode_known_digits, encode_weights, pad_script, runs_in_browser
from .still_pad import still_pad

Draw = Callable[[Tensor], Any]

NOBODY = (
    "The drawing pad needs JupyterLab, Notebook 7, VS Code, or Colab. "
    "Here, the following cells use pictures that the course has made."
)
NO_KERNEL = "This drawing pad is from an earlier session. Run its cell again, and those below."


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples, and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)


def _forward(model: nn.Module, images: Tensor) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """Return the log-probabilities of one image, float [10], and the names and outputs of its layers, after a ReLU.

    These are convolutions, [channels, H, W], and all linear layers except the last one, [features, 1, 1], in order.
    """
    outputs: list[tuple[str, nn.Module, Tensor]] = []

    def record(name: str, module: nn.Module, _: Any, output: Tensor) -> None:
        if len(output) == 1 and output.dim() in (2, 4):
            values = output[0] if output.dim() == 4 else output[0, :, None, None]
            outputs.append((name, module, values.clamp(min=0)))

    # A copy that shares the weights, because the network may be training at the same time, in another thread.
    # Other tensors, such as activations in a list, are shared, too: PyTorch cannot copy those that have a gradient.
    attributes = [tensor for module in model.modules() for tensor in _tensors(vars(module))]
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers(), *attributes)}
    model = copy.deepcopy(model, shared).eval()
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(partial(record, name))
    with torch.no_grad():
        log_probs = model(images.to(next(model.parameters(), images)))
    check_output(log_probs, images, type(model).__name__)
    last = max((index for index, (_, module, _) in enumerate(outputs) if isinstance(module, nn.Linear)), default=-1)
    return log_probs[0].float().cpu(), [
        (name, values) for index, (name, _, values) in enumerate(outputs) if index != last
    ]


def _display(result: Any, place: str, *, update: bool = True) -> None:
    """Display a figure or any other object at a place, in place of what is there."""
    if isinstance(result, AltTextFigure):
        result.display(place, update=update)
    else:
        display(result, display_id=place, update=update)


def _say(text: str, place: str, *, update: bool = True) -> None:
    """Display a text where a figure belongs."""
    display({"text/plain": text}, raw=True, display_id=place, update=update)
    display({"text/plain": ""}, raw=True, display_id=f"{place}-words", update=update)


def _to_image(buffer: memoryview) -> Tensor:
    """Return the pixels of a digit, uint8 [28, 28]."""
    return torch.frombuffer(bytearray(buffer), dtype=torch.uint8).view(28, 28)


class DrawingPad(LiveWidget):
    """A pad to draw digits on, with the network's prediction and the feature maps of its layers.

    A `Net` runs in the browser, while you draw. Any other network runs in the kernel, after each stroke.

    Args:
        model: Takes a normalized digit, float [1, 1, 28, 28], and returns log-probabilities, float [1, 10]. It is used
            in eval mode. After its weights have changed, the next drawing uses the new ones.
        folder: Where Keep saves digits with their labels. Without it, in `runs/my_digits`.
        example: uint8 [28, 28], takes the place of a drawing until there is one.

    Attributes:
        image: The last drawing as the network got it, uint8 [28, 28]; the example, or None, if there is none.
        probabilities: Its probabilities, float [10]; None if there is no image.

    Raises:
        TypeError: If the model is not a network.
        ValueError: If the example has another shape or type.
    """

    _esm = pad_script(PAD / "widget.js") + 'export default { render: modules["widget.js"].render };\n'
    css_class, note, nobody = "digit-pad", NO_KERNEL, NOBODY
    weights = traitlets.Bytes().tag(sync=True)  # of the network, if it runs in the browser
    pretrained = traitlets.Bytes().tag(sync=True)  # weights of the pretrained network, which measures the distance
    known = traitlets.Bytes().tag(sync=True)  # the training digits, as this network describes them

    def __init__(self, model: nn.Module, folder: str | Path = "", example: Tensor | None = None) -> None:
        if not isinstance(model, nn.Module):
            kind = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
            raise TypeError(f"Expected a network, got {kind}. Pass one, such as Net() or load_checkpoint()[0].")
        if example is not None and (example.shape != (28, 28) or example.dtype != torch.uint8):
            got = f"{str(example.dtype)[6:]} {list(example.shape)}"
            raise ValueError(
                f"Expected example to be uint8 [28, 28], got {got}. Pass an image as in DigitDataset.data."
            )
        self.model, self.example = model, example
        self.folder = own_digits_folder(folder)
        self.kept: set[str] = set()  # names of the files that this pad saved
        self.followers: dict[str, tuple[Draw, str]] = {}  # by the name of the function
        self.image: Tensor | None = None
        self.probabilities: Tensor | None = None
        super().__init__()
        self.on_msg(self._reply)
        if example is not None:
            self._set(example)

    def open(self) -> None:
        """Connect to the front end, and send what the network needs in the browser."""
        if can_use():
            self.pretrained = encode_weights(load_checkpoint()[0], small=True)
            self.known = encode_known_digits()
            self._send_weights()
        super().open()

    def follow(self, draw: Draw) -> None:
        """Display what `draw(image)` returns, such as a figure, and draw it again after each drawing.

        Args:
            draw: Gets `image`, uint8 [28, 28]. Another function of the same name takes its place.
        """
        if not can_use() and self.image is not None:
            display(draw(self.image))
            return
        place, name = uuid4().hex, getattr(draw, "__name__", repr(draw))
        if self.image is None:
            _say("Draw a digit on the pad.", place, update=False)
        else:
            _display(draw(self.image), place, update=False)
        if name in self.followers:
            _say(f"Another function named {name} draws its figure now.", self.followers[name][1])
        self.followers[name] = draw, place

    def _ipython_display_(self) -> None:
        if can_use() or self.example is None:
            raise NotImplementedError  # IPython then takes the mimebundle
        log_probs, layers = _forward(self.model, normalize(self.example)[None, None])
        display(still_pad(self.example, log_probs.exp(), layers, float(distance_to_digits(self.example[None]))))

    def _reply(self, _: LiveWidget, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer a message of the pad. An error becomes a sentence in the pad, because a kernel has no other place."""
        content: dict[str, Any] | None = None
        replies: list[bytes] = []
        try:
            if message["kind"] == "undo_keep":
                content = self._undo_keep(message["name"])
            elif message["kind"] == "keep":
                content = self._keep(_to_image(buffers[0]), message["label"])
            elif message["kind"] == "predict":
                content, replies = self._predict(_to_image(buffers[0]))
            else:
                self._use(_to_image(buffers[0]) if buffers else self.example)
        except Exception as error:  # a learner's network can raise anything
            ours = isinstance(error, ValueError | OSError | FloatingPointError)
            content = {"error": str(error) if ours else f"{type(error).__name__}: {error}"}
        if content is not None:
            self.send(content | {"id": message.get("id")}, replies)

    def _set(self, image: Tensor | None) -> list[tuple[str, Tensor]]:
        """Set `image` and `probabilities`, and return the outputs of the layers."""
        self.image = self.probabilities = None
        if image is None:
            return []
        log_probs, layers = _forward(self.model, normalize(image)[None, None])
        if not log_probs.isfinite().all():
            raise FloatingPointError("The network returns NaN. Build and train it again, with a lower learning rate.")
        self.image, self.probabilities = image, log_probs.exp()
        return layers

    def _send_weights(self) -> None:
        """Send the weights if the network runs in the browser. The same weights are not sent again."""
        self.weights = encode_weights(self.model) if runs_in_browser(self.model) else b""

    def _use(self, image: Tensor | None) -> None:
        """Use a drawing in the kernel, too: draw the figures that follow it."""
        self._send_weights()
        self._set(image)
        for name, (draw, place) in self.followers.items():
            try:
                if self.image is not None:
                    _display(draw(self.image), place)
            except Exception as error:  # a learner's function can raise anything
                _say(f"{name} raised {type(error).__name__}: {error}. Fix it, and run its cell again.", place)

    def _predict(self, image: Tensor) -> tuple[dict[str, Any], list[bytes]]:
        layers = self._set(image)
        shapes = [dict(zip(("count", "height", "width"), maps.shape, strict=True), name=name) for name, maps in layers]
        assert self.probabilities is not None
        buffers = [maps.float().cpu().numpy().tobytes() for _, maps in layers]
        return {"probabilities": self.probabilities.tolist(), "layers": shapes}, buffers

    def _keep(self, image: Tensor, label: int) -> dict[str, Any]:
        path = save_digit(image, label, self.folder)
        name = f"{path.parent.name}/{path.name}"
        self.kept.add(name)
        return {"text": f"Kept as {path.parent.name}. {self._count()}", "name": name}

    def _undo_keep(self, name: str) -> dict[str, Any]:
        if name not in self.kept:
            raise ValueError("This pad has not kept that digit. Delete its file in the folder.")
        self.kept.discard(name)
        (self.folder / name).unlink(missing_ok=True)
        return {"text": f"Not kept. {self._count()}"}

    def _count(self) -> str:
        count = len(list(self.folder.glob("[0-9]/*.png")))
        return f"{count} digit{'s' * (count != 1)} in {self.folder}."
