"""Examples in the documentation: found in Markdown, and made ready to run on a small world of digits."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUTSIDE = ("README.md", "data/README.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = sorted([*(ROOT / name for name in OUTSIDE), *(ROOT / "docs").rglob("*.md")])
MARK = "<!-- run -->"
SHELL = ("", "bash", "sh", "console", "shell")
FENCE = re.compile(r"(?:^(?P<mark><!-- run -->)\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
CLASSES = ("daisy", "iris", "lily", "rose", "tulip")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    run: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_shell(self) -> bool:
        """Whether it holds commands."""
        return self.language in SHELL

    def commands(self) -> list[list[str]]:
        """The words of every `transferkit` command in it; lines of options alone are taken for `tune`'s."""
        found = []
        for line in re.sub(r"\\\n\s*", " ", self.text).splitlines():
            line = line.strip().removeprefix("!").removeprefix("$ ")
            if line.startswith("--search"):
                line = f"transferkit tune flowers/ --backbone vgg16 {line}"
            found += [words[1:] for words in _parts(line) if words[:1] == ["transferkit"]]
        return found


def _parts(line: str) -> list[list[str]]:
    """The commands of a shell line: cut at pipes and the like, redirections and comments left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    parts: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if set(word) <= {"|", "&", ";"}:
            parts.append([])
        elif set(word) == {">"}:
            next(words)
        else:
            parts[-1].append(word)
    return parts


def blocks(text: str, page: str = "") -> list[Block]:
    """The fenced blocks of a page."""
    return [
        Block(page, text[: m.start("text")].count("\n") + 1, m["language"], m["text"], bool(m["mark"]))
        for m in FENCE.finditer(text)
    ]


ALL = [b for page in PAGES for b in blocks(page.read_text("utf-8"), page.relative_to(ROOT).as_posix())]


def inline_options(text: str) -> set[str]:
    """Every `--option` in `code` outside fences."""
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return {option for span in spans for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", span)}


def make_world(folder: Path, digits: Path) -> None:
    """What the examples speak of, made of digits: flowers, new pictures, one rose, the demo's digits."""
    for number, name in enumerate(CLASSES):
        shutil.copytree(digits / str(number), folder / "flowers" / name)
    shutil.copytree(digits / "3", folder / "new_pictures")
    shutil.copytree(digits, folder / "transferkit-demo" / "digits")
    shutil.copy(next((digits / "3").iterdir()), folder / "rose.jpg")  # a PNG: decoding goes by content


def on_mini(text: str) -> str:
    """The example with the bundled network in place of one that would have to be downloaded."""
    return text.replace("vgg16", "mini").replace("from:block5", "from:block4")


def quick(words: list[str]) -> list[str]:
    """A training command that is over soon: four epochs, unless the example gives their number."""
    if words[0] in ("finetune", "tune") and "--epochs" not in words:
        return [*words, "--epochs", "4"]
    return words


class Quick(ast.NodeTransformer):
    """What `quick` does for commands, for calls of `tk.finetune` and `tk.tune`."""

    LESS = {"finetune": {"epochs": 4}, "tune": {"epochs": 4, "trials": 2, "seeds": 1}}  # noqa: RUF012

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Give the numbers that make it short."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in self.LESS and isinstance(node.func.value, ast.Name) and node.func.value.id == "tk":
            less = {key: ast.keyword(key, ast.Constant(value)) for key, value in self.LESS[name].items()}
            node.keywords = [k for k in node.keywords if k.arg not in less] + list(less.values())
        return node


def quick_python(text: str) -> ast.Module:
    """A Python example whose trainings are over soon."""
    return ast.fix_missing_locations(Quick().visit(ast.parse(text)))


def names_of_tk(code: str) -> set[str]:
    """What a Python example takes from transferkit."""
    return {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tk"
    }
