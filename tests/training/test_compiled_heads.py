"""Trials that share a compiled trace come to what they would have come to alone."""

from itertools import chain

import numpy as np
import pytest

from tests.marks import extended
from tests.training.heads import WIDTH, PassingBy, Rows, data, same, trained, trainer_of
from transferkit import compute, heads
from transferkit.config import Settings
from transferkit.training import compiled_heads, optimizers
from transferkit.training.compiled_heads import HeadPool
from transferkit.training.phase import Phase

TRIALS = {
    "as it comes": {},
    "learning rate": {"learning_rate": 0.02},
    "batch size": {"batch_size": 7},
    "dropout": {"dropout": 0.6},
    "decay": {"weight_decay": 0.3},
    "seed": {"seed": 5},
    "smoothing": {"label_smoothing": 0.3},
    "constant": {"schedule": "constant"},
    "other data": {"data_seed": 4},
    "longer": {"epochs": 5},
}  # fmt: skip


# Each setting of TRIALS once: alone, a trial compiles a trace of its own, which is what takes the time here.
TOGETHER = [
    {}, {"learning_rate": 0.02, "dropout": 0.6, "seed": 5}, {"batch_size": 7, "weight_decay": 0.3, "data_seed": 4},
    {"label_smoothing": 0.3, "schedule": "constant", "epochs": 5}, {},
]  # fmt: skip


def test_trials_of_one_shape_compile_once_and_each_comes_to_what_it_would_alone(monkeypatch):
    assert {name for settings in TOGETHER for name in settings} == {name for one in TRIALS.values() for name in one}
    compiled = []
    inner = compiled_heads.compute.steps
    monkeypatch.setattr(compiled_heads.compute, "steps", lambda *a: compiled.append(a) or inner(*a))
    pool = HeadPool()
    for settings in TOGETHER:
        pooled = trained(pool, **settings)
        count = len(compiled)
        same(pooled, trained(None, **settings))
        del compiled[count:]  # the one that was trained alone
    assert len(pool) == len(compiled) == 1


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.6, "batch_size": 7}])
def test_rows_that_pass_by_teach_to_the_last_digit_what_rows_in_memory_do(settings):
    there, passing = (trained(HeadPool(), rows=rows, **settings) for rows in (Rows, PassingBy))
    assert passing[:2] == there[:2]
    for own, other in zip(passing[3], there[3], strict=True):
        np.testing.assert_array_equal(own, other)


KINDS = [
    {"head": "linear"}, {"head_width": (8, 4), "l1": 1e-3, "l2": 1e-2}, {"normalize": False}, {"dropout": 0.0},
    {"optimizer": "momentum", "learning_rate": 0.03}, {"optimizer": "rmsprop", "learning_rate": 1e-3},
    {"ema": False}, {"schedule": "plateau"}, {"class_weights": "balanced"},
]  # fmt: skip


@pytest.mark.parametrize("settings", extended(KINDS, KINDS[5:8]))
def test_every_kind_of_head_and_optimizer_comes_to_what_it_would_alone(settings):
    pool = HeadPool()
    trained(pool, **{**settings, "seed": 3})  # somebody else's numbers are in the reusable head
    if "l1" in settings:
        trained(pool, **{**settings, "l1": 0.1})
    same(trained(pool, **settings), trained(None, **settings))
    assert len(pool) == 1


def test_trials_differ_where_their_settings_do():
    pool = HeadPool()
    outcomes = [trained(pool, **settings)[1] for settings in TRIALS.values()]
    assert len({round(loss, 7) for loss in outcomes}) == len(TRIALS)


def test_a_head_answers_through_the_trace_that_trained_it_until_its_weights_change(monkeypatch):
    x, labels = data()
    settings = Settings(backbone="mini", epochs=2, head_width=(8,))
    body = heads.body(WIDTH, 3, heads.HeadSettings((8,), 0.3, 0.0, 0.0, "avg", 0), (x.mean(0), x.std(0)))
    trainer = trainer_of(labels, settings, HeadPool())
    trainer.train(Phase("head", "head only", 3e-3, 2), body, Rows(x))
    traced, inner = [], compute.forward
    monkeypatch.setattr(compute, "forward", lambda model: traced.append(model) or inner(model))
    rows = np.arange(len(x))
    for change in (0, 1):
        compute.assign(body.weights, [value + change for value in compute.values(body.weights)])
        np.testing.assert_array_equal(trainer.outputs(body, Rows(x), rows), inner(body)([x])[0])
        assert traced == [body] * change


def test_the_pool_keeps_the_most_recent_shapes():
    pool = HeadPool(capacity=2)
    for widths in ((4,), (4, 4), (4,), (4, 4, 4)):
        trained(pool, head_width=widths)
    assert len(pool) == 2
    first = pool._heads.copy()
    trained(pool, head_width=(4,))
    assert list(pool._heads.values())[-1] in first.values()
    pool.clear()
    assert len(pool) == 0


