"""The head: what turns the backbone's last feature map into an answer. Keras' own layers only.

A head is pool → normalise → (dense → dropout)* → logits → output. The parts are built separately, because training
reads pooled features from the store and works on logits, while the shipped model has everything in one graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from transferkit import plugins, tasks
from transferkit.backbones import portability
from transferkit.errors import ConfigError, TransferKitError
from transferkit.tasks import TaskName

if TYPE_CHECKING:
    import keras

Pooling = Literal["avg", "max", "flatten", "gem", "cls", "mean", "cls+mean", "attention", "pooler"]
KINDS = ("mlp", "linear")
POOLINGS: tuple[Pooling, ...] = ("avg", "max", "flatten", "gem", "cls", "mean", "cls+mean", "attention", "pooler")
QUERIES = 8  # of attention pooling: each weighs the places for a share of the channels
GEM_POWER = 3.0  # the value Radenović et al. 2018 start from


@dataclass(frozen=True)
class HeadSettings:
    """Shape and regularisation of a head. `widths` () is a linear head; `kind` names a plugin's, or is one of ours."""

    widths: tuple[int, ...] = (256,)
    dropout: float = 0.3
    l1: float = 0.0
    l2: float = 0.0
    pooling: Pooling = "avg"
    seed: int = 0
    kind: str = "mlp"


def pool(shape: Sequence[int | None], pooling: Pooling) -> keras.Model | None:
    """Model from the backbone's output to a vector.

    Args:
        shape: of that output without the batch axis: a vector, a map (height, width, features), or tokens (n, features)
            as vision transformers give them.
        pooling: "avg", "max", "flatten" or "gem"; of tokens also "cls", the class token, "mean", the average of the
            others (without a class token, of all), and "cls+mean", both; "attention" has weights that are trained with
            the head; "pooler" says that the network pools by itself (`backbones.build`).

    Returns:
        The model; None where the output is a vector already.

    Raises:
        ConfigError: a class token or a pooler is asked for that is not there.
    """
    import keras

    if len(shape) == 1:
        return None
    if pooling == "attention":
        return attention_pool(shape)
    if pooling == "pooler":
        raise ConfigError("pooling 'pooler' needs a network that was built with its own: backbone(…, pooler=True)")
    tokens = len(shape) == 2
    inputs = keras.Input(tuple(shape), name="feature_map")
    if pooling == "gem":
        return keras.Model(inputs, _gem(inputs), name="pool")
    if pooling in ("cls", "mean", "cls+mean"):
        if has_class_token(shape):
            return keras.Model(inputs, _by_class_token(inputs, pooling), name="pool")
        if pooling != "mean":
            raise ConfigError(
                f"--pooling {pooling} takes a class token, and this network gives none: choose mean, avg, max, gem or "
                "flatten"
            )
        pooling = "avg"
    layer = {
        "avg": keras.layers.GlobalAveragePooling1D if tokens else keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling1D if tokens else keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }[pooling]
    return keras.Model(inputs, layer(dtype="float32", name=f"{pooling}_pool")(inputs), name="pool")


