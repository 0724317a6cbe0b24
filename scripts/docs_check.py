"""Fails where a built documentation page would make its reader's browser fetch something from another server."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path

# What a browser fetches by itself; `a` is only followed by people.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Fetched(HTMLParser):
    """Collects addresses on other servers that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(FETCHED.get(tag, "")) or ""
        hint = tag == "link" and given.get("rel") in ("canonical", "prev", "next", "alternate")
        if address.startswith(("http:", "https:", "//")) and not hint:
            self.found.append(address)


def foreign(page: str) -> list[str]:
    """Addresses on other servers that a browser loads to show `page`."""
    parser = Fetched()
    parser.feed(page)
    return parser.found


def main(site: Path) -> int:
    pages = sorted(site.rglob("*.html"))
    if not pages:
        print(f"{site} has no pages; build them with scripts/docs", file=sys.stderr)
        return 2
    bad = [f"{path}: {address}" for path in pages for address in foreign(path.read_text("utf-8"))]
    print("\n".join(bad), end="\n" if bad else "", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
