"""`tf.train.Example`, as it lies in a record: the features by name, read without TensorFlow.

The message is `Example{1: Features{1: map<string, Feature>}}`, and a feature one list of bytes, floats or int64s.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

Value = list[bytes] | list[float] | list[int]
_BYTES, _FLOATS, _INTS = 1, 2, 3
_VARINT, _EIGHT, _SIZED, _FOUR = 0, 1, 2, 5  # wire types
_MOST_NUMBERS = 1 << 16  # bytes of a list of numbers; longer ones are no labels, and are passed over
_MOST_TEXTS = 1000  # in a list of bytes, likewise
_MOST_FEATURES = 10_000


def features(content: bytes) -> dict[str, Value]:
    """The features of one record. Raises ValueError for what is no Example."""
    found: dict[str, Value] = {}
    for inside in _parts(content, 1):
        for entry in _parts(inside, 1):
            name, value = "", b""
            for number, part in _fields(entry):
                if isinstance(part, bytes):
                    name, value = (part.decode("utf-8", "replace"), value) if number == 1 else (name, part)
            found[name] = _value(value)
            if len(found) > _MOST_FEATURES:
                raise ValueError(f"it has more than {_MOST_FEATURES:,} features")
    return found


def _value(content: bytes) -> Value:
    for number, inside in _fields(content):
        if not isinstance(inside, bytes):
            raise ValueError("a feature is no list")
        if number == _BYTES:
            texts = list(islice(_parts(inside, 1), _MOST_TEXTS + 1))
            return texts if len(texts) <= _MOST_TEXTS else []
        if len(inside) > _MOST_NUMBERS:
            return []
        if number == _FLOATS:
            return [float(n) for part in _numbers(inside) for n in np.frombuffer(part, "<f4")]
        if number == _INTS:
            return [n for part in _numbers(inside, _VARINT) for n in _integers(part)]
    return []


def _parts(content: bytes, wanted: int) -> Iterator[bytes]:
    for number, part in _fields(content):
        if number == wanted and isinstance(part, bytes):
            yield part


def _numbers(content: bytes, kind: int = _FOUR) -> Iterator[bytes]:
    """The numbers of a list, packed or one by one, as bytes."""
    for number, part in _fields(content):
        if number != 1:
            continue
        if not isinstance(part, bytes) and kind == _FOUR and part >= 1 << 32:
            raise ValueError("a number of another kind than its list")
        yield part if isinstance(part, bytes) else _packed(part) if kind == _VARINT else part.to_bytes(4, "little")


def _packed(value: int) -> bytes:
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*pieces, value])


def _integers(content: bytes) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value - (1 << 64) if value >= 1 << 63 else value


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field. Raises ValueError where a field reaches beyond the end."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield tag >> 3, value
            continue
        if kind == _SIZED:
            size, at = _varint(content, at)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"wire type {kind}")
        piece = content[at : at + size]
        if len(piece) != size:
            raise ValueError("a field reaches beyond the end")
        at += size
        yield tag >> 3, piece if kind == _SIZED else int.from_bytes(piece, "little")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(content):
            break
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("a number has no end")
