"""Build the two interactive pages. Each is one file with its data beside it, and also works when opened as a file."""

import base64
import gzip
import re
import sys
from pathlib import Path

import torch

from mnist_s5 import figures, load_checkpoint, load_mnist
from mnist_s5.figures.in_browser import bundle, encode_known_digits, encode_weights

PAGES = Path(__file__).parent
FIGURES = Path(figures.__file__).parent
FOLDERS = (PAGES, FIGURES, FIGURES / "pad")
TRAIN, TEST = 200, 50  # digits per class in digits.js

EXPORT_DEFAULT = re.compile(r"^export default .*\n", re.MULTILINE)
ELEMENT = re.compile(r'<(script|style)([^>]*?) data-source="([^"]+)"([^>]*)></\1>')


def build(folder: Path) -> None:
    """Write the pages and the scripts with their data into a folder.

    In a page, `<script data-source="a.js b.js"></script>` becomes one script that holds these modules, each after those
    that it imports. A `<style>` works the same way. Pages that are opened as files can neither fetch nor import, so
    everything is inlined, and larger data come in classic scripts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, _ = load_checkpoint()
    files = {
        "index.html": fill(_read("draw.html")),
        "break.html": fill(_read("break.html")),
        "weights.js": _script("weights", encode_weights(model, small=True)),
        "known.js": _script("known", encode_known_digits()),
        "digits.js": _script("digits", encode_digits()),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def fill(page: str) -> str:
    """Replace all elements with `data-source` by elements that contain these sources.

    Raises:
        ValueError: If a source would end its element.
    """

    def inline(match: re.Match[str]) -> str:
        tag, before, names, after = match.groups()
        text = join(names.split()) if tag == "script" else "\n".join(map(_read, names.split()))
        if f"</{tag}" in text:
            raise ValueError(f"{names}: </{tag} would end the element. Write it in another way.")
        return f"<{tag}{before}{after}>\n{text}</{tag}>"

    return ELEMENT.sub(inline, page)


def join(names: list[str]) -> str:
    """Return ES modules as one script. Each has to come after those that it imports."""
    return EXPORT_DEFAULT.sub("", bundle(*map(_find, names)))


def encode_digits() -> bytes:
    """Return some digits of the embedded sample: the same number of each class, the training digits first.

    They are compressed by gzip: the images, two pixels of 4 bits in a byte, and then the labels.
    """
    parts = load_mnist("sample")
    chosen = [_each_class(part.targets, count) for part, count in zip(parts, (TRAIN, TEST), strict=True)]
    images = torch.cat([part.data[index] for part, index in zip(parts, chosen, strict=True)])
    labels = torch.cat([part.targets[index] for part, index in zip(parts, chosen, strict=True)])
    levels = (images.flatten().int() + 8).div(17, rounding_mode="floor").view(-1, 2)  # 0 to 15
    packed = (levels[:, 0] * 16 + levels[:, 1]).to(torch.uint8)
    return gzip.compress(packed.numpy().tobytes() + labels.to(torch.uint8).numpy().tobytes(), mtime=0)


def _each_class(targets: torch.Tensor, count: int) -> torch.Tensor:
    """Return the indices of the first `count` digits of each class."""
    return torch.cat([(targets == digit).nonzero().flatten()[:count] for digit in range(10)])


def _script(name: str, data: bytes) -> str:
    """Return a script that sets a global variable to base64 of the data."""
    return f'window.{name} = "{base64.b64encode(data).decode()}";\n'


def _find(name: str) -> Path:
    """Return the path of a source, in the first folder that has it."""
    return next(folder / name for folder in FOLDERS if (folder / name).exists())


def _read(name: str) -> str:
    return _find(name).read_text(encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
