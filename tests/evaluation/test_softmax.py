"""Logistic regression over blocks of rows is the one over all of them."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.errors import TrainingError
from transferkit.evaluation import softmax

LABELS = np.arange(120) % 4
ROWS = (np.random.default_rng(0).normal(size=(120, 1, 6)) + np.eye(4, 6)[LABELS][:, None]).astype(np.float32)


@pytest.mark.parametrize(("codes", "outputs"), [(LABELS, 4), (LABELS % 2, 1)])
def test_blocks_of_any_size_come_to_the_same_weights(
    codes: np.ndarray, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax, "GRADIENT", 1e-7)
    start = np.zeros(7 * outputs)
    whole, parts = (softmax.fit(ROWS, codes, outputs, 0.5, start, 500, 5000, most) for most in (1000, 7))
    assert np.allclose(whole, parts, atol=1e-3)
    assert not start.any()
    logits = ROWS[:, 0] @ parts.reshape(7, outputs)[:-1] + parts.reshape(7, outputs)[-1]
    guess = logits.argmax(1) if outputs > 1 else (logits[:, 0] > 0).astype(int)
    assert (guess == codes).mean() > 1.2 / max(outputs, 2)


def test_a_loss_that_is_no_number_is_an_error() -> None:
    with np.errstate(invalid="ignore"), pytest.raises(TrainingError, match="is no number"):
        softmax.fit(np.full_like(ROWS, np.nan), LABELS, 4, 0.5, np.zeros(28), 10, 100)
