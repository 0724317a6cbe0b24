"""`microscope`: any rotation, both mirrors, and the noise of a sensor."""

from transferkit.plugins import Augmentation


def noise(pixels, seed):
    """The same view and seed, the same grain: runs repeat."""
    import numpy as np

    grain = np.random.default_rng(seed).normal(0, 6, pixels.shape)
    return np.clip(np.rint(pixels + grain), 0, 255).astype(np.uint8)


MICROSCOPE = Augmentation(
    {"rotate": 180, "flip_horizontal": True, "flip_vertical": True, "zoom": (0.8, 1.1), "brightness": 0.1}, then=noise
)
