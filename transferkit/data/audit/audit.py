"""What is wrong with the pictures, before they are trained on. Reads only: no file is changed or deleted.

`check` decodes everything once; `quick` reads headers and hashes; `hashed` does so before every training.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from transferkit.data.audit.checks import KINDS, about_classes, about_copies, about_pictures, look_alikes
from transferkit.data.audit.checks import Finding as Finding
from transferkit.data.audit.checks import LabelIssue as LabelIssue
from transferkit.data.audit.image_facts import header, picture_by_content
from transferkit.data.audit.many_facts import Facts, examine_all
from transferkit.data.containers.places import is_folder
from transferkit.data.readers.folder import judge, samples_of, unwrapped, walk_folder
from transferkit.data.readers.registry import chosen
from transferkit.data.readers.request import Reading
from transferkit.data.readers.walk import Walk, kinds
from transferkit.data.samples import Samples, listed, shown
from transferkit.data.source import Data, ScanOptions, exclusion, scan
from transferkit.data.threads import map_ordered
from transferkit.errors import DataError
from transferkit.quantities import plural


@dataclass(frozen=True)
class Audit:
    """Findings, worst first, with what was looked at."""

    origin: str
    pictures: int
    findings: tuple[Finding, ...]
    classes: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    root: Path | None = None
    deep: bool = True
    label_issues: tuple[LabelIssue, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that should be put right before training."""
        return tuple(f for f in self.findings if f.severity == "error")

    def counts(self) -> dict[str, int]:
        """Findings per kind, worst first."""
        return dict(Counter(f.kind for f in self.findings))

    def excluded(self) -> tuple[str, ...]:
        """Paths whose exclusion settles the findings that leaving out a picture can settle."""
        return tuple(dict.fromkeys(path for f in self.findings for path in f.exclude))

    def exclusions(self) -> str:
        """The text of an exclusion file (`--exclude-file`), each path under the reason for it."""
        lines = [f"# transferkit: pictures to leave out of {shown(self.origin)}"]
        done: set[str] = set()
        for finding in self.findings:
            paths = [path for path in finding.exclude if path not in done]
            if paths:
                lines.append(f"# {finding.kind}: {shown(finding.path or '')} {finding.detail}")
            lines += [_line(path) for path in paths]
            done.update(paths)
        return "\n".join(lines) + "\n"

    def adding(self, issues: Sequence[LabelIssue]) -> Audit:
        """This audit with labels that may be wrong, the least sure first."""
        findings = _ordered([*self.findings, *(issue.finding() for issue in issues)])
        return replace(self, findings=findings, label_issues=tuple(issues))

    def to_json(self) -> dict[str, object]:
        """Plain data for `files.write_json`; paths as they are, undecodable bytes as surrogates."""
        return {
            "origin": self.origin,
            "pictures": self.pictures,
            "classes": self.classes,
            "formats": self.formats,
            "complete": self.deep,
            "counts": self.counts(),
            "findings": [asdict(finding) for finding in self.findings],
            **({"doubtful_labels": [asdict(issue) for issue in self.label_issues]} if self.label_issues else {}),
        }

    def brief(self) -> str:
        """What should be looked at, on one line: errors and warnings by number; empty where there is nothing."""
        found = Counter(f.kind for f in self.findings if f.severity != "info" and f.kind not in ("note", "odd_name"))
        return ", ".join(f"{number} × {kind.replace('_', ' ')}" for kind, number in found.items())

    def summary(self) -> str:
        """A few lines for the terminal."""
        pictures, classes = plural(self.pictures, "picture"), plural(len(self.classes), "class")
        lines = [f"{pictures} in {classes}, {plural(len(self.errors), 'error')}"]
        for kind, number in self.counts().items():
            first = next(f for f in self.findings if f.kind == kind)
            where = f" {shown(first.path)}:" if first.path else ""
            if kind == "label" and self.label_issues:
                lines.append(f"  {first.severity:<7} {number:>5} × {kind}: listed below. {first.remedy}")
                continue
            lines.append(f"  {first.severity:<7} {number:>5} × {kind}:{where} {first.detail}. {first.remedy}")
        return "\n".join([*lines, *_listing(self.label_issues)])


def _listing(issues: Sequence[LabelIssue]) -> Iterator[str]:
    """Every doubtful label on a line of its own: the chance, what the label is and may have to be, the picture."""
    if not issues:
        return
    yield "Labels most in doubt, by the chance that the label is right:"
    changes = [f"{shown(issue.label) or 'none'} → {shown(issue.suggested) or 'none'}" for issue in issues]
    width = min(36, max(map(len, changes)))
    for issue, change in zip(issues, changes, strict=True):
        yield f"  {issue.said:>9}  {change:<{width}}  {shown(issue.path)}"


