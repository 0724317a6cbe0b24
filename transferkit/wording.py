"""Messages are written once, in the words of the command line; a Python caller reads them in Python's words."""

from __future__ import annotations

import re

# Shell commands stay as they are: what stands between backticks, and what follows the program's name on its line.
COMMANDS = re.compile(r"(`[^`]*`|\btransferkit [a-z][^\n]*|\bpip install[^\n]*)")
VALUE = r"(?:'[^']*'|\"[^\"]*\"|[^\s;:,()`](?:[^\s;:,)`]|:(?=[\w.]))*)(?:,[^\s;:)`]+)*"
OPTION = re.compile(rf"(?<![\w-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?:[ =]({VALUE}))?")
SWITCHES = {
    "resume", "offline", "cache", "ema", "normalize", "random-baseline", "replace", "allow-mismatch", "fresh", "quiet",
    "dry-run", "tta", "crop-boxes",
}  # fmt: skip
# After an option these go on with the sentence; anything else is its value.
SENTENCE = {
    "a", "an", "and", "are", "at", "before", "by", "can", "cannot", "changes", "chooses", "computes", "exists",
    "extends", "finishes", "for", "from", "gives", "goes", "has", "have", "here", "holds", "in", "is", "it", "its",
    "lies", "lists", "may", "means", "must", "names", "needs", "of", "on", "once", "or", "respectively", "says",
    "shows", "takes", "that", "the", "then", "there", "to", "together", "trains", "was", "where", "which", "with",
    "without",
}  # fmt: skip
_shell = False


def speak_shell(shell: bool) -> bool:
    """Leave messages in the command line's words (`True`: what the `transferkit` program does). Returns what was."""
    global _shell
    before, _shell = _shell, shell
    return before


def spoken(text: str) -> str:
    """`text` as this process' reader expects it."""
    return text if _shell else in_python(text)


def in_python(text: str) -> str:
    """`"--head-width 64 has no effect; drop it"` → `"head_width=64 has no effect; drop it"`."""
    parts = COMMANDS.split(text)
    return "".join(part if number % 2 else _arguments(part) for number, part in enumerate(parts))


def _arguments(text: str) -> str:
    return OPTION.sub(_argument, text).replace("=:", ":")


def _argument(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    bare = name.removeprefix("no-")
    if bare in SWITCHES:
        after = "" if value is None else found[0][found[0].index(name) + len(name) :]
        return f"{bare.replace('-', '_')}={bare == name}{after}"
    python = name.replace("-", "_")
    told = found.string[found.end() : found.end() + 1] == ":"  # of a value that is refused: `--seed a: must be …`
    if value is None or (value in SENTENCE and not told):
        return f"{python}=" + ("" if value is None else f" {value}")
    return f"{python}={_literal(value)}"


def _literal(value: str) -> str:
    """A value as Python spells it; placeholders such as FILE or NAME as they are."""
    if value[0] in "'\"" or (value.isupper() and value.isalpha()):
        return value
    end = "." if value.endswith(".") else ""
    value = value.removesuffix(".")
    numbers = value.split(",")
    if all(re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", number) for number in numbers):
        return (value if len(numbers) == 1 else f"({', '.join(numbers)})") + end
    return repr(value) + end
