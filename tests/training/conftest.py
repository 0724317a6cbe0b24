import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.console import Reporter
from transferkit.training import callbacks, fit
from transferkit.training.batches import Batches
from transferkit.training.fit import Loop, StoppingMetric
from transferkit.training.losses import cross_entropy, mean_loss


class Arrays:
    """A source whose rows are given: view v of a picture is the row plus `shift` times v."""

    for_gpu = False

    def __init__(self, *tensors, shift=0.0):
        self.tensors, self.shift = tensors, shift
        self.shapes = [tensor.shape[1:] for tensor in tensors]
        self.asked = []

    def take(self, pictures, views):
        self.asked.append((pictures.copy(), views.copy()))
        return [t[pictures] + self.shift * views.reshape(-1, *[1] * (t.ndim - 1)) for t in self.tensors]


@pytest.fixture
def arrays():
    return Arrays


def toy(count=60, seed=0):
    """Three classes in eight dimensions, noisy enough that some are confused."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = rng.normal(0, 1, (count, 8)) + 1.2 * np.eye(3, 8)[labels]
    return x.astype(np.float32), np.eye(3, dtype=np.float32)[labels]


def head(dropout=0.3, seed=0):
    inputs = keras.Input((8,))
    x = keras.layers.Dense(16, activation="relu", kernel_initializer=keras.initializers.HeNormal(seed))(inputs)
    x = keras.layers.Dropout(dropout, seed=5)(x)
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed))(x))


def accuracy_of(targets):
    return StoppingMetric("accuracy", True, lambda outputs: float((outputs.argmax(1) == targets.argmax(1)).mean()))


def scripted(scores, losses=None):
    """A goal whose scores are given, epoch by epoch."""
    line = iter(scores)
    return StoppingMetric("accuracy", True, lambda outputs: next(line))


def losses_of(monkeypatch, values):
    line = iter(values)
    monkeypatch.setattr(fit, "mean_loss", lambda *args: next(line))


AROUND = ("patience", "plateau", "checkpoint", "deadline", "reporter", "own")


def around(optimizer, own=(), patience=100, reporter=None, **more):
    return callbacks.phase_callbacks(own, optimizer, patience, reporter or Reporter(quiet=True), **more)


@pytest.fixture
def loop():
    """A small phase: 60 rows to train on, 30 others to validate; `changes` are of Loop or `phase_callbacks`."""

    def make(**changes):
        (x, y), (vx, vy) = toy(), toy(30, 1)
        model = changes.pop("model", None) or head()
        forwards = {}  # one trace a model
        batches = Batches(Arrays(x), np.arange(60), y, np.ones(60, np.float32), 16, 0, 0)
        fields = {
            "name": "head", "model": model, "optimizer": keras.optimizers.AdamW(1e-2),
            "loss_key": ("classify", "crossentropy"), "batches": batches,
            "validate": lambda m: forwards.setdefault(m, compute.forward(m))([vx])[0],
            "validation_targets": vy, "goal": accuracy_of(vy),
            "epochs": 6, "top_rate": 1e-2,
        }  # fmt: skip
        optimizer = changes.get("optimizer", fields["optimizer"])
        told = around(optimizer, **{k: changes.pop(k) for k in tuple(changes) if k in AROUND})
        return Loop(**{**fields, "callbacks": told, **changes})

    make.validation_loss = lambda model: mean_loss(
        cross_entropy, toy(30, 1)[1], compute.forward(model)([toy(30, 1)[0]])[0]
    )
    return make
