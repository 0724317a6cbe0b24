"""The audit as one self-contained HTML page. Jinja2 escapes every name; thumbnails travel inside."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit.data.checks import KINDS, Finding
from transferkit.data.picture import PictureError
from transferkit.data.samples import shown
from transferkit.data.thumbnail import thumbnail
from transferkit.text import safe

if TYPE_CHECKING:
    from transferkit.data.audit import Audit

SHOWN_PER_KIND = 60
SIDE = 96

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Data check</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { margin: 2.2rem 0 .2rem; font-size: 1.1rem; }
h2 span { font-weight: 400; color: #666; }
.error h2 { color: #b00020; }
.warning h2 { color: #8a5a00; }
p.remedy { margin: 0 0 .6rem; color: #444; }
table { border-collapse: collapse; }
section table { width: 100%; }
td, th { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e4e4e4; text-align: left; vertical-align: middle;
  overflow-wrap: anywhere; }
td.number { text-align: right; }
td.pictures { width: 210px; }
img { max-width: 96px; margin-right: 6px; vertical-align: middle; }
code { white-space: pre-wrap; }
</style>
</head>
<body>
<h1>Data check</h1>
<p><code>{{ origin }}</code>: {{ pictures }} pictures, {{ classes|length }} classes, {{ errors }} errors.
{% if not deep %} Headers only; pictures were not decoded.{% endif %}</p>
{% if groups %}
<p>{% for group in groups %}<a href="#{{ group.kind|replace(' ', '-') }}">{{ group.kind }}</a> {{ group.total }}
{%- if not loop.last %}, {% endif %}{% endfor %}</p>
{% else %}
<p>Nothing found.</p>
{% endif %}
{% if classes %}
<table><tr><th>class</th><th>pictures</th></tr>
{% for name, number in classes.items() %}
<tr><td>{{ name|shown }}</td><td class="number">{{ number }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% for group in groups %}
<section class="{{ group.severity }}" id="{{ group.kind|replace(' ', '-') }}">
<h2>{{ group.kind }} <span>{{ group.severity }}, {{ group.total }} found
{%- if group.total > group.rows|length %}, the first {{ group.rows|length }} shown{% endif %}</span></h2>
<p class="remedy">{{ group.remedy }}.</p>
<table>
{% for row in group.rows %}
<tr>{% if group.pictured %}<td class="pictures">
{%- for uri in row.pictures %}<img alt="" src="{{ uri }}">{% endfor %}</td>{% endif %}
<td>{% if row.path %}<code>{{ row.path|shown }}</code> {% endif %}{{ row.detail|shown }}</td></tr>
{% endfor %}
</table>
</section>
{% endfor %}
</body>
</html>
"""


def audit_page(audit: Audit) -> str:
    """The page as text."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["shown"] = shown
    groups = []
    for kind in KINDS:
        found = [f for f in audit.findings if f.kind == kind]
        if found:
            rows = [
                {"path": f.path, "detail": f.detail, "pictures": _pictures(audit.root, f)}
                for f in found[:SHOWN_PER_KIND]
            ]
            severity, remedy = KINDS[kind]
            groups.append(
                {
                    "kind": kind.replace("_", " "),
                    "severity": severity,
                    "remedy": remedy,
                    "total": len(found),
                    "rows": rows,
                    "pictured": any(row["pictures"] for row in rows),
                }
            )
    groups.sort(key=lambda g: ("error", "warning", "info").index(str(g["severity"])))
    page = environment.from_string(_TEMPLATE).render(
        origin=shown(audit.origin), pictures=audit.pictures, classes=audit.classes, errors=len(audit.errors),
        deep=audit.deep, groups=groups,
    )  # fmt: skip
    return safe(page)


def _pictures(root: Path | None, finding: Finding) -> list[str]:
    if root is None:
        return []
    uris = (_data_uri(root / path) for path in (finding.path, finding.other) if path)
    return [uri for uri in uris if uri]


def _data_uri(path: Path) -> str | None:
    """A thumbnail as a data URI, or None where the picture cannot be read."""
    try:
        return "data:image/jpeg;base64," + base64.b64encode(thumbnail(path, SIDE)).decode()
    except PictureError:
        return None