def attention_pool(shape: Sequence[int | None], moments: tuple[np.ndarray, np.ndarray] | None = None) -> keras.Model:
    """Pooling that learns where to look (Ilse et al. 2018).

    A softmax over the places for each of a few shares of the channels. It begins as the plain average of all places.

    Args:
        shape: of a map (height, width, channels) or of tokens (n, channels).
        moments: mean and deviation of each channel [channels], by which the channels are standardised first.

    Returns:
        Map or tokens → vector [channels].

    Raises:
        ConfigError: a side that is not known.
    """
    import keras

    places, width = math.prod(side or 0 for side in shape[:-1]), shape[-1]
    if not places or width is None:
        raise ConfigError("pooling 'attention' needs a fixed picture size; build the backbone with size=…")
    queries = math.gcd(QUERIES, width)
    inputs = keras.Input(tuple(shape), name="feature_map")
    x = inputs if len(shape) == 2 else keras.layers.Reshape((places, width), name="places")(inputs)
    x = x if moments is None else normalizer(*moments)(x)
    scores = keras.layers.Dense(queries, kernel_initializer="zeros", name="attention_scores")(x)
    weights = keras.layers.Softmax(axis=1, dtype="float32", name="attention_weights")(scores)
    weights = keras.layers.Reshape((places, queries, 1), dtype="float32", name="attention_by_query")(weights)
    values = keras.layers.Reshape((places, queries, width // queries), dtype="float32", name="attention_values")(x)
    found = keras.ops.sum(keras.layers.Multiply(dtype="float32", name="attended")([weights, values]), axis=1)
    vector = keras.layers.Flatten(dtype="float32", name="attention_pool")(found)
    return keras.Model(inputs, vector, name="pool")


def has_class_token(shape: Sequence[int | None]) -> bool:
    """Whether tokens (n, features) are those of a square of patches and one more, which comes first."""
    tokens = shape[0] if len(shape) == 2 else None
    return tokens is not None and tokens > 1 and math.isqrt(tokens - 1) ** 2 == tokens - 1


def _by_class_token(inputs: Any, pooling: str) -> Any:
    import keras

    vectors = []
    if pooling != "mean":
        first = keras.layers.Cropping1D((0, inputs.shape[1] - 1), name="class_token")(inputs)
        vectors.append(keras.layers.Flatten(dtype="float32", name="cls_pool")(first))
    if pooling != "cls":
        others = keras.layers.Cropping1D((1, 0), name="patch_tokens")(inputs)
        vectors.append(keras.layers.GlobalAveragePooling1D(dtype="float32", name="mean_pool")(others))
    return vectors[0] if len(vectors) == 1 else keras.layers.Concatenate(name="cls_mean_pool")(vectors)


def _gem(inputs: Any) -> Any:
    """Generalised mean (Radenović et al. 2018): between average (power 1) and max (power ∞)."""
    import keras

    positive = keras.ops.maximum(keras.ops.cast(inputs, "float32"), 1e-6)
    mean = keras.ops.mean(keras.ops.power(positive, GEM_POWER), axis=tuple(range(1, len(inputs.shape) - 1)))
    return keras.ops.power(mean, 1 / GEM_POWER)


def body(
    width: int, outputs: int, settings: HeadSettings, moments: tuple[np.ndarray, np.ndarray] | None = None
) -> keras.Model:
    """Model from a feature vector to logits. Weights and dropout are seeded by `settings.seed`.

    Args:
        width: length of the vector.
        outputs: how many logits.
        settings: layers, dropout, penalties.
        moments: the features' mean and standard deviation [width]: where given, features are standardised first, which
            makes one learning rate fit every backbone.

    Returns:
        float32 [n, width] → float32 [n, outputs].

    Raises:
        ConfigError: `settings.kind` is a plugin's whose layers cannot be saved; it is named.
    """
    import keras

    x = inputs = keras.Input((width,), name="features")
    if moments is not None:
        x = normalizer(*moments)(x)
    logits = _own(x, outputs, settings) if settings.kind in KINDS else _offered(x, outputs, settings)
    return keras.Model(inputs, logits, name="head")


def _own(x: Any, outputs: int, settings: HeadSettings) -> Any:
    """(dense → dropout)* → logits."""
    import keras

    penalty = keras.regularizers.L1L2(settings.l1, settings.l2) if settings.l1 or settings.l2 else None
    for i, units in enumerate(settings.widths, start=1):
        x = keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=settings.seed + i),
            kernel_regularizer=penalty,
            name=f"head_dense_{i}",
        )(x)
        if settings.dropout:
            x = keras.layers.Dropout(settings.dropout, seed=settings.seed + 100 + i, name=f"head_dropout_{i}")(x)
    if settings.dropout and not settings.widths:
        x = keras.layers.Dropout(settings.dropout, seed=settings.seed + 100, name="head_dropout")(x)
    return keras.layers.Dense(
        outputs,
        kernel_initializer=keras.initializers.GlorotUniform(seed=settings.seed),
        kernel_regularizer=penalty,
        dtype="float32",
        name="logits",
    )(x)


def _offered(x: Any, outputs: int, settings: HeadSettings) -> Any:
    """The logits of a plugin's head, after a look at what it is made of."""
    import keras

    found = plugins.resolve("heads", settings.kind)
    if found is None:
        raise ConfigError(f"head {plugins.choose('heads', settings.kind, KINDS)}")
    plugin, head = found
    try:
        with portability.seeded(settings.seed):
            logits = head.build(x, outputs, settings)
            logits = keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    except TransferKitError:
        raise
    except Exception as error:  # the plugin's code, or what Keras says of it
        raise plugins.broken(plugin, f"cannot build a head of {outputs} outputs", error) from error
    if tuple(logits.shape) != (None, outputs):
        raise ConfigError(f"{plugin} gives logits of shape {tuple(logits.shape)}; it must be (None, {outputs})")
    problem = portability.foreign(keras.Model(x, logits))
    if problem:
        raise ConfigError(f"{plugin} {problem}")
    return logits


