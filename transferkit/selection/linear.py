"""Linear classifiers: small, fast, and the best there is where features are good or pictures are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transferkit.compute.blas import one_thread
from transferkit.selection.fitted import Affine, Fitted, Floats, Rows
from transferkit.selection.learner import Folds, Path, Setting, refitted, spread

STEPS = 60  # of L-BFGS for one strength


@dataclass(frozen=True)
class Ridge:
    """Regularised least squares on the features themselves. `penalty` is in units of their mean squared length."""

    name: str = "ridge"
    simplicity: int = 1
    gives_logits: bool = False
    penalties: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2)

    def path(self, z: Rows, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`. In as many dimensions as there are features: the folds' parts are taken off the whole."""
        x, mean = _with_one(z), y.mean(0)
        scale = spread(z) / 2
        outs = [[np.empty_like(y) for _ in rounds] for _ in self.penalties]
        for number, folds in enumerate(rounds):
            parts = [(_gram(x, fold), _moment(x, y - mean, fold)) for fold in folds]
            gram, moment = sum(g for g, _ in parts), sum(m for _, m in parts)
            for penalty, out in zip(self.penalties, outs, strict=True):
                for fold, (g, m) in zip(folds, parts, strict=True):
                    weights = _primal(gram - g, moment - m, penalty * scale * (len(z) - len(fold)))
                    out[number][fold] = x[fold, 0] @ weights + mean
        yield from (({"penalty": penalty}, out) for penalty, out in zip(self.penalties, outs, strict=True))

    def fit(self, z: Rows, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        x, mean, every = _with_one(z), y.mean(0), np.arange(len(z))
        penalty = setting["penalty"] * spread(z) / 2 * len(z)
        weights = _primal(_gram(x, every), _moment(x, y - mean, every), penalty)
        return Affine(weights[:-1].astype(np.float32), (weights[-1] + mean).astype(np.float32))


@dataclass(frozen=True)
class Discriminant:
    """Linear discriminant analysis: class means under one covariance, shrunk towards a sphere (Friedman 1989).

    A shrinkage of 1 is the nearest class mean, which a handful of pictures allow.
    """

    name: str = "discriminant"
    simplicity: int = 1
    gives_logits: bool = True
    shrinkages: tuple[float, ...] = (0.01, 0.05, 0.2, 0.5)

    def path(self, z: Rows, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`."""
        outs = refitted(lambda x, t: self._fits(x, t, self.shrinkages), len(self.shrinkages), z, y, rounds)
        yield from (({"shrinkage": value}, out) for value, out in zip(self.shrinkages, outs, strict=True))

    def fit(self, z: Rows, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        return next(iter(self._fits(z, y, (setting["shrinkage"],))))

    @staticmethod
    def _fits(z: Rows, y: Floats, shrinkages: Sequence[float]) -> Iterator[Affine]:
        from scipy.linalg import cho_factor, cho_solve

        x = z.reshape(-1, z.shape[2]).astype(np.float64)
        weight = np.repeat(y, z.shape[1], axis=0)
        counts = weight.sum(0)
        means = (weight.T @ x) / np.maximum(counts, 1)[:, None]
        inner = x - weight @ means
        covariance = inner.T @ inner / max(1, len(x) - y.shape[1])
        sphere = np.trace(covariance) / len(covariance)
        # A class without pictures here keeps a chance that is small, not none.
        prior = np.log((counts + 0.5 * (counts == 0)) / counts.sum())
        for shrinkage in shrinkages:
            shrunk = (1 - shrinkage) * covariance
            shrunk[np.diag_indices_from(shrunk)] += shrinkage * sphere + 1e-12
            directions = cho_solve(cho_factor(shrunk), means.T)
            bias = prior - 0.5 * np.einsum("cd,dc->c", means, directions)
            yield Affine(directions.astype(np.float32), bias.astype(np.float32))


@dataclass(frozen=True)
class Logistic:
    """Logistic regression with an L2 penalty: softmax where classes exclude each other, one sigmoid a label else.

    Newton's method with conjugate gradients would be exact sooner; scikit-learn's L-BFGS, each fit started from the
    one before, is fast enough and well kept.
    """

    exclusive: bool = True
    name: str = "logistic"
    simplicity: int = 1
    gives_logits: bool = True
    strengths: tuple[float, ...] = (0.003, 0.03, 0.3)  # C, from strong to weak penalty

    def path(self, z: Rows, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`."""
        outs = refitted(lambda x, t: self._fits(x, t, self.strengths), len(self.strengths), z, y, rounds)
        yield from (({"C": value}, out) for value, out in zip(self.strengths, outs, strict=True))

    def fit(self, z: Rows, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        *_, last = self._fits(z, y, [c for c in self.strengths if c < setting["C"]] + [setting["C"]])
        return last

    def _fits(self, z: Rows, y: Floats, strengths: Sequence[float]) -> Iterator[Affine]:
        x, rows = z[:, 0], y  # of clean pictures: views would cost as much again, and say little that is new
        if self.exclusive:
            yield from _softmax_path(x, rows.argmax(1), rows.shape[1], strengths)
            return
        columns = [list(_softmax_path(x, column.astype(np.int64), 2, strengths)) for column in rows.T]
        for fits in zip(*columns, strict=True):
            # Of two classes' logits the difference is the sigmoid's.
            weights = np.stack([f.weights[:, 1] - f.weights[:, 0] for f in fits], axis=1)
            yield Affine(weights, np.array([f.bias[1] - f.bias[0] for f in fits], np.float32))


def _with_one(z: Rows) -> Floats:
    return np.concatenate([z, np.ones((*z.shape[:2], 1), z.dtype)], axis=2).astype(np.float64)


def _gram(x: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    rows = x[fold].reshape(-1, x.shape[2])
    return np.asarray(rows.T @ rows / x.shape[1])


def _moment(x: Floats, y: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(x[fold].mean(1).T @ y[fold])


def _primal(gram: Floats, moment: Floats, penalty: float) -> Floats:
    from scipy.linalg import cho_factor, cho_solve

    regular = gram.copy()
    inner = np.arange(len(gram) - 1)  # the constant is not penalised
    regular[inner, inner] += penalty
    regular[-1, -1] += 1e-9
    return np.asarray(cho_solve(cho_factor(regular), moment))


def _softmax_path(x: Rows, labels: npt.NDArray[np.int64], count: int, strengths: Sequence[float]) -> Iterator[Affine]:
    """Fits for each strength; classes that are absent get a logit that nothing reaches."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    weights, bias = np.zeros((x.shape[1], count), np.float32), np.full(count, -20.0, np.float32)
    if len(present) < 2:
        bias[present] = 20.0
        yield from (Affine(weights, bias) for _ in strengths)
        return
    model = LogisticRegression(max_iter=STEPS, warm_start=True, tol=1e-3)
    for strength in strengths:
        model.set_params(C=strength)
        with warnings.catch_warnings(), one_thread():
            warnings.simplefilter("ignore", ConvergenceWarning)  # so many along a path are near enough
            model.fit(x, labels)
        weights, bias = weights.copy(), bias.copy()
        two = len(present) == 2
        weights[:, present] = np.stack([-model.coef_[0], model.coef_[0]], 1) / 2 if two else model.coef_.T
        bias[present] = np.array([-model.intercept_[0], model.intercept_[0]]) / 2 if two else model.intercept_
        yield Affine(weights, bias)
