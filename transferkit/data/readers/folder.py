"""A folder of one sub-folder per class, or of train/, val/, test/ with such folders inside → samples."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from transferkit import tasks
from transferkit.data.containers.base import Archive
from transferkit.data.containers.films import is_film
from transferkit.data.containers.places import inside, listing
from transferkit.data.readers.layouts import (
    DEEPEST,
    SAYING,
    has_folders,
    say_flattened,
    say_level,
    saying_beside,
    split_folders,
    split_name,
    splits_inside_classes,
)
from transferkit.data.readers.names import load_names
from transferkit.data.readers.request import Excluded, Request
from transferkit.data.readers.walk import Walk, identify, is_hidden, is_picture, kinds
from transferkit.data.samples import Part, Samples, listed, shown
from transferkit.errors import DataError, nearest, raise_problems
from transferkit.quantities import plural
from transferkit.tasks import SINGLE

MISSING = frozenset({"nan", "none", "null", "na", "n/a", "#n/a", "<na>"})  # as other programs write it
FORMULA = tuple("=+-@\t\r")  # what a spreadsheet computes, where it is the beginning of a cell


def class_order(names: set[str]) -> tuple[str, ...]:
    """Classes sorted by name (as Keras and torchvision sort them); by number where all are whole numbers."""
    if names and all(name.isdecimal() and name.isascii() for name in names):
        # By the digits: Python refuses to make numbers of thousands of them.
        return tuple(sorted(names, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name)))
    return tuple(sorted(names))


def scan_folder(source: Path, request: Request) -> Samples:
    """Samples of a data folder.

    Args:
        source: the folder, on the disk or in an archive.
        request: see `source.scan`.

    Raises:
        DataError: with every problem; or the task needs more than one class a picture.
    """
    task = request.task
    if task is not None and not tasks.of(task).exclusive:
        raise DataError(f"a folder gives one class per picture; for task {task!r} give a CSV")
    reading = request.reading
    walk = walk_folder(unwrapped(source), request.excluded, request.strict, reading.films, reading.class_level)
    if request.reading.classes:
        _rename(walk, load_names(Path(request.reading.classes).expanduser()), request.reading.classes)
    judge(walk, request.classes)
    raise_problems(DataError, walk.problems)
    return replace(samples_of(walk, request.classes, task or SINGLE), origin=str(source))


def unwrapped(source: Path) -> Path:
    """Where the data of an archive begins: past folders that hold everything else, as archives are mostly made.

    A folder on the disk begins where it is. So does an archive whose one folder is a class, or named like a split.
    """
    found = None if os.path.isdir(source) else inside(source)
    if found is None or not isinstance(found[0], Archive) or found[1] not in found[0].folders:
        return source
    for _ in range(DEEPEST):
        seen = [entry for entry in listing(source) if not is_hidden(entry.name, entry.is_dir())]
        folders = [entry.name for entry in seen if entry.is_dir()]
        if len(folders) != 1 or split_name(folders[0]) or any(map(_is_data, (e.name for e in seen if e.is_file()))):
            break
        below = source / folders[0]
        if not any(entry.is_dir() or _is_data(entry.name, False) for entry in listing(below)):
            break
        source = below
    return source


def _rename(walk: Walk, names: dict[str, str], file: str) -> None:
    """Put names in the place of codes (`n01440764`) that folders are called by."""
    unknown = sorted(walk.classes - names.keys())
    if unknown:
        walk.problems.append(f"{shown(file)} has no name for the class folders {listed(unknown)}")
    walk.found = [(path, names.get(name, name), part) for path, name, part in walk.found]
    walk.classes = {names.get(name, name) for name in walk.classes}


def _is_data(name: str, pictures: bool = True) -> bool:
    """Whether a file is a picture or says something of pictures."""
    return (pictures and is_picture(name)) or name.lower().endswith(SAYING)


def walk_folder(
    root: Path, excluded: Excluded, strict: bool = True, films: bool = False, class_level: str = ""
) -> Walk:
    """Everything below a data folder, in order, with the problems met on the way; raises nothing.

    Args:
        root: the folder.
        excluded: path and label → whether it is left out.
        strict: whether a file that cannot be opened is a problem; False keeps it, for the decoder to name.
        films: whether films count as pictures.
        class_level: which of nested folders is the class: "top", "leaf" or "path"; empty is "top".
    """
    walk = Walk(root, strict, films, class_level or "top")
    found = inside(root)
    walk.notes += found[0].notes if found else []
    folders, loose = walk.entries("")
    loose = [name for name in loose if not excluded(name, None)]
    walk.unreadable = [entry for entry in walk.unreadable if not excluded(entry[0], None)]
    if loose:
        table = any(name.lower().endswith(".csv") for name in walk.other)
        walk.problems.append(
            f"{shown(root)} is a film and says no classes; put films into the folders of their classes and give the "
            "folder above, or give a table of films and labels"
            if is_film(root.name) and not os.path.isdir(root)
            else f"{_lie(len(loose))} directly in {shown(root)} ({listed(loose, 3)}); put each into the "
            f"folder of its class{'; or give the CSV itself as DATA' if table else _above(root, films)}"
        )
    parts = split_folders(walk, folders, excluded)
    for folder, part in parts:
        names, loose = walk.entries(folder)
        _refuse_loose(folder, loose, walk, excluded)
        _walk_classes(folder, names, part, walk, excluded)
    if not parts:
        _walk_classes("", folders, None, walk, excluded)
    if walk.class_level == "top":
        if not parts:
            splits_inside_classes(walk)
        say_flattened(walk)
    else:
        say_level(walk)
    return walk


def _lie(count: int) -> str:
    return f"{plural(count, 'picture')} {'lies' if count == 1 else 'lie'}"


def _above(root: Path, films: bool) -> str:
    """What to add where `root` may be the folder of one class: the folder above has others with pictures, or films."""
    above = root.parent
    if not os.path.isdir(root):  # an archive is no class
        return ""
    with suppress(OSError):
        beside = [entry for entry in above.iterdir() if entry.is_dir() and entry.name[0] != "." and entry != root]
        if any(Walk(above, strict=False, films=films).entries(entry.name)[1] for entry in beside[:8]):
            return f"; or, if {shown(root.name)} is one of the classes, give the folder above ({shown(above)})"
    return ""


def _refuse_loose(folder: str, loose: list[str], walk: Walk, excluded: Excluded) -> None:
    loose = [name for name in loose if not excluded(os.path.join(folder, name), None)]
    if loose:
        walk.problems.append(
            f"{_lie(len(loose))} directly in {shown(folder)}/ ({listed(loose, 3)}); put each into the "
            "folder of its class"
        )


def _walk_classes(folder: str, names: list[str], part: Part | None, walk: Walk, excluded: Excluded) -> None:
    for name in names:
        inside = os.path.join(folder, name)
        before = len(walk.unreadable)
        pictures = walk.below(inside, {identify(walk.root), identify(walk.root / folder)})
        walk.unreadable[before:] = [e for e in walk.unreadable[before:] if not excluded(e[0], name)]
        walk.nested |= any(os.path.dirname(path) != inside for path in pictures)
        kept = [path for path in pictures if not excluded(path, _class_of(path, folder, walk.class_level))]
        if not walk.strict:
            kept += [path for path, _ in walk.unreadable[before:]]
            del walk.unreadable[before:]
        classes = [_class_of(path, folder, walk.class_level) for path in kept]
        walk.classes.update(classes)
        if not kept and not pictures and not excluded(inside, name):
            what = walk.ignored(inside) + _films_in(walk, inside)
            walk.problems.append(f"class folder {shown(inside)} holds no picture{what}; add some or --exclude it")
        walk.found += [(path, label, part) for path, label in zip(kept, classes, strict=True)]


def _films_in(walk: Walk, folder: str) -> str:
    """What to add where films lie in a folder, and were not asked for."""
    there = any(is_film(path) for path in walk.other if path.startswith(os.path.join(folder, "")))
    return "; --frames every:1s takes pictures from films" if there else ""


def _class_of(path: str, folder: str, level: str) -> str:
    """The class of a picture below the folder of classes: by the first folder, the last, or all of them."""
    folders = os.path.dirname(path)[len(folder) :].strip(os.sep).split(os.sep)
    if level == "path":
        return "/".join(folders)
    return folders[-1 if level == "leaf" else 0]


def samples_of(walk: Walk, classes: Sequence[str] | None = None, task: str = SINGLE) -> Samples:
    """The samples of a walk.

    Args:
        walk: without problems.
        classes: in the order that they are numbered by; None: the classes' own order.
        task: of the samples, one class a picture.
    """
    order = tuple(classes) if classes else class_order(walk.classes)
    number = {name: i for i, name in enumerate(order)}
    return Samples(
        root=walk.root,
        paths=tuple(path for path, _, _ in walk.found),
        targets=np.array([number[name] for _, name, _ in walk.found], dtype=np.int64),
        classes=order,
        task=task,
        split=tuple(part for _, _, part in walk.found),
        group=(None,) * len(walk.found),
        sha256=None,
        pixels=None,
        origin=str(walk.root),
        notes=tuple(dict.fromkeys(walk.notes)),
    )


def judge(walk: Walk, classes: Sequence[str] | None = None) -> None:
    """Add what is wrong with the whole to `walk.problems`, and what is odd to `walk.notes`.

    Args:
        walk: a whole one.
        classes: those of a finished run, beside which no other may be; None: at least two are needed.
    """
    root = shown(walk.root)
    if walk.unreadable:
        walk.problems.append(
            f"{plural(len(walk.unreadable), 'picture')} cannot be read; remove or --exclude them: "
            + listed([f"{path} {reason}" for path, reason in walk.unreadable])
        )
    if classes is not None:
        unknown = sorted(walk.classes - set(classes))
        if unknown:
            near = nearest(unknown[0], classes)
            walk.problems.append(f"{listed(unknown)} are no classes of the run, which has {listed(classes)}{near}")
    if not walk.found and not walk.problems:
        walk.problems.append(
            f"{root} holds no pictures{walk.ignored()}; it needs one sub-folder per class with pictures inside"
        )
    elif classes is None and len(walk.classes) == 1 and not walk.problems:
        (only,) = walk.classes
        inner = f"; did you mean {shown(walk.root / only)}?" if has_folders(walk, only) else ""
        walk.problems.append(
            f"{root} has one class only, {shown(only)}; classification needs at least two{inner or saying_beside(walk)}"
        )
    if any(part for _, _, part in walk.found):
        trained = {name for _, name, part in walk.found if part == "train"}
        missing = sorted(walk.classes - trained)
        if trained and missing:
            near, verb = nearest(missing[0], trained), "occurs" if len(missing) == 1 else "occur"
            walk.problems.append(f"{listed(missing)} {verb} in val or test but not in train{near}")
    walk.notes += odd_names(walk.classes)
    if walk.other:
        walk.notes.append(
            f"{plural(len(walk.other), 'other file')} ignored: {kinds(walk.other)}{walk.packed()}{_films_in(walk, '')}"
        )
    if walk.outside:
        path, target = next(iter(walk.outside.items()))
        what = "link leads" if len(walk.outside) == 1 else "links lead"
        walk.notes.append(
            f"{len(walk.outside)} {what} out of the folder and what is there is read too: {shown(path)} to "
            f"{shown(target)}{' first' if len(walk.outside) > 1 else ''}"
        )
    if walk.hidden:
        walk.notes.append(f"{len(walk.hidden)} hidden or system files ignored")


def odd_names(classes: set[str] | Sequence[str]) -> list[str]:
    """Notes on class names that are probably mistakes: blanks at the ends, two that differ by case only, …"""
    notes = [f"class {name!r} begins or ends with a blank" for name in sorted(classes) if name != name.strip()]
    same: dict[str, list[str]] = {}
    for name in sorted(classes):
        same.setdefault(unicodedata.normalize("NFC", name).strip().casefold(), []).append(name)
    alike = [names for names in same.values() if len(names) > 1]
    notes += [f"classes {', '.join(map(repr, n))} differ by case, blanks or accents only" for n in alike]
    notes += [f"class {name!r} is spelt like a missing label" for name in sorted(classes) if name.casefold() in MISSING]
    notes += [f"class {name!r} is named like a split" for name in sorted(classes) if split_name(name)]
    notes += [
        f"class {name!r} begins as formulas do: take the run's CSV files into a spreadsheet as text"
        for name in sorted(classes) if name[:1] in FORMULA and not _is_number(name)
    ]  # fmt: skip
    return notes


def _is_number(name: str) -> bool:
    try:
        float(name)
        return True
    except ValueError:
        return False
