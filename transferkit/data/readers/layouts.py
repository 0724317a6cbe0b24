"""Which folders are splits and which are classes, told by their names; what can be read in two ways is said or refused.

`train/`, `training_set/`, `Test Data/`, `02_valid/` mean splits by themselves; `seg_train/` beside `seg_test/` by each
other. A folder that only repeats the one around it (`seg_train/seg_train/…`, `train/images/…`) is passed through.
Splits may also lie inside the classes (`cats/train/…`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from transferkit.data.containers.places import listing
from transferkit.data.readers.request import Excluded
from transferkit.data.readers.walk import Walk, is_folder, is_hidden, is_picture
from transferkit.data.samples import PARTS, Part, listed, shown

_USUAL: dict[str, Part] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_WORDS: dict[str, Part] = {**_USUAL, "trainval": "train", "dev": "val", "eval": "val", "evaluation": "val"}
_FILLERS = frozenset(
    {"set", "sets", "data", "dataset", "split", "images", "image", "imgs", "img", "pictures", "photos"}
)
_JOINED: dict[str, Part] = {word + filler: part for word, part in _WORDS.items() for filler in _FILLERS}
_WRAPPERS = _FILLERS | {"classes", "jpg", "png"}
_TOKEN = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])")
SAYING = (".csv", ".tsv", ".xlsx", ".parquet", ".arrow", ".jsonl", ".json", ".xml")  # of pictures beside them
DEEPEST = 5  # folders passed through at most: a link may lead back


def split_name(name: str) -> Part | None:
    """The split a name stands for by itself (`Train`, `valid `, `test_set`, …), or None."""
    part, rest = _meaning(name)
    return part if not rest else None


def is_usual(name: str) -> bool:
    """Whether a split's name is one of the common ones, so that taking it as a split needs no word."""
    return name.strip().casefold() in _USUAL


def _meaning(name: str) -> tuple[Part | None, str]:
    """The one split that a name mentions, and the rest of the name without fillers and numbers."""
    plain = name.strip().casefold()
    if plain in _WORDS:
        return _WORDS[plain], ""
    tokens = [token.casefold() for token in _TOKEN.findall(name)]
    found = {token: part for token in tokens if (part := _WORDS.get(token) or _JOINED.get(token))}
    parts = set(found.values())
    # train_val is what is trained on; validation is carved out of it.
    part = "train" if parts == {"train", "val"} else min(parts) if len(parts) == 1 else None
    return part, " ".join(token for token in tokens if token not in found and token not in _FILLERS)


def meant_as_splits(names: Iterable[str]) -> dict[str, Part]:
    """Those of the folder names that stand for splits: by themselves, or by each other (`seg_train`, `seg_test`)."""
    alone: dict[str, Part] = {}
    families: dict[str, dict[str, Part]] = {}
    for name in names:
        part, rest = _meaning(name)
        if part and not rest:
            alone[name] = part
        elif part:
            families.setdefault(rest, {})[name] = part
    for family in families.values():
        if "train" in family.values() and len(set(family.values())) > 1:
            alone |= family
    return alone


def split_folders(walk: Walk, folders: list[str], excluded: Excluded) -> list[tuple[str, Part]]:
    """Which folders are splits, where the root holds train/, val/ or test/ with class folders.

    Args:
        walk: of the data; is told what can be read in two ways, or is wrong.
        folders: in its root.
        excluded: path and label → whether it is left out.

    Returns:
        (folder with the classes, split), each; empty where the folders are classes.
    """
    named = meant_as_splits(folders)
    inner = {name: place for name in named if (place := _classes_in(walk, name))}
    if not inner:
        if len(named) == len(folders) and len(set(named.values())) > 1:
            walk.problems.append(
                f"{listed(folders)} are named like splits but hold no class folders; put each picture into the folder "
                f"of its class ({shown(os.path.join(folders[0], 'rose'))}), or give a CSV with path, label and split"
                f"{saying_beside(walk)}"
            )
        return []
    parts = {named[name] for name in inner}
    holds_siblings = any(set(_look(walk, place)[0]) & (set(folders) - set(inner)) for place in inner.values())
    if len(inner) < len(folders) and "train" not in parts and len(parts) == 1 and not holds_siblings:
        return []
    _say_beside(walk, inner, named, [name for name in folders if name not in inner and not excluded(name, name)])
    chosen = [(name, named[name]) for name in folders if name in inner and not excluded(name, None)]
    _say_names(walk, chosen, inner)
    return [(inner[name], part) for name, part in chosen]


def saying_beside(walk: Walk) -> str:
    """To end a sentence with: which file in the root probably says what the pictures are; empty where there is none.

    Args:
        walk: of the data.
    """
    names = [name for name in _files(walk) if name.lower().endswith(SAYING) and not is_hidden(name)]
    if not names:
        return ""
    return f"; or is it {shown(walk.root / min(names, key=_unlikely))} that has the labels?"


def _unlikely(name: str) -> tuple[bool, int, bool, str]:
    """By what a file comes later among those that may have the labels: tables first, what is to be filled in last."""
    stem, ending = os.path.splitext(name.lower())
    empty = split_name(stem) == "test" or "sample" in stem or "submission" in stem
    return empty, SAYING.index(ending), split_name(stem) != "train", name


def _files(walk: Walk) -> list[str]:
    try:
        return [entry.name for entry in listing(walk.root) if not is_folder(entry)]
    except OSError:
        return []


def _say_beside(walk: Walk, inner: dict[str, str], named: dict[str, Part], others: list[str]) -> None:
    if others:
        unlabelled = [name for name in others if name in named]
        why = f" ({listed(unlabelled)}: no class folders inside, so the classes are not known)" if unlabelled else ""
        walk.problems.append(
            f"beside {listed(list(inner))} there is {listed(others)}{why}; a folder holds either splits "
            "(train, val, test) or classes. Move or --exclude what does not belong"
        )


