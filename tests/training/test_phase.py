"""A phase goes on when memory runs out, and small batches can make large updates."""

import numpy as np
import pytest
import tensorflow as tf

from tests.marks import extended
from tests.training.heads import data, same, trained, trainer_of
from transferkit import compute
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.errors import ConfigError, TrainingError

PLAIN = {"dropout": 0.0, "ema": False, "optimizer": "momentum", "learning_rate": 0.05}


class XlaRuntimeError(RuntimeError):
    """As JAX names it."""


def small_memory(monkeypatch, most, error):
    """Steps on more than `most` pictures raise `error`; returns the sizes that were tried."""
    tried, inner = [], compute.steps

    def steps(*arguments):
        step = inner(*arguments)

        def call(inputs, targets, *more):
            tried.append(targets.shape[1])
            if targets.shape[1] > most:
                raise error
            return step(inputs, targets, *more)

        return call

    monkeypatch.setattr(compute, "steps", steps)
    return tried


ERRORS = [
    tf.errors.ResourceExhaustedError(None, None, "failed to allocate memory"),
    XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 68719476736 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize("error", extended(ERRORS, ERRORS[1:]), ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_the_batch_says_so_and_comes_to_the_same(monkeypatch, error):
    expected = trained(batch_size=20, **PLAIN)
    tried, reporter = small_memory(monkeypatch, 5, error), Reporter(quiet=True)
    found = trained(batch_size=20, reporter=reporter, **PLAIN)
    assert list(dict.fromkeys(tried)) == [20, 10, 5]
    assert [warning.split(":")[0] for warning in reporter.warnings] == [
        "out of memory with 20 pictures a step", "out of memory with 10 pictures a step",
    ]  # fmt: skip
    assert "going on with 5, the gradients of 4 steps making one update" in reporter.warnings[1]
    for own, other in zip(found[3], expected[3], strict=True):
        np.testing.assert_allclose(own, other, atol=1e-4)


def test_where_one_picture_is_too_much_the_error_says_what_to_do(monkeypatch):
    small_memory(monkeypatch, 0, ERRORS[0])
    with pytest.raises(TrainingError, match=r"one picture does not fit .*failed to allocate.*--image-size"):
        trained(batch_size=4, **PLAIN)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    tried = small_memory(monkeypatch, 5, ValueError("shapes do not match"))
    with pytest.raises(ValueError, match="shapes do not match"):
        trained(batch_size=20, **PLAIN)
    assert tried == [20]


@pytest.mark.parametrize("kind", ["momentum", "adamw"])
def test_accumulated_batches_make_the_update_of_one_large_batch(kind):
    settings = {**PLAIN, "optimizer": kind, "learning_rate": 0.02, "epochs": 4, "patience": 3}
    large, small = trained(batch_size=20, **settings), trained(batch_size=5, accumulate=4, **settings)
    assert large[2][0]["val_loss"] != large[2][-1]["val_loss"]
    for own, other in zip(small[3], large[3], strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_more_than_all_pictures_cannot_make_an_update():
    with pytest.raises(ConfigError, match=r"--accumulate 9 with batches of 8 .*\(60 for training\)"):
        trainer_of(data()[1], Settings(backbone="mini", batch_size=8, accumulate=9))


def test_a_warm_up_of_ones_own_starts_at_nothing():
    first, second = ([row["learning_rate"] for row in trained(warmup=w, epochs=4, patience=3)[2]] for w in (None, 0.9))
    assert first == sorted(first, reverse=True)
    assert second[:3] == sorted(second[:3])
    assert second[0] < 0.5 * first[0]


def test_the_limit_of_the_gradient_is_kept():
    free, bound, none = (trained(clip_norm=limit, **{**PLAIN, "optimizer": "sgd"}) for limit in (1e6, 0.01, 0.0))
    same(free, none)
    start = trained(clip_norm=1e-9, **{**PLAIN, "optimizer": "sgd"})[3]
    # 2 epochs of 2 steps and more, each of a length of at most rate times limit.
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(bound[3], start, strict=True)))
    assert 0 < moved <= 3 * 2 * 0.05 * 0.01 * 1.01
    assert np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(free[3], start, strict=True))) > 10 * moved
