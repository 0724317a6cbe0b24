"""Importance: finds what mattered, says nothing where there is nothing to say."""

import math

import numpy as np
import pytest

from transferkit.tuning.importance import FEWEST, REPEATS, _forest, _permuted, importance, matrix
from transferkit.tuning.search_space.space import parse_search

SPACE = parse_search(
    [
        "learning_rate=1e-4:1e-1:log",
        "pooling=avg,max,gem",
        "dropout=0:0.5",
        "head_width=64,128,256x128",
        "augment=none,light",
        "mixup=0.1:0.4 if augment=light",
    ]
)


def trials(count, score, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        values = {
            "learning_rate": 10 ** rng.uniform(-4, -1),
            "pooling": str(rng.choice(["avg", "max", "gem"])),
            "dropout": rng.uniform(0, 0.5),
            "head_width": [(64,), (128,), (256, 128)][rng.integers(3)],
            "augment": str(rng.choice(["none", "light"])),
        }
        if values["augment"] == "light":
            values["mixup"] = rng.uniform(0.1, 0.4)
        found.append((values, score(values, rng)))
    return found


def useful(values, rng):
    return 0.3 * (values["pooling"] == "gem") - 0.1 * (math.log10(values["learning_rate"]) + 2) ** 2


def test_what_mattered_is_found_and_shares_sum_to_one():
    found = importance(SPACE, trials(40, useful))
    assert list(found.shares)[:2] in (["pooling", "learning_rate"], ["learning_rate", "pooling"])
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["pooling"] + found.shares["learning_rate"] > 0.85
    assert found.explained > 0.4
    assert found.reliable
    assert "what mattered: " in found.words()


@pytest.mark.extended
def test_noise_is_called_noise():
    unreliable = [importance(SPACE, trials(24, lambda v, rng: rng.normal(), seed)) for seed in range(2)]
    assert not any(found.reliable for found in unreliable)
    assert "do not show which settings matter" in unreliable[0].words()


def test_too_few_trials_and_equal_scores_give_none():
    assert importance(SPACE, trials(FEWEST - 1, useful)) is None
    assert importance(SPACE, [*trials(FEWEST - 1, useful), *((v, None) for v, _ in trials(9, useful))]) is None
    assert importance(SPACE, trials(20, lambda v, rng: 0.5)) is None
    assert importance(SPACE, trials(FEWEST, useful)) is not None


@pytest.mark.extended
def test_failed_trials_are_left_out_and_the_seed_decides():
    tried = trials(16, useful)
    spoilt = [*tried[:5], (tried[0][0], None), *tried[5:], (tried[1][0], float("nan"))]
    assert importance(SPACE, spoilt, seed=3) == importance(SPACE, tried, seed=3)
    assert importance(SPACE, tried, seed=3) != importance(SPACE, tried, seed=4)


def test_permuting_is_scikit_learns_to_the_last_digit():
    from sklearn.inspection import permutation_importance

    values = trials(60, useful)
    x, categorical = matrix(SPACE, [row for row, _ in values])
    y = np.array([score for _, score in values])
    forest = _forest(categorical, 0).fit(x[:40], y[:40])
    guesses, mattered = _permuted(forest, x[40:], y[40:], np.random.RandomState(5))
    expected = permutation_importance(
        forest, x[40:], y[40:], scoring="neg_mean_squared_error", n_repeats=REPEATS,
        random_state=np.random.RandomState(5),
    )  # fmt: skip
    np.testing.assert_array_equal(guesses, forest.predict(x[40:]))
    np.testing.assert_array_equal(mattered, expected.importances_mean)


def test_numbers_words_and_what_is_off_become_columns():
    rows = [
        {"learning_rate": 1e-3, "pooling": "max", "dropout": 0.0, "head_width": [64], "augment": "none"},
        {"learning_rate": 1e-1, "pooling": "avg", "dropout": 0.5, "head_width": (256, 128), "augment": "light",
         "mixup": 0.2},
    ]  # fmt: skip
    x, categorical = matrix(SPACE, rows)
    assert [SPACE.names[i] for i in categorical] == ["pooling", "augment", "head_width"]
    column = dict(zip(SPACE.names, x.T.tolist(), strict=True))
    assert column["learning_rate"] == pytest.approx([math.log(1e-3), math.log(1e-1)])
    assert column["mixup"][0] < column["mixup"][1] == 0.2
    assert column["pooling"][0] != column["pooling"][1]
