"""`--adapt`: what of the unfrozen layers is trained: all weights, norms and biases only, or low-rank additions (LoRA).

Additions are part of the network while it is trained, and are merged into its kernels afterwards: what is kept and
shipped has the layers and the shapes that it had before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from transferkit.backbones import freeze
from transferkit.backbones.cut import calls_of, operations_of

if TYPE_CHECKING:
    import keras

Adapt = Literal["all", "norms", "lora"]
RANK = 8  # of an addition: what Hu et al. 2021 (arXiv:2106.09685) use for matrices of this size
# Times the rate at which all weights of a tail are trained. Measured on a small transformer (from CIFAR-10) and
# 300 photographs of trashnet, validation accuracy, frozen .503: additions .518 at the tail's rate, .549 at ten times
# that, norms .514 and .522, all weights .539 at their own. With another seed thirty times were better still; ten are
# kept, since what was pretrained on more has more to lose.
FASTER = 10
NORMS = ("gamma", "beta")


@dataclass(frozen=True)
class Addition:
    """A dense layer of the network and the layer that stands in for it in training: its kernel + down · up."""

    dense: Any
    layer: Any

    def merge(self) -> None:
        """Put the addition into the kernel, and make it nothing: both networks go on giving the same."""
        import keras

        kernel, down, up = self.dense.kernel, self.layer.down, self.layer.up
        kernel.assign(keras.ops.add(kernel.value, keras.ops.matmul(down.value, up.value)))
        up.assign(keras.ops.zeros_like(up.value))


@dataclass(frozen=True)
class Adapted:
    """A network that is ready to be trained: `network` computes what it did before, over layers of the backbone
    `model`. `additions` are LoRA's."""

    network: keras.Model
    model: keras.Model
    additions: tuple[Addition, ...] = ()

    def places(self, depths: dict[str, float]) -> dict[str, float]:
        """`depths` of layers by name, with the additions at those of the layers that they stand in for."""
        return depths | {addition.layer.name: depths[addition.dense.name] for addition in self.additions}

    @property
    def trained(self) -> list[Any]:
        """The variables that are trained."""
        added = [weight for addition in self.additions for weight in (addition.layer.down, addition.layer.up)]
        return [*self.model.trainable_weights, *added]

    def merge(self) -> None:
        """Bring what was trained into the network's own weights."""
        for addition in self.additions:
            addition.merge()


def adapted(
    model: keras.Model, first: int, network: keras.Model, adapt: Adapt, batchnorm: str = "frozen", seed: int = 0
) -> Adapted:
    """Unfreeze operations of `model` from number `first` on as `adapt` says, and freeze all others.

    Args:
        model: the backbone, as a functional model.
        first: index in `model.operations`.
        network: what of it is to be trained: itself, or a tail that begins at or below `first`.
        adapt: "all", "norms" or "lora".
        batchnorm: see `freeze.freeze`.
        seed: of LoRA's first values.
    """
    freeze.freeze_at(model, first, batchnorm)
    if adapt == "all":
        return Adapted(network, model)
    operations = operations_of(model)[first:]
    kept = {id(weight) for weight in _norms_and_biases(operations)} if adapt == "norms" else set()
    for weight in model.trainable_variables:
        weight.trainable = id(weight) in kept
    return Adapted(network, model) if adapt == "norms" else _with_additions(network, model, _denses(operations), seed)


def problem(model: keras.Model, first: int, adapt: Adapt, batchnorm: str = "frozen") -> str | None:
    """What keeps a way of adapting from training anything.

    Args:
        model: the network.
        first: the first operation that may be trained, counted in `model.operations`.
        adapt: the way.
        batchnorm: as for `freeze.freeze`.

    Returns:
        None where nothing does.
    """
    operations = operations_of(model)[first:]
    if adapt == "lora" and not _denses(operations):
        return "there are no dense layers there for low-rank additions; use --adapt all or norms"
    if adapt == "norms":
        weights, others = (adapted(model, first, model, adapt, how).trained for how in (batchnorm, "train"))
        freeze.freeze_at(model, len(operations_of(model)))
        if others and not weights:
            return "the only norms there are BatchNorms, which are frozen; add --batchnorm train, or use --adapt all"
        if not weights:
            return "there are no norms or biases there that may be trained; use --adapt all"
    return None


