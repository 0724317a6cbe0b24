"""Callbacks that a caller passes to `finetune`: our own `Callback`s, and Keras' where their contract can be kept.

Kept for Keras': `on_train_begin`, `on_epoch_begin`, `on_epoch_end` with logs, `on_train_end`, `set_params`, the model
(to be read) and `model.stop_training`. What needs more is refused before anything is written. Never imports Keras.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from transferkit.errors import ConfigError, raise_problems
from transferkit.record import HistoryRow
from transferkit.training.checkpoint import callback_name
from transferkit.training.fit import Callback, CallbackState, Loop
from transferkit.training.problem import Problem

HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
KERAS_HOOKS = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end")
UNKEPT = "it saves the network in training, which is a head on cached features here, without what is below it"
# Class of keras.callbacks → why it is refused, and what does the like.
REFUSED = {
    "ModelCheckpoint": (UNKEPT, "the best epoch's weights are kept anyway, and model.keras is the whole network"),
    "OrbaxCheckpoint": (UNKEPT, "a run saves itself as it goes, and --resume goes on with it"),
    "BackupAndRestore": (UNKEPT, "a run saves itself as it goes, and --resume goes on with it"),
    "LearningRateScheduler": ("the rate of every step is planned before", "use --schedule, --learning-rate"),
    "ReduceLROnPlateau": ("the rate of every step is planned before", "use --schedule plateau"),
    "SwapEMAWeights": ("the optimizer averages the weights already", "use --ema"),
    "TensorBoard": ("it logs within epochs, and graphs", "use --track tensorboard"),
    "ProgbarLogger": ("progress is shown already", "drop it"),
    "TerminateOnNaN": ("a loss that is no number ends the run with an error already", "drop it"),
}
# Attributes in which a callback of Keras' own counts, and which a checkpoint has to keep.
COUNTED = {
    "EarlyStopping": ("wait", "best", "best_epoch", "stopped_epoch"),
    "History": ("epoch", "history"),
}


class KerasCallback(Callback):
    """A callback of Keras', told of each phase as of one `fit` of an uncompiled model."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.name = type(inner).__name__

    def on_train_begin(self, loop: Loop) -> None:
        """Set model and params, and what "auto" means for a monitored score that only we know."""
        model = loop.current_model()
        model.stop_training = False
        self.inner.set_model(model)
        self.inner.set_params({"verbose": 0, "epochs": loop.epochs, "steps": loop.batches.steps})
        if getattr(self.inner, "mode", None) == "auto" and hasattr(self.inner, "monitor"):
            rises = loop.goal.maximise if self.inner.monitor == f"val_{loop.goal.name}" else False
            self.inner.mode = "max" if rises or self.inner.monitor == "accuracy" else "min"
        self.inner.on_train_begin({})

    def on_epoch_begin(self, loop: Loop) -> None:
        """Epochs are counted from 0."""
        self.inner.on_epoch_begin(loop.epoch, {})

    def on_epoch_end(self, loop: Loop) -> None:
        """Logs are the numbers of the epoch's row of history.csv."""
        model = loop.current_model()  # brings the weights up to date
        self.inner.on_epoch_end(loop.epoch - 1, logs(loop.rows[-1]))
        if model.stop_training:
            loop.stop()

    def on_train_end(self, loop: Loop) -> None:
        """The last logs once more."""
        loop.current_model()
        self.inner.on_train_end(logs(loop.rows[-1]))

    def state_dict(self) -> CallbackState:
        """What it says itself, or what Keras' own count by."""
        if hasattr(self.inner, "state_dict"):
            return dict(self.inner.state_dict())
        return {name: _plain(getattr(self.inner, name, None)) for name in self._counted()}

    def load_state_dict(self, state: CallbackState) -> None:
        """See `state_dict`."""
        if hasattr(self.inner, "load_state_dict"):
            self.inner.load_state_dict(state)
            return
        for name, value in state.items():
            setattr(self.inner, name, value)

    def _counted(self) -> tuple[str, ...]:
        return next((COUNTED[name] for name in _keras_names(self.inner) if name in COUNTED), ())


def logs(row: HistoryRow) -> dict[str, float]:
    """The numbers of a row of history.csv by Keras' names: loss, accuracy, val_loss, val_<metric>, learning_rate."""
    return {k: float(v) for k, v in row.items() if k not in ("phase", "epoch", "seconds") and v is not None}


