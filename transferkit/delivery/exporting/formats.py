"""What can be exported: a literal table of formats, what each needs installed, and the bar each has to pass."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from transferkit import plugins
from transferkit.errors import ConfigError, nearest
from transferkit.plugins import Plugin

QUANTIZE = ("float32", "float16", "int8")


@dataclass(frozen=True)
class Gate:
    """What an exported file must reach on real pictures.

    `largest` is the largest difference of any output (probabilities; for numbers, in standard deviations of the
    model's own answers), None where only `agreement` counts: the share of decisions that come out alike.
    """

    largest: float | None
    agreement: float


@dataclass(frozen=True)
class Format:
    """One row of the table. `needs` are modules that must be importable; `extra` is what installs them.

    `precisions` are those that it can be written in. Of a plugin's format, `exporter` is the record and `plugin` says
    whose.
    """

    name: str
    file: str
    runtime: str
    extra: str = ""
    needs: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("float32",)
    exporter: plugins.Exporter | None = None
    plugin: Plugin | None = None

    @property
    def quantizes(self) -> bool:
        """Whether the precision is a choice."""
        return len(self.precisions) > 1


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format("keras", "model.keras", "keras", precisions=("float32", "float16")),
        Format("saved_model", "saved_model", "tf.saved_model"),
        # Without ai-edge-litert the check falls back to TensorFlow's own copy of the interpreter.
        Format("litert", "model.tflite", "ai-edge-litert", "litert", (), QUANTIZE),
        Format("onnx", "model.onnx", "onnxruntime", "onnx", ("tf2onnx", "onnx", "onnxruntime")),
    )
}

# float16 keeps 11 bits of each weight (0.03 at most over 200 photographs in a MobileNet), int8 keeps 8 of weights and
# activations: there the decision is what counts.
GATES: dict[str, Gate] = {"float32": Gate(1e-4, 1.0), "float16": Gate(0.05, 0.98), "int8": Gate(None, 0.95)}


def lookup(name: str, quantize: str | None) -> tuple[Format, str]:
    """The table's row and the precision.

    Args:
        name: of the format.
        quantize: what was asked for, if anything.

    Raises:
        ConfigError: unknown names, a precision without effect, or a package that is missing.
    """
    row = FORMATS.get(name) or _offered(name)
    if quantize is not None and quantize not in QUANTIZE:
        raise ConfigError(f"quantize '{quantize}' is unknown; choose from {', '.join(QUANTIZE)}")
    if quantize is not None and (quantize not in row.precisions or not row.quantizes):
        able = ", ".join(f.name for f in FORMATS.values() if f.quantizes and quantize in f.precisions)
        raise ConfigError(f"quantize {quantize} has no effect on format {name}; drop it, or choose format {able}")
    missing = [module for module in row.needs if importlib.util.find_spec(module) is None]
    if missing:
        install = f"'transferkit[{row.extra}]'" if row.exporter is None else row.exporter.install
        raise ConfigError(f"format {name} needs {', '.join(missing)}; install with: pip install {install}")
    return row, quantize or "float32"


def _offered(name: str) -> Format:
    """A plugin's format. Raises ConfigError where none has that name, or the plugin cannot be used."""
    found = plugins.resolve("exporters", name)
    if found is None:
        known = [*FORMATS, *plugins.names("exporters", FORMATS)]
        raise ConfigError(f"format '{name}' is unknown; choose from {', '.join(known)}{nearest(name, known)}")
    plugin, said = found
    return Format(name, said.file, said.load, needs=said.needs, exporter=said, plugin=plugin)
