"""Under which names each publisher stores which weight: literal tables, one a form of file. No arithmetic.

`pieces` maps our names of a block's layers to theirs behind `block`, in which `{}` is the block's number. What several
of our layers share in the file (`qkv`, `packed`) has a field of its own; `conversion` takes it apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from transferkit.backbones.foundation.convnet_layouts import ConvNetLayout

Part = tuple[str, int, int]  # a pair of tensors, "weight" or "bias" in place of {}; which part of how many it is


@dataclass(frozen=True)
class PoolerLayout:
    """Names of an attention pooling. Query, key and value may be parts of a larger pair of tensors."""

    probe: str
    query: Part
    key: Part
    value: Part
    projection: str
    norm: str
    expand: str
    contract: str


@dataclass(frozen=True)
class TransformerLayout:
    """Names in a checkpoint of a vision transformer. `unused` are beginnings of names that nothing here needs.

    `tokens` are the prefix tokens in order; those that the checkpoint lacks are not there. `qkv` and `packed` (gate
    and expansion in one) are empty where the checkpoint keeps them apart.
    """

    patch: str
    tokens: tuple[str, ...]
    positions: str
    block: str
    pieces: Mapping[str, str]
    norm: str
    embedding_norm: str = ""
    qkv: str = ""
    packed: str = ""
    unused: tuple[str, ...] = ()
    pooler: PoolerLayout | None = None


@dataclass(frozen=True)
class ConvNeXtLayout:
    """Names in a checkpoint of a ConvNeXt. `block` takes the numbers of stage and block in it, `down_*` the stage's."""

    stem_conv: str
    stem_norm: str
    down_norm: str
    down_conv: str
    block: str
    pieces: Mapping[str, str]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class SwinLayout:
    """Names in a checkpoint of a Swin. `block` takes the numbers of stage and block, `merge` those of the stage before
    and of its own. `qkv` is empty where the checkpoint keeps the three apart.

    `unused_ends` are ends of names that nothing here needs: indices that follow from the window's size.
    """

    stem_conv: str
    stem_norm: str
    merge_norm: str
    merge: str
    block: str
    pieces: Mapping[str, str]
    norm: str
    qkv: str = ""
    unused: tuple[str, ...] = ()
    unused_ends: tuple[str, ...] = ()


_HF_ATTENTION = {
    "query": "attention.attention.query", "key": "attention.attention.key", "value": "attention.attention.value",
    "projection": "attention.output.dense",
}  # fmt: skip
_TWO_TOWERS = {
    "norm1": "layer_norm1", "query": "self_attn.q_proj", "key": "self_attn.k_proj", "value": "self_attn.v_proj",
    "projection": "self_attn.out_proj", "norm2": "layer_norm2", "expand": "mlp.fc1", "contract": "mlp.fc2",
}  # fmt: skip

