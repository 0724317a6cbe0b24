"""Files out of a `multipart/form-data` body, by a strict reader of its own: bytes stay bytes, limits are told. Pure."""

from __future__ import annotations

import re
from email.message import Message

from transferkit.delivery.pages.messages import RequestError

MOST = 32  # files at once
_HEAD = 4096  # bytes of a part's own headers
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


def files(kind: str, body: bytes) -> list[tuple[str, bytes]]:
    """Every file in what a form sent, in order. Other fields are passed over.

    Args:
        kind: the Content-Type.
        body: what was sent.

    Returns:
        Name and content. The name is what the sender says: text to show, never a path to open.

    Raises:
        RequestError: saying what is wrong.
    """
    mark = b"--" + _boundary(kind)
    pieces = (b"\r\n" + body).split(b"\r\n" + mark, MOST + 2)
    if len(pieces) > MOST + 2:
        raise RequestError(f"more than {MOST} parts; send fewer files at once")
    if len(pieces) < 2 or pieces[0].strip() or not pieces[-1].startswith(b"--"):
        raise RequestError("the body is not multipart as its Content-Type says, or is cut short")
    return [part for part in map(_part, pieces[1:-1]) if part is not None]


def _boundary(kind: str) -> bytes:
    message = Message()
    message["content-type"] = kind.replace("\r", " ").replace("\n", " ")
    found = message.get_boundary()
    if message.get_content_type() != "multipart/form-data" or not found or not _BOUNDARY.fullmatch(found):
        raise RequestError("send files as multipart/form-data: curl -F file=@rose.jpg")
    return found.encode("ascii")


def _part(piece: bytes) -> tuple[str, bytes] | None:
    head, parted, content = piece.partition(b"\r\n\r\n")
    if not parted or not head.startswith(b"\r\n") or len(head) > _HEAD:
        raise RequestError("a part has no proper headers")
    message = Message()
    for line in head[2:].decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or name != name.strip():
            raise RequestError("a part has no proper headers")
        message[name] = value.strip()
    filename = message.get_param("filename", header="content-disposition")
    if filename is None:
        return None
    # The form `filename*=UTF-8''…` comes as three parts.
    name = filename[2] if isinstance(filename, tuple) else filename
    return re.split(r"[\\/]", name)[-1][:255] or "file", content
