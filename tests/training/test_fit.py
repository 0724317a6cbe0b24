import json
import time

import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.console import Reporter
from transferkit.errors import TrainingError
from transferkit.training import checkpoint, fit, optimizers
from transferkit.training.fit import StoppingMetric


def scripted(scores, losses=None):
    """A goal whose scores are given, epoch by epoch."""
    line = iter(scores)
    return StoppingMetric("accuracy", True, lambda outputs: next(line))


def losses_of(monkeypatch, values):
    line = iter(values)
    monkeypatch.setattr(fit, "mean_loss", lambda *args: next(line))


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


def test_one_batch_an_epoch(loop):
    one = loop(epochs=2)
    one.batches = type(one.batches)(
        one.batches.source, np.arange(5), one.batches.targets[:5], np.ones(5, np.float32), 5, 0, 0
    )
    assert one.run().epoch == 2


def test_a_plateau_lowers_the_rate(loop, monkeypatch):
    losses_of(monkeypatch, [1.0] * 6)
    progress = loop(plateau=True, goal=scripted([0.5] * 6), optimizer=keras.optimizers.SGD(0.1)).run()
    rates = [round(row["learning_rate"], 6) for row in progress.rows]
    assert rates == [0.1, 0.1, 0.1, 0.1, 0.03, 0.03]


def test_a_finished_phase_is_not_trained_again(loop, tmp_path):
    first = loop(checkpoint=tmp_path / "phase.npz")
    done = first.run()
    again = loop(checkpoint=tmp_path / "phase.npz")
    again._train = lambda: pytest.fail("trained again")
    progress = again.run()
    assert progress == done
    for a, b in zip(compute.values(first.model.weights), compute.values(again.model.weights), strict=True):
        np.testing.assert_array_equal(a, b)


class StopError(Exception):
    pass


def stopped_after(one, epochs):
    inner = one._train
    one._train = lambda: inner() if one.epoch < epochs else (_ for _ in ()).throw(StopError)
    with pytest.raises(StopError):
        one.run()


@pytest.mark.parametrize("kind", ["adamw", "momentum"])
@pytest.mark.parametrize("plateau", [False, True])
def test_an_interrupted_phase_ends_as_an_uninterrupted_one(loop, tmp_path, monkeypatch, kind, plateau):
    monkeypatch.setattr(checkpoint, "SAVE_EVERY_SECONDS", -1.0)  # after every epoch

    def one(path):
        rate = 0.01 if plateau else keras.optimizers.schedules.CosineDecay(0.01, 30)
        optimizer = optimizers.build(kind, rate, average_steps=8, rates={"dense/kernel": 0.5})
        return loop(optimizer=optimizer, checkpoint=path, plateau=plateau, epochs=8)

    whole = one(None)
    expected = whole.run()
    stopped_after(one(tmp_path / "phase.npz"), 5)
    resumed = one(tmp_path / "phase.npz")
    progress = resumed.run()
    assert strip(progress.rows) == strip(expected.rows)
    assert (progress.best, progress.best_epoch) == (expected.best, expected.best_epoch)
    for a, b in zip(compute.values(whole.model.variables), compute.values(resumed.model.variables), strict=True):
        np.testing.assert_array_equal(a, b)  # dropout's seeds are among the variables


def strip(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_the_plateau_remembers_how_long_it_waited(loop, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_EVERY_SECONDS", -1.0)
    losses_of(monkeypatch, [1.0] * 20)
    made = {"plateau": True, "checkpoint": tmp_path / "phase.npz", "epochs": 6}
    stopped_after(loop(goal=scripted([0.5] * 3), optimizer=keras.optimizers.SGD(0.1), **made), 3)
    progress = loop(goal=scripted([0.5] * 3), optimizer=keras.optimizers.SGD(0.1), **made).run()
    assert [round(row["learning_rate"], 6) for row in progress.rows] == [0.1, 0.1, 0.1, 0.1, 0.03, 0.03]


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_checkpoint_is_said_and_the_phase_starts_anew(loop, tmp_path, damage):
    path = tmp_path / "phase.npz"
    expected = loop(checkpoint=path).run()
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": b"not a checkpoint"}[damage])
    reporter = Reporter(quiet=True)
    progress = loop(checkpoint=path, reporter=reporter).run()
    assert "is damaged" in reporter.warnings[0]
    assert strip(progress.rows) == strip(expected.rows)


def test_a_checkpoint_holds_plain_data(loop, tmp_path):
    loop(checkpoint=tmp_path / "phase.npz").run()
    with np.load(tmp_path / "phase.npz", allow_pickle=False) as saved:
        assert json.loads(str(saved["state"]))["progress"]["done"] is True
    assert [path.name for path in tmp_path.iterdir() if "phase" in path.name] == ["phase.npz"]
