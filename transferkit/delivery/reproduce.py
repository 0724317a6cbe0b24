"""Before a run is repeated: its settings, and whether data, weights, versions and machine are those of then."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transferkit.config import Settings, gone
from transferkit.console import Reporter
from transferkit.data.containers import places
from transferkit.data.containers.bucket import is_address
from transferkit.data.samples import listed, shown
from transferkit.errors import DataError, RunError, WeightsError
from transferkit.record import JsonObject
from transferkit.runs import manifest as manifests
from transferkit.runs import pictures
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import hardware, versions
from transferkit.runs.run_record import RunRecord
from transferkit.storage import cache_folder

PATHS = ("backbone", "weights", "exclude_file", "classes")  # settings that may name files
EXPECTED = ("cpu", "cores", "system")  # of the hardware: what may change the last bits


def settings_of(layout: Layout) -> JsonObject:
    """The settings a run was given, fit to be given again from any folder.

    Raises RunError for a run that is not of `finetune`, or of settings this version does not know.
    """
    manifest = layout.complete()
    if manifest.kind != "finetune":
        raise RunError(f"{layout.folder} is a run of {manifest.kind}; only runs of finetune can be reproduced")
    try:
        return given_settings(manifest)
    except RunError as error:
        raise RunError(f"{layout.folder}: {error}") from error


def cache_of(layout: Layout) -> bool | None:
    """Whether a run was told to store features (`--cache`) or not to (`--no-cache`); None where neither."""
    return layout.complete().cache


def given_settings(manifest: RunRecord) -> JsonObject:
    """The settings in a run.json that were given then, and those whose default is another now.

    Files they name are found from where the run was started. Raises RunError for settings this version does not know.
    """
    config = manifest.config.as_json()
    lost = list(gone.refusals(config))
    if lost:
        raise RunError(f"the run was made with {'; '.join(lost)}")
    known = {*Settings.model_fields, *gone.GONE}
    unknown = [name for name in manifest.given if name not in known or name not in config]
    if unknown:
        raise RunError(
            f"the run was made with settings this version does not know: {listed(unknown)}; install "
            f"transferkit {manifest.versions.get('transferkit')} for it"
        )
    given = gone.given(config, manifest.given)
    for name in PATHS:
        value = given.get(name, "")
        value = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        path = Path(manifest.working_directory) / str(value)
        if name in given and path.is_file():
            given[name] = os.path.abspath(path)
    pool = given.get("unlabeled")
    if isinstance(pool, str) and not is_address(pool):  # a file, a folder or a pattern
        given["unlabeled"] = os.path.abspath(Path(manifest.working_directory, os.path.expanduser(pool)))
    # What was left to a default then must not follow a default that has changed since.
    now = manifests.settings(given).model_dump(mode="json")
    return given | {name: value for name, value in config.items() if name in now.keys() - given and now[name] != value}


def check(layout: Layout, data: Any, offline: bool, reporter: Reporter) -> tuple[Any, list[str]]:
    """Data and weights against the run's hashes, then versions and machine.

    Args:
        layout: of the run.
        data: where its data is now, if it moved.
        offline: never download weights.
        reporter: is told of the progress.

    Returns:
        The data to train on, and what differs that may change numbers.

    Raises:
        DataError: naming missing, changed and new pictures.
        RunError: a file of the run is not as it was written.
        WeightsError: the network's weights are others.
    """
    manifest, settings = layout.complete(), manifests.settings(settings_of(layout))
    origin = manifest.data.path if data is None else data
    if origin is None:
        raise DataError("this run was trained on arrays, which it does not keep; pass them: run.reproduce((x, y))")
    if isinstance(origin, str | os.PathLike) and not places.exists(Path(origin).expanduser()):
        raise DataError(
            f"the run's data {shown(origin)} is no longer there; put it back, or say with --data where it is now"
        )
    reporter.say("checking data, weights and versions")
    layout.check_model()  # before hours of training: what is compared afterwards must be as it was written
    layout.read_history()
    layout.read_predictions()
    _check_data(layout, origin, settings)
    _check_weights(manifest, settings, offline)
    return origin, _reasons(manifest, settings)


def _check_data(layout: Layout, origin: Any, settings: Settings) -> None:
    problems = pictures.changed(layout, origin, settings)
    if problems:
        raise DataError(
            f"the data is not what run {layout.folder} was trained on: {'; '.join(problems)}. "
            "Put it back as it was, or train again with `transferkit finetune`"
        )


def _check_weights(manifest: RunRecord, settings: Settings, offline: bool) -> None:
    from transferkit import compute
    from transferkit.backbones.build import build

    compute.start()
    scaling = None if settings.scaling == "auto" else settings.scaling
    backbone = build(
        settings.backbone, settings.weights, settings.image_size, settings.seed, offline, scaling, lambda _: None,
        settings.pooling == "pooler",
    )  # fmt: skip
    then = manifest.weights.sha256 or backbone.weights_sha256
    if backbone.weights_sha256 != then:
        raise WeightsError(
            f"the weights of {settings.backbone} ({backbone.weights}) are not those of then: their values hash to "
            f"{backbone.weights_sha256[:12]}…, the run had {then[:12]}…; `transferkit weights verify` checks the store"
        )


def _reasons(manifest: RunRecord, settings: Settings) -> list[str]:
    before, now = manifest.versions, versions(settings)
    found = [f"{name} {before.get(name)} then, {now.get(name)} now"
             for name in sorted({*before, *now}) if before.get(name) != now.get(name)]  # fmt: skip
    machine, here = manifest.hardware.as_json(), hardware().as_json()
    found += [f"{name} {machine.get(name)} then, {here.get(name)} now"
              for name in EXPECTED if machine.get(name) != here.get(name)]  # fmt: skip
    if settings.budget is not None:
        found.append(f"the run had a time budget of {settings.budget:g} s: where it ends depends on the machine")
    if manifest.callbacks:
        found.append(f"the run had callbacks ({', '.join(manifest.callbacks)}), which are not kept with it")
    return found


@contextmanager
def cache(fresh: bool, folder: Path) -> Iterator[None]:
    """A cache for one run.

    Args:
        fresh: one of its own, empty but for what was measured of the machine, and gone afterwards; else the usual one.
        folder: of the run, beside which it lies.
    """
    if not fresh:
        yield
        return
    usual, before = cache_folder(), os.environ.get("TRANSFERKIT_CACHE")
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.absolute().parent) as own:
        if (usual / "precision").is_dir():
            shutil.copytree(usual / "precision", Path(own) / "precision")
        os.environ["TRANSFERKIT_CACHE"] = own
        try:
            yield
        finally:
            del os.environ["TRANSFERKIT_CACHE"]
            if before is not None:
                os.environ["TRANSFERKIT_CACHE"] = before
