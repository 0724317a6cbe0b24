"""Whether a run that is to go on is the one that was begun: settings, callbacks, data, split, weights, versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transferkit.backbones.build import LoadedBackbone
from transferkit.config import Settings, gone
from transferkit.console import Reporter
from transferkit.data.samples import Samples, shown
from transferkit.data.splitting.split import Splits
from transferkit.errors import ConfigError, RunError
from transferkit.runs.advice import own
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import data_digest, split_digest, versions
from transferkit.runs.run_record import RunRecord, WeightsRecord
from transferkit.training import user_callbacks
from transferkit.training.fit import Callback


def begun(layout: Layout, settings: Settings, callbacks: Sequence[Callback], reporter: Reporter) -> RunRecord:
    """run.json of a run that is to go on, once it is found to be what is asked for now.

    Args:
        layout: of the run.
        settings: of now.
        callbacks: the caller's, of now.
        reporter: is told what may make numbers differ.

    Raises:
        ConfigError: settings or callbacks are others.
        RunError: run.json is damaged.
    """
    record = layout.read_manifest()
    check_settings(record, settings)
    user_callbacks.check_same(record.callbacks, callbacks)
    forgetful = user_callbacks.forgetful(callbacks)
    if forgetful:
        reporter.say(f"callbacks without a state begin again: {', '.join(forgetful)}")
    for line in _other_versions(record, settings):
        reporter.warn(line)
    return record


def check_settings(record: RunRecord, settings: Settings) -> None:
    """Raise where a run differs from what is asked for now.

    A setting that the run's version did not have yet is taken as its default, which does what that version did; one
    that is gone since has to have had its default.

    Args:
        record: run.json.
        settings: of now.

    Raises:
        ConfigError: shows every setting that differs.
    """
    config = record.config.as_json()
    lost = list(gone.refusals(config))
    if lost:
        raise ConfigError(f"--resume: the run was started with {'; '.join(lost)}. Start it again in another --output")
    now = settings.model_dump(mode="json")
    saved = gone.today(config) | gone.given(config, record.given)
    other = [f"{name}: {saved.get(name)} then, {now[name]} now" for name in now if now[name] != saved.get(name)]
    if other:
        listed = "\n".join(f"  - {shown(line)}" for line in other)
        command = own(record.command)
        was = "" if not command else f". Its command was:\n  {command}"
        raise ConfigError(
            f"--resume: the run was started with other settings:\n{listed}\n"
            f"Repeat its command with --resume, or choose another --output{was}"
        )


def _other_versions(record: RunRecord, settings: Settings) -> Iterator[str]:
    """A warning where libraries, or plugins that the settings use, are of other versions than when it was started."""
    saved, now = record.versions, versions(settings)
    other = [f"{name} {saved.get(name)} → {now.get(name)}" for name in now if saved.get(name) != now.get(name)]
    if other:
        yield f"the run was started with other versions ({', '.join(other)}); numbers may differ a little"


def check_data(record: RunRecord, samples: Samples, splits: Splits, layout: Layout) -> None:
    """Raise where splits.csv or the data is not what the run has seen so far, were it lost or changed.

    Args:
        record: run.json.
        samples: the pictures.
        splits: which part each belongs to.
        layout: of the run.

    Raises:
        RunError: says so.
    """
    pairs = (
        (record.split_sha256, split_digest(samples, splits)),
        (record.data.sha256, data_digest(samples)),
    )
    if any(then not in (None, now) for then, now in pairs):
        raise RunError(
            f"--resume: {shown(layout.splits)} or the data is not what the run was started with; put both "
            "back as they were, or start again with another --output"
        )


def weights_of(record: RunRecord, backbone: LoadedBackbone) -> WeightsRecord:
    """The network's weights, for the record.

    Args:
        record: run.json.
        backbone: the network.

    Raises:
        RunError: the run was started with others.
    """
    weights = WeightsRecord(source=backbone.weights, sha256=backbone.weights_sha256)
    if backbone.row.kind == "published" and backbone.weights == backbone.row.pretrained:
        weights.licence = backbone.row.licence
    if record.has("weights") and record.weights.as_json() != weights.as_json():
        raise RunError("--resume: the network's weights are not those the run was started with; start it again")
    return weights
