"""The verb `best`: several networks compared within a time budget, and a run of the winner."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from transferkit.api import unnamed
from transferkit.api.arguments import checked
from transferkit.api.asked import PathOrName, asked
from transferkit.api.objects import Run
from transferkit.api.signature import listing
from transferkit.api.train import resumable
from transferkit.compute import restoring
from transferkit.console import Reporter
from transferkit.runs.layout import Layout
from transferkit.tuning.portfolio_settings import PLACE, SETTINGS

if TYPE_CHECKING:
    from transferkit.api.keywords import BestSettings


@listing(only=(*SETTINGS, *PLACE))
@restoring
@checked
def best(
    data: Any, backbone: PathOrName | Sequence[PathOrName] | None = None, *, budget: float | str = "10m",
    distill: PathOrName | None = None, output: str | Path | None = None, resume: bool = False, offline: bool = False,
    cache: bool | None = None, quiet: bool = False, reporter: Reporter | None = None,
    **settings: Unpack[BestSettings],
) -> Run:  # fmt: skip
    """Compare networks on `data` by cross-validation in the time there is, and write a run directory of the best.

    On each network a classifier is chosen as `finetune` does. Answers to mirror images, features of two networks side
    by side, averages of networks and, where the learning curve does not climb, layers that are trained are kept only
    where they are better by more than a standard error. Of what is within one of the best the smallest is taken. The
    test split is looked at once, by the run of the winner (and once by a student).

    Args:
        data: what `load_data` reads, or its result.
        backbone: the networks, names of the catalog or .keras files; the first is always finished. Without any, all
            whose weights are here, and first the one that `finetune` would choose.
        budget: time for all of it, in seconds or as "10m" or "1.5h". A network is begun only where it is expected to be
            done in time. Counted again with `resume`.
        distill: a small network that is taught by what was chosen, beyond the budget: a name of the catalog or a .keras
            file. It is a run of its own, in the folder `student` of this one.
        output: the run directory, by default `runs/DATA-best`.
        resume: go on with the comparison in `output`, or begin it.
        offline: never download weights.
        cache: whether features are stored; by default what measured costs and the disk say.
        quiet: no progress, warnings only.
        reporter: who is told instead of the terminal.
        settings: those of a run that bear on all networks alike, and where networks are compared, below.

    Returns:
        The finished run of the winner; `metrics["portfolio"]` says what was compared.

    Raises:
        ConfigError, DataError, BackboneError, WeightsError: before anything is written, with every problem found.
    """
    from transferkit.delivery.report.publish import publish
    from transferkit.runs.intake import take_in
    from transferkit.tuning.distillation import FOLDER
    from transferkit.tuning.network_comparison import TimeBudget
    from transferkit.tuning.portfolio import PortfolioJob
    from transferkit.tuning.portfolio_entry import request

    reporter = reporter or Reporter(quiet)
    this = asked(data, backbone or None, settings, output, resume=resume, offline=offline, resumed="of the comparison")
    given, origin = this.given, this.origin
    named: Any = given.pop("backbone", None)
    several = [named] if isinstance(named, str) else list(named or ())
    if not several:
        this.announce(reporter)
    of_runs = {name: value for name, value in given.items() if name not in PLACE}
    networks, choice, more = unnamed.networks(several, this.data, of_runs, origin, output if resume else None, offline)
    folder = this.folder(output, "best")
    student = "" if distill is None else os.fspath(distill)
    found = request(
        networks, bool(several), budget, given, origin, folder, resume, offline, student, [*this.problems, *more]
    )
    this.begin(reporter, choice, cache)
    layout, spent = Layout(folder), TimeBudget(found.budget)
    with resumable(layout):
        PortfolioJob(
            intake=take_in(this.source, found.base, origin, reporter), base=found.base, networks=found.networks,
            named=found.named, budget=spent, layout=layout, origin=origin, command=found.command, reporter=reporter,
            offline=offline, cache=cache, distill=found.distill, place=found.place,
        ).run()  # fmt: skip
        for folder in [layout.folder, *([layout.folder / FOLDER] if student else [])]:
            publish(Layout(folder), reporter)
    return Run(layout.folder)
