"""A network as its files describe it, and what no file says of a family: licence, paper, picture statistics. No Keras.

Licences are those that publishers state for their own weights; the model card in a folder is asked first (`folder`).
Where a family has many publishers, weights without a card are said to have no stated licence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from transferkit.backbones.foundation.architecture import Architecture
from transferkit.backbones.foundation.weight_names import Layout
from transferkit.backbones.scaling import MEAN, STD

# Mean and deviation of pictures.
_IMAGENET = (MEAN, STD)
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_DINOV3_TERMS = (
    "DINOv3 License (Meta): commercial use allowed under its terms, which everyone who uses or passes on the weights "
    "or a model made from them must follow; read them first. DINOv2 is the free alternative (Apache-2.0)"
)
UNSTATED = "not stated with the weights"
# What no config says of a family: licence of the published weights, year, paper, mean and deviation of its pictures.
_FAMILIES: dict[str, tuple[str, int, str, tuple[float, ...], tuple[float, ...]]] = {
    "DINOv2": ("Apache-2.0 (Meta)", 2023, "arXiv:2304.07193", *_IMAGENET),
    "DINOv3": (_DINOV3_TERMS, 2025, "arXiv:2508.10104", *_IMAGENET),
    "DINOv3 ConvNeXt": (_DINOV3_TERMS, 2025, "arXiv:2508.10104", *_IMAGENET),
    "ViT": (UNSTATED, 2020, "arXiv:2010.11929", *_HALF),
    "DeiT": ("Apache-2.0 (Meta)", 2020, "arXiv:2012.12877", *_IMAGENET),
    "CLIP": ("MIT (OpenAI, by its repository; its model cards name none)", 2021, "arXiv:2103.00020", *_CLIP),
    "SigLIP": ("Apache-2.0 (Google)", 2023, "arXiv:2303.15343", *_HALF),
    "SigLIP 2": ("Apache-2.0 (Google)", 2025, "arXiv:2502.14786", *_HALF),
    "ConvNeXt": ("MIT (Meta)", 2022, "arXiv:2201.03545", *_IMAGENET),
    "ConvNeXt V2": ("CC-BY-NC-4.0 (Meta, by its repository, whatever a model card says: no commercial use)", 2023,
                    "arXiv:2301.00808", *_IMAGENET),
    "Swin": ("MIT (Microsoft)", 2021, "arXiv:2103.14030", *_IMAGENET),
    "ResNet": (UNSTATED, 2015, "arXiv:1512.03385", *_IMAGENET),
    "EfficientNet": (UNSTATED, 2019, "arXiv:1905.11946", *_IMAGENET),
    "EfficientNetV2": (UNSTATED, 2021, "arXiv:2104.00298", *_IMAGENET),
    "MobileNetV4": (UNSTATED, 2024, "arXiv:2404.10518", *_IMAGENET),
    "Swin V2": ("MIT (Microsoft)", 2021, "arXiv:2111.09883", *_IMAGENET),
}  # fmt: skip


@dataclass(frozen=True)
class Described:
    """A network as its config describes it. `native` is the picture size that its weights were made with; `pools`
    whether they bring a pooling of the network's own (`Transformer.pooler`)."""

    family: str
    architecture: Architecture
    layout: Layout
    native: int
    licence: str
    year: int
    paper: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pools: bool = False


def renamed(described: Described, family: str) -> Described:
    """The same network as of another family, whose year and paper it has.

    Args:
        described: the network, as of the family whose form its files have.
        family: a name in the table above.
    """
    _, year, paper, *_ = _FAMILIES[family]
    return replace(described, family=family, year=year, paper=paper)


def of_family(family: str, architecture: Architecture, layout: Layout, native: int) -> Described:
    """A network with what is known of its family: licence, year, paper, and mean and deviation of its pictures.

    Args:
        family: a name in the table above.
        architecture: its sizes.
        layout: the names of its weights in the checkpoint.
        native: the picture side that its weights were made with, in pixels.
    """
    return Described(family, architecture, layout, native, *_FAMILIES[family])
