"""What merely saves time is taken only as it was written."""

import pytest

from transferkit import files, seals


def test_what_merely_saves_time_later_need_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    seals.remember(tmp_path / "file" / "x.json", {})
    seals.remember(tmp_path / "new" / "x.json", {"a": 1})
    assert seals.recalled(tmp_path / "new" / "x.json") == {"a": 1}


def test_what_is_recalled_is_what_was_remembered(tmp_path):
    path, content = tmp_path / "x.json", {"a": [0.1, -0.0, 1e300, None], "b\udcff": {"2": 1, "10": "\U0001f600"}}
    seals.remember(path, content)
    assert seals.recalled(path) == content
    text = path.read_text()
    for changed in (text.replace("0.1", "0.2"), text.replace('"a"', '"c"'), "[]", "{", ""):
        path.write_text(changed)
        with pytest.raises(ValueError, match=r"x\.json is not as|delimiter|Expecting"):
            seals.recalled(path)
    files.write_json(path, content)  # by an earlier version
    assert seals.recalled(path) == content