def normalizer(mean: np.ndarray, deviation: np.ndarray) -> keras.layers.Layer:
    """Standardise features by constants. A channel that hardly moves in training is not blown up in use.

    Args:
        mean: of each channel in training, float [d].
        deviation: the standard deviation likewise.

    Returns:
        A Rescaling layer for float32 [n, d].
    """
    import keras

    floor = 0.05 * float(np.median(deviation)) + 1e-6
    scale = 1.0 / np.maximum(deviation, floor)
    return keras.layers.Rescaling(
        [float(s) for s in scale],
        [float(o) for o in -mean * scale],
        dtype="float32",
        name="normalize",
    )


def output_layers(
    task: str, temperature: float = 1.0, units: tuple[np.ndarray, np.ndarray] | None = None
) -> list[Callable[[Any], Any]]:
    """Layers (or functions of Keras operations) from logits to the answer.

    Args:
        task: a name of `tasks.NAMES`.
        temperature: what logits are divided by before they become probabilities.
        units: mean and deviation [targets] that bring standardised numbers back to the user's units.
    """
    return tasks.of(task).output_layers(temperature, units)


def build_head(
    base: keras.Model,
    classes: int,
    width: int | Sequence[int] | None = 256,
    dropout: float = 0.3,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    pooling: Pooling = "avg",
    task: TaskName = "classify",
    seed: int = 0,
    kind: str = "mlp",
) -> keras.Model:
    """A complete head for `base`. The classical one of VGG16 is `build_head(base, classes, width=1024,
    pooling="flatten")`.

    Args:
        base: the network it stands on; its output shape is what counts.
        classes: outputs: classes, labels or numbers.
        width: units of the hidden layer, several for several layers, None for a linear head.
        dropout: the share dropped in training, 0 up to 1.
        l1: penalty on the hidden layers' weights, 0 or more.
        l2: likewise, on their squares.
        pooling: how a feature map becomes a vector, see `pool`.
        task: what the outputs mean: "classify" gives probabilities that sum to 1, "multilabel" one for each label,
            "regress" numbers, "ordinal" probabilities of ordered classes.
        seed: of the weights and of dropout.
        kind: "mlp", or the name of a plugin's head.

    Returns:
        A plain keras.Model; compile the assembled model with a loss on probabilities, e.g.
        `sparse_categorical_crossentropy`.

    Raises:
        ConfigError: a value outside its range.
    """
    import keras

    if isinstance(width, int | np.integer):
        width = (int(width),)
    widths = () if width is None else tuple(width)
    _check(classes, widths, dropout, (l1, l2), pooling, task)
    shape = base.output_shape[1:]
    if pooling == "flatten" and None in shape:
        raise ConfigError("pooling 'flatten' needs a fixed picture size; build the backbone with size=…")
    x = inputs = keras.Input(shape, name="feature_map")
    pooled = pool(shape, pooling)
    if pooled is not None:
        x = pooled(x)
    settings = HeadSettings(widths, dropout, l1, l2, pooling, seed, kind)
    x = body(x.shape[-1], tasks.of(task).logits(classes), settings)(x)
    for layer in output_layers(task):
        x = layer(x)
    return keras.Model(inputs, x, name="head")


def _check(
    classes: int, widths: tuple[int, ...], dropout: float, penalties: tuple[float, float], pooling: str, task: str
) -> None:
    if task not in tasks.NAMES:
        raise ConfigError(f"task '{task}' is unknown; choose {', '.join(tasks.NAMES)}")
    if not isinstance(classes, int | np.integer) or isinstance(classes, bool):
        raise ConfigError(f"classes={classes!r}: must be a whole number, how many classes there are")
    if classes < 1 or (tasks.of(task).exclusive and classes < 2):
        raise ConfigError(f"a {task} head with {classes} outputs makes no sense; classification needs 2 or more")
    numbers = (*widths, dropout, *penalties)
    if any(not isinstance(number, int | float | np.number) for number in numbers):
        raise ConfigError("head widths, dropout, l1 and l2 must be numbers: " + ", ".join(map(repr, numbers)))
    if any(w < 1 for w in widths):
        raise ConfigError(f"head widths {widths} must be 1 or more")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout {dropout} must be at least 0 and below 1")
    if not all(0 <= penalty < math.inf for penalty in penalties):
        raise ConfigError(f"l1 and l2 are {penalties}; penalties must be finite and 0 or more")
    if pooling not in POOLINGS:
        raise ConfigError(f"pooling '{pooling}' is unknown; choose {', '.join(POOLINGS)}")
