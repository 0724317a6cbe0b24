"""From a finished run to what people look at: figures, report, card. Reads the run directory and the pictures only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from transferkit import files
from transferkit.backbones.catalog import ROWS
from transferkit.console import Reporter, duration, plural
from transferkit.data.decode import PictureError, open_picture
from transferkit.data.samples import Pinned, shown
from transferkit.delivery.card import write_card
from transferkit.delivery.content import Example, ReportContent
from transferkit.delivery.drawings import drawings
from transferkit.delivery.explain import hashes, overlays
from transferkit.delivery.report import write_report
from transferkit.evaluation import calibration
from transferkit.runs import model_file
from transferkit.runs.layout import Layout
from transferkit.tuning import gallery

SHOWN = 12  # pictures in a gallery
PICTURE = 320  # pixels on the long side, in a gallery


def publish(layout: Layout, reporter: Reporter) -> Path:
    """Write figures/*.png, report.html and CARD.md of a finished run; returns the report's path."""
    reporter.say("writing the report")
    content = report_content(layout)
    drawn = drawings(content, content["task"])
    for name, drawing in drawn.items():
        files.write_bytes(layout.figures / f"{name}.png", drawing.png())
    write_card(content, layout.card)
    return write_report(content, layout.report, drawn)


def report_content(layout: Layout) -> ReportContent:
    """Everything the report and the card show, from the files of the run."""
    manifest, metrics = layout.complete(), layout.read_metrics()
    config, task = manifest["config"], metrics["task"]
    facts = model_file.facts(layout.model)
    rows = files.read_csv(layout.predictions)
    content = ReportContent(
        title=f"{Path(manifest['data']['path']).name}, {config['backbone']}",
        task=task,
        classes=metrics["classes"],
        created=manifest["started"],
        version=manifest["versions"]["transferkit"],
        goal=metrics["goal"],
        metrics=metrics,
        counts=manifest["data"]["parts"],
        summary=_story(manifest, metrics),
        history=layout.read_history(),
        findings=[f"left out: {shown(e['path'])}: {e['reason']}" for e in manifest["data"].get("skipped", [])]
        + manifest["warnings"],
        settings=config,
        timings=manifest["timings"],
        command=manifest["command"],
        environment={**manifest["versions"], **manifest["hardware"]},
        backbone=config["backbone"],
        weights=manifest["weights"]["source"],
        weights_licence=_licence(config["backbone"], manifest["weights"]["source"]),
        data_name=Path(manifest["data"]["path"]).name,
        input_size=[facts["decode"]["size"], facts["decode"]["size"]],
    )
    if manifest["rate_curve"]:
        chosen = float(manifest["learning_rate"])
        content["learning_rate_range"] = {"curve": manifest["rate_curve"], "chosen": chosen}
    if "search" in metrics:
        content["search_figures"] = gallery.builders(layout, metrics["search"])
    curve = metrics.get("learning_curve")
    if curve:
        content["learning_curve"] = {key: curve[key] for key in ("sizes", "scores", "fit")}
    if rows:
        known = hashes(layout)
        rows = [{**row, "sha256": known.get(row["path"], "")} for row in rows]
        _add_test(content, rows, metrics, Path(manifest["data"]["path"]))
        _add_overlays(content, layout, Path(manifest["data"]["path"]))
    return content


def _add_overlays(content: ReportContent, layout: Layout, data: Path) -> None:
    """Where the model looked in its worst mistakes, for those whose picture is still there."""
    root = data if data.is_dir() else data.parent
    seen = [example for example in content["errors"] if example.get("picture") is not None]
    for example, overlay in zip(seen, overlays(layout, [root / e["path"] for e in seen]), strict=False):
        example["overlay"] = overlay


def _licence(backbone: str, source: str) -> str:
    """Whose the pretrained weights are, as the catalog states it; empty for others than its own."""
    row = ROWS.get(backbone.lower())
    return row.licence if row is not None and source == row.pretrained else ""


def _story(manifest: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    """What was done, one sentence a step."""
    config, data = manifest["config"], manifest["data"]
    story = [
        f"{plural(data['n'], 'picture')} were split into "
        + ", ".join(f"{n:,} {part}" for part, n in data["parts"].items()),
        f"The backbone {config['backbone']} ({manifest['weights']['source']} weights) ran in "
        f"{manifest['precision']['name']} ({manifest['precision']['reason']})",
    ]
    for phase in manifest["phases"]:
        kept = "; this phase was kept" if phase["name"] == manifest["chosen"] else ""
        story.append(
            f"Phase {phase['name']} trained {phase['trained']} ({plural(phase['parameters'], 'weight')}, inputs "
            f"{phase['source']}) for {plural(phase['epochs'], 'epoch')} in {duration(phase['seconds'])}: "
            f"{metrics['goal']} {phase['score']:.3f} on validation{kept}"
        )
    if metrics["task"] != "regress":
        story.append(f"Confidence was calibrated on validation: temperature {metrics['temperature']:.2f}")
    if data["parts"].get("test"):
        story.append("The test split was scored once, by the saved model, after every choice had been made")
    else:
        story.append("There was no test split, so nothing here says how good the model is on new pictures")
    return [*story, *manifest["notes"]]


def _add_test(content: ReportContent, rows: list[dict[str, str]], metrics: dict[str, Any], data: Path) -> None:
    """Galleries, and the reliability or regression plot, from predictions.csv."""
    root, task = data if data.is_dir() else data.parent, metrics["task"]
    if task == "regress":
        names = metrics["classes"]
        targets = np.array([[float(v) for v in row["label"].split(";")] for row in rows])
        guesses = np.array([[float(row[f"y_{n}"]) for n in names] for row in rows])
        content["regression"] = {"targets": targets, "predictions": guesses}
        order = np.argsort(-np.abs(targets - guesses).mean(1))
        content["errors"] = [_example(rows[i], root) for i in order[:SHOWN]]
        return
    confidence = np.array([float(row["confidence"]) for row in rows])
    wrong = np.array([row["label"] != row["predicted"] for row in rows])
    order = np.argsort(-confidence, kind="stable")
    # Only what is shown is opened.
    content["errors"] = [_example(rows[i], root) for i in order[wrong[order]][:SHOWN]]
    content["confident"] = [_example(rows[i], root) for i in order[~wrong[order]][: SHOWN // 2]]
    content["uncertain"] = [_example(rows[i], root) for i in order[::-1][: SHOWN // 2]]
    if task == "classify":
        probs = np.array([[float(row[f"p_{name}"]) for name in metrics["classes"]] for row in rows])
        index = {name: i for i, name in enumerate(metrics["classes"])}
        targets = np.array([index[row["label"]] for row in rows])
        content["reliability"] = calibration.reliability(probs, targets)


def _example(row: dict[str, str], root: Path) -> Example:
    return Example(
        path=row["path"],
        label=row["label"],
        predicted=row["predicted"],
        confidence=float(row["confidence"]) if row["confidence"] else None,
        picture=_picture(root / row["path"], row["sha256"]),
    )


def _picture(path: Path, sha256: str) -> Any:
    """uint8 thumbnail, or None where the picture is no longer there as it was (arrays, moved data, replaced files)."""
    try:
        image = open_picture(Pinned(path, sha256, str(path)))
    except PictureError:
        return None
    image.thumbnail((PICTURE, PICTURE))
    return np.asarray(image)
