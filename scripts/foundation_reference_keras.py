#!/usr/bin/env python3
"""Makes the fixtures of KerasHub's presets: small networks with random weights, and what their blocks give.

Runs in an environment of its own, never the project's: keras-hub and one of Keras' backends.

    KERAS_BACKEND=torch python scripts/foundation_reference_keras.py tests/backbones/foundation/fixtures

Each folder is what `save_to_preset` leaves plus reference.npz, as of `foundation_reference.py`. A network with a table
of positions is compared at its own size alone: for others KerasHub resamples otherwise than the original networks do.
`--base` makes networks of base shape, compared by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

_SMALL = {"num_layers": 3, "num_heads": 2, "hidden_dim": 32}
_BASE = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768}


def spread(model: keras.Model, seed: int) -> None:
    """Draw all weights again, in place, with the spread that trained ones have."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        shape, path, last = tuple(weight.shape), weight.path, weight.name
        if "int" in str(weight.dtype):
            continue
        if last in ("gamma", "lambda1"):
            value = generator.normal(1.0 if last == "gamma" else 0.3, 0.3, shape)
        elif last in ("moving_mean", "moving_variance"):
            continue  # `settle` gives them
        elif last in ("beta", "bias"):
            value = generator.normal(0.0, 0.3, shape)
        elif last == "kernel":
            outputs = shape[-1] if "output_dense" in path or len(shape) != 3 else int(np.prod(shape[1:]))
            value = generator.normal(0.0, 1.2 / np.sqrt(np.prod(shape) / outputs), shape)
        else:
            value = generator.normal(0.0, 0.7, shape)
        weight.assign(value.astype("float32"))


def settle(model: keras.Model, size: int) -> None:
    """Give every batch norm mean and variance of what comes to it, as `settle` of foundation_reference.py does."""

    def keep(norm: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def kept(inputs: Any, *arguments: Any, **named: Any) -> Any:
            x = _array(inputs)
            mean = x.mean((0, 1, 2))
            norm.moving_mean.assign(mean)
            norm.moving_variance.assign(x.var((0, 1, 2)) + mean**2 / 4)
            return call(inputs, *arguments, **named)

        return kept

    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    calls = [norm.call for norm in norms]
    for norm, call in zip(norms, calls, strict=True):
        norm.call = keep(norm, call)
    if norms:
        model(np.random.default_rng(0).standard_normal((8, size, size, 3)).astype(np.float32))
    for norm, call in zip(norms, calls, strict=True):
        norm.call = call


def _blocks(model: keras.Model) -> list[Any]:
    """The blocks of a transformer, in order."""
    encoder = next(layer for layer in model.layers if type(layer).__name__.endswith("Encoder"))
    return list(encoder.encoder_layers if hasattr(encoder, "encoder_layers") else encoder.layers)


def outputs(model: keras.Model, size: int) -> dict[str, np.ndarray]:
    """What each block and the whole give for the picture of `size`."""
    found: dict[str, np.ndarray] = {}
    picture = np.random.default_rng(size).standard_normal((1, size, size, 3)).astype(np.float32)

    def keep(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def kept(*arguments: Any, **named: Any) -> Any:
            output = call(*arguments, **named)
            found[name] = _array(output)
            return output

        return kept

    if isinstance(model, keras_hub.models.ResNetBackbone):
        names = [layer.name for layer in model.layers if layer.name.endswith("_out")]
        every = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
        for i, output in enumerate(every(picture)):
            found[f"block{i}"] = _array(output)
    else:
        for i, block in enumerate(_blocks(model)):
            block.call = keep(f"block{i}", block.call)
    found["features"] = _array(model(picture if len(model.inputs) == 1 else {"images": picture}))
    return found


def _array(tensor: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor)), dtype=np.float32)


def _make(folder: Path, model: keras.Model, sizes: list[int], *, any_size: bool = False) -> None:
    """Save the preset, and what it gives as loaded again: a table of positions is made of another then."""
    spread(model, 3)
    settle(model, sizes[-1])
    model.save_to_preset(str(folder))
    found = {}
    for s in sizes:
        options = {"image_shape": (s, s, 3)} if any_size else {}
        loaded = type(model).from_preset(str(folder), **options)
        found |= {f"{s}/{name}": value for name, value in outputs(loaded, s).items()}
    np.savez_compressed(folder / "reference.npz", **found)
    print(folder.name, sizes, f"{sum(f.stat().st_size for f in folder.iterdir()) / 1e3:.0f} kB", file=sys.stderr)


