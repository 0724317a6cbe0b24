"""What a run would do, how long it would take and what it would store: the answer of `finetune --dry-run`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from transferkit import tasks
from transferkit.backbones.build import LoadedBackbone
from transferkit.backbones.cut import calls_of, operations_of
from transferkit.backbones.freeze import is_counted
from transferkit.data.containers import places
from transferkit.data.images.opening import PictureError, read_header
from transferkit.data.samples import Part, Samples, listed, shown
from transferkit.features.cost import LARGE
from transferkit.features.store import root
from transferkit.features.stored_sets import room_for
from transferkit.quantities import duration, plural
from transferkit.training.adapting import Adapt, words
from transferkit.training.outlook import Outlook

if TYPE_CHECKING:
    import keras

LOOKED_AT = 100  # pictures whose headers say how large they are
WIDTH, INDENT = 79, 11


@dataclass(frozen=True)
class DryRun:
    """A run that was checked and measured, and not begun. Sides in pixels (shorter × longer), times in seconds.

    `tokens` are those that a vision transformer makes of a picture; None of other networks. `layers` are those with
    weights, `frozen_layers` those of them that no phase trains. `check` is what reading every
    picture once took just now, which the run does again. `needed` are the bytes that the folder `cache` would take,
    `free` those that are there for it; `asked` is what was said of storing features, if anything.
    """

    data: str
    pictures: int
    bytes: int
    sides: tuple[int, int] | None
    task: str
    classes: dict[str, int]
    parts: dict[Part, int]
    backbone: str
    weights: str
    image_size: int
    tokens: int | None
    parameters: int
    layers: int
    frozen_layers: int
    unfreeze: str
    adapt: Adapt
    views: int
    batch_size: int
    folds: int
    check: float
    outlook: Outlook
    needed: int
    free: int
    cache: str | None
    asked: bool | None
    output: str
    notes: list[str] = field(default_factory=list)

    @property
    def weighed(self) -> bool:
        """Whether the run will first measure if its activations are worth storing."""
        cuts = [kind for kind in self.outlook.stored if kind.label.startswith("cut")]
        return self.asked is None and any(kind.bytes >= LARGE for kind in cuts)

    @property
    def chooses(self) -> bool:
        """Whether the classifier is chosen by cross-validation, of which a neural network is only one candidate."""
        return any(kind.label.startswith("taps") for kind in self.outlook.stored)

    @property
    def seconds(self) -> float:
        """All of it, if no phase ends early."""
        return self.check + self.outlook.features + sum(phase.seconds for phase in self.outlook.phases)

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        found = asdict(self) | {"seconds": self.seconds}
        for phase, row in zip(self.outlook.phases, found["outlook"]["phases"], strict=True):
            row["seconds"] = phase.seconds
        return found

    def __str__(self) -> str:
        rows = [
            ("data", self._data()),
            ("splits", ", ".join(f"{n:,} {name}" for name, n in _named(self.parts)) + self._noted()),
            ("network", f"{self.backbone} (weights: {self.weights}), {self.parameters / 1e6:.1f} million parameters; "
             f"looks at {self.image_size}×{self.image_size} pixels{self._tokens()}"),
            ("frozen", self._frozen()),
            *(("trained" if not number else "then", text) for number, text in enumerate(self._trained())),
            ("features", self._features()),
            ("time", self._time()),
            ("disk", self._disk()),
            ("output", f"{shown(self.output)} (not made)"),
        ]  # fmt: skip
        lines = ["Plan: nothing has been trained, and no run was made."]
        for name, text in rows:
            lines += textwrap.wrap(
                text, WIDTH, initial_indent=f"  {name:<{INDENT - 2}}", subsequent_indent=" " * INDENT,
                break_on_hyphens=False, break_long_words=False,
            )  # fmt: skip
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For notebooks: the plan as it would stand in a terminal."""
        return f'<pre style="white-space:pre-wrap">{escape(str(self))}</pre>'

    def _data(self) -> str:
        what = tasks.of(self.task).outputs
        names = [name if tasks.of(self.task).numbers else f"{name} {n:,}" for name, n in self.classes.items()]
        sides = "" if self.sides is None else f" of about {self.sides[0]}×{self.sides[1]} pixels"
        size = f", {_amount(self.bytes)}" if self.bytes else ""
        return f"{shown(self.data)}: {plural(self.pictures, 'picture')}{sides}{size}; {what}: {listed(names, 8)}"

    def _noted(self) -> str:
        return "".join(f". {note}" for note in self.notes)

    def _tokens(self) -> str:
        return f", {self.tokens:,} tokens" if self.tokens else ""

    def _frozen(self) -> str:
        if not self.frozen_layers:
            return "nothing: the whole network is trained, so that nothing can be computed once and kept"
        first = self.outlook.phases[-1].first_trained
        if not first:
            return f"the whole network, {self.layers} layers with weights: its output is computed once and kept"
        return (
            f"{self.frozen_layers} of {self.layers} layers with weights, those below {first} (--unfreeze "
            f"{self.unfreeze}); what comes out of them is computed once and kept"
        )

    def _trained(self) -> Sequence[str]:
        found = []
        for number, phase in enumerate(self.outlook.phases):
            how = f"{words(self.adapt)} in " if words(self.adapt) else ""
            above = f"{phase.name}: {how}the layers from {phase.first_trained or 'the first'} on"
            what = above if number else "the head"
            times = f", and once for each of {self.folds} folds" if self.folds and not number else ""
            found.append(
                f"{what}, {phase.parameters:,} parameters; at most {plural(phase.epochs, 'epoch')}{times}, "
                f"{phase.steps:,} steps of {self.batch_size} pictures"
            )
        return found

    def _features(self) -> str:
        parts = []
        for kind in self.outlook.stored:
            here = (
                "none of them" if not kind.cached else "all of them" if kind.cached == kind.rows else f"{kind.cached:,}"
            )
            what = "activations at the cut" if kind.label.startswith("cut") else "the network's output"
            parts.append(f"{what}, {kind.rows:,} rows, {here} in the cache")
        views = f" and {plural(self.views, 'random view')}" if self.views else ""
        return f"the clean picture{views} of each training picture; {'; '.join(parts)}"

    def _time(self) -> str:
        o, rate, read = self.outlook, 1 / max(self.outlook.forward, 1e-9), 1000 * self.outlook.decode
        more = "choosing among the other candidates, " if self.chooses else ""
        phases = "".join(f", {'head' if not n else p.name} {duration(p.seconds)}" for n, p in enumerate(o.phases))
        return (
            f"about {duration(self.seconds)}, if no phase ends early: checking {duration(self.check)}, features "
            f"{duration(o.features)}{phases}; {more}scoring and report come on top. Measured on "
            f"{plural(o.pictures, 'picture')}: {read:.1f} ms to read one and draw its views, {rate:,.0f} views a "
            f"second through the frozen part ({o.precision})"
        )

    def _disk(self) -> str:
        if self.cache is None:
            return "nothing is stored (--no-cache); features are kept in memory, or computed again each epoch"
        enough = (
            "" if self.needed <= self.free else "; that is too much: what does not fit is computed again each epoch"
        )
        if self.weighed:
            enough += "; activations are stored if that proves faster than computing them again"
        return (
            f"{_amount(self.needed)} more in the cache {shown(self.cache)}, which may take {_amount(self.free)}{enough}"
            if self.needed
            else f"nothing more in the cache {shown(self.cache)}"
        )


