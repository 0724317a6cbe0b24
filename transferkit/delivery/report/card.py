"""CARD.md: a model card for the Hugging Face hub, from the same content as the report. It is meant to be given away:
no path of this machine is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

from transferkit import files, tasks, terms
from transferkit.delivery.report import first_screen, report, sections
from transferkit.delivery.report.content import ReportContent
from transferkit.delivery.report.numbers import plain
from transferkit.delivery.report.public_text import UNREADABLE, placeless, readable
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.evaluation.scores import Scores
from transferkit.text import safe

# What would start formatting, a link, a table cell or HTML inside a line of Markdown.
SPECIAL = re.compile(r"([\\`*_{}\[\]|~$]|^[-+#=]|(?<=^\d)[.)](?=\s|$))")
LICENCES = {  # how the catalog's licences begin → the hub's identifier
    "apache-2.0": "apache-2.0", "mit": "mit", "bsd-3-clause": "bsd-3-clause", "cc-by-4.0": "cc-by-4.0",
}  # fmt: skip
NAMED = 20  # classes that are written out in the example
WEAKEST = 3  # classes that are named as such, where there are more


def card(content: ReportContent) -> str:
    """The card as Markdown with YAML front matter. Names are hostile input and stay text.

    Front matter: https://huggingface.co/docs/hub/model-cards; sections: Mitchell et al. 2019.
    """
    content, metrics = _public(content), content["metrics"]
    about, headline = tasks.of(metrics.task), first_screen.headline(metrics)
    places = content.get("places") or ()
    diagnosis = metrics.diagnosis
    view = {
        "c": {**dict.fromkeys(ReportContent.__annotations__), "title": "Model", **content},
        "what": about.does,
        "exclusive": about.exclusive,
        "outputs": headline.outputs,
        "licence": licence(content),
        "example": _example(content),
        "result": _result(headline),
        "notes": [placeless(note, places) for note in headline.notes],
        "weakest": _weakest(metrics.test),
        "scores": _scores(metrics),
        "bars": first_screen.bars(metrics),
        "state": terms.state(diagnosis.state) if diagnosis else None,
        "evidence": [placeless(line, places) for line in diagnosis.evidence] if diagnosis else [],
        "settings": list((content.get("settings") or {}).items()),
    }
    environment = report.environment(escape=False)
    environment.filters |= {"md": markdown, "code": _code, "fenced": _fenced}
    body = environment.get_template("card.md.j2").render(view)
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    text = f"---\n{_front_matter(content)}---\n\n{body}"
    return safe(text.encode("utf-8", "replace").decode())


def write_card(content: ReportContent, path: Path) -> Path:
    """Write the card whole or not at all, and return its path.

    Args:
        content: what there is to say.
        path: of the file.
    """
    path = Path(path)
    files.write_text(path, card(content))
    return path


def markdown(text: Any) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    line = SPECIAL.sub(r"\\\1", readable(str(text)))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def licence(content: ReportContent) -> str:
    """The hub's identifier: as given, or that of the pretrained weights; `unknown` where neither is known."""
    if content.get("license"):
        return readable(str(content["license"]))
    stated = (content.get("weights_licence") or "").lower()
    return next((key for start, key in LICENCES.items() if re.match(rf"{start}\b", stated)), "unknown")


def _public(content: ReportContent) -> ReportContent:
    """The content without paths of this machine."""
    found: dict[str, Any] = dict(content)
    places = content.get("places") or ()

    def clean(value: Any) -> str:
        return placeless(plain(value), places)

    for key in ("title", "command", "weights", "backbone"):
        if found.get(key):
            found[key] = clean(found[key])
    for key in ("summary", "findings"):
        if found.get(key):
            found[key] = [clean(line) for line in found[key]]
    for key in ("settings", "environment"):
        if found.get(key):
            found[key] = {name: clean(value) for name, value in found[key].items()}
    return cast("ReportContent", found)


def _code(text: Any) -> str:
    return readable(str(text)).replace("`", "'")


