"""Names and readers of the run directory, the manifest, the model file, answers, intake."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import folder_of_classes
from transferkit.config import make
from transferkit.console import Reporter
from transferkit.csv_files import write_csv
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.source import scan
from transferkit.errors import DataError, RunError
from transferkit.runs import manifest, model_file
from transferkit.runs.intake import readable
from transferkit.runs.layout import Layout
from transferkit.runs.results import decide, write_history

# ------------------------------------------------------------------------------------------------- layout


def test_history_is_read_with_its_types(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_history(layout.history, [{"phase": "head", "epoch": 1, "loss": 0.5}, {"phase": "tail", "epoch": 1, "x": -2}])
    assert layout.read_history() == [
        {"phase": "head", "epoch": 1, "loss": 0.5, "x": None},
        {"phase": "tail", "epoch": 1, "loss": None, "x": -2},
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", "[1]", '"x"'])
def test_a_damaged_manifest_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        Layout(tmp_path).read_manifest().as_json()


# ----------------------------------------------------------------------------------------------- manifest


def test_the_command_reads_back_as_the_same_settings() -> None:
    from transferkit.cli.finetune import finetune

    values = {
        "backbone": "vgg16", "head_width": (64, 32), "split": (0.123456789, 0.376543211, 0.5), "learning_rate": 1e-5,
        "exclude": ("a b", "c'd"), "ema": False, "normalize": True, "budget": "10m", "seed": 0, "l2": 1e-4,
    }  # fmt: skip
    settings = make(values)
    words = shlex.split(manifest.command_line("my data", settings, "out put"))
    assert words[:3] == ["transferkit", "finetune", "my data"]
    context = finetune.make_context("finetune", words[2:])
    given = {k: v for k, v in context.params.items() if k in type(settings).model_fields and v not in (None, ())}
    assert make(given) == settings
    assert str(context.params["output"]) == "out put"
    for cache in (None, True, False):
        words = shlex.split(manifest.command_line("my data", settings, "out put", cache))
        assert finetune.make_context("finetune", words[2:]).params["cache"] is cache
        call = manifest.command_line(None, settings, "out", cache)
        assert (f"cache={cache}" in call) == (cache is not None)


def test_advice_has_no_output() -> None:
    assert manifest.repeatable("x", make({"backbone": "mini"})) == "transferkit finetune x --backbone mini"
    assert manifest.repeatable(None, make({"backbone": "mini"})).startswith("transferkit finetune DATA")


def test_digests_follow_content_not_place(tmp_path: Path) -> None:
    folder_of_classes(tmp_path / "a", {"x": 3, "y": 3})
    folder_of_classes(tmp_path / "b", {"x": 3, "y": 3})
    first, second = (manifest.data_digest(scan(tmp_path / name).hashed()) for name in "ab")
    assert first == second
    (tmp_path / "b" / "x" / "0.png").rename(tmp_path / "b" / "y" / "9.png")
    assert manifest.data_digest(scan(tmp_path / "b").hashed()) != first


# --------------------------------------------------------------------------------------------- model file


def test_facts_need_no_keras_and_damage_is_named(tmp_path: Path) -> None:
    said = {"task": "classify", "classes": ["ä"], "decode": DecodeSettings(32).key(), "thresholds": None}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr(model_file.MEMBER, json.dumps(said))
    assert model_file.facts(tmp_path / "m.keras").as_json() == said
    with pytest.raises(RunError, match="does not exist"):
        model_file.facts(tmp_path / "absent.keras")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "m.keras").read_bytes()[:40])
    with pytest.raises(RunError, match="damaged"):
        model_file.facts(tmp_path / "cut.keras")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(RunError, match="was not written by transferkit"):
        model_file.facts(tmp_path / "other.keras")
    with pytest.raises(RunError, match="cannot be loaded"):
        model_file.load(tmp_path / "other.keras")


# ------------------------------------------------------------------------------------------------ answers


def test_decisions() -> None:
    assert decide("classify", np.array([0.2, 0.8]), ["a", "b"], None) == ("b", "0.8")
    assert decide("regress", np.array([1.5, 2.0]), ["w", "h"], None) == ("1.5;2", "")
    row = np.array([0.4, 0.9, 0.05])
    assert decide("multilabel", row, ["a", "b", "c"], [0.3, 0.5, 0.5]) == ("a;b", "0.4")
    assert decide("multilabel", np.array([0.1]), ["a"], None) == ("", "0.9")


# ------------------------------------------------------------------------------------------------- intake


def test_unreadable_pictures_are_refused_or_set_aside(tmp_path: Path) -> None:
    data = folder_of_classes(tmp_path / "data", {"x": 3, "y": 3})
    sound = scan(data)
    assert readable(sound, "error", Reporter(quiet=True)) == (sound, [])
    for number in range(12):
        (data / "x" / f"bad{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        readable(scan(data), "error", Reporter(quiet=True))
    text = str(caught.value)
    assert "12 of 18 pictures cannot be read" in text
    assert text.count("x/bad") == 10
    assert "and 2 more" in text
    reporter = Reporter(quiet=True)
    kept, skipped = readable(scan(data), "skip", reporter)
    assert kept.paths == sound.paths
    assert len(skipped) == 12
    assert all(entry.path.startswith("x/bad") and entry.reason for entry in skipped)
    assert "12 of 18" in reporter.warnings[0]


def test_nothing_but_unreadable_pictures(tmp_path: Path) -> None:
    for name in "xy":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of the 2 pictures can be read"):
        readable(scan(tmp_path), "skip", Reporter(quiet=True))


def test_csv_of_a_run_has_one_row_a_line(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["a", "b"], [(1, None), ("x", 0.5)])
    assert (tmp_path / "a.csv").read_text() == "a,b\n1,\nx,0.5\n"
