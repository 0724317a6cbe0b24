"""A folder of one sub-folder per class, or of train/, val/, test/ with such folders inside → samples."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from transferkit.data.samples import Part, Samples, Task, listed, shown, unreadable_reason
from transferkit.errors import DataError, nearest, raise_problems

EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".avif",
    ]
)  # compared in lower case
JUNK = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})
JUNK_FOLDERS = frozenset({"__macosx", "__pycache__", "$recycle.bin", "@eadir", "lost+found"})
SPLIT_NAMES: dict[str, Part] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
Excluded = Callable[[str, str | None], bool]


@dataclass
class Walk:
    """What one walk over a data folder met."""

    root: Path
    strict: bool = True  # False: unreadable files are kept among the found ones, for the decoder to name
    found: list[tuple[str, str, Part | None]] = field(default_factory=list)  # path, class, split
    classes: set[str] = field(default_factory=set)
    hidden: int = 0
    other: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # path, reason
    notes: list[str] = field(default_factory=list)


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key in which `img2` comes before `img10`; the name itself breaks ties."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(p), "") if p[0].isdigit() else (1, 0, p) for p in parts], name


def class_order(names: set[str]) -> tuple[str, ...]:
    """Classes sorted by name (as Keras and torchvision sort them); by number where all are whole numbers."""
    if names and all(name.isdecimal() and name.isascii() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def is_hidden(name: str, folder: bool = False) -> bool:
    """Hidden files and what operating systems leave behind."""
    return name.startswith(".") or name.lower() in (JUNK_FOLDERS if folder else JUNK)


def split_name(name: str) -> Part | None:
    """The split a folder name stands for (`Train`, `valid `, …), or None."""
    return SPLIT_NAMES.get(name.strip().casefold())


def scan_folder(
    root: Path, task: Task | None, excluded: Excluded, classes: Sequence[str] | None, strict: bool = True
) -> Samples:
    """Samples of a data folder; see `source.scan`."""
    if task not in (None, "classify"):
        raise DataError(f"a folder gives one class per picture; for task {task!r} give a CSV")
    walk = walk_folder(root, excluded, strict)
    judge(walk, classes)
    raise_problems(DataError, walk.problems)
    return samples_of(walk, classes)


def walk_folder(root: Path, excluded: Excluded, strict: bool = True) -> Walk:
    """Everything below a data folder, in order, with the problems met on the way; raises nothing."""
    walk = Walk(root, strict)
    folders, loose = _entries(root, walk)
    loose = [name for name in loose if not excluded(name, None)]
    walk.unreadable = [entry for entry in walk.unreadable if not excluded(entry[0], None)]
    if loose:
        table = any(name.lower().endswith(".csv") for name in os.listdir(root))
        walk.problems.append(
            f"{len(loose)} pictures lie directly in {shown(root)} ({listed(loose, 3)}); put each into the "
            f"folder of its class{'; or give the CSV itself as DATA' if table else ''}"
        )
    parts = _parts(root, folders, walk, excluded)
    for folder, part in parts:
        _walk_classes(folder, part, walk, excluded)
    if not parts:
        _walk_classes("", None, walk, excluded)
    return walk


def _entries(folder: Path, walk: Walk) -> tuple[list[str], list[str]]:
    """Names of the sub-folders and of the pictures directly inside `folder`, sorted; counts the rest."""
    folders, pictures = [], []
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: natural(entry.name))
    except OSError as error:
        walk.problems.append(f"folder {shown(folder)} cannot be read ({error.strerror or error})")
        return [], []
    for entry in entries:
        named_picture = os.path.splitext(entry.name)[1].lower() in EXTENSIONS
        try:
            folder_here, regular = entry.is_dir(), entry.is_file()
        except OSError:  # a loop of links
            folder_here = regular = False
        if is_hidden(entry.name, folder_here):
            walk.hidden += 1
        elif folder_here:
            folders.append(entry.name)
        elif regular and named_picture:
            pictures.append(entry.name)
        elif named_picture:
            reason = unreadable_reason(Path(entry.path)) or "is no plain file"
            walk.unreadable.append((os.path.relpath(entry.path, walk.root), reason))
        else:
            walk.other[os.path.splitext(entry.name)[1].lower() or "(no extension)"] += 1
    return folders, pictures


def _parts(root: Path, folders: list[str], walk: Walk, excluded: Excluded) -> list[tuple[str, Part]]:
    """(folder, split) where `root` holds train/, val/ or test/ with class folders inside; else nothing."""
    named = [(name, part) for name in folders if (part := split_name(name)) and _has_folders(root / name)]
    if not named or (len(named) < len(folders) and not any(part == "train" for _, part in named)):
        return []
    others = [name for name in folders if name not in dict(named) and not excluded(name, name)]
    if others:
        walk.problems.append(
            f"beside {listed([n for n, _ in named])} there is {listed(others)}; a folder holds either splits "
            "(train, val, test) or classes. Move or --exclude what does not belong"
        )
    for part, names in _by_part(named).items():
        if len(names) > 1:
            walk.problems.append(f"{listed(names)} all mean the split {part!r}; keep one of them")
        elif names[0] != names[0].strip().lower():
            walk.notes.append(f"folder {names[0]!r} is taken as the split {part!r}")
    return named


def _by_part(named: list[tuple[str, Part]]) -> dict[Part, list[str]]:
    grouped: dict[Part, list[str]] = {}
    for name, part in named:
        grouped.setdefault(part, []).append(name)
    return grouped


def _has_folders(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir() and not is_hidden(entry.name, True) for entry in entries)
    except OSError:
        return False


def _walk_classes(folder: str, part: Part | None, walk: Walk, excluded: Excluded) -> None:
    names, loose = _entries(walk.root / folder, walk) if folder else (_entries(walk.root, Walk(walk.root))[0], [])
    loose = [name for name in loose if not excluded(os.path.join(folder, name), None)]
    if loose:
        walk.problems.append(
            f"{len(loose)} pictures lie directly in {shown(folder)}/ ({listed(loose, 3)}); put each into the "
            "folder of its class"
        )
    for name in names:
        inside = os.path.join(folder, name)
        ancestors = {_identity(walk.root), _identity(walk.root / folder)}
        before = len(walk.unreadable)
        pictures = _walk_class(inside, walk, ancestors)
        walk.unreadable[before:] = [e for e in walk.unreadable[before:] if not excluded(e[0], name)]
        kept = [path for path in pictures if not excluded(path, name)]
        if not walk.strict:
            kept += [path for path, _ in walk.unreadable[before:]]
            del walk.unreadable[before:]
        if kept:
            walk.classes.add(name)
        elif not pictures and not excluded(inside, name):
            walk.problems.append(f"class folder {shown(inside)} holds no picture; add some or --exclude it")
        walk.found += [(path, name, part) for path in kept]


def _walk_class(folder: str, walk: Walk, visited: set[tuple[int, int]]) -> list[str]:
    """Relative paths of all pictures below `folder`; each real folder is entered once: no loops."""
    identity = _identity(walk.root / folder)
    if identity in visited:
        walk.notes.append(f"link {shown(folder)} leads back to a folder that is already read; skipped")
        return []
    visited.add(identity)
    folders, pictures = _entries(walk.root / folder, walk)
    found = [os.path.join(folder, name) for name in pictures]
    for name in folders:
        inside = _walk_class(os.path.join(folder, name), walk, visited)
        if not inside and os.path.splitext(name)[1].lower() in EXTENSIONS:
            walk.unreadable.append((os.path.join(folder, name), "is a folder"))
        found += inside
    return found


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError:
        return (-1, hash(folder))
    return status.st_dev, status.st_ino


def samples_of(walk: Walk, classes: Sequence[str] | None = None) -> Samples:
    """The samples of a walk, numbered by `classes` or in the classes' own order."""
    order = tuple(classes) if classes else class_order(walk.classes)
    number = {name: i for i, name in enumerate(order)}
    return Samples(
        root=walk.root,
        paths=tuple(path for path, _, _ in walk.found),
        targets=np.array([number[name] for _, name, _ in walk.found], dtype=np.int64),
        classes=order,
        task="classify",
        split=tuple(part for _, _, part in walk.found),
        group=(None,) * len(walk.found),
        sha256=None,
        pixels=None,
        origin=str(walk.root),
        notes=tuple(dict.fromkeys(walk.notes)),
    )


