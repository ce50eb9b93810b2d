"""Write the repository's address into the files that need it.

python scripts/address.py [ADDRESS], where ADDRESS is owner/name or a URL for git. The default is git's origin.
The notebooks' setup cells get the address from which Colab installs the course, and their first cells a link to their
page of the website. The README gets its badges and links, and pyproject.toml its URL. With --check ADDRESS, only
compare the notebooks with the address, as CI does. With --if-missing ADDRESS, write it only if they have none, as the
workflow of a hosted copy does.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
UNKNOWN = "<the course's git address>"
IN_NOTEBOOK = r'ADDRESS = \\"([^"\\]*)\\"'


def website(address: str) -> str:
    """Return the address of the website that the workflow publishes, or "" if the repository is not on GitHub."""
    match = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", address)
    return f"https://{match[1].lower()}.github.io/{match[2]}" if match else ""


def badges(address: str) -> str:
    """Return the README's CI badge and its links to the website and to Colab, for a repository on GitHub."""
    site = website(address)
    if not site:
        return ""
    repo = address.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{repo}/blob/main/notebooks"
    links = " · ".join(f"[{notebook.stem[:2]}]({colab}/{notebook.name})" for notebook in NOTEBOOKS)
    return f"""[![CI]({address}/actions/workflows/ci.yml/badge.svg)]({address}/actions/workflows/ci.yml)
[Read the course]({site}/course.html) · [Draw a digit]({site}/) · [Break a training loop]({site}/break.html)

Open in Colab: {links}
"""


def replace(path: Path, pattern: str, text: str) -> None:
    """Replace the pattern's only match in the file."""
    old = path.read_text(encoding="utf-8")
    new, count = re.subn(pattern, lambda _: text, old, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{path.name} has {count} places for the address instead of one. Restore it from git.")
    path.write_text(new, encoding="utf-8", newline="\n")


def link_to_website(path: Path, site: str) -> None:
    """Write the link to a notebook's page of the website into its first cell, in place of an earlier one."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    first = notebook["cells"][0]
    text = re.sub(r"\n\n\*\*On the web:\*\*[^\n]*", "", "".join(first["source"]))
    if site:
        text += f"\n\n**On the web:** [this notebook]({site}/notebooks/{path.stem}.html)"
        if path.stem.endswith("debugging"):
            text += f", and [a page that trains while you break it]({site}/break.html)"
    first["source"] = text.splitlines(keepends=True)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def origin() -> str:
    """Return the address of git's origin."""
    command = ["git", "remote", "get-url", "origin"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit("This clone has no origin. Call make address REPO=owner/name.")
    return done.stdout.strip()


def address_of(given: str) -> str:
    """Return the repository's address, without user name, .git, or page. owner/name is on GitHub."""
    repo = re.sub(r"^git@([\w.-]+):", r"https://\1/", given.rstrip("/").removesuffix(".git"))
    repo = re.sub(r"^https://[^/@]+@", "https://", repo)  # remove a user name or a token
    repo = re.sub(r"^(https://)?www\.github\.com/", "https://github.com/", repo)
    if match := re.match(r"https://github\.com/[^/]+/[^/]+(?=$|/(?:tree|blob)/)", repo):
        repo = match[0]  # without the page, if the address was copied from a browser
    elif repo.startswith("https://github.com/"):
        repo = ""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*|(https|ssh|file)://[\w.@~:/-]+", repo, re.ASCII):
        sys.exit(
            f"REPO={given} is not an address. Call make address REPO=owner/name, or pass a URL that git understands."
        )
    return repo if "://" in repo else f"https://github.com/{repo}"


def written() -> set[str]:
    """Return the addresses in the notebooks."""
    return {match for path in NOTEBOOKS for match in re.findall(IN_NOTEBOOK, path.read_text(encoding="utf-8"))}


def check(repo: str) -> None:
    """Exit with an error if the notebooks have the address of another repository, or none."""
    address, found = address_of(repo), written()
    if found != {address}:
        have = " and ".join(sorted(found - {UNKNOWN})) or "no address"
        sys.exit(f"The notebooks have {have}, but this repository is {address}. Run make address, and commit.")


def main(repo: str) -> None:
    address = address_of(repo or origin())
    for notebook in sorted(
        [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks" / "exercises").glob("*.ipynb")]
    ):
        replace(notebook, IN_NOTEBOOK, json.dumps(f'ADDRESS = "{address}"')[1:-1])
    for notebook in NOTEBOOKS:
        link_to_website(notebook, website(address))
    replace(
        ROOT / "README.md", r"<!-- badges -->.*<!-- /badges -->", f"<!-- badges -->\n{badges(address)}<!-- /badges -->"
    )
    urls = f'[project.urls]\nRepository = "{address}"\n'
    replace(ROOT / "pyproject.toml", r"\[project\.urls\]\n(Repository = [^\n]*\n)?", urls)
    print(f"The course's address is now {address}. Look at git diff, then commit.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(sys.argv[2] if len(sys.argv) > 2 else origin())
    elif sys.argv[1:2] == ["--if-missing"]:
        if written() == {UNKNOWN}:
            main(sys.argv[2] if len(sys.argv) > 2 else "")
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "")
