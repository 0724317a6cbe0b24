"""Figures of a search draw whatever a search can hold: one trial, failures, conditions, hostile names."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.marks import extended
from transferkit.errors import DataError
from transferkit.evaluation.plot_style import encode
from transferkit.tuning import search_figures
from transferkit.tuning.importance import Importance
from transferkit.tuning.search_space.space import Dimension, Space, parse_search

SPACE = parse_search(
    [
        "learning_rate=1e-4:3e-2:log",
        "batch_size=16,32,64,128",
        "head_width=64,256x128",
        "augment=none,light",
        "mixup=0.1:0.4 if augment=light",
        "views=1:8",
    ]
)
HOSTILE = Space(
    (
        Dimension("backbone", "choice", ("$x_1^2$", "50 $ off", "a\nb\x00.keras", "日本語", "\\frac{1", "long/" * 40)),
        Dimension("normalize", "choice", (True, False)),
        Dimension("dropout", "choice", (0.25,)),
    )
)


def tried(space, count, seed=0):
    rng, found = np.random.default_rng(seed), []
    for i in range(count):
        values = {}
        for d in space.dimensions:
            if d.holds(values):
                points = d.points(9)
                values[d.name] = points[rng.integers(len(points))]
        found.append((values, None if i % 5 == 4 else float(rng.normal())))
    return found


def drawn(figure):
    width, height = Image.open(io.BytesIO(encode(figure))).size
    assert 150 < width < 2500
    assert 150 < height < 2500
    return figure


def words(figure):
    found = []
    for axis in figure.axes:
        found += [axis.get_title(), axis.get_title(loc="left"), axis.get_xlabel(), axis.get_ylabel()]
        found += [t.get_text() for t in [*axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()]]
    return found


SPACES = {"usual": SPACE, "hostile": HOSTILE}
SEARCHES = [(name, count, dark) for name in SPACES for count in (1, 2, 40) for dark in (False, True)]
CORNERS = [("usual", 40, False), ("usual", 1, True), ("hostile", 2, False), ("hostile", 40, True)]


@pytest.mark.parametrize(("name", "count", "dark"), extended(SEARCHES, set(SEARCHES) - set(CORNERS), spread=True))
def test_any_search_is_drawn_without_a_warning(name, count, dark):
    space = SPACES[name]
    trials = tried(space, count)
    drawn(search_figures.over_time([score for _, score in trials], "macro_f1 $%", dark=dark))
    drawn(search_figures.parallel(space, trials, "macro_f1 $%", dark=dark))
    drawn(search_figures.against_score(space, trials, "macro_f1 $%", dark=dark))


def test_the_running_best_goes_the_metrics_way():
    def best(maximise):
        figure = search_figures.over_time([3.0, None, 1.0, 2.0, 5.0], "loss", maximise=maximise)
        line = next(line for line in figure.axes[0].lines if line.get_label() == "best so far")
        return [float(y) for y in line.get_ydata()]

    assert best(False) == [3, 3, 1, 1, 1]
    assert best(True) == [3, 3, 3, 3, 5]
    labels = [line.get_label() for line in search_figures.over_time([None, None], "loss").axes[0].lines]
    assert labels == ["failed"]
    timed = search_figures.over_time([1.0, 2.0], "auc", seconds=[1.5, 70.0])
    assert timed.axes[0].get_xlabel() == "seconds since the start"
    drawn(timed)


def test_log_axes_are_logarithmic_and_choices_evenly_spaced():
    trials = [({"learning_rate": 1e-3, "batch_size": 32, "head_width": [256, 128], "augment": "none", "views": 8}, 1.0)]
    figure = search_figures.parallel(SPACE, trials, "auc")
    heights = dict(zip(SPACE.names, next(iter(figure.axes[0].lines)).get_ydata(), strict=False))
    assert heights["learning_rate"] == pytest.approx(np.log(10) / np.log(300))
    assert heights["batch_size"] == pytest.approx(1 / 3)
    assert heights["head_width"] == heights["views"] == 1
    assert heights["mixup"] < 0  # off
    assert {"0.0001", "0.001", "0.03", "off", "256x128"} <= set(words(figure))


def test_the_best_trial_is_marked_whichever_way_is_best():
    space = parse_search(["dropout=0:0.4"])
    trials = [({"dropout": 0.1}, 0.2), ({"dropout": 0.3}, 0.9)]
    for maximise, place in ((True, 0.75), (False, 0.25)):
        marked = search_figures.against_score(space, trials, "auc", maximise=maximise).axes[0].lines[-1]
        assert marked.get_xdata().tolist() == pytest.approx([place])
        line = search_figures.parallel(space, trials, "auc", maximise=maximise).axes[0].lines[1]
        assert line.get_ydata()[0] == pytest.approx(place)
        assert line.get_linewidth() > 2


def test_dollar_signs_stay_text():
    found = " ".join(words(search_figures.against_score(HOSTILE, tried(HOSTILE, 20), "a$b$")))
    assert r"\$x_1^2\$" in found
    assert "\x00" not in found
    assert r"a\$b\$" in found


def test_importance_bars_are_sorted_and_admit_ignorance():
    found = Importance({"learning_rate": 0.7, "dropout": 0.3}, {"learning_rate": 0.1, "dropout": 0.2}, 0.62, 20)
    figure = drawn(search_figures.importance_bars(found))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["dropout", "learning rate"]
    assert "20 trials explain 62% of the score" in words(figure)
    unsure = Importance({"learning_rate": 0.0, "dropout": 0.0}, {"learning_rate": 0.0, "dropout": 0.0}, -0.4, 9)
    assert "9 trials explain 0% of the score: too little to go by" in words(
        drawn(search_figures.importance_bars(unsure))
    )


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no trials"):
        search_figures.over_time([], "auc")
    for function in (search_figures.parallel, search_figures.against_score):
        with pytest.raises(DataError, match="no trial has a score"):
            function(SPACE, [({"learning_rate": 1e-3}, None)], "auc")
