"""Linear classifiers: small, fast, and the best there is where features are good or pictures are many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from transferkit.compute.blas import few_threads
from transferkit.evaluation import softmax
from transferkit.features.row_blocks import Table, blocks
from transferkit.features.working_arrays import room
from transferkit.file_windows import release
from transferkit.selection.fitted import Affine, Fitted, Floats, Rows
from transferkit.selection.learner import Folds, Path, Setting, answer, refitted, spread

STEPS = 60  # of L-BFGS for one strength: so many along a path are near enough,
EVALUATIONS = 5 * STEPS  # at the most: line searches take one or two a step


@dataclass(frozen=True)
class Ridge:
    """Regularised least squares on the features themselves. `penalty` is in units of their mean squared length."""

    name: str = "ridge"
    simplicity: int = 1
    gives_logits: bool = False
    penalties: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2)

    def path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`. In as many dimensions as there are features: the folds' parts are taken off the whole."""
        mean, scale = y.mean(0), spread(z) / 2
        outs = [[room(y) for _ in rounds] for _ in self.penalties]
        for number, folds in enumerate(rounds):
            parts = [_normal(z, y, mean, fold) for fold in folds]
            gram, moment = sum(g for g, _ in parts), sum(m for _, m in parts)
            for fold, (g, m) in zip(folds, parts, strict=True):
                count = scale * (len(z) - len(fold))
                every = [_primal(gram - g, moment - m, penalty * count) for penalty in self.penalties]
                for places, rows in blocks(z, fold):
                    x = _with_one(rows[:, :1])[:, 0]
                    for weights, out in zip(every, outs, strict=True):
                        out[number][places] = x @ weights + mean
                        release(out[number])
        yield from (({"penalty": penalty}, out) for penalty, out in zip(self.penalties, outs, strict=True))

    def fit(self, z: Table, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        mean, penalty = y.mean(0), setting["penalty"] * spread(z) / 2 * len(z)
        weights = _primal(*_normal(z, y, mean, np.arange(len(z))), penalty)
        return Affine(weights[:-1].astype(np.float32), (weights[-1] + mean).astype(np.float32))

    def quick(self) -> Self:
        """See `Learner`."""
        return self

    def narrowed(self, best: Setting) -> Self:
        """See `Learner`. All settings share what takes time."""
        return self


@dataclass(frozen=True)
class Discriminant:
    """Linear discriminant analysis: class means under one covariance, shrunk towards a sphere (Friedman 1989).

    A shrinkage of 1 is the nearest class mean, which a handful of pictures allow.
    """

    name: str = "discriminant"
    simplicity: int = 1
    gives_logits: bool = True
    shrinkages: tuple[float, ...] = (0.01, 0.05, 0.2, 0.5)

    def path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`."""
        outs = [[room(y) for _ in rounds] for _ in self.shrinkages]
        for number, folds in enumerate(rounds):
            parts = [_class_sums(z, y, fold) for fold in folds]
            for k, fold in enumerate(folds):
                fits = list(self._fits(parts[:k] + parts[k + 1 :], self.shrinkages))
                answer(fits, z, fold, [out[number] for out in outs])
        yield from (({"shrinkage": value}, out) for value, out in zip(self.shrinkages, outs, strict=True))

    def fit(self, z: Table, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        return next(iter(self._fits([_class_sums(z, y, np.arange(len(z)))], (setting["shrinkage"],))))

    def quick(self) -> Self:
        """See `Learner`."""
        return self

    def narrowed(self, best: Setting) -> Self:
        """See `Learner`. All settings share what takes time."""
        return self

    @staticmethod
    def _fits(parts: Sequence[tuple[Floats, Floats, Floats]], shrinkages: Sequence[float]) -> Iterator[Affine]:
        """Of all pictures whose `_class_sums` these are."""
        from scipy.linalg import cho_factor, cho_solve

        counts, sums, squares = (np.asarray(sum(each)) for each in zip(*parts, strict=True))
        means = sums / np.maximum(counts, 1)[:, None]
        covariance = (squares - means.T @ sums) / max(1, counts.sum() - len(counts))
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

    By L-BFGS (`evaluation.softmax`), each fit started from the one before.
    """

    exclusive: bool = True
    name: str = "logistic"
    simplicity: int = 1
    gives_logits: bool = True
    strengths: tuple[float, ...] = (0.003, 0.03, 0.3)  # C, from strong to weak penalty

    def path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`."""
        outs = refitted(lambda x, t: self._fits(x, t, self.strengths), len(self.strengths), z, y, rounds)
        yield from (({"C": value}, out) for value, out in zip(self.strengths, outs, strict=True))

    def fit(self, z: Table, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        *_, last = self._fits(z, y, [c for c in self.strengths if c < setting["C"]] + [setting["C"]])
        return last

    def quick(self) -> Self:
        """See `Learner`."""
        return self

    def narrowed(self, best: Setting) -> Self:
        """See `Learner`. The weaker penalties take most of the steps, and each fit starts from those before."""
        most = next((c for c in self.strengths if c > best["C"]), best["C"])
        return replace(self, strengths=tuple(c for c in self.strengths if c <= most))

    def _fits(self, z: Table, y: Floats, strengths: Sequence[float]) -> Iterator[Affine]:
        if self.exclusive:
            yield from _softmax_path(z, y.argmax(1), y.shape[1], strengths)
            return
        columns = [list(_softmax_path(z, column.astype(np.int64), 2, strengths)) for column in y.T]
        for fits in zip(*columns, strict=True):
            # Of two classes' logits the difference is the sigmoid's.
            weights = np.stack([f.weights[:, 1] - f.weights[:, 0] for f in fits], axis=1)
            yield Affine(weights, np.array([f.bias[1] - f.bias[0] for f in fits], np.float32))


def _with_one(z: Rows) -> Floats:
    return np.concatenate([z, np.ones((*z.shape[:2], 1), z.dtype)], axis=2).astype(np.float64)


def _normal(z: Table, y: Floats, mean: Floats, fold: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """`XᵀX`, a mean over views, and `Xᵀ(y - mean)` over the pictures of a fold, X with a constant beside it."""
    width = z.shape[2] + 1
    gram, moment = np.zeros((width, width)), np.zeros((width, y.shape[1]))
    for places, rows in blocks(z, fold):
        x = _with_one(rows)
        flat = x.reshape(-1, width)
        gram += flat.T @ flat / x.shape[1]
        moment += x.mean(1).T @ (y[places] - mean)
    return gram, moment


def _class_sums(z: Table, y: Floats, fold: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """How many views of pictures of a fold each class has [C], their sum [C, d], and the sum of all `xxᵀ` [d, d]."""
    views, width = z.shape[1:]
    sums, squares = np.zeros((y.shape[1], width)), np.zeros((width, width))
    for places, rows in blocks(z, fold):
        x = rows.astype(np.float64)
        sums += y[places].T @ x.sum(1)
        flat = x.reshape(-1, width)
        squares += flat.T @ flat
    return views * y[fold].sum(0), sums, squares


def _primal(gram: Floats, moment: Floats, penalty: float) -> Floats:
    from scipy.linalg import cho_factor, cho_solve

    regular = gram.copy()
    inner = np.arange(len(gram) - 1)  # the constant is not penalised
    regular[inner, inner] += penalty
    regular[-1, -1] += 1e-9
    return np.asarray(cho_solve(cho_factor(regular), moment))


def _softmax_path(z: Table, labels: npt.NDArray[np.int64], count: int, strengths: Sequence[float]) -> Iterator[Affine]:
    """Fits for each strength; classes that are absent get a logit that nothing reaches. They learn from clean pictures:
    views would cost as much again, and say little that is new."""
    present, codes = np.unique(labels, return_inverse=True)
    weights, bias = np.zeros((z.shape[2], count), np.float32), np.full(count, -20.0, np.float32)
    if len(present) < 2:
        bias[present] = 20.0
        yield from (Affine(weights, bias) for _ in strengths)
        return
    outputs = 1 if len(present) == 2 else len(present)  # of two classes, the second one's logit
    found = np.zeros((z.shape[2] + 1) * outputs)
    for strength in strengths:
        with few_threads(math.prod(z.shape)):
            found = softmax.fit(z, codes, outputs, strength, found, STEPS, EVALUATIONS)
        table = found.reshape(-1, outputs)
        table = np.concatenate([-table, table], axis=1) / 2 if outputs == 1 else table
        weights, bias = weights.copy(), bias.copy()
        weights[:, present], bias[present] = table[:-1], table[-1]
        yield Affine(weights, bias)
