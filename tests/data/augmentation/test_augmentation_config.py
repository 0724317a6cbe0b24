"""Augmentation ranges of one's own, from text."""

import json

import pytest

from tests.cli.calls import call
from transferkit.config import make
from transferkit.data.augmentation.augmentation_config import PRESETS, AugmentationRanges, augmentation
from transferkit.errors import ConfigError


def test_ranges_are_read_from_text():
    found = augmentation("rotate=15, zoom=0.8:1.2,flip_horizontal=yes,flip-vertical=no,hue=0.1")
    assert found == AugmentationRanges(rotate=15, zoom=(0.8, 1.2), flip_horizontal=True, hue=0.1)
    assert augmentation("zoom=0.9").zoom == (0.9, 0.9)
    assert augmentation("light") is PRESETS["light"]


def test_ranges_that_say_the_same_have_the_same_key():
    assert augmentation("rotate=15,hue=0.1").key() == augmentation("hue=.10,rotate=15.0").key()
    assert augmentation("rotate=15").key() != augmentation("rotate=16").key()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rotate=400", "rotate 400.0 is out of range; allowed is 0 to 180"),
        ("turn=3", "no range 'turn'; there are"),
        ("rotate=much", "rotate=much is no number; write for example rotate=15"),
        ("rotate=1:2", "only zoom takes two numbers"),
        ("zoom=1.2:0.8", "is not a range"),
        ("flip_horizontal=1", "must be flip_horizontal=yes or flip_horizontal=no"),
        ("rotate=1,rotate=2", "rotate is given twice"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(text, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        augmentation(text)
    result = call("finetune", tmp_path, "--backbone", "mini", "--augment", text)
    assert result.code == 2
    assert words in result.err.replace("\n", " ")


def test_ranges_that_change_nothing_are_refused(tmp_path):
    result = call("finetune", tmp_path, "--backbone", "mini", "--augment", "rotate=0")
    assert result.code == 2
    assert "--augment rotate=0 changes nothing" in result.err.replace("\n", " ")


@pytest.mark.extended
def test_they_train(digits, tmp_path, unpublished):
    losses = []
    for text in ("rotate=40,zoom=0.6:1.3", "shift=0.05"):
        options = ("--views", 2, "--epochs", 2, "--head-width", 8, "--quiet", "--output", tmp_path / text[:5])
        assert call("finetune", digits, "--backbone", "mini", "--augment", text, *options).code == 0
        losses.append(json.loads((tmp_path / text[:5] / "metrics.json").read_text())["val"]["loss"])
        assert json.loads((tmp_path / text[:5] / "run.json").read_text())["config"]["augment"] == text
    assert losses[0] != losses[1]


def test_the_settings_take_them_as_they_are():
    assert make({"backbone": "mini", "augment": "rotate=15"}).augment == "rotate=15"
