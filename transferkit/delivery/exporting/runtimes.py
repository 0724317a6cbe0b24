"""Run an exported file by its own runtime; started as a program, and imports nothing of transferkit.

python -P runtimes.py FORMAT FILE INPUTS.npz OUTPUTS.npz: `pictures` uint8 [n, size, size, 3] in; `outputs` float32
[n, t], `latency` (median seconds a picture, one at a time) and `runtime` out. A SavedModel also answers `encoded`
(bytes of files), as `encoded_outputs`. FORMAT may also be a plugin's "module:function".
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Answer = Callable[[Any], Any]
Loaded = tuple[Answer, str, Answer | None]  # on pictures, name and version of the runtime, on bytes of files

WARM, TIMED = 3, 30


def _keras(path: str) -> Loaded:
    import keras

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    return model.predict_on_batch, f"keras {keras.__version__}", None


def _saved_model(path: str) -> Loaded:
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    plain = loaded.signatures["serving_default"]
    encoded: Any = dict(loaded.signatures).get("encoded")  # of a model whose pictures no graph can read there is none

    def answer(pictures: Any) -> Any:
        return next(iter(plain(pictures=tf.constant(pictures)).values())).numpy()

    def decoded(contents: Any) -> Any:
        return next(iter(encoded(encoded=tf.constant(contents)).values())).numpy()

    answer.loaded = loaded  # type: ignore[attr-defined]  # signatures hold their variables weakly
    return answer, f"tensorflow {tf.__version__}", None if encoded is None else decoded


def _litert(path: str) -> Loaded:
    try:
        from ai_edge_litert.interpreter import Interpreter

        name = f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
    except ImportError:
        import tensorflow as tf

        Interpreter, name = tf.lite.Interpreter, f"tensorflow.lite {tf.__version__}"  # noqa: N806
    runner = Interpreter(model_path=path).get_signature_runner()
    return lambda pictures: next(iter(runner(pictures=pictures).values())), name, None


def _onnx(path: str) -> Loaded:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(None, {"pictures": pictures})[0], f"onnxruntime {onnxruntime.__version__}", None


def _offered(name: str) -> Callable[[str], Loaded]:
    """A plugin's loader, which gives (answer, runtime)."""
    module, _, function = name.partition(":")
    load = getattr(importlib.import_module(module), function)

    def loaded(path: str) -> Loaded:
        answer, runtime = load(path)
        return answer, str(runtime), None

    return loaded


def main(kind: str, path: str, inputs: str, outputs: str) -> None:
    """Answer every picture by itself, as most uses do.

    Args:
        kind: the format, or `module:function` of a plugin's loader.
        path: the exported file, or folder.
        inputs: .npz of pictures.
        outputs: .npz that is written.
    """
    with np.load(inputs, allow_pickle=False) as given:
        pictures, files, ends = given["pictures"], given["files"].tobytes(), given["ends"]
    own = {"keras": _keras, "saved_model": _saved_model, "litert": _litert, "onnx": _onnx}
    load = _offered(kind) if ":" in kind else own[kind]
    answer, runtime, decoded = load(path)
    found: dict[str, Any] = {
        "outputs": np.concatenate([np.asarray(answer(p[None]), np.float32) for p in pictures]),
        "runtime": runtime,
    }
    seconds = []
    for i in range(WARM + TIMED):
        start = time.perf_counter()
        answer(pictures[i % len(pictures)][None])
        seconds.append(time.perf_counter() - start)
    found["latency"] = float(np.median(seconds[WARM:]))
    if decoded is not None and len(ends):
        starts = [0, *ends[:-1]]
        contents = [files[a:b] for a, b in zip(starts, ends, strict=True)]
        found["encoded_outputs"] = np.concatenate([decoded([content]) for content in contents])
    if "transferkit" in sys.modules:
        raise SystemExit(f"{kind} imports transferkit; where the file is used, there is none")
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
