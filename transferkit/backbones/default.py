"""Which network to build on where none is named: by the pictures' side and by whose weights are here. No Keras."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

import numpy as np

from transferkit.backbones import build, published, weights
from transferkit.backbones.catalog import ROWS, BackboneRow
from transferkit.config.values import POLICY
from transferkit.data.images.opening import PictureError, read_header
from transferkit.data.samples import Samples
from transferkit.data.threads import available_threads
from transferkit.quantities import duration

TINY, PHOTOGRAPHS = "mini", "efficientnet_lite0"
TINY_SIDE = 48  # pixels; mini is made for 32 to 64
LOOKED_AT = 100  # headers are read of so many pictures, spread over all

# Networks that are better at ImageNet than efficientnet_lite0 (75.1 %), best first: accuracy in % as Keras publishes
# it, and billions of multiplications for a picture of the network's own size, as the papers give them. Inception,
# Xception and NASNet are left out: what regularised their training weakens frozen features (Kornblith et al. 2019,
# arXiv:1805.08974); so are ResNet and DenseNet, which cost several times what an EfficientNet of their accuracy does.
STRONGER: tuple[tuple[str, float, float], ...] = (
    ("convnext_large", 86.3, 34.4),
    ("efficientnet_v2_m", 85.3, 24.0),
    ("convnext_base", 85.3, 15.4),
    ("efficientnet_v2_s", 83.9, 8.8),
    ("convnext_small", 82.3, 8.7),
    ("efficientnet_v2_b3", 82.0, 3.0),
    ("efficientnet_b3", 81.6, 1.8),
    ("convnext_tiny", 81.3, 4.5),
    ("efficientnet_v2_b2", 80.5, 1.7),
    ("efficientnet_b2", 80.1, 1.0),
    ("efficientnet_v2_b1", 79.8, 1.2),
    ("efficientnet_b1", 79.1, 0.7),
    ("efficientnet_v2_b0", 78.7, 0.72),
    ("efficientnet_b0", 77.1, 0.39),
)
# Foundation networks under free licences: accuracy on ImageNet of a linear classifier on their frozen features
# (arXiv:2304.07193, table 4), and multiplications for 224 pixels.
FOUNDATION: tuple[tuple[str, float, float], ...] = (
    ("dinov2_large", 86.3, 81.0),
    ("dinov2_base", 84.5, 23.2),
    ("dinov2_small", 81.1, 6.1),
)
BY_ACCURACY = tuple(sorted((*STRONGER, *FOUNDATION), key=lambda row: -row[1]))
BUNDLED = (PHOTOGRAPHS, 75.1, 0.385)
# Multiplications a second and core: what efficientnet_lite0 was measured to do with decoding. A GPU does far more, but
# whether there is one is known only once a backend has been imported; with a GPU, name a network.
SPEED = 1.2e10
AFFORDABLE = 600.0  # seconds for one pass over all pictures and views


@dataclass(frozen=True)
class BackboneChoice:
    """A name of the catalog or of the hub, and why: to be read after "because"."""

    backbone: str
    reason: str


def choose(samples: Samples | None, given: Mapping[str, Any], offline: bool = False) -> BackboneChoice:
    """The network for some pictures, where none is named.

    Tiny pictures get `mini`. All others get the most accurate network whose weights are here, checked, and which this
    machine computes in ten minutes, or `efficientnet_lite0`, whose weights are in the package. A network that the
    settings exclude (a stage it lacks, a size) is passed over.

    Args:
        samples: the pictures; None: nothing is known of them.
        given: settings that were given, which need not be valid.
        offline: whether weights may not be fetched.

    Returns:
        The network's name, and the reason in words.
    """
    side, asked = _side(samples), _whole(given.get("image_size"), 0)
    what = f"the pictures have {side} pixels on their shorter side (median)" if side else "their headers say no size"
    if asked:
        what = f"the pictures are looked at with {asked} pixels"
    tiny = 0 < (asked or side) <= TINY_SIDE
    here = [] if tiny or samples is None else _stronger(len(samples), given, offline)
    costly = {name: why for name, _, _ in here if (why := _too_much(name, given))}
    for name, accuracy, seconds in here:
        if seconds <= AFFORDABLE and name not in costly and _is_sound(name, given):
            return BackboneChoice(
                name,
                f"{what}, and of the EfficientNets, ConvNeXts and DINOv2s whose weights are here it is the most "
                f"accurate on ImageNet ({accuracy:g} %) that looks at them in less than {AFFORDABLE / 60:g} minutes on "
                "this machine",
            )
    bundled = (TINY, PHOTOGRAPHS) if tiny else (PHOTOGRAPHS, TINY)
    fitting = next(
        (name for name in bundled if not _problems(name, given, offline) and not _too_much(name, given)), bundled[0]
    )
    if fitting != bundled[0]:
        return BackboneChoice(fitting, f"{what}, and the other settings do not fit {bundled[0]}")
    slow = [
        f" ({name} is here too, and would need about {costly.get(name) or duration(seconds)})"
        for name, _, seconds in here
        if seconds > AFFORDABLE or name in costly
    ]
    kind = "tiny pictures" if tiny else "photographs"
    return BackboneChoice(fitting, f"{what}, and it is the bundled network for {kind}{''.join(slow[:1])}")


def _stronger(pictures: int, given: Mapping[str, Any], offline: bool) -> list[tuple[str, float, float]]:
    """Those of BY_ACCURACY that are here and fit: name, accuracy, and seconds for one pass over pictures and views."""
    if given.get("weights", "auto") not in ("auto", "imagenet"):
        return []  # a file fits one network, and random weights need none that is here
    views = 0 if given.get("augment") == "none" else _whole(given.get("views"), 4)
    speed = SPEED * available_threads()
    return [
        (name, accuracy, billions * 1e9 * _area(name, given) * pictures * (1 + views) / speed)
        for name, accuracy, billions in BY_ACCURACY
        if _is_here(name, given) and not _problems(name, given, offline)
    ]


def _row(name: str) -> BackboneRow:
    """Of a network that is here."""
    row = ROWS.get(name) or published.row(name)
    assert row is not None
    return row


def _is_here(name: str, given: Mapping[str, Any]) -> bool:
    if name in ROWS:
        return weights.locate(ROWS[name], _size(name, given)) is not None
    return published.here(name) is not None and given.get("weights", "auto") == "auto"


def _is_sound(name: str, given: Mapping[str, Any]) -> bool:
    """Whether its weights are what was published."""
    if name in ROWS:
        return weights.verify(ROWS[name], _size(name, given)).status == "verified"
    return published.is_sound(name)


def _area(name: str, given: Mapping[str, Any]) -> float:
    """Pixels that are looked at, for each that the network's multiplications are given for."""
    return float((_size(name, given) / _row(name).size) ** 2)


