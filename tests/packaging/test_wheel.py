"""The wheel holds all that a run needs, installs elsewhere and works there; the sdist builds the same wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.extended

ROOT = Path(__file__).parents[2]
DATA = {
    "transferkit/py.typed",
    "transferkit/backbones/efficientnet_lite0.npz",
    "transferkit/backbones/efficientnet_lite0.json",
    "transferkit/backbones/mini.npz",
    "transferkit/backbones/mini.json",
    "transferkit/delivery/templates/report.html.j2",
    "transferkit/look.css",
    "transferkit/delivery/templates/card.md.j2",
    "transferkit/delivery/templates/page.css",
    "transferkit/delivery/templates/clean.html",
    "transferkit/delivery/templates/head.html",
    "transferkit/delivery/templates/serve.html",
}


def run(*command: Any, **options: Any) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def wheel_of(source: Path, to: Path) -> Path:
    """Build with pip, which fetches nothing but the build system."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", to, source)
    (wheel,) = to.glob("transferkit-*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """Every file in it but the record of hashes."""
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("/RECORD")}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own files without what builds leave behind, so that stale ones cannot get into the wheel."""
    folder = tmp_path_factory.mktemp("checkout") / "transferkit"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "notebooks/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout."""
    return wheel_of(checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel in it, which finds the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel)
    # Plain paths: a .pth file that makes this checkout importable is not read from there.
    here = [p for p in sys.path if p.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(here) + "\n")
    return python


@pytest.mark.slow
def test_the_wheel_holds_code_data_and_licence_and_nothing_else(wheel: Path) -> None:
    names = set(contents(wheel))
    assert names >= DATA
    assert {name.rpartition("/licenses/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"transferkit"}
    code = {p.relative_to(ROOT).as_posix() for p in (ROOT / "transferkit").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == code
    assert wheel.stat().st_size < 10_000_000


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("build", reason="needs: pip install build")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path / "sdist", checkout)
    (archive,) = (tmp_path / "sdist").glob("transferkit-*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {n.partition("/")[2] for n in opened.getnames()}
        opened.extractall(tmp_path / "unpacked", filter="data")
    assert names >= DATA
    assert not any(name.startswith(("tests/", "shared", "runs/")) for name in names)
    (source,) = (tmp_path / "unpacked").iterdir()
    assert contents(wheel_of(source, tmp_path / "again")) == contents(wheel)


@pytest.mark.slow
def test_the_demo_runs_where_only_the_wheel_is_installed(installed: Path, tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XDG_", "KERAS_", "MPL", "VIRTUAL_"))}
    environment = {**kept, "HOME": str(home), "TRANSFERKIT_CACHE": str(home / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    where = run(installed, "-c", "import transferkit; print(transferkit.__file__)", cwd=work, env=environment)
    assert Path(where.strip()).is_relative_to(installed.parents[1])
    command = installed.with_name("transferkit")
    shown = run(command, "demo", "--quiet", cwd=work, env=environment)
    assert re.match(r"Result     2\d\d of 269 test pictures right: 9\d", shown)
    folder = work / "transferkit-demo" / "run"
    said = json.loads((folder / "metrics.json").read_text())
    lines = (folder / "predictions.csv").read_text().splitlines()
    assert len(lines) == said["test"]["n"] + 1
    report = (folder / "report.html").read_text()
    assert "<html" in report
    assert "{{" not in report
    answer = run(command, "predict", folder, work / "transferkit-demo" / "digits" / "7", "--format", "csv", cwd=work,
                 env=environment)  # fmt: skip
    assert len(answer.splitlines()) > 100


@pytest.mark.slow
def test_type_hints_are_found_by_a_type_checker(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="needs: pip install mypy")
    script = tmp_path / "uses.py"
    script.write_text("import transferkit.plugins as p\nreveal_type(p.installed('heads'))\np.installed(3)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(installed), "--cache-dir", str(tmp_path / "cache"),
         str(script)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "tuple[transferkit.plugins.Plugin" in done.stdout
    assert 'incompatible type "int"; expected "str"' in done.stdout


@pytest.mark.slow
def test_the_example_package_installs_and_is_listed(installed: Path, tmp_path: Path) -> None:
    source = tmp_path / "example"
    shutil.copytree(ROOT / "examples" / "plugins", source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    run(sys.executable, "-m", "pip", "--python", installed, "install", "--quiet", "--no-deps", source)
    listed = run(installed.with_name("transferkit"), "plugins", "--check", "--json", cwd=tmp_path)
    states = {row["name"]: row["state"] for row in json.loads(listed)}
    assert states == dict.fromkeys(("edges", "cosine", "microscope", "worst_recall", "json_weights", "sqlite"), "ok")
