#!/usr/bin/env python3
"""Makes tests/backbones/foundation/fixtures: small networks of the reference libraries, and what their blocks give.

Runs in an environment of its own, never the project's: torch (the CPU wheel), torchvision, transformers, timm, numpy.

    python scripts/foundation_reference.py tests/backbones/foundation/fixtures        # small, committed
    python scripts/foundation_reference.py /tmp/base dinov2 clip --base               # of base shape, compared by hand

Each folder is what a download from the hub is (config.json, weights) plus reference.npz: for three picture sizes the
output of every block, the last features, and what attention pooling makes of them (`pooled`, of SigLIP), float32. The
input of size s is `numpy.random.default_rng(s).standard_normal((1, s, s, 3))`. Weights are drawn with the spread that
trained ones have: norms around 1, factors of both signs, positions as large as patches, so that a missing term shows.
Batch norms keep mean and variance of what comes to them, as training leaves them: with statistics that do not fit, maps
grow from block to block, and rounding with them.
`--double` computes the same float32 weights in float64, to tell a difference of graphs from one of rounding.
`--dinov2 FOLDER` names a checkout of DINOv2's own repository, for the form of its .pth files.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
import transformers as hf

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32,
         "patch_size": 8}  # fmt: skip
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "image_size": 224, "patch_size": 16}  # fmt: skip
MAPS = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
BASE_MAPS = {"hidden_sizes": [128, 256, 512, 1024], "depths": [3, 3, 27, 3]}
_BATCH = 8  # pictures whose statistics batch norms keep
_PRECISION = [torch.float32]  # that outputs are computed in; `--double` sets it
_POOLERS = ("SiglipMultiheadAttentionPoolingHead", "Siglip2MultiheadAttentionPoolingHead", "AttentionPoolLatent")
_BLOCKS = (
    "Dinov2Layer", "Dinov2WithRegistersLayer", "DINOv3ViTLayer", "ViTLayer", "DeiTLayer", "CLIPEncoderLayer",
    "SiglipEncoderLayer", "Siglip2EncoderLayer", "ConvNextLayer", "ConvNextV2Layer", "DINOv3ConvNextLayer", "Block",
    "ConvNeXtBlock", "SwinLayer", "Swinv2Layer", "LayerScaleBlock", "NestedTensorBlock", "EvaBlock",
    "SwinTransformerBlock", "SwinTransformerV2Block", "BasicBlock", "Bottleneck", "ConvBnAct", "DepthwiseSeparableConv",
    "InvertedResidual", "EdgeResidual", "UniversalInvertedResidual", "MobileAttention", "ResNetBasicLayer",
    "ResNetBottleNeckLayer", "EncoderBlock", "CNBlock", "MBConv", "FusedMBConv",
)  # fmt: skip


def _sizes(patch: int, native: int) -> list[int]:
    return [native - patch, native, native + 2 * patch]


def spread(model: torch.nn.Module, seed: int) -> None:
    """Draw all weights again, in place."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: Any, mean: float, deviation: float) -> torch.Tensor:
        return mean + deviation * torch.randn(shape, generator=generator)

    norms = {id(p) for m in model.modules() if isinstance(m, torch.nn.LayerNorm) for p in m.parameters()}
    with torch.no_grad():
        for name, p in model.named_parameters():
            last = name.rpartition(".")[2]
            if "grn" in name or last in ("lambda1", "gamma", "gamma_1", "gamma_2", "layer_scale_parameter"):
                p.copy_(normal(p.shape, 0.3, 0.5))
            elif "norm" in name or id(p) in norms or ("downsampl" in name and p.ndim == 1):
                p.copy_(normal(p.shape, 1.0 if last == "weight" else 0.0, 0.3))
            elif name.endswith((".attn.query.proj.weight", ".attn.key.proj.weight")):
                # All places of a map ask alike: sharper scores would pick one by its rounding.
                p.copy_(normal(p.shape, 0.0, 0.3 / math.sqrt(math.prod(p.shape[1:]))))
            elif p.ndim >= 2 and last in ("weight", "in_proj_weight") and "position" not in name:
                p.copy_(normal(p.shape, 0.0, 1.2 / math.sqrt(math.prod(p.shape[1:]))))
            else:
                p.copy_(normal(p.shape, 0.0, 0.3 if last == "bias" else 0.7))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                shape = module.weight.shape
                module.weight.copy_(normal(shape, 1.0, 0.3))
                module.bias.copy_(normal(shape, 0.0, 0.3))