HF_VIT = TransformerLayout(
    patch="embeddings.patch_embeddings.projection",
    tokens=("embeddings.cls_token", "embeddings.distillation_token"),
    positions="embeddings.position_embeddings",
    block="encoder.layer.{}.",
    pieces={
        **_HF_ATTENTION, "norm1": "layernorm_before", "norm2": "layernorm_after", "expand": "intermediate.dense",
        "contract": "output.dense",
    },
    norm="layernorm",
    unused=("pooler.", "embeddings.mask_token"),
)  # fmt: skip
HF_DINOV2 = TransformerLayout(
    patch=HF_VIT.patch,
    tokens=("embeddings.cls_token", "embeddings.register_tokens"),
    positions=HF_VIT.positions,
    block=HF_VIT.block,
    pieces={
        **_HF_ATTENTION, "norm1": "norm1", "norm2": "norm2", "expand": "mlp.fc1", "contract": "mlp.fc2",
        "scale1": "layer_scale1.lambda1", "scale2": "layer_scale2.lambda1",
    },
    norm="layernorm",
    packed="mlp.weights_in",
    unused=("embeddings.mask_token",),
)  # fmt: skip
HF_DINOV2_GATED = replace(HF_DINOV2, pieces={**HF_DINOV2.pieces, "contract": "mlp.weights_out"})
HF_DINOV3 = TransformerLayout(
    patch="embeddings.patch_embeddings",
    tokens=("embeddings.cls_token", "embeddings.register_tokens"),
    positions="",
    block="layer.{}.",
    pieces={
        "norm1": "norm1", "query": "attention.q_proj", "key": "attention.k_proj", "value": "attention.v_proj",
        "projection": "attention.o_proj", "scale1": "layer_scale1.lambda1", "norm2": "norm2", "gate": "mlp.gate_proj",
        "expand": "mlp.up_proj", "contract": "mlp.down_proj", "scale2": "layer_scale2.lambda1",
    },
    norm="norm",
    unused=("embeddings.mask_token", "rope_embeddings."),
)  # fmt: skip
HF_CLIP = TransformerLayout(
    patch="embeddings.patch_embedding",
    tokens=("embeddings.class_embedding",),
    positions="embeddings.position_embedding.weight",
    block="encoder.layers.{}.",
    pieces=_TWO_TOWERS,
    norm="post_layernorm",
    embedding_norm="pre_layrnorm",  # so spelled
    unused=("embeddings.position_ids",),
)
_HF_POOLER = PoolerLayout(
    probe="head.probe",
    query=("head.attention.in_proj_{}", 0, 3),
    key=("head.attention.in_proj_{}", 1, 3),
    value=("head.attention.in_proj_{}", 2, 3),
    projection="head.attention.out_proj",
    norm="head.layernorm",
    expand="head.mlp.fc1",
    contract="head.mlp.fc2",
)
HF_SIGLIP = replace(
    HF_CLIP, tokens=(), embedding_norm="", unused=(*HF_CLIP.unused, "head."), pooler=_HF_POOLER
)  # fmt: skip
# As `kerashub_families` names them.
KERASHUB_SIGLIP = replace(
    HF_SIGLIP,
    pooler=replace(
        _HF_POOLER, query=("head.attention.q_proj.{}", 0, 1), key=("head.attention.k_proj.{}", 0, 1),
        value=("head.attention.v_proj.{}", 0, 1),
    ),
)  # fmt: skip
TIMM_VIT = TransformerLayout(
    patch="patch_embed.proj",
    tokens=("cls_token", "dist_token", "reg_token", "register_tokens"),
    positions="pos_embed",
    block="blocks.{}.",
    pieces={
        "norm1": "norm1", "projection": "attn.proj", "scale1": "ls1.gamma", "norm2": "norm2", "expand": "mlp.fc1",
        "contract": "mlp.fc2", "scale2": "ls2.gamma",
    },
    norm="norm",
    embedding_norm="norm_pre",
    qkv="attn.qkv",
    packed="mlp.fc1",
    unused=("mask_token", "head.", "head_dist.", "attn_pool."),
    pooler=PoolerLayout(
        probe="attn_pool.latent", query=("attn_pool.q.{}", 0, 1), key=("attn_pool.kv.{}", 0, 2),
        value=("attn_pool.kv.{}", 1, 2), projection="attn_pool.proj", norm="attn_pool.norm",
        expand="attn_pool.mlp.fc1", contract="attn_pool.mlp.fc2",
    ),
)  # fmt: skip
TIMM_DINOV3 = replace(
    TIMM_VIT,
    positions="",
    pieces={
        **TIMM_VIT.pieces, "scale1": "gamma_1", "scale2": "gamma_2", "gate": "mlp.fc1_g", "query_bias": "attn.q_bias",
        "value_bias": "attn.v_bias",
    },
    packed="",
)  # fmt: skip
TIMM_DINOV3_GATED = replace(TIMM_DINOV3, pieces={**TIMM_DINOV3.pieces, "expand": "mlp.fc1_x"})
META_DINOV2_GATED = replace(TIMM_VIT, pieces={**TIMM_VIT.pieces, "contract": "mlp.w3"}, packed="mlp.w12")

