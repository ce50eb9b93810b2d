"""What the drawing pad runs in the browser: its JavaScript as one script, and the bytes that its network needs."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..model import Net
from ..pictures.distance import KNOWN_DIGITS

PAD = Path(__file__).with_name("pad")
PREDICTOR = tuple(PAD / name for name in ("net.js", "prepare.js", "predictor.js"))
PARTS = (*PREDICTOR, *(PAD / name for name in ("background.js", "predict.js", "maps.js", "pad.js")))

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) (\w+))", re.MULTILINE)


def bundle(*modules: Path) -> str:
    """Return ES modules as one script, which a widget, a worker, and a page that was opened as a file can hold.

    Each module is a function that returns its exports, so names of different modules cannot collide. It has to come
    after those that it imports.
    """
    parts = ["const modules = {};\n"]
    for module in modules:
        source = module.read_text(encoding="utf-8")
        source = _IMPORT.sub(lambda each: f'const {{{each[1].replace(" as ", ": ")}}} = modules["{each[2]}"];', source)
        exports = ", ".join(_EXPORT.findall(source))
        parts.append(
            f'modules["{module.name}"] = (() => {{\n{_EXPORT.sub("", source)}return {{ {exports} }};\n}})();\n'
        )
    return "".join(parts)


def pad_script(*more: Path) -> str:
    """Return the pad as one script, with more modules after it, and the program of its worker in `WORKER`."""
    return f"const WORKER = {json.dumps(bundle(*PREDICTOR, PAD / 'worker.js'))};\n{bundle(*PARTS, *more)}"


def runs_in_browser(model: nn.Module) -> bool:
    """Return whether net.js computes the same as the model: it is a `Net`, unchanged, and has no hooks."""

    def facts(net: nn.Module) -> list[Any]:
        """The classes, settings, and shapes of the layers."""
        shapes = [(name, values.shape) for name, values in net.state_dict().items()]
        return [repr(net), [type(each) for each in net.modules()], shapes]

    with torch.device("meta"):
        expected = facts(Net())
    if facts(model) != expected:
        return False
    changed = [each for each in model.modules() if "forward" in vars(each)]
    return not changed and not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


def encode_weights(model: nn.Module, *, small: bool = False) -> bytes:
    """Return all biases and then all weights of a `Net`, in the order of the layers, as 32-bit floats.

    With `small`, the weights are 8-bit integers, and one scale for each output follows the biases.
    """
    values = {name: each.detach().float().cpu() for name, each in model.state_dict().items()}
    biases = torch.cat([each for name, each in values.items() if name.endswith("bias")])
    weights = [each.flatten(1) for name, each in values.items() if name.endswith("weight")]
    if not small:
        return _bytes(biases) + b"".join(_bytes(weight) for weight in weights)
    scales = [(weight.abs().amax(dim=1) / 127).clamp(min=1e-12) for weight in weights]
    rounded = [(weight / scale[:, None]).round().to(torch.int8) for weight, scale in zip(weights, scales, strict=True)]
    return _bytes(biases) + _bytes(torch.cat(scales)) + b"".join(_bytes(weight) for weight in rounded)


def encode_known_digits() -> bytes:
    """Return a scale and the limit of the distance, as 32-bit floats, and the values of `fc1`, 8 bits, [4000, 50]."""
    with safe_open(KNOWN_DIGITS, "pt") as file:
        values, limit = file.get_tensor("fc1").float(), float(file.metadata()["limit"])
    scale = values.max() / 255
    return _bytes(torch.stack([scale, torch.tensor(limit)])) + _bytes((values / scale).round().to(torch.uint8))


def _bytes(values: Tensor) -> bytes:
    """Return the bytes of a tensor in row-major order, whatever its memory format is."""
    return values.contiguous().numpy().tobytes()