def check(
    data: Data,
    task: str | None = None,
    *,
    exclude: Sequence[str] = (),
    exclude_file: str | os.PathLike[str] | None = None,
    order: Sequence[str] | None = None,
    reading: Reading | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Every finding about a folder, a CSV, arrays or samples; data that cannot be scanned is audited all the same.

    Args:
        data: what `scan` reads.
        task: as for `scan`; None finds it from the data.
        exclude: classes, paths and patterns that are left out.
        exclude_file: a file of such, or None.
        order: all classes, the lowest first, for a task whose classes are ordered.
        reading: which reader, and how it is to read; None leaves both to the data.
        progress: is called with (done, total) after every picture.

    Returns:
        Findings of the scan, of each picture by itself, and of pictures among each other.

    Raises:
        DataError: only where there is no data at all; a table that cannot be read is a finding.
    """
    folder = Path(data).expanduser() if isinstance(data, str | os.PathLike) else None
    findings: list[Finding] = []
    if folder is not None and not (reading or order) and is_folder(folder) and _is_class_folders(folder):
        samples, found = _lenient(folder, exclude, exclude_file)
        findings += found
    else:
        how: ScanOptions = {
            "task": task, "exclude": exclude, "exclude_file": exclude_file, "order": order, "reading": reading,
        }  # fmt: skip
        try:
            samples = scan(data, **how, strict=False)
        except DataError as error:
            if folder is None or not folder.is_file():
                raise
            return Audit(str(folder), 0, tuple(_table_findings(folder, how, error)))
    findings += _notes(samples)
    facts = examine_all(samples.sources(), len(samples), progress)
    return _judged(samples, facts, findings, deep=True)


def _is_class_folders(folder: Path) -> bool:
    found = chosen(folder)
    return found is not None and found[0].name == "folder"


def quick(samples: Samples) -> Audit:
    """The cheap form, before every training: headers, hashes, exact duplicates, class balance.

    Args:
        samples: the pictures; hashes that they carry are not computed again.

    Returns:
        The audit, without what only decoding shows: cut files and look-alikes.
    """
    return _judged(samples, _headers(samples), _notes(samples), deep=False)


def hashed(samples: Samples) -> tuple[Samples, Audit]:
    """`Samples.hashed` and `quick`, from one opening of each picture.

    Args:
        samples: the pictures.

    Returns:
        The samples with a SHA-256 each, and their audit.

    Raises:
        DataError: a file cannot be hashed, as of `Samples.hashed`.
    """
    facts = _headers(samples)
    found = tuple(fact.sha256 for fact in facts if fact.sha256 is not None)
    samples = replace(samples, sha256=found) if len(found) == len(samples) else samples.hashed()
    return samples, _judged(samples, facts, _notes(samples), deep=False)


def _headers(samples: Samples) -> Facts:
    known = samples.sha256 or (None,) * len(samples)
    return Facts(map_ordered(lambda item: header(*item), zip(samples.sources(), known, strict=True)))


def _judged(samples: Samples, facts: Facts, findings: list[Finding], deep: bool) -> Audit:
    findings = [
        *findings,
        *about_pictures(samples, facts),
        *about_copies(samples, facts),
        *look_alikes(samples, facts),
        *about_classes(samples),
    ]
    formats = Counter(fact.format or "unreadable" for fact in facts)
    return Audit(
        origin=samples.origin,
        pictures=len(samples),
        findings=_ordered(findings),
        classes=samples.counts() if len(samples) else {},
        formats=dict(formats.most_common()),
        root=samples.root,
        deep=deep,
    )


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by kind as in `KINDS`; within a kind as they came."""
    rank, kinds = {"error": 0, "warning": 1, "info": 2}, list(KINDS)
    return tuple(sorted(findings, key=lambda f: (rank[f.severity], kinds.index(f.kind))))


def _lenient(
    folder: Path, exclude: Sequence[str], exclude_file: str | os.PathLike[str] | None
) -> tuple[Samples, list[Finding]]:
    """Samples of a folder however broken it is, and what `scan` would have refused."""
    rule = exclusion(folder, exclude, exclude_file)
    walk = walk_folder(unwrapped(folder), rule)
    rule.check_used()
    findings = [Finding.of("unreadable", path, reason, (path,)) for path, reason in walk.unreadable]
    walk.unreadable.clear()  # said above, one by one
    judge(walk)
    findings += [Finding.of("structure", None, problem) for problem in walk.problems]
    return rule.relabelled(samples_of(walk), None), [*findings, *_other_files(walk)]


def _other_files(walk: Walk) -> Iterator[Finding]:
    """Files that are not used: hidden ones, pictures under another name, and the rest by number."""
    other = []
    for path in walk.other:
        if kind := picture_by_content(walk.root / path):
            named = os.path.splitext(path)[1].lower() or "no extension"
            yield Finding.of("misnamed", path, f"is {kind} by content, but {named}")
        else:
            other.append(path)
    if walk.hidden:
        yield Finding.of("hidden", None, f"{len(walk.hidden)} hidden or system files: {listed(walk.hidden, 3)}")
    if other:
        what = "that is no picture" if len(other) == 1 else "that are no pictures"
        yield Finding.of("other_file", None, f"{plural(len(other), 'file')} {what}: {kinds(other)}")


def _notes(samples: Samples) -> list[Finding]:
    ignored = ("hidden or system files", "other file ignored", "other files ignored", "excluded on request")
    notes = [note for note in samples.notes if not any(words in note for words in ignored)]
    return [Finding.of("odd_name" if "class" in note else "note", None, note) for note in notes]


def _table_findings(table: Path, how: ScanOptions, error: DataError) -> Iterable[Finding]:
    try:
        scan(table, **how)
    except DataError as full:  # with the files that are missing
        error = full
    lines = str(error).split("\n  - ")
    return (Finding.of("table", None, line) for line in (lines[1:] if len(lines) > 1 else lines))


def _line(path: str) -> str:
    """One line of an exclusion file; names that would not survive as a line are quoted as JSON."""
    plain = path.isprintable() and path == path.strip() and not path.startswith(("#", '"'))
    return path if plain else json.dumps(path)
