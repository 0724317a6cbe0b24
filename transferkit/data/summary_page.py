"""What data is, as one self-contained HTML page: how it was read, ten pictures with their labels, numbers per class."""

from __future__ import annotations

import base64
from typing import NamedTuple

from transferkit import look
from transferkit.data.dataset_summary import shown_pictures
from transferkit.data.images.opening import PictureError
from transferkit.data.images.thumbnail import DEEP, thumbnail
from transferkit.data.samples import Samples, shown
from transferkit.text import safe

SIDE = 128
MOST = 300  # classes listed

_STYLE = """\
.ten { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem; }
.ten figure { margin: 0; }
.ten img { max-width: 100%; }
.ten figcaption { overflow-wrap: anywhere; }
"""
_BODY = """\
<header>
<h1>Data</h1>
<p class="soft small">{{ origin }}</p>
</header>
<section>
<p class="big">{{ "{:,}".format(total) }}</p>
<p>pictures, {{ classes|length }} {{ what }}. Read by <code>{{ reader.name|shown }}</code>: {{ reader.why|shown }}.</p>
<ul>{% for line in said %}<li>{{ line|shown }}</li>{% endfor %}</ul>
</section>
<section>
<h2>Pictures <span>{{ pictures|length }} of {{ "{:,}".format(total) }}, spread over all</span></h2>
<div class="ten">
{% for picture in pictures %}
<figure>{% if picture.uri %}<img alt="" src="{{ picture.uri }}">{% else %}<p>{{ picture.reason|shown }}</p>{% endif %}
<figcaption><strong>{{ picture.label|shown }}</strong><br>
<code class="small">{{ picture.path|shown }}</code></figcaption>
</figure>
{% endfor %}
</div>
</section>
<section>
<h2>{{ what|capitalize }}</h2>
<table class="words">
{% for name, number in rows %}<tr><td>{{ name|shown }}</td><td>{{ "{:,}".format(number) }}</td></tr>
{% endfor %}
</table>
{% if left %}<p class="soft small">{{ left }} more are not shown.</p>{% endif %}
</section>
"""


def summary_page(samples: Samples) -> str:
    """The page as text. A picture that cannot be read is there with the reason."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["shown"] = shown
    counts = samples.counts()
    page = environment.from_string(look.document("Data", _BODY, _STYLE)).render(
        origin=shown(samples.origin), total=len(samples), classes=counts, reader=samples.reader or _MEMORY,
        said=[*samples.reader.get("said", ()), *samples.notes],
        pictures=[_picture(samples, i) for i in shown_pictures(samples)],
        what="targets" if samples.kind.numbers else "classes" if samples.kind.exclusive else "labels",
        rows=list(counts.items())[:MOST], left=max(0, len(counts) - MOST), style=look.style(), policy=look.policy(),
    )  # fmt: skip
    return safe(page)


_MEMORY = {"name": "arrays", "why": "they are in memory"}


class _Picture(NamedTuple):
    """One of the pictures on the page: its content as `uri`, or the `reason` why it cannot be shown."""

    path: str
    label: str
    uri: str | None = None
    reason: str = ""


def _picture(samples: Samples, index: int) -> _Picture:
    found = _Picture(samples.paths[index], samples.label(index))
    try:
        content = thumbnail(samples.source(index), SIDE, DEEP)
        return found._replace(uri="data:image/jpeg;base64," + base64.b64encode(content).decode())
    except PictureError as error:
        return found._replace(reason=error.reason)
