"""What travels with an exported model: labels, a page of facts, and a stand-alone example that runs it."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from pathlib import Path

from transferkit import tasks
from transferkit.data.images import reading, sizing, tiff_pages, tones
from transferkit.data.samples import shown
from transferkit.delivery.exporting.formats import Format
from transferkit.delivery.exporting.tf_functions import ENCODED, INPUT, decodes_itself
from transferkit.files import write_json, write_text
from transferkit.runs.model_facts import ModelFacts

NORMALIZED = {
    "none": "none", "unit": "x / 255", "tf": "x / 127.5 - 1", "tf128": "x / 128 - 1",
    "torch": "(x / 255 - mean) / std of ImageNet", "caffe": "BGR, minus the mean of ImageNet",
}  # fmt: skip
# In this order: each uses what is above it.
DECODER = (sizing, tones, tiff_pages, reading)
# install, import, lines that give `answer` for `pixels` uint8 [1, size, size, 3]
CALLS: dict[str, tuple[str, str, str]] = {
    "keras": (
        "tensorflow keras", "import keras",
        'model = keras.saving.load_model(here / "{file}")\nanswer = model.predict(pixels, verbose=0)[0]',
    ),
    "saved_model": (
        "tensorflow", "import tensorflow as tf",
        'model = tf.saved_model.load(str(here / "{file}"))\n'
        'answer = model.signatures["serving_default"](pictures=tf.constant(pixels))["{output}"][0].numpy()',
    ),
    "litert": (
        "ai-edge-litert", "from ai_edge_litert.interpreter import Interpreter",
        'model = Interpreter(str(here / "{file}")).get_signature_runner()\n'
        'answer = model(pictures=pixels)["{output}"][0]',
    ),
    "onnx": (
        "onnxruntime",
        'import os\n\nos.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at import\nimport onnxruntime',
        'model = onnxruntime.InferenceSession(here / "{file}", providers=["CPUExecutionProvider"])\n'
        'answer = model.run(["{output}"], {{"pictures": pixels}})[0][0]',
    ),
}  # fmt: skip
EXAMPLE = '''"""What is in the picture? python example.py PICTURE

Needs: pip install {install} pillow numpy opencv-python-headless
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def printable(text):
    """On one line, and nothing that a terminal would obey: names may come from anywhere."""
    return text if text.isprintable() else ascii(text)[1:-1]


try:
    facts = json.loads((here / "export.json").read_text("utf-8"))
except OSError as error:
    sys.exit(f"{{here / 'export.json'}} cannot be read ({{error.strerror}}); keep this program beside its files")
if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
    labels = [printable(name) for name in facts["labels"]]
    more = f" and {{len(labels) - 20}} more (labels.txt)" if len(labels) > 20 else ""
    usage = (
        f"Says what is in one picture, by the model in {file}.\\n\\n"
        f"usage: python {{Path(__file__).name}} PICTURE\\n"
        f"for example: python {{Path(__file__).name}} photo.jpg\\n\\n"
        f"{what}: {{', '.join(labels[:20])}}{{more}}\\n"
        "Needs: pip install {install} pillow numpy opencv-python-headless"
    )
    asked = sys.argv[1:] in (["-h"], ["--help"])
    print(usage, file=sys.stdout if asked else sys.stderr)
    sys.exit(0 if asked else 2)

{imports}

# ---- The decoder: the text of what read the pictures in training, unchanged, so that answers are the same.
# What it refuses there (damaged, too large, colours in LAB, …) it refuses here, and says why.

{decoder}

# ---- The model.

size, resize = facts["input"]["size"], "{resize}"
try:
    with open(sys.argv[1], "rb") as handle:
        picture = read(handle, size, resize, intensity="{intensity}")
except (OSError, ReadingError) as error:
    sys.exit(f"{{printable(sys.argv[1])}}: {{printable(str(error))}}")
