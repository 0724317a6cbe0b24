"""The catalog against the installed keras.applications: names, files, hashes, sizes, counts and stages."""

import math
import re
import subprocess
import sys

import keras
import pytest
from keras.src.applications import imagenet_utils
from keras.src.backend.common import global_state
from keras.src.utils import file_utils

from transferkit.backbones import bundled, freeze
from transferkit.backbones.catalog import ROWS, BackboneRow, find, names
from transferkit.errors import BackboneError

from ..marks import extended

APPLICATIONS = [name for name, row in ROWS.items() if row.kind == "applications"]
# The smallest of each constructor's paper runs by default, the others as `extended`: with new versions of Keras, in CI.
SMALLEST = {min((n for n in APPLICATIONS if ROWS[n].paper == paper), key=lambda n: ROWS[n].parameters)
            for paper in {ROWS[name].paper for name in APPLICATIONS}}  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """What a constructor asks of Keras: its weights file and its sizes. Nothing is fetched or loaded."""
    seen = {}
    original = imagenet_utils.obtain_input_shape

    def obtain_input_shape(input_shape, default_size, min_size, **rest):
        seen["sizes"] = (default_size, min_size)
        return original(input_shape, default_size=default_size, min_size=min_size, **rest)

    def get_file(fname, origin, cache_subdir, file_hash=None):
        seen["file"] = (fname, origin, file_hash)
        return "no-such-file"

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", obtain_input_shape)
    monkeypatch.setattr(file_utils, "get_file", get_file)
    monkeypatch.setattr(keras.Model, "load_weights", lambda *_args, **_options: None)
    return seen


