"""The map lies on what decides the answer, follows the trained weights, and lands where the decoder took it from."""

import keras
import numpy as np
import pytest

from tests.marks import extended
from transferkit import heads
from transferkit.data.images.sizing import fitted
from transferkit.errors import ConfigError
from transferkit.evaluation import heatmaps

SIZE = 32
RED, BLUE = np.array([255, 0, 0]), np.array([0, 0, 255])


def colour_model(pooling="avg", width=None, vector=False):
    """Class 0 is red, class 1 is blue: a backbone of two colour detectors, 8×8 places, as a run ships it."""
    pixels = keras.Input((SIZE, SIZE, 3))
    detect = keras.layers.Conv2D(2, 4, strides=4, activation="relu")
    x = detect(pixels)
    kernel = np.zeros((4, 4, 3, 2), np.float32)
    kernel[:, :, 0, 0] = kernel[:, :, 2, 1] = 1 / 16
    kernel[:, :, 1, :] = kernel[:, :, 2, 0] = kernel[:, :, 0, 1] = -1 / 16
    detect.set_weights([kernel, np.zeros(2, np.float32)])
    backbone = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x) if vector else x, name="colours")
    picture = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="picture")
    x = backbone(keras.layers.Rescaling(1 / 255)(picture))
    pool = heads.pool(x.shape[1:], pooling)
    x = x if pool is None else pool(x)
    body = heads.body(x.shape[-1], 2, heads.HeadSettings(width or (), 0.0))
    if width is None:
        body.get_layer("logits").set_weights([np.tile(np.eye(2), (x.shape[-1] // 2, 1)), np.zeros(2)])
    x = body(x)
    for layer in heads.output_layers("classify", 0.5):
        x = layer(x)
    return keras.Model(picture, x)


def scene(red, blue):
    """Grey, with a red and a blue square of 8 pixels at (row, column)."""
    picture = np.full((SIZE, SIZE, 3), 90, np.uint8)
    for (row, column), colour in ((red, RED), (blue, BLUE)):
        picture[row : row + 8, column : column + 8] = colour
    return picture


def share_inside(heat, corner):
    row, column = corner
    near = (slice(max(row - 4, 0), row + 12), slice(max(column - 4, 0), column + 12))
    return heat[near].sum() / heat.sum()


@pytest.mark.parametrize("method", heatmaps.METHODS)
@pytest.mark.parametrize("pooling", ["avg", "max", "flatten", "gem"])
def test_the_map_lies_on_the_square_whose_class_is_asked_for(method, pooling):
    places = [((4, 4), (20, 20)), ((16, 0), (0, 24))]
    pictures = np.stack([scene(*p) for p in places])
    run = heatmaps.explainer(colour_model(pooling), method)
    for number in (0, 1):
        heats = run(pictures, np.full(2, number))
        assert heats.shape == (2, SIZE, SIZE)
        assert heats.dtype == np.float32
        assert heats.min() >= 0
        assert heats.max() == pytest.approx(1.0)
        for heat, corners in zip(heats, places, strict=True):
            assert share_inside(heat, corners[number]) > 0.9


def test_certainty_does_not_empty_the_map():
    """Behind a saturated softmax every gradient is 0; the map is made of logits."""
    picture = scene((4, 4), (20, 20))
    model = colour_model("flatten")
    model.get_layer("head").get_layer("logits").kernel.assign(np.tile(np.eye(2), (64, 1)) * [1000, 1])
    assert model.predict(picture[None], verbose=0)[0, 0] == 1.0
    heat = heatmaps.explainer(model)(picture[None], np.array([0]))[0]
    assert share_inside(heat, (4, 4)) > 0.9


def test_a_batch_of_any_length_gives_each_picture_its_own_map():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (heatmaps.BATCH + 3, SIZE, SIZE, 3), np.uint8)
    run = heatmaps.explainer(colour_model())
    outputs = np.arange(len(pictures)) % 2
    together = run(pictures, outputs)
    for i in (0, heatmaps.BATCH - 1, heatmaps.BATCH + 2):
        np.testing.assert_allclose(together[i], run(pictures[i : i + 1], outputs[i : i + 1])[0], atol=1e-5)


def test_a_vector_has_no_map_but_can_be_occluded():
    model = colour_model(vector=True)
    with pytest.raises(ConfigError, match=r"'colours' gives no feature map.*--method occlusion"):
        heatmaps.explainer(model)
    heat = heatmaps.explainer(model, "occlusion")(scene((4, 4), (20, 20))[None], np.array([0]))[0]
    assert share_inside(heat, (4, 4)) > 0.9


def test_a_single_place_is_refused():
    pixels = keras.Input((SIZE, SIZE, 3))
    backbone = keras.Model(pixels, keras.layers.Conv2D(2, SIZE)(pixels), name="one")
    picture = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = backbone(keras.layers.Rescaling(1.0)(picture))
    model = keras.Model(picture, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    with pytest.raises(ConfigError, match="a single place"):
        heatmaps.explainer(model)


def test_an_unknown_method_names_those_there_are():
    with pytest.raises(ConfigError, match="grad-cam, occlusion"):
        heatmaps.explainer(colour_model(), "lime")


@pytest.mark.parametrize("method", extended(heatmaps.METHODS, ["occlusion"]))
@pytest.mark.parametrize("part", ["head", "mini"])
def test_randomised_weights_change_the_map(digits_run, digits, method, part):
    """Adebayo et al. 2018, Sanity checks for saliency maps: a map that survives this explains nothing."""
    from transferkit.data.images.decode import DecodeSettings, decode

    pictures = np.stack([decode(p, DecodeSettings(32)) for p in sorted(digits.glob("*/*0.png"))[:8]])
    model = digits_run.model()
    outputs = np.asarray(model([pictures])).argmax(1)
    before = heatmaps.explainer(model, method)(pictures, outputs)
    again = heatmaps.explainer(digits_run.model(), method)(pictures, outputs)
    rng = np.random.default_rng(0)
    for weight in model.get_layer(part).weights:
        values = np.copy(np.asarray(weight.value))
        weight.assign(rng.permutation(values.ravel()).reshape(values.shape))
    after = heatmaps.explainer(model, method)(pictures, outputs)
    assert alike(before, again) > 0.999
    assert alike(before, after) < 0.6


def alike(a, b):
    """Mean rank correlation over pictures."""
    from scipy.stats import spearmanr

    found = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True) if np.ptp(x) and np.ptp(y)]
    return float(np.mean(found)) if found else 0.0


def test_the_map_is_put_back_where_the_decoder_took_it_from():
    heat = np.zeros((40, 40), np.float32)
    heat[:20, :20] = 1  # the upper left quarter of what the model saw
    wide = (80, 40)
    stretched = heatmaps.place(heat, "stretch", wide)
    assert stretched.shape == (40, 80)
    assert stretched[5, 30] == 1
    assert stretched[5, 50] == 0
    cropped = heatmaps.place(heat, "crop", wide)  # columns 20…60 were seen
    assert cropped[5, 25] == 1
    assert cropped[5, 10] == cropped[5, 50] == 0
    boxed = heatmaps.place(heat, "letterbox", wide)  # rows 10…30 held the picture
    assert boxed.shape == (40, 80)
    assert boxed[5, 10] == 1
    assert boxed[35, 10] == boxed[5, 60] == 0


@pytest.mark.parametrize("size", [(43, 40), (40, 43), (44, 41), (41, 40)])
def test_the_map_of_a_cropped_picture_lies_on_the_very_pixels_that_the_decoder_took(size):
    seen = heatmaps.place(np.ones((40, 40), np.float32), "crop", size) > 0
    picture = np.arange(size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    cropped = fitted(picture, min(size), "crop")
    np.testing.assert_array_equal(picture[seen], cropped.reshape(-1, 3))


def test_the_overlay_shows_heat_in_colour_and_the_rest_in_grey():
    picture = np.full((20, 30, 3), [200, 30, 30], np.uint8)
    heat = np.zeros((16, 16), np.float32)
    heat[:, :4] = 1
    image = heatmaps.overlay(picture, heat)
    assert image.shape == picture.shape
    assert image.dtype == np.uint8
    assert np.ptp(image[10, 25]) <= 1
    assert np.ptp(image[10, 2].astype(int)) > 50


def test_the_colours_are_matplotlibs_inferno():
    import matplotlib

    expected = matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255
    np.testing.assert_array_equal(heatmaps._inferno(), np.rint(expected))
