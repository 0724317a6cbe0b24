import keras
import numpy as np
import pytest

from transferkit import compute
from transferkit.tasks import task
from transferkit.training import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (6, 4)).astype(np.float32)
HOT = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
BITS = RNG.integers(0, 2, (6, 4)).astype(np.float32)

PAIRS = {
    "softmax": (losses.cross_entropy, keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None), HOT),
    "smoothed": (
        lambda t, o: losses.cross_entropy(t * 0.9 + 0.025, o),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction=None),
        HOT,
    ),
    "sigmoid": (losses.binary_cross_entropy, keras.losses.BinaryCrossentropy(from_logits=True, reduction=None), BITS),
    "squared": (losses.squared, keras.losses.MeanSquaredError(reduction=None), BITS),
    "absolute": (losses.absolute, keras.losses.MeanAbsoluteError(reduction=None), BITS),
    "huber": (losses.huber, keras.losses.Huber(delta=1.0, reduction=None), BITS),
}


@pytest.mark.parametrize("name", PAIRS)
def test_losses_are_those_of_keras(name):
    ours, theirs, targets = PAIRS[name]
    np.testing.assert_allclose(np.asarray(ours(targets, LOGITS)), np.asarray(theirs(targets, LOGITS)), atol=1e-5)


@pytest.mark.parametrize("name", losses.FUNCTIONS)
@pytest.mark.parametrize("rows", [1, 6])
def test_validation_is_told_what_training_goes_by_to_the_last_digit(name, rows):
    loss, targets, outputs = losses.FUNCTIONS[name], HOT[:rows], LOGITS[:rows]
    expected = float(np.mean(np.asarray(loss(keras.ops.convert_to_tensor(targets), outputs))))
    assert losses.mean_loss(loss, targets, outputs) == expected


@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.binary_cross_entropy])
def test_no_logit_overflows(loss):
    extreme = np.array([[1e4, -1e4, 0, 0]], np.float32)
    found = np.asarray(loss(HOT[1:2], extreme))
    assert np.isfinite(found).all()
    assert found[0] > 1000


def test_the_mean_is_over_rows():
    rows = np.asarray(losses.cross_entropy(HOT, LOGITS))
    np.testing.assert_allclose(losses.mean_loss(losses.cross_entropy, HOT, LOGITS), rows.mean(), rtol=1e-6)


def test_many_are_told_a_part_at_a_time(monkeypatch):
    whole = losses.mean_loss(losses.cross_entropy, HOT, LOGITS)
    monkeypatch.setattr(task, "AT_ONCE", 2 * LOGITS.shape[1])
    given = []
    real = compute.each
    monkeypatch.setattr(compute, "each", lambda loss, *tables: given.append(len(tables[0])) or real(loss, *tables))
    assert losses.mean_loss(losses.cross_entropy, HOT, LOGITS) == whole
    assert given == [2] * (len(HOT) // 2)


def test_auto_is_the_tasks_usual_loss():
    assert losses.choose("classify", "auto") is losses.cross_entropy
    assert losses.choose("multilabel", "auto") is losses.binary_cross_entropy
    assert losses.choose("regress", "auto") is losses.squared
    assert losses.choose("regress", "huber") is losses.huber
