from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from mnist_s5.jobs import parameters
from mnist_s5.jobs.parameters import RunError, check_cells, check_parameters, parameter_types


def parse_parameters(notebooks: list[Path], pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return parameters.parse_parameters(parameter_types(notebooks, bool(pairs)), pairs)


def test_values_get_their_types(notebook: Path) -> None:
    pairs = [("name", "1"), ("count", "3"), ("rate", "1e-3"), ("epochs", "None"), ("fast", "false")]
    expected = {"name": "1", "count": 3, "rate": 0.001, "epochs": None, "fast": False}
    assert parse_parameters([notebook], pairs) == [expected]
    assert parse_parameters([notebook], [("epochs", "2")]) == [{"epochs": 2.0}]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epoch", "1", "Did you mean epochs"),
        ("import os", "1", "Choose from name, count, rate"),
        ("count", "1.5", "an integer"),
        ("rate", "9" * 400, "finite number"),
        ("count", "False", "an integer"),
        ("rate", "fast", "finite number"),
        ("rate", "inf", "finite number"),
        ("epochs", "nan", "finite number"),
        ("fast", "1", "True or False"),
        ("run_dir", "x", "--out"),
    ],
)
def test_wrong_names_and_types_are_rejected(notebook: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        parse_parameters([notebook], [(name, value)])


def test_a_file_that_is_not_a_notebook_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("{}")
    with pytest.raises(RunError, match="is not a notebook"):
        parse_parameters([tmp_path / "x.ipynb"], [])


def test_types_that_are_not_declared_are_those_of_the_defaults(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("seed = 1\nnames = ['a']", metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "plain.ipynb")
    pairs = [("seed", "2"), ("names", "['b', 'c']")]
    assert parse_parameters([tmp_path / "plain.ipynb"], pairs) == [{"seed": 2, "names": ["b", "c"]}]
    with pytest.raises(RunError, match=r"seed='x' is invalid\. It must be an integer"):
        parse_parameters([tmp_path / "plain.ipynb"], [("seed", "x")])


def test_outside_a_notebook_there_is_nothing_to_check() -> None:
    check_parameters()


FOR_YAML = [("1e-2", "0.01"), ("1e-5", "1.0e-05"), ("25e-8", "2.5e-07"), ("1e400", "")]


@pytest.mark.parametrize(("text", "right"), FOR_YAML)
def test_a_number_that_yaml_reads_as_text_is_written_for_yaml(text: str, right: str) -> None:
    with pytest.raises(RunError) as error:
        check_cells(["rate: float = 0.5", f"# Parameters\nrate = {text!r}"])
    assert str(error.value).endswith(f" YAML reads it as text. Write {right}." if right else "a finite number.")
    assert isinstance(yaml.safe_load(text), str)
    assert not right or yaml.safe_load(right) == float(text)


def test_a_notebook_without_parameters_says_so(tmp_path: Path) -> None:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")]), tmp_path / "n.ipynb")
    with pytest.raises(RunError, match='No cell of the notebook has the tag "parameters"'):
        parse_parameters([tmp_path / "n.ipynb"], [("x", "2")])


def test_a_corrected_parameter_is_taken() -> None:
    check_cells(["rate: float = 0.5\nn: int = 1", "# Parameters\nrate = 1e-3\nn = 4\n"])
    first = "seed: int = 1\nepochs: Optional[float] = None"
    check_cells(["", first, "# Parameters\nseed = 2", "n: int = len(first)", "w: torch.Tensor", "x: int = 'a'"])
    for wrong in ("# Parameters\nepoch = 1", "seed: int = '1'\nepochs: Optional[float] = None"):
        with pytest.raises(RunError):
            check_cells(["", first, wrong])
        right = wrong.replace("epoch =", "epochs =").replace("'1'", "1")
        check_cells(["", first, wrong, right, "# Parameters of the network\nn = 3"])
    for kind in ("float | None", "typing.Optional[float]"):
        check_cells([f"epochs: {kind} = None", "# Parameters\nepochs = 0.5"])
    for mine in ("colors: list[str] = ['red']\nn: int = 'a'", "half: float = 0.5"):  # a learner's cell above
        check_cells([mine, first + "\nrun_dir: str = ''", "# Parameters\nseed = 2", "x: int = 'a'"])
        with pytest.raises(RunError, match="Did you mean seed"):
            check_cells([mine, first + "\nrun_dir: str = ''", "# Parameters\nsed = 2"])
    check_cells(["epochs: Optional[float] = 1 / 2\nseed: int = -2**5"])
    for code in ("epoch: float = 1", "seed = epochs = 1", "del seed"):
        with pytest.raises(RunError, match="got code"):
            check_cells([first, f"# Parameters\n{code}"])


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "wanted"),
    [
        ("int | float", {"1": 1, "1.5": 1.5}, ["x", "True"], "an integer or a finite number"),
        ("Union[int, float]", {"1": 1, "1.5": 1.5}, ["x"], "an integer or a finite number"),
        ("typing.Optional[int]", {"1": 1, "None": None}, ["1.5"], "an integer or None"),
        ("None | float", {"1": 1.0, "None": None}, ["inf"], "None or a finite number"),
        ("int | str", {"1": 1, "a": "a", "true": "true"}, [], ""),
        ('Literal["a", "b"]', {"a": "a"}, ["c"], "'a' or 'b'"),
        ("Literal[1, 2]", {"1": 1}, ["3", "True"], "1 or 2"),
        ("tuple[int, int]", {"(1, 2)": (1, 2)}, ["[1, 2]"], "tuple"),
        ("np.ndarray", {"1": 1, "[1]": [1], "x": "x"}, [], ""),
    ],
)
def test_each_annotation_is_checked(
    tmp_path: Path, kind: str, right: dict[str, object], wrong: list[str], wanted: str
) -> None:
    cell = nbformat.v4.new_code_cell(f"x: {kind} = None", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    for text, value in right.items():
        (found,) = parse_parameters([tmp_path / "n.ipynb"], [("x", text)])
        assert (found["x"], type(found["x"])) == (value, type(value))
    for text in wrong:
        with pytest.raises(RunError, match=rf"^x=.* is invalid\. It must be {wanted}\."):
            parse_parameters([tmp_path / "n.ipynb"], [("x", text)])


def test_a_second_cell_of_parameters_is_rejected(tmp_path: Path) -> None:
    """It would set the defaults again, after the values that were passed."""
    cells = [nbformat.v4.new_code_cell(f"x: int = {n}", metadata={"tags": ["parameters"]}) for n in (1, 2)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "n.ipynb")
    with pytest.raises(RunError, match=r'n\.ipynb has 2 cells with the tag "parameters"\. Keep one'):
        parse_parameters([tmp_path / "n.ipynb"], [])


@pytest.mark.parametrize("above", ["", "COLORS = ['red']"])
@pytest.mark.parametrize("first", ["seed = 1\nrate = 0.5", "# Parameters\nseed = 1\nrate = 0.5"])
def test_a_cell_without_annotations_is_found(above: str, first: str) -> None:
    """Also one that begins with the comment that papermill writes above the values that it adds."""
    check_cells([above, first, "x = float('nan')"])
    check_cells([above, first, "# Parameters\nseed = 2\nrate = 1.5\n", "x = float('nan')"])
    with pytest.raises(RunError, match=r"There is no parameter rte\. Did you mean rate"):
        check_cells([above, first, "# Parameters\nseed = 2\nrte = 1.5\n"])
    with pytest.raises(RunError, match=r"seed='2' is invalid\. It must be an integer"):
        check_cells([above, first, "# Parameters\nseed = '2'\n"])
    typed = "# Parameters\nseed: int = 1"
    check_cells([above, typed, "# Parameters\nseed = 2"])
    with pytest.raises(RunError, match="seed='2' is invalid"):
        check_cells([above, typed, "# Parameters\nseed = '2'"])


def test_an_annotation_in_quotes_is_the_type(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell('x: "int | None" = 3', metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    assert parse_parameters([tmp_path / "n.ipynb"], [("x", "5")]) == [{"x": 5}]
    with pytest.raises(RunError, match=r"It must be an integer or None\."):
        parse_parameters([tmp_path / "n.ipynb"], [("x", "1.5")])


def test_a_magic_in_the_parameters_cell_is_named(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("%matplotlib inline\nx: int = 3", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    with pytest.raises(RunError, match=r"The parameters cell of n\.ipynb contains a magic or a syntax error"):
        parse_parameters([tmp_path / "n.ipynb"], [("x", "5")])