def _fenced(text: str, language: str = "sh") -> str:
    """A code block whose fence is longer than any inside."""
    lines = "".join(c if c.isprintable() or c == "\n" else UNREADABLE for c in text)
    longest = max((len(run) for run in re.findall(r"`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{lines}\n{fence}"


def _example(content: ReportContent) -> str:
    """Python that predicts with Keras alone: what the model's file does not say for itself is written out."""
    metrics = content["metrics"]
    names = [readable(name) for name in metrics.classes]
    width, height = content.get("input_size") or (224, 224)
    if len(names) > NAMED:
        given = 'classes = json.load(open("metrics.json"))["classes"]'
    else:
        # Not even inside a block of code is there a name that a page could take for a tag.
        written = json.dumps(names, ensure_ascii=False).replace("<", "\\u003c").replace("|", "\\u007c")
        given = f"classes = {written}"
    limits = metrics.thresholds
    limits = [float(f"{limit:.6g}") for limit in limits] if limits and len(names) <= NAMED else None
    about = tasks.of(metrics.task)
    lines = [
        "import json" if len(names) > NAMED else "",
        "import keras, numpy as np",
        "from PIL import Image, ImageOps",
        "",
        'model = keras.saving.load_model("model.keras")',
        'picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")',
        f"pixels = np.asarray(picture.resize(({width}, {height}), Image.Resampling.BILINEAR))",
        "scores = model.predict(np.stack([pixels]), verbose=0)[0]",
        given,
        _thresholds(limits, bool(metrics.thresholds)) if about.has_thresholds else "",
        about.card_answer,
    ]
    return "\n".join(line for k, line in enumerate(lines) if line or k == 3)


def _thresholds(limits: list[float] | None, chosen: bool) -> str:
    if limits is not None:
        return f"thresholds = {limits}"
    return (
        'thresholds = json.load(open("metrics.json"))["thresholds"]' if chosen else "thresholds = [0.5] * len(classes)"
    )


def _result(said: first_screen.Headline) -> str | None:
    if said.value is None:
        return None
    interval = f" (95 % interval {said.interval})" if said.interval else ""
    return f"{said.name} {said.value}{interval} on {said.n} test pictures"


def _weakest(test: Scores) -> str:
    known = [(row.name, f1) for row in test.rows if (f1 := row.value("f1")) is not None]
    lowest = sorted(known, key=lambda row: row[1])[:WEAKEST] if len(known) > WEAKEST else []
    return ", ".join(f"{markdown(name)} (F1 {f1:.2f})" for name, f1 in lowest)


def _scores(metrics: MetricsRecord) -> dict[str, object] | None:
    """All scores; a card has no place to fold some away."""
    table = sections.score_table(metrics)
    return None if table is None else {**table, "rows": [*table["rows"], *table["more"]]}


def _front_matter(content: ReportContent) -> str:
    import yaml

    metrics = content["metrics"]
    # On one line, so that no title can look like the end of the front matter.
    name = readable(content.get("title", "model"))
    numbers, tags = tasks.of(metrics.task).numbers, ["transferkit", "transfer-learning"]
    tags += [readable(content["backbone"])] if content.get("backbone") else []
    tags += ["image-regression"] if numbers else []
    header: dict[str, object] = {"library_name": "keras", "license": licence(content), "tags": tags}
    if not numbers:  # for which the hub knows no pipeline
        header["pipeline_tag"] = "image-classification"
    values = _hub_metrics(metrics)
    if values:
        kind = {"type": "image-regression" if numbers else "image-classification"}
        data = {"name": readable(content.get("data_name", name)), "type": "imagefolder", "split": "test"}
        header["model-index"] = [{"name": name, "results": [{"task": kind, "dataset": data, "metrics": values}]}]
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000)


def _hub_metrics(metrics: MetricsRecord) -> list[dict[str, object]]:
    types = {"macro_f1": "f1", "micro_f1": "f1", "map": "mean_average_precision", "r2": "r_squared"}
    values = ((key, metrics.test.value(key)) for key in tasks.of(metrics.task).hub_metrics)
    known = [(key, value) for key, value in values if value is not None]
    return [{"type": types.get(k, k), "name": terms.score(k), "value": float(f"{v:.6g}")} for k, v in known]
