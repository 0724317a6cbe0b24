"""The audit's single checks: facts about pictures → findings. Pure: no file is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transferkit.data.audit.image_facts import ImageFacts
from transferkit.data.audit.lookalikes import near_pairs
from transferkit.data.audit.many_facts import Facts
from transferkit.data.images.tones import is_deep
from transferkit.data.samples import Samples, shown
from transferkit.quantities import plural

NAMED = 10  # copies of a picture, in one finding

# kind: (severity, remedy). The order is the order in reports.
KINDS: dict[str, tuple[str, str]] = {
    "structure": ("error", "Put it right; training refuses it"),
    "table": ("error", "Correct the file"),
    "leakage": ("error", "Keep each picture in one split: leave out the copy outside test"),
    "conflict": ("error", "Keep the right label, leave out the others"),
    "damaged": ("error", "Restore it from its source or leave it out"),
    "not_a_picture": ("error", "Leave it out"),
    "empty": ("error", "Restore it from its source or leave it out"),
    "unreadable": ("error", "Make it readable or leave it out"),
    "unsupported": ("error", "Install the reader, or convert it to JPEG or PNG"),
    "too_large": ("error", "Scale it down or leave it out"),
    "near_leakage": ("warning", "Look at the pair; pictures this alike in two splits make scores too good"),
    "near_conflict": ("warning", "Look at the pair; one of the labels may be wrong"),
    "label": ("warning", "Look at them in this order; correct the label, or leave the picture out"),
    "duplicate": ("warning", "One copy is enough; exact copies are always kept in one split"),
    "near_duplicate": ("info", "Look at the pair; `data split --keep-alike` keeps such pictures in one part"),
    "misnamed": ("warning", "Give it an extension of pictures to use it; it is ignored now"),
    "wrong_extension": ("info", "Nothing to do: content decides how it is read"),
    "few": ("warning", "Add pictures"),
    "imbalance": ("warning", "Use --class-weights balanced and judge by macro F1"),
    "tiny": ("warning", "It is enlarged a lot; leave it out if a larger one cannot be had"),
    "extreme_shape": ("warning", "It is distorted a lot; crop it, or read pictures with letterbox"),
    "rotated": ("info", "Nothing to do: the EXIF orientation is applied"),
    "mode": ("info", "Nothing to do: it is converted to RGB"),
    "deep": ("info", "Train with --intensity percentile if it is nearly black, as 12-bit data in 16-bit files are"),
    "animation": ("info", "Nothing to do: the first frame is read"),
    "odd_name": ("warning", "Rename it if it is a mistake"),
    "hidden": ("info", "Nothing to do: ignored"),
    "other_file": ("info", "Nothing to do: ignored"),
    "note": ("info", "For your information"),
}
TINY = 32
EXTREME = 4.0
FEW = 10
IMBALANCE = 5.0
_PLAIN_MODES = frozenset({"RGB", "L"})


@dataclass(frozen=True)
class Finding:
    """One thing found. `path` is None where it concerns the whole; leaving out `exclude` settles it."""

    kind: str
    severity: str
    path: str | None
    detail: str
    remedy: str
    exclude: tuple[str, ...] = ()
    other: str | None = None

    @classmethod
    def of(
        cls, kind: str, path: str | None, detail: str, exclude: tuple[str, ...] = (), other: str | None = None
    ) -> Finding:
        """A finding with the severity and remedy of its kind."""
        severity, remedy = KINDS[kind]
        return cls(kind, severity, path, detail, remedy, exclude, other)


@dataclass(frozen=True)
class LabelIssue:
    """A label that may be wrong: `chance_right` in 0…1 that it is right, and what the picture looks like instead.

    `suggested` is a label as text, like `label`; `likely_wrong` whether it is among those held to be wrong.
    """

    path: str
    label: str
    suggested: str
    chance_right: float
    likely_wrong: bool

    @property
    def said(self) -> str:
        """The chance in words: `2 %`."""
        if self.chance_right < 0.005:
            return "under 1 %"
        return "over 99 %" if self.chance_right > 0.995 else f"{100 * self.chance_right:.0f} %"

    def finding(self) -> Finding:
        """As one finding of the audit."""
        there = f"'{self.label}'" if self.label else "nothing"
        detail = f"is labelled {there}; it looks like '{self.suggested}'" if self.suggested else f"is labelled {there}"
        return Finding.of("label", self.path, f"{detail} (chance that the label is right: {self.said})")


def about_pictures(samples: Samples, facts: Facts) -> Iterator[Finding]:
    """What each picture shows by itself.

    Args:
        samples: the pictures.
        facts: of each, in the same order.

    Returns:
        Findings, picture by picture; of one that cannot be read, that alone.
    """
    for path, fact in zip(samples.paths, facts, strict=True):
        if fact.fault is not None:
            yield Finding.of(fact.fault, path, fact.reason or "", (path,))
            continue
        yield from _about_one(path, fact)


def _about_one(path: str, fact: ImageFacts) -> Iterator[Finding]:
    width, height = fact.size or (0, 0)
    actual = {"MPO": "JPEG"}.get(fact.format or "", fact.format)
    if fact.promised not in (None, actual):
        yield Finding.of("wrong_extension", path, f"is {actual} by content, named as {fact.promised}")
    if min(width, height) < TINY:
        yield Finding.of("tiny", path, f"has {width}×{height} pixels")
    if max(width, height) > EXTREME * min(width, height):
        yield Finding.of("extreme_shape", path, f"has {width}×{height} pixels")
    if fact.orientation != 1:
        yield Finding.of("rotated", path, f"has EXIF orientation {fact.orientation}")
    if fact.format != "DICOM" and is_deep(fact.mode or ""):  # DICOM says itself which grey is meant
        yield Finding.of("deep", path, f"has grey of more than 8 bits ({fact.mode})")
    elif fact.mode not in _PLAIN_MODES:
        yield Finding.of("mode", path, f"has the colour mode {fact.mode}")
    if fact.frames > 1 and fact.format != "MPO":
        yield Finding.of("animation", path, f"has {fact.frames} frames")


def about_copies(samples: Samples, facts: Facts) -> Iterator[Finding]:
    """Exact copies: across splits, across classes, or merely repeated.

    Args:
        samples: the pictures.
        facts: of each, in the same order; those without a hash are left out.

    Returns:
        Findings, group by group: labels that differ, several splits, or else a mere duplicate.
    """
    for members in facts.copies():
        yield from _copies(samples, members)


def _copies(samples: Samples, members: list[int]) -> Iterator[Finding]:
    paths = [samples.paths[i] for i in members]
    labels = [samples.label(i) for i in members]
    # The copy in test counts most, then val: what is left out comes from the others.
    worth = {"test": 0, "val": 1}
    ranked = sorted(members, key=lambda i: (worth.get(samples.split[i] or "", 2), i))
    rest = tuple(samples.paths[i] for i in ranked[1:])
    if len(set(labels)) > 1:
        pairs = sorted(zip(paths[1:], labels[1:], strict=True), key=lambda pair: pair[1] == labels[0])  # others first
        detail = f"({labels[0]}) is the same file as " + _some([f"{shown(path)} ({label})" for path, label in pairs])
        yield Finding.of("conflict", paths[0], detail, tuple(paths), pairs[0][0])
        rest = ()
    if len({samples.split[i] for i in members} - {None}) > 1:
        first = samples.paths[ranked[0]]
        others = _some([f"{shown(samples.paths[i])} ({samples.split[i]})" for i in ranked[1:]])
        detail = f"({samples.split[ranked[0]]}) is the same file as {others}"
        yield Finding.of("leakage", first, detail, rest, samples.paths[ranked[1]])
    elif len(set(labels)) == 1:
        copies = _some([shown(path) for path in paths[1:]])
        yield Finding.of("duplicate", paths[0], f"is the same file as {copies}", rest, paths[1])


def _some(texts: Sequence[str]) -> str:
    """The first of them, and how many more: one blank page may be there by the thousand."""
    more = f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + more


def look_alikes(samples: Samples, facts: Facts) -> Iterator[Finding]:
    """Pictures that look the same though their files differ (recompressed, rescaled, shot again).

    Args:
        samples: the pictures.
        facts: of each, in the same order; those that were not decoded have no likeness and are left out.

    Returns:
        Findings. Of a cluster of n look-alikes n-1 pairs are given, those across splits or labels first.
    """
    among = facts.seen().copy()
    among[[i for _, *others in facts.copies() for i in others]] = False  # of these `about_copies` tells
    state = lambda i: (samples.split[i], samples.label(i))  # noqa: E731
    for i, j, bits in near_pairs(facts.likenesses(), among, facts.thumbnails, state):
        torn = len({samples.split[i], samples.split[j]} - {None}) > 1
        mixed = samples.label(i) != samples.label(j)
        where = f" ({samples.split[i]} and {samples.split[j]})" if torn else ""
        label = f" ({samples.label(i)} and {samples.label(j)})" if mixed else ""
        kind = "near_leakage" if torn else "near_conflict" if mixed else "near_duplicate"
        detail = f"looks like {shown(samples.paths[j])}{where}{label}; {bits} of 256 bits differ"
        yield Finding.of(kind, samples.paths[i], detail, (), samples.paths[j])


def about_classes(samples: Samples) -> Iterator[Finding]:
    """Classes that are small, by themselves or beside the others."""
    if samples.kind.numbers or len(samples) == 0:
        return
    counts = Counter(samples.counts())
    for name, number in sorted(counts.items(), key=lambda item: item[1]):
        if number < FEW:
            yield Finding.of("few", None, f"class {shown(name)} has {plural(number, 'picture')}")
    (most, high), (least, low) = counts.most_common()[0], counts.most_common()[-1]
    if high > IMBALANCE * max(1, low):
        much = f"class {shown(most)} has {plural(high, 'picture')}"
        yield Finding.of("imbalance", None, f"{much}, class {shown(least)} has {low}")