def _too_much(name: str, given: Mapping[str, Any]) -> str:
    """What a network is expected to take beyond --max-latency or --max-size; empty where it is within. What is chosen
    is measured before anything is trained (`runs.limits`)."""
    billions = {other: amount for other, _, amount in (*BY_ACCURACY, BUNDLED)}.get(name, 0.0)
    milliseconds = 1e12 * billions * _area(name, given) / (SPEED * available_threads())
    megabytes = 4e-6 * _row(name).parameters
    if milliseconds > _limit(given.get("max_latency")):
        return f"{milliseconds:.0f} ms a picture"
    return f"{megabytes:.0f} MB" if megabytes > _limit(given.get("max_size")) else ""


def _limit(value: Any) -> float:
    """A limit that may still be text, or wrong: then there is none here."""
    try:
        return inf if value is None else float(value)
    except (TypeError, ValueError):
        return inf


def _size(name: str, given: Mapping[str, Any]) -> int:
    return _whole(given.get("image_size"), 0) or _row(name).size


def _problems(name: str, given: Mapping[str, Any], offline: bool) -> list[str]:
    policy = str(given.get("unfreeze", "none"))
    policy = policy if POLICY.fullmatch(policy) else "none"
    size = _whole(given.get("image_size"), 0) or None
    pooler = given.get("pooling") == "pooler"
    found = build.check(name, size, policy, str(given.get("weights", "auto")), offline, pooler)
    if name == TINY and given.get("scaling", "auto") != "auto":
        found.append("its scaling is fixed")
    return found


def _whole(value: Any, otherwise: int) -> int:
    """A setting that may still be text, or wrong."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) < 10 else otherwise


def _side(samples: Samples | None) -> int:
    """Median of the shorter sides of up to LOOKED_AT pictures, from their headers; 0 where none can be read."""
    if samples is None:
        return 0
    sides = []
    for index in np.linspace(0, len(samples) - 1, min(len(samples), LOOKED_AT)):
        source = samples.source(int(index))
        with suppress(PictureError, OSError):
            size = source.shape[:2] if isinstance(source, np.ndarray) else read_header(source).size
            sides.append(min(size))
    return int(median(sides)) if sides else 0
