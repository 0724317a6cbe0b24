# ruff: noqa: E501  (the tables are easier to read with one row a line)
"""The literal table of backbones: what each network's weights expect, where they come from, where it may be cut.

Never imports Keras. Every number and name here is compared with the installed `keras.applications` by
`tests/backbones/test_catalog.py`. A stage is a point where a cut may fall: `(name, marker)`, in depth order. A
marker is a regular expression for the stage's first operation, `>` and the name of the operation just before it
(Inception, Xception and NASNet leave many layers to automatic names, which change from build to build), or empty
for the start of the network.

Licences are those of the weights as their publishers state them. Of the bundled networks NOTICE says more. All but
`mini` were trained on ImageNet, whose pictures carry terms of their own (research, non-commercial); whether these bind
weights is not settled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from transferkit import plugins
from transferkit.errors import BackboneError, ConfigError, nearest
from transferkit.plugins import Plugin

Stages = tuple[tuple[str, str], ...]
Table = tuple[tuple[Any, ...], ...]
PUBLISHED = "https://storage.googleapis.com/tensorflow/keras-applications/"


@dataclass(frozen=True)
class BackboneRow:
    """One backbone. `size` and `minimum` are pixels a side, `parameters` and `layers` count the network without top.

    `scaling` is what the weights expect: a key of `scaling.SCALINGS`, or what `scaling.spelled` gives. `layers` counts
    the layers that have weights, BatchNormalization not counted: the N of `last:N`. `kind` is "applications", "bundled"
    (then `own` is what the packaged weights are called), "plugin" (then `plugin` says whose), "published" (a folder or
    checkpoint as its publisher left it: `foundation`) or "file" (a Keras model).
    """

    name: str
    constructor: str
    size: int
    minimum: int
    scaling: str
    stages: Stages
    parameters: int
    layers: int
    kind: str = "applications"
    kwargs: dict[str, float] = field(default_factory=dict, hash=False)
    embedded: str = (
        ""  # preprocessing inside the constructor: "" none, "optional" left out, "always" removed after loading
    )
    weights_file: str | None = None  # as keras.applications names it; "{size}" where there is a file per size
    weights_url: str | None = None
    weights_hash: str | None = None  # md5 (32 digits) or sha256 (64), as in the Keras source; None: none published
    weights_sizes: tuple[int, ...] = ()
    licence: str = ""
    year: int = 0
    paper: str = ""
    own: str = ""
    plugin: Plugin | None = None

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages, from the input upwards."""
        return tuple(name for name, _ in self.stages)

    @property
    def pretrained(self) -> str:
        """What `weights="auto"` means: "imagenet", "pretrained" (mini, plugins) or "file" (the file's own)."""
        return self.own or {"applications": "imagenet", "plugin": "pretrained"}.get(self.kind, "file")

    def file_for(self, size: int) -> tuple[str, str]:
        """Name and URL of the weights file for pictures of `size`, chosen as `keras.applications` does.

        MobileNet and MobileNetV2 have a file per training size; any other size takes the one for 224. Raises
        BackboneError for a network without published weights.
        """
        if self.weights_file is None or self.weights_url is None:
            raise BackboneError(f"'{self.name}' has no weights to download")
        trained = size if size in self.weights_sizes else 224
        return self.weights_file.replace("{size}", str(trained)), self.weights_url.replace("{size}", str(trained))


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the rows of one family share; see `BackboneRow`. `weights_file` and `url` hold `{key}` where the networks differ.

    `remote` is the file's name at its publisher, where it is not `weights_file`.
    """

    scaling: str
    stages: Stages
    licence: str
    year: int
    paper: str = ""
    minimum: int = 32
    embedded: str = ""
    kind: str = "applications"
    own: str = ""
    weights_file: str | None = None
    url: str = ""
    remote: str = ""
    weights_sizes: tuple[int, ...] = ()


def _numbered(pattern: str, marker: str, first: int, last: int) -> Stages:
    """Stages `pattern` with `#` replaced by first … last, each beginning at `marker` likewise."""
    return tuple((pattern.replace("#", str(i)), marker.replace("#", str(i))) for i in range(first, last + 1))


_KERNELS = "{key}_weights_tf_dim_ordering_tf_kernels_notop.h5"
_GOOGLE = "Apache-2.0"
_UNSTATED = "not stated by Keras (its code is Apache-2.0)"

# fmt: off
_VGG       = (("block1", ""), *_numbered("block#", "block#_.*", 2, 5))
_RESNET    = (("conv1", ""), *_numbered("conv#", "conv#_block1_.*", 2, 5))
_DENSENET  = (("conv1", ""), ("conv2", ">pool1"), ("conv3", ">pool2_pool"), ("conv4", ">pool3_pool"), ("conv5", ">pool4_pool"))
_MOBILE    = (("stem", ""), *_numbered("block#", "conv_(pad|dw)_#", 1, 13))
_MOBILE_V2 = (("stem", ""), ("block0", "expanded_conv_.*"), *_numbered("block#", "block_#_.*", 1, 16), ("top", "Conv_1"))
_MOBILE_V3S = (("stem", ""), ("block0", "expanded_conv_depthwise.*"), *_numbered("block#", "expanded_conv_#_.*", 1, 10), ("top", "conv_1"))
_MOBILE_V3L = (("stem", ""), ("block0", "expanded_conv_depthwise.*"), *_numbered("block#", "expanded_conv_#_.*", 1, 14), ("top", "conv_1"))
_EFFICIENT7 = (("stem", ""), *_numbered("block#", "block#a_.*", 1, 7), ("top", "top_conv"))
_EFFICIENT6 = (("stem", ""), *_numbered("block#", "block#a_.*", 1, 6), ("top", "top_conv"))
_CONVNEXT  = (("stem", ""), ("stage0", ".*_stage_0_block_0_.*"), ("stage1", ".*_downsampling_block_0"), ("stage2", ".*_downsampling_block_1"), ("stage3", ".*_downsampling_block_2"))
_INCEPTION = (("stem", ""), *((f"mixed{i + 1}", f">mixed{i}") for i in range(10)))  # the stem includes mixed0
_INCEPTION_RESNET = (("stem", ""), ("block35", ">mixed_5b"), ("mixed_6a", ">block35_10_ac"), ("block17", ">mixed_6a"), ("mixed_7a", ">block17_20_ac"), ("block8", ">mixed_7a"), ("conv_7b", "conv_7b"))
_XCEPTION  = (("block1", ""), *_numbered("block#", "block#_.*", 2, 14))
_NASNET_M  = (("stem", ""), ("cells1", ">reduction_concat_stem_2"), ("cells2", ">normal_concat_3"), ("cells3", ">normal_concat_8"))
_NASNET_L  = (("stem", ""), ("cells1", ">reduction_concat_stem_2"), ("cells2", ">normal_concat_5"), ("cells3", ">normal_concat_12"))
_MINI      = (("stem", ""), *_numbered("block#", "block#_.*", 1, 4))

# What holds for a whole family; then one line a network:
#   name, constructor, default size, parameters, layers, {key} of the file name, published hash of the no-top file
_FAMILIES: tuple[tuple[Family, Table], ...] = (
    (Family(scaling="caffe", stages=_VGG, licence="CC-BY-4.0 (VGG, Oxford)", year=2014, paper="arXiv:1409.1556",
            weights_file=_KERNELS, url=PUBLISHED + "{key}/"), (
        ("vgg16",               "VGG16",             224,  14_714_688,  13, "vgg16",               "6d6bbae143d832006294945121d1f1fc"),
        ("vgg19",               "VGG19",             224,  20_024_384,  16, "vgg19",               "253f8cb515780f3b799900260a226db6"))),
    (Family(scaling="caffe", stages=_RESNET, licence="MIT (Kaiming He)", year=2015, paper="arXiv:1512.03385",
            weights_file=_KERNELS, url=PUBLISHED + "resnet/"), (
        ("resnet50",            "ResNet50",          224,  23_587_712,  53, "resnet50",            "4d473c1dd8becc155b73f8504c6f6626"),
        ("resnet101",           "ResNet101",         224,  42_658_176, 104, "resnet101",           "88cf7a10940856eca736dc7b7e228a21"),
        ("resnet152",           "ResNet152",         224,  58_370_944, 155, "resnet152",           "ee4c566cf9a93f14d82f913c2dc6dd0c"))),
    (Family(scaling="tf", stages=_RESNET, licence=_UNSTATED, year=2016, paper="arXiv:1603.05027",
            weights_file=_KERNELS, url=PUBLISHED + "resnet/"), (
        ("resnet50_v2",         "ResNet50V2",        224,  23_564_800,  53, "resnet50v2",          "fac2f116257151a9d068a22e544a4917"),
        ("resnet101_v2",        "ResNet101V2",       224,  42_626_560, 104, "resnet101v2",         "c0ed64b8031c3730f411d2eb4eea35b5"),
        ("resnet152_v2",        "ResNet152V2",       224,  58_331_648, 155, "resnet152v2",         "ed17cf2e0169df9d443503ef94b23b33"))),
    (Family(scaling="torch", stages=_DENSENET, licence="BSD-3-Clause (Zhuang Liu)", year=2016, paper="arXiv:1608.06993",
            weights_file=_KERNELS, url=PUBLISHED + "densenet/"), (
        ("densenet121",         "DenseNet121",       224,   7_037_504, 120, "densenet121",         "30ee3e1110167f948a6b9946edeeb738"),
        ("densenet169",         "DenseNet169",       224,  12_642_880, 168, "densenet169",         "b8c4d4c20dd625c148057b9ff1c1176b"),
        ("densenet201",         "DenseNet201",       224,  18_321_984, 200, "densenet201",         "c13680b51ded0fb44dff2d8f86ac8bb1"))),
    (Family(scaling="tf", stages=_INCEPTION, minimum=75, licence=_GOOGLE, year=2015, paper="arXiv:1512.00567",
            weights_file=_KERNELS, url=PUBLISHED + "inception_v3/"), (
        ("inception_v3",        "InceptionV3",       299,  21_802_784,  94, "inception_v3",        "bcbd6486424b2319ff4ef7d526e38f63"),)),
    (Family(scaling="tf", stages=_INCEPTION_RESNET, minimum=75, licence=_GOOGLE, year=2016, paper="arXiv:1602.07261",
            weights_file=_KERNELS, url=PUBLISHED + "inception_resnet_v2/"), (
        ("inception_resnet_v2", "InceptionResNetV2", 299,  54_336_736, 244, "inception_resnet_v2", "d19885ff4a710c122648d3b5c3b684e4"),)),
    (Family(scaling="tf", stages=_XCEPTION, minimum=71, licence="MIT (Keras)", year=2016, paper="arXiv:1610.02357",
            weights_file=_KERNELS, url=PUBLISHED + "xception/"), (
        ("xception",            "Xception",          299,  20_861_480,  40, "xception",            "b0042744bf5b25fce3cb969f33bebb97"),)),
    (Family(scaling="tf", stages=_NASNET_M, licence=_GOOGLE, year=2017, paper="arXiv:1707.07012",
            weights_file="nasnet_{key}_no_top.h5", url=PUBLISHED + "nasnet/", remote="NASNet-{key}-no-top.h5"), (
        ("nasnet_mobile",       "NASNetMobile",      224,   4_269_716, 196, "mobile",              "1ed92395b5b598bdda52abe5c0dbfd63"),)),
    (Family(scaling="tf", stages=_NASNET_L, licence=_GOOGLE, year=2017, paper="arXiv:1707.07012",
            weights_file="nasnet_{key}_no_top.h5", url=PUBLISHED + "nasnet/", remote="NASNet-{key}-no-top.h5"), (
        ("nasnet_large",        "NASNetLarge",       331,  84_916_818, 268, "large",               "d81d89dc07e6e56530c4e77faddd61b5"),)),
    (Family(scaling="tf", stages=_MOBILE, licence=_GOOGLE, year=2017, paper="arXiv:1704.04861", weights_sizes=(128, 160, 192, 224),
            weights_file="mobilenet_{key}_{size}_tf_no_top.h5", url=PUBLISHED + "mobilenet/"), (
        ("mobilenet",           "MobileNet",         224,   3_228_864,  27, "1_0",                 None),
        ("mobilenet_0.75",      "MobileNet",         224,   1_832_976,  27, "7_5",                 None),
        ("mobilenet_0.5",       "MobileNet",         224,     829_536,  27, "5_0",                 None),
        ("mobilenet_0.25",      "MobileNet",         224,     218_544,  27, "2_5",                 None))),
    (Family(scaling="tf", stages=_MOBILE_V2, licence=_GOOGLE, year=2018, paper="arXiv:1801.04381", weights_sizes=(96, 128, 160, 192, 224),
            weights_file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{key}_{size}_no_top.h5", url=PUBLISHED + "mobilenet_v2/"), (
        ("mobilenet_v2",        "MobileNetV2",       224,   2_257_984,  52, "1.0",                 None),
        ("mobilenet_v2_0.35",   "MobileNetV2",       224,     410_208,  52, "0.35",                None),
        ("mobilenet_v2_0.5",    "MobileNetV2",       224,     706_224,  52, "0.5",                 None),
        ("mobilenet_v2_0.75",   "MobileNetV2",       224,   1_382_064,  52, "0.75",                None),
        ("mobilenet_v2_1.3",    "MobileNetV2",       224,   3_766_048,  52, "1.3",                 None),
        ("mobilenet_v2_1.4",    "MobileNetV2",       224,   4_363_712,  52, "1.4",                 None))),
    (Family(scaling="tf", embedded="optional", stages=_MOBILE_V3S, licence=_GOOGLE, year=2019, paper="arXiv:1905.02244",
            weights_file="weights_mobilenet_v3_{key}_float_no_top_v2.h5", url=PUBLISHED + "mobilenet_v3/"), (
        ("mobilenet_v3_small",  "MobileNetV3Small",  224,     939_120,  52, "small_224_1.0",       "d3e8ec802a04aa4fc771ee12a9a9b836"),)),
    (Family(scaling="tf", embedded="optional", stages=_MOBILE_V3L, licence=_GOOGLE, year=2019, paper="arXiv:1905.02244",
            weights_file="weights_mobilenet_v3_{key}_float_no_top_v2.h5", url=PUBLISHED + "mobilenet_v3/"), (
        ("mobilenet_v3_large",  "MobileNetV3Large",  224,   2_996_352,  62, "large_224_1.0",       "07fb09a5933dd0c8eaafa16978110389"),)),
    (Family(scaling="torch", embedded="always", stages=_EFFICIENT7, licence=_GOOGLE, year=2019, paper="arXiv:1905.11946",
            weights_file="efficientnet{key}_notop.h5", url="https://storage.googleapis.com/keras-applications/"), (
        ("efficientnet_b0",     "EfficientNetB0",    224,   4_049_564,  81, "b0",                  "50bc09e76180e00e4465e1a485ddc09d"),
        ("efficientnet_b1",     "EfficientNetB1",    240,   6_575_232, 115, "b1",                  "74c4e6b3e1f6a1eea24c589628592432"),
        ("efficientnet_b2",     "EfficientNetB2",    260,   7_768_562, 115, "b2",                  "111f8e2ac8aa800a7a99e3239f7bfb39"),
        ("efficientnet_b3",     "EfficientNetB3",    300,  10_783_528, 130, "b3",                  "af6d107764bb5b1abb91932881670226"),
        ("efficientnet_b4",     "EfficientNetB4",    380,  17_673_816, 160, "b4",                  "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        ("efficientnet_b5",     "EfficientNetB5",    456,  28_513_520, 194, "b5",                  "38879255a25d3c92d5e44e04ae6cec6f"),
        ("efficientnet_b6",     "EfficientNetB6",    528,  40_960_136, 224, "b6",                  "9ecce42647a20130c1f39a5d4cb75743"),
        ("efficientnet_b7",     "EfficientNetB7",    600,  64_097_680, 273, "b7",                  "cbcfe4450ddf6f3ad90b1b398090fe4a"))),
    (Family(scaling="torch", embedded="optional", stages=_EFFICIENT6, licence=_GOOGLE, year=2021, paper="arXiv:2104.00298",
            weights_file="efficientnetv2-{key}_notop.h5", url=PUBLISHED + "efficientnet_v2/"), (
        ("efficientnet_v2_b0",  "EfficientNetV2B0",  224,   5_919_312,  91, "b0",                  "893217f2bb855e2983157299931e43ff"),
        ("efficientnet_v2_b1",  "EfficientNetV2B1",  240,   6_931_124, 111, "b1",                  "0e80663031ca32d657f9caa404b6ec37"),
        ("efficientnet_v2_b2",  "EfficientNetV2B2",  260,   8_769_374, 116, "b2",                  "1dfe2e7a5d45b6632553a8961ea609eb"),
        ("efficientnet_v2_b3",  "EfficientNetV2B3",  300,  12_930_622, 136, "b3",                  "f6abf7b5849ac99a89b50dd3fd532856"))),
    (Family(scaling="tf128", embedded="optional", stages=_EFFICIENT6, licence=_GOOGLE, year=2021, paper="arXiv:2104.00298",
            weights_file="efficientnetv2-{key}_notop.h5", url=PUBLISHED + "efficientnet_v2/"), (
        ("efficientnet_v2_s",   "EfficientNetV2S",   384,  20_331_360, 170, "s",                   "af0682fb74e8c54910f2d4393339c070"),)),
    (Family(scaling="tf128", embedded="optional", stages=_EFFICIENT7, licence=_GOOGLE, year=2021, paper="arXiv:2104.00298",
            weights_file="efficientnetv2-{key}_notop.h5", url=PUBLISHED + "efficientnet_v2/"), (
        ("efficientnet_v2_m",   "EfficientNetV2M",   480,  53_150_388, 245, "m",                   "1b8dc055df72dde80d614482840fe342"),
        ("efficientnet_v2_l",   "EfficientNetV2L",   480, 117_746_848, 339, "l",                   "b0b66b5c863aef5b46e8608fe1711615"))),
    (Family(scaling="torch", embedded="optional", stages=_CONVNEXT, licence="MIT (Meta)", year=2022, paper="arXiv:2201.03545",
            weights_file="convnext_{key}_notop.h5", url=PUBLISHED + "convnext/"), (
        ("convnext_tiny",       "ConvNeXtTiny",      224,  27_820_128,  95, "tiny",                "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
        ("convnext_small",      "ConvNeXtSmall",     224,  49_454_688, 185, "small",               "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
        ("convnext_base",       "ConvNeXtBase",      224,  87_566_464, 185, "base",                "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
        ("convnext_large",      "ConvNeXtLarge",     224, 196_230_336, 185, "large",               "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
        ("convnext_xlarge",     "ConvNeXtXLarge",    224, 348_147_968, 185, "xlarge",              "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"))),
    (Family(scaling="torch", stages=_EFFICIENT7, licence="Apache-2.0 (Google; PyTorch form by ML Illustrated)", year=2020, paper="arXiv:1905.11946",
            kind="bundled", own="imagenet"), (
        ("efficientnet_lite0",  "build_efficientnet_lite0", 224, 3_413_024, 49, "",                 None),)),
    (Family(scaling="tf", stages=_MINI, licence="Apache-2.0 (transferkit)", year=2025, kind="bundled", own="pretrained"), (
        ("mini",                "build_mini",         32,     356_448,   8, "",                    None),)),
)
# fmt: on


def _rows() -> Iterator[BackboneRow]:
    for family, table in _FAMILIES:
        file = family.weights_file
        for name, constructor, size, parameters, layers, key, published in table:
            base, _, alpha = name.rpartition("_")
            has_alpha = base.startswith("mobilenet") and "." in alpha
            yield BackboneRow(
                name=name,
                constructor=constructor,
                size=size,
                parameters=parameters,
                layers=layers,
                kwargs={"alpha": float(alpha)} if has_alpha else {},
                weights_file=file.replace("{key}", key) if file else None,
                weights_url=(family.url + (family.remote or file)).replace("{key}", key) if file else None,
                weights_hash=published,
                weights_sizes=family.weights_sizes,
                scaling=family.scaling,
                stages=family.stages,
                licence=family.licence,
                year=family.year,
                paper=family.paper,
                minimum=family.minimum,
                embedded=family.embedded,
                kind=family.kind,
                own=family.own,
            )


ROWS: dict[str, BackboneRow] = {row.name: row for row in _rows()}


def names() -> list[str]:
    """Every catalog name, family by family, then those of plugins."""
    return [*ROWS, *plugins.names("backbones", ROWS)]


def known(name: str) -> BackboneRow | None:
    """The row called `name`, of the table or of a plugin, or None. Raises BackboneError for a plugin that is broken."""
    row = ROWS.get(name) or ROWS.get(name.lower())
    if row is not None:
        return row
    try:
        found = plugins.resolve("backbones", name)
    except ConfigError as error:
        raise BackboneError(str(error)) from error
    return None if found is None else _of_plugin(*found)


def _of_plugin(plugin: Plugin, said: plugins.Backbone) -> BackboneRow:
    return BackboneRow(
        plugin.name, plugin.target, said.size, said.minimum, said.scaling, tuple(said.stages), said.parameters,
        said.layers, kind="plugin", licence=said.licence, year=said.year, paper=said.paper, plugin=plugin,
    )  # fmt: skip


def _family(word: str) -> str:
    """What to say where `word` names a family of networks (`efficientnet`, `ResNet`): the smallest of each first."""
    begins = _plain(word)
    alike = [row for row in ROWS.values() if len(begins) > 2 and _plain(row.name).startswith(begins)]
    if any(_plain(row.name) == begins for row in alike):
        return ""  # one network, spelled otherwise: the nearest name
    found: dict[tuple[str, str], list[BackboneRow]] = {}
    for row in alike:
        # A paper is a family; the networks whose weights come along are offered by themselves.
        found.setdefault((row.paper, row.own), []).append(row)
    offers = []
    for (_, own), rows in found.items():
        smallest = min(rows, key=lambda row: row.parameters).name
        of = f" (the smallest of {len(rows)})" if len(rows) > 1 else " (bundled)" if own else ""
        offers.append(smallest + of)
    *most, last = offers or [""]
    either = f"{', '.join(most)} or " if most else ""
    return f"; did you mean {either}{last}?" if last else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def find(name: str) -> BackboneRow:
    """The row called `name` (snake case of the constructor). Raises BackboneError with the nearest names."""
    row = known(name)
    if row is None:
        hint = _family(name) or nearest(name, names()) or f"; known: {', '.join(names())}"
        raise BackboneError(
            f"unknown backbone '{name}'{hint}{'' if hint[-1] == '?' else '.'} `transferkit backbones list` shows all, `transferkit backbones recommend "
            "DATA` ranks those that are here; or give the path of a .keras file"
        )
    return row
