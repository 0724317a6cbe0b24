"""Films: what is seen at a time as the bytes of a PNG, `film.mp4/12.5s.png`. Read by PyAV.

A frame belongs to its time by the times that the film itself tells, not by counting, and decoding begins at the nearest
key frame before; so a frame is the same whatever was read before it. Nothing but the film's own file is opened, or in
an archive its own entry.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from transferkit.data.containers.base import FILMS as FILMS
from transferkit.data.containers.base import Derived, EntryError
from transferkit.data.containers.base import is_film as is_film
from transferkit.data.containers.pixels import Array, png
from transferkit.errors import DataError, TransferKitError
from transferkit.text import shown

MOST_FRAMES = 100_000  # read of one film
_MOST_PACKETS = 5_000_000  # two days at 30 frames a second
_MOST_PIXELS = 89_478_485  # as of every picture
_FAR = 10.0  # seconds ahead, beyond which looking for a key frame costs less than decoding on
_DECODERS = 4  # open at once in a process: threads that read ahead each go on where they were
_NAME = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)s\.png")
_lock = threading.Lock()
_waiting: list[tuple[Film, _Decoder]] = []


def name_of(seconds: float) -> str:
    """The entry of a time, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s.png"


def copy_name(path: str) -> str:
    """The name of a copy of a picture: its own, and of a frame, which is called by its time, with its film's before it.

    Args:
        path: of the picture, with `/` or what the system has between folders.
    """
    folder, base = os.path.split(path)
    return f"{os.path.splitext(os.path.basename(folder))[0]}_{base}" if is_film(folder) else base


def film_of(path: str) -> str:
    """The film that `path` is a frame of; empty for all else."""
    film = os.path.dirname(path)
    return film if is_film(film) else ""


def form_of(head: bytes) -> str:
    """The form that a film's first bytes announce, by FFmpeg's name; empty for none that is read.

    FFmpeg is told, and does not guess: some of the forms that it knows are lists of other files and addresses.
    """
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == b"\0\0\1\xba":
        return "mpeg"
    return "mpegts" if head[:1] == b"\x47" or head[4:5] == b"\x47" else ""


class Film(Derived):
    """The frames of a film. Opening looks once at the times of all of them, and decodes none.

    `start` opens it, where it is no file of its own at `path`.
    """

    kind = "film"

    def __init__(self, path: Path, head: bytes, start: Callable[[], IO[bytes] | io.FileIO] | None = None) -> None:
        super().__init__(shown(path))
        self.start, self.form = start or partial(io.FileIO, path), form_of(head)
        self.first, self.length = self._times()

    def _times(self) -> tuple[float, float]:
        """When the first frame is seen, by the film's own clock, and seconds from there to the last one."""
        source = _Source(self)
        first, last = np.inf, -np.inf
        error: Exception | None = None
        try:
            for count, packet in enumerate(source.film.demux(source.stream)):
                if count > _MOST_PACKETS:
                    raise DataError(f"{self.name} has more than {_MOST_PACKETS:,} frames; cut it into pieces")
                at = packet.pts if packet.pts is not None else packet.dts
                if at is not None and packet.size:
                    time = float(at * packet.time_base)
                    first, last = min(first, time), max(last, time)
        except _errors() as failed:
            error = failed
        finally:
            source.close()
        if first > last:
            raise DataError(f"{self.name} holds no frame that can be read ({error or 'it is empty'}); fetch it again")
        if error is not None or last - first < 0.9 * source.told - 1:
            raise DataError(
                f"{self.name} is damaged or cut short: it tells of {source.told:.1f} seconds, and its frames end at "
                f"{last - first:.1f}; fetch it again, or --exclude it"
            )
        return first, last - first

    def every(self, seconds: float) -> Iterator[str]:
        """The entries that lie `seconds` apart, from the first frame on. Raises DataError for too many."""
        count = int((self.length + 1e-4) / seconds) + 1
        if count > MOST_FRAMES:
            raise DataError(
                f"{self.name}: a frame every {seconds:g} s of its {self.length:,.0f} s makes {count:,} pictures; more "
                f"than {MOST_FRAMES:,} of one film are not read: give a longer time, as --frames every:10s"
            )
        yield from dict.fromkeys(name_of(number * seconds) for number in range(count))

    def names(self) -> Collection[str]:
        """A frame of every second; others can be read as well."""
        return list(self.every(1.0))

    def has(self, name: str) -> bool:
        """Whether the film lasts as long."""
        found = _NAME.fullmatch(name)
        return found is not None and name == name_of(float(found[1])) and float(found[1]) <= self.length + 1e-3

    def read(self, name: str) -> bytes:
        """What is seen at a time as a PNG. Raises EntryError where it cannot be decoded."""
        if not self.has(name):
            raise KeyError(name)
        wanted = self.first + float(name.removesuffix("s.png")) + 5e-4
        waiting = _waiting_for(self, wanted)
        # Damage on the way from an earlier time says nothing of this one: then from its own key frame.
        for decoder in (waiting, None) if waiting else (None,):
            try:
                decoder = decoder or _Decoder(self)
            except TransferKitError as failed:  # it was changed since, or its copy has no room
                raise EntryError(f"cannot be opened ({failed})") from failed
            try:
                found = decoder.at(wanted)
            except _errors(ValueError) as failed:
                decoder.close()
                error = failed
                continue
            _give_back(self, decoder)
            return png(found)
        raise EntryError(f"cannot be decoded ({error})") from error


