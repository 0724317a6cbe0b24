"""Every block of every family gives what the reference library gave, at three picture sizes, within 1e-4."""

from __future__ import annotations

import pytest

from tests.backbones.foundation.parity import FIXTURES, NAMES, worst

# KerasHub resamples a table of positions otherwise than the original networks do, as we do.
AT_ITS_OWN_SIZE = [name for name in NAMES if name.startswith(("kerashub_vit", "kerashub_dinov2", "kerashub_siglip"))]


@pytest.mark.parametrize("name", NAMES)
def test_blocks_agree_with_the_reference_library(name: str) -> None:
    figures = worst(FIXTURES / name)

    assert len({key.partition("/")[0] for key in figures}) == (1 if name in AT_ITS_OWN_SIZE else 3)
    assert max(figures.values()) < 1e-4, figures
