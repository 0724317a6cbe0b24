"""Which callbacks a caller may pass, and what those of Keras see of a phase."""

from itertools import pairwise

import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.errors import ConfigError
from transferkit.training import checkpoint, user_callbacks
from transferkit.training.fit import Callback
from transferkit.training.user_callbacks import adapted, check_monitored, check_same, names, problems

k = keras.callbacks


class Logged(k.Callback):
    """Writes down what it is told."""

    def __init__(self, stops=99):
        super().__init__()
        self.calls, self.stops = [], stops

    def on_train_begin(self, logs=None):
        self.calls.append(("begin", self.params))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, logs, self.model.get_weights()))
        self.model.stop_training = epoch + 1 >= self.stops

    def on_train_end(self, logs=None):
        self.calls.append(("end", logs, self.model.get_weights()))


class Batchwise(k.Callback):
    def on_train_batch_end(self, batch, logs=None):
        """Would never be called."""


class Misspelt(Callback):
    def on_batch_end(self, loop):
        """No hook."""


class MyCheckpoint(k.ModelCheckpoint):
    """Made from one that is refused."""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (k.ModelCheckpoint("a.keras"), "model.keras is the whole network"),
        (MyCheckpoint("a.keras"), "MyCheckpoint cannot be taken: it saves the network in training"),
        (k.BackupAndRestore("folder"), "--resume"),
        (k.LearningRateScheduler(lambda epoch, rate: rate), "--schedule, --learning-rate"),
        (k.ReduceLROnPlateau(), "--schedule plateau"),
        (k.SwapEMAWeights(), "--ema"),
        (k.TensorBoard("logs"), "--track tensorboard"),
        (k.ProgbarLogger(), "drop it"),
        (k.TerminateOnNaN(), "drop it"),
        (k.EarlyStopping(restore_best_weights=True), "drop restore_best_weights"),
        (k.CSVLogger("a.csv"), "append=True"),
        (Batchwise(), "on_train_batch_end would never be called"),
        (k.LambdaCallback(on_train_batch_begin=print), "on_train_batch_begin would never be called"),
        (Misspelt(), "has on_batch_end, which is no hook; hooks are on_train_begin, on_epoch_begin, on_chunk_end"),
        (Logged, "Logged is a class; give an object of it"),
        (print, "builtin_function_or_method is none"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__) if not isinstance(value, str) else "",
)
def test_what_cannot_be_kept_is_refused_with_the_reason_and_the_alternative(given, words):
    (said,) = problems([Logged(), given])
    assert words in said


def test_what_can_be_kept_is_taken_one_several_or_none():
    kept = [
        Logged(), Callback(), k.EarlyStopping("val_loss"), k.History(), k.CSVLogger("a.csv", append=True),
        k.LambdaCallback(on_epoch_end=print), k.RemoteMonitor(),
    ]  # fmt: skip
    for given in (kept, tuple(kept), kept[0], kept[1], None, []):
        assert problems(given) == []
    assert names(adapted(kept))[:4] == ["Logged", "Callback", "EarlyStopping", "History"]


def test_every_callback_of_keras_is_either_refused_or_known_to_work():
    work = {"Callback", "CallbackList", "CSVLogger", "EarlyStopping", "History", "LambdaCallback", "RemoteMonitor"}
    offered = {name for name in dir(k) if isinstance(getattr(k, name), type)}
    assert offered - work <= set(user_callbacks.REFUSED) | {"MonitorCallback"}


