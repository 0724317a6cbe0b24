"""Everything that report and card show of a run, read from its directory and the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferkit import tasks, terms
from transferkit.backbones.catalog import ROWS
from transferkit.data.images.decode import DecodeSettings, Intensity, PictureError, open_picture
from transferkit.delivery.explain import overlays
from transferkit.delivery.next_steps import next_steps
from transferkit.delivery.report.content import Example, ReportContent
from transferkit.delivery.report.effective import effective, given, led_to_it
from transferkit.delivery.statements import looks, networks
from transferkit.evaluation import calibration, counts
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.quantities import duration, figure, plural
from transferkit.record import HistoryRow
from transferkit.runs import model_file, pictures
from transferkit.runs.layout import Layout
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.run_record import RunRecord, WeightsRecord
from transferkit.runs.tables import Predictions
from transferkit.tuning import gallery

if TYPE_CHECKING:
    import keras


SHOWN = 12  # pictures in a gallery
PICTURE = 320  # pixels on the long side, in a gallery


def report_content(layout: Layout, model: keras.Model | None = None) -> ReportContent:
    """Everything the report and the card show, from the files of the run.

    Args:
        layout: of the run.
        model: the run's, where it has been loaded from its file already.
    """
    manifest, metrics = layout.complete(), layout.read_metrics()
    layout.check_model()
    facts, table = model_file.facts(layout.model), layout.read_predictions()
    config, source = manifest.config, manifest.weights.source
    members = networks(config.backbone, metrics)
    backbone, name = " + ".join(map(called, members)), Path(manifest.data.path or "arrays").name
    content = ReportContent(
        title=f"{name}, {backbone}",
        created=manifest.started,
        version=manifest.versions.get("transferkit", ""),
        **_training(layout, manifest, metrics),
        counts=manifest.data.parts,
        summary=_story(manifest, metrics),
        findings=[f"left out: {one.path}: {one.reason}" for one in manifest.data.skipped] + manifest.warnings,
        settings=effective(manifest, metrics, facts),
        given=given(manifest),
        steps=next_steps(layout, manifest, metrics),
        timings=manifest.timings,
        command=manifest.command,
        environment={**manifest.versions, **manifest.hardware.as_json()},
        backbone=backbone,
        weights=source,
        weights_licence=_licences(members, manifest.weights),
        data_name=name,
        input_size=[facts.decode.size, facts.decode.size],
        resize=facts.decode.resize,
        intensity=facts.decode.intensity,
        places=[manifest.data.path or "arrays", manifest.working_directory, str(layout.folder.absolute())],
    )
    if metrics.search is not None:
        search = metrics.search
        layout.check_sealed(layout.journal)
        content["search"] = gallery.content(layout.journal, search.metric, search.maximise, search.importance)
    if len(table):
        _add_pictures(content, layout, table, facts, model)
    return content


def content_of_training(layout: Layout, record: RunRecord, metrics: MetricsRecord) -> ReportContent:
    """What of `report_content` the figures of the training show, once the model is saved: run.json and metrics.json
    need not be whole yet.

    Args:
        layout: of the run.
        record: run.json so far.
        metrics: metrics.json so far.
    """
    content = _training(layout, record, metrics)
    content["settings"] = effective(record, metrics, model_file.facts(layout.model))
    return content


def content_of_test(layout: Layout, metrics: MetricsRecord) -> ReportContent:
    """What of it the figures of the test pictures show, once they are scored.

    Args:
        layout, metrics: as for `content_of_training`.
    """
    content, table = ReportContent(metrics=metrics), layout.read_predictions(metrics)
    if len(table):
        _add_answers(content, table)
    return content


def _training(layout: Layout, record: RunRecord, metrics: MetricsRecord) -> ReportContent:
    """How the training went."""
    shipped = [phase.name for phase in led_to_it(record)]
    history = [row for row in layout.read_history() if row.get("phase") in shipped]
    content = ReportContent(metrics=metrics, history=history, kept=_kept(history, record))
    if record.rate_curve and record.learning_rate is not None:
        content["learning_rate_range"] = record.rate_curve, record.learning_rate
    return content


def _add_answers(content: ReportContent, table: Predictions) -> None:
    """The reliability or regression plot of the test pictures, and the confusion matrix that metrics.json lacks."""
    task = tasks.of(table.task)
    if "confused" in content["metrics"].test and set(table.predicted) <= set(table.classes):
        content["confusion"] = _confusion(table)
    if task.numbers:
        content["regression"] = table.targets, table.outputs
    elif task.abstains:
        content["reliability"] = calibration.reliability(table.outputs, table.targets)


def _add_pictures(
    content: ReportContent, layout: Layout, table: Predictions, facts: ModelFacts, model: keras.Model | None
) -> None:
    """What the test pictures show, and those that are shown themselves."""
    found = pictures.proved(layout, _add_test(content, table))
    for examples in (content["errors"], content.get("confident", ()), content.get("uncertain", ())):
        for example in examples:
            example["picture"] = _picture(found.get(example["path"]), facts.decode.intensity)
    _add_overlays(content, layout, found, model)


def called(backbone: str) -> str:
    """A network's name; of a file its name without the folders."""
    return backbone if backbone.lower() in ROWS else Path(backbone).name


