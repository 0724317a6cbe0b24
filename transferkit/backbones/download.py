"""One file over HTTP: time limits, retries, resume, and never a partial file under the final name."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

from transferkit.errors import WeightsError
from transferkit.files import read_json, reason, remove_temporaries_of, sync_folder, write_json

_BLOCK = 1 << 18
_PAUSE = 0.5  # seconds before the second attempt; longer before each further one
_WORTH_REPEATING = (408, 425, 429)
# A proxy or a sign-in page may answer with something else entirely; asking a second time is enough to know.
_MISFITS_ALLOWED = 2


class _InterruptedError(Exception):
    """The attempt ended early; what was received is kept and the next attempt goes on from there."""


class _RefusedError(Exception):
    """The server's answer will not change by asking again."""


def download(
    url: str,
    path: Path,
    *,
    check: Callable[[Path], str | None],
    timeout: float,
    retries: int,
    say: Callable[[str], None],
    secret: str = "",
) -> None:
    """Fetch a file, complete and checked or not at all.

    The bytes go to `.NAME.part` beside `path`, which a later call resumes by HTTP range if the server still holds the
    same file. The caller holds the lock. Proxies are taken from the environment.

    Args:
        url: https, http or file.
        path: where it goes.
        check: gets the complete temporary file and says what is wrong with it, or None.
        timeout: seconds without a byte that end an attempt.
        retries: further attempts.
        say: is told of attempts.
        secret: the Authorization header, for this server alone: it does not follow a redirect.

    Raises:
        WeightsError: what went wrong with the last attempt.
    """
    if not url.startswith(("http://", "https://", "file://")):
        raise WeightsError(f"{url} is no address to fetch from; it must begin with https://, http:// or file://")
    part, misfits, last = path.with_name(f".{path.name}.part"), 0, ""
    remove_temporaries_of(_note(part))  # of a transfer that was killed
    for attempt in range(retries + 1):
        if attempt:
            say(f"{path.name}: {last}; trying again ({attempt} of {retries})")
            sleep(_PAUSE * 2 ** (attempt - 1))
        try:
            _attempt(url, part, timeout, secret)
        except _InterruptedError as error:
            last = str(error)
            continue
        except _RefusedError as error:
            raise WeightsError(f"{path.name} cannot be fetched from {url}: {error}") from error
        misfit = check(part)
        if misfit is None:
            _publish(part, path)
            return
        _discard(part)
        misfits, last = misfits + 1, f"what {url} sends is not the file: {misfit}"
        if misfits == _MISFITS_ALLOWED:
            break
    raise WeightsError(f"{path.name} cannot be fetched from {url}: {last}")


def _attempt(url: str, part: Path, timeout: float, secret: str) -> None:
    """Bring `part` to its full length, going on where it ends."""
    have = _resumable(url, part)
    request = urllib.request.Request(url, headers={"User-Agent": "transferkit", "Accept-Encoding": "identity"})
    if secret:
        request.add_unredirected_header("Authorization", secret)
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", read_json(_note(part))["validator"])
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # nosec B310  # `fetch` checks the scheme
            total = _begin(answer, url, part, have)
            _receive(answer, part, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is as long as the file, or longer: begin again
            _discard(part)
            raise _InterruptedError("the server cannot resume") from error
        problem = f"the server answers {error.code} {error.reason}"
        raise (_InterruptedError if error.code >= 500 or error.code in _WORTH_REPEATING else _RefusedError)(
            problem
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError | IsADirectoryError):
            raise _RefusedError(str(error.reason)) from error
        raise _InterruptedError(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _InterruptedError(f"the transfer broke off ({str(error) or type(error).__name__})") from error


def _begin(answer: Any, url: str, part: Path, have: int) -> int | None:
    """Make `part` ready for the body of `answer`; return the length it will have, if that is known."""
    length = _number(answer.headers.get("Content-Length"))
    span, _, total = (answer.headers.get("Content-Range") or "").partition("/")
    if have and getattr(answer, "status", None) == 206:
        if not span.startswith(f"bytes {have}-"):
            _discard(part)
            raise _InterruptedError(f"the server resumed at the wrong place ({span})")
        return _number(total)
    _discard(part)  # the whole file comes: the server ignored the range, or the file changed
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    with _disk(part):
        part.write_bytes(b"")
        write_json(_note(part), {"url": url, "validator": validator})
    return length


def _receive(answer: Any, part: Path, total: int | None) -> None:
    with open(part, "ab") as handle:
        # read1, because read would throw away the bytes that came before a stall.
        while block := answer.read1(_BLOCK):
            with _disk(part):
                handle.write(block)
                handle.flush()
        with _disk(part):
            os.fsync(handle.fileno())
    received = part.stat().st_size
    if total is not None and received < total:
        raise _InterruptedError(f"the connection closed after {received} of {total} bytes")


def _resumable(url: str, part: Path) -> int:
    """How many bytes of `url` are already in `part`; 0 if they cannot be proved to be of the same file."""
    try:
        note = read_json(_note(part))
        return part.stat().st_size if note["url"] == url and note["validator"] else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _publish(part: Path, path: Path) -> None:
    with _disk(path):
        # First: once the file is there nobody comes here again, and a kill in between would leave the note for ever.
        _note(part).unlink(missing_ok=True)
        os.replace(part, path)
    sync_folder(path.parent)


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turn errors of the disk into WeightsError: they are no reason to ask the server again."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {reason(error)}; make room or set KERAS_HOME") from error


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
