"""Whether the winner really wins: figures against scikit-learn and known cases, and what is said of them."""

import numpy as np
import pytest

from transferkit.data.samples import Samples
from transferkit.tuning.verdict import against


def samples_of(task, targets, classes):
    n = len(targets)
    names = tuple(f"{i}.png" for i in range(n))
    nothing = (None,) * n
    return Samples(None, names, targets, classes, task, nothing, nothing, None, None, "arrays")


@pytest.fixture
def classified():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    good, poor = (np.eye(3)[np.where(rng.random(300) < right, targets, (targets + 1) % 3)] for right in (0.95, 0.6))
    return samples_of("classify", targets, ("a", "b", "c")), good, poor


def test_a_clear_win_is_called_one(classified):
    samples, good, poor = classified
    found = against("the default settings", "val", samples, "auto", good, poor, 0)
    assert found.metric == "accuracy"
    assert found.winner == pytest.approx((good.argmax(1) == samples.targets).mean())
    assert found.score == pytest.approx((poor.argmax(1) == samples.targets).mean())
    assert found.gain == pytest.approx(found.winner - found.score)
    assert 0 < found.low < found.gain < found.high
    assert found.sure
    assert found.words().startswith("better than the default settings, beyond chance: accuracy 0.9")


def test_a_loss_is_called_one_too(classified):
    samples, good, poor = classified
    found = against("the runner-up", "test", samples, "auto", poor, good, 0)
    assert found.high < 0
    assert found.words().startswith("worse than the runner-up, beyond chance")


def test_no_difference_is_not_told_apart(classified):
    samples, good, _ = classified
    other = good.copy()
    other[:2] = other[:2][:, ::-1]
    found = against("the runner-up", "val", samples, "macro_f1", good, other, 0)
    assert not found.sure
    assert found.words().startswith("not told apart from the runner-up: macro F1")
    alike = against("the runner-up", "val", samples, "macro_f1", good, good.copy(), 0)
    assert alike.words().endswith("(the same in every resample of them)")  # no interval from 0 to 0


def test_lower_is_better_where_it_is():
    from sklearn.metrics import mean_absolute_error

    rng = np.random.default_rng(1)
    targets = rng.normal(size=(200, 1)).astype(np.float32)
    near, far = targets + rng.normal(scale=0.1, size=(200, 1)), targets + rng.normal(scale=1, size=(200, 1))
    found = against("the default settings", "val", samples_of("regress", targets, ("y",)), "mae", near, far, 0)
    assert found.winner == pytest.approx(mean_absolute_error(targets, near), abs=1e-6)
    assert found.gain == pytest.approx(found.score - found.winner)
    assert found.low > 0


def test_nothing_to_judge_is_no_comparison(classified):
    samples, good, _ = classified
    assert against("x", "test", samples.select([]), "auto", good[:0], good[:0], 0) is None
    one = samples.select(np.flatnonzero(samples.targets == 0))
    alike = good[samples.targets == 0]
    assert against("x", "test", one, "roc_auc", alike, alike, 0) is None
