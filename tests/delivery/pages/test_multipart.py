"""Files out of posted bodies: bytes stay bytes, and what is no proper body is refused."""

from __future__ import annotations

import pytest

from transferkit.delivery.pages.messages import RequestError
from transferkit.delivery.pages.multipart import MOST, files

KIND = "multipart/form-data; boundary=xyz"


def body(*parts: tuple[str, bytes], mark: bytes = b"xyz") -> bytes:
    """As browsers and curl write it."""
    lines = [b"--" + mark + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts]
    return b"".join(lines) + b"--" + mark + b"--\r\n"


def named(name: str, field: str = "file") -> str:
    return f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\nContent-Type: image/png'


@pytest.mark.parametrize("content", [b"", b"\r\n", b"a\r\n--xy\r\nb", bytes(range(256)) * 9, b"\n\n--xyz", b"a--xyz--"])
def test_content_is_given_back_exactly(content: bytes) -> None:
    assert files(KIND, body((named("a.png"), content), (named("b.png", "other"), b"2"))) == [
        ("a.png", content), ("b.png", b"2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name"),
    [("rösé.png", "rösé.png"), ("../../etc/passwd", "passwd"), ("C:\\x\\y.jpg", "y.jpg"), ("a;b.png", "a;b.png"),
     ("", "file"), ("x" * 999, "x" * 255)],
)  # fmt: skip
def test_names_are_text_without_folders(given: str, name: str) -> None:
    assert files(KIND, body((named(given), b"1")))[0][0] == name


def test_fields_that_are_no_files_are_passed_over() -> None:
    assert files(KIND, body(('Content-Disposition: form-data; name="top"', b"5"), (named("a"), b"1"))) == [("a", b"1")]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("image/png", b"\x89PNG"),
        ("", body((named("a"), b"1"))),
        ("multipart/form-data", body((named("a"), b"1"))),
        ("multipart/mixed; boundary=xyz", body((named("a"), b"1"))),
        ("multipart/form-data; boundary=" + "x" * 71, body((named("a"), b"1"))),
        ('multipart/form-data; boundary="x\r\ny"', body((named("a"), b"1"))),
        ("multipart/form-data; boundary=é", body((named("a"), b"1"))),
        (KIND, b""),
        (KIND, b"--xyz"),
        (KIND, body((named("a"), b"1"))[:-8]),  # cut short
        (KIND, b"text before" + body((named("a"), b"1"))),
        (KIND, body((named("a"), b"1"), mark=b"xyzz")),
        (KIND, b"--xyz\r\nno headers\r\n--xyz--\r\n"),
        (KIND, body(("no colon", b"1"))),
        (KIND, body((named("a") + "\r\nX: " + "y" * 5000, b"1"))),
        (KIND, body(*[(named("a"), b"1")] * (MOST + 1))),
    ],
)  # fmt: skip
def test_what_is_not_proper_is_refused(kind: str, content: bytes) -> None:
    with pytest.raises(RequestError):
        files(kind, content)


def test_as_many_files_as_are_allowed() -> None:
    assert len(files(KIND, body(*[(named("a"), b"1")] * MOST))) == MOST
