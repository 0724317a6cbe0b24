"""`cache`: what was unpacked of archives is counted, and goes with the rest."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.calls import call
from tests.data.readers import forms
from tests.data.readers.forms import Corpus
from transferkit.data.containers import kinds
from transferkit.data.source import scan


def test_unpacked_archives_are_counted_and_removed_and_made_again(tmp_path: Path) -> None:
    source, _ = forms.FORMS["tar.gz"](Corpus(), tmp_path)
    before = scan(source).hashed()
    assert json.loads(call("cache", "info", "--json").out)["archives"] > 100_000
    assert "unpacked archives" in call("cache", "info").out
    assert json.loads(call("cache", "clear", "--json").out)["archives"] == 0  # it is open
    kinds._open.clear()
    kinds._opened_before.clear()
    assert json.loads(call("cache", "clear", "--json").out)["archives"] == 1
    assert json.loads(call("cache", "info", "--json").out)["archives"] == 0
    assert scan(source).hashed().sha256 == before.sha256
