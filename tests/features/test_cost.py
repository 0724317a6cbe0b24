import os

import numpy as np
import pytest

from transferkit.backbones import freeze
from transferkit.config import make
from transferkit.console import Reporter
from transferkit.features import cost, frozen
from transferkit.features.cost import ExtractionCost
from transferkit.features.frozen import Frozen
from transferkit.features.row_sources import Stored, Streamed

DEAR, CHEAP = (1e3, 1e3), (1e12, 1e12)  # bytes a second of the disk


@pytest.fixture
def weighed(monkeypatch):
    """Rows of any size count as large."""
    monkeypatch.setattr(frozen, "LARGE", 1)


class Listener(Reporter):
    def __init__(self):
        super().__init__(quiet=True)
        self.said = []

    def say(self, text):
        self.said.append(text)


def source_of(backbone, views, samples, cache, disk, monkeypatch, policy="from:block4"):
    monkeypatch.setattr(cost, "disk", lambda folder: disk)
    listener = Listener()
    below = Frozen(backbone, make({"backbone": "mini", "epochs": 5}), views, cache, listener)
    _, rows = below.at(freeze.first_trainable(backbone.model, backbone.row, policy))
    wanted = {i: range(3) for i in range(len(samples))}
    below.prepare([rows, below.pooled()], samples, wanted)
    return below.source(rows, samples, wanted), [text for text in listener.said if "activations" in text]


def test_a_slow_disk_means_computing_again_and_a_fast_one_storing_and_both_are_said(
    mini, samples, views, weighed, monkeypatch
):
    source, said = source_of(mini, views, samples, None, DEAR, monkeypatch)
    assert isinstance(source, Streamed)
    assert "over 5 epochs" in said[0]
    assert said[0].endswith("not storing them (--cache would)")
    monkeypatch.setenv("TRANSFERKIT_CACHE", os.environ["TRANSFERKIT_CACHE"] + "-other")
    source, said = source_of(mini, views, samples, None, CHEAP, monkeypatch)
    assert isinstance(source, Stored)
    assert said[0].endswith("storing them (--no-cache computes them again)")


def test_either_can_be_asked_for(mini, samples, views, weighed, monkeypatch):
    source, said = source_of(mini, views, samples, True, DEAR, monkeypatch)
    assert isinstance(source, Stored)
    assert not said
    source, said = source_of(mini, views, samples, False, CHEAP, monkeypatch)
    assert isinstance(source, Streamed)
    assert not said


def test_small_rows_are_stored_without_measuring(mini, samples, views, monkeypatch):
    source, said = source_of(mini, views, samples, None, DEAR, monkeypatch)
    assert isinstance(source, Stored)
    assert not said


def test_what_was_measured_is_remembered_for_its_cut(tmp_path):
    calls = []

    def run(pixels):
        calls.append(pixels[0].shape)

    def measured(rows):
        return cost.measured({"rows": rows}, tmp_path, lambda: np.zeros((4, 8, 8, 3), np.uint8), run, 16)

    first = measured("cut:3")
    assert calls == [(16, 8, 8, 3)] * 2  # traced, then timed
    assert measured("cut:3") == first
    assert len(calls) == 2
    assert measured("cut:4") != first


def test_the_disk_is_measured_and_nothing_is_left(tmp_path):
    write, read = cost.disk(tmp_path)
    assert 1e6 < write < 1e12
    assert 1e6 < read < 1e12
    assert list(tmp_path.iterdir()) == []


def test_costs_add_up():
    found = ExtractionCost(decode=0.01, forward=0.04, write=100.0, read=200.0)
    assert found.again(10) == pytest.approx(0.5)
    assert found.stored(visits=10, lacking=3, row_bytes=20) == pytest.approx(0.6 + 1.0)
