"""`tf.train.Example` without TensorFlow: every kind of list, and nothing but ValueError for what is none."""

from __future__ import annotations

import random

import pytest

from tests.data.readers.forms import example, sized, varint
from transferkit.data.containers.examples import features


def listed(kind: int, content: bytes) -> bytes:
    """An Example with one feature `x`."""
    return sized(1, sized(1, sized(1, b"x") + sized(2, sized(kind, content))))


def test_lists_are_read_packed_or_one_by_one() -> None:
    assert features(example(a=b"text", b=-3, c=[0.5, 2.0])) == {"a": [b"text"], "b": [-3], "c": [0.5, 2.0]}
    assert features(listed(3, varint(1 << 3) + varint(300) + varint(1 << 3) + varint(2**64 - 1))) == {"x": [300, -1]}
    assert features(listed(2, varint(1 << 3 | 5) + b"\0\0\0?")) == {"x": [0.5]}
    assert features(listed(1, sized(1, b"a") + sized(1, b""))) == {"x": [b"a", b""]}
    assert features(sized(1, sized(1, sized(1, b"x") + sized(2, b"")))) == {"x": []}


def test_what_grows_without_end_is_passed_over_or_refused() -> None:
    assert features(listed(3, sized(1, b"\1" * 100_000))) == {"x": []}
    assert features(listed(1, b"\x0a\0" * 2000)) == {"x": []}
    many = b"".join(sized(1, sized(1, str(i).encode()) + sized(2, b"")) for i in range(10_001))
    with pytest.raises(ValueError, match="more than 10,000 features"):
        features(sized(1, many))


def test_damage_of_any_kind_is_a_value_error() -> None:
    whole = example(image=b"\x89PNG\r\n\x1a\n" + bytes(40), label=7, box=[0.1, 0.2], text=b"rose")
    chance = random.Random(5)
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        del content[chance.randrange(len(content) // 2, len(content) + 1) :]
        try:
            found = features(bytes(content))
        except ValueError:
            continue
        assert all(isinstance(value, list) for value in found.values())
