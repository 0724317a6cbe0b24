"""What a TIFF says of its pages, looked through before Pillow reads it: a small file may claim millions of strips.

Self-contained (nothing of this package), because its text goes into the example beside an exported model.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import IO

# Strips, tiles or values of a tag of one page; pages; and tags of all pages together. Pillow takes 5 µs for one of the
# first, 200 µs for a page where there are as many, and 3 µs for a tag.
MOST_VALUES, MOST_PAGES, MOST_TAGS = 200_000, 20_000, 1_000_000
_PLACES = (273, 324)  # the tags StripOffsets and TileOffsets
_TEXTS = (1, 2, 6, 7)  # types of bytes, which are taken as they lie there
_PRIVATE = 1000  # from here on tags are not looked into
_FARTHEST = 1 << 40  # bytes, behind the end of any file that is read


def too_much(handle: IO[bytes], most: int = MOST_PAGES + 1) -> str:
    """Why the first pages of a TIFF are more than can be looked at in seconds; "" where they are not, and where damage
    keeps them from being looked at, which is left to Pillow to tell.

    Args:
        handle: of the file, at any place; it is at the first byte afterwards.
        most: pages that are looked at, where there are as many.
    """
    found = ""
    with suppress(struct.error):
        found = _looked_through(handle, most)
    handle.seek(0)
    return found


def _looked_through(handle: IO[bytes], most: int) -> str:
    handle.seek(0)
    head = handle.read(16)
    order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
    number, entry, place = (order + form for form in (("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")))
    (at,) = struct.unpack_from(place, head, 8 if big else 4)
    seen, tags = set[int](), 0
    while at and at not in seen and len(seen) < most:
        seen.add(at)
        handle.seek(min(at, _FARTHEST))
        (count,) = struct.unpack(number, handle.read(struct.calcsize(number)))
        tags += count
        if tags > MOST_TAGS or len(seen) > MOST_PAGES:
            return f"has more than {MOST_PAGES:,} pages or {MOST_TAGS:,} tags; save fewer pages in one file"
        size = struct.calcsize(entry)
        body = handle.read(count * size)
        for tag, form, many, _ in struct.iter_unpack(entry, body[: len(body) // size * size]):
            if many > MOST_VALUES and (tag in _PLACES or (tag < _PRIVATE and form not in _TEXTS)):
                what = "strips or tiles" if tag in _PLACES else f"values of the tag {tag}"
                return f"has {many:,} {what}, more than the {MOST_VALUES:,} that are read; save it with larger strips"
        (at,) = struct.unpack(place, handle.read(struct.calcsize(place)))
    return ""
