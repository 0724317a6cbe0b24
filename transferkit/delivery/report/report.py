"""One run on one page: a self-contained HTML report that asks nothing of the network and trusts no name."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from transferkit import files, look, tasks, terms
from transferkit.delivery.report import first_screen, sections
from transferkit.delivery.report.content import Example, ReportContent
from transferkit.delivery.report.drawings import BY_THE_PAGE, Drawing, Drawn, drawings
from transferkit.delivery.report.numbers import plain, rough_duration
from transferkit.delivery.report.usable import usable
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.text import safe

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Example", "ReportContent", "render", "write_report"]

TEMPLATES = Path(__file__).parents[1] / "templates"
THUMBNAIL = 224  # pixels on the long side
WORST = 3  # mistakes on the first screen


def write_report(content: ReportContent, path: Path, drawn: Mapping[str, Drawing | Drawn] | None = None) -> Path:
    """Write the report as one HTML file, whole or not at all.

    No external address; class and file names are escaped. Its one script makes copy buttons, and the page is complete
    without it. Light or dark as the reader's system is.

    Args:
        content: what there is to show.
        path: of the file.
        drawn: the content's `drawings`, where they are made already.

    Returns:
        `path`.
    """
    path = Path(path)
    files.write_text(path, render(content, drawn))
    return path


def render(content: ReportContent, drawn: Mapping[str, Drawing | Drawn] | None = None) -> str:
    """The report as HTML text.

    Args:
        content: what there is to show.
        drawn: its `drawings`, where they are made already.
    """
    metrics = content["metrics"]
    drawn = drawings(content) if drawn is None else drawn
    examples = {
        "errors": _examples(content.get("errors")),
        "confident": _examples(content.get("confident")),
        "uncertain": _examples(content.get("uncertain")),
    }
    view = {
        "c": {**dict.fromkeys(ReportContent.__annotations__), "title": "Run", **content},
        "numbers": tasks.of(metrics.task).numbers,
        **_first_screen(content, metrics),
        "worst": [e for e in examples["errors"] if e["picture"]][:WORST],
        "examples": examples,
        **_sections(metrics),
        "figures": {k: _figure(d) for k, d in drawn.items() if k not in BY_THE_PAGE},
        "timings": [(stage, rough_duration(seconds)) for stage, seconds in (content.get("timings") or {}).items()],
        "settings": _settings(content),
        "style": look.style(),
        "script": look.SCRIPT,
        "policy": look.policy(look.SCRIPT),
    }
    # Neither lone surrogates of names that are no valid UTF-8, nor what a terminal that shows the file would obey.
    text = environment(escape=True).get_template("report.html.j2").render(view)
    return safe(text.encode("utf-8", "replace").decode())


def _first_screen(content: ReportContent, metrics: MetricsRecord) -> dict[str, object]:
    headline, answer = first_screen.headline(metrics), usable(metrics)
    found = metrics.diagnosis
    said = " ".join(answer.sentences).casefold()
    return {
        "headline": headline,
        # Once is enough: what the answer says already is not said again below it.
        "notes": [note for note in headline.notes if note.rstrip(".").casefold() not in said],
        "bars": first_screen.bars(metrics),
        "ticks": first_screen.ticks(metrics),
        "usable": answer,
        "diagnosis": found,
        "problem": terms.state(found.state if found else "unknown"),
        "steps": list(content.get("steps") or ()),
    }


def _sections(metrics: MetricsRecord) -> dict[str, object]:
    return {
        "scores": sections.score_table(metrics),
        "classes": sections.classes(metrics),
        "confusions": sections.confusions(metrics),
        "gain": sections.gain(metrics),
        "abstention": sections.abstention(metrics),
        "tried": sections.tried(metrics),
        "networks": sections.networks(metrics),
        "states": [terms.state(name) for name in (metrics.diagnosis.also if metrics.diagnosis else ())],
    }


def _settings(content: ReportContent) -> dict[str, list[tuple[str, str]]]:
    """Names and values, those that were given first."""
    known = {name: plain(value) for name, value in (content.get("settings") or {}).items()}
    asked = [name for name in content.get("given") or () if name in known]
    return {
        "given": [(name, known[name]) for name in asked],
        "left": [(name, value) for name, value in known.items() if name not in asked],
    }


def environment(*, escape: bool) -> Environment:
    """Jinja2 over the templates of this room; a missing variable is an error, not a blank."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    result = Environment(  # nosec B701  # the card, which is Markdown, escapes by filters of its own
        loader=loader, autoescape=escape, undefined=StrictUndefined, trim_blocks=True
    )
    result.filters["percent"] = lambda value: f"{100 * value:.0f} %"
    result.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    result.filters["part"] = terms.part
    result.filters["day"] = _day
    return result


def _day(text: str) -> str:
    """Day and time to the minute of what run.json has to the second; other texts as they are."""
    found = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)", text)
    return f"{found[1]} {found[2]}" if found else text


# ---------------------------------------------------------------------------------------------- pictures


def _figure(drawing: Drawing | Drawn) -> dict[str, object]:
    pairs = [{"light": light, "dark": dark} for light, dark in drawing.addresses()]
    return {"alt": drawing.alt, "wide": drawing.wide, "panels": pairs}


def _examples(examples: Sequence[Example] | None) -> list[dict[str, object]]:
    blank: dict[str, object] = dict.fromkeys(Example.__annotations__)
    return [
        {**blank, **e, "picture": _thumbnail(e.get("picture")), "overlay": _thumbnail(e.get("overlay"))}
        for e in examples or []
    ]


def _thumbnail(picture: npt.NDArray[np.uint8] | None) -> str | None:
    """A small JPEG of uint8 [H, W, 3] as a `data:` address."""
    if picture is None:
        return None
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
