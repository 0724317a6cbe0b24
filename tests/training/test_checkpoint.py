import json
import re
import zipfile

import keras
import numpy as np
import pytest

from tests.marks import extended
from transferkit import compute
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.training import checkpoint, optimizers
from transferkit.training.fit import Callback

from .conftest import losses_of, scripted


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
def test_a_damaged_checkpoint_is_said_and_the_phase_starts_again(loop, tmp_path, damage):
    path = tmp_path / "phase.npz"
    expected = loop(checkpoint=path).run()
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": b"not a checkpoint"}[damage])
    reporter = Reporter(quiet=True)
    progress = loop(checkpoint=path, reporter=reporter).run()
    assert "is damaged" in reporter.warnings[0]
    assert strip(progress.rows) == strip(expected.rows)


@pytest.mark.parametrize("number", extended([3, 60], [60]))
def test_no_byte_of_a_checkpoint_can_change_what_goes_on(number, loop, tmp_path):
    path = tmp_path / "phase.npz"
    first = loop(checkpoint=path)
    expected, content = first.run(), path.read_bytes()
    weights = compute.values(first.model.weights)
    shapes = [found.span(1) for found in re.finditer(rb"'shape': \((\d+)", content)][:number]
    assert shapes
    bits = [(place, 1 << place % 8) for place in range(0, len(content), len(content) // number)]
    for place, flipped in [*((end - 1, 1 << bit) for _, end in shapes for bit in (0, 1)), *bits]:
        path.write_bytes(content[:place] + bytes([content[place] ^ flipped]) + content[place + 1 :])
        again = loop(checkpoint=path)
        assert strip(again.run().rows) == strip(expected.rows), place
        assert all(map(np.array_equal, weights, compute.values(again.model.weights))), place


def test_a_large_array_that_says_it_is_smaller_is_damage(tmp_path):
    """NumPy reads what the header says; of a member that is larger than a buffer, the checksum is never come to."""
    path = tmp_path / "phase.npz"
    np.savez(path, m0=np.ones(5000))
    path.write_bytes(path.read_bytes().replace(b"(5000,)", b"(1000,)"))
    with np.load(path) as stored:
        assert stored["m0"].shape == (1000,)
        with pytest.raises(zipfile.BadZipFile, match="m0"):
            checkpoint._check_whole(stored.zip)


def test_a_checkpoint_holds_plain_data(loop, tmp_path):
    loop(checkpoint=tmp_path / "phase.npz").run()
    with np.load(tmp_path / "phase.npz", allow_pickle=False) as saved:
        assert json.loads(str(saved["state"]))["progress"]["done"] is True
    assert [path.name for path in tmp_path.iterdir() if "phase" in path.name] == ["phase.npz"]


class Counting(Callback):
    """Ends a phase after so many epochs, counted by itself, and keeps what it saw."""

    def __init__(self, ends):
        self.ends, self.seen, self.names = ends, np.zeros(0), {}

    def on_train_begin(self, loop):
        self.seen, self.names = np.zeros(0), {}

    def on_epoch_end(self, loop):
        self.seen = np.append(self.seen, loop.rows[-1]["val_loss"])
        self.names[f"epoch {loop.epoch}"] = [np.float32(loop.epoch), None, "é"]
        if len(self.seen) >= self.ends:
            loop.stop()

    def state_dict(self):
        return {"seen": self.seen, "names": self.names}

    def load_state_dict(self, state):
        self.seen, self.names = state["seen"], state["names"]


def test_a_callers_callback_goes_on_where_it_was(loop, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_EVERY_SECONDS", -1.0)
    expected, counting = loop(own=[Counting(4)]).run(), Counting(4)
    stopped_after(loop(own=[Counting(9), Counting(4)], checkpoint=tmp_path / "phase.npz"), 2)
    progress = loop(own=[Counting(9), counting], checkpoint=tmp_path / "phase.npz").run()
    assert progress.epoch == 4
    assert strip(progress.rows) == strip(expected.rows)
    np.testing.assert_array_equal(counting.seen, [row["val_loss"] for row in progress.rows])
    assert counting.names["epoch 2"] == [2.0, None, "é"]
    again = Counting(4)  # of a phase that was done before it has the state of its end
    loop(own=[Counting(9), again], checkpoint=tmp_path / "phase.npz").run()
    np.testing.assert_array_equal(again.seen, counting.seen)


def test_callbacks_may_come_and_go_without_harm_to_the_others(loop, tmp_path):
    path = tmp_path / "phase.npz"
    expected = loop().run()
    loop(checkpoint=path, pause=3, own=[Counting(9)]).run()
    counting = Counting(9)
    progress = loop(checkpoint=path, own=[Callback(), counting]).run()
    assert strip(progress.rows) == strip(expected.rows)
    assert len(counting.seen) == 6
    assert strip(loop(checkpoint=path).run().rows) == strip(expected.rows)


@pytest.mark.parametrize("state", [{"f": print}, {"a": np.array([print])}, {1: 2}])
def test_a_state_that_is_no_plain_data_is_refused_by_its_owners_name(loop, tmp_path, state):
    class Keeping(Callback):
        def state_dict(self):
            return state

    with pytest.raises(ConfigError, match=r"state_dict\(\) of callback Keeping holds a"):
        loop(checkpoint=tmp_path / "phase.npz", own=[Keeping()], epochs=1).run()
    assert list(tmp_path.iterdir()) == []