def _kept(history: list[HistoryRow], manifest: RunRecord) -> int | None:
    """The row of the history whose weights were kept."""
    best = manifest.chosen_phase.best_epoch if manifest.chosen_phase else None
    found = [i for i, row in enumerate(history) if row.get("phase") == manifest.chosen and row.get("epoch") == best]
    return found[0] if found else None


def _add_overlays(content: ReportContent, layout: Layout, found: dict[str, Path], model: keras.Model | None) -> None:
    """Where the model looked in its worst mistakes, for those whose picture is still there."""
    seen = [example for example in content["errors"] if example.get("picture") is not None]
    for example, overlay in zip(seen, overlays(layout, [found[e["path"]] for e in seen], model), strict=False):
        example["overlay"] = overlay


def _licences(names: list[str], weights: WeightsRecord) -> str:
    """Whose the pretrained weights of all networks are; empty where of one of several that is not known."""
    if len(names) == 1:
        return _licence(names[0], weights)
    found = [row.licence if (row := ROWS.get(name.lower())) is not None else "" for name in names]
    return "; ".join(dict.fromkeys(found)) if all(found) else ""


def _licence(backbone: str, weights: WeightsRecord) -> str:
    """Whose the pretrained weights are, as the run or the catalog states it; empty for others than its own."""
    row = ROWS.get(backbone.lower())
    if row is None:
        return weights.licence
    return row.licence if weights.source == row.pretrained else ""


def _story(manifest: RunRecord, metrics: MetricsRecord) -> list[str]:
    """What was done, one sentence a step."""
    data, names = manifest.data, " + ".join(map(called, networks(manifest.config.backbone, metrics)))
    story = [
        f"{plural(data.n, 'picture')} were split into "
        + ", ".join(f"{n:,} {terms.part(part)}" for part, n in data.parts.items()),
        f"The pretrained network {names} ({manifest.weights.source} weights) ran in "
        f"{manifest.precision.name} ({manifest.precision.reason})",
    ]
    for phase in led_to_it(manifest):
        kept = "; this phase was kept" if phase.name == manifest.chosen else ""
        if not phase.epochs:
            story.append(
                f"The {terms.phase(phase.name)} is a {phase.trained}, chosen by cross-validation and fitted in "
                f"one step ({plural(phase.parameters, 'weight')}) in {duration(phase.seconds)}{kept}"
            )
            continue
        name, score = terms.phase(phase.name, technical=True), terms.score(metrics.goal)
        story.append(
            f"Phase {name} trained {phase.trained} ({plural(phase.parameters, 'weight')}, inputs "
            f"{phase.source}) for {plural(phase.epochs, 'epoch')} in {duration(phase.seconds)}: "
            f"{score} {figure(phase.score)} on validation{kept}"
        )
    if tasks.of(metrics.task).calibrated:
        story.append(f"Confidence was calibrated on validation: temperature {metrics.temperature:.2f}")
    if data.parts.get("test"):
        seen = looks(metrics)
        story.append(
            "The test split was scored once, by the saved model, after every choice had been made"
            + (f"; {seen}" if seen else "")
        )
    else:
        story.append("There was no test split, so nothing here says how good the model is on new pictures")
    return [*story, *manifest.notes]


def _add_test(content: ReportContent, table: Predictions) -> list[str]:
    """Galleries, and the reliability or regression plot; returns the paths of the pictures that are to be shown."""
    _add_answers(content, table)
    if tasks.of(table.task).numbers:
        order = np.argsort(-np.abs(table.targets - table.outputs).mean(1))
        content["errors"] = [_example(table, i) for i in order[:SHOWN]]
        return [e["path"] for e in content["errors"]]
    wrong = np.array([true != answer for true, answer in zip(table.labels, table.predicted, strict=True)])
    order = np.argsort(-table.confidence, kind="stable")
    # Only what is shown is opened.
    content["errors"] = [_example(table, i) for i in order[wrong[order]][:SHOWN]]
    content["confident"] = [_example(table, i) for i in order[~wrong[order]][: SHOWN // 2]]
    content["uncertain"] = [_example(table, i) for i in order[::-1][: SHOWN // 2]]
    return [e["path"] for name in ("errors", "confident", "uncertain") for e in content[name]]


def _confusion(table: Predictions) -> Any:
    """Counts [C, C] of the test pictures."""
    number = {name: i for i, name in enumerate(table.classes)}
    return counts.confusion(table.targets, np.array([number[name] for name in table.predicted]), len(number))


def _example(table: Predictions, row: int) -> Example:
    sure = float(table.confidence[row])
    label, predicted = table.labels[row], table.predicted[row]
    if tasks.of(table.task).numbers:
        label, predicted = _numbers(table.targets[row]), _numbers(table.outputs[row])
    return Example(
        path=table.paths[row],
        label=label,
        predicted=predicted,
        confidence=None if np.isnan(sure) else sure,
    )


def _numbers(values: Any) -> str:
    """With as many digits as one can take in."""
    return "; ".join(f"{float(value):.4g}" for value in np.ravel(values))


def _picture(path: Path | None, intensity: Intensity) -> Any:
    """uint8 thumbnail, or None where the picture is no longer there (arrays, moved or changed data)."""
    if path is None:
        return None
    try:
        image = open_picture(path, DecodeSettings(PICTURE, intensity=intensity))
    except PictureError:
        return None
    image.thumbnail((PICTURE, PICTURE))
    return np.asarray(image)
