"""Every block of every family gives what the reference library gave, at three picture sizes, within 1e-4."""

from __future__ import annotations

import pytest

from tests.backbones.foundation.parity import FIXTURES, NAMES, worst


@pytest.mark.parametrize("name", NAMES)
def test_blocks_agree_with_the_reference_library(name: str) -> None:
    figures = worst(FIXTURES / name)

    assert len({key.partition("/")[0] for key in figures}) == 3
    assert max(figures.values()) < 1e-4, figures
