"""A small test split is told before training, a large one is not."""

import pytest

from transferkit import config
from transferkit.evaluation.intervals import wilson
from transferkit.runs.beforehand import coarse_test, trained_head


def test_a_small_test_split_is_told_in_points() -> None:
    low, high = wilson(29, 36)
    said = coarse_test(36, "classify", 0)
    assert said is not None
    assert said.startswith(f"36 test pictures: a score will be known to about ±{round(50 * (high - low))} points only")
    assert "--folds 5" in said
    assert coarse_test(8, "classify", 0) is not None


@pytest.mark.parametrize(("pictures", "task", "folds"), [(0, "classify", 0), (36, "classify", 5), (36, "regress", 0),
                                                         (36, "multilabel", 0), (200, "classify", 0)])  # fmt: skip
def test_where_it_does_not_matter_nothing_is_said(pictures: int, task: str, folds: int) -> None:
    assert coarse_test(pictures, task, folds) is None  # type: ignore[arg-type]


def test_pictures_of_one_film_are_not_reckoned_with_as_many() -> None:
    said = coarse_test(400, "classify", 0, groups=10)
    assert said is not None
    assert said.startswith("400 test pictures of 10 groups or films: pictures of one are alike")
    low, high = (wilson(round(0.8 * n), n) for n in (400, 10))
    assert f"between ±{50 * (low[1] - low[0]):.0f} and ±{50 * (high[1] - high[0]):.0f} points" in said
    assert coarse_test(400, "classify", 0, groups=400) is None
    assert coarse_test(36, "classify", 0, groups=36) == coarse_test(36, "classify", 0)


def test_the_limit_is_a_half_width_of_a_tenth() -> None:
    widths = {n: (wilson(round(0.8 * n), n)[1] - wilson(round(0.8 * n), n)[0]) / 2 for n in range(1, 120)}
    assert all((coarse_test(n, "classify", 0) is not None) == (width > 0.10) for n, width in widths.items())


def test_options_by_which_no_classifier_is_chosen_are_named() -> None:
    def said(**settings: object) -> str | None:
        return trained_head(config.make({"backbone": "mini", **settings}))

    assert said() is None
    assert said(epochs=2, head="auto") is said(epochs=2, head="mlp") is said(epochs=2, unfreeze="last:1") is None
    assert "because --epochs says how; with --head auto the best" in (said(epochs=2) or "")
    assert "because --dropout, --batch-size say how" in (said(dropout=0.1, batch_size=8) or "")