def test_keras_sees_a_phase_as_one_fit(loop):
    logged = Logged(stops=3)
    one = loop(own=adapted([logged]))
    progress = one.run()
    assert progress.epoch == 3
    begin, *epochs, end = logged.calls
    assert begin == ("begin", {"verbose": 0, "epochs": 6, "steps": 4})
    assert [call[0] for call in epochs] == ["epoch", 0, "epoch", 1, "epoch", 2]
    for row, (_, logs, _) in zip(progress.rows, epochs[1::2], strict=True):
        assert logs == {name: row[name] for name in ("loss", "accuracy", "learning_rate", "val_loss", "val_accuracy")}
    assert end[1] == epochs[-1][1]
    for best, shipped in zip(end[2], compute.values(one.model.weights), strict=True):
        np.testing.assert_array_equal(best, shipped)
    assert any((a != b).any() for a, b in zip(epochs[1][2], epochs[3][2], strict=True)), "weights of each epoch"


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_early_stopping_of_keras_counts_as_it_does_in_fit_and_goes_on_after_a_kill(
    loop, tmp_path, monkeypatch, monitor
):
    monkeypatch.setattr(checkpoint, "SAVE_EVERY_SECONDS", -1.0)

    def stopping():
        return k.EarlyStopping(monitor, min_delta=0.05, patience=2)

    expected = loop(own=adapted([stopping()]), epochs=40).run()
    assert 2 < expected.epoch < 40
    values, sign = [row[monitor] for row in expected.rows], 1 if monitor == "val_accuracy" else -1
    best, wait = None, 0
    for value in values:
        better = best is None or sign * value - 0.05 > sign * best
        best, wait = (value, 0) if better else (best, wait + 1)
    assert wait == 2
    path = tmp_path / "phase.npz"
    loop(own=adapted([stopping()]), epochs=40, checkpoint=path, pause=expected.epoch - 1).run()
    again = stopping()
    assert loop(own=adapted([again]), epochs=40, checkpoint=path).run().epoch == expected.epoch
    assert again.stopped_epoch == expected.epoch - 1


def test_history_of_keras_holds_every_epoch_after_a_kill_too(loop, tmp_path):
    path, history = tmp_path / "phase.npz", k.History()
    loop(own=adapted([k.History()]), checkpoint=path, pause=2).run()
    progress = loop(own=adapted([history]), checkpoint=path).run()
    assert history.epoch == [0, 1, 2, 3, 4, 5]
    assert history.history["val_loss"] == [row["val_loss"] for row in progress.rows]


def test_a_keras_callback_with_a_state_of_its_own_gets_it_back(loop, tmp_path):
    class Kept(Logged):
        def state_dict(self):
            return {"count": len(self.calls)}

        def load_state_dict(self, state):
            self.count = state["count"]

    loop(own=adapted([Kept()]), checkpoint=tmp_path / "phase.npz", pause=2).run()
    kept = Kept()
    loop(own=adapted([kept]), checkpoint=tmp_path / "phase.npz").run()
    assert kept.count == 5
    assert user_callbacks.forgetful(adapted([kept, Logged(), k.History(), Callback()])) == ["Logged", "Callback"]


def test_what_no_epoch_logs_cannot_be_monitored(digits):
    from .job import recipe_for

    problem = recipe_for(digits).problem  # scored by "score"
    check_monitored(adapted([k.EarlyStopping("val_score"), k.EarlyStopping("accuracy"), Logged()]), problem)
    with pytest.raises(ConfigError, match=r"monitors 'val_f1', which is not logged here; there are loss, .*val_score"):
        check_monitored(adapted([k.EarlyStopping("val_f1")]), problem)


def test_a_resumed_run_has_the_callbacks_it_was_begun_with():
    check_same(["Logged", "History"], adapted([Logged(), k.History()]))
    for then, now in (["Logged"], []), ([], [Logged()]), (["Logged", "History"], [k.History(), Logged()]):
        with pytest.raises(ConfigError, match="was begun with"):
            check_same(then, adapted(now))


def test_a_head_is_shown_as_it_is_built_and_is_none_the_worse_for_it(digits):
    from .job import numbers, recipe_for

    logged, watched = Logged(), recipe_for(digits, epochs=3, dropout=0.3)
    watched.trainer.callbacks = adapted([logged])
    found, plain = numbers(watched.run()), numbers(recipe_for(digits, epochs=3, dropout=0.3).run())
    for name in plain:
        np.testing.assert_array_equal(found[name], plain[name], err_msg=name)
    weights = [call[2] for call in logged.calls if isinstance(call[0], int)]
    assert all((a[0] != b[0]).any() for a, b in pairwise(weights))
    assert {type(layer).__module__.partition(".")[0] for layer in logged.model.layers} == {"keras"}
    assert logged.calls[-1][0] == "end"