def listed(given: Any) -> tuple[Any, ...]:
    """What a caller passed, one or several or None, as a tuple."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list | tuple) else (given,)


def adapted(given: Any) -> list[Callback]:
    """The callbacks a caller passed, as our loop takes them. To be called once `problems` found none."""
    return [one if isinstance(one, Callback) else KerasCallback(one) for one in listed(given)]


def names(callbacks: Iterable[Callback]) -> list[str]:
    """What they are called in run.json."""
    return [callback_name(callback) for callback in callbacks]


def problems(given: Any) -> list[str]:
    """Why callbacks that a caller passed cannot be taken, one text each, with what to do instead."""
    return [text for one in listed(given) for text in _problems(one)]


def is_of_keras(one: Any) -> bool:
    """Whether it is a callback of Keras'."""
    return "Callback" in _keras_names(one)


def check_monitored(callbacks: Sequence[Callback], problem: Problem) -> None:
    """Raise where a callback of Keras' monitors what no epoch logs.

    Args:
        callbacks: as the loop takes them.
        problem: says by what validation is scored.

    Raises:
        ConfigError: with what is logged.
    """
    known = ["loss", "val_loss", f"val_{problem.goal.name}", "learning_rate"]
    known += ["accuracy"] * problem.samples.kind.exclusive
    found = []
    for callback in callbacks:
        monitor = getattr(getattr(callback, "inner", None), "monitor", None)
        if isinstance(monitor, str) and monitor not in known:
            found.append(
                f"{callback_name(callback)} monitors {monitor!r}, which is not logged here; there are "
                f"{', '.join(known)}; what validation is scored by is chosen with --metric"
            )
    raise_problems(ConfigError, found)


def check_same(then: Sequence[str], callbacks: Iterable[Callback]) -> None:
    """Raise where a run that is resumed was begun with other callbacks.

    Args:
        then: names of those that it was begun with.
        callbacks: those of now.

    Raises:
        ConfigError: with both lists.
    """
    now = names(callbacks)
    if list(then) != now:
        raise ConfigError(
            f"--resume: the run was begun with {_described(then)}, and now there are {_described(now)}; give "
            "finetune() the same callbacks, in the same order, or start again with another --output"
        )


def forgetful(callbacks: Iterable[Callback]) -> list[str]:
    """The names of those that give a checkpoint nothing to keep."""
    return [callback_name(callback) for callback in callbacks if not callback.state_dict()]


def _described(some: Sequence[str]) -> str:
    return f"the callbacks {', '.join(some)}" if some else "no callbacks"


def _problems(one: Any) -> list[str]:
    kind = type(one).__name__
    if isinstance(one, type):
        return [f"callbacks: {one.__name__} is a class; give an object of it, {one.__name__}(…)"]
    if isinstance(one, Callback):
        unknown = [name for name in dir(one) if name.startswith("on_") and name not in HOOKS]
        said = f"callbacks: {kind} has {', '.join(unknown)}, which is no hook; hooks are {', '.join(HOOKS)}"
        return [said] if unknown else []
    if not is_of_keras(one):
        return [f"callbacks: {kind} is none; give objects of classes made from transferkit.Callback, or Keras' own"]
    return _keras_problems(one)


def _keras_problems(one: Any) -> list[str]:
    kind, family = type(one).__name__, _keras_names(one)
    for name in family:
        if name in REFUSED:
            why, instead = REFUSED[name]
            return [f"callbacks: {kind} cannot be taken: {why}; {instead}"]
    if "EarlyStopping" in family and one.restore_best_weights:
        return [
            f"callbacks: {kind}(restore_best_weights=True) cannot be taken: every phase ends with the weights that "
            "validated best by --metric; drop restore_best_weights"
        ]
    if "CSVLogger" in family and not one.append:
        return [
            f"callbacks: {kind} begins its file again with each phase; give append=True, or read the run's history.csv"
        ]
    unkept = sorted(_overridden(one))
    if unkept:
        return [
            f"callbacks: {kind} cannot be taken: {', '.join(unkept)} would never be called, for many steps are one "
            f"compiled call; use {', '.join(KERAS_HOOKS)}, or a transferkit.Callback"
        ]
    return []


def _overridden(one: Any) -> set[str]:
    """Hooks besides those that are kept, which the class or the object (as LambdaCallback does) gives a body."""
    base = next(kind for kind in type(one).__mro__ if kind.__name__ == "Callback" and _of_keras(kind))
    hooks = {name for name in dir(one) if name.startswith("on_")} - {*KERAS_HOOKS}
    return {name for name in hooks if name in vars(one) or getattr(type(one), name) is not getattr(base, name, None)}


def _keras_names(one: Any) -> list[str]:
    """The names of the Keras classes that it is made from."""
    return [kind.__name__ for kind in type(one).__mro__ if _of_keras(kind)]


def _of_keras(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "keras"


def _plain(value: Any) -> Any:
    """A number that may be a tensor as Python's."""
    return float(value) if hasattr(value, "dtype") and hasattr(value, "shape") else value
