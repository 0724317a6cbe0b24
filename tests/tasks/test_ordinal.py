"""Ordered classes: the order has to be known, distance counts, and knowing the order helps."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from transferkit import tasks
from transferkit.errors import DataError
from transferkit.evaluation.metrics import score
from transferkit.selection.candidates import LEARNERS

ORDINAL = tasks.of("ordinal")
GRADES = ["none", "mild", "moderate", "severe", "worst"]


def graded(n, seed, spread=0.7):
    """Features of which one direction tells the grade, with noise, and grades 0 to 4, the middle ones more frequent."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(0, 1.2, n)
    x = rng.normal(0, 1, (n, 12)).astype(np.float32)
    x[:, 0] += latent
    x[:, 1] += 0.5 * latent**2
    return x, np.digitize(latent + rng.normal(0, spread, n), [-1.5, -0.5, 0.5, 1.5])


# ------------------------------------------------------------------------------------------------ the order


def test_numbers_are_in_order_and_names_are_as_they_are_given():
    assert ORDINAL.arranged(["1", "10", "2"], None) == ("1", "2", "10")
    assert ORDINAL.arranged(["0.5", "-1", "+3"], None) == ("-1", "0.5", "+3")
    assert ORDINAL.arranged(["high", "low", "mid"], ["low", "mid", "high"]) == ("low", "mid", "high")
    assert ORDINAL.arranged(["high", "low", "2"], None) is None
    assert "--classes" in ORDINAL.unordered(["high", "low"])


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (["low", "hgh"], "the data has no hgh; it leaves out high"),
        (["low", "high", "low"], "it names twice low"),
    ],
)
def test_an_order_that_does_not_fit_is_refused_with_the_classes(order, why):
    with pytest.raises(DataError, match=f"{why}.*they are high, low"):
        ORDINAL.arranged(["high", "low"], order)


def test_one_number_written_two_ways_is_refused():
    with pytest.raises(DataError, match=r"two of the classes 1, 1\.0, 2 are one number"):
        ORDINAL.arranged(["1", "1.0", "2"], None)


def test_an_order_is_refused_by_tasks_without_one():
    for name in ("classify", "multilabel", "regress"):
        with pytest.raises(DataError, match=f"--task {name} does not use; drop it"):
            tasks.of(name).arranged(["a", "b"], ["a", "b"])


@pytest.mark.parametrize(
    ("given", "words"),
    [("low,mid", ["--classes", "low,mid"]), (("low, very", "mid"), ["--classes", "low, very", "--classes", "mid"])],
)
def test_the_command_of_a_run_repeats_its_order(given, words):
    import shlex

    from transferkit.config import make
    from transferkit.runs.manifest import repeatable

    settings = make({"backbone": "mini", "task": "ordinal", "classes": given})
    assert len(settings.classes) == 2
    assert shlex.split(repeatable("data", settings))[-len(words) :] == words
    assert make({"backbone": "mini", "task": "ordinal", "classes": words[1::2]}).classes == settings.classes


# ------------------------------------------------------------------------------------------------ answers


def test_probabilities_are_differences_of_thresholds_and_sum_to_one():
    logits = np.array([[2.0, 0.0, -2.0], [-1.0, 3.0, -5.0]])
    above = 1 / (1 + np.exp(-logits))
    found = ORDINAL.answers(logits, 1.0, None)
    np.testing.assert_allclose(found[0], [1 - above[0, 0], *-np.diff(above[0]), above[0, 2]])
    # Those of the second contradict each other, and change places.
    np.testing.assert_allclose(
        found[1], [1 - above[1, 1], above[1, 1] - above[1, 0], *-np.diff(above[1, ::2]), above[1, 2]]
    )
    np.testing.assert_allclose(found.sum(1), 1)


def test_the_answer_is_the_median_class_not_the_most_probable():
    answers = np.array([[0.4, 0.15, 0.15, 0.3], [0.0, 0.1, 0.2, 0.7], [0.5, 0.5, 0.0, 0.0]])
    assert ORDINAL.decide(answers).tolist() == [1, 3, 0]
    assert ORDINAL.words(answers[0], "abcd", None) == ("b", "0.15")


def test_it_counts_the_thresholds_that_are_passed():
    logits = np.random.default_rng(0).normal(0, 3, (200, 5))
    assert (ORDINAL.decide_logits(logits) == (logits > 0).sum(1)).all()
    assert (ORDINAL.decide(ORDINAL.answers(logits, 1.0, None)) == (logits > 0).sum(1)).all()


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    targets, answers = rng.integers(0, 5, 120), rng.dirichlet(np.ones(5), 120)
    found, guess = score("ordinal", targets, answers, GRADES), ORDINAL.decide(answers)
    assert found["mae"] == pytest.approx(mean_absolute_error(targets, guess))
    assert found["qwk"] == pytest.approx(cohen_kappa_score(targets, guess, weights="quadratic", labels=range(5)))
    assert found["accuracy"] == pytest.approx((guess == targets).mean())
    alone = score("ordinal", np.zeros(3, int), np.eye(5)[np.zeros(3, int)], GRADES)
    assert (alone["mae"], alone["qwk"]) == (0.0, None)


def test_the_answer_that_ignores_the_picture_is_the_middle_class():
    from transferkit.evaluation.baselines import majority

    train, test = np.array([0, 0, 0, 1, 2, 3, 4]), np.arange(5)
    found = majority(train, test, "ordinal", GRADES)
    assert (ORDINAL.decide(found.predictions) == 1).all()
    assert found.scores["mae"] == pytest.approx(np.abs(test - 1).mean())


# ------------------------------------------------------------------------------------------------ what it is for


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_knowing_the_order_brings_answers_nearer(kind):
    """The same learner, told the order or not, on the same graded features: mean over draws, of new pictures."""
    found = {"classify": [], "ordinal": []}
    for seed in range(8):
        (x, y), (new, true) = graded(150, seed), graded(1000, 100 + seed)
        for name, scores in found.items():
            task = tasks.of(name)
            learner = LEARNERS["logistic by label" if (name, kind) == ("ordinal", "logistic") else kind]()
            encoded = task.encoded(y, 5, np.arange(len(y)))[0].astype(np.float64)
            setting = {"C": 0.3} if kind == "logistic" else {"penalty": 1e-3}
            outputs = learner.fit(x[:, None], encoded, setting)(new)
            logits = outputs if learner.gives_logits else (outputs - task.share_shift) * 8
            # Both are judged as ordered classes are: by distance.
            guess = task.decide(task.answers(logits, 1.0, None))
            scores.append(
                (np.abs(guess - true).mean(), cohen_kappa_score(true, guess, weights="quadratic", labels=range(5)))
            )
    plain, ordered = (np.mean(found[name], axis=0) for name in ("classify", "ordinal"))
    assert ordered[0] < plain[0]
    assert ordered[1] > plain[1]