HF_CONVNEXT = ConvNeXtLayout(
    stem_conv="embeddings.patch_embeddings",
    stem_norm="embeddings.layernorm",
    down_norm="encoder.stages.{}.downsampling_layer.0",
    down_conv="encoder.stages.{}.downsampling_layer.1",
    block="encoder.stages.{}.layers.{}.",
    pieces={
        "depthwise": "dwconv", "norm": "layernorm", "expand": "pwconv1", "response": "grn", "contract": "pwconv2",
        "scale": "layer_scale_parameter",
    },
    unused=("layernorm.",),
)  # fmt: skip
HF_DINOV3_CONVNEXT = ConvNeXtLayout(
    stem_conv="stages.0.downsample_layers.0",
    stem_norm="stages.0.downsample_layers.1",
    down_norm="stages.{}.downsample_layers.0",
    down_conv="stages.{}.downsample_layers.1",
    block="stages.{}.layers.{}.",
    pieces={
        "depthwise": "depthwise_conv", "norm": "layer_norm", "expand": "pointwise_conv1", "response": "grn",
        "contract": "pointwise_conv2", "scale": "gamma",
    },
    unused=("layer_norm.",),
)  # fmt: skip
TIMM_CONVNEXT = ConvNeXtLayout(
    stem_conv="stem.0",
    stem_norm="stem.1",
    down_norm="stages.{}.downsample.0",
    down_conv="stages.{}.downsample.1",
    block="stages.{}.blocks.{}.",
    pieces={
        "depthwise": "conv_dw", "norm": "norm", "expand": "mlp.fc1", "response": "mlp.grn", "contract": "mlp.fc2",
        "scale": "gamma",
    },
    unused=("head.",),
)  # fmt: skip

HF_SWIN = SwinLayout(
    stem_conv="embeddings.patch_embeddings.projection",
    stem_norm="embeddings.norm",
    merge_norm="encoder.layers.{}.downsample.norm",
    merge="encoder.layers.{}.downsample.reduction",
    block="encoder.layers.{}.blocks.{}.",
    pieces={
        "norm1": "layernorm_before", "query": "attention.self.query", "key": "attention.self.key",
        "value": "attention.self.value", "projection": "attention.output.dense", "norm2": "layernorm_after",
        "positions": "attention.self.relative_position_bias_table", "expand": "intermediate.dense",
        "contract": "output.dense",
    },
    norm="layernorm",
    unused=("embeddings.mask_token", "pooler."),
    unused_ends=(".relative_position_index",),
)  # fmt: skip
HF_SWIN_V2 = replace(
    HF_SWIN,
    pieces={
        **HF_SWIN.pieces, "positions": "attention.self.continuous_position_bias_mlp",
        "sharpness": "attention.self.logit_scale",
    },
    unused_ends=(".relative_position_index", ".relative_coords_table"),
)  # fmt: skip
TIMM_SWIN = SwinLayout(
    stem_conv="patch_embed.proj",
    stem_norm="patch_embed.norm",
    merge_norm="layers.{1}.downsample.norm",
    merge="layers.{1}.downsample.reduction",
    block="layers.{}.blocks.{}.",
    pieces={
        "norm1": "norm1", "projection": "attn.proj", "norm2": "norm2", "positions": "attn.relative_position_bias_table",
        "expand": "mlp.fc1", "contract": "mlp.fc2",
    },
    norm="norm",
    qkv="attn.qkv",
    unused=("head.",),
    unused_ends=(".relative_position_index", ".attn_mask"),
)  # fmt: skip
TIMM_SWIN_V2 = replace(
    TIMM_SWIN,
    pieces={
        **TIMM_SWIN.pieces, "positions": "attn.cpb_mlp", "sharpness": "attn.logit_scale", "query_bias": "attn.q_bias",
        "value_bias": "attn.v_bias",
    },
    unused_ends=(*TIMM_SWIN.unused_ends, ".relative_coords_table"),
)  # fmt: skip

Layout = TransformerLayout | ConvNeXtLayout | SwinLayout | ConvNetLayout
