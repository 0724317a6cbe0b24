from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import photo
from transferkit.data.augmentation.augment import (
    CLEAN,
    PRESETS,
    AugmentationRanges,
    augmentation,
    render,
    view_seed,
)
from transferkit.data.augmentation.colour import colour_matrix, recolour
from transferkit.data.augmentation.preview import alone, preview
from transferkit.data.augmentation.views import Canvas, Draw
from transferkit.data.images.decode import DecodeSettings, Resize, fit
from transferkit.data.source import scan
from transferkit.errors import ConfigError
from transferkit.features.row_sources import Views

SETTINGS = DecodeSettings(32)
MODES: tuple[Resize, ...] = ("stretch", "crop", "letterbox")


def one_view(
    image: Image.Image, augment: AugmentationRanges, seed: int = 1, settings: DecodeSettings = SETTINGS
) -> np.ndarray:
    return render(image, settings, augment, [seed])[0].astype(int)


def test_view_seeds_are_fixed_for_ever() -> None:
    assert view_seed(0, "abc", 0) == CLEAN == 0
    # These numbers must not change between versions and machines: caches and runs depend on them.
    assert view_seed(0, "abc", 1) == 5131022906318705050
    assert len({view_seed(run, sha, view) for run in (0, 1) for sha in ("a", "b") for view in (1, 2, 3)}) == 12


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PRESETS)
def test_view_0_is_the_clean_picture_and_others_are_seeded(name: str, mode: Resize) -> None:
    settings = DecodeSettings(32, mode)
    image = photo(1, 90, 60)
    views = render(image, settings, PRESETS[name], [CLEAN, 11, 12, 11])
    assert (views.shape, views.dtype) == ((4, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(views[0], fit(image, settings))
    np.testing.assert_array_equal(views[1], views[3])
    assert (name == "none") == np.array_equal(views[1], views[2])
    assert (name == "none") == np.array_equal(views[0], views[1])
    np.testing.assert_array_equal(views[2], render(image, settings, PRESETS[name], [12])[0])


def test_a_view_does_not_depend_on_the_others_drawn_with_it() -> None:
    image = photo(4, 80, 80)
    alone = render(image, SETTINGS, PRESETS["strong"], [5])[0]
    among = render(image, SETTINGS, PRESETS["strong"], [9, 5, 77])[1]
    np.testing.assert_array_equal(alone, among)


def test_threads_do_not_change_views() -> None:
    work = [(photo(i, 50, 40), [0, i + 1, i + 2]) for i in range(12)]

    def views(item: tuple[Any, list[int]]) -> Any:
        return render(item[0], SETTINGS, PRESETS["medium"], item[1])

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(views, work))
    np.testing.assert_array_equal(np.stack(found), np.stack([views(item) for item in work]))


def test_flips_mirror_exactly() -> None:
    # At working size nothing is rescaled, so that a mirrored view has exactly the mirrored pixels.
    image = photo(2, 32, 32)
    clean = fit(image, SETTINGS)
    across = render(image, SETTINGS, AugmentationRanges(flip_horizontal=True), range(1, 20))
    assert any(np.array_equal(view, clean[:, ::-1]) for view in across)
    assert any(np.array_equal(view, clean) for view in across)
    down = render(image, SETTINGS, AugmentationRanges(flip_vertical=True), range(1, 20))
    assert any(np.array_equal(view, clean[::-1]) for view in down)


def test_half_turn_and_quarter_turn() -> None:
    image = photo(3, 32, 32)
    draw = Draw.of(AugmentationRanges(rotate=180), 1)
    assert -180 <= draw.rotate <= 180
    from dataclasses import replace

    from transferkit.data.augmentation.views import Canvas

    clean = fit(image, SETTINGS)
    for degrees, expected in (
        (90, np.rot90(clean, 1)),
        (-90, np.rot90(clean, -1)),
        (180, np.rot90(clean, 2)),
    ):
        turned = replace(draw, rotate=degrees)
        view = Canvas.of(np.asarray(image), SETTINGS).view(turned).astype(int)
        assert np.abs(view - expected).max() <= 1


def test_zoom_and_shift_move_what_is_seen() -> None:
    image = Image.new("RGB", (32, 32), "black")
    image.paste("white", (12, 12, 20, 20))
    white = [one_view(image, AugmentationRanges(zoom=(zoom, zoom))).mean() for zoom in (0.5, 1.0, 2.0)]
    assert white[0] == pytest.approx(4 * white[1], rel=0.1)
    assert one_view(image, AugmentationRanges(zoom=(0.5, 0.5)))[9, 9].tolist() == [255, 255, 255]
    moved = one_view(image, AugmentationRanges(shift=0.3), seed=3)
    rows, columns = np.nonzero(moved[..., 0] > 128)
    drawn = Draw.of(AugmentationRanges(shift=0.3), 3).shift
    assert columns.mean() == pytest.approx(15.5 - 32 * drawn[0], abs=0.6)
    assert rows.mean() == pytest.approx(15.5 - 32 * drawn[1], abs=0.6)


@pytest.mark.parametrize("mode", ["stretch", "crop"])
@pytest.mark.parametrize("size", [(40, 40), (300, 60), (9, 70), (1, 1)])
def test_edges_are_mirrored_never_black(mode: Resize, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (200, 150, 100))
    wild = AugmentationRanges(rotate=180, zoom=(0.5, 2.0), shift=0.4, shear=40)
    views = render(image, DecodeSettings(24, mode), wild, range(1, 30))
    assert (views == np.array([200, 150, 100])).all()


def test_colours_of_a_view() -> None:
    grey = Image.new("RGB", (32, 32), (100, 100, 100))
    bright = render(grey, SETTINGS, AugmentationRanges(brightness=0.5), range(1, 40))
    assert 50 <= bright.min() < 70
    assert 130 < bright.max() <= 150
    # Contrast and saturation leave a plain grey picture as it is.
    assert set(np.unique(render(grey, SETTINGS, AugmentationRanges(contrast=0.5, saturation=1.0), range(1, 20)))) <= {
        99,
        100,
        101,
    }


def test_colour_matrix() -> None:
    red = np.full((4, 4, 3), (200, 40, 40), np.uint8)
    mean = (200, 40, 40)
    grey = recolour(red, colour_matrix(1, 1, 0, 0, mean))[0, 0]
    assert len(set(grey.tolist())) == 1
    assert grey[0] == round(0.299 * 200 + 0.701 * 40)
    same = recolour(red, colour_matrix(1, 1, 1, 0, mean))
    assert same is red
    np.testing.assert_allclose(recolour(red, colour_matrix(1, 1, 1, 1.0, mean))[0, 0], mean, atol=1)
    turned = recolour(red, colour_matrix(1, 1, 1, 1 / 3, mean))[0, 0]
    assert turned.argmax() != 0
    dark = recolour(red, colour_matrix(0.5, 1, 1, 0, mean))[0, 0]
    np.testing.assert_allclose(dark, (100, 20, 20), atol=1)
    clipped = recolour(red, colour_matrix(1.9, 1.9, 2.0, 0, mean))
    assert (clipped.min(), clipped.max()) == (0, 255)


def test_erasing_covers_up_to_the_given_share() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    clean = fit(noise, SETTINGS)
    views = render(noise, SETTINGS, AugmentationRanges(erase=0.3), range(1, 60))
    shares = [(view != clean).any(axis=2).mean() for view in views]
    assert max(shares) <= 0.33
    assert max(shares) > 0.2
    assert 0.3 < np.mean([share == 0 for share in shares]) < 0.7


def test_a_range_does_not_disturb_the_others() -> None:
    plain = Draw.of(AugmentationRanges(rotate=20, zoom=(0.8, 1)), 8)
    more = Draw.of(AugmentationRanges(rotate=20, zoom=(0.8, 1), flip_horizontal=True, hue=0.1, erase=0.2), 8)
    assert (plain.rotate, plain.zoom) == (more.rotate, more.zoom)


EACH = {"rotate": 20, "zoom": (0.8, 1.1), "shift": 0.1, "flip_horizontal": True, "flip_vertical": True, "shear": 9,
        "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1, "erase": 0.3}  # fmt: skip
OFF = {field.name: field.default for field in fields(AugmentationRanges)}


def test_each_range_is_among_those_left_out_below() -> None:
    assert EACH.keys() == OFF.keys() - {"name", "then", "plugin"}


@pytest.mark.parametrize("left_out", EACH)
def test_leaving_a_range_out_leaves_all_others_as_they_were(left_out: str) -> None:
    for seed in range(20):
        whole, less = (asdict(Draw.of(augmentation(some), seed)) for some in (EACH, {**EACH, left_out: OFF[left_out]}))
        for drawn in (whole, less):
            drawn["flip_horizontal"], drawn["flip_vertical"] = drawn.pop("mirror")
            del drawn[left_out]
        assert whole == less


def test_half_of_the_views_are_mirrored() -> None:
    drawn = [Draw.of(AugmentationRanges(flip_horizontal=True), seed).mirror for seed in range(400)]
    assert 160 < sum(across for across, _ in drawn) < 240
    assert not any(down for _, down in drawn)


def test_a_function_of_ones_own_has_a_key_that_no_other_has() -> None:
    functions: list[Callable[[Any, int], Any]] = [lambda view, seed: 255 - view, lambda view, seed: view // 2]
    made = [AugmentationRanges(flip_horizontal=True, then=then) for then in functions]
    names = {Views(SETTINGS, some, 1, 0).name("ab" * 32, 1) for some in made}
    assert len(names) == 2
    assert made[0].key() == made[0].key()  # but within its own settings it is the same
    assert Views(SETTINGS, made[0], 1, 0).name("ab" * 32, 0) == Views(SETTINGS, made[1], 1, 0).name("ab" * 32, 0)


def test_settings_are_validated_all_at_once_and_make_their_key() -> None:
    with pytest.raises(ConfigError, match=r"rotate 200.*0 to 180.*hue 2"):
        AugmentationRanges(rotate=200, hue=2)
    with pytest.raises(ConfigError, match="zoom"):
        AugmentationRanges(zoom=(1.2, 0.8))
    with pytest.raises(ConfigError, match="nearest: 'light'"):
        augmentation("ligth")
    with pytest.raises(ConfigError, match="no range 'rotation'"):
        augmentation({"rotation": 10})
    assert augmentation({"rotate": 10, "zoom": [0.9, 1.0]}).zoom == (0.9, 1.0)
    assert augmentation("light").key() == {**augmentation("light").key()}
    assert augmentation("light").key() != augmentation("medium").key()
    assert PRESETS["none"].is_none
    assert AugmentationRanges("mine", rotate=5).key() == AugmentationRanges("yours", rotate=5).key()


def test_large_pictures_do_not_alias() -> None:
    # Stripes of one pixel average to grey when scaled down properly; sampling them would give a pattern.
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    views = render(Image.fromarray(stripes), SETTINGS, AugmentationRanges(zoom=(0.9, 1.1), rotate=5), range(1, 6))
    assert views.std() < 8


def test_preview_shows_every_view() -> None:
    samples = scan(([np.asarray(photo(i)) for i in range(6)], [0, 1] * 3))
    sheet = preview(samples, DecodeSettings(40), "medium", pictures=3, views=4)
    assert sheet.width >= 4 * 40
    assert sheet.height >= 3 * 40
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 200
    everything = preview(samples, DecodeSettings(40), pictures=1, views=2)
    assert everything.height >= 3 * 40  # light, medium and strong


ALL = AugmentationRanges(
    rotate=180, zoom=(0.5, 1.5), shift=0.25, flip_horizontal=True, flip_vertical=True, shear=20, brightness=0.4,
    contrast=0.4, saturation=1, hue=0.1, erase=0.3,
)  # fmt: skip


def test_preview_names_and_draws_each_range_by_itself() -> None:
    image = photo(3)
    canvas = Canvas.of(np.asarray(image), SETTINGS)
    drawn = dict(alone(ALL, canvas, 1))
    ranges = {field.name for field in fields(AugmentationRanges)} - {"name", "then", "plugin"}
    assert {name.partition("=")[0] for name in drawn} == ranges
    clean = one_view(image, AugmentationRanges(), CLEAN)
    still = canvas.view(Draw.of(AugmentationRanges(), 1)).astype(int)
    assert np.abs(still - clean).mean() < 4  # the pixels of a view are read from a larger picture
    assert np.array_equal(drawn["flip_horizontal=yes"], still[:, ::-1])
    assert np.abs(drawn["rotate=180"] - still[::-1, ::-1]).max() <= 2
    assert drawn["brightness=-0.4"].mean() < still.mean() < drawn["brightness=+0.4"].mean()
    assert drawn["contrast=-0.4"].std() < still.std()
    assert np.ptp(drawn["saturation=-1"].astype(int), axis=-1).max() <= 1
    share = (np.abs(drawn["erase=0.3"] - still).max(-1) > 2).mean()
    assert 0.2 < share < 0.35
    assert all(not np.array_equal(pixels, still) for pixels in drawn.values())


def test_preview_shows_what_is_on_and_what_a_plugin_does() -> None:
    def inverted(view: np.ndarray, seed: int) -> np.ndarray:
        return 255 - view

    canvas = Canvas.of(np.asarray(photo(0)), SETTINGS)
    drawn = dict(alone(AugmentationRanges(hue=0.1, then=inverted), canvas, 1))
    assert list(drawn) == ["hue=-0.1", "hue=+0.1", "then (a function)"]
    assert list(alone(AugmentationRanges(), canvas, 1)) == []
    samples = scan(([np.asarray(photo(i)) for i in range(4)], [0, 1] * 2))
    without = preview(samples, DecodeSettings(32), "none", pictures=2, views=1)
    plugin = AugmentationRanges("\u65e5", hue=0.1, then=inverted)
    ranges = preview(samples, DecodeSettings(32), plugin, pictures=2, views=1)
    assert ranges.height == without.height + 32 + 2 * 16 + 4
    last = np.asarray(ranges)[-36:-4]
    assert np.array_equal(last[:, 76:108], 255 - np.asarray(canvas.view(Draw.of(AugmentationRanges(), 1))))
