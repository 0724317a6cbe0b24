"""JSON that tells whether it was changed since it was written: by its last key, the digest of all the others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from transferkit.files import digest, read_json, write_json
from transferkit.text import shown

SEAL = "content_sha256"


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """`content` and, as its last key, what tells whether it was changed since it was written.

    Args:
        content: plain values.
    """
    return {**content, SEAL: digest(content)}


def unsealed(content: dict[str, Any]) -> dict[str, Any] | None:
    """`content` as it was sealed, or as it is where it never was; None where it was changed since.

    Args:
        content: what a file holds.
    """
    rest = {key: value for key, value in content.items() if key != SEAL}
    return rest if SEAL not in content or content[SEAL] == digest(rest) else None


def remember(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that merely saves time later; where it cannot be written, it is measured again then.

    Args:
        path: of the file.
        content: plain values.
    """
    with suppress(OSError):
        write_json(path, sealed(content))


def recalled(path: Path) -> dict[str, Any]:
    """What `remember` wrote.

    Args:
        path: of the file.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it was changed since, or is no JSON object.
    """
    content = read_json(path)
    whole = unsealed(content) if isinstance(content, dict) else None
    if whole is None:
        raise ValueError(f"{shown(path)} is not as it was written")
    return whole
