"""Cache keys know how a network is put together, whatever its layers happen to be called."""

import keras

from transferkit.backbones import freeze
from transferkit.features.structure import structure


def network(activation="relu", swapped=False, dropout=0.1):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, padding="same", activation=activation)(inputs)
    y = keras.layers.Conv2D(3, 3, padding="same")(inputs)
    x, y = (y, x) if swapped else (x, y)
    nested = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dropout(dropout), keras.layers.ReLU()])
    return keras.Model(inputs, keras.layers.Subtract()([nested(x), y]))


def test_automatic_names_do_not_count_and_all_else_does():
    plain = structure(network())
    assert plain == structure(network())  # numbered otherwise, being the second in this process
    others = {structure(network("gelu")), structure(network(swapped=True))}
    assert len({plain, *others}) == 3


def test_what_changes_in_training_only_does_not_count(mini):
    assert structure(network(dropout=0.5)) == structure(network())
    before = structure(mini.model)
    freeze.freeze(mini.model, "from:block3", "train")
    assert structure(mini.model) == before
