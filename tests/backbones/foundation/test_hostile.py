"""Whatever the header of a checkpoint says of one tensor, the answer is a network or one clear error. No Keras."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from tests.backbones.foundation.parity import FIXTURES
from tests.marks import extended
from transferkit.backbones.foundation import model_folder
from transferkit.backbones.foundation.checkpoint_files import open_checkpoint, weights_file
from transferkit.backbones.foundation.conversion import Conversion
from transferkit.errors import TransferKitError

# One for each way of telling a network by its tensors.
NAMES = ["timm_vit", "timm_siglip", "timm_dinov3_gated", "timm_swin", "timm_swinv2", "timm_convnextv2",
         "timm_resnet_deep", "timm_efficientnetv2", "timm_mobilenetv4_hybrid", "meta_dinov2", "torchvision_vit",
         "torchvision_convnext", "torchvision_swin", "torchvision_efficientnet"]  # fmt: skip
Shape = tuple[int, ...]


class Claimed:
    """A checkpoint that says these shapes, and has nothing."""

    def __init__(self, shapes: dict[str, Shape]) -> None:
        self.shapes, self.size_bytes = shapes, 0

    def read(self, name: str) -> np.ndarray:
        raise AssertionError(f"{name} is read before its shape is compared")


def claims(shape: Shape) -> Iterator[Shape | None]:
    """Other shapes in its place; None: it is absent."""
    yield from (None, (), (1,), shape[::-1], (*shape, 7), shape[:-1])
    yield from ((0,) * len(shape), (0, *shape[1:]), (*shape[:2], *(0 for _ in shape[2:])))
    yield from (tuple(1 << 40 for _ in shape), tuple(2 * side for side in shape))


@pytest.mark.parametrize("name", extended(NAMES, ["timm_mobilenetv4_hybrid"]))
def test_what_one_tensor_is_said_to_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = FIXTURES / name
    file = weights_file(path)
    assert file is not None
    real = open_checkpoint(file).shapes
    kinds = {re.sub(r"\d+", "#", tensor): tensor for tensor in real}  # of what repeats, the last
    refused = []
    for tensor in kinds.values():
        for claim in claims(real[tensor]):
            shapes = {**real, tensor: claim or ()}
            if claim is None:
                del shapes[tensor]
            monkeypatch.setattr(model_folder, "open_checkpoint", lambda _, shapes=shapes: Claimed(shapes))
            try:
                found = model_folder.describe(str(path))
                of = found.described
                Conversion(of.architecture, of.layout, found.tensors, found.row.size, found.path)
            except TransferKitError as error:
                refused.append(str(error))
    assert len(refused) > 5 * len(kinds)
    assert all(str(path) in message and len(message) < 700 for message in refused)