def _siglip(folder: Path, base: bool) -> None:
    models, side = keras_hub.models, 224 if base else 32
    shape = _BASE if base else _SMALL
    hidden = 4 * shape["hidden_dim"]
    vision = models.SigLIPVisionEncoder(
        patch_size=16 if base else 8, intermediate_dim=hidden, image_shape=(side, side, 3), **shape
    )
    text = models.SigLIPTextEncoder(
        vocabulary_size=8, embedding_dim=shape["hidden_dim"], max_sequence_length=4, intermediate_dim=16,
        hidden_dim=shape["hidden_dim"], num_layers=1, num_heads=2,
    )  # fmt: skip
    whole = models.SigLIPBackbone(vision_encoder=vision, text_encoder=text)
    ends = [layer.output for layer in vision.encoder_layers]
    every = keras.Model(vision.inputs, [*ends, vision.post_layer_norm.output, *vision.outputs])
    spread(whole, 3)
    whole.save_to_preset(str(folder))
    picture = np.random.default_rng(side).standard_normal((1, side, side, 3)).astype(np.float32)
    names = [*(f"{side}/block{i}" for i in range(len(ends))), f"{side}/features", f"{side}/pooled"]
    found = dict(zip(names, map(_array, every({"images": picture})), strict=True))
    np.savez_compressed(folder / "reference.npz", **found)
    print(folder.name, f"{sum(f.stat().st_size for f in folder.iterdir()) / 1e3:.0f} kB", file=sys.stderr)


def make(name: str, folder: Path, base: bool) -> None:
    """Make one folder."""
    models, side, patch = keras_hub.models, 224 if base else 32, 16 if base else 8
    shape, hidden = (_BASE, 3072) if base else (_SMALL, 64)
    picture = (side, side, 3)
    sizes = [64, 224, 250] if base else [32, 64, 70]
    if name == "kerashub_vit":
        _make(folder, models.ViTBackbone(image_shape=picture, patch_size=patch, mlp_dim=hidden, **shape), [side])
    elif name.startswith("kerashub_dinov2"):
        gated, registers = "gated" in name, 4 if "registers" in name else 0
        model = models.DINOV2Backbone(
            patch_size=patch, intermediate_dim=4 * shape["hidden_dim"], num_register_tokens=registers,
            antialias_in_interpolation=registers > 0, use_swiglu_ffn=gated, image_shape=picture,
            position_embedding_shape=picture, **shape,
        )  # fmt: skip
        _make(folder, model, [side])
    elif name.startswith("kerashub_dinov3"):
        gated = "gated" in name
        model = models.DINOV3Backbone(
            patch_size=patch, intermediate_dim=hidden, num_register_tokens=4, use_gated_mlp=gated, use_key_bias=False,
            hidden_activation="silu" if gated else "gelu", image_shape=picture, **shape,
        )  # fmt: skip
        _make(folder, model, [side, side + 2 * patch, side + 4 * patch], any_size=True)
    elif name == "kerashub_siglip":
        _siglip(folder, base)
    else:
        deep = name.endswith("_vd")
        model = models.ResNetBackbone(
            input_conv_filters=[8, 8, 64] if deep else [64], input_conv_kernel_sizes=[3, 3, 3] if deep else [7],
            stackwise_num_filters=[64, 128, 256, 512] if base else [64, 8, 16],
            stackwise_num_strides=[1, 2, 2, 2][: 4 if base else 3],
            stackwise_num_blocks=[3, 4, 6, 3] if base else [1, 2, 1], image_shape=(None, None, 3),
            block_type="bottleneck_block" if base else "basic_block_vd" if deep else "basic_block",
        )  # fmt: skip
        _make(folder, model, sizes)


NAMES = (
    "kerashub_vit", "kerashub_dinov2", "kerashub_dinov2_registers", "kerashub_dinov2_gated", "kerashub_dinov3",
    "kerashub_dinov3_gated", "kerashub_siglip", "kerashub_resnet", "kerashub_resnet_vd",
)  # fmt: skip


def main() -> None:
    """Make the folders named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--base", action="store_true")
    options = parser.parse_args()
    for name in options.names or NAMES:
        make(name, options.target / name, options.base)
    file = options.target / "versions.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    versions = {module.__name__: module.__version__ for module in (keras, keras_hub)}
    known |= dict.fromkeys(options.names or NAMES, versions)
    file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
