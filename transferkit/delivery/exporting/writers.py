"""One function a format: the model in, a file for another runtime out. Only these know the converters."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transferkit import compute
from transferkit.compute.engines import write_onnx
from transferkit.data.samples import Pixels
from transferkit.delivery.exporting import tf_functions
from transferkit.errors import ConfigError
from transferkit.runs import model_file
from transferkit.runs.half_weights import halve
from transferkit.runs.model_facts import ModelFacts

Calibration = Callable[[], Iterator[Pixels]]


def write(name: str, source: Path, facts: ModelFacts, to: Path, quantize: str, calibration: Calibration) -> None:
    """Write a model in a format.

    Args:
        name: of the format.
        source: the model's file.
        facts: what it says of it.
        to: the path that is written (a folder for saved_model).
        quantize: the precision, for keras and litert; the others ignore it, `formats.lookup` having refused a choice
            without effect.
        calibration: for litert, an iterator of uint8 [size, size, 3].

    Raises:
        ConfigError: TensorFlow writes this format, and another backend is at work.
    """
    if name == "keras":
        shutil.copyfile(source, to)
        if quantize == "float16" and halve(to, exact=False) is None:
            raise ConfigError(
                "quantize float16 has no effect on this model: its large weights are stored as that already, or it has "
                "none; drop it"
            )
        return
    if compute.backend() != "tensorflow":
        raise ConfigError(f"format {name} is written by TensorFlow; repeat with KERAS_BACKEND=tensorflow")
    model = model_file.load(source)
    with _hushed():
        if name == "saved_model":
            _saved_model(model, facts, to, encoded=tf_functions.decodes_itself(facts))
        elif name == "litert":
            to.write_bytes(_litert(model, facts, quantize, calibration, to.parent))
        else:
            _onnx(model, facts, to)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep what the converters' C++ writes to standard error off the screen; show it if they fail."""
    with tempfile.TemporaryFile() as hidden:
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it, or there is none
            sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            with suppress(OSError):
                os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _saved_model(model: Any, facts: ModelFacts, to: Path, encoded: bool) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.kept = [variable.value for variable in model.variables]  # what is not reachable is not saved
    signatures = {"serving_default": tf_functions.on_pictures(model, facts)}
    if encoded:
        signatures[tf_functions.ENCODED] = tf_functions.on_bytes(model, facts)
    level = tf.get_logger().level
    tf.get_logger().setLevel("ERROR")
    try:
        tf.saved_model.save(module, str(to), signatures=signatures)
    finally:
        tf.get_logger().setLevel(level)


def _litert(model: Any, facts: ModelFacts, quantize: str, calibration: Calibration, scratch: Path) -> bytes:
    import tensorflow as tf

    def pictures() -> Iterator[dict[str, Pixels]]:
        for pixels in calibration():
            yield {tf_functions.INPUT: pixels[None]}

    with tempfile.TemporaryDirectory(dir=scratch) as folder, warnings.catch_warnings():
        # TensorFlow's converter calibrates with its own interpreter and warns that it is deprecated.
        warnings.filterwarnings("ignore", message=r"(?s).*tf\.lite\.Interpreter is deprecated")
        # By way of a SavedModel: only there are variables frozen into constants.
        _saved_model(model, facts, Path(folder) / "model", encoded=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/model", signature_keys=["serving_default"])
        if quantize != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        elif quantize == "int8":
            converter.representative_dataset = pictures
        return bytes(converter.convert())


def _onnx(model: Any, facts: ModelFacts, to: Path) -> None:
    import tensorflow as tf

    size = facts.decode.size
    signature = [tf.TensorSpec((None, size, size, 3), tf.uint8, name=tf_functions.INPUT)]
    write_onnx(tf_functions.on_pictures(model, facts), signature, to)
