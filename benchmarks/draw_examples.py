"""Draw the pictures in notebooks/pictures: twenty of each kind, of MNIST's test digits, as LABEL/KIND-NUMBER.jpg."""

import shutil
from pathlib import Path

import numpy as np
import render
from PIL import Image

import mnist_s5 as s5

FOLDER = Path(__file__).parents[1] / "notebooks" / "pictures"
SIDE = 160  # pixels on the shorter side, at most


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    _, test_set = s5.load_mnist("mnist")
    for number, kind in enumerate(render.KINDS):
        rng = np.random.default_rng(number)
        for count in range(20):
            index = int(rng.integers(len(test_set)))
            picture = render.draw(kind, test_set.data[index].numpy(), render.REPORTING, rng)
            image = Image.fromarray(picture)
            if (scale := SIDE / min(image.size)) < 1:
                image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BOX)
            folder = FOLDER / str(int(test_set.targets[index]))
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{kind}-{count:02}.jpg", quality=80)


if __name__ == "__main__":
    main()
