import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mnist_s5 import load_mnist

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCS = (Path("docs/glossary.md"), Path("docs/teaching.md"), Path("docs/trade_off.png"))
HOSTS = ("pypi" + ".org", "python" + "hosted", "index-url", "find-links")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def course_files() -> list[Path]:
    """Return the files of the course, also in a download without .git: not those that .gitignore names."""
    ignored = {".git", *(line.strip("/\n") for line in (ROOT / ".gitignore").open())}
    found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
    return [path for path in found if not any(fnmatch(part, name) for part in path.parts for name in ignored)]


def copy_of_the_repo(target: Path) -> Path:
    for name in course_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return target


def test_the_files_of_the_course_are_those_in_git() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is a download without .git")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {Path(name) for name in listed.splitlines() if (ROOT / name).exists()} <= set(course_files())


def test_the_lock_holds_the_project_and_names_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not any(host in text for host in (*HOSTS, "://"))
    assert text.count("--hash=sha256:") > 100
    extras = PROJECT["optional-dependencies"]
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        locked.setdefault(name, []).append(version)
    for line in PROJECT["dependencies"] + extras["notebook"] + extras["test"]:
        need = Requirement(line)
        if need.name != PROJECT["name"]:
            assert all(need.specifier.contains(Version(version)) for version in locked[need.name]), line


def test_conda_environment_is_in_step_with_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    python = next(line for line in environment["dependencies"] if str(line).startswith("python"))
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    (line,) = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    match = re.fullmatch(r"-e \.\[([\w,]+)\]", line)
    assert match
    optional = {"ray", "tensorboard", "docs"}  # few people need these
    assert set(match[1].split(",")) == set(PROJECT["optional-dependencies"]) - optional


def test_workflows_are_valid() -> None:
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert files
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*checker, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_machine_that_cannot_install_the_course_is_an_error() -> None:
    refusal = script("check_machine").refusal
    assert refusal((3, 11), 20e9) is None
    assert "Install Python 3.11 or newer" in refusal((3, 10), 20e9)
    assert "only 1.0 GB are free" in refusal((3, 12), 1e9)


