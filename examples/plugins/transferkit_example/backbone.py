"""`edges`: three convolutions, the first of which looks for edges in eight directions."""

from transferkit.plugins import Backbone


def build(size):
    """The network for pictures of `size`, without weights."""
    import keras

    x = pixels = keras.Input((size, size, 3), name="pixels")
    for stage, filters in enumerate((16, 32, 64), start=1):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name=f"stage{stage}_conv")(x)
    return keras.Model(pixels, x, name="edges")


def load(model):
    """Weights by rule; a plugin for a trained network would read a file that it brings along."""
    import numpy as np

    angles = np.arange(16) * np.pi / 8
    across, down = np.meshgrid((-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0))
    slopes = across[..., None] * np.cos(angles) + down[..., None] * np.sin(angles)
    rng = np.random.default_rng(0)
    for layer in model.layers[1:]:
        shape = layer.kernel.shape
        kernel = rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape)
        if layer.name == "stage1_conv":
            kernel = np.repeat(slopes[:, :, None], 3, axis=2) / 9
        layer.set_weights([kernel, np.zeros(shape[3])])


EDGES = Backbone(
    build,
    size=64,
    minimum=16,
    scaling="tf",
    stages=(("stage1", ""), ("stage2", "stage2_conv"), ("stage3", "stage3_conv")),
    parameters=23_584,
    layers=3,
    load=load,
    licence="Apache-2.0",
)