def judge(walk: Walk, classes: Sequence[str] | None = None) -> None:
    """Add what is wrong with the whole to `walk.problems`, and what is odd to `walk.notes`."""
    root = shown(walk.root)
    if walk.unreadable:
        walk.problems.append(
            f"{len(walk.unreadable)} pictures cannot be read; remove or --exclude them: "
            + listed([f"{path} {reason}" for path, reason in walk.unreadable])
        )
    if classes is not None:
        unknown = sorted(walk.classes - set(classes))
        if unknown:
            near = nearest(unknown[0], classes)
            walk.problems.append(f"{listed(unknown)} are no classes of the run, which has {listed(classes)}{near}")
    if not walk.found and not walk.problems:
        what = f" (it holds {_kinds(walk.other)})" if walk.other else ""
        walk.problems.append(f"{root} holds no pictures{what}; it needs one sub-folder per class with pictures inside")
    elif classes is None and len(walk.classes) == 1 and not walk.problems:
        (only,) = walk.classes
        inner = f"; did you mean {shown(walk.root / only)}?" if _has_folders(walk.root / only) else ""
        walk.problems.append(f"{root} has one class only, {shown(only)}; classification needs at least two{inner}")
    if any(part for _, _, part in walk.found):
        trained = {name for _, name, part in walk.found if part == "train"}
        missing = sorted(walk.classes - trained)
        if trained and missing:
            near = nearest(missing[0], trained)
            walk.problems.append(f"{listed(missing)} occur in val or test but not in train{near}")
    walk.notes += odd_names(walk.classes)
    if walk.other:
        walk.notes.append(f"{sum(walk.other.values())} other files ignored: {_kinds(walk.other)}")
    if walk.hidden:
        walk.notes.append(f"{walk.hidden} hidden or system files ignored")


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {shown(kind)}" for kind, number in counts.most_common(5))


def odd_names(classes: set[str] | Sequence[str]) -> list[str]:
    """Notes on class names that are probably mistakes: blanks at the ends, two that differ by case only."""
    notes = [f"class {name!r} begins or ends with a blank" for name in sorted(classes) if name != name.strip()]
    same: dict[str, list[str]] = {}
    for name in sorted(classes):
        same.setdefault(unicodedata.normalize("NFC", name).strip().casefold(), []).append(name)
    twins = [names for names in same.values() if len(names) > 1]
    notes += [f"classes {', '.join(map(repr, n))} differ by case, blanks or accents only" for n in twins]
    notes += [f"class {name!r} is named like a split" for name in sorted(classes) if split_name(name)]
    return notes
