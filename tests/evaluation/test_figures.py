import io
import re

import numpy as np
import pytest
from PIL import Image

from transferkit.errors import DataError
from transferkit.evaluation import calibration, figures, plot_style, training_curves
from transferkit.evaluation.metrics import score
from transferkit.evaluation.metrics_record import CurveFit, CurvePoint
from transferkit.evaluation.scores import ScoreRow

HOSTILE = [
    "<script>alert(1)</script>",
    "$x_1^2$",
    "50 $ off $",
    "a\nb\x00",
    "",
    "日本語",
    "\\frac{1",
    "long " * 40,
    "🐱",
]


def history(*phases):
    return [
        {"phase": p, "epoch": e, "loss": 1 / (e + 1), "val_loss": 1.2 / (e + 1), "accuracy": 0.5,
         "val_accuracy": 0.4, "learning_rate": 10.0**-e}
        for p in phases for e in range(3)
    ]  # fmt: skip


def picture(figure):
    return Image.open(io.BytesIO(plot_style.encode(figure)))


def words(figure):
    return " ".join(t.get_text() for a in figure.axes for t in [*a.texts, *a.get_xticklabels(), *a.get_yticklabels()])


def scored(names, n=600):
    rng = np.random.default_rng(0)
    true = rng.integers(0, len(names), n)
    probs = rng.dirichlet(np.ones(len(names)), n) * 0.5 + 0.5 * np.eye(len(names))[true]
    return true, probs, score("classify", true, probs, names)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("names", [["cat", "dog"], HOSTILE, [f"c{i}" for i in range(100)]], ids=len)
def test_quality_figures_draw_any_classes_without_a_warning(names, dark):
    true, probs, scores = scored(names)
    for figure in (
        figures.confusion(scores["confusion"], names, dark=dark),
        figures.per_class(scores.rows, dark=dark),
        figures.reliability(calibration.reliability(probs, true), dark=dark),
    ):
        width, height = picture(figure).size
        assert 150 < width < 1800
        assert 120 < height < 1800


def test_of_very_many_classes_the_weakest_are_drawn_and_their_number_is_said():
    rows = [ScoreRow({"class": f"c{i}", "f1": i / 300, "support": 2}) for i in range(300)]
    figure = figures.per_class(rows)
    assert len(figure.axes[0].patches) == 120
    text = words(figure)
    assert "the lowest 120 of 300" in figure.axes[0].get_xlabel()
    assert "c119 (2)" in text
    assert "c120 (2)" not in text


def test_dollar_signs_are_text_not_formulas():
    text = words(figures.confusion(np.eye(9), HOSTILE))
    assert "$x_1^2$" in text
    assert "\x00" not in text
    assert all(not t.get_parse_math() for t in figures.confusion(np.eye(9), HOSTILE).axes[0].get_xticklabels())


def test_the_counts_are_written_where_they_can_be_read():
    matrix = np.array([[41, 7], [0, 52]])
    text = words(figures.confusion(matrix, ["a", "b"])).split()
    assert {"41", "7", "52"} <= set(text)
    assert "41" not in words(figures.confusion(np.diag([41] * 30), [f"c{i}" for i in range(30)])).split()


def test_curves_take_text_gaps_and_several_phases():
    rows = [{key: str(value) for key, value in row.items()} for row in history("head", "fine-tune")]
    rows[1]["val_loss"] = ""
    figure = training_curves.curves(rows)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "accuracy", "learning rate"]
    assert "fine-tune" in words(figure)
    picture(figure)


def test_curves_of_one_epoch_without_validation_or_score():
    assert len(training_curves.curves([{"phase": "head", "epoch": 0, "loss": 1.0}]).axes) == 1


def test_the_mark_is_on_the_best_validation_epoch():
    rows = history("head")
    rows[1]["val_loss"] = 0.01
    marks = [line for line in training_curves.curves(rows).axes[0].lines if len(line.get_xdata()) == 1]
    assert [list(mark.get_xdata()) for mark in marks] == [[2]]


def test_the_kept_epoch_is_marked_and_named_on_loss_and_score():
    figure = training_curves.curves(history("head", "fine-tune"), kept=5, loss_unit="cross-entropy, nats")
    for axis in figure.axes[:2]:
        assert [list(line.get_xdata()) for line in axis.lines if line.get_label() == "kept: epoch 6"] == [[6]]
    assert figure.axes[0].get_ylabel() == "cross-entropy, nats"
    assert figure.axes[2].get_ylabel().startswith("per step")


