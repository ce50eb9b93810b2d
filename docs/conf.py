"""Settings of the course's website. `make site` builds it from the committed notebooks, and executes nothing."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))  # website.py and notebooks.py

project = html_title = "mnist_s5"
author = "the mnist_s5 authors"
html_show_copyright = False
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "website"]
root_doc = "docs/course"
# The repository's root is the source folder, so that links between pages are the same as in the repository.
include_patterns = ["docs/*.md", "notebooks/[0-9]*.ipynb", "notebooks/exercises/ex*.ipynb", "benchmarks/README.md"]
include_patterns += ["CONTRIBUTING.md", "README.md"]
exclude_patterns = [".*", "runs", "site", "src", "tests", "homework"]

nb_execution_mode = "off"
nb_custom_formats = {".ipynb": ["notebooks.read_notebook", {}, False]}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # or a default path would be that of the machine that builds the site
autodoc_inherit_docstrings = False  # such as that of forward in torch
autodoc_default_options = {"members": True, "member-order": "bysource"}
python_use_unqualified_type_names = True
default_role = "py:obj"

html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_additional_pages = {"course": "redirect.html"}
html_sourcelink_suffix = ""  # a notebook's source is its download, so it keeps its name
html_show_search_summary = False  # Sphinx fetches whole pages for these. summaries.js also works without a server.
# The colors of the interactive pages, which docs/pages/style.css sets.
COLORS = {
    "color-brand-primary": ("#005f95", "#63b5e8"),
    "color-brand-content": ("#005f95", "#63b5e8"),
    "color-brand-visited": ("#005f95", "#63b5e8"),
    "color-background-primary": ("#fbfaf7", "#14161a"),
    "color-background-secondary": ("#ffffff", "#1d2026"),
    "color-background-border": ("#dedcd6", "#343943"),
    "color-foreground-primary": ("#1d2127", "#e8e9ec"),
    "color-foreground-secondary": ("#5b6169", "#a4aab4"),
    "color-foreground-muted": ("#5b6169", "#a4aab4"),
    "color-code-background": ("#f5f4f0", "#1d2026"),
    "color-api-name": ("#005f95", "#63b5e8"),
    "color-api-pre-name": ("#5b6169", "#a4aab4"),
}
html_theme_options = {
    "light_css_variables": {name: light for name, (light, _) in COLORS.items()},
    "dark_css_variables": {name: dark for name, (_, dark) in COLORS.items()},
    "top_of_page_buttons": [],
}
pygments_style, pygments_dark_style = "a11y-light", "github-dark"
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "play.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