def test_a_head_that_is_built_once_begins_each_time_as_if_it_were_built_again():
    x, labels = data()
    settings, pool = Settings(backbone="mini", epochs=2, head_width=(8,)), HeadPool()
    shape, moments = heads.HeadSettings((8,), 0.3, 0.0, 0.0, "avg", 0), (x.mean(0), x.std(0))

    def outcome(body):
        before = compute.values(body.variables)
        trainer_of(labels, settings, pool).train(Phase("head", "head only", 3e-3, 2), body, Rows(x))
        return before, compute.values(body.variables)

    again = [pool.body(WIDTH, 3, shape, moments) for _ in range(2)]
    assert again[0] is again[1]
    expected = outcome(heads.body(WIDTH, 3, shape, moments))
    for _ in range(2):
        found = outcome(pool.body(WIDTH, 3, shape, moments))
        for own, other in zip(chain(*found), chain(*expected), strict=True):
            np.testing.assert_array_equal(own, other)
    assert pool.body(WIDTH, 3, shape, (x.mean(0) + 1, x.std(0))) is not again[0]
    assert pool.body(WIDTH, 3, shape) is not again[0]


@pytest.fixture
def xla(monkeypatch):
    """Every phase counts as long, and calls of the compiled program as lists of their steps' numbers."""
    from transferkit.compute import xla

    xla.calls, inner = [], xla.Program._several
    monkeypatch.setattr(xla, "LONG", 0)
    monkeypatch.setattr(
        xla.Program, "_several", lambda self, slots, *a: xla.calls.append(slots) or inner(self, slots, *a)
    )
    yield xla
    del xla.calls


# By default what differs in the compiled program itself: penalties on two layers and another optimizer's slots; other
# kernels with clipping and a short last batch; no average of the weights, and as it comes. Together the rest of KINDS.
WHOLE = [
    {**KINDS[1], **KINDS[4]}, {"optimizer": "adam", "batch_size": 7}, KINDS[6], {},
]  # fmt: skip
OTHERS = [{**KINDS[0], **KINDS[2], **KINDS[8]}, {**KINDS[3], **KINDS[5], **KINDS[7]}]


@pytest.mark.parametrize("settings", extended([*WHOLE, *OTHERS], OTHERS))
def test_a_long_phase_compiled_whole_comes_to_what_single_steps_come_to(xla, monkeypatch, settings):
    if settings.get("optimizer") == "adam":
        monkeypatch.setattr(optimizers, "CLIP_NORM", 0.05)  # the usual one is reached by no step here
    same(trained(HeadPool(), **settings), trained(None, **settings))
    assert len(xla.calls) == 1  # traced once, for all epochs


def test_what_dropout_keeps_is_drawn_for_as_many_steps_as_fit(xla, monkeypatch):
    monkeypatch.setattr(xla, "NOISE_BYTES", 3 * 7 * 8)  # three steps at once; an epoch has nine, 4 of the last 7 count
    same(trained(HeadPool(), batch_size=7, dropout=0.5), trained(None, batch_size=7, dropout=0.5))
    assert xla.calls == [3]


def test_answers_come_of_as_many_steps_as_fit(xla, monkeypatch):
    single = trained(None, batch_size=7)
    monkeypatch.setattr(xla, "ANSWER_BYTES", 1)
    same(trained(HeadPool(), batch_size=7), single)
    assert xla.calls == [1]


# Layers before and behind layers; Keras' own update, penalties; no dropout, a short last batch and no average.
WIDTHS = [
    ({}, [(8,), (7,)]), ({"optimizer": "rmsprop", "l1": 1e-3, "l2": 1e-2}, [(8, 4), (5, 33)]),
    ({"optimizer": "momentum", "dropout": 0.0, "batch_size": 7, "ema": False}, [(64,), (9,)]),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "widths"), extended(WIDTHS, WIDTHS[2:], spread=True))
@pytest.mark.parametrize("long", [False, True])
def test_heads_of_all_widths_share_a_trace_that_gives_the_very_numbers_of_one_for_each(
    xla, monkeypatch, settings, widths, long
):
    monkeypatch.setattr(xla, "LONG", 0 if long else 1 << 30)
    pool = HeadPool()
    together = [trained(pool, head_width=width, **settings) for width in widths]
    assert len(pool) == 1
    monkeypatch.setattr(compute, "loosens", lambda: False)
    for width, found in zip(widths, together, strict=True):
        alone = trained(HeadPool(), head_width=width, **settings)
        assert found[:3] == alone[:3]
        for own, other in zip(found[3], alone[3], strict=True):
            np.testing.assert_array_equal(own, other)


def test_short_phases_large_heads_and_other_devices_are_not_compiled_whole(xla, monkeypatch):
    small, large = lambda: 1024 * 256, lambda: 4096 * 4096
    assert xla.pays(5000, 32, small)
    assert not xla.pays(5000, 128, large)
    monkeypatch.setattr(xla, "LONG", 4000)
    assert not xla.pays(1000, 32, small)
    monkeypatch.setattr(xla, "available", lambda: False)
    assert not xla.pays(5000, 32, small)
