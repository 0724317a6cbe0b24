"""What a search leaves in its run directory: the journal, trials.csv, the best settings so far, the account of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transferkit import terms
from transferkit.config import Settings
from transferkit.csv_files import write_csv
from transferkit.evaluation.metrics_record import Final, ImportanceRecord, SearchRecord
from transferkit.files import write_text
from transferkit.quantities import figure
from transferkit.runs.layout import Layout
from transferkit.runs.manifest import repeatable
from transferkit.tuning.importance import Importance
from transferkit.tuning.search import DEFAULT, Finalist, Search, Trial
from transferkit.tuning.search_space.space import Space
from transferkit.tuning.verdict import WinnerComparison

COLUMNS = (
    "trial", "status", "score", "spread", "loss", "epochs", "best_epoch", "seconds", "features_seconds", "rung",
    "continues",
)  # fmt: skip


@dataclass(frozen=True)
class SearchFiles:
    """Where a search keeps its files inside the run directory."""

    layout: Layout

    @property
    def trials(self) -> Path:
        """trials.csv: one row a trial."""
        return self.layout.folder / "trials.csv"

    @property
    def best(self) -> Path:
        """best.toml: the best settings so far, for `finetune --config`."""
        return self.layout.folder / "best.toml"

    @property
    def checkpoints(self) -> Path:
        """What trials leave for those that go on from them; removed when the run is complete."""
        return self.layout.folder / "trials"


def write_trials(path: Path, trials: list[Trial], space: Space) -> None:
    """trials.csv: what was tried and what came of it.

    Args:
        path: of the file, which is replaced.
        trials: in the order of their numbers.
        space: whose settings are its columns.
    """
    names = space.names
    rows = []
    for trial in trials:
        p, o = trial.proposal, trial.outcome
        row = [p.id, o.status, o.score, o.spread, o.loss, o.epochs, o.best_epoch, o.seconds, o.features]
        row += [p.rung, p.continues]
        row += [spelled(p.values[name]) if name in p.values else None for name in names]
        rows.append(["" if cell is None else cell for cell in (*row, o.note or o.error)])
    write_csv(path, [*COLUMNS, *names, "error"], rows)


def write_best(files: SearchFiles, search: Search, data: str | None, base: Settings) -> None:
    """best.toml: settings that `finetune --config` takes, so that an interrupted search is not without use.

    Args:
        files: where it is written; nothing is, before a trial has a score.
        search: with its trials so far.
        data: the path of the data, for the command in it; None for what is in memory.
        base: settings that are not searched.
    """
    ranked = search.ranked()
    if not ranked:
        return
    settings = search.plan.settings(ranked[0].proposal.values, base.seed)
    lines = [f"# trial {ranked[0].proposal.id}: {search.metric} {ranked[0].outcome.score:.4f} on validation"]
    if data is not None:
        lines.append(f"# {repeatable(data, settings)}")
    for name, value in settings.model_dump(mode="json", exclude_unset=True, exclude_none=True).items():
        lines.append(f"{name} = {json.dumps(value)}")  # of these types, JSON is TOML
    write_text(files.best, "\n".join(lines) + "\n")


def spelled(value: Any) -> Any:
    """A setting's value as one writes it on the command line."""
    return "x".join(map(str, value)) if isinstance(value, tuple | list) else value


def named(candidate: Finalist) -> str:
    """`"trial 7 (learning_rate 0.003, batch_size 32)"`."""
    if candidate.id == DEFAULT:
        return "the default settings (no trial was better)"
    words = [f"{name} {_short(value)}" for name, value in candidate.values.items()]
    return f"trial {candidate.id} ({', '.join(words)})"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(spelled(value))


def content(
    search: Search,
    candidates: list[Finalist],
    *,
    algorithm: str,
    space: Space,
    found: list[WinnerComparison],
    seconds: float,
    mattered: Importance | None,
) -> SearchRecord:
    """The search's part of metrics.json.

    Args:
        search: the trials.
        candidates: the finalists, the winner first.
        algorithm: that proposed them.
        space: the settings.
        found: the winner against the others.
        seconds: that the search took.
        mattered: how much each setting mattered, if that can be said.
    """
    trials = search.trials
    scored = [t for t in trials if t.outcome.score is not None]
    return SearchRecord(
        algorithm=algorithm,
        metric=search.metric,
        maximise=search.maximise,
        trials=len(trials),
        failed=len(trials) - len(scored),
        budget_spent=search.spent,
        seconds=round(seconds, 2),
        space=space.as_dict(),
        winner=candidates[0].id,
        winner_words=named(candidates[0]),
        values={name: spelled(value) for name, value in candidates[0].values.items()},
        finals=[
            Final(trial=c.id, scores=[*c.scores], mean=c.mean, own=c.own.score if c.own else None, fresh=c.fresh)
            for c in candidates
        ],
        comparisons=[c.as_dict() for c in found],
        words=words(search, candidates, found) + ([] if mattered is None else [mattered.words()]),
        importance=recorded(mattered),
    )


def recorded(mattered: Importance | None) -> ImportanceRecord | None:
    """Importance as metrics.json has it."""
    return None if mattered is None else ImportanceRecord(**asdict(mattered))


def words(search: Search, candidates: list[Finalist], found: list[WinnerComparison]) -> list[str]:
    """What a search came to, in sentences.

    Args:
        search: the trials.
        candidates: the finalists, the winner first.
        found: the winner against the others.
    """
    winner, seeds = candidates[0], len(candidates[0].scores)
    fresh = "fresh " * winner.fresh
    metric, over = terms.score(search.metric), f"over {seeds} {fresh}seed{'s' * (seeds > 1)}"
    mean = f"mean {metric} {figure(winner.mean)} on validation {over}"
    lines = [f"winner: {named(winner)}, {mean}"]
    default = next((c for c in candidates if c.id == DEFAULT), winner)
    if winner is not default:
        lines.append(f"the default settings reach {figure(default.mean)} in the same way")
    lines += [c.words() for c in found]
    if not winner.fresh:
        lines.append("nothing was trained again with fresh seeds: the score that chose the winner flatters it")
    lines.append("validation chose the winner, which flatters it; the test score is the one to quote")
    return lines
