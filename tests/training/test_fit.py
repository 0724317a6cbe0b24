import numpy as np
import pytest

from transferkit import compute
from transferkit.errors import TrainingError
from transferkit.training import fit, optimizers
from transferkit.training.fit import Callback, StoppingMetric

from .conftest import losses_of, scripted


def test_a_phase_learns_and_says_how_it_went(loop):
    one = loop()
    before = loop.validation_loss(one.model)
    progress = one.run()
    assert progress.epoch == 6
    assert [row["epoch"] for row in progress.rows] == [1, 2, 3, 4, 5, 6]
    assert progress.rows[-1]["loss"] < progress.rows[0]["loss"]
    assert loop.validation_loss(one.model) < before
    assert set(progress.rows[0]) == {
        "phase", "epoch", "loss", "accuracy", "learning_rate", "val_loss", "val_accuracy", "seconds",
    }  # fmt: skip
    assert progress.seconds > 0


def test_equal_scores_are_told_apart_by_the_loss(loop, monkeypatch):
    losses_of(monkeypatch, [0.5, 0.3, 0.4, 0.6, 0.3, 0.2])
    progress = loop(goal=scripted([0.7, 0.8, 0.8, 0.8, 0.8, 0.7])).run()
    assert (progress.best, progress.best_epoch) == ((0.8, 0.3), 1)


def test_lower_is_better_where_the_goal_says_so():
    goal = StoppingMetric("mae", False, float)
    assert goal.better((1.0, 9.0), (2.0, 1.0))
    assert not goal.better((3.0, 0.0), (2.0, 1.0))
    assert goal.better((2.0, 0.5), (2.0, 1.0))
    assert not goal.better((2.0, 1.0), (2.0, 1.0))


def test_a_loss_that_is_no_number_names_the_remedy(loop):
    one = loop(top_rate=0.5, optimizer=optimizers.build("adamw", 0.01))
    x = one.batches.source.tensors[0]
    x[7] = np.nan
    with pytest.raises(
        TrainingError, match=r"loss became nan in phase head, epoch 1;.*--learning-rate 5.0e-02.*float32"
    ):
        one.run()


def test_weights_blown_up_by_the_last_step_are_not_taken_for_the_best(loop):
    one = loop(validate=lambda model: np.full((30, 3), np.nan, np.float32))
    with pytest.raises(TrainingError, match="loss became nan"):
        one.run()


def test_a_score_that_does_not_exist_still_leaves_a_best_epoch(loop):
    progress = loop(goal=StoppingMetric("auc", True, lambda outputs: -np.inf), epochs=3).run()
    assert progress.best_epoch == int(np.argmin([row["val_loss"] for row in progress.rows]))


def test_one_batch_an_epoch(loop):
    one = loop(epochs=2)
    one.batches = type(one.batches)(
        one.batches.source, np.arange(5), one.batches.targets[:5], np.ones(5, np.float32), 5, 0, 0
    )
    assert one.run().epoch == 2


class Written(Callback):
    """Writes down which hooks were called, and what it is given."""

    def __init__(self, name="", into=None):
        self.name, self.calls = name, [] if into is None else into

    def on_train_begin(self, loop):
        self.calls.append((self.name, "train begins", loop.epoch))

    def on_epoch_begin(self, loop):
        self.calls.append((self.name, "epoch begins", loop.epoch))

    def on_chunk_end(self, loop, steps, loss):
        self.calls.append((self.name, "steps", steps))
        self.loss = loss

    def on_validation_begin(self, loop):
        self.calls.append((self.name, "validation", loop.epoch))

    def on_epoch_end(self, loop):
        assert loop.rows[-1]["loss"] == self.loss
        self.calls.append((self.name, "epoch ends", loop.epoch))

    def on_train_end(self, loop):
        self.calls.append((self.name, "train ends", loop.epoch))


def test_hooks_are_called_like_nested_with_blocks(loop):
    calls = []
    loop(own=[Written("a", calls), Written("b", calls)], epochs=1).run()
    assert calls == [
        ("a", "train begins", 0), ("b", "train begins", 0), ("a", "epoch begins", 0), ("b", "epoch begins", 0),
        ("a", "steps", 4), ("b", "steps", 4), ("a", "validation", 0), ("b", "validation", 0),
        ("b", "epoch ends", 1), ("a", "epoch ends", 1), ("b", "train ends", 1), ("a", "train ends", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_chunk_end", "on_epoch_end"])
def test_a_callback_ends_a_phase_after_the_epoch_in_training(loop, hook):
    class Stopping(Callback):
        pass

    setattr(Stopping, hook, lambda self, loop, *more: loop.stop())
    progress = loop(own=[Stopping()]).run()
    assert (progress.epoch, progress.done, progress.best_epoch) == (1, True, 0)


def test_a_callback_that_only_watches_changes_nothing(loop):
    ends = [loop(own=own) for own in ([], [Written()])]
    for one in ends:
        one.run()
    for a, b in zip(*(compute.values(one.model.variables) for one in ends), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_error_in_a_hook_ends_the_phase_and_closes_what_is_open(loop):
    closed = []

    class Failing(Callback):
        def on_train_begin(self, loop):
            loop.exits.callback(closed.append, True)

        def on_epoch_end(self, loop):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        loop(own=[Failing()]).run()
    assert closed == [True]


def test_a_gpu_is_given_its_next_steps_first_and_comes_to_the_same(loop, monkeypatch):
    def trained():
        written, asked = Written(), []
        one = loop(callbacks=[written])
        one.batches = type(one.batches)(
            one.batches.source, one.batches.pictures, one.batches.targets, one.batches.weights, 5, 0, 0
        )
        monkeypatch.setattr("transferkit.training.batches.CHUNK_BYTES", 1)  # each chunk is one step
        steps = compute.steps(one.model, one.optimizer, fit.LOSSES[one.loss_key])
        one.steps = lambda *given, wait=True: asked.append((len(written.calls), wait)) or steps(*given, wait=wait)
        rows = one.run().rows
        return [{key: value for key, value in row.items() if key != "seconds"} for row in rows], written.calls, asked

    rows, calls, asked = trained()
    monkeypatch.setattr(compute, "gpu_count", lambda: 1)
    ahead_rows, ahead_calls, ahead_asked = trained()
    assert (ahead_rows, ahead_calls) == (rows, calls)
    assert {wait for _, wait in asked} == {True}
    assert {wait for _, wait in ahead_asked} == {False}
    # When the second steps were asked for, nobody had been told of the first.
    assert [told for told, _ in asked[:3]] == [2, 3, 4]
    assert [told for told, _ in ahead_asked[:3]] == [2, 2, 3]
