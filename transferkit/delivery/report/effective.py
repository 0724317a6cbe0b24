"""The settings that a run had in effect: what was left to the recipe is shown as what it came to.

Text for report and card. What a run of another version did not record is said to be that version's own choice.
"""

from __future__ import annotations

from collections.abc import Callable

from transferkit import tasks
from transferkit._version import __version__
from transferkit.config import Settings
from transferkit.delivery.report.numbers import plain
from transferkit.evaluation.metrics_record import MetricsRecord
from transferkit.quantities import duration
from transferkit.runs import manifest as manifests
from transferkit.runs.model_facts import ModelFacts
from transferkit.runs.run_record import ConfigRecord, PhaseRecord, RunRecord
from transferkit.training import schedules
from transferkit.training.batches import batch_size
from transferkit.training.optimizers import ADAMW_DECAY
from transferkit.training.phase import LABEL_SMOOTHING

READ = ("reader", "image_column", "label_column", "group_column", "split_column", "path_template", "label_delimiter")
LEFT = (None, "auto")  # values that leave the choice to the recipe


def effective(manifest: RunRecord, metrics: MetricsRecord, facts: ModelFacts) -> dict[str, str]:
    """Every setting of a finished run as text, in the order of its run.json.

    Args:
        manifest: run.json, of `Layout.complete`.
        metrics: metrics.json.
        facts: what travels in the model's file.
    """
    config = manifest.config.as_json()
    found = {name: plain(value) for name, value in config.items()}
    for name, came_to in _resolved(manifest, metrics, facts).items():
        if name in config and config[name] in LEFT:
            value = came_to()
            asked = " (auto)" if config[name] == "auto" else ""
            found[name] = "not recorded" if value is None else f"{plain(value)}{asked}"
    return found | _as_read(manifest) | _by_choice(manifest)


def _as_read(manifest: RunRecord) -> dict[str, str]:
    """How the data was read, as far as nobody said it: what the reader found by itself."""
    config, reader = manifest.config.as_json(), manifest.data.reader
    found = {name: reader.get("name" if name == "reader" else name) for name in READ if not config.get(name, True)}
    return {name: f"{plain(value)} (found)" if value else "none" for name, value in found.items()}


def _by_choice(manifest: RunRecord) -> dict[str, str]:
    """Settings whose defaults are others where a classifier is chosen, as they were in effect."""
    found = {} if manifest.learnt_from is None else {"refit": manifest.learnt_from}
    if manifest.views is not None:
        found["views"] = f"{manifest.views.chosen} (auto)"
    elif manifest.versions.get("transferkit") == __version__:
        found["views"] = str(manifests.given(manifest).used_views)
    return found


def _resolved(manifest: RunRecord, metrics: MetricsRecord, facts: ModelFacts) -> dict[str, Callable[[], object]]:
    """What each setting that can be left to the recipe came to; None where the run did not record it."""
    config, about, size = manifest.config, tasks.of(metrics.task), facts.decode.size
    version = manifest.versions.get("transferkit")
    ours = version == __version__

    def own(value: object) -> object:
        """A choice that is in the code, so that only this version's is known."""
        return value if ours else f"the choice of transferkit {version}" if version else None

    return {
        "weights": lambda: manifest.weights.source,
        "scaling": lambda: facts.scaling,
        "image_size": lambda: f"{size} × {size} pixels",
        "task": lambda: about.name,
        "metric": lambda: metrics.goal,
        "loss": lambda: own(about.default_loss),
        "precision": lambda: manifest.precision.name,
        "learning_rate": lambda: _rate(manifest.learning_rate),
        "batch_size": lambda: _batch(manifest) if ours else own(None),
        "label_smoothing": lambda: own(LABEL_SMOOTHING if about.smooths else "0 (numbers)"),
        "weight_decay": lambda: own(ADAMW_DECAY if config.optimizer == "adamw" else 0),
        "warmup": lambda: own(_warmup(config)),
        "budget": lambda: "no limit" if config.budget is None else duration(config.budget),
        "max_latency": lambda: "no limit",
        "max_size": lambda: "no limit",
        "exclude_file": lambda: "none",
        "unlabeled": lambda: "none",
        "classes": lambda: ", ".join(metrics.classes) if about.ordered else "found from the data",
        "head": lambda: _chosen(metrics),
    }


def _chosen(metrics: MetricsRecord) -> str:
    """The classifier that cross-validation chose; where nothing was chosen so, a head is trained."""
    return metrics.chosen_candidate.name if metrics.chosen_candidate else "mlp"


def _rate(value: float | None) -> str | None:
    """A learning rate, which is that of the new classifier; the layers below have a part of it."""
    return None if value is None else f"{value:.3g}"


def _batch(manifest: RunRecord) -> int | None:
    train = manifest.data.parts.get("train")
    return batch_size(manifests.given(manifest), train) if train else None


def _warmup(config: ConfigRecord) -> str:
    """The share of steps in which the rate rises, which only trained layers of the network have."""
    if config.schedule != "cosine" or config.unfreeze == "none":
        return "0"
    return f"{schedules.WARMUP_SHARE} (upper layers only)"


def led_to_it(manifest: RunRecord) -> list[PhaseRecord]:
    """The phases of training that led to what was shipped.

    A classifier that was fitted in one step owes nothing to the network that was trained to compete with it; that one
    is a row in the table of candidates.
    """
    chosen = manifest.chosen_phase
    return [chosen] if chosen is not None and not chosen.epochs else list(manifest.phases)


def given(manifest: RunRecord) -> list[str]:
    """Names of the settings that were given, as against left at their defaults."""
    return [name for name in manifest.given if name in Settings.model_fields]
