"""What the small files beside published weights say: settings, how pictures are prepared, the licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transferkit.backbones.foundation import kerashub, kerashub_families, timm
from transferkit.backbones.foundation.described import Described
from transferkit.errors import BackboneError, WeightsError
from transferkit.files import read_json
from transferkit.text import shown

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def settings_in(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file.

    Args:
        path: of the file.

    Returns:
        None where there is none.

    Raises:
        WeightsError: anything else is there.
    """
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > 1 << 20:
            raise ValueError("more than a megabyte")
        found = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} cannot be read: {shown(str(error)[:80])}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path.name} holds no settings")
    return found


def preprocessing(
    folder: Path, config: Mapping[str, Any] | None, described: Described
) -> tuple[Described, str, float | None]:
    """How pictures are brought to the network, as its publisher says it.

    Args:
        folder: with the weights.
        config: of the network, where it has one.
        described: the network, with the mean and deviation that are its family's.

    Returns:
        `described` with the folder's own mean and deviation; the name of its way of resizing, or ""; and the share of
        the resized picture's side that is kept (0…1), or None.

    Raises:
        BackboneError: mean and deviation are no numbers of three channels.
    """
    said = settings_in(folder / "preprocessor_config.json") or {}
    if kerashub_families.is_preset(config):
        said = kerashub.preprocessing(
            settings_in(folder / "image_converter.json") or {}, settings_in(folder / "preprocessor.json") or {}
        )
    elif not said and config is not None:  # timm's
        own = timm.pretrained(config)
        crop = own.get("crop_pct")
        # The whole picture is 1 in some, 1.0 in others.
        part = isinstance(crop, int | float) and not isinstance(crop, bool) and 0 < crop <= 1
        described = _with_channels(described, described.mean, described.std, "config.json")
        return described, str(own.get("interpolation") or ""), crop if part else None
    if said.get("do_normalize") is False:
        said = {**said, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    mean, std = said.get("image_mean", described.mean), said.get("image_std", described.std)
    crop, edge = (_side(said.get(key)) for key in ("crop_size", "size"))
    fraction = crop / edge if said.get("do_center_crop") and crop and edge and crop <= edge else None
    resample = said.get("resample")
    resampling = _FILTERS.get(resample, "") if isinstance(resample, int) else ""
    resampling = str(said.get("interpolation") or resampling)
    return _with_channels(described, mean, std, "preprocessor_config.json"), resampling, fraction


def _with_channels(described: Described, mean: Any, std: Any, file: str) -> Described:
    """With this mean and deviation, as `file` says them. Raises BackboneError where they are none."""
    try:
        mean, std = (tuple(float(value) for value in values) for values in (mean, std))
        good = len(mean) == len(std) == 3 and all(abs(m) < 1e3 for m in mean) and all(0 < s < 1e3 for s in std)
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise BackboneError(f"its {file} says no mean and deviation of three channels")
    return replace(described, mean=mean, std=std)


def _side(size: Any) -> int | None:
    """224 of 224, {"height": 224, …} or {"shortest_edge": 224}."""
    if isinstance(size, dict):
        size = size.get("shortest_edge", size.get("height"))
    return size if type(size) is int and size > 0 else None


def licence(folder: Path) -> str:
    """What the model card in a folder says of the licence, in its front matter; empty if nothing.

    Args:
        folder: with the weights.
    """
    card = folder / "README.md"
    if not card.is_file():  # a pipe would be waited for
        return ""
    try:
        with open(card, encoding="utf-8") as handle:
            lines = handle.read(20_000).splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    if not lines or lines[0].strip() != "---":
        return ""
    said: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            break
        key, colon, value = line.partition(":")
        if colon and key.startswith("licen"):
            said[key.strip()] = value.strip().strip("\"'")
    name = said.get("license_name") or said.get("license", "")
    return f"{shown(name[:60])} (says its model card)" if name else ""
