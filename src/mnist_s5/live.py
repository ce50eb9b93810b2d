"""What all widgets share: they connect only where somebody can use them, and something still takes their place."""

from typing import Any

from IPython import get_ipython
from IPython.display import display

try:
    import anywidget
except ModuleNotFoundError as error:
    fix = "Run: pip install anywidget. Then restart the kernel."
    raise ModuleNotFoundError(f"The drawing pad and the guesses need anywidget. {fix}", name="anywidget") from error


def can_use() -> bool:
    """Return whether the running cell was sent by a front end that accepts input. papermill and nbval do not."""
    return getattr(getattr(get_ipython(), "kernel", None), "_allow_stdin", False)


class LiveWidget(anywidget.AnyWidget):
    """A widget that connects only to a front end that accepts input, so no saved notebook holds its state.

    Attributes:
        css_class: Class that its JavaScript gives its element.
        note: What a saved notebook says in place of the widget. Where the widget works, the note is hidden.
        nobody: What takes the place of the widget if nobody can use it.
    """

    css_class = note = nobody = ""

    def open(self) -> None:
        """Connect to the front end, unless nobody can use the widget."""
        if can_use():
            super().open()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        if not can_use():
            return {"text/plain": self.nobody}, {}
        name = self.css_class
        html = f"""<p class="{name}-note">{self.note}</p>
<style>
:has(.{name}-note):has(+ * .{name}) .{name}-note {{ display: none }}
:has(.{name}-note) + * .jupyter-widgets:not(:has(*)) {{ display: none }} /* JupyterLab's "model not found" */
</style>"""
        display({"text/html": html, "text/plain": self.note}, raw=True)
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return data | {"text/plain": type(self).__name__}, metadata
