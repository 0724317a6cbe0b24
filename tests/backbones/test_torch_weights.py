"""EfficientNet-Lite0 from PyTorch's form of its real weights, through the reader of every PyTorch file."""

import sys
from pathlib import Path

import numpy as np
import pytest

from transferkit.backbones import build
from transferkit.errors import WeightsError

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


@pytest.fixture(scope="module")
def published(assets):
    return str(assets / "weights" / "efficientnet_lite0.safetensors")


def test_real_weights_give_what_numpy_gives_from_the_same_file(published):
    import convert_efficientnet_lite0 as script

    from transferkit.backbones.foundation.safetensors import SafetensorsFile

    file = SafetensorsFile(Path(published))
    backbone = build.build("efficientnet_lite0", weights=published, size=97)
    pixels = script.scaled(script.test_pictures(97))
    expected = script.reference({name: file.read(name) for name in file.shapes}, pixels)

    assert script.relative(np.asarray(backbone.model(pixels, training=False)), expected) < 1e-4
    assert backbone.weights == published


def test_they_are_those_in_the_package_but_for_rounding(published):
    ours = build.build("efficientnet_lite0", size=64).model.get_weights()
    theirs = build.build("efficientnet_lite0", weights=published, size=64).model.get_weights()

    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_files_of_other_networks_are_told(published, tmp_path):
    with pytest.raises(WeightsError, match="goes to --backbone as a whole"):
        build.build("mini", weights=published)
    short = tmp_path / "short.safetensors"
    short.write_bytes(Path(published).read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"no whole \.safetensors file"):
        build.build("efficientnet_lite0", weights=str(short))
