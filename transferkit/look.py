"""How our pages look: one style sheet for all of them, light, dark and on paper. No page asks any server for it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

# Makes the copy buttons, and opens what is folded where an address names it. Without it the page shows all the same.
SCRIPT = """
for (const code of document.querySelectorAll("pre.command")) {
  const button = document.createElement("button");
  button.type = "button"; button.className = "copy"; button.textContent = "copy";
  button.onclick = async () => {
    try { await navigator.clipboard.writeText(code.innerText); button.textContent = "copied"; }
    catch { getSelection().selectAllChildren(code); button.textContent = "selected"; }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  };
  code.after(button);
}
const unfold = () => {
  const named = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = named && named.querySelector(":scope > details");
  if (folded) folded.open = true;
};
addEventListener("hashchange", unfold);
unfold();
"""


def document(title: str, body: str, style: str = "") -> str:
    """A Jinja template of a page, to be rendered with `policy` and `style` of this module under these names.

    Args:
        title: of the page.
        body: template of what `<main>` holds.
        style: added to the style sheet.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{{{{ policy | safe }}}}">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{{{{ style | safe }}}}
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


def style() -> str:
    """The style sheet."""
    return Path(__file__).with_name("look.css").read_text("utf-8")


def policy(script: str = "") -> str:
    """A Content-Security-Policy: pictures inside the page, our style, and no script but `script` itself."""
    allowed = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        allowed = f"; script-src 'sha256-{digest}'"
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{allowed}"
