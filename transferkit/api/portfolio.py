"""The verb `best`: several networks compared within a time budget, and a run of the winner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from transferkit.api import plain, unnamed
from transferkit.api.data import Data
from transferkit.api.objects import Run
from transferkit.api.signature import listing
from transferkit.api.train import PathOrName, adopt, announced, named, plain_settings, resumable
from transferkit.compute import restoring
from transferkit.console import Reporter
from transferkit.data.source import origin_of
from transferkit.files import ready_cache
from transferkit.runs import preflight
from transferkit.runs.layout import Layout, free_name
from transferkit.tuning.portfolio_settings import SETTINGS

if TYPE_CHECKING:
    from transferkit.api.keywords import BestSettings


@listing(only=SETTINGS)
@restoring
def best(
    data: Any, backbone: PathOrName | Sequence[PathOrName] | None = None, *, budget: float | str = "10m",
    output: str | Path | None = None, resume: bool = False, offline: bool = False, cache: bool | None = None,
    quiet: bool = False, reporter: Reporter | None = None, **settings: Unpack[BestSettings],
) -> Run:  # fmt: skip
    """Compare networks on `data` by cross-validation in the time there is, and write a run directory of the best.

    On each network a classifier is chosen as `finetune` does. Of networks within one standard error of the best the
    smallest is taken. The test split is looked at once, by the run of the winner.

    Args:
        data: what `load_data` reads, or its result.
        backbone: the networks, names of the catalog or .keras files; the first is always finished. Without any, all
            whose weights are here, and first the one that `finetune` would choose.
        budget: time for all of it, in seconds or as "10m" or "1.5h". A network is begun only where it is expected to be
            done in time. Counted again with `resume`.
        output: the run directory, by default `runs/DATA-best`.
        resume: go on with the comparison in `output`, or begin it.
        offline: never download weights.
        cache: whether features are stored; by default what measured costs and the disk say.
        quiet: no progress, warnings only.
        reporter: who is told instead of the terminal.
        settings: those of a run that bear on all networks alike, below.

    Returns:
        The finished run of the winner; `metrics["portfolio"]` says what was compared.

    Raises:
        ConfigError, DataError, BackboneError, WeightsError: before anything is written, with every problem found.
    """
    from transferkit.delivery.report.publish import publish
    from transferkit.runs.intake import take_in
    from transferkit.tuning.network_comparison import Budget
    from transferkit.tuning.portfolio import PortfolioJob
    from transferkit.tuning.portfolio_entry import request

    reporter = reporter or Reporter(quiet)
    given = plain_settings({"backbone": backbone, **settings} if backbone else settings)
    problems = plain.problems(data, given)
    asked: Any = given.pop("backbone", None)
    several = [asked] if isinstance(asked, str) else list(asked or ())
    data = plain.data(data, given)
    loaded = data if isinstance(data, Data) else None
    problems += adopt(loaded, given) if loaded else []
    origin = loaded.origin if loaded else origin_of(data)
    problems += preflight.remote(origin, offline)
    if resume and output is None:
        problems.append("--resume needs --output: the run directory of the comparison")
    announced(reporter, not several, origin)
    networks, choice, more = unnamed.networks(several, data, given, origin, output if resume else None, offline)
    folder = Path(output) if output is not None else free_name(Path("runs"), named(origin, "best"))
    found = request(networks, bool(several), budget, given, origin, folder, resume, offline, [*problems, *more])
    announced(reporter, bool(several), origin)
    if choice:
        reporter.say(choice)
    if cache is not False:
        ready_cache(reporter.warn)
    layout, spent = Layout(folder), Budget(found.budget)
    source = loaded.samples if loaded else data
    with resumable(layout):
        PortfolioJob(
            intake=take_in(source, found.base, origin, reporter), base=found.base, networks=found.networks,
            named=found.named, budget=spent, layout=layout, origin=origin, command=found.command, reporter=reporter,
            offline=offline, cache=cache,
        ).run()  # fmt: skip
        publish(layout, reporter)
    return Run(folder)
