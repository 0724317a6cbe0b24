"""No module is taken from the working directory or the data: in none of the processes that we start, nor in ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import EARLY, NAMES, plant, signs
from tests.marks import extended
from transferkit import importing

ROOT = Path(__file__).parents[1]


def run(words: list[str], cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")} | environment
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def before_any_module(tmp_path: Path) -> set[str]:
    """What Python imports for `-m` itself: in a hostile folder, from there, before any program could prevent it."""
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "probe.py").write_text("import sys; print(*sys.modules)")
    return set(run([sys.executable, "-m", "probe"], tmp_path / "probe").stdout.split())


@pytest.mark.parametrize("arguments", [["--help"], ["backbones", "list"], ["plugins"], ["data", "check", "."]])
def test_the_command_line_started_as_a_module(arguments: list[str], tmp_path: Path) -> None:
    early = before_any_module(tmp_path)
    sign = plant(tmp_path / "here", tuple(name for name in NAMES if name not in early))
    # A plugin that is only lying there is none.
    metadata = tmp_path / "here" / "evil-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[transferkit.heads]\nevilhead = queue:thing\n")
    spellings = ["-Bm transferkit", "-mtransferkit", "-X utf8 -m transferkit"] * (arguments == ["--help"])
    for words in map(str.split, ["-m transferkit", *spellings]):
        done = run([sys.executable, *words, *arguments], tmp_path / "here")
        assert signs(sign) == ""
        assert done.returncode == (2 if "." in arguments else 0), done.stderr
        assert "evilhead" not in done.stdout


@pytest.mark.parametrize("path", extended(["", ".", f".{os.pathsep}", os.pathsep, "../here/rose"], [".", os.pathsep]))
def test_a_pythonpath_with_an_empty_or_relative_entry(path: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "rose").symlink_to(tmp_path / "here")
    names = ["queue", "pickle", "numpy", "json", "typing", "click", "__future__", "tomllib"]
    if any(name.startswith("__editable__") for name in sys.modules):
        # What finds an editable install is run by the interpreter's start, before any program, and imports this one.
        names.remove("__future__")
    sign = plant(tmp_path / "here", names)
    script = Path(sys.executable).with_name("transferkit")
    for start in ([str(script)], [sys.executable, "-m", "transferkit"]):
        done = run([*start, "backbones", "list"], tmp_path / "here", PYTHONPATH=path)
        assert signs(sign) == ""
        assert done.returncode == 0, done.stderr


def test_what_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, installed, named = (tmp_path / name for name in ("data", "installed", "named"))
    for folder in (data, installed, named):
        folder.mkdir()
    (tmp_path / "link").symlink_to(data)
    monkeypatch.chdir(data)
    path = ["", ".", "rel", str(data), str(tmp_path / "link"), str(installed), str(named), str(ROOT)]
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}.")
    assert importing.trusted(path) == [str(installed), str(named), str(ROOT)]
    assert importing.trusted(path, [str(named)]) == [str(installed), str(ROOT)]
    # What somebody set by its whole name is meant.
    monkeypatch.setenv("PYTHONPATH", str(named))
    assert importing.trusted(path, [str(named)]) == [str(installed), str(named), str(ROOT)]


def test_a_library_leaves_its_users_path_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys; before = list(sys.path)\n")
    code = "import mine, sys, os, transferkit; assert sys.path == mine.before and 'PYTHONSAFEPATH' not in os.environ"
    assert run([sys.executable, "-c", code], tmp_path).stderr == ""


PREPARED = (
    "import os, sys\n"
    "here, data = sys.argv[1:3]\n"
    "from transferkit.tuning.executors import local\n"
    "from transferkit.delivery.exporting import parity\n"
    "from transferkit.console import Reporter\n"
    "import numpy as np\n"
    "os.environ['PYTHONPATH'] = '.' + os.pathsep\n"
    "path = list(sys.path)\n"
    "def tainted():\n"  # as a notebook, a script beside the pictures and `python -m` make it
    "    sys.path[:0] = ['', '.', here, data]\n"
    "def clean():\n"
    "    sys.path[:] = path\n"
)
WORKER = PREPARED + (
    "pool = local.Processes(None, 1, Reporter(quiet=True), [data])\n"
    "tainted(); worker = pool._start(); clean()\n"
    "found = worker.process.args[1]\n"
    "pool.close()\n"
    "print(found)\n"
)
PARITY = PREPARED + (
    "from pathlib import Path\n"
    "tainted()\n"
    "try:\n"
    "    parity.answers(sys.argv[3], Path(here) / 'none', np.zeros((1, 8, 8, 3), np.uint8), [], [data])\n"
    "except parity.ExportError as error:\n"
    "    print(error)\n"
)


def started(code: str, tmp_path: Path, *more: str) -> str:
    here, data = tmp_path / "here", tmp_path / "data"
    found = [plant(here), plant(data)]
    done = run([sys.executable, "-P", "-c", code, str(here), str(data), *more], here)
    assert done.returncode == 0, done.stderr
    assert "".join(map(signs, found)) == ""
    return done.stdout


def test_workers(tmp_path: Path) -> None:
    assert started(WORKER, tmp_path) == "-P\n"


@pytest.mark.parametrize(
    "kind",
    [
        "litert", "onnx", pytest.param("keras", marks=pytest.mark.extended),
        pytest.param("saved_model", marks=pytest.mark.extended), "queue:function",
    ],
)  # fmt: skip
def test_runtimes_of_exported_files(kind: str, tmp_path: Path) -> None:
    said = started(PARITY, tmp_path, kind)
    assert f"the {kind} file cannot be run" in said
    assert ("none" if ":" not in kind else "no attribute 'function'") in said, "it came as far as the file"


def test_what_is_planted_would_be_run(tmp_path: Path) -> None:
    sign = plant(tmp_path / "here", tuple(name for name in NAMES if name not in EARLY))
    run([sys.executable, "-c", "import queue"], tmp_path / "here")
    assert "queue in" in signs(sign)


FIGURE = (
    "from transferkit.evaluation import plot_style\n"
    "import hashlib\n"
    "with plot_style.style(False):\n"
    "    figure = plot_style.blank(3, 2)\n"
    "    figure.subplots().plot([1, 3, 2])\n"
    "print(hashlib.sha256(plot_style.encode(figure)).hexdigest())\n"
)


def test_figures_do_not_depend_on_a_matplotlibrc_in_the_working_directory(tmp_path: Path) -> None:
    found = set()
    settings = (
        "axes.prop_cycle: cycler('color', ['red'])\nlines.linestyle: --\nsavefig.dpi: 30\nbackend: module://queue\n"
    )
    for text in ("", settings):
        folder = tmp_path / str(len(text))
        sign = plant(folder, ("queue",))
        (folder / "matplotlibrc").write_text(text)
        done = run([sys.executable, "-P", "-c", FIGURE], folder)
        assert done.returncode == 0, done.stderr
        assert signs(sign) == ""
        found.add(done.stdout)
    assert len(found) == 1
    (folder / "matplotlibrc").write_bytes(b"\xff\xfe")
    done = run([sys.executable, "-P", "-c", FIGURE], folder)
    assert "ConfigError: matplotlib cannot be imported" in done.stderr


SEARCH = (
    "tune {data} --backbone mini --trials 2 --algorithm random --search dropout=0:0.5 --epochs 2 --patience 1 "
    "--augment none --finalists 1 --seeds 1 --offline --no-cache --output {output}"
)


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.parametrize("engine", ["--workers 2", pytest.param("--engine ray", marks=pytest.mark.ray)])
def test_a_whole_search(engine: str, tmp_path: Path, digits: Path) -> None:
    """Started in a folder that is also the data: pictures and modules side by side."""
    data = tmp_path / "data"
    for name in "012":
        (data / name).mkdir(parents=True)
        for picture in sorted((digits / name).iterdir())[:12]:
            (data / name / picture.name).write_bytes(picture.read_bytes())
    early = before_any_module(tmp_path)
    signs_of = [plant(data, tuple(name for name in NAMES if name not in early))]
    signs_of.append(plant(data / "0", tuple(name for name in NAMES if name not in early)))
    words = SEARCH.format(data=".", output=tmp_path / "run").split() + engine.split()
    done = run([sys.executable, "-m", "transferkit", *words], data)
    assert "".join(map(signs, signs_of)) == ""
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "metrics.json").exists()
