"""One walk of folders, for training, prediction and the audit: links are followed without loops, system files left."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from transferkit.data.containers.films import is_film
from transferkit.data.containers.places import ContainerEntry, listing
from transferkit.data.samples import Part, shown, unreadable_reason

EXTENSIONS = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif",
    ".jxl", ".dcm", ".dicom",
])  # compared in lower case  # fmt: skip
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
JUNK = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})
JUNK_FOLDERS = frozenset({
    "__macosx", "__pycache__", "$recycle.bin", "#recycle", "recycler", "@eadir", "lost+found",
    "system volume information",
})  # fmt: skip


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key in which `img2` comes before `img10`; the name itself breaks ties."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    # By the digits: Python refuses to make numbers of thousands of them, which names in archives may have.
    return [(0, len(p.lstrip("0")), p.lstrip("0")) if p[0].isdigit() else (1, 0, p) for p in parts], name


def is_hidden(name: str, folder: bool = False) -> bool:
    """Hidden files and what operating systems leave behind.

    Args:
        name: without the path.
        folder: whether it is one.
    """
    return name.startswith(".") or name.lower() in (JUNK_FOLDERS if folder else JUNK)


def is_picture(name: str) -> bool:
    """Whether a file of this name is read as a picture."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


@dataclass
class Walk:
    """What one walk over a folder met. All paths are relative to `root`."""

    root: Path
    strict: bool = True  # False: unreadable files are kept among the found ones, for the decoder to name
    films: bool = False  # take films too
    class_level: str = "top"  # which of nested folders is the class: top, leaf or path
    nested: bool = False  # whether pictures lie deeper than in the class folders
    found: list[tuple[str, str, Part | None]] = field(default_factory=list)  # path, class, split
    classes: set[str] = field(default_factory=set)
    hidden: list[str] = field(default_factory=list)  # files, and folders as a whole
    other: list[str] = field(default_factory=list)
    outside: dict[str, str] = field(default_factory=dict)  # links that lead out of `root` → where to
    problems: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # path, reason
    notes: list[str] = field(default_factory=list)

    def entries(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the sub-folders and of the pictures directly inside `folder`, sorted; notes down the rest."""
        folders: list[str] = []
        pictures: list[str] = []
        try:
            entries = sorted(listing(self.root / folder), key=lambda entry: natural(entry.name))
        except OSError as error:
            self.problems.append(f"folder {shown(self.root / folder)} cannot be read ({error.strerror or error})")
            return folders, pictures
        for entry in entries:
            self._sort_in(entry, os.path.join(folder, entry.name), folders, pictures)
        return folders, pictures

    def _sort_in(
        self, entry: os.DirEntry[str] | ContainerEntry, path: str, folders: list[str], pictures: list[str]
    ) -> None:
        folder_here = is_folder(entry)
        if is_hidden(entry.name, folder_here):
            self.hidden.append(path)
            return
        if isinstance(entry, os.DirEntry) and entry.is_symlink():
            self._note_link(path)
        if folder_here:
            folders.append(entry.name)
        elif not (is_picture(entry.name) or (self.films and is_film(entry.name))):
            self.other.append(path)
        elif _is_file(entry):
            pictures.append(entry.name)
        else:
            self.unreadable.append((path, unreadable_reason(Path(entry.path)) or "is no plain file"))

    def _note_link(self, path: str) -> None:
        top, target = os.path.realpath(self.root), os.path.realpath(self.root / path)
        if target != top and not target.startswith(os.path.join(top, "")):
            self.outside[path] = target

    def below(self, folder: str, visited: set[tuple[int, int]]) -> list[str]:
        """Paths of all pictures below `folder`; each real folder is entered once: no loops."""
        identity = identify(self.root / folder)
        if identity in visited:
            self.notes.append(f"link {shown(folder)} leads back to a folder that is already read; skipped")
            return []
        visited.add(identity)
        folders, pictures = self.entries(folder)
        found = [os.path.join(folder, name) for name in pictures]
        for name in folders:
            inside = self.below(os.path.join(folder, name), visited)
            if not inside and is_picture(name):
                self.unreadable.append((os.path.join(folder, name), "is a folder"))
            found += inside
        return found

    def ignored(self, below: str = "") -> str:
        """What else lies in a folder, in words: ` (it holds 4 .ppm)`; empty where there is nothing."""
        inside = os.path.join(below, "") if below else ""
        here = [kinds(path for path in self.other if path.startswith(inside))]
        hidden = sum(path.startswith(inside) for path in self.hidden)
        here += [f"{hidden} hidden or system files"] if hidden else []
        return f" (it holds {', '.join(filter(None, here))}){self.packed(below)}" if any(here) else ""

    def packed(self, below: str = "") -> str:
        """What to add where archives lie in a folder: one is read where it is given, not inside of others."""
        inside = os.path.join(below, "") if below else ""
        archives = [path for path in self.other if path.startswith(inside) and path.lower().endswith(ARCHIVES)]
        if not archives:
            return ""
        if len(archives) == 1 and not self.found and os.path.isdir(self.root):
            return f"; unpack the archive, or give it by itself: {shown(self.root / archives[0])}"
        return "; archives inside are not opened: unpack them"


def is_folder(entry: os.DirEntry[str] | ContainerEntry) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _is_file(entry: os.DirEntry[str] | ContainerEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def identify(folder: Path) -> tuple[int, int]:
    """The real folder behind a name."""
    try:
        status = os.stat(folder)
    except OSError:  # inside a container there are no links: a name is a folder
        return (-1, hash(folder))
    return status.st_dev, status.st_ino


def kinds(paths: Iterable[str]) -> str:
    """The commonest extensions in words: `4 .ppm, 1 .txt`."""
    counts = Counter(os.path.splitext(path)[1].lower() or "(no extension)" for path in paths)
    return ", ".join(f"{number} {shown(kind)}" for kind, number in counts.most_common(5))


def pictures_below(folder: Path, films: bool = False) -> tuple[list[Path], Walk]:
    """All pictures of a folder as training finds them, unreadable ones too.

    Args:
        folder: on the disk or in a container.
        films: takes films as well.

    Returns:
        Their paths, and the whole walk.
    """
    walk = Walk(folder, films=films)
    folders, pictures = walk.entries("")
    found = list(pictures)
    for name in folders:
        # As in training, where each class is walked by itself.
        found += walk.below(name, {identify(folder)})
    found += [path for path, _ in walk.unreadable]
    return [folder / path for path in found], walk


def without_system_files(pattern: str, hits: Iterable[Path]) -> Iterator[Path]:
    """Of what a pattern matches, no hidden or system files it does not name, and each file once through links.

    Args:
        pattern: as it was given, with `*`.
        hits: what it matches.

    Returns:
        Paths, those with the shortest way first.
    """
    named = set(Path(pattern).parts)
    seen: dict[str, str] = {}
    files: set[str] = set()
    for path in sorted(hits, key=lambda hit: (len(hit.parts), hit)):
        hidden = [part for part in path.parts[:-1] if is_hidden(part, True)]
        if any(part not in named for part in hidden) or (is_hidden(path.name) and path.name not in named):
            continue
        folder, name = os.path.split(path)
        real = os.path.join(seen.setdefault(folder, os.path.realpath(folder)), name)
        if real not in files:
            files.add(real)
            yield path
