"""From a finished run to what people look at: figures, report, card. Reads the run directory and the pictures only."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit import files
from transferkit.console import Reporter
from transferkit.delivery.report.card import write_card
from transferkit.delivery.report.content import ReportContent
from transferkit.delivery.report.drawings import (
    Drawing,
    Drawn,
    drawings,
    facts_of_search,
    facts_of_test,
    facts_of_training,
)
from transferkit.delivery.report.report import write_report
from transferkit.delivery.report.run_content import content_of_test, content_of_training, report_content
from transferkit.errors import TransferKitError
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.runs.directory import standing
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import RunRecord

if TYPE_CHECKING:
    import keras

    from transferkit.delivery.report.beside import Draughtsman
    from transferkit.runs.assessment import Told


def publish(
    layout: Layout, reporter: Reporter, model: keras.Model | None = None, drawing: Draughtsman | None = None
) -> Path:  # fmt: skip
    """Write figures/*.png, report.html and CARD.md of a finished run.

    Args:
        layout: of the run.
        reporter: is told of it.
        model: the run's, where it has been loaded from its file already.
        drawing: has drawn the figures, if it was told in time what they show.

    Returns:
        The report's path.

    Raises:
        RunError: the run is damaged, or was moved away meanwhile.
    """
    figures = layout.written(layout.figures)
    with reporter.step("writing the report"):
        content = report_content(layout, model)
        drawn = _drawn(content, drawing)
        images = {name: one.png() for name, one in drawn.items()}
        with standing(layout, "write the report where it is now"):
            for folder in (layout.folder, figures):
                files.remove_abandoned(folder)
            for name, image in images.items():
                files.write_bytes(figures / f"{name}.png", image)
            write_card(content, layout.card)
            return write_report(content, layout.report, drawn)


def _drawn(content: ReportContent, drawing: Draughtsman | None) -> Mapping[str, Drawing | Drawn]:
    """The figures: those that were drawn of the very same facts, or new ones."""
    if drawing is not None:
        search = content.get("search")
        with suppress(ValueError):  # infinity, the score of an epoch of which the metric says nothing, is no JSON
            texts = [facts_of_training(content), facts_of_test(content)]
            texts += [] if search is None else [facts_of_search(search)]
            found = [drawing.drawn(text) for text in texts]
            if None not in found:
                return {name: one for part in found if part is not None for name, one in part.items()}
    return drawings(content)


def drawn_when_known(layout: Layout, drawing: Draughtsman | None) -> Told | None:
    """What has each figure of a run drawn as soon as it is known what it shows (`runs.finetune.Job.told`).

    Args:
        layout: of the run.
        drawing: draws them; None: they are drawn when the report is written.
    """
    if drawing is None:
        return None

    def ask(record: RunRecord, metrics: MetricsRecord, scored: bool) -> None:
        with suppress(TransferKitError, ValueError):  # what is wrong there is told by `publish`
            drawing.ask(facts_of_training(content_of_training(layout, record, metrics)))
            if scored:
                drawing.ask(facts_of_test(content_of_test(layout, metrics)))

    return ask
