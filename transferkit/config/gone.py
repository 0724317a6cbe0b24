"""Settings that are no more: runs that hold them are read, and go on where they had what is always done now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pydantic import JsonValue

from transferkit import synonyms
from transferkit.config.declarations import TRAINED, Declarations
from transferkit.config.values import shown

# Name → its default, which is what is done now. What is said of each is in `synonyms.ANSWERS`.
GONE: dict[str, JsonValue] = {"accumulate": 1, "clip_norm": 5.0, "warmup": None}


def refusals(config: Mapping[str, JsonValue]) -> Iterator[str]:
    """What this version cannot do as a run did it, and why: settings that are gone and were not at their defaults.

    Args:
        config: the settings of a run, as its version wrote them.
    """
    for name, usual in GONE.items():
        if config.get(name, usual) != usual:
            yield f"{name} {shown(config[name])}, no setting any more: {synonyms.answer(name, 'finetune')}"


def today(config: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """All settings of a run of another version by the names of this one.

    Args:
        config: as that version wrote them.

    Returns:
        What it did not have yet is at its default, which does what that version did. What is gone is left out where it
        was at its default.
    """
    newer = Declarations.model_construct().model_dump(mode="json", warnings=False)
    return newer | {name: value for name, value in config.items() if name not in GONE or value != GONE[name]}


def given(config: Mapping[str, JsonValue], names: Collection[str]) -> dict[str, JsonValue]:
    """Those settings that a run was given, without what is gone.

    Args:
        config: all its settings, as its version wrote them.
        names: of those that were given.

    Returns:
        Values by name. Where only what is gone asked for a head that is trained, `head` says so in its place.
    """
    kept = {name: config[name] for name in names if name in config and name not in GONE}
    asked = not GONE.keys().isdisjoint(names) and config.get("unfreeze", "none") == "none"
    if asked and config.get("head") == "auto" and kept.keys().isdisjoint(("head", *TRAINED)):
        kept["head"] = "mlp"
    return kept
