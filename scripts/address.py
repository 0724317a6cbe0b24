#!/usr/bin/env python
"""Writes the public address of the repository, `url` of setup.cfg, wherever a reader is told to install from it.

That is the badge and the first line of code of each notebook, and the lines between `<!-- install -->` and
`<!-- /install -->` of README and the guide to Colab. As long as setup.cfg has no `url` they show no badge and name what
a clone, or a wheel made from one, allows. Standard library only.
"""

from __future__ import annotations

import configparser
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/howto/colab.md")
MARKED = re.compile(r"(<!-- install -->\n).*?(<!-- /install -->)", re.S)
SOURCE = re.compile(r'^INSTALL_FROM = "[^"]*"', re.M)
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
IMAGE = re.compile(re.escape(BADGE) + r"\([^)]*\)")
WITHOUT = """\
Make the wheel in a clone (`pip wheel --no-deps .`), upload it into Colab's files, and there:
```
!pip install transferkit-*.whl
```
A notebook of `notebooks/` that is uploaded finds the wheel by itself.
"""
WITH = """\
```
!pip install git+{url}
```
The notebooks in `notebooks/` open in Colab by their badge.
"""


def address(root: Path = ROOT) -> str:
    """The address in setup.cfg; empty where there is none yet. Raises SystemExit for one that Colab cannot open."""
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg", "utf-8")
    url = parser.get("metadata", "url", fallback="").strip().removesuffix("/").removesuffix(".git")
    if url and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise SystemExit(f"setup.cfg: url = {url}: write https://github.com/OWNER/NAME, which Colab can open")
    return url


def page(text: str, url: str) -> str:
    """A page of documentation with its lines on installing as they are to be."""
    return MARKED.sub(lambda found: found[1] + (WITH.format(url=url) if url else WITHOUT) + found[2], text)


def notebook(text: str, name: str, url: str) -> str:
    """The notebook `name` with its badge, or none, and the variable that says where to install from."""
    book = json.loads(text)
    title = IMAGE.sub("", "".join(book["cells"][0]["source"])).rstrip()
    if url:
        where = url.replace("https://github.com/", "https://colab.research.google.com/github/")
        title += f"\n\n{BADGE}({where}/blob/main/notebooks/{name})"
    book["cells"][0]["source"] = title.splitlines(keepends=True)
    code = next(cell for cell in book["cells"] if cell["cell_type"] == "code")
    line = f'INSTALL_FROM = "{"git+" * bool(url)}{url}"'
    code["source"] = SOURCE.sub(line, "".join(code["source"]), count=1).splitlines(keepends=True)
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def written(root: Path, url: str) -> dict[Path, str]:
    """Every file that names the address, with the text it is to have."""
    pages = {root / name: page((root / name).read_text("utf-8"), url) for name in PAGES}
    books = sorted((root / "notebooks").glob("*.ipynb"))
    return pages | {path: notebook(path.read_text("utf-8"), path.name, url) for path in books}


def main(root: Path = ROOT) -> int:
    """Write the files that differ, and say which."""
    for path, text in written(root, address(root)).items():
        if text != path.read_text("utf-8"):
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
