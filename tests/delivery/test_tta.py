"""Flips and crops are used only where validation shows that they help, and what was found is kept with the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import photo
from tests.runs.sealing import reseal
from transferkit.console import Reporter
from transferkit.data.images.decode import DecodeSettings, decode
from transferkit.delivery import tta
from transferkit.delivery.tta_views import BOTH, CROPPED, MIRRORED, PLAIN, looked
from transferkit.errors import ConfigError, DataError
from transferkit.seals import sealed


@pytest.fixture
def run(digits_run: Any, tmp_path: Path) -> Any:
    """A copy of the run, to be written into."""
    return tk.Run(shutil.copytree(digits_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("exports")))


def found(run: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.folder / "tta.json").read_text())
    return content


def test_the_plain_look_is_what_the_decoder_gives(tmp_path: Path) -> None:
    photo(3, 210, 170).save(tmp_path / "p.jpg", quality=95)
    for resize in ("stretch", "crop", "letterbox"):
        settings = DecodeSettings(64, resize)  # type: ignore[arg-type]
        plain, mirrored, cropped, both = looked(tmp_path / "p.jpg", settings, (PLAIN, MIRRORED, CROPPED, BOTH))
        assert np.array_equal(plain, decode(tmp_path / "p.jpg", settings))
        assert np.array_equal(mirrored, plain[:, ::-1])
        assert np.array_equal(both, cropped[:, ::-1])
        assert not np.array_equal(cropped, plain)


def sharpened(monkeypatch: pytest.MonkeyPatch, better: tuple[Any, ...], count: int = 0) -> None:
    """Answers in which the looks `better` are right, and all others half sure of it."""

    def answers(layout: Any, facts: Any, samples: Any, reporter: Any) -> np.ndarray:
        rng, hot = np.random.default_rng(0), np.eye(len(facts.classes))[samples.targets]
        noise = rng.uniform(0.2, 0.4, (len(samples), 1))
        return np.stack([hot * 0.5 + 0.5 * (hot * noise if look in better else 1 / hot.shape[1]) for look in tta.EVERY])

    monkeypatch.setattr(tta, "_answers", answers)


def test_what_helps_is_used_and_remembered(run: Any, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sharpened(monkeypatch, (MIRRORED,))
    plain = run.predict(digits / "3")
    done = call("predict", run.folder, digits / "3", "--tta", "--json")
    assert done.code == 0, done.err
    assert found(run)["chosen"] == "mirror"
    mirrored = run.predict(
        [np.asarray(decode(p, DecodeSettings(32)))[:, ::-1] for p in sorted((digits / "3").iterdir())]
    )
    rows = [json.loads(line) for line in done.out.splitlines()]
    for row, a, b in zip(rows, plain, mirrored, strict=True):
        for name, value in row["scores"].items():
            assert value == pytest.approx((dict(a.scores)[name] + dict(b.scores)[name]) / 2, abs=1e-5)
    # The finding travels with the run: the data is not needed again.
    monkeypatch.setattr(tta, "_found", None)
    said = call("predict", run.folder, digits / "3", "--tta")
    assert "mirror is used: log loss" in said.err
    assert run.predict(digits / "3", tta=True) == tk.predict(run, digits / "3", tta=True, quiet=True)


def test_what_does_not_help_is_said_and_plain_prediction_used(run: Any, digits: Path) -> None:
    """Digits are not to be mirrored: found on the run's real validation pictures."""
    said = call("predict", run.folder, digits / "3", "--tta", "--format", "csv")
    assert said.code == 0, said.err
    content = found(run)
    assert content["n"] == run.manifest["data"]["parts"]["val"]
    by_name = {row["name"]: row for row in content["candidates"]}
    assert by_name["mirror"]["loss"] > content["plain"]
    if content["chosen"] is None:
        assert "plain prediction is used" in said.err
        assert said.out == call("predict", run.folder, digits / "3", "--format", "csv", "--quiet").out
    assert content["chosen"] != "mirror"


def test_no_difference_and_too_few_pictures_change_nothing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sharpened(monkeypatch, tta.EVERY)
    assert tta.choose(run.folder, Reporter(quiet=True)).looks == (PLAIN,)
    (run.folder / "tta.json").unlink()
    sharpened(monkeypatch, (MIRRORED,))
    monkeypatch.setattr(tta, "FEWEST", 31)
    few = tta.choose(run.folder, Reporter(quiet=True))
    assert few.looks == (PLAIN,)
    assert "too few" in str(few)


@pytest.mark.parametrize("content", ["{", "[]", '{"chosen": "mirror"}', "other model", "one digit"])
def test_a_note_that_is_not_of_this_model_is_not_used(content: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sharpened(monkeypatch, (MIRRORED,))
    first = tta.choose(run.folder, Reporter(quiet=True)).model_dump(mode="json")
    texts = {"other model": sealed({**first, "model_sha256": "0" * 64}), "one digit": {**sealed(first), "plain": 0.125}}
    text = json.dumps(texts[content]) if content in texts else content
    (run.folder / "tta.json").write_text(text)
    sharpened(monkeypatch, tta.EVERY)
    assert tta.choose(run.folder, Reporter(quiet=True)).chosen is None


def test_without_validation_pictures_there_is_a_clear_error_before_keras_is_started(
    run: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transferkit.compute.start", lambda **_: pytest.fail("Keras was started"))
    with pytest.raises(ConfigError, match="needs the run directory"):
        tk.predict(run.folder / "model.keras", digits / "1", tta=True, quiet=True)
    content = json.loads((run.folder / "run.json").read_text())
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"config": content["config"] | {"refit": "train+val"}}, ConfigError, "has learnt from its validation"),
        ({"learnt_from": "train+val"}, ConfigError, "train with --refit train"),  # as a chosen classifier by default
        ({"data": content["data"] | {"path": str(tmp_path / "gone")}}, DataError, "no longer there; put it back"),
        ({"data": content["data"] | {"path": None}}, DataError, "were arrays"),
    ]
    moved = shutil.copytree(digits, tmp_path / "moved")
    for name in "0123456789":
        for picture in (moved / name).iterdir():
            picture.write_bytes(picture.read_bytes() + b"\0")
    cases.append(({"data": content["data"] | {"path": str(moved)}}, DataError, "30 of the 30 are missing or changed"))
    for change, kind, words in cases:
        (run.folder / "run.json").write_text(json.dumps(content | change))
        reseal(run.folder)
        with pytest.raises(kind, match=words):
            run.predict(digits / "1", tta=True)
    assert not (run.folder / "tta.json").exists()
