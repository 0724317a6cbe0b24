"""`finetune(callbacks=…)`: they watch, may end a phase, outlive an interruption, and are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import transferkit as tk
from transferkit.errors import ConfigError
from transferkit.wording import speak_shell

SETTINGS: dict[str, Any] = {"views": 1, "unfreeze": "from:block4", "epochs": 4, "quiet": True, "backbone": "mini"}


class Counted(tk.Callback):
    """Ends each phase after three epochs of its own count, and adds a column to the history."""

    epochs = 0

    def __init__(self, interrupt: tuple[str, int] = ("", 0)) -> None:
        self.interrupt = interrupt
        self.calls: list[tuple[str, int]] = []

    def on_train_begin(self, loop: Any) -> None:
        self.epochs = 0

    def on_epoch_begin(self, loop: Any) -> None:
        if (loop.name, loop.epoch) == self.interrupt:
            raise KeyboardInterrupt

    def on_epoch_end(self, loop: Any) -> None:
        self.epochs += 1
        self.calls.append((loop.name, loop.epoch))
        loop.rows[-1]["counted"] = self.epochs
        if self.epochs == 3:
            loop.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


@pytest.fixture(autouse=True)
def python(words: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors in Python's words; no report, which other tests read."""
    speak_shell(False)
    monkeypatch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)


def history(folder: Path) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0} for row in tk.load_run(folder).history]


@pytest.mark.slow
@pytest.mark.usefixtures("unpublished", "one_cache")
def test_a_run_interrupted_between_two_epochs_goes_on_with_its_callbacks_to_the_same_end(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transferkit.training.checkpoint.SAVE_EVERY_SECONDS", -1.0)
    whole, counted = tmp_path / "whole", Counted()
    tk.finetune(digits, output=whole, callbacks=counted, track="tensorboard", **SETTINGS)
    assert counted.calls == [(phase, epoch) for phase in ("head", "tail") for epoch in (1, 2, 3)]
    assert [row["counted"] for row in history(whole)] == [1, 2, 3] * 2
    manifest = tk.load_run(whole).manifest
    assert manifest["callbacks"] == ["Counted"]
    assert "trained with callbacks (Counted), which the command does not repeat" in manifest["notes"]
    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        tk.finetune(digits, output=folder, callbacks=[Counted(("tail", 2))], **SETTINGS)
    with pytest.raises(ConfigError, match=r"begun with the callbacks Counted, and now there are no callbacks"):
        tk.finetune(digits, output=folder, resume=True, **SETTINGS)
    again = Counted()
    tk.finetune(digits, output=folder, callbacks=[again], resume=True, **SETTINGS)
    assert again.calls == [("tail", 3)]
    assert history(folder) == history(whole)
    assert tk.load_run(folder).metrics == tk.load_run(whole).metrics


def test_what_cannot_be_taken_is_answered_before_anything_is_written(digits: Path, tmp_path: Path) -> None:
    import keras

    given: list[tuple[Any, str]] = [
        (keras.callbacks.ModelCheckpoint("a.keras"), r"ModelCheckpoint cannot be taken(.|\n)*callbacks=callbacks\)$"),
        ([Counted(), print], r"^callbacks: builtin_function_or_method is none.*own$"),
        (keras.callbacks.EarlyStopping("val_f1"), r"^EarlyStopping monitors 'val_f1'.*metric=$"),
    ]
    for callbacks, words in given:
        with pytest.raises(ConfigError, match=words):
            tk.finetune(digits, "mini", output=tmp_path / "run", quiet=True, callbacks=callbacks)
    with pytest.raises(ConfigError, match=r"never be called with head='auto'.*use head='mlp'"):
        tk.finetune(digits, "mini", output=tmp_path / "run", callbacks=Counted(), head="auto")
    more: Any = {"callbacks": [Counted()]}
    with pytest.raises(ConfigError, match="a search takes none"):
        tk.tune(digits, "mini", output=tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


def test_with_callbacks_a_head_is_trained_where_one_would_be_chosen(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr("transferkit.runs.finetune.Job.run", lambda job: begun.append(job))
    monkeypatch.setattr("transferkit.runs.trackers.Tracking.finish", lambda *_: None)
    for callbacks in ((), [Counted()]):
        tk.finetune(digits, "mini", output=tmp_path / "run", callbacks=callbacks)
    without, watched = begun
    assert without.settings.chooses_head
    assert not watched.settings.chooses_head
    assert watched.settings.head == "mlp"
    assert capsys.readouterr().err.count("head: a neural network is trained, since callbacks watch one") == 1
