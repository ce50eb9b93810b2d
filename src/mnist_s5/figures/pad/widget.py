"""The drawing pad: draw a digit, and see the prediction and the feature maps of a network."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython import get_ipython
from IPython.display import display
from torch import Tensor, nn

from ...data.digits import normalize
from ...pictures.distance import distance_to_digits
from ...pictures.own import own_digits_folder, save_digit
from ...pictures.prepare import to_mnist
from ...training.checks import check_output

try:
    import anywidget
except ModuleNotFoundError as error:
    fix = "Run: pip install anywidget. Then restart the kernel."
    raise ModuleNotFoundError(f"The drawing pad needs anywidget. {fix}", name="anywidget") from error

NOBODY = (
    "The drawing pad needs JupyterLab, Notebook 7, VS Code, or Colab. "
    "Here, the following cells use pictures that the course has made."
)
NO_KERNEL = "The drawing pad needs a running kernel. Run this cell again."
# The saved notebook shows this in place of the pad. Where the pad works, it is hidden.
NOTE = f"""<p class="digit-pad-note">{NO_KERNEL}</p>
<style>
:has(.digit-pad-note):has(+ * .digit-pad) .digit-pad-note {{ display: none }}
:has(.digit-pad-note) + * .jupyter-widgets:not(:has(*)) {{ display: none }} /* JupyterLab's "model not found" */
</style>"""


def _can_draw() -> bool:
    """Return whether the running cell was sent by a front end that accepts input. papermill and nbval do not."""
    return getattr(getattr(get_ipython(), "kernel", None), "_allow_stdin", False)


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


def _to_bytes(values: Tensor) -> bytes:
    """Scale the values so that their maximum is 255."""
    return (values * (255 / values.max().clamp(min=1e-12))).byte().cpu().numpy().tobytes()


class DrawingPad(anywidget.AnyWidget):
    """A pad to draw digits on, with the network's prediction and the feature maps of its layers.

    Args:
        model: Takes a normalized digit, float [1, 1, 28, 28], and returns log-probabilities, float [1, 10]. Its current
            weights are used, in eval mode.
        folder: Where Keep saves digits with their labels. Without it, in `runs/my_digits`.

    Attributes:
        image: The last drawing as the network got it, uint8 [28, 28]; None if there is none.
        probabilities: Its probabilities, float [10]; None if there is no image.
    """

    _esm = Path(__file__).with_name("pad.js")

    def __init__(self, model: nn.Module, folder: str | Path = "") -> None:
        self.model = model
        self.image: Tensor | None = None
        self.probabilities: Tensor | None = None
        self.folder = own_digits_folder(folder)
        super().__init__()
        self.on_msg(self._reply)

    def open(self) -> None:
        """Connect to the front end, unless nobody can draw: then the saved notebook would hold the pad's state."""
        if _can_draw():
            super().open()
            # The first prediction takes a second, which the first drawing should not wait for.
            with suppress(Exception):
                self._predict(np.pad(np.full((200, 20), 255, np.uint8), ((40, 40), (130, 130))))
            self.image = self.probabilities = None

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        if not _can_draw():
            return {"text/plain": NOBODY}, {}
        display({"text/html": NOTE, "text/plain": NO_KERNEL}, raw=True)
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return data | {"text/plain": "DrawingPad"}, metadata

    def _reply(self, _: anywidget.AnyWidget, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer a message of the pad. An error becomes a sentence in the pad, because a kernel has no other place."""
        try:
            side = round(len(buffers[0]) ** 0.5)
            pixels = np.frombuffer(buffers[0], np.uint8).reshape(side, side)
            content, replies = (
                self._keep(pixels, message["label"]) if message["kind"] == "keep" else self._predict(pixels)
            )
        except Exception as error:  # a learner's network can raise anything
            content, replies = {"error": str(error) or type(error).__name__}, []
        self.send(content | {"id": message.get("id")}, replies)

    def _predict(self, pixels: np.ndarray) -> tuple[dict[str, Any], list[bytes]]:
        self.image = self.probabilities = None
        image = to_mnist(pixels / 255)
        log_probs, layers = _forward(self.model, normalize(image)[None, None])
        probabilities = log_probs.exp()
        if not probabilities.isfinite().all():
            raise FloatingPointError("The network returns NaN. Build and train it again, with a lower learning rate.")
        self.image, self.probabilities = image, probabilities
        shapes = [dict(zip(("count", "height", "width"), maps.shape, strict=True), name=name) for name, maps in layers]
        buffers = [image.numpy().tobytes(), *(_to_bytes(maps) for _, maps in layers)]
        doubt = float(distance_to_digits(image[None]))
        return {"probabilities": probabilities.tolist(), "doubt": doubt, "layers": shapes}, buffers

    def _keep(self, pixels: np.ndarray, label: int) -> tuple[dict[str, Any], list[bytes]]:
        path = save_digit(to_mnist(pixels / 255), label, self.folder)
        count = len(list(self.folder.glob("[0-9]/*.png")))
        return {"text": f"Kept as {path.parent.name}. {count} digit{'s' * (count != 1)} in {self.folder}."}, []
