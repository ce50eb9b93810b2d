import base64
import itertools
from html import unescape
from typing import Any

import numpy as np
import pytest
import torch
from colorspacious import cspace_convert, deltaE
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import mnist_s5 as s5
from mnist_s5.picture import BLUE, GREY, ORANGE

HISTORY = s5.History(
    [s5.Epoch(1, 0.01, 0.9, 70.0, 0.4, 88.0, 5.0), s5.Epoch(2, 0.01, 0.3, 91.0, 0.2, 94.0, 5.0)], dataset="sample"
)

RUNG = {"name": "a", "changes": {}, "seconds": [4.0, 5.0], "held_out": [98.0, 99.0]}


def pictures(sample: tuple[s5.Digits, s5.Digits], net: s5.Net) -> dict[str, Figure]:
    train, _ = sample
    return {
        "data_visualization": s5.data_visualization(s5.get_trainloader(16, source="sample")[1]),
        "gallery": s5.gallery(train.data[:3], ["a", "b", "c"], "Three", columns=2, source="sample"),
        "digit_as_numbers": s5.digit_as_numbers(train.data[0], 0, "sample"),
        "bars": s5.bars(["x", "y"], [1, 2], "Two", "count", "sample"),
        "curves": s5.curves({"line": ([1, 2], [3, 4])}, "A line", "x", "y", "sample"),
        "climb": s5.climb([RUNG, RUNG | {"name": "b", "seconds": [2.0, 3.0]}], "Two rungs", "sample"),
        "train_test_plot": s5.train_test_plot(HISTORY),
        "confusion_matrix": s5.confusion_matrix(torch.tensor([1, 2, 2]), torch.tensor([1, 2, 7]), "sample"),
        "architecture": s5.architecture(net),
        "panels": s5.panels(
            {"a": {"wrong": ([1, 2], [3, 4]), "healthy": ([1, 2], [1, 0])}}, "One", "x", ["y"], "sample"
        ),
        "dots": s5.dots({"a": [1.0, 2.0], "b": [3.0, 4.0]}, "Two groups", "x", "sample"),
        "reliability": s5.reliability(torch.tensor([0.9, 0.95]), torch.tensor([True, False]), "Two", "sample"),
    }


def displayed(picture: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, **about: shown.append(data | {"about": about}))
    picture._ipython_display_()
    return shown


