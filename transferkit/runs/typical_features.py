"""What training features look like is kept beside the model (typical.npz), to tell pictures of another kind by."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transferkit import archives, compute
from transferkit.backbones.cut import cut, operations_of
from transferkit.data.samples import shown
from transferkit.errors import RunError
from transferkit.evaluation.baselines import Split
from transferkit.evaluation.drift import Typical, typical
from transferkit.files import atomic_path
from transferkit.runs.layout import Layout
from transferkit.training import recipe

if TYPE_CHECKING:
    import keras


WIDEST = 8192  # features up to which drift is checked; flattened maps are wider, and say little by distance
SAMPLED = 400  # pictures of training and of validation that a trained tail is run over


def save(
    path: Path, train: Split, val: Split, trained: recipe.Trained, problem: recipe.Problem, seed: int
) -> None:  # fmt: skip
    """Sum up the shipped model's features of training pictures in an .npz of a few hundred kilobytes. Nothing is
    written for too few pictures or too wide features.

    Args:
        path: of the file.
        train: features of the training pictures by the network as it came.
        val: of validation likewise.
        trained: what training came to.
        problem: the pictures.
        seed: of the choice of pictures.
    """
    if train.x.shape[1] > WIDEST:
        return
    fit, val_x = train.x, val.x
    if trained.tuned:
        # A trained tail has features of its own, which are in no cache; what feeds it is.
        tuned, source = trained.tuned
        run, rng = compute.forward(with_features(tuned)), np.random.default_rng(seed)
        parts = (rng.permutation(part)[:SAMPLED] for part in (problem.train, problem.val))
        fit, val_x = (recipe.predict(run, source, part)[:, problem.outputs :] for part in parts)
    found = typical(fit, val_x, seed)
    if found is None:
        return
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(
            handle, mean=found.mean.astype(np.float32), axes=found.axes.astype(np.float32),
            variances=found.variances, rest=np.array(found.rest), limit=np.array(found.limit),
            count=np.array(found.count),
        )  # fmt: skip


def with_features(model: keras.Model) -> keras.Model:
    """`model` with one output [n, t + d]: its own, and beside it the vector that goes into the head."""
    import keras

    names = [operation.name for operation in operations_of(model)]
    below = cut(model, names.index("head")).frozen
    assert below is not None
    x = below.outputs[0]
    if len(x.shape) > 2:  # a head that pools by itself
        pool = keras.layers.GlobalAveragePooling2D if len(x.shape) == 4 else keras.layers.GlobalAveragePooling1D
        x = pool(dtype="float32")(x)
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, keras.layers.Concatenate(dtype="float32")([model.outputs[0], x]))


def load(path: Path) -> Typical | None:
    """What `save` wrote; None where it wrote nothing. Raises RunError for a damaged file."""
    content = Layout(path.parent).read_typical()
    if content is None:
        return None
    try:
        problem = archives.problem(io.BytesIO(content))
        if problem:
            raise ValueError(problem)
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            mean, axes, variances = (np.asarray(saved[k], np.float64) for k in ("mean", "axes", "variances"))
            found = Typical(mean, axes, variances, float(saved["rest"]), float(saved["limit"]), int(saved["count"]))
        _require_sound(found)
        return found
    except Exception as error:  # a stranger's archive: NumPy and zlib raise many kinds
        raise RunError(f"{shown(path)} is damaged ({error}); make the run again to have drift checked") from error


def _require_sound(found: Typical) -> None:
    width, numbers = found.mean.shape, (found.mean, found.axes, found.variances, found.rest, found.limit)
    if len(width) != 1 or found.axes.shape != (len(found.variances), *width) or found.variances.ndim != 1:
        raise ValueError("its arrays do not fit each other")
    if not all(np.isfinite(part).all() for part in numbers) or found.rest <= 0 or (found.variances <= 0).any():
        raise ValueError("it holds impossible numbers")
    if found.limit < 0 or found.count < 1:
        raise ValueError("it holds impossible numbers")
