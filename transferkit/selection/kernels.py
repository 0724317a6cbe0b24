"""Kernel machines: what gains most where pictures are few, at the price of keeping them in the file that is shipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from transferkit.features.row_blocks import Places, Table, blocks, held
from transferkit.features.working_arrays import room
from transferkit.file_windows import release
from transferkit.selection.fitted import Fitted, Floats, Kernel, Rows, gaussian
from transferkit.selection.learner import Folds, Path, Setting, spread

EXACT = 4000  # pictures up to which every one is a support
LANDMARKS = 2048  # supports beyond that, drawn at random (Nyström: Williams & Seeger 2001)
ROUGHLY = 4  # where it need not be as good as it can, one picture in so many is a support
PART = 2048  # pictures whose kernel to the supports is there at once


@dataclass(frozen=True)
class KernelRidge:
    """Regularised least squares on a Gaussian kernel that is averaged over views, so that n pictures make n equations
    however many views they have (Haasdonk & Burkhardt 2007).

    Out-of-fold outputs of every fold come from one inverse (Pahikkala et al. 2006), exactly. `gamma` is counted in
    one over the mean squared distance of two pictures. `rough`: see `quick`.
    """

    name: str = "kernel"
    simplicity: int = 4
    gives_logits: bool = False
    gammas: tuple[float, ...] = (0.25, 0.7, 2.0)
    penalties: tuple[float, ...] = (0.01, 0.05)
    rough: bool = False

    def path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        """See `Learner`."""
        if self.rough or len(z) > EXACT:
            yield from self._sparse_path(z, y, rounds)
            return
        z = held(z)
        distance = spread(z)
        for gamma in self.gammas:
            yield from _ridge_path(self._kernel(z, gamma / distance), y, rounds, self.penalties, {"gamma": gamma})

    def fit(self, z: Table, y: Floats, setting: Setting) -> Fitted:
        """See `Learner`."""
        penalty, mean = setting["penalty"], y.mean(0)
        if self.rough or len(z) > EXACT:
            gamma, supports = setting["gamma"] / spread(z), self._landmarks(z)
            inner = gaussian(supports, supports, gamma).astype(np.float64)
            weights = _solved(*_normal(z, y - mean, supports, gamma, np.arange(len(z))), inner, penalty, len(z))
            return Kernel(supports, gamma, weights.astype(np.float32), mean.astype(np.float32))
        z = held(z)
        gamma, views = setting["gamma"] / spread(z), z.shape[1]
        weights = _dual(self._kernel(z, gamma), y - mean, penalty)
        supports = np.ascontiguousarray(z.transpose(1, 0, 2).reshape(-1, z.shape[2]))
        tied = np.tile(weights / views, (views, 1)).astype(np.float32)
        return Kernel(supports, gamma, tied, mean.astype(np.float32))

    def narrowed(self, best: Setting) -> Self:
        """See `Learner`. The best width of the kernel and the next narrower one; penalties cost little."""
        narrower = [gamma for gamma in self.gammas if gamma > best["gamma"]][:1]
        return replace(self, gammas=(best["gamma"], *narrower))

    def quick(self) -> Self:
        """See `Learner`. Supports are few, however few the pictures are."""
        return replace(self, rough=True)

    def _landmarks(self, z: Table) -> Rows:
        most = min(LANDMARKS, len(z) // ROUGHLY) if self.rough else LANDMARKS
        chosen = np.random.default_rng(0).permutation(len(z))[:most]
        return np.ascontiguousarray(z[np.sort(chosen)][:, 0])

    @staticmethod
    def _kernel(z: Rows, gamma: float) -> Floats:
        """[n, n], averaged over the views of both pictures; `gamma` per squared distance."""
        views = z.shape[1]
        total = np.zeros((len(z), len(z)))
        for a in range(views):
            total += gaussian(z[:, a], z[:, a], gamma)
            for b in range(a + 1, views):
                one = gaussian(z[:, a], z[:, b], gamma)
                total += one + one.T
        return np.asarray(total / views**2)

    def _sparse_path(self, z: Table, y: Floats, rounds: Sequence[Folds]) -> Iterator[Path]:
        supports, mean, distance = self._landmarks(z), y.mean(0), spread(z)
        for gamma in self.gammas:
            scaled = gamma / distance
            inner = gaussian(supports, supports, scaled).astype(np.float64)
            outs = [[room(y) for _ in rounds] for _ in self.penalties]
            for number, folds in enumerate(rounds):
                parts = [_normal(z, y - mean, supports, scaled, fold) for fold in folds]
                whole = [sum(part[i] for part in parts) for i in range(2)]
                for fold, part in zip(folds, parts, strict=True):
                    left = [np.subtract(w, p, out=p) for w, p in zip(whole, part, strict=True)]
                    count = len(z) - len(fold)
                    every = [_solved(left[0], left[1], inner, penalty, count) for penalty in self.penalties]
                    for places, rows in blocks(z, fold, PART):
                        similar = gaussian(rows[:, 0], supports, scaled)
                        for weights, out in zip(every, outs, strict=True):
                            out[number][places] = similar @ weights + mean
                            release(out[number])
            yield from (
                ({"gamma": gamma, "penalty": penalty}, out) for penalty, out in zip(self.penalties, outs, strict=True)
            )


def _ridge_path(
    kernel: Floats, y: Floats, rounds: Sequence[Folds], penalties: Sequence[float], more: Setting
) -> Iterator[Path]:
    mean = y.mean(0)
    for penalty in penalties:
        inverse = _inverse(kernel, penalty)
        weights = inverse @ (y - mean)
        outs = [room(y) for _ in rounds]
        for out, folds in zip(outs, rounds, strict=True):
            for fold in folds:
                block = inverse[np.ix_(fold, fold)]
                out[fold] = y[fold] - np.linalg.solve(block, weights[fold])
        yield {**more, "penalty": penalty}, outs


def _inverse(kernel: Floats, penalty: float) -> Floats:
    """Of the kernel with `penalty` on its diagonal."""
    from scipy.linalg.lapack import dpotrf, dpotri

    regular = np.array(kernel, order="F")
    regular[np.diag_indices_from(regular)] += penalty
    factor, failed = dpotrf(regular, lower=1, overwrite_a=1)
    inverse, also = dpotri(factor, lower=1, overwrite_c=1)
    if failed or also:  # pictures that are all alike, and next to no penalty
        return np.asarray(np.linalg.pinv(kernel + penalty * np.eye(len(kernel))))
    upper = np.triu_indices_from(inverse, 1)
    inverse[upper] = inverse.T[upper]
    return np.asarray(inverse)


def _dual(kernel: Floats, y: Floats, penalty: float) -> Floats:
    from scipy.linalg import cho_factor, cho_solve

    regular = kernel.copy()
    regular[np.diag_indices_from(regular)] += penalty
    return np.asarray(cho_solve(cho_factor(regular, overwrite_a=True), y))


def _normal(z: Table, y: Floats, supports: Rows, gamma: float, fold: Places) -> tuple[Floats, Floats]:
    """`ΦᵀΦ` and `Φᵀy` over the pictures of a fold, Φ the kernel to the supports, averaged over views."""
    gram, moment = np.zeros((len(supports), len(supports))), np.zeros((len(supports), y.shape[1]))
    for places, rows in blocks(z, fold, PART):
        phi = gaussian(rows[:, 0], supports, gamma)
        # In single precision the sums lose their definiteness.
        phi = phi.astype(np.float64)
        for view in range(1, rows.shape[1]):
            phi += gaussian(rows[:, view], supports, gamma)
        if rows.shape[1] > 1:
            phi /= rows.shape[1]
        gram += phi.T @ phi
        moment += phi.T @ y[places]
    return gram, moment


def _solved(gram: Any, moment: Any, inner: Floats, penalty: float, count: int) -> Floats:
    """Weights of the supports, of whose kernel `inner` is the table. The penalty is scaled with the pictures, of which
    each support stands for several."""
    from scipy.linalg import cho_factor, cho_solve

    regular = (penalty * max(1.0, count / len(inner))) * inner
    regular += gram
    regular[np.diag_indices_from(regular)] += 1e-5 * np.trace(regular) / len(regular)
    factor = cho_factor(regular.T, overwrite_a=True, check_finite=False)  # of the transpose, in place: it is the same
    return np.asarray(cho_solve(factor, moment))
