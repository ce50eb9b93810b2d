"""What the website adds to Sphinx: terms that explain themselves, formulas, summaries, and the interactive pages."""

import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from sphinx.addnodes import desc, desc_signature
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"].get("Repository", "")
GITHUB = "https://github.com/"
STRUT = '<mspace height="1.1em" depth="0.5em" />'  # keeps a label away from its arrow


def definitions() -> dict[str, str]:
    """Return the first two sentences of each term's definition in the glossary, by its anchor. They are HTML."""
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    found = {}
    for term, text in re.findall(r"^## (.+)\n([^#]*)", glossary, re.MULTILINE):
        words = re.sub("<[^>]*>", "", MarkdownIt().renderInline(" ".join(text.split())))
        found[term.lower().replace(" ", "-")] = " ".join(re.split(r"(?<=[.)]) (?=[A-Z])", words)[:2])
    return found


TERMS = definitions()


def explain_terms(body: str) -> str:
    """Add its definition to each link to a term of the glossary. site.js shows it."""

    def explain(link: re.Match[str]) -> str:
        return f'{link[1]} data-term="{TERMS[link[2]]}"' if link[2] in TERMS else link[1]

    return re.sub(r'(<a class="reference internal" href="[^"]*glossary\.html#([\w-]+)")', explain, body)


def add_to_page(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Add what the templates need for a page."""
    if tree := context.get("furo_navigation_tree"):
        context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
    context["body"] = explain_terms(context.get("body", ""))
    path = ROOT / f"{name}.ipynb"
    if doctree and path.exists():
        first = nbformat.read(path, as_version=4).cells[0].source
        takes = re.search(r"It takes (.*?)(?: on | to run|,|\.)", first) or re.search(r", (about \d+ minutes)\.", first)
        colab = f"https://colab.research.google.com/github/{ADDRESS.removeprefix(GITHUB)}/blob/main/{name}.ipynb"
        context["notebook"] = {"takes": takes and takes[1], "colab": colab if ADDRESS.startswith(GITHUB) else ""}


def visit_math(self: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers display without a script or a font."""
    formula = convert(node.astext(), display="block" if isinstance(node, nodes.math_block) else "inline")
    # latex2mathml writes labeled arrows with lengths such as "+0.8em", which browsers no longer support.
    formula = formula.replace('<mstyle scriptlevel="0"><mo>&#x2192;</mo></mstyle>', "<mo>&#x27F6;</mo>")
    self.body.append(re.sub(r"<mpadded [^>]*>(.*?)</mpadded>", rf"<mrow>\1{STRUT}</mrow>", formula))
    raise nodes.SkipNode


# Links to folders, and to a file that is no page of the site.
LINKS = {
    "](notebooks/exercises/)": "](docs/exercises.md)",
    "](notebooks/template.ipynb)": "](path:notebooks/template.ipynb)",
}


def adapt_links(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the links of the repository's pages that lead to no page, and leave out the README's badges."""
    if not name.startswith("notebooks/"):
        source[0] = re.sub(
            r"<!-- badges -->.*<!-- /badges -->", "", source[0], flags=re.DOTALL
        )  # an image from elsewhere
        for old, new in LINKS.items():
            source[0] = source[0].replace(old, new)


def escape_stars(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape the stars in a docstring, such as that of `*.png`. They would start emphasis."""
    lines[:] = [line.replace("*", r"\*") if not line.startswith((":", "*")) else line for line in lines]


def load_later(app: Sphinx, document: nodes.document, name: str) -> None:
    """Let browsers load each figure when it is nearly in sight."""
    for image in document.findall(nodes.image):
        image["loading"] = "lazy"


def prepare(app: Sphinx) -> None:
    """Keep the figures of the notebooks with the doctrees, and write attached images into files."""
    figures = str(Path(app.doctreedir) / "figures")
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=figures)
    type(app.builder).supported_data_uri_images = False


def finish(app: Sphinx, error: Exception | None) -> None:
    """Write the texts of all pages for summaries.js, and the interactive pages."""
    if error:
        return
    texts = {name: texts_of(app.env.get_doctree(name)) for name in sorted(app.env.found_docs)}
    script = f"const TEXTS = {json.dumps(texts, ensure_ascii=False)};\n"
    (Path(app.outdir) / "_static" / "texts.js").write_text(script, encoding="utf-8")
    if not app.config.interactive_pages:
        return
    runpy.run_path(str(DOCS / "pages" / "build.py"))["build"](Path(app.outdir))


def texts_of(document: nodes.document) -> dict[str, str]:
    """Return the texts of a page's sections and API entries by their anchors, without headings, HTML, and comments."""
    texts: dict[str, list[str]] = {}
    for text in document.findall(nodes.Text):
        above = list(ancestors(text))
        if any(isinstance(node, nodes.raw | nodes.comment | nodes.title | desc_signature) for node in above):
            continue
        anchors = [node["ids"] or node[0]["ids"] for node in above if isinstance(node, nodes.section | desc)]
        texts.setdefault(next((ids[0] for ids in anchors if ids), ""), []).append(text)
    return {anchor: " ".join(" ".join(parts).split()) for anchor, parts in texts.items()}


def ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield the nodes that contain a node, from the inside."""
    while (node := node.parent) is not None:
        yield node


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("interactive_pages", True, "html")
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("builder-inited", prepare, priority=900)  # after myst-nb
    app.connect("source-read", adapt_links)
    app.connect("autodoc-process-docstring", escape_stars, priority=400)  # before napoleon, which writes stars itself
    app.connect("html-page-context", add_to_page, priority=900)  # after the theme
    app.connect("doctree-resolved", load_later)
    app.connect("build-finished", finish, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
