import time
from contextlib import contextmanager

import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.console import Reporter
from transferkit.training import optimizers
from transferkit.training.fit import Callback

from .conftest import losses_of, scripted


def test_the_best_weights_come_back(loop, monkeypatch):
    losses_of(monkeypatch, [1.0] * 6)
    snapshots = []
    one = loop(goal=scripted([0.1, 0.5, 0.9, 0.2, 0.3, 0.4]))
    inner = one.validate
    one.validate = lambda model: snapshots.append(compute.values(model.weights)) or inner(model)
    progress = one.run()
    assert (progress.best, progress.best_epoch) == ((0.9, 1.0), 2)
    for kept, now in zip(snapshots[2], compute.values(one.model.weights), strict=True):
        np.testing.assert_array_equal(kept, now)
    assert any((a != b).any() for a, b in zip(snapshots[2], snapshots[5], strict=True))


def test_patience_counts_epochs_in_which_neither_score_nor_loss_improved(loop, monkeypatch):
    losses_of(monkeypatch, [1.0, 0.9, 0.8, 0.9, 0.85, 0.7, 0.9, 0.9, 0.9, 0.9])
    #        score best; then only the loss falls (2, 3); two epochs of nothing; loss (6); three of nothing: stop
    progress = loop(goal=scripted([0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.9]), epochs=10, patience=3).run()
    assert progress.epoch == 9
    assert progress.best_epoch == 0


def test_a_spent_deadline_stops_after_one_epoch(loop):
    progress = loop(deadline=time.monotonic() - 1, epochs=50).run()
    assert progress.epoch == 1
    assert progress.best is not None


def test_a_deadline_stops_in_the_middle(loop):
    one = loop(deadline=time.monotonic() + 1.5, epochs=100000)
    began = time.monotonic()
    progress = one.run()
    assert 1 <= progress.epoch < 100000
    assert time.monotonic() - began < 20


def test_validation_sees_the_averaged_weights_and_training_goes_on_with_its_own(loop):
    seen = []
    optimizer = optimizers.build("sgd", 0.5, average_steps=8)
    one = loop(optimizer=optimizer, epochs=3)
    inner = one.validate
    one.validate = lambda model: seen.append(compute.values(model.trainable_variables)) or inner(model)
    one.run()
    averages = compute.values(optimizer._model_variables_moving_average)
    for shown, average in zip(seen[-1], averages, strict=True):
        np.testing.assert_array_equal(shown, average)
    plain = loop(optimizer=optimizers.build("sgd", 0.5), epochs=3)
    ends = []
    plain.validate = lambda model: ends.append(compute.values(model.trainable_variables)) or inner(model)
    plain.run()
    # Averaging only watches: had it disturbed training, the averages of the two runs would differ.
    live = loop(optimizer=optimizers.build("sgd", 0.5, average_steps=8), epochs=3)
    trained = []
    live.batches = live.batches
    inner_train = live._train
    live._train = lambda: (inner_train(), trained.append(compute.values(live.model.trainable_variables)))[0]
    live.run()
    for a, b in zip(ends[-1], trained[-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_plateau_lowers_the_rate(loop, monkeypatch):
    losses_of(monkeypatch, [1.0] * 6)
    progress = loop(plateau=True, goal=scripted([0.5] * 6), optimizer=keras.optimizers.SGD(0.1)).run()
    rates = [round(row["learning_rate"], 6) for row in progress.rows]
    assert rates == [0.1, 0.1, 0.1, 0.1, 0.03, 0.03]


def test_a_callers_callback_sees_the_weights_that_were_judged_and_at_the_end_the_best(loop, monkeypatch):
    losses_of(monkeypatch, [1.0] * 4)
    judged, seen = [], []

    class Seeing(Callback):
        def on_epoch_end(self, loop):
            seen.append(compute.values(loop.current_model().weights))

        on_train_end = on_epoch_end

    one = loop(
        optimizer=optimizers.build("sgd", 0.5, average_steps=8), goal=scripted([0.1, 0.9, 0.2, 0.3]), epochs=4,
        own=[Seeing()],
    )  # fmt: skip
    inner = one.validate
    one.validate = lambda model: judged.append(compute.values(model.weights)) or inner(model)
    one.run()
    for expected, found in zip([*judged, judged[1]], seen, strict=True):
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_bar_ends_where_the_epochs_do_and_one_line_stays(loop):
    class Told(Reporter):
        moved, said = 0.0, ()

        @contextmanager
        def progress(self, title, total, unit="pictures", done=0):
            self.total = total

            def advance(count=1, note=""):
                self.moved, self.note = self.moved + count, note

            yield advance

        def say(self, text):
            self.said = (*self.said, text)

    reporter = Told()
    progress = loop(reporter=reporter, epochs=3).run()
    assert reporter.total == 3
    assert reporter.moved == pytest.approx(3)
    assert reporter.note == f"loss {progress.rows[-1]['loss']:.3f}; validation accuracy " \
                            f"{progress.rows[-1]['val_accuracy']:.3f}; best {progress.best[0]:.3f}"  # fmt: skip
    (line,) = reporter.said
    assert f"validation accuracy {progress.best[0]:.3f} after epoch {progress.best_epoch + 1} of 3" in line
