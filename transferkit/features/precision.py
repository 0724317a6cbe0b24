"""The number format of the frozen part and of tails in training: the fastest that agrees with float32, measured once
and remembered. What is shipped computes in float32, so a format that was asked for has to agree with it too.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import compute
from transferkit.compute import keras_private
from transferkit.console import Reporter
from transferkit.errors import ConfigError
from transferkit.files import digest
from transferkit.seals import recalled, remember
from transferkit.storage import cache_folder

COSINE = 0.999  # features of both formats must point the same way at least this well
WORTHWHILE = 2e12  # multiply-adds of the whole job below which a probe costs more than it can save
PROBE_REPEATS = 3
GPU_BATCH = 64  # pictures of a probe on a GPU: as many as extraction gives it
FROZEN_GAIN = 1.05
TRAINING_GAIN = 1.3  # how much faster a training step must be: nearly equal ones must not be told apart by chance
# Logits of standardised features magnify rounding; training adapts to it, and what comes of it is judged in float32.
TRAINING_COSINE = 0.99
TRAINING_COST = 3  # a training step computes about three times what a forward pass does


@dataclass(frozen=True)
class Precision:
    """How the frozen part computes. `how` is "plain", "graph" (oneDNN rewrite, CPU), "policy" (mixed dtypes), or the
    name of another engine than Keras' backend (`compute.engines`)."""

    name: str = "float32"
    how: str = "plain"
    reason: str = "asked for"

    @property
    def engine(self) -> str:
        """The other engine; empty where Keras' backend computes."""
        return "" if self.how in ("plain", "graph", "policy") else self.how


def candidates(requested: str) -> list[Precision]:
    """Formats that `requested` allows on this machine, float32 first for `auto`.

    Raises ConfigError for float16 on a CPU: it is slower there than float32 and overflows.
    """
    gpu = compute.gpu_count() > 0
    if requested == "float16" and not gpu:
        raise ConfigError("--precision float16 needs a GPU; on a CPU use auto, float32 or bfloat16")
    if requested in ("float32", "float16"):
        return [Precision(requested, "policy" if requested == "float16" else "plain")]
    graph = compute.backend() == "tensorflow" and not gpu and _cpu_flag("avx512f", "avx_ne_convert")
    low = Precision("bfloat16", "graph" if graph else "policy")  # without these units the rewrite does nothing
    if requested == "bfloat16":
        return [low]
    return (
        [Precision(reason="the only format this machine gains by"), low]
        if gpu or _cpu_flag("amx_bf16", "avx512_bf16")
        else [Precision(reason="this CPU has no bfloat16 units")]
    )


def choose(
    requested: str,
    network: Any,
    pixels: Callable[[], np.ndarray],
    rows: int,
    key: Mapping[str, object],
    reporter: Reporter,
) -> Precision:
    """The precision for the frozen part.

    A low precision that was asked for is taken, whatever its speed, where its outputs agree with float32's: a head that
    learnt from others would not fit the network it is shipped with.

    Args:
        requested: "auto", "float32", "bfloat16" or "float16".
        network: uint8 pixels → tensors.
        pixels: gives uint8 [n, size, size, 3] of real pictures for the probe.
        rows: pictures that will go through it; a probe has to pay.
        key: names the network and size, under which the answer is remembered.
        reporter: is told where a probe is made.

    Returns:
        The precision, with the reason.
    """
    options = candidates(requested)
    if options == [Precision()] or (requested == "auto" and len(options) == 1):
        return options[0]
    if requested != "auto":
        asked = {**key, "asked": requested}
        return _agreeing(options[0], asked, lambda: _outputs(options[0], network, pixels()), COSINE)
    if multiply_adds(network) * rows < WORTHWHILE:
        return Precision(reason="too little work for a probe to pay")
    memory = cache_folder() / "precision" / f"{digest({**key, 'machine': machine()})[:32]}.json"
    remembered = _remembered(memory, options)
    if remembered is not None:
        return remembered
    reporter.say("precision: probing float32 against bfloat16 (once for this network and machine)")
    chosen = _probe(options, network, pixels())
    remember(memory, {"name": chosen.name, "how": chosen.how, "reason": chosen.reason})
    reporter.say(f"precision: {chosen.name} ({chosen.reason})")
    return chosen


# What training in one format comes to: seconds a step, and outputs [n, t] of the untrained model for the same rows.
Trial = Callable[[Precision], tuple[float, np.ndarray]]


def choose_training(
    requested: str, network: Any, trial: Trial, pictures: int, key: Mapping[str, object], reporter: Reporter
) -> Precision:
    """The precision in which a network is trained.

    Always through dtype policies, so that weights, losses and the last layer stay float32. A format that was asked for
    is taken, whatever its speed, where its outputs agree with float32's.

    Args:
        requested: "auto", "float32", "bfloat16" or "float16".
        network: what is trained.
        trial: measures a step in a precision.
        pictures: pictures that it trains on, counted over all epochs; a probe has to pay.
        key: names what is trained, under which the answer is remembered.
        reporter: is told of probe and answer.

    Returns:
        The precision, with the reason.
    """
    if requested == "float32":
        return Precision()
    if requested != "auto":
        low = Precision(requested, "policy")
        asked = {**key, "training": True, "asked": requested}
        return _agreeing(low, asked, lambda: (trial(Precision())[1], trial(low)[1]), TRAINING_COSINE)
    if not (compute.gpu_count() or _cpu_flag("amx_bf16", "avx512_bf16")):
        return Precision(reason="this CPU has no bfloat16 units")
    if multiply_adds(network) * pictures * TRAINING_COST < WORTHWHILE:
        return Precision(reason="too little work for a probe to pay")
    options = [Precision(), Precision("bfloat16", "policy")]
    memory = cache_folder() / "precision" / f"{digest({**key, 'training': True, 'machine': machine()})[:32]}.json"
    chosen = _remembered(memory, options)
    if chosen is None:
        reporter.say("precision: probing training steps in float32 and bfloat16 (once for this tail and machine)")
        (slow, reference), (fast, other) = (trial(option) for option in options)
        chosen = _decided(
            slow / fast, TRAINING_GAIN, float(np.min(_cosine(reference, other))), TRAINING_COSINE, options[1]
        )
        remember(memory, {"name": chosen.name, "how": chosen.how, "reason": chosen.reason})
    reporter.say(f"precision: the tail trains in {chosen.name} ({chosen.reason})")
    return chosen


