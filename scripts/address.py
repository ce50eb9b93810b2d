"""Write the repo's address where it is needed: python scripts/address.py owner/name (or a URL that git understands).

The notebooks' set-up cells learn where Colab installs the course from, README gets its badges, pyproject its URLs.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def badges(address: str) -> str:
    """The README's badges; those of Colab open a notebook, and exist for a repo on GitHub alone."""
    if not address.startswith("https://github.com/"):
        return ""
    repo = address.removeprefix("https://github.com/")
    lines = [f"[![CI]({address}/actions/workflows/ci.yml/badge.svg)]({address}/actions/workflows/ci.yml)"]
    for notebook in NOTEBOOKS:
        colab = f"https://colab.research.google.com/github/{repo}/blob/main/notebooks/{notebook.name}"
        lines.append(
            f"[![Open {notebook.stem} in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
        )
    return "\n".join(lines) + "\n"


def replace(path: Path, pattern: str, text: str) -> None:
    """Replace the pattern's one match in the file; a file without it is a mistake, not a thing to pass over."""
    old = path.read_text(encoding="utf-8")
    new, count = re.subn(pattern, lambda _: text, old, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{path.name} has {count} places for the address, not one: restore it from git.")
    path.write_text(new, encoding="utf-8", newline="\n")


def main(repo: str) -> None:
    repo = repo.rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*|(https|ssh|file)://[\w.~:/-]+", repo, re.ASCII):
        sys.exit(f"REPO={repo} is no address: call make address REPO=owner/name, or give a URL that git understands.")
    address = repo if "://" in repo else f"https://github.com/{repo}"
    for notebook in sorted(
        [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks" / "exercises").glob("*.ipynb")]
    ):
        replace(notebook, r'REPO = \\"[^"\\]*\\"', json.dumps(f'REPO = "{address}"')[1:-1])
    replace(
        ROOT / "README.md", r"<!-- badges -->.*<!-- /badges -->", f"<!-- badges -->\n{badges(address)}<!-- /badges -->"
    )
    urls = f'[project.urls]\nRepository = "{address}"\n'
    replace(ROOT / "pyproject.toml", r"\[project\.urls\]\n(Repository = [^\n]*\n)?", urls)
    print(f"The course's address is now {address}: look at git diff, then commit.")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
