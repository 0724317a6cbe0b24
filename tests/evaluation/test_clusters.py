"""Pictures that belong together are no independent witnesses: intervals and tests by groups keep what they promise."""

import numpy as np
import pytest

from transferkit.evaluation import clusters, intervals, versus
from transferkit.evaluation.versus import Answers

GROUPS, EACH, WORLDS = 25, 12, 200


def worlds(seed=0, spread=1.5, middle=0.8):
    """Draws of hits bool [groups × pictures], whose share differs from group to group, and the groups."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(GROUPS), EACH)
    for _ in range(WORLDS):
        share = 1 / (1 + np.exp(-(middle + spread * rng.normal(size=GROUPS))))
        yield rng.random(GROUPS * EACH) < np.repeat(share, EACH), codes


def truth(spread=1.5, middle=0.8):
    return float((1 / (1 + np.exp(-(middle + spread * np.random.default_rng(1).normal(size=200_000))))).mean())


def covered(of):
    return float(np.mean([low <= truth() <= high for low, high in of]))


def test_intervals_of_shares_hold_the_truth_as_often_as_they_say_where_those_that_count_pictures_do_not():
    by_groups = [intervals.share(hits, codes) for hits, codes in worlds()]
    by_pictures = [intervals.wilson(int(hits.sum()), len(hits)) for hits, _ in worlds()]
    assert covered(by_groups) > 0.92
    assert covered(by_pictures) < 0.8


def test_bootstraps_that_draw_groups_do_so_too():
    def table(_, hits):
        return {"mean": float(hits.mean())}

    found = [
        intervals.of_table(table, hits, hits.astype(float), ends_at_one=lambda _: 0, groups=codes)["mean"]
        for hits, codes in worlds()
    ]
    assert covered(found) > 0.9
    counted = [intervals.from_counts_of(np.ones(len(h), int), h.astype(int), 2, repeats=200, groups=g)
               for h, g in worlds()]  # fmt: skip
    assert covered([scalars["accuracy"] for scalars, _ in counted]) > 0.9


def of_hits(difference, codes):
    """The edge of one model over another, of which only one is right where `difference` is 1 or -1."""
    own, other = (Answers(np.eye(2)[(difference == sign).astype(int)]) for sign in (1, -1))
    return versus.edge("classify", "accuracy", np.ones(len(codes), int), own, other, ["a", "b"], groups=codes)


def test_two_that_are_as_good_are_seldom_called_different():
    rng, codes = np.random.default_rng(3), np.repeat(np.arange(GROUPS), EACH)
    by_groups, by_pictures = [], []
    for _ in range(WORLDS):
        # In a group the one is better throughout, in another the other.
        sign = np.repeat(rng.choice([-1.0, 1.0], GROUPS), EACH)
        difference = np.where(rng.random(len(codes)) < 0.3, sign, 0.0)
        by_groups.append(of_hits(difference, codes).p)
        by_pictures.append(intervals.mcnemar(difference > 0, difference < 0))
    assert np.mean(np.array(by_groups) < 0.05) < 0.08
    assert np.mean(np.array(by_pictures) < 0.05) > 0.2


def test_a_difference_in_every_group_is_found():
    codes = np.repeat(np.arange(GROUPS), EACH)
    targets = np.zeros(len(codes), int)
    own = Answers(np.tile([0.9, 0.1], (len(codes), 1)))
    wrong = np.tile([0.9, 0.1], (len(codes), 1))
    wrong[::3] = [0.1, 0.9]
    found = versus.edge("classify", "accuracy", targets, own, Answers(wrong), ["a", "b"], groups=codes)
    assert found.gain == pytest.approx(1 / 3)
    assert found.low > 0.3
    assert found.p < 0.001
    same = versus.edge("classify", "accuracy", targets, own, own, ["a", "b"], groups=codes)
    assert (same.gain, same.p) == (0.0, 1.0)
    assert same.low < -0.02 < 0.02 < same.high


def test_of_groups_that_agree_as_many_as_there_are_count_and_of_one_none():
    every = np.ones(40, bool)
    assert intervals.share(every, np.repeat(np.arange(4), 10)) == intervals.wilson(4, 4)
    assert intervals.share(every, np.zeros(40, int)) == (0.0, 1.0)
    # Pictures of a group that are no more alike than others count as many as they are.
    mixed = np.tile([True, True, True, False], 40)
    low, high = intervals.share(mixed, np.repeat(np.arange(40), 4))
    assert (low, high) == pytest.approx(intervals.wilson(120, 160))


def test_draws_are_of_whole_groups():
    codes = np.array([0, 1, 1, 2, 2, 2])
    for rows in clusters.drawn(codes, 20, np.random.default_rng(0)):
        times = np.bincount(rows, minlength=6)
        assert times[1] == times[2]
        assert times[3] == times[4] == times[5]
        assert times[[0, 1, 3]].sum() == 3
