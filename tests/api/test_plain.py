"""What Keras' objects get for an answer: the nearest setting, and lines that run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transferkit as tk
from transferkit.api import plain
from transferkit.errors import ConfigError, DataError, TransferKitError
from transferkit.wording import speak_shell

# What Keras says of every dataset that `fit` is given without more.
pytestmark = pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")


@pytest.fixture(autouse=True)
def python(words: None) -> None:
    speak_shell(False)


def lines_of(error: BaseException) -> str:
    """The program in a message, from `base =` to `model.fit(…)`."""
    found = re.search(r"^( +)base = .*?model\.fit\(.*?\)$", str(error), re.MULTILINE | re.DOTALL)
    assert found, str(error)
    assert len(found[0].splitlines()) == 5
    return textwrap.dedent(found[0])


def run(program: str, **own: Any) -> dict[str, Any]:
    """What the lines make, in a program of a user's."""
    import keras

    names: dict[str, Any] = {"tk": tk, "keras": keras, **own}
    exec(program, names)
    return names


def test_an_optimizer_callbacks_and_a_loss_are_answered_with_lines_that_use_them(digits: Path, tmp_path: Path) -> None:
    import keras

    class Count(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epochs += 1

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            """No loop that takes many steps at once can call it."""

    own = {
        "optimizer": keras.optimizers.Adam(2e-3),
        "callbacks": [Count()],
        "loss": keras.losses.SparseCategoricalCrossentropy(),
    }
    with pytest.raises(ConfigError) as caught:
        tk.finetune(digits, "mini", output=tmp_path / "run", unfreeze="from:block4", epochs=0, **own)
    text = str(caught.value)
    assert "optimizer='adam', learning_rate=0.002" in text
    assert "Count cannot be taken: on_train_batch_end would never be called" in text
    assert "loss='crossentropy'" in text
    assert "epochs=0" in text, "other problems are told as well"
    assert not (tmp_path / "run").exists()
    made = run(lines_of(caught.value), **own)
    assert made["model"].optimizer is own["optimizer"]
    assert own["callbacks"][0].epochs == 1  # type: ignore[index]
    assert made["model"].output_shape == (None, 10)
    assert 0 < len(made["base"].trainable_weights) < len(made["base"].weights)


@pytest.mark.parametrize("value", ["class", "function", "object"])
def test_classes_functions_and_objects_of_keras_are_known(value: str) -> None:
    import keras

    loss = {"class": keras.losses.Huber, "function": keras.losses.huber, "object": keras.losses.Huber(2.0)}[value]
    (said,) = plain.problems("nowhere", {"loss": loss, "task": "regress"})
    assert "loss='huber'" in said
    assert 'task="regress"' in said
    assert plain.problems("nowhere", {"loss": "huber", "epochs": 3, "exclude": ("a",)}) == []


def test_a_model_as_backbone_is_answered_with_its_file() -> None:
    import keras

    base = tk.backbone("mini", weights="random")
    given = {"backbone": base, "epochs": 2}
    (said,) = plain.problems((np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1]), given)
    assert "model.save('mine.keras')" in said
    assert "classes=2" in said
    assert given == {"epochs": 2}
    x, y = np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 0, 1])
    made = run(textwrap.dedent(said.split("\n", 1)[1]), backbone=base, x=x, y=y)
    assert isinstance(made["model"], keras.Model)


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_the_lines_fit_the_task(task: str) -> None:
    x, y = np.zeros((4, 32, 32, 3), np.uint8), np.array([[0, 1, 1], [1, 0, 0]] * 2, np.float32)
    program = textwrap.dedent(plain.lines((x, y), {"backbone": "mini", "task": task}))
    made = run(program.replace("classes=10", "classes=3"), x=x, y=y)
    assert made["model"].output_shape == (None, 3)


def test_a_dataset_that_cannot_be_read_gets_the_lines(tmp_path: Path) -> None:
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((np.zeros((6, 32, 32, 3), np.float32), [0, 1] * 3)).batch(2)
    with pytest.raises(DataError, match="yields pictures as float32") as caught:
        tk.finetune(data, "mini", output=tmp_path / "run")
    made = run(lines_of(caught.value), data=data)
    assert made["model"].history.epoch == [0]
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("unpublished")
@pytest.mark.extended
def test_a_dataset_of_uint8_pictures_trains_as_its_arrays_do(tmp_path: Path) -> None:
    import tensorflow as tf

    from transferkit.data.digits import digit_pictures

    pictures = digit_pictures(20)
    x, y = np.stack(list(pictures.values())), np.array([int(name[0]) for name in pictures])
    x, y = np.repeat(x[y < 3, :, :, None], 3, axis=3), y[y < 3]
    settings: dict[str, Any] = {"epochs": 2, "views": 1, "quiet": True, "head_width": 8}
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
    one = tk.finetune(dataset, "mini", output=tmp_path / "a", **settings)
    two = tk.finetune((x, y), "mini", output=tmp_path / "b", **settings)
    assert [{**row, "seconds": 0} for row in one.history] == [{**row, "seconds": 0} for row in two.history]
    assert one.evaluate(dataset)["n"] == 60


def test_tune_answers_as_finetune_does_and_paths_may_be_paths(digits: Path, tmp_path: Path) -> None:
    import keras

    wrong: Any = {"optimizer": keras.optimizers.SGD(0.1)}
    with pytest.raises(ConfigError, match=r"optimizer='sgd', learning_rate=0\.1"):
        tk.tune(digits, ["mini", "vgg16"], output=tmp_path / "run", offline=True, **wrong)
    for verb, networks in ((tk.finetune, tmp_path / "absent.keras"), (tk.tune, [tmp_path / "absent.keras"])):
        with pytest.raises(TransferKitError, match=r"no file .*absent\.keras"):
            verb(digits, networks, output=tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
