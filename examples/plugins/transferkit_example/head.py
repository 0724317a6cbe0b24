"""`cosine`: logits are cosines between features and class vectors, scaled (Gidaris & Komodakis 2018)."""

from transferkit.plugins import Head

SCALE = 10.0


def build(x, outputs, settings):
    """Features to logits, by Keras' own layers."""
    import keras

    if settings.dropout:
        x = keras.layers.Dropout(settings.dropout, seed=settings.seed, name="head_dropout")(x)
    x = keras.layers.UnitNormalization(name="direction")(x)
    x = keras.layers.Dense(
        outputs, use_bias=False, kernel_constraint=keras.constraints.UnitNorm(axis=0), name="cosines"
    )(x)
    return keras.layers.Rescaling(SCALE, name="scale")(x)


COSINE = Head(build, uses=("dropout",))
