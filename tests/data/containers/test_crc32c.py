"""The check sum of TFRecord files: the standard's values, and that the fast way is the slow one."""

from __future__ import annotations

import numpy as np
import pytest

from transferkit.data.containers.crc32c import _ALL, _looped, crc32c


@pytest.mark.parametrize(
    ("content", "value"),
    [  # RFC 3720, B.4, and the check value of the catalogue of check sums
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ],
)
def test_known_values(content: bytes, value: int) -> None:
    assert crc32c(content) == value


@pytest.mark.parametrize("length", [1, 63, 1023, 1024, 1025, 1090, 65_537, (1 << 20) + 3, (1 << 20) + 1500])
def test_every_length_is_summed_as_byte_by_byte(length: int) -> None:
    content = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    assert crc32c(content) == _looped(_ALL, content) ^ _ALL
