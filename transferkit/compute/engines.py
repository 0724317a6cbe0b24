"""Other engines for a network that no longer changes, on a processor: OpenVINO and ONNX Runtime, both in float32.

Each gets TensorFlow's graph of the model with its weights as constants. They are extras: what is not installed is not
offered. Nothing here decides which is used (see `features.engine_choice`); a failure of any kind is an `EngineError`.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from transferkit import native_logs
from transferkit.compute.late_transpose import transpose_late
from transferkit.compute.optional import absent
from transferkit.compute.types import Arrays, Forward, flat
from transferkit.storage import scratch

INPUT = "pictures"
OPSET = 18  # of ONNX: what tf2onnx 1.17 writes at most, and onnxruntime reads since 1.14

One = Callable[[np.ndarray], Arrays]  # uint8 [1, size, size, 3] → outputs [1, …]; called from several threads


class EngineError(Exception):
    """An engine could not take the network, or failed while it computed."""


@dataclass(frozen=True)
class Engine:
    """`package` says the version; `modules` have to be there. `own_threads`: it computes on threads of its own."""

    title: str
    package: str
    modules: tuple[str, ...]
    own_threads: bool = False


ENGINES = {
    "openvino": Engine("OpenVINO", "openvino", ("openvino",), own_threads=True),
    "onnxruntime": Engine("ONNX Runtime", "onnxruntime", ("onnxruntime", "tf2onnx", "onnx")),
}


def installed() -> list[str]:
    """Engines whose packages are there, the one to be tried first before the others."""
    return [name for name, engine in ENGINES.items() if all(find_spec(module) for module in engine.modules)]


def engine_version(name: str) -> str:
    """Of the installed package; empty where there is none."""
    try:
        return version(ENGINES[name].package)
    except PackageNotFoundError:
        return ""


def forward(name: str, model: Any, threads: int, together: bool = False) -> Forward:
    """The inference pass of a network by another engine.

    Pictures are computed one by one, each on one thread: activations of one picture stay in the caches, and no core
    waits for another. A call may have any number of pictures, and several calls share the threads.

    Args:
        name: of the engine, a key of `ENGINES`.
        model: with one input, uint8 pictures [n, height, width, 3].
        threads: how many pictures are computed at a time.
        together: one picture at a time instead, on all threads: for calls of one picture.

    Raises:
        EngineError: the engine cannot be used for this network; its calls raise the same.
    """
    compiled = {"openvino": _openvino, "onnxruntime": _onnxruntime}.get(name)
    if compiled is None:
        raise EngineError(f"there is no engine '{name}' here")
    with _failing(name):
        run = compiled(model, threads, together)
    # An engine with threads of its own finds the next picture waiting: between two calls a core would be idle.
    workers = 1 if together else 2 * threads if ENGINES[name].own_threads else threads
    pool = ThreadPoolExecutor(workers, f"transferkit-{name}")

    def call(inputs: Sequence[Any], rows: np.ndarray | None = None) -> Arrays:
        assert rows is None, "engines take pictures, which are never held"
        pixels = np.require(inputs[0], np.uint8, ["C_CONTIGUOUS", "WRITEABLE"])  # OpenVINO reads them where they lie
        found: list[Arrays] = [[]] * len(pixels)
        left = iter(range(len(pixels)))

        def work() -> None:
            for number in left:  # shared: to hand each picture over by itself takes a tenth of a small network's time
                found[number] = run(pixels[number : number + 1])

        with _failing(name):
            for worker in [pool.submit(work) for _ in range(min(workers, len(pixels)))]:
                worker.result()
            return [np.concatenate(tensors, dtype=np.float32) for tensors in zip(*found, strict=True)]

    return call


@contextmanager
def _failing(name: str) -> Iterator[None]:
    """What goes wrong inside is an EngineError of engine `name`, a full memory too: TensorFlow takes less at a time."""
    try:
        yield
    except Exception as error:  # whatever converters and runtimes raise
        words = " ".join(str(error).split())[:200]
        raise EngineError(f"{ENGINES[name].title}: {type(error).__name__}: {words}") from error


def _function(model: Any) -> Any:
    """tf.function: uint8 [1, size, size, 3] → {"output_0000": float32, …}, in inference mode."""
    import tensorflow as tf

    signature = [tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.uint8, name=INPUT)]

    @tf.function(input_signature=signature, autograph=False)
    def answer(pictures: Any) -> dict[str, Any]:
        outputs = flat(model(pictures, training=False))
        return {_output(i): tf.identity(tf.cast(o, tf.float32)) for i, o in enumerate(outputs)}

    return answer


def _output(number: int) -> str:
    """A name of an output. TensorFlow puts outputs in the order of their names."""
    return f"output_{number:04d}"


def _openvino(model: Any, threads: int, together: bool) -> One:
    """By way of a frozen graph in a file, which its runtime reads by itself."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = convert_variables_to_constants_v2(_function(model).get_concrete_function())
    runtime = _openvino_alone()
    core = runtime.Core()
    with scratch() as folder:
        path = folder / "model.pb"
        path.write_bytes(graph.graph.as_graph_def().SerializeToString())
        read = core.read_model(path)
        names = [tensor.name.partition(":")[0] for tensor in graph.outputs]
        order = _outputs(read, names)
        transpose_late(read, runtime.opset13)
        streams = 1 if together else threads
        settings = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads,
                    # Else the first stream of every process is tied to the first core, where others compute too.
                    "ENABLE_CPU_PINNING": False}  # fmt: skip
        compiled = core.compile_model(read, "CPU", settings)
    own = threading.local()  # a request serves one thread

    def run(pixels: np.ndarray) -> Arrays:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        # Not `infer`, which looks at what it is given and gives: that takes a twentieth of a small network's time.
        own.request.set_input_tensor(runtime.Tensor(pixels, shared_memory=True))
        own.request.start_async()
        own.request.wait()
        return [np.array(own.request.get_output_tensor(number).data) for number in order]

    return run


