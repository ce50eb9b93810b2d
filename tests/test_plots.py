import base64

import pytest
import torch
from matplotlib.figure import Figure

import mnist_s5 as s5

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
    }


def test_every_figure_has_an_alt_text_and_names_the_sample(sample: tuple[s5.Digits, s5.Digits], net: s5.Net) -> None:
    for name, picture in pictures(sample, net).items():
        data, metadata = picture._repr_mimebundle_()
        png = base64.b64decode(data["image/png"])
        assert png[1:4] == b"PNG", name
        assert len(png) < 100_000, name
        assert picture.get_facecolor() == (1, 1, 1, 1), name
        assert len(metadata["image/png"]["alt"]) > 30, name
        shown = picture.get_suptitle()
        assert ("embedded sample" in shown) == (name != "architecture"), name


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
