"""Objects of Keras that `finetune` cannot take are answered with the lines that use them in plain Keras."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from transferkit import tasks
from transferkit.api.data import Data
from transferkit.config import Given
from transferkit.data.readers import datasets
from transferkit.data.source import scan
from transferkit.errors import DataError, TransferKitError
from transferkit.training import user_callbacks
from transferkit.training.fit import Callback

# Keras' class, or function, → the setting's word for it.
OPTIMIZERS = {"AdamW": "adamw", "Adam": "adam", "SGD": "sgd", "RMSprop": "rmsprop"}
LOSSES = {
    "CategoricalCrossentropy": "crossentropy", "SparseCategoricalCrossentropy": "crossentropy",
    "BinaryCrossentropy": "crossentropy", "MeanSquaredError": "squared", "MeanAbsoluteError": "absolute",
    "Huber": "huber", "categorical_crossentropy": "crossentropy", "sparse_categorical_crossentropy": "crossentropy",
    "binary_crossentropy": "crossentropy", "mean_squared_error": "squared", "mean_absolute_error": "absolute",
    "huber": "huber",
}  # fmt: skip
KEYWORDS = ("callbacks", "validation_data")  # of `fit`: no setting has such a name
NETWORK = "efficientnet_lite0"
MANY = 10  # classes, where the data does not say how many


def data(given: Any, settings: Mapping[str, Any]) -> Any:
    """`given`, with a dataset read into arrays; all else as it is. Raises DataError with the lines where that fails.

    Args:
        given: what a verb was given as its data.
        settings: its keywords; the lines repeat them.

    Raises:
        DataError: a dataset that cannot be read; the text holds the lines that train on it with plain Keras.
    """
    kind = datasets.kind(given)
    if not kind:
        return given
    try:
        return datasets.arrays(given)
    except DataError as error:
        raise DataError(f"{error}. As it is, it goes into a loop of your own:\n{lines(given, settings)}") from error


def problems(given: Any, settings: Given, callbacks: Any = None) -> list[str]:
    """What `settings` hold of Keras' objects, with the lines that use them; these are taken out of `settings`.

    Args:
        given: the data, which the lines name.
        settings: the keywords of a verb; what is answered here is removed from them.
        callbacks: those that `finetune` was given: the ones it cannot take are answered too.

    Returns:
        Problems, each with its remedy; empty where there is none.
    """
    found = {name: value for name, value in settings.items() if name in KEYWORDS or _of_keras(value)}
    for name in found:
        del settings[name]
    said, refused = [_answer(name, value) for name, value in found.items()], user_callbacks.problems(callbacks)
    if any(map(user_callbacks.is_of_keras, user_callbacks.listed(callbacks))):
        said, refused = [*said, *refused], []
        found["callbacks"] = callbacks
    if not said:
        return refused
    return [
        *refused,
        f"{'; '.join(said)}. With plain Keras, where {_names(found)} yours:\n{lines(given, {**settings, **found})}",
    ]


def callbacks(given: Any, settings: Mapping[str, Any]) -> tuple[list[Callback], list[str]]:
    """Callbacks as the training loop takes them, none where `problems` answers; and what contradicts them.

    Args:
        given: one callback, several, or None.
        settings: the keywords of `finetune`.

    Returns:
        The callbacks, and the problems.
    """
    if user_callbacks.problems(given):
        return [], []
    found = user_callbacks.adapted(given)
    if found and settings.get("head") == "auto":
        return [], [
            "callbacks would never be called with --head auto: a classifier chosen by cross-validation is fitted in "
            "one step; use --head mlp, or drop one of them"
        ]
    return found, []


def lines(given: Any, settings: Mapping[str, Any]) -> str:
    """Five lines that train a network on `given` with Keras' own `fit`; names of what is the caller's stay names.

    Args:
        given: the data, which the lines name.
        settings: the keywords of a verb: network, freeze policy, task, and what of them is the caller's own object.

    Returns:
        Python, indented by four blanks.
    """
    task = tasks.of(tasks.named(str(settings.get("task"))) or tasks.SINGLE)
    head = "" if task.name == tasks.SINGLE else f', task="{task.name}"'
    loss, metric = task.keras_loss, task.keras_metric
    own = {name for name, value in settings.items() if name in KEYWORDS or _of_keras(value)}
    network, policy = settings.get("backbone") or NETWORK, settings.get("unfreeze", "none")
    more = "".join(f", {name}={name}" for name in KEYWORDS if name in own)
    text = f"""\
base = {"backbone" if "backbone" in own else f'tk.freeze(tk.backbone("{network}"), "{policy}")'}
head = tk.build_head(base, classes={_classes(given)}{head})
model = tk.assemble(base, head)  # takes uint8 pictures [n, *base.input_shape[1:]]
model.compile({_named("optimizer", own, "adam")}, {_named("loss", own, loss)}, metrics=["{metric}"])
model.fit({_fit(given)}{more})"""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _of_keras(value: Any) -> bool:
    """Whether it is an object, a class or a function of Keras, or a list with one."""
    if isinstance(value, list | tuple):
        return any(_of_keras(item) for item in value)
    bases = type(value).__mro__
    named = getattr(value, "__module__", None) if callable(value) else None
    return any(str(room).partition(".")[0] == "keras" for room in (*(b.__module__ for b in bases), named))


def _answer(name: str, value: Any) -> str:
    """What is said of one: what it is, and the setting that does the like."""
    kind = getattr(value, "__name__", type(value).__name__)
    if name == "backbone":
        return f"backbone is a Keras model; {name}='mine.keras' takes it after model.save('mine.keras')"
    if name in KEYWORDS:
        like = {
            "callbacks": "a search takes none, for its trials run in processes of their own; finetune does",
            "validation_data": "the data says which pictures validate (a folder val/, a column split), or split does",
        }[name]
        return f"{name} is no setting: {like}"
    ours = (OPTIMIZERS if name == "optimizer" else LOSSES if name == "loss" else {}).get(kind)
    like = f"; the nearest setting is {name}='{ours}'{_rate(value)}" if ours else ""
    return f"{name} is Keras' {kind}, where a name is taken{like}"


def _rate(optimizer: Any) -> str:
    with suppress(TypeError, ValueError, AttributeError):
        return f", learning_rate={float(optimizer.learning_rate):g}"
    return ""


def _names(found: Mapping[str, Any]) -> str:
    *most, last = found
    return f"{', '.join(most)} and {last} are" if most else f"{last} is"


def _named(name: str, own: set[str], otherwise: str) -> str:
    return name if name in own else f'"{otherwise}"'


def _fit(given: Any) -> str:
    if datasets.kind(given):
        return "data"
    if isinstance(given, tuple) and len(given) >= 2:
        return "x, y"
    if isinstance(given, str | Path) and Path(given).expanduser().is_dir():
        size = "image_size=base.input_shape[1:3]"
        return f"keras.utils.image_dataset_from_directory({str(given)!r}, {size})"
    return "pictures, labels"


def _classes(given: Any) -> int:
    """How many answers there are, as far as the data tells without being read."""
    names = getattr(given, "class_names", None)
    if names:
        return len(names)
    if isinstance(given, Data):
        return len(given.classes)
    with suppress(TransferKitError, OSError):
        return MANY if datasets.kind(given) else len(scan(given, strict=False).classes)
    return MANY