def construct(row: BackboneRow, size: int):
    """Keras' own ImageNet variant, shapes only: inside this scope variables take no memory.

    Keras remembers them as still to be filled with numbers, and the next network built in this process would fill
    them all: gigabytes, and half a minute of some other test's time. So they are forgotten.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            constructor = getattr(keras.applications, row.constructor)
            return constructor(weights="imagenet", include_top=False, input_shape=(size, size, 3), **row.kwargs)
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])


def test_every_constructor_is_in_the_catalog():
    constructors = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {ROWS[name].constructor for name in APPLICATIONS} == constructors
    assert len(constructors) >= 40
    assert len(names()) == len(set(names())) == len(APPLICATIONS) + len(bundled.NETWORKS)
    assert {name for name, row in ROWS.items() if row.kind == "bundled"} == set(bundled.NETWORKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", extended(APPLICATIONS, set(APPLICATIONS) - SMALLEST))
def test_row_says_what_keras_says(name, asked):
    row = ROWS[name]
    model = construct(row, row.size)
    assert (*row.file_for(row.size), row.weights_hash) == asked["file"]
    if row.constructor not in ("MobileNetV3Small", "MobileNetV3Large"):  # these two check sizes themselves
        assert (row.size, row.minimum) == asked["sizes"]
    scaling = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    embedded = sum(math.prod(w.shape) for layer in scaling for w in layer.weights)
    assert sum(math.prod(w.shape) for w in model.weights) - embedded == row.parameters
    assert sum(freeze.is_counted(op) for op in model.operations) == row.layers
    _check_stages(model, row)


def _check_stages(model, row):
    starts = [freeze.stage_start(model, row, stage) for stage in row.stage_names]
    assert starts[0] == 0
    assert starts == sorted(set(starts)), "stages are in depth order and none is empty"
    # Where layer names carry the number of their block, a stage holds one number only: nothing of a lower
    # block is trained with a higher stage, nothing of a higher one frozen with a lower.
    number = re.compile(
        r"^(?:conv(?P<a>\d)_block|block(?P<b>\d+)(?:[a-z]_|_(?:conv|sepconv))|block_(?P<c>\d+)_|"
        r"expanded_conv_(?P<d>\d+)_|conv_[dp]w_(?P<e>\d+)|.*_stage_(?P<f>\d)_|normal_conv_1_(?P<g>\d+)$)"
    )
    cells = row.name.startswith("nasnet")  # a stage of NASNet holds several cells
    weighted = [(i, op.name) for i, op in enumerate(model.operations) if freeze.is_counted(op)]
    for start, end in zip(starts, [*starts[1:], len(model.operations)], strict=True):
        found = [number.match(name) for i, name in weighted if start <= i < end]
        blocks = {next(g for g in match.groups() if g is not None) for match in found if match}
        assert cells or len(blocks) <= 1, (row.name, start, blocks)
        assert any(start <= i < end for i, _ in weighted), "a stage without weights would freeze nothing"


@pytest.mark.parametrize("name", ["mobilenet_0.25", "mobilenet_v2_0.35"])
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square:UserWarning")
@pytest.mark.parametrize("size", [96, 100, 128, 160, 192, 224, 300])
def test_file_for_a_size_is_the_one_keras_takes(name, size, asked):
    construct(ROWS[name], size)
    assert ROWS[name].file_for(size) == asked["file"][:2]


def test_mini_row_matches_its_network():
    from transferkit.backbones import mini

    row, model = find("mini"), mini.build_mini(mini.DEFAULT_SIZE)
    assert (row.size, row.minimum, row.stage_names) == (mini.DEFAULT_SIZE, mini.SMALLEST_SIZE, mini.STAGES)
    assert (row.parameters, row.layers) == (
        model.count_params(),
        sum(map(freeze.is_counted, model.operations)),
    )
    _check_stages(model, row)
    with pytest.raises(BackboneError, match="no weights to download"):
        row.file_for(32)


@pytest.mark.parametrize(
    ("wrong", "hint"), [("vgg61", "vgg16"), ("resnet-50", "resnet50"), ("EfficientNetB0", "efficientnet_b0")]
)
def test_unknown_name_gives_the_nearest(wrong, hint):
    with pytest.raises(BackboneError, match=rf"unknown backbone '{wrong}'.*'{hint}'"):
        find(wrong)


@pytest.mark.parametrize(
    ("family", "first", "others"),
    [
        ("efficientnet", "efficientnet_b0 (the smallest of 8)", ["efficientnet_v2_b0", "efficientnet_lite0 (bundled)"]),
        ("EfficientNet-V2", "efficientnet_v2_b0 (the smallest of 7)", []),
        ("resnet", "resnet50 (the smallest of 3)", ["resnet50_v2"]),
        ("vgg", "vgg16 (the smallest of 2)", []),
        ("convnext", "convnext_tiny (the smallest of 5)", []),
        ("mobilenet_v3", "mobilenet_v3_small (the smallest of 2)", []),
        ("densenet", "densenet121 (the smallest of 3)", []),
        ("inception", "inception_v3", ["inception_resnet_v2"]),
        ("nasnet", "nasnet_mobile (the smallest of 2)", []),
    ],
)
def test_a_family_offers_its_smallest_network_first(family, first, others):
    with pytest.raises(BackboneError) as caught:
        find(family)
    text = str(caught.value)
    assert f"'{family}'; did you mean {first}" in text
    assert all(other in text for other in others)
    assert "?." not in text
    name = first.split()[0]
    same = [row for row in ROWS.values() if row.paper == ROWS[name].paper and not row.own]
    assert ROWS[name].parameters == min(row.parameters for row in same)


def test_name_like_nothing_lists_all():
    with pytest.raises(BackboneError, match=r"known: vgg16, .*mini"):
        find("zzzzzz")


def test_upper_case_is_forgiven():
    assert find("VGG16") is ROWS["vgg16"]


def test_arguments_are_checked_without_tensorflow():
    code = (
        "import sys; from transferkit.backbones import build, freeze, catalog, weights\n"
        "assert build.check('vgg61') and build.check('vgg16', 16, 'from:nowhere') and weights.listing()\n"
        "bad = {'keras', 'tensorflow'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