class _Source:
    """An open film and its stream of pictures. Raises DataError where it cannot be opened."""

    def __init__(self, film: Film) -> None:
        av = _library(film.name)
        if not film.form:
            raise DataError(f"{film.name} is called like a film, but is of no form that is read; make it an .mp4")
        self._handle = film.start()
        try:
            self.film: Any = av.open(self._handle, format=film.form, metadata_errors="replace")
            self.stream: Any = self.film.streams.video[0]
            width, height = self.stream.codec_context.width, self.stream.codec_context.height
        except _errors(IndexError, AttributeError) as error:
            self._handle.close()
            raise DataError(f"{film.name} is no film that can be read ({error}); fetch it again") from error
        if width * height > _MOST_PIXELS:
            self._handle.close()
            raise DataError(f"{film.name} has frames of {width} × {height} pixels; scale it down to use it")
        self.base = float(self.stream.time_base or 0)
        self.told = self._duration()
        self.stream.codec_context.thread_count = 1  # the frames of a film are read by several threads of ours

    def _duration(self) -> float:
        """Seconds that the film says it lasts; 0 where it does not."""
        if self.stream.duration:
            return float(self.stream.duration) * self.base
        said = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", self.stream.metadata.get("DURATION", ""))  # Matroska's
        if said:
            return int(said[1]) * 3600 + int(said[2]) * 60 + float(said[3])
        return float(self.film.duration or 0) / 1e6 if len(self.film.streams) == 1 else 0.0

    def close(self) -> None:
        """Give the file and the memory back."""
        self.film.close()
        self._handle.close()


class _Decoder:
    """A film open for decoding, and how far it has come."""

    def __init__(self, film: Film) -> None:
        self._source = _Source(film)
        self.seen: Any = None
        self._frames = iter(())
        self._next: Any = None

    @property
    def time(self) -> float:
        """When the frame begins that was given last."""
        return -np.inf if self.seen is None else self._time(self.seen)

    def _time(self, frame: Any) -> float:
        return float(frame.pts if frame.pts is not None else frame.dts or 0) * self._source.base

    def seek(self, wanted: float) -> None:
        """Go to the key frame before a time, or to the start where none is found."""
        source = self._source
        for place in (wanted, wanted - _FAR, None):
            offset = 0 if place is None else max(0, int(place / source.base))
            source.film.seek(offset, stream=source.stream, any_frame=False)
            self._frames = source.film.decode(source.stream)
            self.seen, self._next = None, next(self._frames, None)
            if self._next is not None and self._time(self._next) <= wanted:
                return

    def at(self, wanted: float) -> Array:
        """uint8 [H, W, 3], upright: the last frame that begins until `wanted`. Raises ValueError, or FFmpeg's own."""
        if not self.time > wanted - _FAR:
            self.seek(wanted)
        while self._next is not None and (self.seen is None or self._time(self._next) <= wanted):
            self.seen, self._next = self._next, next(self._frames, None)
        frame = self.seen
        if frame is None or frame.is_corrupt:
            raise ValueError("no frame is there" if frame is None else "the frame is damaged")
        if frame.width * frame.height > _MOST_PIXELS:
            raise ValueError(f"the frame has {frame.width} × {frame.height} pixels")
        pixels: Array = frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))

    def close(self) -> None:
        """Give the memory back."""
        self._frames, self._next, self.seen = iter(()), None, None
        self._source.close()


def _waiting_for(film: Film, wanted: float) -> _Decoder | None:
    """The waiting decoder of a film that is nearest before a time."""
    with _lock:
        own = [pair for pair in _waiting if pair[0] is film and pair[1].time <= wanted]
        if own:
            best = max(own, key=lambda pair: pair[1].time)
            _waiting.remove(best)
            return best[1]
    return None


def _give_back(film: Film, decoder: _Decoder) -> None:
    with _lock:
        _waiting.append((film, decoder))
        gone = [_waiting.pop(0)[1] for _ in range(len(_waiting) - _DECODERS)]
    for old in gone:
        old.close()


def _library(name: str) -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise DataError(f"{name} is a film; install the reader with: pip install 'transferkit[video]'") from error


def _errors(*also: type[Exception]) -> tuple[type[Exception], ...]:
    """What damage makes FFmpeg raise, and what else."""
    return (importlib.import_module("av").FFmpegError, OverflowError, *also)
