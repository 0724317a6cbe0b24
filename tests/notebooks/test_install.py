"""A notebook finds transferkit where there is one, and says in one sentence where there is none; nothing is dead."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import loading

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
URL = "https://github.com/someone/some.thing"
PIP = re.compile(r'^( *)%pip install --quiet "\{source\}"', re.M)


@pytest.fixture(scope="module")
def address() -> ModuleType:
    return loading.script("address")


def install_cell(path: Path) -> str:
    """The first cell of code; what IPython's magic would be given is printed instead."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    source = "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])
    assert len(PIP.findall(source)) == 1
    return PIP.sub(r"\1print(source)", source)


def opened(folder: Path, before: str = "", *, bare: bool = True) -> subprocess.CompletedProcess[str]:
    """What the install cell does in `folder`; `bare`: by a Python that has no packages."""
    cell = before + install_cell(NOTEBOOKS[0])
    flags = ["-S"] if bare else []
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *flags, "-c", cell], cwd=folder, env=kept, capture_output=True, text=True, timeout=60
    )


def test_all_notebooks_install_alike() -> None:
    assert len(NOTEBOOKS) == 5
    assert len({install_cell(path) for path in NOTEBOOKS}) == 1


def test_in_a_clone_that_is_installed(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    (clone / "notebooks").mkdir(parents=True)
    (clone / "transferkit").mkdir()
    (clone / "transferkit" / "__init__.py").touch()
    assert opened(clone / "notebooks").stdout.strip() == str(clone)
    # Beside a clone, as `git clone` leaves it: never a name that pip would look up elsewhere.
    shutil.move(clone, tmp_path / "transferkit")
    assert opened(tmp_path).stdout.strip() == str(tmp_path / "transferkit")


def test_alone_with_a_wheel_the_newest_is_taken(tmp_path: Path) -> None:
    for age, name in enumerate(("transferkit-0.10-py3-none-any.whl", "transferkit-0.9-py3-none-any.whl")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert opened(tmp_path).stdout.strip() == str(tmp_path / "transferkit-0.10-py3-none-any.whl")


def test_with_nothing_there_it_says_so_at_once(tmp_path: Path) -> None:
    done = opened(tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("FileNotFoundError: transferkit is not installed, and no wheel of it")
    assert "INSTALL_FROM" in last
    assert done.stdout == ""


def test_what_is_installed_is_used(tmp_path: Path) -> None:
    done = opened(tmp_path, bare=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_alone_with_the_wheel_beside_it_installs_and_imports(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="needs: pip install setuptools")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    alone, target = tmp_path / "content", tmp_path / "packages"
    alone.mkdir()
    source = tmp_path / "source"  # building leaves things behind
    shutil.copytree(ROOT / "transferkit", source / "transferkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", alone, source]
    subprocess.run(build, check=True, timeout=300)
    wheel = opened(alone).stdout.strip()
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel], check=True)
    code = f"import sys; sys.path.insert(0, {str(target)!r}); import transferkit; print(transferkit.__file__)"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=alone, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(target))


def test_notebooks_and_pages_name_the_address_of_setup_cfg(address: ModuleType) -> None:
    url = address.address()
    for path, text in address.written(ROOT, url).items():
        assert path.read_text("utf-8") == text, f"run: python scripts/address.py ({path.name})"
        assert "OWNER" not in text
        assert "<this repository>" not in text
        assert url or address.BADGE not in text, "a badge that leads nowhere"


def test_an_address_reaches_every_file_and_leaves_again(address: ModuleType, tmp_path: Path) -> None:
    for path in address.written(ROOT, ""):
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    setup = tmp_path / "setup.cfg"
    setup.write_text(f"[metadata]\nurl = {URL}.git\n")
    before = address.written(tmp_path, "")
    assert address.main(tmp_path) == 0
    for path in before:
        text = path.read_text("utf-8")
        assert f"git+{URL}" in text, path.name
        if path.suffix == ".ipynb":
            assert f"github/someone/some.thing/blob/main/notebooks/{path.name})" in text
            assert f'INSTALL_FROM = \\"git+{URL}\\"  #' in text
    setup.write_text("[metadata]\n")
    address.main(tmp_path)
    assert {path: path.read_text("utf-8") for path in before} == before
    setup.write_text("[metadata]\nurl = https://example.org/x\n")
    with pytest.raises(SystemExit, match="OWNER/NAME"):
        address.main(tmp_path)