pixels = fitted(np.asarray(picture), size, resize)[None]
{call}
best = sorted(zip(facts["labels"], answer.tolist()), key=lambda pair: -pair[1])
print("\\n".join(f"{{printable(name)}} {{value:.4f}}" for name, value in best[:3]))
'''


def write(folder: Path, row: Format, facts: ModelFacts, quantize: str, origin: dict[str, object]) -> None:
    """Write labels.txt, example.py and export.json (without the figures of the check) into `folder`.

    Args:
        folder: of the export.
        row: its format.
        facts: what the model's file says of it.
        quantize: its precision.
        origin: what export.json says of where it comes from.
    """
    # One line each, whatever the names hold; export.json has them exactly.
    write_text(folder / "labels.txt", "".join(f"{shown(name)}\n" for name in facts.classes))
    write_text(folder / "example.py", example(row, facts))
    write_json(folder / "export.json", describe(row, facts, quantize) | origin)


def example(row: Format, facts: ModelFacts) -> str:
    """The stand-alone program: the decoder's own text and the format's runtime, nothing of transferkit.

    Args:
        row: the format.
        facts: what the model's file says of it.
    """
    if row.exporter is None:
        install, imports, call = CALLS[row.name]
        call = call.format(file=row.file, output=tasks.of(facts.task).output_name)
    else:
        install, imports = row.exporter.install, row.exporter.imports
        call = row.exporter.call.replace("{file}", row.file)
    return EXAMPLE.format(
        install=install, imports=imports, call=call, decoder=decoder(), resize=facts.decode.resize,
        intensity=facts.decode.intensity, file=row.file,
        what="It answers" if tasks.of(facts.task).numbers else "Classes",
    )  # fmt: skip


def decoder() -> str:
    """The text of the decoder's self-contained modules as one piece: imports once, docstrings of modules left out."""
    plain, named, bodies = set[str](), defaultdict[str, set[str]](set), []
    for module in DECODER:
        text = inspect.getsource(module)
        imports = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in imports:
            names = {ast.unparse(alias) for alias in node.names}
            if isinstance(node, ast.Import):
                plain |= names
            elif str(node.module).partition(".")[0] not in ("__future__", "transferkit"):
                named[str(node.module)] |= names
        bodies.append("\n".join(text.splitlines()[imports[-1].end_lineno :]).strip())
    lines = [*(f"import {name}" for name in sorted(plain))]
    lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(named.items())]
    # One name space: what `reading` asks the others for is simply there.
    return "\n".join(lines) + "\n\n" + "\n\n\n".join(bodies).replace("tones.", "").replace("tiff_pages.", "")


def describe(row: Format, facts: ModelFacts, quantize: str) -> dict[str, object]:
    """What a program needs to know to feed the file and to read its answers.

    Args:
        row: the format.
        facts: what the model's file says of it.
        quantize: its precision.
    """
    size, task = facts.decode.size, tasks.of(facts.task)
    signatures = {"serving_default": INPUT, **({ENCODED: ENCODED} if decodes_itself(facts) else {})}
    signatures = signatures if row.name == "saved_model" else {}
    return {
        "format": row.name,
        "file": row.file,
        "runtime": row.runtime,
        "precision": quantize,
        "task": facts.task,
        "labels": facts.classes,
        "input": {
            "name": INPUT, "shape": ["n", size, size, 3], "dtype": "uint8", "range": [0, 255], "channels": "RGB",
            "size": size, "resize": facts.decode.resize, "exif_rotation": "apply before",
            "decoder": facts.decode.as_json(),
        },
        "output": {"name": task.output_name, "shape": ["n", len(facts.classes)], "dtype": "float32"},
        **({"signatures": signatures} if signatures else {}),
        "preprocessing": {
            "inside_the_model": True, "scaling": facts.scaling,
            "formula": NORMALIZED.get(facts.scaling or "", facts.scaling),
        },
        "temperature": {"value": facts.temperature, "inside_the_model": True},
        "thresholds": facts.thresholds,
        "backbone": facts.backbone,
        "weights": facts.weights,
    }  # fmt: skip
