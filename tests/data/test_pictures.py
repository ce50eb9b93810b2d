from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photos import CLEAN
from PIL import Image, ImageDraw, ImageOps

import mnist_s5 as s5
from mnist_s5.data.pictures import ImageError, predict, prepare

Draw = Callable[[Image.Image], Image.Image]


def large(digit: Image.Image) -> Image.Image:
    """White strokes on black, 280 pixels per side."""
    return digit.resize((280, 280), Image.Resampling.BICUBIC)


def on_white(digit: Image.Image) -> Image.Image:
    return ImageOps.invert(large(digit))


def off_center(digit: Image.Image) -> Image.Image:
    sheet = Image.new("L", (900, 600), 235)
    sheet.paste(ImageOps.invert(digit.resize((112, 112))).point(lambda v: min(v, 235)), (700, 60))
    return sheet


def dark_on_nothing(digit: Image.Image) -> Image.Image:
    stroke = Image.new("RGBA", (280, 280), (20, 20, 60, 255))
    stroke.putalpha(large(digit))
    return stroke


def light_on_nothing(digit: Image.Image) -> Image.Image:
    stroke = Image.new("RGBA", (280, 280), (250, 250, 250, 255))
    stroke.putalpha(large(digit))
    return stroke


def sixteen_bits(digit: Image.Image) -> Image.Image:
    return Image.fromarray(50_000 - np.asarray(large(digit)).astype(np.uint16) * 150)


@pytest.mark.parametrize("draw", [large, on_white, off_center, dark_on_nothing, light_on_nothing, sixteen_bits])
def test_reads_digits_however_they_come(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, draw: Draw
) -> None:
    model, _ = s5.load_checkpoint()
    right = 0
    for index in range(0, 1000, 50):  # two of each class
        path = tmp_path / f"{index}.png"
        draw(Image.fromarray(sample[1].data[index].numpy())).save(path)
        right += predict(model, path)[0] == int(sample[1].targets[index])
    assert right >= 19


def test_a_photograph_is_turned_upright(sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path) -> None:
    model, _ = s5.load_checkpoint()
    upright = on_white(Image.fromarray(sample[1].data[410].numpy()))  # a 4
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF: rotate by 90° clockwise
    upright.rotate(90).save(tmp_path / "photo.jpg", exif=exif)
    assert predict(model, tmp_path / "photo.jpg")[0] == 4


def test_prepares_as_mnist_was_prepared(sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path) -> None:
    large(Image.fromarray(sample[1].data[777].numpy())).save(tmp_path / "7.png")
    prepared = prepare(tmp_path / "7.png").numpy().astype(float)
    assert prepared.shape == (28, 28)
    assert prepared.max() > 200
    rows, columns = np.nonzero(prepared)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert np.average(rows, weights=prepared[rows, columns]) == pytest.approx(13.5, abs=0.6)
    assert np.average(columns, weights=prepared[rows, columns]) == pytest.approx(13.5, abs=0.6)


def test_what_is_not_a_digit_is_rejected(tmp_path: Path) -> None:
    Image.new("L", (100, 100), 255).save(tmp_path / "blank.png")
    Image.new("RGBA", (100, 100), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    (tmp_path / "notes.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "huge.png").read_bytes()[:60])
    for name, why in {
        "blank.png": "no digit",
        "clear.png": "no digit",
        "huge.png": "pixels",
        "notes.png": "not an image",
        "cut.png": "pixels|not an image",
        "none.png": "does not exist",
        ".": "does not exist",
    }.items():
        with pytest.raises(ImageError, match=why):
            prepare(tmp_path / name)


@pytest.mark.parametrize(("side", "stroke"), [(1500, 4), (3000, 8)])
def test_a_thin_pen_in_a_large_picture(tmp_path: Path, side: int, stroke: int) -> None:
    picture = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(picture)
    draw.line([(side * 0.3, side * 0.3), (side * 0.7, side * 0.3), (side * 0.45, side * 0.75)], 0, stroke)
    picture.save(tmp_path / "seven.png")
    assert prepare(tmp_path / "seven.png").max() == 255
    assert predict(s5.load_checkpoint()[0], str(tmp_path / "seven.png"))[0] == 7


@pytest.mark.parametrize("draw", CLEAN)
def test_clean_photographs_are_read(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path, draw: Callable[[Image.Image], np.ndarray]
) -> None:
    model, _ = s5.load_checkpoint()
    right = 0
    for index in range(0, 1000, 25):
        picture = draw(Image.fromarray(sample[1].data[index].numpy())).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "photo.png")
        right += predict(model, tmp_path / "photo.png")[0] == int(sample[1].targets[index])
    assert right >= 39


def test_at_most_1_percent_of_mnists_own_images_are_rejected(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], tmp_path: Path
) -> None:
    refused = 0
    for image in sample[1].data:
        Image.fromarray(image.numpy()).save(tmp_path / "digit.png")
        try:
            prepare(tmp_path / "digit.png")
        except ImageError:
            refused += 1
    assert refused <= 10


def test_a_network_that_is_trained_stays_in_train_mode(tmp_path: Path) -> None:
    thin = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(thin).line([(50, 20), (50, 80)], 0, 8)
    thin.save(tmp_path / "one.png")
    for training in (True, False):
        model = s5.load_checkpoint()[0].train(training)
        assert predict(model, tmp_path / "one.png")[0] == 1
        assert model.training == training


def test_two_specks_are_no_digit(tmp_path: Path) -> None:
    picture = Image.new("L", (1200, 1200), 255)
    picture.putpixel((100, 100), 0)
    picture.putpixel((1100, 1000), 0)
    picture.save(tmp_path / "specks.png")
    with pytest.raises(ImageError, match="several shapes"):
        prepare(tmp_path / "specks.png")
