"""What goes over the wire to the Hugging Face hub: a repository's commit and hashes, addresses, a token, remedies.

A token (HF_TOKEN, or the file that `hf auth login` writes) goes to the hub alone, never to the server it redirects to.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from transferkit.errors import WeightsError
from transferkit.text import shown

_LARGEST_ANSWER = 4 << 20


class Listing(NamedTuple):
    """What the hub says of a repository: its commit (empty where it names none), and its files with their hashes."""

    commit: str
    files: dict[str, str]


def listing(repository: str, revision: str, timeout: float) -> Listing:
    """What the hub says of a repository.

    Args:
        repository: OWNER/NAME.
        revision: branch, tag or commit.
        timeout: seconds without a byte that end the attempt.

    Raises:
        WeightsError: no answer, or a refusal, with what to do.
    """
    url = f"{_endpoint()}/api/models/{repository}/revision/{revision}?blobs=true"
    request = urllib.request.Request(url, headers={"User-Agent": "transferkit"})
    secret = authorization()
    if secret:
        request.add_unredirected_header("Authorization", secret)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # nosec B310  # the user's HF_ENDPOINT
            said = json.loads(answer.read(_LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        error.close()
        raise WeightsError(
            f"the hub answers {error.code} {error.reason} of {repository}. {remedy(repository, error.code)}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"no word from {_endpoint()} ({shown(str(reason)[:100])}). {remedy(repository, 0)}"
        ) from error
    if not isinstance(said, dict):
        raise WeightsError(f"what {_endpoint()} says of {repository} is not understood")
    commit = str(said.get("sha"))
    return Listing(commit if re.fullmatch(r"[0-9a-f]{7,64}", commit) else "", _hashes(said.get("siblings") or []))


def _hashes(siblings: Any) -> dict[str, str]:
    """Files and their hashes: 64 digits of SHA-256, or 40 of git's for those kept in git itself."""
    found = {}
    for entry in siblings:
        large = entry.get("lfs") or {}
        expected = str(large.get("sha256") or entry.get("blobId") or "")
        if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", expected):
            found[str(entry.get("rfilename"))] = expected
    return found


def address_of(repository: str, commit: str, name: str) -> str:
    """Where a file of a repository lies: on the hub, or on the mirror that HF_ENDPOINT names.

    Args:
        repository: `owner/name`.
        commit: hex digits, or a branch.
        name: of the file.
    """
    return f"{_endpoint()}/{repository}/resolve/{commit}/{name}"


def home() -> Path:
    """Where the hub's own tools keep what is theirs: HF_HOME, else in the user's cache."""
    named = os.environ.get("HF_HOME")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "huggingface"


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def authorization() -> str:
    """The header that says who asks; empty without a token."""
    token = os.environ.get("HF_TOKEN", "")
    if not token:
        try:
            token = Path(os.environ.get("HF_TOKEN_PATH", home() / "token")).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
    return f"Bearer {token}" if token.isascii() and token.isprintable() and token else ""


def status_of(error: BaseException | None) -> int:
    """The HTTP status at the bottom of an error; 0 if there is none."""
    while error is not None:
        if isinstance(error, urllib.error.HTTPError):
            return error.code
        error = error.__cause__
    return 0


def remedy(repository: str, status: int) -> str:
    """What to do where the hub does not give a file.

    Args:
        repository: `owner/name`.
        status: of HTTP; 0 where there was no answer.
    """
    if status in (401, 403):
        page = f"{_endpoint()}/{repository}"
        return (
            f"{repository} is gated, private, or not there. If gated: sign in, accept its licence on {page}, make a "
            "token with read access, and set HF_TOKEN to it. DINOv2 asks for none of this: --backbone dinov2_small"
        )
    if status == 404:
        return f"Is there a {repository}? The name and its spelling are those of its page on the hub"
    return (
        "To do without the network: fetch the repository by other means and give its folder, --backbone PATH, or set "
        "HF_ENDPOINT to a mirror"
    )
