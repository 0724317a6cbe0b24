"""How large the stores of the cache may grow: as the variable says, or half of the disk."""

import shutil

import pytest

from transferkit import cache_quota
from transferkit.errors import ConfigError


@pytest.mark.parametrize(("text", "size"), [("20GB", 20e9), ("1.5 tb", 1.5e12), ("700", 700), ("3M", 3e6)])
def test_the_limit_is_what_the_variable_says(monkeypatch, tmp_path, text, size):
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", text)
    assert cache_quota.limit(tmp_path) == size


@pytest.mark.parametrize("text", ["much", "-3GB", "20 apples", "GB"])
def test_a_size_that_is_none_is_refused(monkeypatch, tmp_path, text):
    monkeypatch.setenv("TRANSFERKIT_CACHE_SIZE", text)
    with pytest.raises(ConfigError, match=r"TRANSFERKIT_CACHE_SIZE=.*20GB"):
        cache_quota.limit(tmp_path)


def test_without_the_variable_half_of_the_disk_is_the_limit(monkeypatch, tmp_path):
    monkeypatch.delenv("TRANSFERKIT_CACHE_SIZE", raising=False)
    absent = tmp_path / "not" / "yet"
    assert cache_quota.limit(absent) == shutil.disk_usage(tmp_path).total // 2
    assert not absent.exists()
