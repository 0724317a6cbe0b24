"""CARD.md: a model card for the Hugging Face hub, from the same content as the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transferkit import files
from transferkit.delivery import report
from transferkit.delivery.content import ReportContent
from transferkit.evaluation.goals import check_task
from transferkit.text import safe

# What would start formatting, a link, a table cell or HTML inside a line of Markdown.
SPECIAL = re.compile(r"([\\`*_{}\[\]|~$]|^[-+#=]|(?<=^\d)[.)])")


def card(content: ReportContent) -> str:
    """The card as Markdown with YAML front matter. Names are hostile input and stay text.

    Front matter: https://huggingface.co/docs/hub/model-cards; sections: Mitchell et al. 2019.
    """
    task = content.get("task", "classify")
    check_task(task)
    metrics = content.get("metrics") or {}
    headline = report.headline(content, task, metrics)
    view = {
        "c": {**dict.fromkeys(ReportContent.__annotations__), "title": "Model", **content},
        "what": {
            "classify": "Names the class of a picture.",
            "multilabel": "Names the labels that apply to a picture.",
            "regress": "Estimates numbers from a picture.",
        }[task],
        "outputs": headline["outputs"],
        "result": _result(headline),
        "notes": headline["notes"],
        "weakest": _weakest(metrics.get("test") or {}),
        "scores": report.score_table(metrics),
        "bars": report.bars(content, task, metrics),
        "diagnosis": metrics.get("diagnosis"),
        "settings": [(k, report.plain(v)) for k, v in (content.get("settings") or {}).items()],
    }
    environment = report.environment(escape=False)
    environment.filters |= {"md": markdown, "code": _code, "fenced": _fenced}
    body = environment.get_template("card.md.j2").render(view)
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    text = f"---\n{_front_matter(content, task, metrics)}---\n\n{body}"
    return safe(text.encode("utf-8", "replace").decode())


def write_card(content: ReportContent, path: Path) -> Path:
    """Write the card whole or not at all, and return its path."""
    path = Path(path)
    files.write_text(path, card(content))
    return path


def markdown(text: Any) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    line = " ".join(str(text).split())
    line = SPECIAL.sub(r"\\\1", line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: Any) -> str:
    return " ".join(str(text).split()).replace("`", "'")


def _fenced(text: str) -> str:
    """A code block whose fence is longer than any inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _result(headline: Mapping[str, Any]) -> str | None:
    if headline["value"] is None:
        return None
    interval = f" (95 % interval {headline['interval']})" if headline["interval"] else ""
    return f"{headline['name']} {headline['value']}{interval} on {headline['n']} test pictures"


def _weakest(test: Mapping[str, Any], most: int = 3) -> str:
    rows = [row for row in test.get("per_class") or [] if row.get("f1") is not None]
    rows = sorted(rows, key=lambda row: float(row["f1"]))[:most] if len(rows) > most else []
    return ", ".join(f"{markdown(row['class'])} (F1 {row['f1']:.2f})" for row in rows)


def _front_matter(content: ReportContent, task: str, metrics: Mapping[str, Any]) -> str:
    import yaml

    # On one line, so that no title can look like the end of the front matter.
    name = " ".join(content.get("title", "model").split())
    header: dict[str, Any] = {"library_name": "keras"}
    if content.get("license"):
        header["license"] = content["license"]
    header["tags"] = [
        "transferkit",
        "transfer-learning",
        *([content["backbone"]] if content.get("backbone") else []),
    ]
    # The hub knows no pipeline for numbers from pictures.
    if task == "regress":
        header["tags"].append("image-regression")
    else:
        header["pipeline_tag"] = "image-classification"
    values = _hub_metrics(metrics.get("test") or {}, task)
    if values:
        kind = {"type": "image-classification" if task != "regress" else "image-regression"}
        data = {"name": content.get("data_name", name), "type": "imagefolder", "split": "test"}
        header["model-index"] = [{"name": name, "results": [{"task": kind, "dataset": data, "metrics": values}]}]
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000)


def _hub_metrics(test: Mapping[str, Any], task: str) -> list[dict[str, Any]]:
    keys = {
        "classify": ("accuracy", "macro_f1"),
        "multilabel": ("map", "micro_f1"),
        "regress": ("mae", "r2"),
    }[task]
    types = {"macro_f1": "f1", "micro_f1": "f1", "map": "mean_average_precision", "r2": "r_squared"}
    known = [key for key in keys if test.get(key) is not None]
    return [{"type": types.get(k, k), "name": report.words(k), "value": float(f"{test[k]:.6g}")} for k in known]