def _say_names(walk: Walk, chosen: list[tuple[str, Part]], inner: dict[str, str]) -> None:
    for part in PARTS:
        names = [name for name, own in chosen if own == part]
        if len(names) > 1:
            walk.problems.append(f"{listed(names)} all mean the split {part!r}; keep one of them")
        elif names and not (is_usual(names[0]) and names[0] == names[0].strip().lower()):
            walk.notes.append(f"folder {names[0]!r} is taken as the split {part!r}")
    for name, _ in chosen:
        if inner[name] != name:
            walk.notes.append(f"the classes of {shown(name)} are taken from {shown(inner[name])}")


def _classes_in(walk: Walk, folder: str) -> str | None:
    """Where the class folders of a split lie, passing through folders that only repeat its name; None without any."""
    folders, pictures = _look(walk, folder)
    if not folders:
        return None
    for _ in range(DEEPEST):
        if len(folders) != 1 or pictures or not _repeats(folders[0], os.path.basename(folder)):
            break
        deeper = os.path.join(folder, folders[0])
        below, pictures = _look(walk, deeper)
        if not below:
            break
        folder, folders = deeper, below
    return folder


def _repeats(inner: str, outer: str) -> bool:
    same = split_name(inner) is not None and split_name(inner) == split_name(outer)
    return same or inner.casefold() == outer.casefold() or inner.casefold() in _WRAPPERS


def _look(walk: Walk, folder: str) -> tuple[list[str], bool]:
    """Visible folders directly inside one, and whether pictures are; notes nothing down."""
    try:
        seen = [(entry.name, is_folder(entry)) for entry in listing(walk.root / folder)]
    except OSError:
        return [], False
    folders = [name for name, below in seen if below and not is_hidden(name, True)]
    return folders, any(is_picture(name) and not is_hidden(name) for name, below in seen if not below)


def has_folders(walk: Walk, folder: str) -> bool:
    """Whether a folder holds visible folders.

    Args:
        walk: of the data.
        folder: relative to its root.
    """
    return bool(_look(walk, folder)[0])


def splits_inside_classes(walk: Walk) -> None:
    """Take `cats/train/…`, `dogs/test/…` as splits where all classes are made so; refuse what is made so in part."""
    heads: dict[str, dict[str, Part | None]] = {}
    for path, name, _ in walk.found:
        first, separator, _ = path[len(name) + 1 :].partition(os.sep)
        head = first if separator else ""
        if head not in heads.setdefault(name, {}):
            heads[name][head] = split_name(head) if head else None
    torn = [name for name, inside in heads.items() if len(set(inside.values()) - {None}) > 1]
    whole = [name for name, inside in heads.items() if None not in inside.values()]
    if walk.found and len(whole) == len(heads):
        walk.found = [
            (path, name, heads[name][path[len(name) + 1 :].split(os.sep, 1)[0]]) for path, name, _ in walk.found
        ]
        places = [os.path.join(name, head) for name, inside in heads.items() for head in inside]
        walk.notes.append(f"the splits lie inside the classes ({listed(places, 4)}) and are taken as given")
    elif torn:
        other = next((name for name in heads if name not in whole), torn[0])
        walk.problems.append(
            f"{listed(torn)} hold splits ({listed([head for head in heads[torn[0]] if heads[torn[0]][head]])}), but "
            f"not all pictures of {shown(other)} lie in such folders; sort them into train, val or test too, or give "
            "a CSV with path, label and split"
        )


def say_flattened(walk: Walk) -> None:
    """Notes on folders inside classes that may have been meant otherwise: named like splits, or alike in several."""
    places: dict[str, set[str]] = {}
    splits: list[str] = []
    for folder, name, part in sorted({(os.path.dirname(path), name, part or "") for path, name, part in walk.found}):
        parts = folder.split(os.sep)
        inside = parts[parts.index(name) + 1 :]
        if not part and any(map(split_name, inside)):
            splits.append(folder)
        if inside and not split_name(inside[-1]):
            places.setdefault(inside[-1], set()).add(name)
    if splits:
        walk.notes.append(
            f"inside classes there are folders named like splits ({listed(splits, 4)}); their pictures count for the "
            "class, without a split"
        )
    shared = sorted(inner for inner, classes in places.items() if len(classes) > 1)
    if shared:
        classes = sorted(set().union(*(places[inner] for inner in shared)))
        walk.notes.append(
            f"folders {listed(shared, 4)} lie inside several classes ({listed(classes, 4)}) and are not told apart; if "
            "they are the classes, give --class-level leaf, or path for names such as "
            f"{shown('/'.join([sorted(places[shared[0]])[0], shared[0]]))}"
        )


def say_level(walk: Walk) -> None:
    """Say which classes come from several folders; it is a problem where `--class-level` changes nothing."""
    if walk.found and not walk.nested:
        walk.problems.append(
            f"--class-level {walk.class_level} has no effect: no class folder holds folders with pictures; drop it"
        )
    places: dict[tuple[str, Part | None], set[str]] = {}
    for path, name, part in walk.found:
        places.setdefault((name, part), set()).add(os.path.dirname(path))
    several = {name: sorted(folders) for (name, _), folders in places.items() if len(folders) > 1}
    if several and walk.class_level == "leaf":
        first = next(iter(several))
        more = f", and so on for {len(several) - 1} more" if len(several) > 1 else ""
        walk.notes.append(f"class {first!r} is taken from {listed(several[first], 4)}{more}")
