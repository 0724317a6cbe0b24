"""Copies of pictures, sorted into one folder a class. Originals stay; nothing that is there is ever overwritten."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from transferkit import tasks
from transferkit.data.containers import places
from transferkit.data.containers.films import copy_name
from transferkit.data.samples import shown
from transferkit.delivery.predict import Prediction
from transferkit.errors import ConfigError, StorageError
from transferkit.files import full, reason, sha256_file

ABSTAINED, NO_LABEL = "_abstained", "_no_label"
STALE = 3600.0  # seconds after which a half-made copy belongs to a killed process
LONGEST = 200  # bytes of a folder's name; most systems allow 255


@dataclass
class Sorter:
    """Copies each answered picture to `folder/<class>/<name>`; for several labels, into the folder of each.

    A picture that is there already with the same content is not copied again, so that a repeated command goes on
    where it stopped; another one of the same name gets a number (`rose-2.jpg`). Each copy appears whole or not at all.
    """

    folder: Path
    task: str
    classes: Sequence[str]
    copied: int = 0
    present: int = 0
    _names: dict[str, str] = field(init=False)
    _prepared: set[Path] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        if tasks.of(self.task).numbers:
            raise ConfigError("--copy-to sorts by class, and this run predicts numbers; drop it")
        self._names = dict(zip(self.classes, folder_names(self.classes), strict=True))

    def sort(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass `predictions` on, copying as they come. Unreadable pictures are left where they are."""
        for prediction in predictions:
            if not prediction.error:
                for name in self._folders(prediction):
                    self._copy(Path(prediction.path), self.folder / name)
            yield prediction

    def _folders(self, prediction: Prediction) -> list[str]:
        if prediction.abstained:
            return [ABSTAINED]
        if tasks.of(self.task).exclusive:
            return [self._names[prediction.label]]
        # The names may hold semicolons themselves: take those whose joined text is the answer, in the order of classes.
        labels = parted(prediction.label, self.classes)
        return [self._names[label] for label in labels] or [NO_LABEL]

    def _prepare(self, folder: Path) -> None:
        """Make the folder, once, and clear what a killed process left half-copied in it long ago."""
        if folder in self._prepared:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".????????????????????????????????.partial"):
            # Not its time of writing, which the copy takes over from the picture.
            if time.time() - leftover.stat().st_ctime > STALE:
                leftover.unlink(missing_ok=True)
        self._prepared.add(folder)

    def _copy(self, source: Path, folder: Path) -> None:
        try:
            self._prepare(folder)
            temporary = folder / f".{uuid.uuid4().hex}.partial"
            try:
                _fetch(source, temporary)
                with open(temporary, "rb") as handle:
                    os.fsync(handle.fileno())
                new = _place(temporary, folder, source)
            finally:
                with suppress(OSError):
                    temporary.unlink()
        except OSError as error:
            hint = "free some and repeat the command" if full(error) else "choose another --copy-to"
            raise StorageError(f"cannot copy {shown(source)} to {shown(folder)} ({reason(error)}); {hint}") from error
        self.copied += new
        self.present += not new


def _fetch(source: Path, target: Path) -> None:
    """Copy a file with its times; of an entry of an archive its bytes."""
    if source.is_file():
        shutil.copyfile(source, target)
        shutil.copystat(source, target)
    else:
        target.write_bytes(places.read(source))


def _place(temporary: Path, folder: Path, source: Path) -> bool:
    """Give the copy the first free name; False where the same content is there under one of them."""
    whole = copy_name(str(source))
    (stem, suffix), number, name = os.path.splitext(whole), 1, whole
    while True:
        target = folder / name
        try:
            # A hard link, because it fails where the name is taken; a rename would overwrite.
            _link(temporary, target)
            return True
        except FileExistsError:
            if target.is_file() and _same(target, temporary):
                return False
        number += 1
        name = f"{stem}-{number}{suffix}"


def _link(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links (exFAT): the name is claimed first, then the whole copy is put there.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(temporary, target)


def _same(a: Path, b: Path) -> bool:
    return a.stat().st_size == b.stat().st_size and sha256_file(a) == sha256_file(b)


def folder_names(classes: Sequence[str]) -> list[str]:
    """A folder name for each class: the name itself where a file system takes it, else escaped; all different."""
    found: list[str] = []
    for name in classes:
        # Percent signs first, so that no two classes meet in one escape.
        safe = "".join(f"%{ord(c):02X}" if c in '/\\:*?"<>|%' or ord(c) < 32 else c for c in name)
        if safe in ("", ".", "..") or safe in (ABSTAINED, NO_LABEL) or safe[-1:] in (" ", ".") or safe[0] == ".":
            safe = f"%{safe}"
        while len(os.fsencode(safe)) > LONGEST:
            safe = safe[:-1]
        number, unique = 1, safe
        # Some file systems take two names that differ by case for one.
        while unique.casefold() in {f.casefold() for f in found}:
            number += 1
            unique = f"{safe}-{number}"
        found.append(unique)
    return found


def parted(text: str, classes: Sequence[str]) -> list[str]:
    """The class names that `;`.join made `text` of, in their order.

    Args:
        text: the names.
        classes: all names, in the order in which they were joined.
    """
    if not text:
        return []
    for i, name in enumerate(classes):
        if text == name:
            return [name]
        if text.startswith(f"{name};"):
            rest = parted(text[len(name) + 1 :], classes[i + 1 :])
            if rest:
                return [name, *rest]
    return []


def check_folder(folder: Path, inputs: Iterable[Path]) -> None:
    """Refuse a folder that cannot take copies, or lies inside what is read: the next run would read the copies.

    Args:
        folder: of the copies.
        inputs: files and folders that are read.

    Raises:
        ConfigError: with what to do instead.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--copy-to {shown(folder)} is a file; name a folder")
    target = folder.absolute().resolve()
    for item in inputs:
        if item.is_dir() and target.is_relative_to(item.resolve()):
            raise ConfigError(
                f"--copy-to {shown(folder)} lies inside {shown(item)}, whose pictures are read; choose a folder outside"
            )
