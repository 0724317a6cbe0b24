"""The example package and packages made up for a test, as an installer would leave them."""

from __future__ import annotations

import shutil
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugins"
OFFER = Callable[..., None]


def metadata(folder: Path, name: str, version: str, points: dict[str, dict[str, str]]) -> None:
    """What an installer writes of a package: its name, its version and its entry points."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in some.items()) for group, some in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package as an installer would leave it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE / "transferkit_example", folder / "transferkit_example")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    metadata(folder, project["name"], project["version"], project["entry-points"])
    return folder


@pytest.fixture
def example(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example package is installed, for this process and those it starts."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setenv("PYTHONPATH", str(installed))
    return installed


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OFFER:
    """`offer("heads", source, odd="mine:HEAD")` installs a module `mine_…` of that source with these entry points."""
    count = 0

    def install(kind: str, source: str, **points: str) -> None:
        nonlocal count
        count += 1
        module, folder = f"mine_{tmp_path.name}_{count}", tmp_path / f"site{count}"
        targets = {name: target.replace("mine:", f"{module}:") for name, target in points.items()}
        metadata(folder, f"package-{count}", "0.1", {f"transferkit.{kind}": targets})
        (folder / f"{module}.py").write_text("from transferkit.plugins import *\n" + textwrap.dedent(source))
        monkeypatch.syspath_prepend(folder)

    return install
