import base64
import io
import itertools
import math
from html import unescape
from typing import Any

import numpy as np
import pytest
import torch
from colorspacious import cspace_convert, deltaE
from matplotlib import style
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from table import Fault, SilentlyWrong

import mnist_s5 as s5
from mnist_s5.figures import BLUE, GRAY, ORANGE
from mnist_s5.metrics import Evaluation, History

HISTORY = History(
    [Evaluation(1, 0.01, 0.9, 70.0, 0.4, 88.0, 5.0), Evaluation(2, 0.01, 0.3, 91.0, 0.2, 94.0, 5.0)], dataset="sample"
)

ROW = {"name": "a", "changes": {}, "seconds": [4.0, 5.0], "val_accuracy": [98.0, 99.0]}


def figures(sample: tuple[s5.DigitDataset, s5.DigitDataset], net: s5.Net) -> dict[str, Figure]:
    train, _ = sample
    return {
        "data_visualization": s5.data_visualization(s5.get_trainloader(16, source="sample")[1]),
        "image_grid": s5.image_grid(train.data[:3], ["a", "b", "c"], "Three", "sample", columns=2),
        "image_map": s5.image_map(
            np.array([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([3, 5]), {1: train.data[1]}, "Two", "sample"
        ),
        "digit_as_numbers": s5.digit_as_numbers(train.data[0], 0, "sample"),
        "bar_chart": s5.bar_chart(["x", "y"], [1, 2], "Two", "count", "sample"),
        "line_plot": s5.line_plot({"line": ([1, 2], [3, 4])}, "A line", "x", "y", "sample"),
        "ablation_plot": s5.ablation_plot([ROW, ROW | {"name": "b", "seconds": [2.0, 3.0]}], "Two rows", "sample"),
        "train_test_plot": s5.train_test_plot(HISTORY),
        "confusion_matrix": s5.confusion_matrix(torch.tensor([1, 2, 2]), torch.tensor([1, 2, 7]), "sample"),
        "architecture": s5.architecture(net, train.data[0]),
        "filter_steps": s5.filter_steps(train[0][0][0], torch.eye(3), "sample"),
        "channel_sum": s5.channel_sum(net, train.data[0]),
        "filters_and_maps": s5.filters_and_maps(
            train.data[0], torch.eye(3)[None], torch.zeros(1, 26, 26), [7], "A filter", "sample"
        ),
        "panels": s5.panels(
            {"a": {"wrong": ([1, 2], [3, 4]), "healthy": ([1, 2], [1, 0])}}, "One", ["x"], ["y"], "sample"
        ),
        "strip_plot": s5.strip_plot({"a": [1.0, 2.0], "b": [3.0, 4.0]}, "Two groups", "x", "sample"),
        "histograms": s5.histograms({"a": [1.0, 2.0], "b": [3.0, 4.0]}, "Two groups", "x", "sample"),
        "reliability_diagram": s5.reliability_diagram(
            {"network": (torch.tensor([0.9, 0.95]), torch.tensor([True, False]))}, "Two", "sample"
        ),
    }


def displayed(picture: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, **about: shown.append(data | {"about": about}))
    picture._ipython_display_()
    return shown


def test_every_figure_has_an_alt_text_and_names_the_sample(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], net: s5.Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, picture in figures(sample, net).items():
        image, words = displayed(picture, monkeypatch)
        png = base64.b64decode(image["image/png"])
        assert png[1:4] == b"PNG", name
        assert len(png) < 100_000, name
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
        about = image["about"]["metadata"]["image/png"]
        assert (width // 2, height // 2) == (about["width"], about["height"]), name  # sharp on any screen
        assert picture.get_facecolor() == (1, 1, 1, 1), name
        assert len(picture.alt) > 30, name
        assert about["alt"] == image["text/plain"] == picture.alt, name
        assert unescape(words["text/html"]).endswith(f"{picture.alt}</details>"), name
        assert ("embedded sample" in picture.get_suptitle()) == (name not in ("architecture", "channel_sum")), name


VISIONS = [
    {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100} for kind in ("protanomaly", "deuteranomaly", "tritanomaly")
]


@pytest.mark.parametrize("vision", [None, *VISIONS], ids=lambda vision: vision["cvd_type"] if vision else "typical")
def test_the_palette_works_for_color_blind_readers(vision: dict[str, object] | None) -> None:
    """Simulation of Machado, Oliveira, and Fernandes (2009). A difference of 15 in CAM02-UCS is easy to see."""
    seen = [np.array(to_rgb(color)) for color in (BLUE, ORANGE, GRAY, "white", "black")]
    if vision:
        seen = [np.clip(cspace_convert(color, vision, "sRGB1"), 0, 1) for color in seen]
    for one, other in itertools.combinations(seen, 2):
        assert deltaE(one, other, input_space="sRGB1") > 15


def luminance(color: object) -> float:
    """Return the relative luminance of WCAG 2."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]  # type: ignore[arg-type]
    return float(np.dot([0.2126, 0.7152, 0.0722], channels))


def contrast(one: object, other: object) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast() -> None:
    """WCAG 2.2: 3 for lines and areas, 4.5 for text."""
    assert min(contrast(color, "white") for color in (BLUE, ORANGE, GRAY)) > 3
    picture = s5.digit_as_numbers(torch.arange(784).remainder(256).to(torch.uint8).view(28, 28), 0, "mnist")
    assert len(picture.axes[1].texts) == 144
    for text in picture.axes[1].texts:
        shade = int(text.get_text()) / 255
        assert contrast(text.get_color(), (shade, shade, shade)) > 4.5


def test_figures_keep_to_the_palette(sample: tuple[s5.DigitDataset, s5.DigitDataset], net: s5.Net) -> None:
    palette = {to_rgb(color) for color in (BLUE, ORANGE, GRAY, "black", "white", "gold", "lightgray")}
    drawn = figures(sample, net) | {"reference": s5.train_test_plot(HISTORY, s5.recorded("reference-mnist-1")[0])}
    for name, picture in drawn.items():
        for axes in picture.axes:
            colors = {to_rgb(line.get_color()) for line in axes.lines}
            colors |= {
                to_rgb(color) for patch in axes.patches for color in (patch.get_facecolor(), patch.get_edgecolor())
            }
            assert colors <= palette, name


def test_lines_are_named_at_their_ends() -> None:
    for last in (9, 4.1):  # apart, and close to each other
        axes = s5.line_plot({"a": ([1, 2], [3, 4]), "b": ([1, 2], [9, last])}, "Two", "x", "y", None).axes[0]
        (a, b) = axes.texts
        assert [text.get_text() for text in (a, b)] == ["a", "b"]
        assert [text.get_color() for text in (a, b)] == [line.get_color() for line in axes.lines]
        assert (a.xy[1], b.xy[1]) == (4, last)
        assert (b.xyann[1] - a.xyann[1] > 5) == (last == 4.1)  # points
        assert not axes.get_legend()


def test_a_line_that_ends_in_nan_is_named_at_its_last_point() -> None:
    lines = {"a": ([1, 2, 3], [3, 4, math.nan]), "b": ([1, 2, 3], [1, 1, 1])}
    axes = s5.line_plot(lines, "Two", "x", "y", None).axes[0]
    assert [(text.get_text(), *text.xy) for text in axes.texts] == [("a", 2, 4), ("b", 3, 1)]


def test_each_name_is_in_the_panels_once_and_nan_is_named() -> None:
    nan = float("nan")
    parts = {"A": {"wrong": ([1, 2, 3], [3, 9, nan]), "healthy": ([1, 2], [1, 0])}, "B": {"healthy": ([1, 2], [1, 0])}}
    picture = s5.panels(parts, "Two", ["x", "x"], ["y", "y"], None, ylim=(-2, 6))
    assert [[text.get_text() for text in axes.texts] for axes in picture.axes] == [[" → nan", "healthy"], [], []]
    again = s5.panels(parts | {"B": {"wrong": (["x", "y"], [3, 4])}}, "Two", ["x", "x"], ["y", "y"], None, ylim=(-2, 6))
    assert [text.get_text() for text in again.axes[1].texts] == ["wrong"]  # where its end has a place
    images = {name: [torch.zeros(28, 28, dtype=torch.uint8)] * 2 for name in "AB"}
    lines = {"A": {"a": ([1, 2], [3, 4])}, "B": {"a": ([1, 2], [3, 4])}}
    with_images = s5.panels(lines, "Two", ["", ""], ["y", "y"], None, images=images)
    assert [len(axes.artists) for axes in with_images.axes] == [2, 2, 0]


def test_panels_show_all_values_and_no_name_covers_a_line() -> None:
    """A line that falls in each plot, and one that does so near the top. The last plot has the lowest value."""
    x, far, near = range(1, 6), (60, 42, 30, 23, 19), (100, 99, 98, 95, 90)
    parts = {
        "A": {"near": (x, near), "black backgrounds": (x, far)},
        "B": {"black backgrounds": (x, (50, 30, 9, 6, 5))},
    }
    picture = s5.panels(parts, "Two", ["", ""], ["y", "y"], None)
    first, last, _ = picture.axes
    assert last.get_ylim()[0] < 5
    picture.canvas.draw()
    for text in first.texts:
        box = text.get_window_extent()
        for line in first.get_lines():
            on_screen = first.transData.transform(line.get_xydata()).T
            heights = np.interp(np.linspace(box.x0, box.x1, 50), *on_screen)
            assert not ((heights > box.y0) & (heights < box.y1)).any(), text.get_text()
    assert len(first.texts) == 2


def test_many_dots_stay_in_their_row_and_none_is_lost() -> None:
    assert s5.strip_plot({"a": list(range(21))}, "Far apart", "x", None).axes
    values = [float(n % 5) for n in range(300)]
    picture = s5.strip_plot({"a": values, "b": [1.0]}, "Two", "x", None, line=(3.0, "here"))
    dots = picture.axes[0].lines[0]
    assert len(dots.get_xdata()) == 300
    assert max(abs(y) for y in dots.get_ydata()) <= 0.5
    assert [text.get_text() for text in picture.axes[0].texts] == ["here"]


def test_captions_may_be_given_once_per_column() -> None:
    picture = s5.image_grid(torch.zeros(6, 28, 28), list("abc"), "Six", "mnist", columns=3, frames=["C0"] * 6)
    assert [axes.get_title() for axes in picture.axes] == ["a", "b", "c", "", "", ""]
    assert picture.axes[5].spines["left"].get_edgecolor() == to_rgba("C0")


def test_arrows_lead_from_median_to_median_if_the_rows_build_on_each_other() -> None:
    rows = [ROW, ROW | {"name": "b"}, ROW | {"name": "c"}]
    assert len(s5.ablation_plot(rows, "Rows", "mnist").axes[0].texts) == 2
    assert not s5.ablation_plot(rows, "Rows", "mnist", cumulative=False).axes[0].texts


def test_lines_differ_in_more_than_their_color() -> None:
    lines = {name: ([1, 2], [3, 4]) for name in "abc"}
    assert len({line.get_linestyle() for line in s5.line_plot(lines, "Three", "x", "y", None).axes[0].lines}) == 3
    two = {"a": {"wrong": ([1, 2], [3, 4]), "healthy": ([1, 2], [1, 0])}}
    assert len({line.get_linestyle() for line in s5.panels(two, "Two", ["x"], ["y"], None).axes[0].lines}) == 2


def test_data_visualization_shows_twelve_labels_in_a_3_by_4_grid() -> None:
    _, loader = s5.get_testloader(16, source="sample")
    picture = s5.data_visualization(loader)
    assert len(picture.axes) == 12
    assert picture.axes[0].get_subplotspec().get_gridspec().get_geometry() == (3, 4)
    assert [axes.get_title() for axes in picture.axes] == ["0"] * 12  # the sample's test digits come class by class


def test_train_test_plot_draws_what_was_measured() -> None:
    picture = s5.train_test_plot(HISTORY)
    drawn = [list(axes.lines[0].get_ydata()) for axes in picture.axes]
    assert drawn == [[88.0, 94.0], [0.9, 0.3], [0.4, 0.2], [70.0, 91.0]]
    assert picture.get_suptitle().startswith("94.00% of the test digits after epoch 2")
    assert "94.00%" in picture.alt


def test_the_reference_is_drawn_behind() -> None:
    reference, _ = s5.recorded("reference-mnist-1")
    picture = s5.train_test_plot(HISTORY, reference)
    large = picture.axes[0]
    assert list(large.lines[0].get_ydata()) == [entry.test_accuracy for entry in reference]
    named = {text.get_text().strip() for text in large.texts}
    assert named == {"the assignment's log: 99.35%", "13 other public runs", "this run", "reference, recorded"}
    (band,) = large.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((99.20, 99.37))


def test_confusion_matrix_names_the_worst_pair() -> None:
    picture = s5.confusion_matrix(torch.tensor([4, 4, 4, 1]), torch.tensor([9, 9, 4, 1]), "mnist")
    assert "a 4 predicted as a 9 (2 times)" in picture.alt
    (ring,) = picture.axes[0].patches
    assert ring.center == (9, 4)
    images = torch.arange(10.0)[:, None, None].expand(10, 28, 28)
    beside = s5.confusion_matrix(torch.tensor([4, 4]), torch.tensor([9, 4]), "mnist", images).axes[1:]
    assert [axes.get_title() for axes in beside] == ["label 4", "prediction 9"]
    assert [axes.images[0].get_array().max() for axes in beside] == [4, 9]
    assert "embedded" not in picture.alt


def test_an_image_grid_hides_the_places_that_stay_empty() -> None:
    picture = s5.image_grid(torch.zeros(5, 28, 28), list("abcde"), "Five", "mnist", columns=3)
    assert len(picture.axes) == 6
    assert [axes.axison for axes in picture.axes] == [True] * 5 + [False]


@pytest.mark.parametrize("signed", [False, True])
def test_a_signed_image_grid_has_its_zero_in_the_middle(signed: bool) -> None:
    picture = s5.image_grid([torch.tensor([[1.0, -3.0]])], ["x"], "One", None, columns=1, signed=signed)
    assert (picture.axes[0].images[0].get_clim() == (-3, 3)) == signed


def test_nothing_is_dropped_silently() -> None:
    lines = {name: ([1, 2], [3, 4]) for name in "abcd"}
    with pytest.raises(ValueError, match="room for 3 lines, got 4"):
        s5.line_plot(lines, "Four", "x", "y", None)
    with pytest.raises(ValueError, match="room for 3 lines, got 4"):
        s5.panels({"a": lines}, "Four", ["x"], ["y"], None)
    for call in (
        lambda: s5.image_grid(torch.zeros(3, 28, 28), ["a", "b"], "Three", None),
        lambda: s5.bar_chart(["a", "b"], [1], "Two", "y", None),
        lambda: s5.panels({"a": {}, "b": {}}, "Two", ["x"], ["y"], None),
    ):
        with pytest.raises(ValueError, match=r"zip\(\)|axis|There are no values to draw"):
            call()


@pytest.mark.parametrize("accuracy", [11.35, 97.0])
def test_a_run_stays_in_the_figure(accuracy: float) -> None:
    """A collapsed run, too, next to a reference near 99%."""
    collapsed = History([Evaluation(1, 0.01, 2.3, 11.2, 2.3, accuracy, 5.0)], "mnist")
    axes = s5.train_test_plot(collapsed, s5.recorded("reference-mnist-1")[0]).axes[0]
    assert axes.get_ylim()[0] < accuracy < axes.get_ylim()[1]


def test_a_figure_names_its_digits() -> None:
    titles = [s5.bar_chart(["a"], [1], "One", "y", name).get_suptitle() for name in (None, "mnist", "sample", "my own")]
    assert titles == ["One", "One", "One · embedded sample, not full MNIST", "One · my own digits, not full MNIST"]


def test_data_visualization_names_the_digits_of_its_loader() -> None:
    images = torch.utils.data.TensorDataset(torch.zeros(12, 1, 28, 28), torch.zeros(12, dtype=torch.long))
    loader = torch.utils.data.DataLoader(images, 12)
    assert "other digits, not full MNIST" in s5.data_visualization(loader).get_suptitle()


@pytest.mark.parametrize("n", [1, 12, 20, 49, 1000])
def test_a_bin_without_mistakes_can_be_drawn(n: int) -> None:
    for correct in (torch.ones(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)):
        assert s5.reliability_diagram({"a": (torch.full((n,), 0.95), correct)}, "t", None).alt


def test_predictions_that_are_not_digits_are_rejected() -> None:
    for predicted in ([10, 4], [-1, 4]):
        with pytest.raises(ValueError, match="from 0 to 9, got"):
            s5.confusion_matrix(torch.tensor([3, 4]), torch.tensor(predicted), "mnist")
    for predicted in (torch.tensor([3]), torch.zeros(2, 10), torch.tensor([3.0, 4.0])):
        with pytest.raises(ValueError, match=r"Expected labels \[N\] and predictions int64 \[N\], got"):
            s5.confusion_matrix(torch.tensor([3, 4]), predicted, "mnist")


def test_single_points_and_equal_names_are_drawn() -> None:
    assert s5.line_plot({"a": ([1], [2])}, "t", "x", "y", None).axes[0].lines[0].get_marker() == "o"
    assert len({bar.get_x() for bar in s5.bar_chart(["a", "a"], [1, 5], "t", "y", None).axes[0].patches}) == 2


def test_nothing_to_draw_is_one_sentence() -> None:
    none = torch.zeros(0)
    for call in (
        lambda: s5.image_grid([], [], "None", None),
        lambda: s5.bar_chart([], [], "None", "y", None),
        lambda: s5.line_plot({}, "None", "x", "y", None),
        lambda: s5.line_plot({"a": ([], [])}, "None", "x", "y", None),
        lambda: s5.image_map(np.zeros((0, 2)), torch.zeros(0), {}, "None", None),
        lambda: s5.panels({}, "None", [], [], None),
        lambda: s5.panels({"a": {"b": ([], [])}}, "None", ["x"], ["y"], None),
        lambda: s5.strip_plot({}, "None", "x", None),
        lambda: s5.strip_plot({"a": []}, "None", "x", None),
        lambda: s5.ablation_plot([], "None", "mnist"),
        lambda: s5.reliability_diagram({"a": (none, none)}, "None", None),
        lambda: s5.confusion_matrix(none.long(), none.long(), "mnist"),
        lambda: s5.train_test_plot(History([], "mnist")),
        lambda: s5.data_visualization(torch.utils.data.DataLoader([])),
    ):
        with pytest.raises(ValueError, match=r"There are no \w+ to draw. Pass at least one."):
            call()


@pytest.mark.fault(27, "a percentage that is taken for a fraction")
@pytest.mark.parametrize("wrong", [73.5, -0.1, math.nan])
def test_percentages_are_not_taken_for_fractions(fault: Fault, wrong: float) -> None:
    confidences = {"a": (torch.tensor([0.9, wrong]), torch.tensor([True, False]))}
    said = r"Expected confidences from 0 to 1, got .*Divide percentages by 100"
    fault.refused(ValueError, said, lambda: s5.reliability_diagram(confidences, "t", None))


class OnDevice(torch.Tensor):
    """A tensor that allows what a tensor on a GPU or on MPS allows: no NumPy and no float64 before `.cpu()`."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.double):
            raise TypeError("can't convert a device tensor")
        result = super().__torch_function__(func, types, args, kwargs or {})
        return result.as_subclass(torch.Tensor) if func is torch.Tensor.cpu else result


def test_tensors_on_a_device_are_drawn() -> None:
    with pytest.raises(TypeError, match="device tensor"):
        torch.zeros(3).as_subclass(OnDevice).numpy()
    digits = torch.tensor([3, 4, 4]).as_subclass(OnDevice)
    assert "1 of 3" in s5.confusion_matrix(digits, torch.tensor([3, 4, 9]).as_subclass(OnDevice), "mnist").alt
    image = torch.zeros(28, 28, dtype=torch.uint8).as_subclass(OnDevice)
    assert s5.digit_as_numbers(image, 3, "mnist").axes
    assert s5.image_grid([image], ["3"], "One", "mnist").axes
    confidence, correct = torch.tensor([0.5, 0.75]).as_subclass(OnDevice), torch.tensor([True, False])
    assert s5.reliability_diagram({"a": (confidence, correct.as_subclass(OnDevice))}, "t", None).alt


def test_digit_as_numbers_takes_only_bytes() -> None:
    for image in (torch.zeros(28, 28), torch.zeros(1, 28, 28).byte(), torch.zeros(27, 28).byte()):
        with pytest.raises(ValueError, match=r"Expected a digit uint8 \[28, 28\], got"):
            s5.digit_as_numbers(image, 3, "mnist")


def test_weights_that_require_gradients_are_drawn(net: s5.Net) -> None:
    assert s5.image_grid(net.conv1.weight[:3, 0], list("abc"), "Filters", None, signed=True).axes


@pytest.mark.slow
@pytest.mark.fault(34, "figures in an editor with a dark theme")
def test_a_dark_theme_does_not_change_the_figures(
    fault: Fault, sample: tuple[s5.DigitDataset, s5.DigitDataset], net: s5.Net
) -> None:
    """White titles, axes, and numbers would be invisible on the white background."""

    def drawn() -> dict[str, bytes]:
        s5.seed_everything(1)
        files = {}
        for name, figure in figures(sample, net).items():
            figure.savefig(file := io.BytesIO(), format="png")
            files[name] = file.getvalue()
        return files

    usual = drawn()
    with style.context("dark_background"):
        dark = drawn()
    if dark != usual:
        raise SilentlyWrong(fault.injected)
    fault.saw("the figures are the same, pixel by pixel")


def test_a_network_is_watched_without_changing_it(
    sample: tuple[s5.DigitDataset, s5.DigitDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, dict[str, Any], str]] = []
    for name in ("display", "update_display"):
        monkeypatch.setattr(
            f"mnist_s5.figures.watch.{name}",
            lambda data, raw, metadata, display_id, name=name: shown.append((name, data, display_id)),
        )
    recipe, how = s5.get_recipe("fast", "sample", epochs=0.1), {"seed": 1, "device": "cpu", "evaluate_at": (0.5,)}
    watch = s5.Watch(sample[1])
    assert len(watch.dataset) == 16
    s5.fit(recipe, *sample, **how, on_evaluation=watch)
    assert not shown  # there is no notebook
    monkeypatch.setattr("mnist_s5.figures.watch.get_ipython", lambda: True)
    watched, history = s5.fit(recipe, *sample, **how, on_evaluation=watch)
    assert [name for name, _, _ in shown] == ["display", "update_display"]
    assert len({place for _, _, place in shown}) == 1
    assert f"{history[-1].test_accuracy:.2f}%" in shown[-1][1]["text/plain"]
    assert "embedded sample" in shown[-1][1]["text/plain"]
    few = s5.DigitDataset(sample[1].data[::50], sample[1].targets[::50].clamp(min=1), "sample")  # no digit is a 0
    assert len(s5.Watch(few).dataset) == 16
    model, _ = s5.fit(recipe, *sample, **how)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), watched.parameters(), strict=True))
