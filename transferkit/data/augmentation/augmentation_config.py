"""Ranges that augmented views are drawn from: four presets, or your own. Validated, and its own cache key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args
from uuid import uuid4

from transferkit import plugins
from transferkit.errors import ConfigError
from transferkit.record import JsonObject

AUGMENT_VERSION = 3  # part of every cache key: raised whenever a view's pixels change
Preset = Literal["none", "light", "medium", "strong"]
PRESET_NAMES: tuple[Preset, ...] = get_args(Preset)
_LIMITS = {
    "rotate": (0, 180), "zoom": (0.3, 2.0), "shift": (0, 0.4), "shear": (0, 40), "brightness": (0, 0.9),
    "contrast": (0, 0.9), "saturation": (0, 1), "hue": (0, 0.5), "erase": (0, 0.5),
}  # fmt: skip


@dataclass(frozen=True)
class AugmentationRanges:
    """Ranges that views are drawn from, each uniformly.

    rotate, shear: degrees, -r … r. zoom: (from, to), the share of the frame that is seen; below 1 enlarges.
    shift: share of the side, -s … s in each direction. flip_horizontal, flip_vertical: mirrored in half of
    the views. brightness, contrast, saturation: factor 1-x … 1+x. hue: turn of the colour circle, -h … h
    (0.5 is half way round). erase: the largest share of the area that a grey rectangle may cover (Zhong et
    al. 2017). then: changes a view afterwards, uint8 [size, size, 3] and its seed to the same shape; `plugin` says
    whose that is.
    """

    name: str = "custom"
    rotate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erase: float = 0.0
    then: Callable[[Any, int], Any] | None = None
    plugin: plugins.Plugin | None = None
    # Stands for a `then` that no plugin vouches for: its code has no name that lasts, so no two settings share a row.
    _unique: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if self.then is not None and self.plugin is None:
            object.__setattr__(self, "_unique", uuid4().hex)
        zoom = tuple(self.zoom) if isinstance(self.zoom, list | tuple) else (self.zoom, self.zoom)
        object.__setattr__(self, "zoom", tuple(float(z) for z in zoom))
        problems = []
        if len(zoom) != 2 or zoom[0] > zoom[1]:
            problems.append(f"zoom {zoom} is not a range (from, to) such as (0.8, 1.1)")
        for name, (low, high) in _LIMITS.items():
            values = zoom if name == "zoom" else (getattr(self, name),)
            if not all(isinstance(v, int | float) and low <= v <= high for v in values):
                problems.append(f"{name} {getattr(self, name)!r} is out of range; allowed is {low} to {high}")
        if problems:
            raise ConfigError("augmentation: " + "; ".join(problems))

    @cached_property  # asked for every picture
    def is_none(self) -> bool:
        """True where every view would be the clean picture."""
        return all(getattr(self, f.name) == f.default for f in fields(self) if f.name not in ("name", "plugin"))

    def key(self) -> JsonObject:
        """What changes the pixels, for cache keys; the name does not. Of a plugin's code, its version is known; any
        other `then` has a key that nothing else has, in this process or another.
        """
        ranges = {k: v for k, v in asdict(self).items() if k not in ("name", "then", "plugin")}
        code = {} if self.then is None else {"then": self._unique if self.plugin is None else self.plugin.key()}
        return {"augment": AUGMENT_VERSION, **ranges, **code}

    def finish(self, view: Any, seed: int) -> Any:
        """`then` on uint8 [size, size, 3]. Raises ConfigError that names the plugin where it gives anything else."""
        if self.then is None:
            return view
        shape = view.shape
        try:
            changed = self.then(view, seed)
        except Exception as error:  # the plugin's code
            if self.plugin is None:
                raise
            raise plugins.broken(self.plugin, "failed on a view", error) from error
        if getattr(changed, "shape", None) != shape or str(getattr(changed, "dtype", "")) != "uint8":
            what = f"{getattr(changed, 'dtype', type(changed).__name__)} {getattr(changed, 'shape', '')}".strip()
            raise ConfigError(f"{self.plugin or 'then'} gives {what} for a view; it must be uint8 {shape}")
        return changed


def parse(text: str) -> AugmentationRanges:
    """Custom ranges of text such as `rotate=15,zoom=0.8:1.2,flip_horizontal=yes`; what is not named is off.

    Raises ConfigError for ranges that do not exist, are given twice or are out of bounds.
    """
    found: JsonObject = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        name = name.replace("-", "_")
        if name in found:
            raise ConfigError(f"augmentation: {name} is given twice in {text!r}; give it once")
        found[name] = _value(name, value)
    return augmentation(found)


def _value(name: str, value: str) -> Any:
    """A number, a range `a:b` or, for flips, yes or no."""
    if name.startswith("flip_"):
        if value not in ("yes", "no"):
            raise ConfigError(f"augmentation: {name}={value} must be {name}=yes or {name}=no")
        return value == "yes"
    try:
        numbers = [float(part) for part in value.split(":")]
    except ValueError:
        raise ConfigError(
            f"augmentation: {name}={value} is no number; write for example rotate=15,zoom=0.8:1.2,flip_horizontal=yes"
        ) from None
    if len(numbers) == 1:
        return numbers[0]
    if name != "zoom" or len(numbers) != 2:
        raise ConfigError(f"augmentation: {name}={value}; only zoom takes two numbers, as in zoom=0.8:1.2")
    return tuple(numbers)


PRESETS: dict[str, AugmentationRanges] = {
    "none": AugmentationRanges("none"),
    "light": AugmentationRanges(
        "light", rotate=10, zoom=(0.8, 1.1), shift=0.05, flip_horizontal=True,
        brightness=0.15, contrast=0.15, saturation=0.15,
    ),
    "medium": AugmentationRanges(
        "medium", rotate=20, zoom=(0.65, 1.15), shift=0.1, flip_horizontal=True, shear=8,
        brightness=0.25, contrast=0.25, saturation=0.3, hue=0.02, erase=0.1,
    ),
    "strong": AugmentationRanges(
        "strong", rotate=30, zoom=(0.5, 1.2), shift=0.15, flip_horizontal=True, shear=15,
        brightness=0.4, contrast=0.4, saturation=0.5, hue=0.05, erase=0.25,
    ),
}  # fmt: skip


def augmentation(choice: str | AugmentationRanges | dict[str, Any]) -> AugmentationRanges:
    """The ranges of an augmentation.

    Args:
        choice: a preset (ours or a plugin's) by name, ranges as text (see `parse`) or by name in a dictionary, or
            ranges, which are given back.

    Raises:
        ConfigError: a name is unknown, or a range makes no sense.
    """
    if isinstance(choice, AugmentationRanges):
        return choice
    if isinstance(choice, dict):
        known = [f.name for f in fields(AugmentationRanges) if f.name not in ("then", "plugin")]
        unknown = [name for name in choice if name not in known]
        if unknown:
            raise ConfigError(f"augmentation has no range {unknown[0]!r}; there are {', '.join(known)}")
        return AugmentationRanges(**choice)
    if choice in PRESETS:
        return PRESETS[choice]
    if "=" in choice:
        return parse(choice)
    found = plugins.resolve("augmentations", str(choice))
    if found is None:
        raise ConfigError(
            f"augmentation {choice!r} is unknown; it {plugins.choose('augmentations', str(choice), PRESET_NAMES)}"
        )
    plugin, said = found
    try:
        ranges = augmentation(dict(said.ranges))
    except ConfigError as error:
        raise ConfigError(f"{plugin}: {error}") from error
    return replace(ranges, name=plugin.name, then=said.then, plugin=plugin)