def _remembered(memory: Path, options: list[Precision]) -> Precision | None:
    """An earlier probe's choice; None where there is none, or it is damaged or no option here."""
    try:
        found = Precision(**recalled(memory))
    except (OSError, ValueError, TypeError):
        return None
    return found if (found.name, found.how) in [(o.name, o.how) for o in options] else None


def _agreeing(
    low: Precision, key: Mapping[str, object], outputs: Callable[[], tuple[np.ndarray, np.ndarray]], agreement: float
) -> Precision:
    """`low`, which was asked for, if the second of `outputs()` agrees with the first, float32's; float32 otherwise."""
    memory = cache_folder() / "precision" / f"{digest({**key, 'machine': machine()})[:32]}.json"
    chosen = _remembered(memory, [Precision(), low])
    if chosen is None:
        cosine = float(np.min(_cosine(*outputs())))
        chosen = low if cosine >= agreement else Precision(reason=_differs(low, cosine, agreement))
        remember(memory, {"name": chosen.name, "how": chosen.how, "reason": chosen.reason})
    return chosen


def _outputs(low: Precision, network: Any, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [n, d] of `network` in float32 and in `low`."""
    found = []
    for option in (Precision(), low):
        with applied(network, option):
            found.append(compute.forward(network, graph_bfloat16=option.how == "graph")([pixels])[-1])
    return found[0].reshape(len(pixels), -1), found[1].reshape(len(pixels), -1)


def _differs(low: Precision, cosine: float, agreement: float) -> str:
    return f"{low.name} outputs differ (cosine {cosine:.4f} < {agreement})"


def _probe(options: list[Precision], network: Any, pixels: np.ndarray) -> Precision:
    measured = []
    if compute.gpu_count():  # a few pictures would tell how long a GPU takes to begin, not how fast it is
        pixels = np.resize(pixels, (GPU_BATCH, *pixels.shape[1:]))
    for option in options:
        with applied(network, option):
            plain = compute.forward(network, graph_bfloat16=option.how == "graph")
            run = compute.halving(plain, lambda _: None)  # as extraction does, which tells of it
            outputs = run([pixels])[-1]
            seconds = []
            for _ in range(PROBE_REPEATS):
                start = time.perf_counter()
                run([pixels])
                seconds.append(time.perf_counter() - start)
        measured.append((min(seconds), outputs.reshape(len(pixels), -1)))
    (slow, reference), (fast, other) = measured
    return _decided(slow / fast, FROZEN_GAIN, float(np.min(_cosine(reference, other))), COSINE, options[1])


def _decided(gain: float, least: float, cosine: float, agreement: float, low: Precision) -> Precision:
    """`low` if it is at least `least` times as fast as float32 and its outputs agree with float32's."""
    if not cosine >= agreement:  # NaN too
        return Precision(reason=_differs(low, cosine, agreement))
    if gain < least:
        return Precision(reason=f"{low.name} is not clearly faster here ({gain:.2f} ×)")
    return Precision(low.name, low.how, f"{gain:.1f} × the speed of float32, outputs agree to cosine {cosine:.4f}")


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product: np.ndarray = (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    return product


@contextmanager
def applied(network: Any, precision: Precision) -> Iterator[None]:
    """Compute `network`'s layers in `precision` inside the context; weights stay float32 throughout.

    Args:
        network: the model whose layers are switched, and switched back.
        precision: one that is not of "policy" changes nothing here.
    """
    if precision.how != "policy":
        yield
        return
    import keras

    # Layers that ask for float32 themselves (preprocessing, softmax) keep it: only those on the default change.
    layers = [layer for layer in keras_private.all_layers(network) if _switchable(layer)]
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy(f"mixed_{precision.name}")
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy


KEEP_FLOAT32 = ("Rescaling", "Normalization", "InputLayer", "Functional", "Sequential")
KEEP_NAMES = (
    "rgb_to_bgr", "avg_pool", "max_pool", "normalize", "logits", "probabilities", "temperature", "target_units",
)  # fmt: skip


def _switchable(layer: Any) -> bool:
    return type(layer).__name__ not in KEEP_FLOAT32 and layer.name not in KEEP_NAMES


def multiply_adds(network: Any) -> float:
    """Multiply-adds of one picture in convolutions and dense layers (what dominates the time of a network)."""
    total = 0.0
    for layer in keras_private.all_layers(network):
        shape = getattr(getattr(layer, "output", None), "shape", None)
        if shape is None:
            continue
        places = float(np.prod([d or 1 for d in shape[1:-1]]))
        # Separable convolutions have two kernels and none of the plain name.
        for name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
            kernel = getattr(layer, name, None)
            if kernel is not None:
                total += places * float(np.prod(kernel.shape))
    return total


def machine() -> dict[str, str]:
    """What decides speed: processor, backend and its version."""
    import keras

    return {"cpu": cpu_name(), "keras": keras.__version__, **compute.backend_versions()}


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cpu_flag(*names: str) -> bool:
    """Whether the processor has any of these units, where the system tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return any(name in flags for name in names)
