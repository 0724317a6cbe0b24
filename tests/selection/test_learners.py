"""Out-of-fold answers are those of classifiers that never saw the picture, and fitted ones agree with references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transferkit.errors import TrainingError
from transferkit.evaluation import softmax
from transferkit.features import row_blocks
from transferkit.features.row_blocks import StoredRows
from transferkit.selection import kernels, linear, neighbours
from transferkit.selection.kernels import KernelRidge
from transferkit.selection.learner import Learner, spread
from transferkit.selection.linear import Discriminant, Logistic, Ridge
from transferkit.selection.neighbours import NearestNeighbours

LEARNERS: tuple[Learner, ...] = (Ridge(), Discriminant(), Logistic(), NearestNeighbours(), KernelRidge())


def pictures(n: int = 90, views: int = 2, width: int = 12, classes: int = 3, apart: float = 1.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    clean = rng.normal(size=(n, width)) + apart * rng.normal(size=(classes, width))[labels]
    z = np.stack([clean + 0.2 * v * rng.normal(size=clean.shape) for v in range(views)], 1).astype(np.float32)
    return z, np.eye(classes)[labels], [np.sort(f) for f in np.array_split(rng.permutation(n), 5)]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.name)
def test_out_of_fold_answers_are_those_of_a_fit_on_the_other_folds(learner: Learner) -> None:
    z, y, folds = pictures()
    for setting, (out,) in learner.path(z, y, [folds]):
        for fold in folds[:2]:
            rest = np.setdiff1d(np.arange(len(z)), fold)
            again = learner.fit(z[rest], y[rest], setting)(z[fold, 0])
            # The mean target and the scale of distances are those of all pictures: label-free or near it.
            assert np.corrcoef(again.ravel(), out[fold].ravel())[0, 1] > 0.98, setting
            assert (again.argmax(1) == out[fold].argmax(1)).mean() > 0.85, setting


def test_one_inverse_gives_every_fold_exactly() -> None:
    z, y, folds = pictures()
    learner = KernelRidge(gammas=(1.0,), penalties=(0.03,))
    ((_, (out,)),) = learner.path(z, y, [folds])
    kernel, mean = learner._kernel(z, 1.0 / spread(z)), y.mean(0)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(z)), fold)
        regular = kernel[np.ix_(rest, rest)] + 0.03 * np.eye(len(rest))
        # What a refit without the fold says of the fold's pictures, averaged over their views as in training.
        expected = kernel[np.ix_(fold, rest)] @ np.linalg.solve(regular, y[rest] - mean) + mean
        assert np.abs(expected - out[fold]).max() < 1e-8


def test_a_held_out_label_has_no_say() -> None:
    z, y, folds = pictures()
    wrong = y.copy()
    wrong[folds[0]] = np.roll(y[folds[0]], 1, axis=1)
    for learner in (Discriminant(), Logistic(), NearestNeighbours()):
        for (_, (a,)), (_, (b,)) in zip(learner.path(z, y, [folds]), learner.path(z, wrong, [folds]), strict=True):
            assert np.allclose(a[folds[0]], b[folds[0]], atol=1e-5)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.name)
def test_every_learner_learns_what_is_there_to_learn(learner: Learner) -> None:
    z, y, folds = pictures(n=150, apart=3.0)
    assert max((out.argmax(1) == y.argmax(1)).mean() for _, (out,) in learner.path(z, y, [folds])) > 0.95


def test_many_pictures_are_stood_for_by_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y, folds = pictures(n=400)
    exact = [out for _, (out,) in KernelRidge().path(z, y, [folds])]
    monkeypatch.setattr(kernels, "EXACT", 100)
    monkeypatch.setattr(kernels, "LANDMARKS", 150)
    near = [(setting, out) for setting, (out,) in KernelRidge().path(z, y, [folds])]
    truth = y.argmax(1)
    best = [max((out.argmax(1) == truth).mean() for out in some) for some in (exact, [out for _, out in near])]
    assert abs(best[0] - best[1]) < 0.03
    fitted = KernelRidge().fit(z, y, near[0][0])
    assert len(fitted.supports) == 150  # type: ignore[union-attr]
    assert (fitted(z[:, 0]).argmax(1) == truth).mean() > best[1] - 0.02


def test_of_many_pictures_some_vote_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y, folds = pictures(n=400, apart=3.0)
    monkeypatch.setattr(neighbours, "VOTERS", 100)
    found = NearestNeighbours().fit(z, y, {"sharpness": 25.0})
    assert len(found.keys) == len(found.values) == 100  # type: ignore[union-attr]
    assert (found(z[:, 0]).argmax(1) == y.argmax(1)).mean() > 0.95
    assert max((out.argmax(1) == y.argmax(1)).mean() for _, (out,) in NearestNeighbours().path(z, y, [folds])) > 0.95


def test_a_support_that_stands_for_several_pictures_is_penalised_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y, _ = pictures(n=60, views=1)
    setting = {"gamma": 1.0, "penalty": 0.5}
    expected = KernelRidge().fit(z, y, setting)(z[:, 0])
    monkeypatch.setattr(kernels, "EXACT", 100)
    monkeypatch.setattr(KernelRidge, "_landmarks", lambda *_: z[:, 0])
    four = KernelRidge().fit(np.tile(z, (4, 1, 1)), np.tile(y, (4, 1)), setting)
    assert np.abs(four(z[:, 0]) - expected).max() < 1e-3


def test_a_class_that_a_fold_lacks_is_no_obstacle() -> None:
    z, y, folds = pictures(n=30)
    y = np.concatenate([y, np.zeros((30, 1))], axis=1)
    y[0] = [0, 0, 0, 1]
    for learner in LEARNERS:
        for _, (out,) in learner.path(z, y, [folds]):
            assert np.isfinite(out).all(), learner.name


def test_discriminant_and_ridge_agree_with_scikit_learn() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import Ridge as Reference

    z, y, _ = pictures(views=1)
    x, labels = z[:, 0].astype(np.float64), y.argmax(1)
    lda = Discriminant().fit(z, y, {"shrinkage": 0.2})(z[:, 0])
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(x, labels)
    assert (lda.argmax(1) == reference.predict(x)).mean() > 0.98
    penalty = 1e-3
    strength = penalty * x.var(0).sum() * len(x)
    ours = Ridge().fit(z, y, {"penalty": penalty})(z[:, 0])
    assert np.abs(ours - Reference(alpha=strength).fit(x, y).predict(x)).max() < 1e-4


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_regression_is_that_of_scikit_learn(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(softmax, "GRADIENT", 1e-6)  # to the end, not until it is near enough
    monkeypatch.setattr(linear, "STEPS", 1000)
    z, y, _ = pictures(n=150, views=1, classes=classes)
    reference = LogisticRegression(C=0.03, tol=1e-6, max_iter=1000).fit(z[:, 0].astype(np.float64), y.argmax(1))
    found = Logistic().fit(z, y, {"C": 0.03})(z[:, 0])
    chances = np.exp(found) / np.exp(found).sum(1, keepdims=True)
    assert np.abs(chances - reference.predict_proba(z[:, 0].astype(np.float64))).max() < 1e-4


# Of the largest output. The kernel to landmarks is in single precision, of which a product's rounding goes by its size.
TOLERANCE = {"logistic": 1e-4, "kernel": 1e-5}


@pytest.mark.parametrize("learner", [*LEARNERS, Logistic(exclusive=False)], ids=lambda learner: learner.name)
@pytest.mark.parametrize("exact", [4000, 50])
def test_rows_on_disk_teach_what_rows_in_memory_do(
    learner: Learner, exact: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In blocks of 16 pictures from the disk, and all at once in memory."""
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(kernels, "EXACT", exact)
    z, y, folds = pictures(n=203, apart=1.0)
    stored = StoredRows(lambda places: z[places], z.shape)
    whole = [(setting, outs) for setting, outs in learner.path(z, y, [folds, folds[::-1]])]
    alone = learner.fit(z, y, whole[-1][0])(z[:, 0])
    monkeypatch.setattr(row_blocks, "BLOCK_ROWS", 16)
    most = TOLERANCE.get(learner.name, 1e-6)
    for (setting, outs), (other, found) in zip(whole, learner.path(stored, y, [folds, folds[::-1]]), strict=True):
        assert other == setting
        for out, again in zip(outs, found, strict=True):
            assert np.abs(out - again).max() < most * np.abs(out).max()
    assert np.abs(learner.fit(stored, y, whole[-1][0])(z[:, 0]) - alone).max() < most * np.abs(alone).max()


