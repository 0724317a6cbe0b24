"""The notebooks: kept clean, with no logic of their own, and true from a fresh kernel without a network."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.extended

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUNNER = ROOT / "scripts" / "run_notebooks.py"
LIMIT = 180  # seconds; about 30 on two cores that do nothing else


@pytest.fixture(scope="module")
def nbformat():
    """Imported where it is used: that takes a second and a half, which is long for all who only collect tests."""
    return pytest.importorskip("nbformat", reason="the notebooks need: pip install -e '.[notebooks]'")


def cells(path, kind):
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [SimpleNamespace(**{**c, "source": "".join(c["source"])}) for c in found if c["cell_type"] == kind]


def python(source):
    """A cell without IPython's magics."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M)


def names(path):
    return path.name


def test_the_five_are_there():
    assert [p.name[:2] for p in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_it_is_valid_and_kept_without_outputs(path, nbformat):
    nbformat.validate(nbformat.read(path, as_version=4))
    for cell in cells(path, "code"):
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_it_defines_no_logic_and_names_what_there_is(path):
    import transferkit as tk

    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(python(cell.source))):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tk":
                assert node.attr in dir(tk)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_it_is_explained_and_installs_what_is_missing(path):
    text = cells(path, "markdown")
    assert len(text) >= 4
    assert len(text) * 2 >= len(cells(path, "code"))  # no long stretch of code without a word
    install = cells(path, "code")[0].source
    assert "%pip install" in install
    assert install.startswith('INSTALL_FROM = "')


def ran(*arguments, **options):
    return subprocess.run(
        [sys.executable, RUNNER, *arguments], capture_output=True, text=True, timeout=600, check=False, **options
    )


@pytest.mark.slow
@pytest.mark.usefixtures("nbformat")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=names)
def test_it_runs_from_a_clean_kernel_and_what_it_trains_is_good(path):
    before = path.read_bytes()
    done = ran(path.name)
    assert done.returncode == 0, done.stderr
    seconds = int(re.search(r": (\d+) s", done.stdout)[1])
    assert seconds < LIMIT
    assert path.read_bytes() == before


def broken(nbformat, folder, source):
    """A runner whose notebooks are one of this cell."""
    (folder / "scripts").mkdir()
    (folder / "notebooks").mkdir()
    (folder / "scripts" / "run_notebooks.py").write_text(RUNNER.read_text("utf-8"), "utf-8")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(book, folder / "notebooks" / "01_broken.ipynb")
    command = [sys.executable, folder / "scripts" / "run_notebooks.py"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_cell_that_fails_or_a_training_that_learns_nothing_is_a_failure(nbformat, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    failed = broken(nbformat, tmp_path / "a", "1 / 0")
    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stderr
    useless = broken(nbformat, tmp_path / "b", "print('val_accuracy: 0.1')")
    assert useless.returncode == 1
    assert "at least" in useless.stderr
