"""Assembled models load in Keras' safe mode without transferkit, and give the same numbers."""

import keras
import numpy as np
import pytest

from transferkit.backbones import build, freeze
from transferkit.backbones.catalog import ROWS

from .test_every_network import assemble, batch

# A network for each kind of layer that is not an everyday one: LayerScale in ConvNeXt, CustomScaleLayer in
# Inception-ResNet, hard swish in MobileNetV3; and one with a dot in its name.
NETWORKS = [
    "mini",
    "mobilenet_0.25",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "inception_resnet_v2",
]

LOAD = """
import sys, keras, numpy as np, pathlib
for f in sorted(pathlib.Path('.').glob('*.keras')):
    stored = np.load(str(f)[:-6] + '.npz')
    y = keras.saving.load_model(f, safe_mode=True)(stored['pixels'])
    np.testing.assert_array_equal(np.asarray(y), stored['expected'], err_msg=f.name)
assert 'transferkit' not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.extended
def test_fresh_process_gives_the_same_numbers(tmp_path, fresh):
    for name in NETWORKS:
        backbone = build.build(name, weights="random", size=ROWS[name].minimum)
        freeze.freeze(backbone.model, "none")
        model = assemble(backbone)
        pixels, _ = batch(backbone.size)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", pixels=pixels, expected=np.asarray(model(pixels)))
        keras.backend.clear_session()
    done = fresh(LOAD, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
