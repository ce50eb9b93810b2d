"""Watch a network learn: a figure that `fit` redraws at each evaluation."""

from uuid import uuid4

import torch
from IPython import get_ipython
from IPython.display import display, update_display
from torch import nn

from ..data.digits import DigitDataset, normalize
from ..metrics import History
from ..training.loops import predict
from . import BLUE, ORANGE, SMALL, WIDE, AltTextFigure, in_default_style, new_figure


class Watch:
    """Show the test accuracy so far, and which of sixteen difficult digits the network gets right.

    Pass it to `fit` as `on_evaluation`. In a notebook, the figure is redrawn in its place, and the last one is kept.
    Elsewhere, nothing is shown.

    Args:
        test_set: Where to choose the digits: the sixteen that are the most similar to the mean image of another class,
            compared with that of their own.
    """

    def __init__(self, test_set: DigitDataset) -> None:
        pixels = test_set.data.flatten(1) / 255
        means = torch.stack([pixels[test_set.targets == label].mean(dim=0) for label in range(10)])
        distances = torch.cdist(pixels, means).nan_to_num(torch.inf)  # a class may be missing
        own = distances.gather(1, test_set.targets[:, None])[:, 0]
        difficult = (own - distances.amin(dim=1)).topk(min(16, len(own))).indices
        self.dataset = DigitDataset(test_set.data[difficult], test_set.targets[difficult], test_set.name)
        self.history: History | None = None  # of the figure that is redrawn
        self.place = ""

    def __call__(self, model: nn.Module, history: History) -> None:
        if get_ipython() is None:
            return
        batch = normalize(self.dataset.data[:, None]), self.dataset.targets
        log_probs, labels = predict(model, next(model.parameters()).device, [batch], progress=False)
        data, metadata = self.draw(history, log_probs.argmax(dim=1) == labels).to_display()
        show = update_display if history is self.history else display
        if history is not self.history:
            self.history, self.place = history, uuid4().hex
        show(data, raw=True, metadata=metadata, display_id=self.place)

    @in_default_style
    def draw(self, history: History, correct: torch.Tensor) -> AltTextFigure:
        """Draw the figure.

        Args:
            history: The run so far.
            correct: Which of the digits are classified correctly, bool [N].
        """
        last = history[-1]
        digits = f"{int(correct.sum())} of {len(correct)} difficult digits"
        title = f"Epoch {last.epoch:g}: {last.test_accuracy:.2f}%, and {digits}"
        figure = new_figure(title, "The test accuracy so far, and the digits", self.dataset.name, (WIDE[0], 3.4))
        grid = figure.add_gridspec(3, 8, height_ratios=(3, 1, 1))
        axes = figure.add_subplot(grid[0, :], xlabel="epoch", ylabel="test accuracy (%)")
        axes.plot([entry.epoch for entry in history], [entry.test_accuracy for entry in history], "o-", color=ORANGE)
        axes.set(xlim=(0, None), ylim=(min(80, *(entry.test_accuracy - 2 for entry in history)), 100.5))
        axes.grid(alpha=0.3)
        for n, (image, label, right) in enumerate(zip(self.dataset.data, self.dataset.targets, correct, strict=True)):
            digit = figure.add_subplot(grid[1 + n // 8, n % 8], xticks=[], yticks=[])
            digit.imshow(image, cmap="gray", vmin=0, vmax=255)
            digit.set_title(str(int(label)), fontsize=SMALL, pad=2, color=BLUE if right else ORANGE)
            digit.spines[:].set(color=BLUE if right else ORANGE, linewidth=2.5)
        return figure