def test_every_figure_has_an_alt_text_and_names_the_sample(
    sample: tuple[s5.Digits, s5.Digits], net: s5.Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, picture in pictures(sample, net).items():
        image, words = displayed(picture, monkeypatch)
        png = base64.b64decode(image["image/png"])
        assert png[1:4] == b"PNG", name
        assert len(png) < 100_000, name
        assert picture.get_facecolor() == (1, 1, 1, 1), name
        assert len(picture.alt) > 30, name
        assert image["about"]["metadata"]["image/png"]["alt"] == image["text/plain"] == picture.alt, name
        assert unescape(words["text/html"]).endswith(f"{picture.alt}</details>"), name
        assert ("embedded sample" in picture.get_suptitle()) == (name != "architecture"), name


VISIONS = [
    {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100} for kind in ("protanomaly", "deuteranomaly", "tritanomaly")
]


@pytest.mark.parametrize("vision", [None, *VISIONS], ids=lambda vision: vision["cvd_type"] if vision else "typical")
def test_the_palette_is_told_apart_by_every_eye(vision: dict[str, object] | None) -> None:
    """Machado, Oliveira and Fernandes's simulation (2009); a difference of 15 in CAM02-UCS is plain to see."""
    seen = [np.array(to_rgb(color)) for color in (BLUE, ORANGE, GREY, "white", "black")]
    if vision:
        seen = [np.clip(cspace_convert(color, vision, "sRGB1"), 0, 1) for color in seen]
    for one, other in itertools.combinations(seen, 2):
        assert deltaE(one, other, input_space="sRGB1") > 15


def luminance(color: object) -> float:
    """As WCAG 2 defines it."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]  # type: ignore[arg-type]
    return float(np.dot([0.2126, 0.7152, 0.0722], channels))


def contrast(one: object, other: object) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast() -> None:
    """WCAG 2.2: 3 for lines and areas, 4.5 for text."""
    assert min(contrast(color, "white") for color in (BLUE, ORANGE, GREY)) > 3
    picture = s5.digit_as_numbers(torch.arange(784).remainder(256).to(torch.uint8).view(28, 28), 0)
    for text in picture.axes[0].texts:
        shade = 1 - 0.75 * int(text.get_text()) / 255
        assert contrast(text.get_color(), (shade, shade, shade)) > 4.5


def test_figures_keep_to_the_palette(sample: tuple[s5.Digits, s5.Digits], net: s5.Net) -> None:
    palette = {to_rgb(color) for color in (BLUE, ORANGE, GREY, "black", "white", "gold", "lightgrey")}
    drawn = pictures(sample, net) | {"reference": s5.train_test_plot(HISTORY, s5.recorded("reference-mnist-1")[0])}
    for name, picture in drawn.items():
        for axes in picture.axes:
            colors = {to_rgb(line.get_color()) for line in axes.lines}
            colors |= {
                to_rgb(color) for patch in axes.patches for color in (patch.get_facecolor(), patch.get_edgecolor())
            }
            assert colors <= palette, name


def test_lines_differ_in_more_than_their_colour() -> None:
    lines = {name: ([1, 2], [3, 4]) for name in "abc"}
    assert len({line.get_linestyle() for line in s5.curves(lines, "Three", "x", "y").axes[0].lines}) == 3
    two = {"a": {"wrong": ([1, 2], [3, 4]), "healthy": ([1, 2], [1, 0])}}
    assert len({line.get_linestyle() for line in s5.panels(two, "Two", "x", ["y"]).axes[0].lines}) == 2


def test_data_visualization_shows_twelve_labels_in_a_3_by_4_grid() -> None:
    _, loader = s5.get_testloader(16, source="sample")
    picture = s5.data_visualization(loader)
    assert len(picture.axes) == 12
    assert picture.axes[0].get_subplotspec().get_gridspec().get_geometry() == (3, 4)
    assert [axes.get_title() for axes in picture.axes] == ["0"] * 12  # the sample's test digits come class by class


def test_train_test_plot_draws_what_was_measured() -> None:
    picture = s5.train_test_plot(HISTORY)
    drawn = [list(axes.lines[0].get_ydata()) for axes in picture.axes]
    assert drawn == [[0.9, 0.3], [0.4, 0.2], [70.0, 91.0], [88.0, 94.0]]
    assert picture.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)
    assert "94.00 %" in picture.alt


def test_the_reference_is_drawn_behind() -> None:
    reference, _ = s5.recorded("reference-mnist-1")
    picture = s5.train_test_plot(HISTORY, reference)
    assert list(picture.axes[3].lines[0].get_ydata()) == [entry.test_accuracy for entry in reference]
    labels = [text.get_text() for text in picture.legends[0].get_texts()]
    assert "published: 99.35 %" in labels


def test_confusion_matrix_names_the_worst_pair() -> None:
    picture = s5.confusion_matrix(torch.tensor([4, 4, 4, 1]), torch.tensor([9, 9, 4, 1]))
    assert "a 4 is read as a 9 (2 times)" in picture.alt
    assert "embedded" not in picture.alt


def test_a_gallery_hides_the_places_that_stay_empty() -> None:
    picture = s5.gallery(torch.zeros(5, 28, 28), list("abcde"), "Five", columns=3)
    assert len(picture.axes) == 6
    assert [axes.axison for axes in picture.axes] == [True] * 5 + [False]


@pytest.mark.parametrize("signed", [False, True])
def test_a_signed_gallery_has_its_zero_in_the_middle(signed: bool) -> None:
    picture = s5.gallery([torch.tensor([[1.0, -3.0]])], ["x"], "One", columns=1, signed=signed)
    assert (picture.axes[0].images[0].get_clim() == (-3, 3)) == signed