def words(adapt: Adapt) -> str:
    """What is trained, where that is not all weights: "", "norms and biases" or "LoRA of rank 8"."""
    return {"all": "", "norms": "norms and biases", "lora": f"LoRA of rank {RANK}"}[adapt]


def _norms_and_biases(operations: Iterable[Any]) -> list[Any]:
    """Factors and addends of norms, and biases of channels: of a table with a row for each token, none."""
    return [
        weight
        for operation in operations
        for weight in getattr(operation, "trainable_variables", ())
        if weight.name in NORMS or (weight.name == "bias" and _of_channels(operation, weight))
    ]


def _of_channels(layer: Any, bias: Any) -> bool:
    """Whether a bias is one of outputs alone: positions are a bias too, with a row for each token."""
    kernels = [w.shape for w in layer.weights if "kernel" in w.name]
    return (
        not kernels
        or any(tuple(shape[-len(bias.shape) :]) == tuple(bias.shape) for shape in kernels)
        or (len(bias.shape) == 1)
    )


def _denses(operations: Iterable[Any]) -> list[Any]:
    import keras

    return [operation for operation in operations if isinstance(operation, keras.layers.Dense)]


def _with_additions(network: keras.Model, whole: keras.Model, denses: list[Any], seed: int) -> Adapted:
    """`network` once more, over the same layers but for those of `denses`, which have an addition each."""
    import keras

    additions = {
        id(dense): Addition(dense, _low_rank()(dense, RANK, seed + number)) for number, dense in enumerate(denses)
    }
    inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in network.inputs]
    known = {id(old): new for old, new in zip(network.inputs, inputs, strict=True)}
    used = []
    for node in calls_of(network):
        if node.is_input:
            continue
        arguments, options = node.arguments.fill_in(known)
        addition = additions.get(id(node.operation))
        used += [addition] if addition is not None else []
        called = node.operation if addition is None else addition.layer
        made = keras.tree.flatten(called(*arguments, **options))
        known |= {id(old): new for old, new in zip(node.output_tensors, made, strict=True)}
    outputs = [known[id(tensor)] for tensor in network.outputs]
    sides = (side[0] if len(side) == 1 else side for side in (inputs, outputs))
    model = keras.Model(*sides, name=f"{network.name}_adapted")
    return Adapted(model, whole, tuple({id(addition): addition for addition in used}.values()))


@cache
def _low_rank() -> type[Any]:
    """The layer class, made where Keras is there. It is never saved."""
    import keras

    class LowRank(keras.layers.Layer):  # type: ignore[misc]
        """What a dense layer gives, with `down · up` added to its kernel."""

        def __init__(self, dense: Any, rank: int, seed: int) -> None:
            super().__init__(name=f"{dense.name}_lora", dtype=dense.dtype_policy)
            self.dense, self.rank, self.seed = dense, rank, seed
            inputs, units = dense.kernel.shape
            start = keras.initializers.HeUniform(seed=seed)
            self.down = self.add_weight(shape=(inputs, rank), initializer=start, name="down")
            self.up = self.add_weight(shape=(rank, units), initializer="zeros", name="up")
            self.built = True

        def call(self, inputs: Any) -> Any:
            """As `Dense.call`, through the low rank: the product of both would be as large as the kernel."""
            ops, dense = keras.ops, self.dense
            low = ops.matmul(ops.matmul(inputs, self.down), self.up)
            x = ops.add(ops.matmul(inputs, dense.kernel), low)
            x = x if dense.bias is None else ops.add(x, dense.bias)
            return x if dense.activation is None else dense.activation(x)

    return LowRank