def test_make_stops_at_an_old_python(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / "scripts").mkdir()
    text = (ROOT / "scripts" / "check_machine.py").read_text().replace("sys.version_info[:2]", "(3, 9)")
    (tmp_path / "scripts" / "check_machine.py").write_text(text)
    done = subprocess.run(["make", "run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Python 3.9 is too old" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("make"), reason="there is no make here")
def test_an_environment_that_does_not_work_is_set_up_again(tmp_path: Path) -> None:
    """The folder was moved, the Python is gone, or another one is asked for. Deleting .venv by hand is not needed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    python, installed = tmp_path / ".venv" / "bin" / "python", tmp_path / ".venv" / "installed"
    python.parent.mkdir(parents=True)
    other = tmp_path / "other-python"
    for path, answer in ((python, "/usr (3, 12)"), (other, "/opt (3, 13)"), (tmp_path / "same", "/usr (3, 12)")):
        path.write_text(f"#!/bin/sh\necho '{answer}'")
        path.chmod(0o755)

    def again(*words: str) -> bool:
        return "rm -rf .venv" in output("make", "-n", ".venv", *words, cwd=tmp_path)

    installed.write_text(str(tmp_path))
    assert not again()
    assert not again(f"PYTHON={tmp_path / 'same'}")
    assert again(f"PYTHON={other}")
    installed.write_text(str(tmp_path / "before it was renamed"))
    assert again()
    installed.write_text(str(tmp_path))
    python.unlink()
    assert again()


@pytest.mark.slow
def test_a_wheel_from_a_used_checkout_holds_the_course_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    repo = copy_of_the_repo(tmp_path / "repo")
    shipped = {path for path in course_files() if path.parts[0] in ("notebooks", "benchmarks")} | set(DOCS)
    expected = {path.as_posix() for path in shipped if path.name != "ruff.toml"}
    expected |= {path.relative_to("src/mnist_s5").as_posix() for path in course_files() if path.parts[0] == "src"}
    for name in (
        "notebooks/.ipynb_checkpoints/02_training-checkpoint.ipynb",
        "notebooks/runs/2026/metrics.json",
        "notebooks/kim.ipynb",
        "notebooks/exercises/ex02_training-kim.ipynb",
        "notebooks/pictures/kim.jpg",
        ".env",
        "docs/.env",
        "benchmarks/results/.env",
    ):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).touch()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=repo, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {name.removeprefix("mnist_s5/") for name in wheel.namelist() if name.startswith("mnist_s5/")}
        assert names == expected
        assert "py.typed" in names
        wheel.extractall(tmp_path / "installed")
    package = tmp_path / "installed" / "mnist_s5"
    for text in [*package.rglob("*.md"), *package.rglob("*.ipynb")]:
        for link in re.findall(r"\]\((\.[^)#\\]*)", text.read_text()):
            assert (text.parent / link).exists(), (text.name, link)
        for link in re.findall(r"\]\((\w[\w/]*\.(?:md|py|ipynb|png))", text.read_text()):
            assert (text.parent / link).exists(), (text.name, link)


def test_address_is_written_everywhere_and_again(tmp_path: Path) -> None:
    repo = copy_of_the_repo(tmp_path / "repo")
    for name in ("someone/course", "someone-else/course2"):
        assert address(repo, name).returncode == 0
        course = f"https://github.com/{name}"
        site = "https://{}.github.io/{}".format(*name.split("/"))
        assert tomllib.loads((repo / "pyproject.toml").read_text())["project"]["urls"] == {"Repository": course}
        readme = (repo / "README.md").read_text()
        assert f"{course}/actions/workflows/ci.yml" in readme
        for notebook in sorted((repo / "notebooks").rglob("*.ipynb")):
            nbformat.validate(nbformat.read(notebook, as_version=4))
            assert f'ADDRESS = "{course}"' in next(
                cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.id == "setup"
            )
            if re.match(r"\d", notebook.name):
                assert f"github/{name}/blob/main/notebooks/{notebook.name}" in readme
                assert first_cell(notebook).count(f"{site}/notebooks/{notebook.stem}.html") == 1
        assert f"]({site}/)" in readme
        assert first_cell(repo / "notebooks" / "05_debugging.ipynb").count(f"{site}/break.html") == 1
    assert "someone/course)" not in readme
    assert "someone.github.io" not in readme + first_cell(repo / "notebooks" / "05_debugging.ipynb")
    for name in ("no address", "https://github.com/someone", "https://github.com/someone/course/issues"):
        done = address(repo, name)
        assert done.returncode == 1
        assert "REPO=owner/name" in done.stderr


def test_only_a_repository_on_github_has_a_website(tmp_path: Path) -> None:
    repo = copy_of_the_repo(tmp_path / "repo")
    lessons = sorted((repo / "notebooks").glob("[0-9]*.ipynb"))
    before = [first_cell(lesson) for lesson in lessons]
    readme = (repo / "README.md").read_text()
    for name in ("someone/course", "https://git.example.org/someone/course"):
        assert "someone.github.io" not in readme + "".join(before)
        assert address(repo, name).returncode == 0
    assert [first_cell(lesson) for lesson in lessons] == before
    assert (repo / "README.md").read_text() == readme


def first_cell(notebook: Path) -> str:
    return nbformat.read(notebook, as_version=4).cells[0].source


def address(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/address.py", *words], cwd=repo, capture_output=True, text=True, check=False
    )


def test_address_is_taken_from_origin_and_checked(tmp_path: Path) -> None:
    repo = copy_of_the_repo(tmp_path / "repo")
    course = "https://github.com/someone/course"
    said = address(repo, "--check", course).stderr
    assert said.startswith("The notebooks have ")
    assert f"but this repository is {course}. Run make address" in said
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    assert "This clone has no origin" in address(repo).stderr
    subprocess.run(["git", "remote", "add", "origin", "there"], cwd=repo, check=True)
    for origin in (
        "git@github.com:someone/course.git",
        "https://me:secret@github.com/someone/course",
        f"{course}.git",
        f"{course}/tree/main",
        f"{course}/blob/main/README.md",
        "www.github.com/someone/course",
    ):
        subprocess.run(["git", "remote", "set-url", "origin", origin], cwd=repo, check=True)
        assert f"is now {course}." in address(repo).stdout
        assert address(repo, "--check", course).returncode == 0
        assert "secret" not in (repo / "README.md").read_text() + (repo / "pyproject.toml").read_text()
    assert "The notebooks have https://github.com/someone/course, but" in address(repo, "--check", "a/fork").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the workflow runs on Linux")
def test_a_hosted_copy_without_an_address_gets_its_own(tmp_path: Path) -> None:
    """Run the workflow's step. A copy that has one, such as a fork's, is left alone."""
    repo, hosted = copy_of_the_repo(tmp_path / "repo"), tmp_path / "hosted.git"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "a copy"]):
        subprocess.run([*git, *words], cwd=repo, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", repo, hosted], check=True)
    subprocess.run(["git", "clone", "-q", hosted, tmp_path / "checkout"], check=True)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "address.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["address"]["steps"] if "run" in step]
    for address in ("https://github.com/kim/course", "https://github.com/lee/fork"):
        world = os.environ | {"ADDRESS": address}
        subprocess.run(["bash", "-ec", step["run"]], cwd=tmp_path / "checkout", env=world, check=True)
        assert output("git", "log", "--format=%s", "main", cwd=hosted).splitlines() == [
            "The address of this copy",
            "a copy",
        ]
        assert "github/kim/course/blob/main/notebooks/01" in output("git", "show", "main:README.md", cwd=hosted)


def output(*words: str, cwd: Path) -> str:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=True).stdout


def test_the_setup_cell_does_nothing_if_the_course_is_installed_and_names_a_missing_address() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "01_data_visualization.ipynb", as_version=4)
    setup = next(cell.source for cell in notebook.cells if cell.id == "setup")
    for other in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert setup in [cell.source for cell in nbformat.read(other, as_version=4).cells]
    assert len(setup.splitlines()) == 8
    ipython = [sys.executable, "-m", "IPython", "--quick", "-c"]
    assert subprocess.run([*ipython, setup], capture_output=True, check=True).stdout == b""
    missing = "import sys; sys.modules['mnist_s5'] = None  # makes the import fail\n"
    unknown = re.sub(r'ADDRESS = "[^"]*"', f'ADDRESS = "{script("address").UNKNOWN}"', setup)
    done = subprocess.run([*ipython, missing + unknown], capture_output=True, text=True, check=False)
    assert "Set ADDRESS to the course's git address, then run again." in done.stdout + done.stderr
    known = re.sub(r'ADDRESS = "[^"]*"', 'ADDRESS = "file:///nowhere/course"', setup)
    done = subprocess.run([*ipython, missing + known], capture_output=True, text=True, check=False)
    assert "file:///nowhere/course" in done.stdout + done.stderr  # pip tries to clone it


@pytest.mark.slow
def test_colab_installs_the_course_and_leaves_torch_alone(tmp_path: Path) -> None:
    """In a new environment with the same packages except the course, install it from a local git repository."""
    repo = copy_of_the_repo(tmp_path / "repo")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([sys.executable, "scripts/address.py", repo.as_uri()], cwd=repo, check=True)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], cwd=repo, check=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "colab"], check=True)
    places = {"base": str(tmp_path / "colab"), "platbase": str(tmp_path / "colab")}
    site = Path(sysconfig.get_path("purelib", "venv", places))
    theirs = tmp_path / "theirs"  # packages that pip sees as installed but cannot change
    theirs.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if (
            "mnist_s5" not in path.name
            and path.name not in ("pip", "_distutils_hack")
            and not path.name.startswith("pip-")
        ):
            (theirs / path.name).symlink_to(path)
    (site / "theirs.pth").write_text(str(theirs))
    (theirs / "google").mkdir(exist_ok=True)
    (theirs / "google" / "colab.py").touch()
    python = Path(sysconfig.get_path("scripts", "venv", places)) / "python"
    kernel = {"argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    (tmp_path / "kernels" / "colab").mkdir(parents=True)
    (tmp_path / "kernels" / "colab" / "kernel.json").write_text(json.dumps(kernel | {"display_name": "Colab"}))

    notebook = nbformat.read(repo / "notebooks" / "01_data_visualization.ipynb", as_version=4)
    setup = next(cell for cell in notebook.cells if cell.id == "setup")
    before = nbformat.v4.new_code_cell("import google.colab, torch, numpy")
    after = nbformat.v4.new_code_cell(
        "import mnist_s5; print(mnist_s5.Net, mnist_s5.__file__, torch.__file__, numpy.__file__)"
    )
    recorded = nbformat.v4.new_code_cell(
        "print(len(mnist_s5.recorded('reference-mnist-1')[0]), mnist_s5.course_path('weights.safetensors').exists())"
    )
    session = nbformat.v4.new_notebook(cells=[before, setup, after, recorded])
    kernels = {"JUPYTER_PATH": str(tmp_path), "PYTHONPATH": ""}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in kernels.items():
            patch.setenv(key, value)
        NotebookClient(session, kernel_name="colab", timeout=300).execute()
    assert (site / "mnist_s5" / "docs" / "glossary.md").exists()  # the notebooks link to ../docs/glossary.md
    printed = session.cells[2].outputs[0].text
    assert str(site / "mnist_s5") in printed  # a copy, not a link to the clone
    assert str(theirs / "torch") in printed
    assert str(theirs / "numpy") in printed
    assert session.cells[3].outputs[0].text == "20 True\n"
    installed = {path.name.partition("-")[0] for path in site.glob("*.dist-info")}
    assert installed <= {"mnist_s5", "pip", "setuptools"}, installed


@pytest.mark.slow
@pytest.mark.alone
def test_import_costs_little_on_top_of_torch() -> None:
    def seconds(code: str) -> float:
        probe = f"import time, torch, torchvision; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert sorted(seconds("import mnist_s5") for _ in range(5))[2] < 0.3


def test_the_readme_is_finished_and_its_links_resolve() -> None:
    for path in (ROOT / "README.md", ROOT / "benchmarks" / "README.md"):
        text = path.read_text(encoding="utf-8")
        assert "{{" not in text
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert "://" in target or (path.parent / target).exists(), target


def test_the_readmes_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the README's example on the sample, for a fraction of its epoch."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert "epochs=1)" in code
    monkeypatch.setattr("mnist_s5.data.loaders.load_mnist", lambda source: load_mnist("sample"))
    monkeypatch.chdir(tmp_path)
    exec(code.replace("epochs=1)", "epochs=0.2)"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"digits.png", "curves.png", "runs"}
    assert (tmp_path / "runs" / "one-epoch" / "metrics.json").exists()


def test_no_file_names_a_host_or_a_machine() -> None:
    for name in course_files():
        path = ROOT / name
        if path.suffix != ".safetensors" and path != Path(__file__):
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not any(host in text for host in HOSTS[:2]), name
            assert not re.search(rf"{re.escape(os.path.expanduser('~'))}/|/site-packages/", text), name
