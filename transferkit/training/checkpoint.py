"""A phase on disk: model, optimizer, progress and the callbacks' states in one file of plain data, never a pickle."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute, terms
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.files import ARRAY_DAMAGE, atomic_path
from transferkit.text import shown
from transferkit.training.fit import Callback, Loop

SAVE_EVERY_SECONDS = 20.0  # between two checkpoints: what a kill can cost
ARRAY = "__array__"  # stands in the JSON for an array, with its number in the file


class Checkpoint(Callback):
    """Saves a phase as it goes and at its end, and takes it up again from there, to the same result bit by bit.

    The first of the callbacks: it restores before the others begin, and saves after they have ended an epoch.
    """

    def __init__(self, path: Path, reporter: Reporter) -> None:
        self.path, self.reporter = path, reporter

    def on_train_begin(self, loop: Loop) -> None:
        """Restore what is there; a file that is damaged, or of another version, is said and not used."""
        self._saved = time.monotonic()
        if not self.path.exists():
            return
        groups = (loop.model.variables, loop.optimizer.variables)
        try:
            # A file of our own: np.load leaves one open that turns out to be damaged.
            with open(self.path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
                _check_whole(stored.zip)
                state = json.loads(str(stored["state"]))
                content = [
                    [stored[f"{letter}{i}"] for i in range(len(group))]
                    for letter, group in zip("mo", groups, strict=True)
                ]
                progress, states = state["progress"], _unpacked(state["callbacks"], stored)
        except ARRAY_DAMAGE as error:
            self.reporter.warn(f"{self.path} is damaged, or of another version ({error}); {loop.name} starts again")
            return
        for group, values in zip(groups, content, strict=True):
            compute.assign(group, values)
        best = progress["best"]
        loop.progress.__dict__.update(progress, best=None if best is None else (best[0], best[1]))
        # Trackers may come and go between two calls: what a callback has no state for, it begins again.
        loop.restored = {place: states[key] for place, key in enumerate(_keys(loop)) if key in states}
        what = "done before" if loop.progress.done else f"going on after epoch {loop.epoch}"
        self.reporter.say(f"{terms.phase(loop.name)}: {what}")

    def on_epoch_end(self, loop: Loop) -> None:
        """Save, where it is time."""
        if loop.finished or time.monotonic() - self._saved > SAVE_EVERY_SECONDS:
            self._save(loop)
            self._saved = time.monotonic()

    def _save(self, loop: Loop) -> None:
        arrays: dict[str, np.ndarray] = {}
        states = {
            key: _packed(callback.state_dict(), arrays, callback)
            for key, callback in zip(_keys(loop), loop.callbacks, strict=True)
        }
        state = json.dumps({"progress": loop.progress.__dict__, "callbacks": states})
        arrays |= {f"m{i}": v for i, v in enumerate(compute.values(loop.model.variables))}
        arrays |= {f"o{i}": v for i, v in enumerate(compute.values(loop.optimizer.variables))}
        with atomic_path(self.path) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, state=np.array(state), **arrays)  # type: ignore[arg-type]


def _check_whole(archive: zipfile.ZipFile) -> None:
    """Raise where a member is damaged: of one whose shape has become smaller, no checksum is looked at otherwise."""
    damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{shown(damaged)} is not what was written")


def _keys(loop: Loop) -> list[str]:
    """A key for each callback's state: its name, and which of those of that name it is."""
    names = [callback_name(callback) for callback in loop.callbacks]
    return [f"{name} {names[:place].count(name)}" for place, name in enumerate(names)]


def callback_name(callback: Callback) -> str:
    """What a callback is called in records and messages: its class, or what it says of itself."""
    return str(getattr(callback, "name", type(callback).__name__))


def _packed(value: Any, arrays: dict[str, np.ndarray], owner: Callback) -> Any:
    """`value` as JSON takes it; arrays go into `arrays`. Raises ConfigError for what is no plain data."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU":
        arrays[f"c{len(arrays)}"] = value
        return {ARRAY: f"c{len(arrays) - 1}"}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_packed(part, arrays, owner) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _packed(part, arrays, owner) for key, part in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(
        f"state_dict() of callback {callback_name(owner)} holds a {type(value).__name__}; a checkpoint keeps numbers, "
        "texts, None, NumPy arrays, and lists and dictionaries (with texts for keys) of them"
    )


def _unpacked(value: Any, arrays: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(part, arrays) for part in value]
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            return arrays[value[ARRAY]]
        return {key: _unpacked(part, arrays) for key, part in value.items()}
    return value