def settle(model: torch.nn.Module, call: Callable[[torch.Tensor], Any], size: int) -> None:
    """Give every batch norm mean and variance of what comes to it from a batch of noise, one norm after the other.

    Noise is all alike to a deep network, pictures are not: the variance is raised so that no mean is more than twice
    the deviation. Else the difference that is left would be mostly rounding, made large.
    """

    def keep(norm: Any, inputs: Any) -> None:
        mean = inputs[0].mean((0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(inputs[0].var((0, 2, 3)) + mean.square() / 4)

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(keep) for norm in norms]
    with torch.no_grad():
        if norms:
            call(_picture(0, (_BATCH, size, size, 3)))
    for hook in hooks:
        hook.remove()


def _picture(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Noise, channels first."""
    pixels = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def outputs(
    model: torch.nn.Module, size: int, call: Callable[[torch.Tensor], Any], channels_last: bool = False
) -> dict[str, np.ndarray]:
    """What each block and the whole give for the picture of `size`; maps with their channels last."""
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            found[name] = _array(output[0] if isinstance(output, tuple) else output, channels_last)

        return hook

    named = model.to(_PRECISION[0]).named_modules()
    blocks = [module for name, module in named if type(module).__name__ in _BLOCKS and "text_model" not in name]
    hooks = [block.register_forward_hook(keep(f"block{i}")) for i, block in enumerate(blocks)]
    with torch.no_grad():
        features = call(_picture(size, (1, size, size, 3)).to(_PRECISION[0]))
        found["features"] = _array(features, channels_last)
        for module in model.modules():
            if type(module).__name__ in _POOLERS:
                found["pooled"] = _array(module(features), channels_last)
    for hook in hooks:
        hook.remove()
    return found


def _array(tensor: torch.Tensor, channels_last: bool) -> np.ndarray:
    tensor = tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 and not channels_last else tensor
    return tensor.detach().to(_PRECISION[0]).contiguous().numpy()


def _write(folder: Path, model: torch.nn.Module, sizes: list[int], call: Callable[[torch.Tensor], Any]) -> None:
    _keep(folder, {f"{s}/{name}": value for s in sizes for name, value in outputs(model, s, call).items()})


def _keep(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(folder / "reference.npz", **arrays)
    print(folder.name, f"{sum(f.stat().st_size for f in folder.iterdir()) / 1e3:.0f} kB", file=sys.stderr)


def _hf(kind: str, config: Any, sizes: list[int], call: str = "tokens") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        model = getattr(hf, kind)(config).eval()
        spread(model, len(folder.name))
        settle(model, lambda x: _CALLS[call](model, x), sizes[-1])
        model.save_pretrained(folder)
        _write(folder, model, sizes, lambda x: _CALLS[call](model, x))

    return make


def _swin(base: bool, second: bool = False) -> Callable[[Path], None]:
    """A network of its own for each size: the library's blocks keep the window that a smaller map once needed."""
    small = {"image_size": 32, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
    usual = {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}
    sizes = [224, 256, 320] if base else [32, 48, 64]
    kind, settings = hf.SwinModel, hf.SwinConfig
    if second:
        kind, settings, sizes = hf.Swinv2Model, hf.Swinv2Config, [192, 224, 256] if base else [24, 32, 48]
        small["pretrained_window_sizes"] = [6, 3]
        usual |= {"image_size": 256, "window_size": 16, "pretrained_window_sizes": [12, 12, 12, 6]}

    def make(folder: Path) -> None:
        config = usual if base else small
        model = kind(settings(**config)).eval()
        spread(model, 4)
        model.save_pretrained(folder)
        arrays = {}
        for s in sizes:
            net = kind(settings(**config | ({"image_size": s} if second else {}))).eval()
            net.load_state_dict(model.state_dict())
            found = outputs(net, s, lambda x, net=net: net(pixel_values=x).last_hidden_state)
            arrays |= {f"{s}/{name}": _square(value) for name, value in found.items()}
        _keep(folder, arrays)

    return make


def _square(tokens: np.ndarray) -> np.ndarray:
    side = round(tokens.shape[1] ** 0.5)
    return tokens.reshape(1, side, side, -1)


def _interpolated(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state


def _clip(model: Any, x: torch.Tensor) -> torch.Tensor:
    tower = model.vision_model
    last = tower(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state
    return tower.post_layernorm(last)  # the library norms the class token alone


def _siglip2(model: Any, x: torch.Tensor) -> torch.Tensor:
    p = model.config.patch_size
    side = x.shape[-1] // p
    patches = x.reshape(1, 3, side, p, side, p).permute(0, 2, 4, 3, 5, 1).reshape(1, side * side, -1)
    mask = torch.ones(1, side * side, dtype=torch.long)
    return model(
        pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=torch.tensor([[side, side]])
    ).last_hidden_state


_CALLS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "tokens": lambda m, x: m(pixel_values=x).last_hidden_state,
    "interpolated": _interpolated,
    "classifier": lambda m, x: m.vit(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state,
    "clip": _clip,
    "siglip2": _siglip2,
    # DINOv3's last norm is not part of our map; the last block is
    "map": lambda m, x: m(pixel_values=x, output_hidden_states=True).hidden_states[-1],
}


def _timm(
    name: str, arguments: dict[str, Any], sizes: list[int], make: Callable[..., Any] | None = None
) -> Callable[[Path], None]:
    """timm's network `name`; `make` builds it where `arguments` are not for `create_model` and no config says them."""

    def built(size: int | None = None) -> torch.nn.Module:
        if make is not None:
            return make(name, num_classes=0, **arguments).eval()
        side = {"img_size": size} if size and "swin" in name else {}
        return timm.create_model(name, pretrained=False, num_classes=0, **arguments | side).eval()

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        model = built()
        spread(model, len(name))
        settle(model, model.forward_features, sizes[-1])
        said = {} if make is not None else arguments
        timm.models.save_for_hf(model, str(folder), model_args=said, safe_serialization=True)
        (folder / "pytorch_model.bin").unlink(missing_ok=True)
        arrays = {}
        for s in sizes:
            net = built(s)
            net.load_state_dict(model.state_dict())
            if hasattr(net, "set_input_size") and "swin" not in name:
                net.set_input_size((s, s))
            found = outputs(net, s, net.forward_features, "swin" in name)
            arrays |= {f"{s}/{key}": value for key, value in found.items()}
        _keep(folder, arrays)

    return write


def _headless(name: str, **arguments: Any) -> torch.nn.Module:
    """A MobileNetV4 without what comes behind the pooling, which is a third of a small one."""
    model = timm.models.mobilenetv3._gen_mobilenet_v4(name, **arguments)
    model.conv_head = model.norm_head = torch.nn.Identity()
    return model


def _residual(block: str) -> Callable[..., Any]:
    kind = getattr(timm.models.resnet, block)
    return lambda name, **arguments: timm.models.resnet._create_resnet(name, block=kind, **arguments)


def _torchvision_resnet(base: bool) -> Callable[[Path], None]:
    """A ResNet as torchvision's files are: a state dict with its classifier, no config."""
    if base:
        return _torchvision(torchvision.models.resnet50, [64, 224, 250])
    small = {"layers": [1, 1, 2, 1], "channels": (8, 8, 16, 16), "num_classes": 3}
    return _torchvision(lambda: _residual("BasicBlock")("resnet18", **small), [32, 64, 70])


def _torchvision(make: Callable[[], torch.nn.Module], sizes: list[int], last: bool = False) -> Callable[[Path], None]:
    """One of torchvision's networks, saved as its files are; `last`: its maps have their channels last."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        model = make().eval()
        spread(model, 9)
        ends = ("fc", "avgpool", "global_pool", "classifier", "head", "flatten", "permute")
        whole = torch.nn.Sequential(*[m for n, m in model.named_children() if n not in ends])
        settle(whole, whole, sizes[-1])
        torch.save(model.state_dict(), folder / f"{folder.name.partition('_')[2]}.pth")
        _keep(folder, {f"{s}/{n}": x for s in sizes for n, x in outputs(whole, s, whole, last).items()})

    return write


def _torchvision_vit(base: bool) -> Callable[[Path], None]:
    """torchvision's ViT; for other sizes its positions are resampled as `interpolate_embeddings` does."""
    from torchvision.models import vision_transformer as code

    shape: dict[str, Any] = {"patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072}
    if not base:
        shape = {"patch_size": 8, "num_layers": 1, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 32, "num_classes": 3}
    native, patch = 224 if base else 32, shape["patch_size"]

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        model = code.VisionTransformer(image_size=native, **shape)
        spread(model, 9)
        halves = {name: value if base else value.half() for name, value in model.state_dict().items()}
        torch.save(halves, folder / "vit.pth")
        arrays = {}
        for s in _sizes(patch, native):
            net = code.VisionTransformer(image_size=s, **shape).eval()
            state = {name: value.float() for name, value in halves.items()}
            net.load_state_dict(code.interpolate_embeddings(s, patch, state))

            def call(x: torch.Tensor, net: Any = net) -> torch.Tensor:
                return net.encoder(torch.cat([net.class_token, net._process_input(x)], dim=1))

            arrays |= {f"{s}/{name}": value for name, value in outputs(net, s, call).items()}
        _keep(folder, arrays)

    return write


def _torchvision_efficientnet(second: bool) -> torch.nn.Module:
    """A thin EfficientNet of torchvision's code, or a V2."""
    from torchvision.models import efficientnet as code

    if not second:
        stages, _ = code._efficientnet_conf("efficientnet_b0", width_mult=0.1, depth_mult=0.5)
        return code.EfficientNet(stages, 0.0, num_classes=3)
    fused = ((1, 3, 1, 8, 8, 1), (4, 3, 2, 8, 16, 2), (4, 3, 2, 16, 16, 1))
    plain = ((4, 3, 2, 16, 24, 1), (6, 3, 1, 24, 24, 2), (6, 3, 2, 24, 32, 1))
    stages = [*(code.FusedMBConvConfig(*row) for row in fused), *(code.MBConvConfig(*row) for row in plain)]
    norm = partial(torch.nn.BatchNorm2d, eps=1e-3)
    return code.EfficientNet(stages, 0.0, num_classes=3, last_channel=64, norm_layer=norm)


def _torchvision_cases(base: bool) -> dict[str, Callable[[Path], None]]:
    models = torchvision.models
    if base:
        found = {
            "convnext": _torchvision(models.convnext_tiny, [64, 224, 300]),
            "swin": _torchvision(models.swin_t, [224, 256, 320], last=True),
            "efficientnet": _torchvision(models.efficientnet_b0, [64, 224, 250]),
            "efficientnetv2": _torchvision(models.efficientnet_v2_s, [64, 224, 250]),
        }
    else:
        config = models.convnext.CNBlockConfig
        stages = [config(8, 16, 1), config(16, 24, 1), config(24, 32, 2), config(32, None, 1)]
        windows = {"patch_size": [4, 4], "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": [4, 4]}
        found = {
            "convnext": _torchvision(lambda: models.convnext.ConvNeXt(stages, num_classes=3), [32, 64, 70]),
            "swin": _torchvision(lambda: models.SwinTransformer(**windows, num_classes=3), [32, 48, 64], last=True),
            "efficientnet": _torchvision(lambda: _torchvision_efficientnet(False), [32, 64, 70]),
            "efficientnetv2": _torchvision(lambda: _torchvision_efficientnet(True), [32, 64, 70]),
        }
    found |= {"resnet": _torchvision_resnet(base), "vit": _torchvision_vit(base)}
    return {f"torchvision_{name}": make for name, make in found.items()}


def _meta(checkout: Path, registers: int) -> Callable[[Path], None]:
    """DINOv2's own network, saved as its .pth files are: a state dict, no config."""

    def make(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        network = _dinov2_code(checkout)
        model = network.DinoVisionTransformer(
            img_size=56, patch_size=14, embed_dim=192, depth=1, num_heads=3, mlp_ratio=0.5, init_values=1.0,
            block_chunks=0, num_register_tokens=registers, interpolate_antialias=registers > 0,
            interpolate_offset=0.0 if registers else 0.1,
        ).eval()  # fmt: skip
        spread(model, 5 + registers)
        model.half().float()  # the file holds halves, so the outputs must be theirs
        torch.save({name: value.half() for name, value in model.state_dict().items()}, folder / "dinov2.pth")

        def call(x: torch.Tensor) -> torch.Tensor:
            found = model.forward_features(x)
            return torch.cat([found["x_norm_clstoken"][:, None], found["x_norm_patchtokens"]], dim=1)

        _write(folder, model, _sizes(14, 56), call)

    return make


def _pickles(folder: Path) -> None:
    """Files as PyTorch writes them, in both forms, of tensors whose numbers do not simply lie in a row."""
    folder.mkdir(parents=True, exist_ok=True)
    block = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "plain": block, "transposed": block.T, "part": block[1:3, 2:5], "every_other": block[::2, ::3],
        "expanded": torch.tensor([2.5]).expand(3, 2), "half": block[0].half(), "bfloat16": block[1].bfloat16(),
        "whole": torch.tensor([3, -1], dtype=torch.int64), "number": torch.tensor(7.0), "nothing": torch.zeros(0, 3),
    }  # fmt: skip
    state = {**tensors, "parameter": torch.nn.Parameter(block[2])}
    torch.save({"epoch": 3, "model": state}, folder / "archive.pth")
    torch.save(state, folder / "stream.pth", _use_new_zipfile_serialization=False)
    arrays = {name: tensor.detach().float().numpy() for name, tensor in state.items()}
    np.savez(folder / "expected.npz", **arrays)


def _dinov2_code(checkout: Path) -> Any:
    sys.path.insert(0, str(checkout))
    package = types.ModuleType("dinov2.models")
    package.__path__ = [str(checkout / "dinov2" / "models")]
    sys.modules["dinov2.models"] = package  # without what its own __init__ imports
    spec = importlib.util.find_spec("dinov2.models.vision_transformer")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(base: bool, dinov2: Path | None) -> dict[str, Callable[[Path], None]]:
    """What to make, by folder name."""
    v, maps = (BASE, BASE_MAPS) if base else (SMALL, MAPS)
    p, native = v["patch_size"], v["image_size"]
    sizes, map_sizes = _sizes(p, native), [64, 224, 300] if base else [32, 64, 70]
    d = {**v, "patch_size": 14, "image_size": 518 if base else 56}
    d.pop("intermediate_size")
    d_sizes = [210, 224, 518] if base else _sizes(14, 56)
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 8,
    }
    text |= {"max_position_embeddings": 4, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    found = {
        "dinov2": _hf("Dinov2Model", hf.Dinov2Config(**d), d_sizes),
        "dinov2_gated": _hf("Dinov2Model", hf.Dinov2Config(**d, use_swiglu_ffn=True), d_sizes),
        "dinov2_registers": _hf("Dinov2WithRegistersModel", hf.Dinov2WithRegistersConfig(**d), d_sizes),
        "dinov3": _hf("DINOv3ViTModel", hf.DINOv3ViTConfig(**v, num_register_tokens=4), sizes),
        "dinov3_gated": _hf("DINOv3ViTModel", hf.DINOv3ViTConfig(**v, use_gated_mlp=True, hidden_act="silu"), sizes),
        "vit": _hf("ViTForImageClassification", hf.ViTConfig(**v), sizes, "classifier"),
        "deit": _hf("DeiTModel", hf.DeiTConfig(**v), sizes, "interpolated"),
        "clip": _hf("CLIPModel", hf.CLIPConfig(text_config=text, vision_config=v, projection_dim=8), sizes, "clip"),
        "siglip": _hf("SiglipVisionModel", hf.SiglipVisionConfig(**v), sizes, "interpolated"),
        "siglip2": _hf("Siglip2VisionModel", hf.Siglip2VisionConfig(
            **{k: n for k, n in v.items() if k != "image_size"}, num_patches=(native // p) ** 2), sizes, "siglip2"),
        "convnext": _hf("ConvNextModel", hf.ConvNextConfig(**maps), map_sizes),
        "resnet": _hf("ResNetModel", hf.ResNetConfig(**({} if base else {**MAPS, "embedding_size": 8})), map_sizes),
        "convnextv2": _hf("ConvNextV2Model", hf.ConvNextV2Config(**maps), map_sizes),
        "swin": _swin(base),
        "swinv2": _swin(base, second=True),
        **_torchvision_cases(base),
        "dinov3_convnext": _hf("DINOv3ConvNextModel", hf.DINOv3ConvNextConfig(**maps), map_sizes, "map"),
    }  # fmt: skip
    if not base:
        small = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64}
        found |= {
            "timm_vit": _timm("vit_small_patch16_224", small, _sizes(16, 64)),
            "timm_deit3": _timm("deit3_small_patch16_224", small, _sizes(16, 64)),
            "timm_deit": _timm("deit_small_distilled_patch16_224", small, _sizes(16, 64)),
            "timm_dinov2": _timm("vit_small_patch14_reg4_dinov2", {**small, "img_size": 56}, _sizes(14, 56)),
            "timm_dinov2_gated": _timm("vit_giant_patch14_dinov2", {**small, "img_size": 56}, _sizes(14, 56)),
            "timm_convnext": _timm("convnext_tiny", {"depths": [1, 1, 2, 1], "dims": [8, 16, 24, 32]}, map_sizes),
            "timm_convnextv2": _timm("convnextv2_tiny", {"depths": [1, 1, 2, 1], "dims": [8, 16, 24, 32]}, map_sizes),
        }
        windows = {"img_size": 32, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
        learned = {"pretrained_window_sizes": [6, 3]}
        nets = timm.models.efficientnet
        thin = {"channel_multiplier": 0.1, "depth_multiplier": 0.5}
        tf = {"bn_eps": 1e-3, "pad_type": "same"}
        found |= {
            "timm_clip": _timm("vit_base_patch16_clip_quickgelu_224", small, _sizes(16, 64)),
            "timm_siglip": _timm("vit_base_patch32_siglip_256", {**small, "patch_size": 16}, _sizes(16, 64)),
            "timm_dinov3": _timm("vit_small_patch16_dinov3_qkvb", small, _sizes(16, 64)),
            "timm_dinov3_gated": _timm("vit_small_plus_patch16_dinov3", small, _sizes(16, 64)),
            "timm_swin": _timm("swin_tiny_patch4_window7_224", windows, [32, 48, 64]),
            "timm_swinv2": _timm("swinv2_tiny_window8_256", windows | learned, [24, 32, 48]),
            "timm_resnet": _timm("resnet50", {"layers": [1, 1, 2, 1], "channels": (8, 8, 16, 16)}, map_sizes,
                                 _residual("Bottleneck")),
            "timm_resnet_deep": _timm("resnet18d", {"layers": [1, 1, 2, 1], "channels": (8, 8, 16, 16), "stem_width": 8,
                                                    "stem_type": "deep", "avg_down": True}, map_sizes,
                                      _residual("BasicBlock")),
            "timm_efficientnet": _timm("efficientnet_b0", thin, map_sizes, nets._gen_efficientnet),
            "timm_efficientnet_tf": _timm("tf_efficientnet_b0", {**thin, **tf}, map_sizes, nets._gen_efficientnet),
            "timm_efficientnet_lite": _timm("efficientnet_lite0", thin, map_sizes, nets._gen_efficientnet_lite),
            "timm_efficientnetv2": _timm("tf_efficientnetv2_b0", {**thin, **tf}, map_sizes,
                                         nets._gen_efficientnetv2_base),
            "timm_mobilenetv4_small": _timm("mobilenetv4_conv_small", {"channel_multiplier": 0.05}, map_sizes,
                                            timm.models.mobilenetv3._gen_mobilenet_v4),
            "timm_mobilenetv4_hybrid": _timm("mobilenetv4_hybrid_medium", {"channel_multiplier": 0.05}, map_sizes,
                                             _headless),
            "timm_mobilenetv4_hybrid_large": _timm("mobilenetv4_hybrid_large", {"channel_multiplier": 0.05}, map_sizes,
                                                   _headless),
            "timm_mobilenetv4": _timm("mobilenetv4_conv_medium", {"channel_multiplier": 0.05}, map_sizes,
                                      timm.models.mobilenetv3._gen_mobilenet_v4),
        }  # fmt: skip
        found["pickles"] = _pickles
    else:
        for name, of_sizes in _BASE_TIMM.items():
            found[f"timm_{name}"] = _timm(name, {}, of_sizes)
    if dinov2 is not None:
        found |= {"meta_dinov2": _meta(dinov2, 0), "meta_dinov2_registers": _meta(dinov2, 2)}
    return found


_BASE_TIMM = {
    "vit_base_patch16_clip_quickgelu_224": [208, 224, 256],
    "vit_base_patch16_siglip_224": [208, 224, 256],
    "vit_base_patch16_dinov3": [208, 224, 256],
    "swin_tiny_patch4_window7_224": [224, 256, 320],
    "swinv2_tiny_window8_256": [192, 224, 256],
    "resnet50": [64, 224, 250],
    "resnet50d": [64, 224, 250],
    "efficientnet_b0": [64, 224, 250],
    "tf_efficientnet_b0": [64, 224, 250],
    "efficientnet_lite0": [64, 224, 250],
    "efficientnetv2_s": [64, 224, 250],
    "mobilenetv4_conv_small": [64, 224, 250],
    "mobilenetv4_conv_medium": [64, 224, 250],
    "mobilenetv4_hybrid_medium": [64, 224, 256],
    "mobilenetv4_hybrid_large": [64, 224, 256],
}


def main() -> None:
    """Make the folders named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--base", action="store_true")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--dinov2", type=Path)
    options = parser.parse_args()
    if options.double:
        _PRECISION[0] = torch.float64
    torch.set_num_threads(2)
    found = cases(options.base, options.dinov2)
    for name in options.names or found:
        found[name](options.target / name)
    file = options.target / "versions.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, hf, timm)}
    known |= dict.fromkeys(options.names or found, versions)
    file.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
