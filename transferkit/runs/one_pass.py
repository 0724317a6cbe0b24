"""Test pictures pass once: the shipped model's graph gives its answers and what simpler classifiers go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transferkit import heads
from transferkit.backbones.cut import calls_of, cut, operations_of
from transferkit.features.row_kinds import MAP
from transferkit.features.taps import last_layer
from transferkit.runs.typical_features import with_features
from transferkit.training import planning
from transferkit.training.recipe import Recipe, Trained

if TYPE_CHECKING:
    import keras


def both(shipped: keras.Model, work: Recipe, trained: Trained, width: int) -> tuple[keras.Model, slice] | None:
    """The shipped model with one output [n, t + d]: its answer, and beside it what it computes on its way.

    Where layers were trained, what is below them serves them and the same layers as they came, whose weights the
    network of `work` must have when the model is asked (`analysis.as_it_came`).

    Args:
        shipped: as it was loaded from its file.
        work: the recipe that trained it.
        trained: what it came to.
        width: numbers in a vector of the last layer of the network as it came.

    Returns:
        The model, and where in those d columns that vector is. None where the shipped model computes nothing of it:
        every layer was trained, or the head's vectors are of several networks.
    """
    if trained.joined:
        return None
    if trained.tuned is not None:
        model = _forked(shipped, work, trained)
        return None if model is None else (model, slice(0, width))
    if not trained.places:
        return with_features(shipped), slice(0, width)
    (start, stop), (first, end) = trained.places["last"], trained.places["head"]
    return (with_features(shipped), slice(start - first, stop - first)) if first <= start < stop <= end else None


def _forked(shipped: keras.Model, work: Recipe, trained: Trained) -> keras.Model | None:
    """From the lowest layer that was trained on, the shipped layers and those of `work`, side by side."""
    import keras

    network = work.backbone.model
    call = next((call for call in calls_of(shipped) if call.operation.name == network.name), None)
    first = min(map(work.first, planning.steps_until(trained.chosen, work.steps)))
    as_it_came = cut(network, first)
    if call is None or as_it_came.frozen is None or as_it_came.tail is None:
        return None
    # Both tails have one name, and no two parts of a graph may.
    upper = keras.Model(as_it_came.tail.inputs, as_it_came.tail.outputs[0], name="as_it_came")
    own = cut(call.operation, first)
    above = cut(shipped, operations_of(shipped).index(call.operation) + 1).tail
    assert own.frozen is not None
    assert own.tail is not None
    assert above is not None
    frontier = own.frozen(call.input_tensors[0])
    answer, last = above(own.tail(frontier)), upper(frontier)
    beside = keras.layers.Concatenate(dtype="float32")([answer, _vector(last, work, trained)])
    return keras.Model(shipped.inputs[0], beside)


def _vector(last: Any, work: Recipe, trained: Trained) -> Any:
    """What `analysis.features` gives of the network's output."""
    import keras

    if trained.features.taps is not None:
        return last_layer(trained.features.taps, last)
    if trained.features.label == MAP:
        return keras.ops.mean(keras.ops.cast(last, "float32"), axis=tuple(range(1, len(last.shape) - 1)))
    pool = heads.pool(last.shape[1:], work.settings.pooling)
    return last if pool is None else pool(last)
