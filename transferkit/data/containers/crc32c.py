"""CRC-32C (Castagnoli), the check sum of TFRecord files, at about 200 MB/s by NumPy: no library of ours computes it.

A check sum is linear: lanes of equal length are summed side by side and joined, each moved past as many zeros as bytes
lie behind it: the lanes of a block at once, blocks two by two. Zeros in front change nothing, so that any length is
made even.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78
_LANE = 32  # bytes summed one after the other
_LANES = 64  # of a block
_BLOCK = _LANE * _LANES
_SHORT = 256  # bytes below which NumPy is slower than a loop
_PIECE = 1 << 20
_ALL = 0xFFFFFFFF
Words = npt.NDArray[np.uint32]


def crc32c(content: bytes) -> int:
    """The check sum of `content`."""
    state = _ALL
    for at in range(0, len(content), _PIECE):
        piece = content[at : at + _PIECE]
        state = _looped(state, piece) if len(piece) < _SHORT else _side_by_side(state, piece)
    return state ^ _ALL


def masked(content: bytes) -> int:
    """The check sum as TFRecord files keep it."""
    found = crc32c(content)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & _ALL


def _looped(state: int, content: bytes) -> int:
    table = _bytes_table()
    for byte in content:
        state = table[(state ^ byte) & 0xFF] ^ state >> 8
    return state


def _side_by_side(state: int, content: bytes) -> int:
    even = np.zeros(-(-len(content) // _BLOCK) * _BLOCK, np.uint8)
    start = len(even) - len(content)
    even[start:] = np.frombuffer(content, np.uint8)
    even[start : start + 4] ^= np.array([state], "<u4").view(np.uint8)
    table, sums = _words_table(), np.zeros(len(even) // _LANE, np.uint32)
    for words in np.ascontiguousarray(even.view("<u2").reshape(-1, _LANE // 2).T).astype(np.uint32):
        sums ^= words
        sums = table[sums & 0xFFFF] ^ (sums >> 16)
    blocks = _joined(sums.reshape(-1, _LANES))
    level = 0
    while len(blocks) > 1:
        if len(blocks) % 2:
            blocks = np.concatenate([np.zeros(1, np.uint32), blocks])
        blocks = _moved(_zeros(level), blocks[0::2]) ^ blocks[1::2]
        level += 1
    return int(blocks[0])


def _joined(sums: Words) -> Words:
    """The sums of blocks [n], of those of their lanes [n, _LANES]."""
    table, base = _lanes_table()
    moved = table[base + (sums & 0xFF)] ^ table[base + 256 + ((sums >> 8) & 0xFF)]
    moved ^= table[base + 512 + ((sums >> 16) & 0xFF)] ^ table[base + 768 + (sums >> 24)]
    found: Words = np.bitwise_xor.reduce(moved, axis=1)
    return found


@lru_cache(1)
def _bytes_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@lru_cache(1)
def _words_table() -> Words:
    """What two zero bytes make of each state below 65,536."""
    return _stepped(_stepped(np.arange(1 << 16, dtype=np.uint32)))


def _stepped(states: Words) -> Words:
    found: Words = np.array(_bytes_table(), np.uint32)[states & 0xFF] ^ (states >> 8)
    return found


@lru_cache(1)
def _lanes_table() -> tuple[Words, Words]:
    """How each lane's sum is moved to the end of its block, by each of its bytes; and where a lane's part begins."""
    moved = np.stack([np.arange(256, dtype=np.uint32) << 8 * byte for byte in range(4)])
    tables = [moved]
    for _ in range(_LANES - 1):
        for _ in range(_LANE):
            moved = _stepped(moved)
        tables.append(moved)
    return np.stack(tables[::-1]).reshape(-1), np.arange(_LANES, dtype=np.uint32) * 1024


@lru_cache(32)
def _zeros(level: int) -> Words:
    """How `_BLOCK` · 2^level zero bytes change a state: [4, 256], by each of its bytes."""
    basis = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if level:
        basis = _moved(_zeros(level - 1), _moved(_zeros(level - 1), basis))
    else:
        for _ in range(_BLOCK):
            basis = _stepped(basis)
    bits = (np.arange(256, dtype=np.uint32)[:, None] >> np.arange(8, dtype=np.uint32)) & 1
    return np.stack([np.bitwise_xor.reduce(bits * basis[8 * byte : 8 * byte + 8], axis=1) for byte in range(4)])


def _moved(table: Words, states: Words) -> Words:
    found: Words = table[0][states & 0xFF] ^ table[1][(states >> 8) & 0xFF]
    found ^= table[2][(states >> 16) & 0xFF] ^ table[3][states >> 24]
    return found
