"""The text of the notebooks and pages: links, headings, terms, spelling, and phrases."""

import itertools
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
NOTEBOOKS = [*LESSONS, *sorted((ROOT / "notebooks" / "exercises").glob("*.ipynb"))]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"]
TEMPLATE = ROOT / "notebooks" / "template.ipynb"
TEXTS = [*NOTEBOOKS, TEMPLATE, *PAGES]
GLOSSARY = ROOT / "docs" / "glossary.md"
NAMES = "ans,fo,hist,nd,te,ure,datas,smaple"  # names in code that codespell takes for misspellings
PLAIN_WORDS = {
    "label",
    "loss",
    "parameter",
    "reference",
    "step",
}  # used in their everyday sense before they are defined


def prose(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text()
    return "\n\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_code(prose(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_links_resolve(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(prose(path))):
        if re.match(r"https?:", target):
            assert re.fullmatch(r"https://[\w.-]+\.\w{2,}(/\S*)?", target), target
            continue
        if target.startswith("attachment:"):
            assert target.removeprefix("attachment:") in nbformat.read(path, 4).cells[0].attachments
            continue
        name, _, anchor = target.partition("#")
        goal = (path.parent / name).resolve() if name else path
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_headings_are_in_order(path: Path) -> None:
    levels = [len(marks) for marks in re.findall(r"^(#+) ", without_code(prose(path)), re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_frame(path: Path) -> None:
    cells = nbformat.read(path, 4).cells
    title, end = cells[0].source, cells[-1].source
    assert len(re.findall(r"^- ", title, re.MULTILINE)) == len(re.findall(r"^- ", end, re.MULTILINE)) == 3
    assert "After this notebook you will be able to" in title
    assert "**Guess" in title or "**Before you scroll, guess" in title
    assert re.search(r"It takes [^.]*minutes?", title)
    assert 3 <= end.count("<details>") == end.count("</details>") <= 5
    assert f"(exercises/ex{path.name})" in end


@pytest.mark.parametrize("path", [*LESSONS, TEMPLATE], ids=lambda path: path.stem)
def test_predict_run_explain(path: Path) -> None:
    cells = nbformat.read(path, 4).cells
    guesses = sum(len(re.findall(r"\*\*[^*]*\bguess\b", cell.source, re.IGNORECASE)) for cell in cells)
    assert guesses >= (1 if path == TEMPLATE else 3)
    assert re.search(r"\bIf (you|your|yours|two|this)\b", prose(path))  # what to check if the result differs
    for cell, after in itertools.pairwise(cells):
        if "image/png" in str(cell.get("outputs")):
            following = itertools.dropwhile(lambda each: each.cell_type == "code", cells[cells.index(after) :])
            assert next(following).source[0] != "#", cell.id  # text about the figure comes before the next heading


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_readable(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Setup and parameters do not count, because they are the same everywhere. Collapsed cells count as cells only."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.id not in ("setup", "parameters")]
    seen = [cell for cell in cells if not cell.metadata.get("jupyter", {}).get("source_hidden")]
    code = [cell.source for cell in seen if cell.cell_type == "code"]
    words = len(re.findall(r"\w[\w'’-]*", prose(path))), sum(len(source.split()) for source in code)
    with capsys.disabled():
        print(
            f"\n{path.stem}: {len(cells)} cells, {words[0]} words of prose, {words[0] / words[1]:.1f} per word of code"
        )
    assert len(cells) <= 37
    assert 2 <= words[0] / words[1] <= 5


def first_use(term: str) -> str:
    """Return the text at the first use of a term in the lessons."""
    stem = re.escape(term).replace("\\ ", "[ -]")
    stem = stem[:-1] + "(?:y|ies)" if stem.endswith("y") else stem + "(?:e?s)?"
    for path in LESSONS:
        text = re.sub(r"`[^`]*`|\$[^$]*\$|^#[^\n]*", "", without_code(prose(path)), flags=re.MULTILINE)
        found = re.search(rf"(?<![\w#/]){stem}(?![\w-])(?!\.md).{{0,60}}", text, re.IGNORECASE | re.DOTALL)
        if found:
            return found[0]
    return ""


def test_each_term_is_linked_at_its_first_use() -> None:
    terms = re.findall(r"^## (.+)$", GLOSSARY.read_text(), re.MULTILINE)
    assert terms == sorted(terms, key=str.casefold)
    texts = re.sub(r"^\*\*New terms:\*\*.*$", "", "\n".join(map(prose, LESSONS)), flags=re.MULTILINE)
    linked = re.findall(r"glossary\.md#([\w-]+)\)", texts)
    for term in terms:
        anchor = term.lower().replace(" ", "-")
        assert linked.count(anchor) == 1, term
        if term not in PLAIN_WORDS:
            assert f"](../docs/glossary.md#{anchor})" in first_use(term), term


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_last_cell_lists_the_new_terms(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    before = notebook.cells[-1].source
    runpy.run_path(str(ROOT / "scripts" / "new_terms.py"))["update"](notebook)
    assert notebook.cells[-1].source == before
    assert "**New terms:**" in before


def everything_written() -> str:
    """Return all pages, cells with their text outputs, and the code with its docstrings, comments, and messages."""
    folders = ("src", "scripts", "benchmarks", "tests")
    paths = [
        path for folder in folders for path in sorted((ROOT / folder).rglob("*.py*")) if path.suffix in (".py", ".pyi")
    ]
    files = [
        path.read_text() for path in (*paths, ROOT / "Makefile", ROOT / "pyproject.toml") if path != Path(__file__)
    ]
    cells = [cell for path in [*NOTEBOOKS, TEMPLATE] for cell in nbformat.read(path, 4).cells]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    printed = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join([*map(prose, PAGES), *(cell.source for cell in cells), *printed, *files])


def test_spelling() -> None:
    """American English, as far as codespell knows it; it accepts words that it does not know."""
    command = [sys.executable, "-m", "codespell_lib", "--builtin", "clear,rare,en-GB_to_en-US", "-L", NAMES, "-"]
    done = subprocess.run(command, input=everything_written(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def phrases_in(text: str) -> dict[str, str]:
    """Return the phrases of phrases.txt that the text contains, and what to write instead."""
    pairs = [line.split("->") for line in (ROOT / "tests" / "phrases.txt").read_text().splitlines()]
    text = " ".join(text.split())
    begin = {phrase: r"(?<!\w)" if phrase[0].isalnum() else "" for phrase, _ in pairs}
    return {a: b for a, b in pairs if re.search(rf"{begin[a]}{re.escape(a)}(?!\w)", text, re.IGNORECASE)}


def test_phrases_that_we_do_not_use() -> None:
    assert not phrases_in(everything_written())
    assert not re.findall(r"""[}\d] %["' .,;:)|]""", everything_written())  # write 99.35%


def test_a_phrase_is_found_across_lines() -> None:
    assert phrases_in("They are Nothing\nbut means.") == {"nothing but": "only"}
    assert set(phrases_in("It is 80% sure")) == {"% sure"}
    assert phrases_in("Thinking of pink. % surely") == {}