def _openvino_alone() -> ModuleType:
    """OpenVINO without its converter, whose very import sends statistics of use to its makers and leaves an identity in
    the home folder."""
    with absent("openvino.tools.ovc"):  # which OpenVINO allows for
        return importlib.import_module("openvino")


def _outputs(read: Any, names: Sequence[str]) -> list[int]:
    """Where each of the graph's outputs is among those of the model that was read."""
    known = [{name.partition(":")[0] for name in output.get_names()} for output in read.outputs]
    return [next(number for number, here in enumerate(known) if name in here) for name in names]


def _onnxruntime_alone() -> ModuleType:
    """ONNX Runtime without the statistics of use for its makers, whose identity and store its import leaves in the home
    folder."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # which it reads when it is imported (1.32)
    return importlib.import_module("onnxruntime")


def _onnxruntime(model: Any, threads: int, together: bool) -> One:
    onnxruntime, function = _onnxruntime_alone(), _function(model)
    with scratch() as folder:
        path = folder / "model.onnx"
        with native_logs.filtered():
            write_onnx(function, function.input_signature, path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Each of our threads runs the session by itself.
        options.intra_op_num_threads = threads if together else 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [_output(i) for i in range(len(session.get_outputs()))]
    return lambda pixels: list(session.run(names, {INPUT: pixels}))


def write_onnx(function: Any, signature: Sequence[Any], to: Path) -> None:
    """Write a tf.function as ONNX.

    Args:
        function: the tf.function.
        signature: of its inputs, as tf.TensorSpec.
        to: the file.
    """
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it cannot write fails where it is read
    tf2onnx.convert.from_function(
        function,
        input_signature=list(signature),
        opset=OPSET,
        custom_op_handlers={"Erfc": (_complement_of_erf, [])},
        output_path=str(to),
    )


def _complement_of_erf(graph: Any, node: Any, _name: str, _arguments: Any) -> None:
    """TensorFlow's exact GELU is written with erfc, which ONNX has not: 1 - erf."""
    made = {"shapes": [graph.get_shape(node.output[0])], "dtypes": [graph.get_dtype(node.output[0])]}
    one = graph.make_const(f"{node.name}_one", np.array(1.0, np.float32)).output[0]
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", [node.input[0]], name=f"{node.name}_erf", **made)
    graph.make_node("Sub", [one, erf.output[0]], name=node.name, outputs=node.output, **made)
