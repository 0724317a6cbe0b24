"""How a picture is read: settings, the version of the rules (see `decode`), and those of the libraries that apply them.

All three are in the keys of what is cached, and the first two in the metadata of a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, get_args

from PIL import features

from transferkit.errors import ConfigError
from transferkit.record import JsonObject

DECODER_VERSION = 3
# Older versions whose models are still used, and which pictures are read otherwise now.
STANDS_IN_FOR = {
    2: "JPEGs turned by XMP alone, TIFFs whose 0 is white and PNGs of 2, 4 and 16 bits with transparency are read right"
}
Resize = Literal["stretch", "crop", "letterbox"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
Intensity = Literal["full", "percentile"]
INTENSITIES: tuple[Intensity, ...] = get_args(Intensity)


@dataclass(frozen=True)
class DecodeSettings:
    """How a picture becomes [size, size, 3].

    `stretch` scales both sides to `size` (shape changes, nothing is lost); `crop` takes the central square;
    `letterbox` scales the long side to `size` and fills the rest with ImageNet's mean colour. `intensity` says how grey
    of more than 8 bits becomes 8: by its `full` range, or between each picture's own `percentile`s.
    """

    size: int
    resize: Resize = "stretch"
    intensity: Intensity = "full"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 8 <= self.size <= 4096:
            raise ConfigError(f"size {self.size!r} is not a picture size; give a whole number from 8 to 4096")
        if self.resize not in RESIZES:
            raise ConfigError(f"resize {self.resize!r} is unknown; choose from {', '.join(RESIZES)}")
        if self.intensity not in INTENSITIES:
            raise ConfigError(f"intensity {self.intensity!r} is unknown; choose from {', '.join(INTENSITIES)}")

    def key(self) -> JsonObject:
        """What changes the pixels, for cache keys and for the model's metadata."""
        # What is as it always was is not named: the keys of what is cached, and of older models, stay.
        deep = {} if self.intensity == "full" else {"intensity": self.intensity}
        return {"decoder": DECODER_VERSION, "size": self.size, "resize": self.resize, **deep}

    @classmethod
    def from_key(cls, key: dict[str, Any]) -> DecodeSettings:
        """The settings that made `key`. Raises ConfigError for a decoder version that this one does not stand in for.

        Older ones in `STANDS_IN_FOR` gave the same pixels for all but rare forms of pictures; `outdated` says which.
        """
        if key.get("decoder") not in (DECODER_VERSION, *STANDS_IN_FOR):
            raise ConfigError(
                f"decoder version {key.get('decoder')!r} is not this version's {DECODER_VERSION}; "
                "use the transferkit release that wrote it"
            )
        return cls(size=int(key["size"]), resize=key["resize"], intensity=key.get("intensity", "full"))


def outdated(key: JsonObject) -> str | None:
    """What to say of a model whose pictures were read by an older decoder; None where there is nothing to say."""
    changed = STANDS_IN_FOR.get(key.get("decoder"))  # type: ignore[arg-type]
    return None if changed is None else f"the model was trained by an older decoder; since then {changed}"


def decoder_versions() -> dict[str, str]:
    """Versions of the libraries that compute pixels, for cache keys beside `DecodeSettings.key()`."""
    import cv2

    # Not zlib: unpacking is exact whatever its version, and which one it is depends on what was imported before Pillow
    # (TensorFlow brings its own), so that two processes of one machine would not find each other's rows.
    names = ("libjpeg_turbo", "jpg", "libtiff", "webp", "avif")
    found = {name: str(features.version(name)) for name in names}
    # OpenCV comes as several distributions: what counts is the library that is imported.
    found |= {"opencv": cv2.__version__}
    found |= {name: _version(name) for name in ("pillow", "pillow-heif", "simplejpeg")}
    jxl = _version("pillow-jxl-plugin")
    return found | ({} if jxl == "None" else {"pillow-jxl-plugin": jxl})  # absent, it changes no key of older caches


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "None"
