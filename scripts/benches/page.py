"""Figures to docs/benchmarks.json, and the page that is made of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from typing import Any

from benches.measuring import ROOT, Bar

JSON, PAGE = ROOT / "docs" / "benchmarks.json", ROOT / "docs" / "benchmarks.md"
LIBRARIES = ("tensorflow", "keras", "pillow", "numpy", "opencv-python-headless", "simplejpeg")
SIGNS = {">=": "≥", "<=": "≤", "<": "<"}
LATER = ("machine", "when", "reached")  # shown elsewhere than in the list of figures


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    from transferkit.data.threads import available_threads
    from transferkit.features.precision import cpu_name

    versions = {name: _version(name) for name in LIBRARIES}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"cpu": cpu_name(), "cores": available_threads(), "memory_gb": _memory_gb(),
            "python": platform.python_version(), **versions, "load": load}  # fmt: skip


def _version(name: str) -> str | None:
    """Of a library; None where it is not installed, as TensorFlow need not be beside JAX."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):  # not on every system
        return None


def record(name: str, figures: dict[str, Any]) -> None:
    """Write the figures of one measurement, and the page again."""
    from benches import registry

    content = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
    judged = {bar.figure: bar.reached(figures) for bar in registry.bars()[name]}
    content[name] = {"when": time.strftime("%Y-%m-%d"), "reached": judged, **figures, "machine": machine()}
    ordered = rounded({key: content[key] for key in registry.bars() if key in content})
    JSON.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text("\n".join(lines(ordered, registry.bars())) + "\n", "utf-8")
    module = registry.modules().get(name)
    if module is not None and hasattr(module, "text"):  # figures that stand in a page of their own, too
        path = PAGE.with_name(module.PAGE)
        new = with_part(path.read_text("utf-8"), module.MARK, module.text(ordered[name], ordered[name]["machine"]))
        path.write_text(new, "utf-8")


def with_part(content: str, mark: str, part: Iterable[str]) -> str:
    """A page with other lines between its two marks, which are comments."""
    begin, end = f"<!-- begin: {mark} -->\n", f"<!-- end: {mark} -->\n"
    before, rest = content.split(begin)
    return before + begin + "\n".join(part) + "\n" + end + rest.split(end)[1]


def rounded(content: Any) -> Any:
    """Floats to four places, in depth."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value) for value in content]
    return round(content, 4) if isinstance(content, float) else content


def verdict(bar: Bar, figures: dict[str, Any]) -> str:
    """One line: the figure, its bar, and whether it is reached."""
    value, reached = bar.value(figures), bar.reached(figures)
    if value is None or reached is None:
        return f"{bar.what}: not measured, or not to be judged, on this machine"
    return f"{bar.what}: {value:.4g}, bar {bar.comparison} {bar.limit:g}: {'reached' if reached else 'MISSED'}"


def lines(content: dict[str, Any], bars: dict[str, tuple[Bar, ...]]) -> Iterator[str]:
    """The page."""
    yield "# Benchmarks"
    yield ""
    yield "Written by `scripts/bench.py`; every figure is in `benchmarks.json`. Each row was measured within one run,"
    yield "the sides of a comparison taking turns; `load` is that of the machine when the measurement ended. All but"
    yield "`accelerator` are of processors (CPUs), with TensorFlow; that one is of a GPU, with JAX."
    yield ""
    yield "| measurement | what | figure | bar | reached |"
    yield "|---|---|---|---|---|"
    for name, found in content.items():
        for bar in bars[name]:
            value, reached = bar.value(found), bar.reached(found)
            figure, answer = ("–", "not judged") if value is None else (f"{value:.4g}", "yes" if reached else "**no**")
            yield f"| [{name}](#{name}) | {bar.what} | {figure} | {SIGNS[bar.comparison]} {bar.limit:g} | {answer} |"
    for name, found in content.items():
        yield ""
        yield from _section(name, found)


def _section(name: str, found: dict[str, Any]) -> Iterator[str]:
    m = found["machine"]
    yield f"## {name}"
    load = "" if m.get("load") is None else f" with load {m['load']:.1f}"
    yield (
        f"`scripts/bench.py {name}`, {found['when']}, on {m['cores']} cores of {m['cpu']}{load}, Python {m['python']}, "
        f"{_backend(found)}, Keras {m['keras']}, Pillow {m['pillow']}."
    )
    yield ""
    module = _module(name)
    shown = (*LATER, getattr(module, "TABLE", None))
    yield from (f"- {_words(key)}: {_words(value)}" for key, value in found.items() if key not in shown)
    if hasattr(module, "table"):
        yield ""
        yield from module.table(found)


def _module(name: str) -> Any:
    """Of a measurement: what more it says of its figures."""
    from benches import registry

    return registry.modules().get(name)


def _backend(found: dict[str, Any]) -> str:
    """What computed, with its version: TensorFlow, but for measurements that say otherwise of their `device`."""
    device = found.get("device", {})
    return f"JAX {device['jax']}" if "jax" in device else f"TensorFlow {found['machine']['tensorflow']}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
