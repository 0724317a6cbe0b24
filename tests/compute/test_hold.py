"""What is held for compiled functions are copies, also of large arrays."""

import numpy as np
import pytest

from transferkit import compute
from transferkit.compute import tensorflow as engine


@pytest.mark.parametrize("large", [0, 1 << 30])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_what_is_held_is_a_copy(monkeypatch: pytest.MonkeyPatch, large: int, dtype: type) -> None:
    monkeypatch.setattr(engine, "LARGE", large)
    given = np.arange(7 * 6).reshape(7, 6).astype(dtype)
    whole, part = compute.hold([given, given[1::2, 1:4]])
    expected, given[...] = given.copy(), 0
    np.testing.assert_array_equal(whole.numpy(), expected)
    np.testing.assert_array_equal(part.numpy(), expected[1::2, 1:4])
    assert whole.dtype == part.dtype == np.dtype(dtype).name
