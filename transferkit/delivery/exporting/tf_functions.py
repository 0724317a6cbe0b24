"""The model as TensorFlow functions: on uint8 pictures, and on the bytes of JPEG or PNG files decoded in the graph.

The decoder in the graph follows `data.images.decode` step by step (reduced JPEG scale, whole-pixel averaging, bilinear
sizing, white under transparency), but it is TensorFlow's: it ignores EXIF rotation and colour spaces other than grey
and RGB, and rounds differently by a grey level here and there. The export measures what that does to the answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transferkit import tasks
from transferkit.data.images.decode import DRAFT_MARGIN, LETTERBOX, DecodeSettings
from transferkit.runs.model_facts import ModelFacts

if TYPE_CHECKING:
    import tensorflow as tf

INPUT = "pictures"
ENCODED = "encoded"  # name of the signature, and of its input


def on_pictures(model: Any, facts: ModelFacts) -> Any:
    """The model as a tf.function on pictures, in inference mode.

    Args:
        model: uint8 pictures → answers.
        facts: what its file says of it.

    Returns:
        uint8 [n, size, size, 3] → {output: float32 [n, t]}.
    """
    import tensorflow as tf

    size, name = facts.decode.size, tasks.of(facts.task).output_name

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8, name=INPUT)], autograph=False)
    def answer(pictures: Any) -> dict[str, tf.Tensor]:
        return {name: tf.cast(model(pictures, training=False), tf.float32)}

    return answer


def decodes_itself(facts: ModelFacts) -> bool:
    """Whether the graph can read files as the decoder does: percentiles of grey of 16 bits it cannot."""
    return facts.decode.intensity == "full"


def on_bytes(model: Any, facts: ModelFacts) -> Any:
    """The model as a tf.function on files.

    Args:
        model: uint8 pictures → answers.
        facts: what its file says of it.

    Returns:
        string [n], each a JPEG or PNG file → {output: float32 [n, t]}.
    """
    import tensorflow as tf

    settings, name = facts.decoding(), tasks.of(facts.task).output_name
    shape = tf.TensorSpec((settings.size, settings.size, 3), tf.uint8)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name=ENCODED)], autograph=False)
    def answer(encoded: Any) -> dict[str, tf.Tensor]:
        pictures = tf.map_fn(lambda content: decode(content, settings), encoded, fn_output_signature=shape)
        return {name: tf.cast(model(pictures, training=False), tf.float32)}

    return answer


def decode(content: Any, settings: DecodeSettings) -> Any:
    """A file as a picture, in TensorFlow operations.

    Args:
        content: scalar string, a JPEG or PNG file.
        settings: of the decoder.

    Returns:
        uint8 [size, size, 3].
    """
    import tensorflow as tf

    pixels = tf.cond(tf.io.is_jpeg(content), lambda: _jpeg(content, settings), lambda: _png(content))
    fitted = {"stretch": _stretch, "crop": _crop, "letterbox": _letterbox}[settings.resize](pixels, settings.size)
    return tf.ensure_shape(fitted, (settings.size, settings.size, 3))


def _jpeg(content: Any, settings: DecodeSettings) -> Any:
    """At full, 1/2, 1/4 or 1/8 scale, as `data.images.decode` chooses it."""
    import tensorflow as tf

    sides = tf.io.extract_jpeg_shape(content)[:2]
    extent = tf.reduce_max(sides) if settings.resize == "letterbox" else tf.reduce_min(sides)
    enough = tf.cast(extent, tf.float32) / (2.0, 4.0, 8.0) >= settings.size * DRAFT_MARGIN
    halvings = tf.reduce_sum(tf.cast(enough, tf.int32))
    read = [lambda ratio=ratio: tf.io.decode_jpeg(content, 3, ratio, dct_method="INTEGER_ACCURATE")
            for ratio in (1, 2, 4, 8)]  # fmt: skip
    return tf.switch_case(halvings, read)


def _png(content: Any) -> Any:
    import tensorflow as tf

    pixels = tf.cast(tf.io.decode_png(content, channels=4), tf.float32)
    opacity = pixels[..., 3:] / 255.0
    return _bytes(pixels[..., :3] * opacity + 255.0 * (1.0 - opacity))


def _stretch(pixels: Any, size: int) -> Any:
    return _scaled(pixels, size, size)


def _crop(pixels: Any, size: int) -> Any:
    import tensorflow as tf

    height, width = tf.unstack(tf.shape(pixels)[:2])
    side = tf.minimum(height, width)
    square = tf.slice(pixels, [(height - side) // 2, (width - side) // 2, 0], [side, side, 3])
    return _scaled(square, size, size)


def _letterbox(pixels: Any, size: int) -> Any:
    import tensorflow as tf

    sides = tf.cast(tf.shape(pixels)[:2], tf.float32)
    inside = tf.maximum(1, tf.cast(tf.round(sides * (size / tf.reduce_max(sides))), tf.int32))
    before = (size - inside) // 2
    margins = [[before[0], size - inside[0] - before[0]], [before[1], size - inside[1] - before[1]], [0, 0]]
    fill = tf.constant(LETTERBOX, tf.int32)
    # Padding takes one value for all channels: shift each channel so that its own fill is zero.
    shifted = tf.cast(_scaled(pixels, inside[0], inside[1]), tf.int32) - fill
    return tf.cast(tf.pad(shifted, margins) + fill, tf.uint8)


def _scaled(pixels: Any, height: Any, width: Any) -> Any:
    """Averaged over whole pixels down to less than twice the size, then bilinear: as `data.images.decode` does it."""
    import tensorflow as tf

    sides = tf.shape(pixels)[:2]
    smaller = sides // tf.maximum(1, sides // tf.stack([height, width]))
    averaged = _bytes(tf.image.resize(pixels, smaller, method="area"))
    return _bytes(tf.image.resize(averaged, tf.stack([height, width]), method="bilinear"))


def _bytes(values: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(values), 0.0, 255.0), tf.uint8)