def test_numbers_and_labels_are_learnt_as_well() -> None:
    z, y, folds = pictures(n=200)
    numbers = z[:, 0, :2].astype(np.float64) @ [[1.0], [-0.5]]
    for learner in (Ridge(), KernelRidge()):
        best = min(np.abs(out - numbers).mean() for _, (out,) in learner.path(z, numbers, [folds]))
        assert best < 0.5 * np.abs(numbers - numbers.mean()).mean()
    labels = np.concatenate([y[:, :1] + y[:, 1:2], y[:, 2:]], axis=1)
    for _, (out,) in Logistic(exclusive=False).path(z, labels, [folds]):
        assert ((out > 0) == labels).mean() > 0.85


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_fit_of_what_is_no_number_ends_in_an_error(number: float, exclusive: bool) -> None:
    z, y, _ = pictures(n=30)
    z[4, 0, 2] = number
    with pytest.raises(TrainingError, match="is no number"):
        Logistic(exclusive).fit(z, y, {"C": 0.03})


def test_a_fit_takes_few_evaluations_whatever_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of memory that returns anything: a loss and a gradient without any sense."""
    rng, asked = np.random.default_rng(0), [0]

    def senseless(found: np.ndarray, *_: object) -> tuple[float, np.ndarray]:
        asked[0] += 1
        return float(rng.normal()), rng.normal(size=found.size)

    monkeypatch.setattr(softmax, "_loss", senseless)
    z, y, _ = pictures(n=30)
    Logistic().fit(z, y, {"C": 0.03})
    assert asked[0] <= 2 * (linear.EVALUATIONS + 51)  # strengths, and the line search in which the bound was met
