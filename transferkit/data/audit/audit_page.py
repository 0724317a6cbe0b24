"""The audit as one self-contained HTML page. Jinja2 escapes every name; thumbnails travel inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit import look
from transferkit.data.audit.checks import KINDS, Finding
from transferkit.data.images.opening import PictureError
from transferkit.data.images.thumbnail import DEEP, thumbnail
from transferkit.data.samples import shown
from transferkit.text import safe

if TYPE_CHECKING:
    from transferkit.data.audit.audit import Audit

SHOWN_PER_KIND = 60
SIDE = 96
FEW, MOST = 20, 300  # classes shown unasked, and at all

_BODY = """\
<header>
<h1>Data check</h1>
<p class="soft small">{{ origin }}</p>
</header>
<section id="result">
<div class="first">
<div>
<p class="big">{{ "{:,}".format(pictures) }}</p>
<p>pictures, {{ classes|length }} classes, {{ errors }} errors.
{% if not deep %}Headers only; pictures were not decoded.{% endif %}</p>
{% if groups %}
<ul>
{% for group in groups %}
<li><a href="#{{ group.kind|replace(' ', '-') }}">{{ group.kind }}</a> {{ group.total }}</li>
{% endfor %}</ul>
{% else %}
<p>Nothing found.</p>
{% endif %}
</div>
{% if classes %}
<div role="list" aria-label="pictures of each class">
{% for row in bars %}{{ bar(row) }}{% endfor %}
{% if more %}<details><summary>{{ more|length }} more classes</summary>
{% for row in more %}{{ bar(row) }}{% endfor %}</details>{% endif %}
{% if left %}<p class="soft small">{{ left }} more classes are not shown.</p>{% endif %}
</div>
{% endif %}
</div>
</section>
{% for group in groups %}
<section class="{{ group.severity }}" id="{{ group.kind|replace(' ', '-') }}">
<h2>{{ group.kind }} <span>{{ group.severity }}, {{ group.total }} found
{%- if group.total > group.rows|length %}, the first {{ group.rows|length }} shown{% endif %}</span></h2>
<p>{{ group.remedy }}.</p>
<table class="words">
{% for row in group.rows %}
<tr>{% if group.pictured %}<td class="thumbnails">
{%- for uri in row.pictures %}<img alt="" src="{{ uri }}">{% endfor %}</td>{% endif %}
<td>{% if row.path %}<code>{{ row.path|shown }}</code> {% endif %}{{ row.detail|shown }}</td></tr>
{% endfor %}
</table>
</section>
{% endfor %}
"""
_BAR = """{% macro bar(row) %}
<div class="bar" role="listitem"><span class="name">{{ row.name|shown }}</span>
<span class="track" aria-hidden="true"><span class="fill" style="width: {{ row.width }}%"></span></span>
<span class="number"><strong>{{ row.number }}</strong></span></div>
{% endmacro %}"""


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
    bars = _bars(audit.classes)
    page = environment.from_string(_BAR + look.document("Data check", _BODY)).render(
        origin=shown(audit.origin), pictures=audit.pictures, classes=audit.classes, errors=len(audit.errors),
        deep=audit.deep, groups=groups, bars=bars[:FEW], more=bars[FEW:MOST], left=max(0, len(bars) - MOST),
        style=look.style(), policy=look.policy(),
    )  # fmt: skip
    return safe(page)


def _bars(classes: Mapping[str, int]) -> list[dict[str, object]]:
    """Pictures of each class, in the order of the classes; bars are shares of the largest class, in percent."""
    top = max(classes.values(), default=0) or 1
    return [
        {"name": name, "number": f"{count:,}", "width": round(100 * count / top, 1)} for name, count in classes.items()
    ]


def _pictures(root: Path | None, finding: Finding) -> list[str]:
    if root is None:
        return []
    uris = (_data_uri(root / path) for path in (finding.path, finding.other) if path)
    return [uri for uri in uris if uri]


def _data_uri(path: Path) -> str | None:
    """A thumbnail as a data URI, or None where the picture cannot be read."""
    try:
        return "data:image/jpeg;base64," + base64.b64encode(thumbnail(path, SIDE, DEEP)).decode()
    except PictureError:
        return None