def _named(parts: dict[Part, int]) -> list[tuple[str, int]]:
    return [("validation" if name == "val" else name, n) for name, n in parts.items()]


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1e5) / 1e6:.1f} MB"


def tokens(model: keras.Model) -> int | None:
    """The most tokens that a network of tokens computes with; None for one whose output is no tokens."""
    if len(model.output_shape) != 3:
        return None
    shapes = [tensor.shape for call in calls_of(model) for tensor in call.output_tensors]
    # A layer may leave some out at the end, as registers.
    return max(shape[1] or 0 for shape in shapes if len(shape) == 3 and shape[2] == model.output_shape[2]) or None


def layers(backbone: LoadedBackbone, outlook: Outlook) -> tuple[int, int]:
    """Layers with weights: all, and those that no phase trains.

    Args:
        backbone: the network.
        outlook: the phases that are planned.
    """
    operations = operations_of(backbone.model)
    names = [operation.name for operation in operations]
    first = len(operations)
    for phase in outlook.phases[1:]:
        first = min(first, names.index(phase.first_trained) if phase.first_trained else 0)
    return sum(map(is_counted, operations)), sum(map(is_counted, operations[:first]))


def sizes(samples: Samples) -> tuple[int, tuple[int, int] | None]:
    """Bytes of all picture files (0 for arrays), and the median shorter and longer side of up to `LOOKED_AT`."""
    sources = [samples.source(i) for i in range(len(samples))]
    total = sum(places.size(s) for s in sources if isinstance(s, Path))
    sides: list[tuple[int, ...]] = []
    for index in np.linspace(0, len(sources) - 1, min(len(sources), LOOKED_AT)).astype(int):
        source = sources[int(index)]
        with suppress(PictureError, OSError):
            sides.append(
                tuple(sorted(source.shape[:2] if isinstance(source, np.ndarray) else read_header(source).size))
            )
    return total, (int(median(s[0] for s in sides)), int(median(s[1] for s in sides))) if sides else None


def disk(outlook: Outlook, cache: bool | None) -> tuple[int, int, str | None]:
    """Bytes that the cache would take, those that are there for it, and where it is (None: nothing is stored).

    Args:
        outlook: what would be stored.
        cache: what was asked for, if anything.
    """
    if cache is False:
        return 0, 0, None
    _, _, free = room_for(1, 1)
    return sum(kind.bytes for kind in outlook.stored), free, str(root())
