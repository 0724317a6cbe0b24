"""A phase goes on when memory runs out, and small batches can make large updates."""

import numpy as np
import pytest
import tensorflow as tf

from tests.marks import extended
from tests.training.heads import data, trained, trainer_of
from transferkit import compute
from transferkit.config import Settings
from transferkit.console import Reporter
from transferkit.errors import TrainingError
from transferkit.training import optimizers
from transferkit.training.phase import Phase

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
    tf.errors.AbortedError(None, None, "an exception:Status: 1, message: could not create a primitive, in file x.cc"),
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


def test_accumulated_batches_make_the_update_of_one_large_batch_under_adamw_too(monkeypatch):
    settings = {**PLAIN, "optimizer": "adamw", "learning_rate": 0.02, "epochs": 4, "patience": 3, "batch_size": 20}
    large = trained(**settings)
    small_memory(monkeypatch, 5, MemoryError())
    small = trained(**settings)
    assert large[2][0]["val_loss"] != large[2][-1]["val_loss"]
    for own, other in zip(small[3], large[3], strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_the_rate_of_a_trained_part_rises_over_its_first_steps_and_that_of_a_head_does_not():
    trainer, steps = trainer_of(data()[1], Settings(backbone="mini")), np.arange(200)
    tail, head = (trainer._rates(Phase("tail", "", 0.1, 10, warmup=rises), 20)(steps) for rises in (True, False))
    assert tail[0] == 0
    assert int(tail.argmax()) == 10  # 5 % of 200
    assert tail.max() == head[0] == np.float32(0.1)
    assert list(head) == sorted(head, reverse=True)


def test_the_limit_of_the_gradient_is_kept(monkeypatch):
    def limited(norm):
        monkeypatch.setattr(optimizers, "CLIP_NORM", norm)
        return trained(**{**PLAIN, "optimizer": "sgd"})

    free, bound, start = limited(1e6), limited(0.01), limited(1e-9)[3]
    # 2 epochs of 2 steps and more, each of a length of at most rate times limit.
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(bound[3], start, strict=True)))
    assert 0 < moved <= 3 * 2 * 0.05 * 0.01 * 1.01
    assert np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(free[3], start, strict=True))) > 10 * moved
