"""Which runs may go on: those whose settings are the ones asked for now."""

from __future__ import annotations

import pytest

from transferkit.config import make
from transferkit.errors import ConfigError
from transferkit.runs.resumption import check_settings
from transferkit.runs.run_record import RunRecord


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
