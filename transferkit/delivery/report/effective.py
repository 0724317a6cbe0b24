"""The settings that a run had in effect: what was left to the recipe is shown as what it came to.

Text for report and card. What a run of another version did not record is said to be that version's own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transferkit import tasks
from transferkit._version import __version__
from transferkit.config import Settings
from transferkit.console import duration
from transferkit.delivery.report.numbers import plain
from transferkit.runs import manifest as manifests
from transferkit.training import schedules
from transferkit.training.optimizers import ADAMW_DECAY
from transferkit.training.phase import LABEL_SMOOTHING, batch_size

LEFT = (None, "auto")  # values that leave the choice to the recipe


def effective(manifest: Mapping[str, Any], metrics: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a finished run as text, in the order of its run.json.

    Args:
        manifest: run.json, of `Layout.complete`.
        metrics: metrics.json.
        facts: what travels in the model's file.
    """
    config = manifest["config"]
    found = {name: plain(value) for name, value in config.items()}
    for name, came_to in _resolved(manifest, metrics, facts).items():
        if name in config and config[name] in LEFT:
            value = came_to()
            asked = " (auto)" if config[name] == "auto" else ""
            found[name] = "not recorded" if value is None else f"{plain(value)}{asked}"
    return found


def _resolved(
    manifest: Mapping[str, Any], metrics: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Callable[[], Any]]:
    """What each setting that can be left to the recipe came to; None where the run did not record it."""
    config, about = manifest["config"], tasks.of(metrics["task"])
    size = (facts.get("decode") or {}).get("size")
    version = (manifest.get("versions") or {}).get("transferkit")
    ours = version == __version__

    def own(value: Any) -> Any:
        """A choice that is in the code, so that only this version's is known."""
        return value if ours else f"the choice of transferkit {version}" if version else None

    return {
        "weights": lambda: manifest["weights"]["source"],
        "scaling": lambda: facts.get("scaling"),
        "image_size": lambda: f"{size} × {size} pixels" if size else None,
        "task": lambda: about.name,
        "metric": lambda: metrics.get("goal") or about.default_metric,
        "loss": lambda: own(about.default_loss),
        "precision": lambda: manifest["precision"]["name"],
        "learning_rate": lambda: _rate(manifest.get("learning_rate")),
        "batch_size": lambda: _batch(manifest) if ours else own(None),
        "label_smoothing": lambda: own(LABEL_SMOOTHING if about.smooths else "0 (numbers)"),
        "weight_decay": lambda: own(ADAMW_DECAY if config.get("optimizer") == "adamw" else 0),
        "warmup": lambda: own(_warmup(config)),
        "budget": lambda: "no limit" if config.get("budget") is None else duration(config["budget"]),
        "exclude_file": lambda: "none",
        "classes": lambda: ", ".join(metrics["classes"]) if about.ordered else "found from the data",
        "head": lambda: _chosen(metrics),
    }


def _chosen(metrics: Mapping[str, Any]) -> str:
    """The classifier that cross-validation chose; where nothing was chosen so, a head is trained."""
    return next((str(row.get("name")) for row in metrics.get("candidates") or [] if row.get("chosen")), "mlp")


def _rate(value: Any) -> str | None:
    """A learning rate, which is that of the new classifier; the layers below have a part of it."""
    return None if value is None else f"{value:.3g}"


def _batch(manifest: Mapping[str, Any]) -> int | None:
    train = (manifest["data"].get("parts") or {}).get("train")
    return batch_size(manifests.given(dict(manifest)), train) if train else None


def _warmup(config: Mapping[str, Any]) -> str:
    """The share of steps in which the rate rises, which only trained layers of the network have."""
    if config.get("schedule") != "cosine" or config.get("unfreeze") == "none":
        return "0"
    return f"{schedules.WARMUP_SHARE} (upper layers only)"


def led_to_it(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The phases of training that led to what was shipped.

    A classifier that was fitted in one step owes nothing to the network that was trained to compete with it; that one
    is a row in the table of candidates.
    """
    chosen = [phase for phase in manifest["phases"] if phase["name"] == manifest["chosen"]]
    fitted = chosen and not chosen[0]["epochs"]
    return chosen if fitted else list(manifest["phases"])


def given(manifest: Mapping[str, Any]) -> list[str]:
    """Names of the settings that were given, as against left at their defaults."""
    return [name for name in manifest.get("given") or [] if name in Settings.model_fields]