def test_each_panel_can_be_drawn_alone():
    rows = history("head")
    assert training_curves.curve_panels(rows) == ["loss", "accuracy", "learning_rate"]
    assert [len(training_curves.curves(rows, only=name).axes) for name in training_curves.curve_panels(rows)] == [
        1,
        1,
        1,
    ]
    values = np.random.default_rng(0).normal(size=(30, 3))
    (axis,) = figures.regression(values, values, ["a", "b", "c"], only=1).axes
    assert axis.get_title(loc="left") == "b"


def test_classes_have_their_intervals():
    known = {"class": "a", "f1": 0.5, "f1_ci95": [0.2, 0.8], "support": 9}
    rows = [ScoreRow(row) for row in (known, {"class": "b", "f1": 0.9, "support": 9})]
    lines = [list(line.get_xdata()) for line in figures.per_class(rows).axes[0].lines]
    assert [0.2, 0.8] in lines


def test_a_matrix_of_very_many_classes_has_no_names_beside_it():
    count = figures.NAMED + 1
    axis = figures.confusion(np.eye(count), [f"c{i}" for i in range(count)]).axes[0]
    assert not axis.get_xticklabels()


def test_regression_shows_at_most_six_targets():
    values = np.random.default_rng(0).normal(size=(30, 8))
    figure = figures.regression(values, values, [f"${i}" for i in range(8)])
    assert len(figure.axes) == 6
    picture(figure)


def test_the_sweep_is_not_flattened_by_its_explosion():
    rates, losses = 10.0 ** (np.arange(60) / 10 - 6), [2 - i / 40 if i < 40 else 1e6 * i for i in range(60)]
    axis = training_curves.learning_rate_range(rates, losses, chosen=1e-3).axes[0]
    assert axis.get_ylim()[1] < 10
    assert "0.001" in axis.get_legend().get_texts()[0].get_text()


def test_learning_curve_with_and_without_a_fit():
    points = [CurvePoint(n=n, score=0.9, low=0.8, high=0.95) for n in (100, 200, 400)]
    fit = CurveFit(curve=points, gain=0.0, gain_low=0.0, gain_high=0.0)
    assert len(figures.learning_curve([50, 100], [0.5, 0.6]).axes[0].collections) == 0
    assert len(figures.learning_curve([50, 100], [0.5, 0.6], fit).axes[0].collections) == 1


def test_a_figure_is_saved_as_a_whole_png(tmp_path):
    figure = figures.confusion(np.eye(2), ["a", "b"])
    path = plot_style.save(figure, tmp_path / "figures" / "confusion.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in path.parent.iterdir()] == ["confusion.png"]


def test_the_same_numbers_give_the_same_bytes():
    for kind in ("png", "svg"):
        one, two = (plot_style.encode(figures.confusion(np.eye(2), ["a", "b"]), kind) for _ in range(2))
        assert one == two


def test_dark_and_light_differ_where_it_matters():
    pixels = [
        picture(figures.confusion(np.eye(2), ["a", "b"], dark=dark)).convert("L").getpixel((2, 2)) for dark in (0, 1)
    ]
    assert pixels[0] > 240
    assert pixels[1] < 40


def test_the_users_matplotlib_settings_survive():
    import matplotlib

    before = dict(matplotlib.rcParams)
    training_curves.curves(history("head"))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda: training_curves.curves([]),
        lambda: figures.confusion(np.eye(3), ["a", "b"]),
        lambda: figures.reliability([{"count": 0}]),
        lambda: figures.per_class([ScoreRow({"class": "a", "f1": None})]),
        lambda: training_curves.learning_rate_range([1], [None], 1),
    ],
)
def test_nothing_to_draw_is_said(call):
    with pytest.raises(DataError):
        call()


def test_a_darkened_figure_has_the_colours_of_the_dark_one():
    from collections import Counter

    def colours(svg):
        return Counter(re.findall(rb"#[0-9a-f]{6}\b", svg))

    values = zip("abc", (0.05, 0.5, 1.0), strict=True)
    rows = [ScoreRow({"class": name, "f1": value, "support": 9}) for name, value in values]
    history = [{"phase": p, "epoch": e, "loss": 1 / (e + 1), "val_loss": 2 / (e + 1), "learning_rate": 0.1 / (e + 1)}
               for p in ("head", "tail") for e in range(4)]  # fmt: skip
    for build in (
        lambda dark: figures.per_class(rows, dark=dark),
        lambda dark: training_curves.curves(history, dark=dark),
    ):
        light, dark = (plot_style.encode(build(way), "svg") for way in (False, True))
        assert colours(plot_style.darkened(light)) == colours(dark) != colours(light)


def test_a_figure_saved_twice_keeps_its_layout():
    history = [{"phase": "head", "epoch": 1, "loss": 1.0, "val_loss": 2.0}]
    figure = training_curves.curves(history)
    first = plot_style.encode(figure)
    assert plot_style.encode(figure) == first
