"""Pictures in buckets and behind addresses (`s3://`, `gs://`, `az://`, `https://`, `hf://datasets/…`), read through a
cache on this disk.

What was fetched once is read from the cache as long as the store says that it is unchanged (by its ETag, or size and
time; where it tells neither, for as long as this process lives). A fetch that stalls or breaks off is tried again, of
large files the piece that it broke off in; what comes in another length than the store says is not used.
Credentials and addresses of the store are those of its own library (environment, configuration files).
"""

from __future__ import annotations

import importlib
import os
import re
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from transferkit.data.containers import kept
from transferkit.data.containers.base import Container, EntryError
from transferkit.errors import DataError, TransferKitError
from transferkit.files import atomic_path, digest, remove_temporaries_of
from transferkit.storage import is_offline
from transferkit.text import shown

_ADDRESS = re.compile(r"(s3|gs|gcs|az|abfs|abfss|hf|https?):/{1,2}([^/]+)(?:/(.*))?", re.DOTALL)
SCHEMES = ("s3://", "gs://", "az://", "hf://", "https://", "http://")  # as people are told; there are other spellings
_NEEDS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure", "hf": "hub"}
_TRIES = 4
_PAUSE = 0.5  # seconds before the second try; doubled for each further one
_STALLED = 30  # seconds without an answer
_PIECE = 32 << 20  # bytes of a large file that are fetched, and tried again, at a time
_GONE = (404, 410)
_FORBIDDEN = (401, 403)
_MINE = uuid.uuid4().hex  # stands for "as it was when this process asked", where a store tells no more


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether `path` lies in a bucket or behind an address; `s3:/b/x`, as pathlib writes it, does too."""
    return _ADDRESS.fullmatch(os.fspath(path)) is not None


def address(path: str | os.PathLike[str]) -> str:
    """An address with both its slashes; all else as it is."""
    found = _ADDRESS.fullmatch(os.fspath(path))
    return os.fspath(path) if found is None else f"{found[1]}://{found[2]}" + (f"/{found[3]}" if found[3] else "")


def of(path: str | os.PathLike[str]) -> tuple[Bucket, str] | None:
    """The bucket or host that `path` leads into, and the name in it.

    Raises DataError where its library is missing, or the network is forbidden.
    """
    found = _ADDRESS.fullmatch(os.fspath(path))
    if found is None:
        return None
    problem = forbidden(path)
    if problem is not None:
        raise DataError(problem)
    return _bucket(found[1], found[2]), (found[3] or "").rstrip("/")


def forbidden(path: str | os.PathLike[str], offline: bool = False) -> str | None:
    """Why a path is not read where the network is forbidden.

    Args:
        path: of the data.
        offline: whether `--offline` was given; TRANSFERKIT_OFFLINE counts as well.

    Returns:
        The reason, with the remedy; None where it may be read.
    """
    if not is_address(path) or not is_offline(offline):
        return None
    by = "--offline" if offline else "TRANSFERKIT_OFFLINE"
    return f"{by}: the data {shown(address(path))} lies in the network; give a copy on this machine, or drop {by}"


@lru_cache(16)
def _bucket(scheme: str, name: str) -> Bucket:
    return Bucket(scheme, name)


class FetchError(TransferKitError, EntryError):
    """What the network does not give: of one picture that it cannot be read, of a whole source that there is none."""


class Bucket(Container):
    """One bucket, or one host. Nothing is listed but what is asked for."""

    kind = "bucket"

    def __init__(self, scheme: str, name: str) -> None:
        super().__init__(f"{scheme}://{shown(name)}")
        self.scheme, self.bucket = scheme, name
        self._facts: dict[str, tuple[int, str] | None] = {}
        self._lists: dict[str, dict[str, bool]] = {}
        self._files = _filesystem(scheme, self.name)

    def names(self) -> Collection[str]:
        """What is known so far: a bucket may hold more than anybody wants to list."""
        return [name for name, facts in self._facts.items() if facts is not None]

    @property
    def folders(self) -> Mapping[str, dict[str, bool]]:  # type: ignore[override]
        """Folders, listed as they are asked for."""
        return _Folders(self)

    def listing(self, folder: str) -> dict[str, bool] | None:
        """What lies directly in a folder; None where there is no such folder."""
        if self.scheme.startswith("http"):  # a page is no list of files
            return None
        if folder not in self._lists:
            try:
                entries = self._tried(lambda: self._files.ls(self._full(folder), detail=True), folder)
            except FileNotFoundError:
                return None
            below = {}
            for entry in entries:
                name = str(entry["name"]).rstrip("/").rpartition("/")[2]
                if not name or str(entry["name"]).rstrip("/") == self._full(folder).rstrip("/"):
                    continue
                below[name] = entry["type"] == "directory"
                if not below[name]:
                    self._facts[f"{folder}/{name}" if folder else name] = _facts(entry)
            self._lists[folder] = below
        return self._lists[folder] or None

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(name) and self._known(name) is not None

    def _known(self, name: str) -> tuple[int, str] | None:
        with suppress(KeyError):  # never asked whether it is there: another thread may take it out
            return self._facts[name]
        try:
            entry = self._tried(lambda: self._files.info(self._full(name)), name)
            found = None if entry.get("type") == "directory" else _facts(entry)
        except FileNotFoundError:
            found = None
        self._facts[name] = found
        return found

    def is_empty(self, name: str) -> bool:
        """Whether the store says that a file has no bytes."""
        return self.size(name) == 0

    def size(self, name: str) -> int:
        """Bytes of a file; -1 where the store does not say. Raises KeyError where there is no such file."""
        facts = self._known(name)
        if facts is None:
            raise KeyError(name)
        return facts[0]

    def read(self, name: str) -> bytes:
        """The bytes of a file, from the cache where it is unchanged. Raises FileNotFoundError where there is none."""
        while True:
            with suppress(FileNotFoundError):  # it had to make room for others since
                return self.local(name).read_bytes()
            self._facts.pop(name, None)
            if self._known(name) is None:
                raise FileNotFoundError(2, "No such file or directory", f"{self.name}/{name}")

    def local(self, name: str) -> Path:
        """The file in the cache, fetched if need be. Raises EntryError where it cannot be, FileNotFoundError where
        there is none."""
        facts = self._known(name)
        if facts is None:
            raise FileNotFoundError(2, "No such file or directory", f"{self.name}/{name}")
        key = digest([self.scheme, self.bucket, name, facts[0], facts[1] or _MINE])
        target = kept.store("fetched") / key[:2] / f"{key}{os.path.splitext(name)[1][:12]}"
        if not target.exists():
            remove_temporaries_of(target, idle=kept.ABANDONED)
            with atomic_path(target) as temporary, open(temporary, "wb") as out:
                for piece in self._pieces(name, *facts):
                    kept.make_room(len(piece), f"{self.name}/{shown(name)}")
                    out.write(piece)
        kept.use(target)
        return target

    def _pieces(self, name: str, size: int, mark: str) -> Iterator[bytes]:
        """The content of a file. Raises EntryError where it cannot be fetched, or changes meanwhile."""
        if size <= _PIECE:
            yield self._tried(lambda: self._part(name, size, None, None), name)
            return
        for start in range(0, size, _PIECE):
            yield self._tried(partial(self._part, name, size, start, min(size, start + _PIECE)), name)
        self._facts.pop(name, None)
        if self._known(name) != (size, mark):
            raise EntryError(f"{self.name}/{shown(name)} was changed while it was fetched; start again")

    def _part(self, name: str, size: int, start: int | None, end: int | None) -> bytes:
        found = bytes(self._files.cat_file(self._full(name), start=start, end=end))
        if start is not None and end is not None and len(found) == size:  # a server that knows no parts
            found = found[start:end]
        wanted = size if start is None or end is None else end - start
        if size >= 0 and len(found) != wanted:
            raise ConnectionError(f"{len(found):,} of {wanted:,} bytes came")
        return found

    def _full(self, name: str) -> str:
        if self.scheme.startswith("http"):
            return f"{self.name}/{name}"
        return f"{self.bucket}/{name}" if name else self.bucket

    def _tried(self, work: Any, name: str) -> Any:
        """What `work` gives, tried again after what may pass."""
        error: BaseException | None = None
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE * 2 ** (attempt - 1))
            try:
                return work()
            except Exception as failed:  # each library has errors of its own for what breaks on the way
                status = _status(failed)
                if isinstance(failed, PermissionError) or status in _FORBIDDEN:
                    told = f"{self.name}/{shown(name)} may not be read ({failed}); look at the credentials"
                    raise FetchError(told) from failed
                # Behind an address, the library calls everything missing that goes wrong on the way.
                web = self.scheme.startswith("http") and failed.__cause__ is not None and status not in _GONE
                if isinstance(failed, FileNotFoundError) and not web:
                    raise
                error = failed.__cause__ if web else failed
        what = f"{self.name}/{shown(name)}".rstrip("/")
        raise FetchError(
            f"{what} cannot be fetched, tried {_TRIES} times ({error}); look at the address, the network and the "
            "credentials, or give a copy on this machine"
        ) from error


class _Folders(Mapping[str, dict[str, bool]]):
    """The folders of a bucket, as `Container.folders`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def __contains__(self, name: object) -> bool:
        return self._bucket.listing(str(name)) is not None

    def __getitem__(self, name: str) -> dict[str, bool]:
        found = self._bucket.listing(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Any:
        return iter(self._bucket._lists)

    def __len__(self) -> int:
        return len(self._bucket._lists)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error, or what it comes from, tells of."""
    for one in (error, error.__cause__):
        status = getattr(one, "status", None) or getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _facts(entry: Mapping[str, Any]) -> tuple[int, str]:
    """Size (-1: unknown) and what changes with the content; empty where nothing tells."""
    keys = ("ETag", "etag", "md5Hash", "blob_id", "mtime", "LastModified", "last_modified", "Last-Modified")
    mark = next((str(entry[key]) for key in keys if entry.get(key)), "")
    size = entry.get("size")
    return (int(size) if size is not None else -1), mark


def filesystem(path: str | os.PathLike[str]) -> Any:
    """The library's own file system for an address, to write by. Raises DataError where it is missing."""
    found = _ADDRESS.fullmatch(os.fspath(path))
    assert found is not None, "ask `is_address` first"
    return _filesystem(found[1], f"{found[1]}://{shown(found[2])}")


def _filesystem(scheme: str, name: str) -> Any:
    extra = _NEEDS.get(scheme, "web")
    try:
        library = importlib.import_module("fsspec")
        return library.filesystem(scheme, **_options(scheme))
    except ImportError as error:
        raise DataError(
            f"{name} is read through fsspec; install it with: pip install 'transferkit[{extra}]'"
        ) from error


def _options(scheme: str) -> dict[str, Any]:
    """What makes a library notice a line that stalls, and hand over the bytes as they are."""
    if scheme == "s3":
        waits = {"connect_timeout": 10, "read_timeout": _STALLED, "retries": {"max_attempts": 2}}
        return {"config_kwargs": waits}
    if scheme.startswith("http"):
        # Its own limit is five minutes for a whole file, however well it comes.
        timeout = importlib.import_module("aiohttp").ClientTimeout(total=None, sock_connect=10, sock_read=_STALLED)
        return {"client_kwargs": {"timeout": timeout}, "headers": {"Accept-Encoding": "identity"}}
    return {}
