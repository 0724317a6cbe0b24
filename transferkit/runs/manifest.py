"""run.json: what was done, with what, on what, and the command that repeats it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from typing import Any

from transferkit._version import __version__
from transferkit.config import Settings
from transferkit.data.samples import Samples
from transferkit.data.split import Splits
from transferkit.files import digest, write_json
from transferkit.runs.layout import Layout

PACKAGES = ("keras", "tensorflow", "jax", "numpy", "pillow", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    found = {"transferkit": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores and memory."""
    from transferkit.features.precision import cpu_name

    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "memory_bytes": memory, "system": platform.platform()}


def data_digest(samples: Samples) -> str:
    """Changes when any picture, label, or given split changes; not when the folder moves."""
    assert samples.sha256 is not None
    labels = [samples.label(i) for i in range(len(samples))]
    return digest([sorted(zip(samples.paths, samples.sha256, labels, strict=True)), list(samples.classes)])


def split_digest(samples: Samples, splits: Splits) -> str:
    """Changes when any picture changes sides."""
    return digest(sorted(zip(samples.paths, splits.assignment, splits.fold, strict=True)))


def command_line(data: str, settings: Settings, output: str) -> str:
    """The shell command that repeats a run."""
    import shlex

    parts = ["transferkit", "finetune", data]
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if name not in settings.model_fields_set or value is None:
            continue
        flag = "--" + name.replace("_", "-")
        if name == "exclude":
            parts += [word for item in value for word in (flag, item)]
        elif isinstance(value, bool):
            parts.append(flag if value else "--no-" + flag[2:])
        else:
            parts += [flag, ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)]
    return shlex.join([*parts, "--output", output])


class Manifest:
    """run.json while it grows: every change is written whole."""

    def __init__(self, layout: Layout, content: dict[str, Any]) -> None:
        self.layout = layout
        self.content = content

    @classmethod
    def start(cls, layout: Layout, data: str, settings: Settings, command: str, kind: str = "finetune") -> Manifest:
        """A manifest with status `running`."""
        return cls(
            layout,
            {
                "status": "running",
                "kind": kind,
                "command": command,
                "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "config": settings.model_dump(mode="json"),
                "given": sorted(settings.model_fields_set),
                "seed": settings.seed,
                "data": {"path": data},
                "versions": versions(),
                "hardware": hardware(),
                "argv0": os.path.basename(sys.argv[0]),
                "timings": {},
            },
        )

    def update(self, **entries: Any) -> None:
        """Change entries and write."""
        self.content.update(entries)
        self.write()

    def write(self) -> None:
        """Write run.json."""
        write_json(self.layout.manifest, self.content)
