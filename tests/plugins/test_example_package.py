"""Plugins of other packages: the example package works from end to end, and its names are known everywhere."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.readers.forms import Corpus
from tests.fresh import Fresh
from tests.plugins.conftest import EXAMPLE, OFFER, ROOT
from transferkit import plugins
from transferkit.config import make
from transferkit.data.containers.plugged_pictures import BUILTIN
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.data.readers.registry import READERS
from transferkit.data.source import scan
from transferkit.delivery.exporting.formats import lookup
from transferkit.errors import BackboneError, ConfigError, DataError

# ---------------------------------------------------------------------------------------------- the example package


@pytest.fixture(scope="module")
def run(installed: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tk.Run:
    """A run with a plugin of every kind that a run can have. Read only."""
    folder = tmp_path_factory.mktemp("plugged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(folder / "cache"))
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        patch.syspath_prepend(installed)
        return tk.finetune(
            digits, "edges", head="cosine", augment="microscope", metric="worst_recall", image_size=32, views=1,
            epochs=4, patience=3, unfreeze="from:stage3", output=folder / "run", quiet=True,
        )  # fmt: skip


@pytest.mark.extended
def test_a_run_says_which_plugins_made_it(run: tk.Run) -> None:
    named = {p["kind"]: (p["name"], p["package"], p["version"]) for p in run.manifest["plugins"]}
    package = ("transferkit-example-plugins", "1.0")
    assert named == {
        "backbones": ("edges", *package), "heads": ("cosine", *package), "augmentations": ("microscope", *package),
        "metrics": ("worst_recall", *package),
    }  # fmt: skip
    assert run.manifest["versions"]["transferkit-example-plugins"] == "1.0"


def test_a_plugins_metric_is_the_goal_and_among_the_scores(run: tk.Run) -> None:
    metrics = run.metrics
    assert metrics["goal"] == "worst_recall"
    lowest = min(row["recall"] for row in metrics["val"]["per_class"])
    assert metrics["val"]["worst_recall"] == pytest.approx(lowest)
    assert 0 <= metrics["test"]["worst_recall"] <= 1
    assert any("val_worst_recall" in row for row in run.history)
    assert "worst recall" in call("summary", run.folder).out


@pytest.mark.extended
def test_the_saved_model_loads_without_the_plugin(run: tk.Run, fresh: Fresh) -> None:
    """In a process that sees neither the plugin nor transferkit."""
    code = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "print(model.predict(np.zeros((1, 32, 32, 3), np.uint8), verbose=0).sum())\n"
        "assert not {'transferkit', 'transferkit_example'} & set(sys.modules)\n"
    )
    done = fresh(code, run.folder / "model.keras", cwd=run.folder)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(1, abs=1e-5)


def test_a_plugins_run_is_judged_again_to_the_same_scores(run: tk.Run, example: Path) -> None:
    assert run.evaluate()["worst_recall"] == pytest.approx(run.metrics["test"]["worst_recall"], abs=1e-6)


@pytest.mark.extended
def test_a_plugins_export_is_proved_and_its_example_runs(
    run: tk.Run, example: Path, fresh: Fresh, tmp_path: Path
) -> None:
    made = run.export("json_weights", output=tmp_path / "export")
    assert made.figures["passed"]
    assert made.figures["largest_difference"] <= 1e-4
    assert made.figures["runtime"].startswith("keras ")
    facts = json.loads((made.folder / "export.json").read_text())
    assert (facts["file"], facts["plugin"]["name"]) == ("model", "json_weights")
    picture = next(Path(run.manifest["data"]["path"]).rglob("*.png"))
    program = "import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    done = fresh(program, made.folder / "example.py", picture, cwd=made.folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == run.predict(picture)[0].label


def test_the_command_lists_and_checks_them(example: Path) -> None:
    result = call("plugins", "--check", "--json")
    assert result.code == 0
    rows = [row for row in json.loads(result.out) if row["package"] == "transferkit-example-plugins"]
    assert sorted((row["kind"], row["name"]) for row in rows) == [
        ("augmentations", "microscope"), ("backbones", "edges"), ("exporters", "json_weights"), ("heads", "cosine"),
        ("metrics", "worst_recall"), ("readers", "sqlite"),
    ]  # fmt: skip
    assert {row["state"] for row in rows} == {"ok"}
    assert "edges" in call("backbones", "list").out
    assert "stage3" in call("backbones", "show", "edges").out


def sqlite(path: Path, rows: list[tuple[str, str, str, bytes]]) -> Path:
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE pictures (name TEXT, label TEXT, split TEXT, content BLOB)")
        base.executemany("INSERT INTO pictures VALUES (?, ?, ?, ?)", rows)
        base.commit()
    return path


def test_a_reader_gives_rows_and_bytes(example: Path, tmp_path: Path) -> None:
    corpus = Corpus()
    rows = [(f"{name}.png", label, "train", content) for name, label, content in corpus]
    found = scan(sqlite(tmp_path / "flowers.db", rows)).hashed()
    assert (found.classes, found.split[0]) == (("daisy", "rose", "tulip"), "train")
    assert found.reader["name"] == "sqlite"
    assert found.sha256 == tuple(hashlib.sha256(content).hexdigest() for _, _, content in corpus)
    assert np.array_equal(decode(found.pinned(3), DecodeSettings(32)), corpus.pixels[3])


def test_a_readers_rows_are_held_to_the_rules_and_its_errors_name_it(
    example: Path, offer: OFFER, tmp_path: Path
) -> None:
    rows = [("a", "rose", "train", b"x"), ("a", "tulip", "train", b"x"), ("b", "rose", "hidden", b"x")]
    with pytest.raises(DataError) as caught:
        scan(sqlite(tmp_path / "flowers.db", rows))
    assert "picture a: a is also in picture a" in str(caught.value)
    assert "picture b: 'hidden'" in str(caught.value)
    source = """
        def fail(path): raise KeyError("no such thing")
        X = Reader(lambda path: path.suffix == ".odd", fail, "odd files")
        Y = Reader(lambda path: path.suffix == ".odd", fail, "the same files")
    """
    offer("readers", source, odd="mine:X")
    (tmp_path / "a.odd").write_bytes(b"odd")
    with pytest.raises(ConfigError, match=r"readers? plugin 'odd' .*cannot read .*KeyError"):
        scan(tmp_path / "a.odd")
    offer("readers", source, odder="mine:Y")
    with pytest.raises(DataError, match=r"--reader odd .*--reader odder"):
        scan(tmp_path / "a.odd")


def test_the_names_of_our_readers_are_kept_from_plugins() -> None:
    assert tuple(reader.name for reader in READERS) == BUILTIN


def test_the_docs_show_the_files_as_they_are() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text()
    shown = re.findall(r"In `(\w+\.py)`:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert {name for name, _ in shown} == {
        "backbone.py", "head.py", "augmentation.py", "metric.py", "exporter.py", "runtime.py", "reader.py",
    }  # fmt: skip
    for name, code in shown:
        assert code in (EXAMPLE / "transferkit_example" / name).read_text(), f"docs/plugins.md, {name}"
    points = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert points[0].strip() in (EXAMPLE / "pyproject.toml").read_text()


# ------------------------------------------------------------------------------------------------------- names


def test_unknown_names_are_answered_with_those_of_plugins(example: Path) -> None:
    wrong = {"backbone": "mini", "head": "cosin", "augment": "microscop"}
    with pytest.raises(ConfigError) as error:
        make(wrong)
    assert "--head cosin: must be 'auto', 'mlp', 'linear' or 'cosine'; nearest: 'cosine'" in str(error.value)
    assert "or 'microscope'; nearest: 'microscope'" in str(error.value)
    with pytest.raises(BackboneError, match="unknown backbone 'edge'; nearest: 'edges'"):
        tk.backbone("edge")
    assert "nearest: 'worst_recall'" in call("finetune", example, "--backbone", "mini", "--metric", "worst_recal").err
    with pytest.raises(ConfigError, match=r"'json_weight' is unknown.*nearest: 'json_weights'"):
        lookup("json_weight", None)


def test_without_the_package_its_names_are_unknown() -> None:
    with pytest.raises(ConfigError, match="--head cosine: must be 'auto', 'mlp' or 'linear'"):
        make({"backbone": "mini", "head": "cosine"})


def test_settings_that_a_plugins_head_does_not_use_are_refused(example: Path) -> None:
    with pytest.raises(ConfigError, match=r"--head-width 64 has no effect with --head cosine: head plugin 'cosine'"):
        make({"backbone": "mini", "head": "cosine", "head_width": 64})
    assert make({"backbone": "mini", "head": "cosine", "dropout": 0.5}).head == "cosine"


def test_a_metric_for_another_task_is_refused(example: Path) -> None:
    from transferkit.evaluation.metric_registry import goal

    assert goal("worst_recall", "classify").direction == "max"
    with pytest.raises(ConfigError, match="'worst_recall' is for classify, not for regress"):
        goal("worst_recall", "regress")


def test_two_packages_with_one_name_are_both_named(example: Path, offer: OFFER) -> None:
    offer("heads", "HEAD = Head(lambda x, n, s: x)", cosine="mine:HEAD")
    with pytest.raises(ConfigError, match=r"offered by package-1 0.1 and transferkit-example-plugins 1.0"):
        make({"backbone": "mini", "head": "cosine"})


def test_a_plugin_cannot_take_the_place_of_ours(offer: OFFER) -> None:
    offer("metrics", "METRIC = Metric(lambda *_: 1.0, 'max', ('classify',))", accuracy="mine:METRIC")
    from transferkit.evaluation.metrics import score

    assert score("classify", [0, 1], [[1, 0], [1, 0]], ["a", "b"])["accuracy"] == 0.5
    listed = call("plugins")
    assert "hidden by ours of that name" in listed.out


def test_help_reads_no_entry_points_and_imports_no_plugin(example: Path) -> None:
    code = (
        "import sys\nfrom importlib import metadata\n"
        "def refuse(group=None, **_):\n"
        "    assert group == 'pydantic', 'read'\n"  # which looks for plugins of its own
        "    return ()\n"
        "metadata.entry_points = refuse\n"
        "from transferkit.cli import cli\nfrom transferkit.cli._boundary import guarded\n"
        "assert guarded(cli, sys.argv[1:]) == 0\n"
        "assert not {'keras', 'tensorflow', 'transferkit_example'} & set(sys.modules)\n"
    )
    for words in (["--help"], ["finetune", "--help"], ["export", "--help"], ["plugins", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_argument_errors_beside_plugins_import_no_keras(example: Path, digits: Path) -> None:
    code = (
        "import sys\nfrom transferkit.cli import cli\nfrom transferkit.cli._boundary import guarded\n"
        "assert guarded(cli, sys.argv[1:]) == 2\n"
        "assert 'transferkit_example' in sys.modules\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    words = ["--backbone", "edges", "--unfreeze", "from:stage9", "--head", "cosine", "--head-width", "9"]
    done = subprocess.run(
        [sys.executable, "-c", code, "finetune", digits, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--head-width 9 has no effect with --head cosine" in done.stderr
    assert "'edges' has no stage 'stage9'" in done.stderr
    assert "its stages are stage1, stage2, stage3" in done.stderr


def test_a_good_head_repeats_with_its_seed(example: Path) -> None:
    import keras

    base = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    first, second, other = (tk.build_head(base, classes=3, kind="cosine", seed=seed) for seed in (1, 1, 2))
    kernels = [np.concatenate([np.ravel(w) for w in head.get_weights()]) for head in (first, second, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_views_of_a_plugin_repeat_and_another_version_is_another_key(example: Path) -> None:
    import dataclasses

    from transferkit.data.augmentation.augment import augmentation, render
    from transferkit.data.images.decode import DecodeSettings

    chosen, picture = augmentation("microscope"), np.full((40, 40, 3), 128, np.uint8)
    first, second = (render(picture, DecodeSettings(16), chosen, [0, 5, 6]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first[0] == 128).all()  # the clean view stays clean
    assert first[1].std() > 3  # the noise is there
    assert not np.array_equal(first[1], first[2])
    newer = dataclasses.replace(chosen, plugin=dataclasses.replace(chosen.plugin, version="2.0"))
    assert chosen.key() != newer.key()
    assert json.loads(json.dumps(chosen.key()))["then"] == ["microscope", "transferkit-example-plugins", "1.0"]


def test_another_version_of_a_plugin_is_told_on_resume(example: Path) -> None:
    from transferkit.runs.manifest import used, versions

    settings: Any = make({"backbone": "edges", "head": "cosine"})
    assert [p.kind for p in used(settings)] == ["backbones", "heads"]
    assert versions(settings)["transferkit-example-plugins"] == "1.0"
    assert "transferkit-example-plugins" not in versions(make({"backbone": "mini"}))
    assert plugins.used({"heads": ("mlp", ("mlp",))}) == []
