"""Where a run's model looked: heat maps over pictures, by default over its most confident mistakes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from transferkit import files, tasks
from transferkit.console import Reporter
from transferkit.data.containers.films import copy_name
from transferkit.data.images.decode import fit, open_pixels
from transferkit.data.samples import Source, shown
from transferkit.errors import ConfigError, DataError, nearest
from transferkit.evaluation import heatmaps
from transferkit.runs import model_file, pictures
from transferkit.runs.directory import standing
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.results import decide
from transferkit.runs.tables import Predictions

LARGEST = 1024  # pixels on the long side of an overlay
BLOCK = 16  # pictures held at a time


@dataclass(frozen=True)
class Explanation:
    """Which places of a picture spoke for `output` (a class, label or target).

    `heat` float32 [h, w] in 0…1 and `overlay` uint8 [h, w, 3] lie over the whole upright picture, at most 1,024 pixels
    wide or high. `label` and `confidence` are the model's answer.
    """

    path: str
    label: str
    confidence: float | None
    output: str
    method: str
    heat: npt.NDArray[np.float32]
    overlay: npt.NDArray[np.uint8]

    def save(self, path: str | Path) -> Path:
        """Write the overlay as PNG."""
        files.write_bytes(Path(path), self._repr_png_())
        return Path(path)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.overlay).save(buffer, "PNG")
        return buffer.getvalue()


class Explaining:
    """A run's model made ready to explain; `stream` as often as wanted. Raises ConfigError where it cannot."""

    def __init__(self, model: Any, facts: ModelFacts, method: str = "grad-cam") -> None:
        from transferkit import compute

        self.facts, self.method = facts, method
        self._settings = facts.decoding()
        self._heats = heatmaps.explainer(model, method)
        self._forward = compute.forward(model)

    @classmethod
    def of(cls, layout: Layout, method: str = "grad-cam") -> Explaining:
        """From a finished run."""
        layout.complete()
        layout.check_model()
        return cls(model_file.load(layout.model), model_file.facts(layout.model), method)

    def stream(self, sources: Sequence[Source], output: str | None = None) -> Iterator[Explanation]:
        """An explanation of each picture, in order: of `output` by name, or of what the model answers.

        Raises ConfigError for an unknown `output`, PictureError for a picture that cannot be read.
        """
        wanted = None if output is None else self._number(output)
        for start in range(0, len(sources), BLOCK):
            yield from self._block(sources[start : start + BLOCK], wanted)

    def _number(self, output: str) -> int:
        names = self.facts.classes
        if output not in names:
            known = f"; known: {', '.join(map(shown, names[:20]))}"
            raise ConfigError(f"'{shown(output)}' is no output of this model{nearest(output, names) or known}")
        return int(names.index(output))

    def _block(self, sources: Sequence[Source], wanted: int | None) -> Iterator[Explanation]:
        # The decoder's pixels, which the model answers for; copied, since their memory is used again.
        images = [Image.fromarray(open_pixels(source, self._settings).copy()) for source in sources]
        pixels = np.stack([fit(image, self._settings) for image in images])
        filled = np.concatenate([pixels, np.repeat(pixels[:1], BLOCK - len(pixels), axis=0)])
        answers = self._forward([filled])[0][: len(pixels)]
        outputs = tasks.of(self.facts.task).decide(answers) if wanted is None else np.full(len(pixels), wanted)
        heats = self._heats(pixels, outputs)
        names, task = self.facts.classes, self.facts.task
        for source, image, answer, number, heat in zip(sources, images, answers, outputs, heats, strict=True):
            image.thumbnail((LARGEST, LARGEST))
            picture, resize = np.asarray(image), self._settings.resize
            label, confidence = decide(task, answer, names, self.facts.thresholds)
            yield Explanation(
                str(source) if isinstance(source, Path) else "array",
                label,
                float(confidence) if confidence else None,
                names[number],
                self.method,
                heatmaps.place(heat, resize, image.size),
                heatmaps.overlay(picture, heat, resize),
            )


def worst(layout: Layout, count: int = 12) -> list[Path]:
    """The pictures of the test split that the model got wrong, most confident first (numbers: furthest off). Where it
    got none wrong, those that it was least sure of.

    Args:
        layout: of the run.
        count: how many at most.

    Raises:
        DataError: there is no test split, or the run's pictures are no longer there as they were.
    """
    table = layout.read_predictions()
    if not len(table):
        raise DataError(f"{layout.folder} has no test pictures; name pictures to explain")
    badness = _badness(table)
    order = np.argsort(-badness if badness.any() else table.confidence, kind="stable")
    chosen = [table.paths[i] for i in order if badness[i] > 0 or not badness.any()][:count]
    found = list(pictures.proved(layout, chosen).values())
    if not found:
        raise DataError(f"the run's pictures are no longer in {pictures.root_of(layout)}; name pictures to explain")
    return found


def _badness(table: Predictions) -> npt.NDArray[np.float64]:
    """How wrong each answer of predictions.csv is [N]; 0 where it is right."""
    if tasks.of(table.task).numbers:
        return np.asarray(np.abs(table.targets - table.outputs).mean(axis=1))
    wrong = [true != answer for true, answer in zip(table.labels, table.predicted, strict=True)]
    return np.where(wrong, table.confidence, 0.0)


def overlays(layout: Layout, paths: Sequence[Path], model: Any = None) -> list[npt.NDArray[np.uint8]]:
    """Grad-CAM overlays for a report, in order; none where the network gives no feature map and no grid of patches.

    Args:
        layout: of the run.
        paths: of the pictures.
        model: the run's, where it has been loaded already.
    """
    from transferkit import compute

    if not paths:
        return []
    compute.start()
    with compute.uncompiled():  # there are a dozen pictures at most
        try:
            explaining = Explaining.of(layout) if model is None else Explaining(model, model_file.facts(layout.model))
        except ConfigError:
            return []  # a vector backbone: `explain --method occlusion` would take minutes
        return [found.overlay for found in explaining.stream(paths)]


def explain_to(
    layout: Layout, paths: Sequence[Path], folder: Path, method: str, output: str | None, reporter: Reporter
) -> list[dict[str, str | float | None]]:
    """Write an overlay PNG per picture.

    Args:
        layout: of the run.
        paths: of the pictures.
        folder: of the overlays; made if absent.
        method: a name of `heatmaps.METHODS`.
        output: the class that is explained; None: each picture's answer.
        reporter: is told of the progress.

    Returns:
        A row for each picture.
    """
    explaining = Explaining.of(layout, method)
    rows = []
    moved = standing(layout, "explain it where it is now")
    with moved, reporter.progress("explaining", len(paths)) as advance:
        for number, found in enumerate(explaining.stream(paths, output), start=1):
            # Numbered: pictures of several folders may have one name.
            target = found.save(folder / f"{number:03d}-{Path(copy_name(found.path)).stem}.png")
            rows.append(
                {"path": found.path, "overlay": str(target), "predicted": found.label,
                 "confidence": found.confidence, "explained": found.output, "method": method}
            )  # fmt: skip
            advance(1)
    return rows
