from __future__ import annotations

import tempfile
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from transferkit.data.audit import many_facts
from transferkit.data.audit.image_facts import ImageFacts
from transferkit.data.audit.many_facts import Facts


def fact(number: int, **more: Any) -> ImageFacts:
    rng = np.random.default_rng(number)
    about = ImageFacts(
        sha256=rng.bytes(32).hex(), size=(64 + number, 48), mode="RGB", format="JPEG", promised="JPEG", frames=1,
        likeness=int.from_bytes(rng.bytes(32), "big"), tiny=rng.integers(0, 256, (16, 16, 3), np.uint8),
    )  # fmt: skip
    return replace(about, **more)


BROKEN = ImageFacts("damaged", "is cut short", "ab" * 32, promised="PNG")
GONE = ImageFacts("unreadable", "cannot be read (no such file)")


def test_facts_are_told_as_they_were_found() -> None:
    given = [fact(0), BROKEN, fact(1), GONE, fact(2, orientation=6, promised=None)]
    facts = Facts(given)
    assert list(facts) == [replace(one, likeness=None, tiny=None) for one in given]
    likenesses = [int.from_bytes(one.tobytes(), "big") for one in facts.likenesses()]
    assert likenesses == [one.likeness or 0 for one in given]
    assert facts.seen().tolist() == [one.likeness is not None for one in given]
    assert [None if tiny is None else tiny.tolist() for tiny in facts.thumbnails] == [
        None if one.tiny is None else one.tiny.tolist() for one in given
    ]


def test_copies_are_files_that_can_be_read_and_are_there_again() -> None:
    nothing = fact(9, sha256="00" * 32)
    ends_in_zeros = fact(10, sha256="00" * 30 + "0100")
    given = [fact(1), BROKEN, nothing, fact(2), fact(1), GONE, GONE, BROKEN, nothing, ends_in_zeros, fact(1)]
    assert Facts(given).copies() == [[0, 4, 10], [2, 8]]
    assert Facts([]).copies() == Facts([GONE]).copies() == []


@pytest.mark.parametrize("disk", [True, False], ids=["in a file", "without room for one"])
def test_many_thumbnails_lie_in_a_file_where_there_is_room(monkeypatch: pytest.MonkeyPatch, disk: bool) -> None:
    made: list[object] = []

    def temporary() -> Any:
        if not disk:
            raise OSError(28, "No space left on device")
        made.append(found := unpatched())
        return found

    unpatched = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", temporary)
    monkeypatch.setattr(many_facts, "HELD_BYTES", 4 * 768)
    given = [fact(n, **({"tiny": None} if n % 5 == 3 else {})) for n in range(30)]
    thumbnails = Facts(given).thumbnails
    assert len(made) == disk
    for number in (29, 0, 3, *range(30)):  # in any order
        expected = given[number].tiny
        found = thumbnails[number]
        assert found is None if expected is None else np.array_equal(found, expected)  # type: ignore[arg-type]


def test_a_picture_takes_a_hundred_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_facts, "HELD_BYTES", 16 * 768)
    count = 600
    tracemalloc.start()
    facts = Facts(fact(n) for n in range(count))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(facts) == count
    assert held / count < 140  # 1,300 as objects
