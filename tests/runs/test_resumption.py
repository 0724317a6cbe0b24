"""Which runs may go on: those whose settings and callbacks are the ones asked for now; what else differs is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from transferkit.config import make
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import Manifest
from transferkit.runs.resumption import begun, check_settings
from transferkit.runs.run_record import RunRecord
from transferkit.training.fit import Callback


def test_a_setting_that_is_newer_than_the_run_is_taken_as_its_default() -> None:
    settings = make({"backbone": "mini"})
    saved = settings.model_dump(mode="json")
    del saved["adapt"]
    record = RunRecord.read({"status": "interrupted", "command": "", "data": {"path": None}, "config": saved})
    check_settings(record, settings)
    with pytest.raises(ConfigError, match=r"- adapt: all then, lora now"):
        check_settings(record, make({"backbone": "mini", "unfreeze": "last:1", "adapt": "lora"}))
    with pytest.raises(ConfigError, match=r"- seed: 0 then, 1 now"):
        check_settings(record, make({"backbone": "mini", "seed": 1}))


class Forgetful(Callback):
    """Keeps nothing from epoch to epoch."""


class Told(Reporter):
    """Keeps what is said."""

    def say(self, text: str) -> None:
        self.said = text


def test_who_goes_on_is_told_of_other_versions_and_of_callbacks_that_begin_again(tmp_path: Path) -> None:
    settings, layout, reporter = make({"backbone": "mini"}), Layout(tmp_path), Told(quiet=True)
    manifest = Manifest.start(layout, None, settings, "")
    manifest.record.callbacks = ["Forgetful"]
    manifest.record.versions = manifest.record.versions | {"numpy": "0.1"}
    manifest.write()

    assert begun(layout, settings, [Forgetful()], reporter).callbacks == ["Forgetful"]
    (warning,) = reporter.warnings
    assert "other versions (numpy 0.1 → " in warning
    assert reporter.said == "callbacks without a state begin again: Forgetful"
    with pytest.raises(ConfigError, match="was begun with the callbacks Forgetful, and now there are no callbacks"):
        begun(layout, settings, [], reporter)
    with pytest.raises(ConfigError, match=r"- seed: 0 then, 1 now"):
        begun(layout, make({"backbone": "mini", "seed": 1}), [Forgetful()], reporter)
