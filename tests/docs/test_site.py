"""The documentation builds without a warning, loads nothing from elsewhere, and shows the pictures the script draws."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loading import script
from transferkit.heads import POOLINGS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the documentation needs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    # Not --quiet: what it does not say it does not count either, and --strict lets it pass.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    # No proxy answers: a download at build time would fail.
    dead = "http://127.0.0.1:9"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTP_PROXY": dead, "HTTPS_PROXY": dead}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_built_and_in_the_navigation(site):
    home, decisions = ((site / name).read_text("utf-8") for name in ("index.html", "decisions/index.html"))
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / name).is_file()
        one_of_many = name.startswith("decisions/2") and f'href="{page.stem}.html"' in decisions
        assert one_of_many or f'href="{name}"' in home, f"{name} is not in the navigation of mkdocs.yml"


def test_no_page_loads_anything_from_another_server(site):
    assert script("docs_check").main(site) == 0


def test_a_foreign_script_would_be_noticed():
    found = script("docs_check").foreign
    assert found('<script src="https://cdn.example/a.js"></script>') == ["https://cdn.example/a.js"]
    assert found('<a href="https://example.org">read</a><img src="figures/cut.png">') == []


def test_the_references_hold_every_command_and_every_public_name(site):
    import transferkit as tk
    from transferkit.cli import COMMANDS

    commands, names = ((site / "reference" / f"{p}.html").read_text("utf-8") for p in ("cli", "api"))
    for name in COMMANDS:
        assert f'id="transferkit-{name}"' in commands
    assert "--unfreeze POLICY" in commands
    assert 'id="transferkit-data-check"' in commands
    assert "Sentinel" not in commands  # click's mark for "no default"
    for name in (n for n in tk.__all__ if n != "__version__"):
        assert f".{name}" in names, name


def test_the_table_of_settings_has_each_once_with_its_meaning():
    from transferkit.config import Settings
    from transferkit.setting import declared
    from transferkit.tuning.search_settings import SearchSettings

    text = "".join(script("docs_hooks").settings())
    for name, setting in {**declared(Settings), **declared(SearchSettings)}.items():
        times = (name in Settings.model_fields) + (name in SearchSettings.model_fields)
        assert text.count(f">{name}</code>") == times, name
        assert html.escape(setting.effective) in text
    poolings = "<wbr>".join(f"{name}|" for name in POOLINGS).rstrip("|")
    assert f">pooling</code></td><td><code>{poolings}</code></td><td>avg</td>" in text
    assert "pooler is what SigLIP was trained with. <em>Searched, with new features.</em>" in text
    assert "at least 0, below 1" in text
    assert "<!-- settings -->" in (ROOT / "docs/reference/settings.md").read_text("utf-8")


def test_the_page_on_searching_names_what_can_be_searched():
    from transferkit.tuning.search_space import dimensions

    page = (ROOT / "docs/search.md").read_text("utf-8")
    kinds = {"numbers": "FLOATS", "whole numbers": "INTS", "on or off": "FLAGS"}
    rows = {row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in re.findall(r"^\| ([a-z ]+) \| (.+?) \|", page, re.M)}
    for kind, names in kinds.items():
        assert rows.pop(kind) == set(getattr(dimensions, names)), kind
    numbers = {*dimensions.FLOATS, *dimensions.INTS, *dimensions.FLAGS}
    assert rows["words"] == set(dimensions.SEARCHABLE) - numbers
    (outer,) = re.findall(r"^- (`backbone`.*?)need new features", page, re.M | re.S)
    assert re.findall(r"`(\w+)`", outer) == list(dimensions.OUTER)


def test_figures_are_those_that_the_script_draws_and_all_are_shown():
    drawn = set(script("docs_figures").DRAWN)
    assert {p.name for p in (ROOT / "docs/figures").iterdir()} == drawn
    text = "".join(p.read_text("utf-8") for p in (ROOT / "docs").rglob("*.md"))
    assert [name for name in drawn if f"figures/{name})" not in text] == []
    assert all(p.stat().st_size < 200_000 for p in (ROOT / "docs/figures").iterdir())


def test_figures_that_need_no_training_are_drawn_by_what_is_there(tmp_path, monkeypatch):
    module = script("docs_figures")
    monkeypatch.setattr(module, "FIGURES", tmp_path)
    for name in ("splits.png", "views.jpg", "ranges.jpg"):
        module.DRAWN[name]()
        assert (tmp_path / name).stat().st_size > 10_000
    monkeypatch.setattr(sys, "argv", ["docs_figures.py", "nonsense.png"])
    with pytest.raises(SystemExit, match=r"no figure nonsense\.png"):
        module.main()
