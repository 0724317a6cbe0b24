"""The closing summary: the answer first, then what to do; all else on request. From run.json and metrics.json alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transferkit import tasks, terms
from transferkit.delivery import statements
from transferkit.delivery.next_commands import next_commands
from transferkit.delivery.report.effective import led_to_it
from transferkit.evaluation.metrics_record import CrossValidation, HeadCandidate, MetricsRecord
from transferkit.evaluation.versus import verdicts
from transferkit.quantities import duration, figure, plural
from transferkit.runs.advice import HIDDEN, own
from transferkit.runs.layout import Layout
from transferkit.runs.run_record import ConfigRecord, PhaseRecord, RunRecord
from transferkit.text import shown, wrapped

SCREEN = 22  # lines of a terminal of 24, without the command and the prompt after it
LABEL = 10  # columns of the words in front


class Line(NamedTuple):
    """What stands behind a label (empty: behind the last one). `hang` columns more indent what is wrapped; a
    command stays on one line, to be copied."""

    label: str
    text: str
    hang: int = 0
    command: bool = False


Lines = Iterator[Line]


def summary(layout: Layout, verbose: bool = False, width: int | None = None) -> str:
    """The summary of a finished run.

    Args:
        layout: the run.
        verbose: also what was trained on what, how long it took, and where the files are.
        width: columns to wrap at; None: lines as long as they are.
    """
    manifest, metrics = layout.complete(), layout.read_metrics()
    parts = [
        _answer(metrics),
        _skipped(manifest),
        _folds(metrics),
        _networks(metrics, verbose),
        _choice(metrics),
        _unlabeled(metrics),
        _unfrozen(metrics),
        _cost(metrics),
        _compared(metrics),
        _problem(metrics),
        _search(metrics),
    ]
    if verbose:
        parts += [_notes(metrics), _work(manifest, metrics), _files(layout, manifest)]
    before = [_written(line, width) for part in parts for line in part]
    after = [_written(line, width) for line in _ways_on(layout, verbose)]
    steps = next_commands(layout, manifest, metrics)
    while True:
        text = "\n".join([*before, *(_written(line, width) for line in _next(steps)), *after])
        if verbose or len(steps) <= 1 or len(text.splitlines()) <= SCREEN:
            return text
        steps.pop()


def _written(line: Line, width: int | None) -> str:
    text = f"{line.label:<{LABEL}} {shown(line.text)}"
    return text if line.command else wrapped(text, width, line.hang + (LABEL + 1 if line.label else 0))


def _answer(metrics: MetricsRecord) -> Lines:
    """How good it is, and how often these pictures had been looked at."""
    seen = statements.looks(metrics) if metrics.test.n else None
    fresh = seen == "never used before"
    yield Line("Result", statements.answer(metrics) + ("; never used before" if fresh else ""))
    if seen and not fresh:
        yield Line("", seen)
    if related := statements.related(metrics.test):
        yield Line("", related)
    yield from _targets(metrics)
    yield from _goal(metrics, tasks.of(metrics.task).default_metric)


def _skipped(manifest: RunRecord) -> Lines:
    skipped = manifest.data.skipped
    if skipped:
        yield Line("Left out", f"{plural(len(skipped), 'picture')} could not be read (listed in run.json)")


def _targets(metrics: MetricsRecord) -> Lines:
    """Each number by itself, where there are several: their mean has no unit."""
    rows = metrics.test.rows if tasks.of(metrics.task).numbers else []
    if len(rows) > 1:
        said = [f"{shown(row.name)} {figure(row.value('mae'))}" for row in rows]
        yield Line("", f"by target: {', '.join(said[:8])}" + (" …" if len(said) > 8 else ""))


def _compared(metrics: MetricsRecord) -> Lines:
    """What simpler means reach on the same pictures."""
    task = metrics.task
    about, label = tasks.of(task), "Compared"
    name, written = about.default_metric, statements.percent if about.headline == "right" else figure
    for verdict in verdicts(metrics, name):
        value = f"{written(verdict.value):>6}  "
        what = terms.rival(verdict.name, task).label
        yield Line(label, f"{value}{what}: {statements.remark(verdict)}", len(value))
        label = ""
    won = statements.winner(metrics, name)
    if won:
        yield Line("Note", won)


def _problem(metrics: MetricsRecord) -> Lines:
    diagnosis = metrics.diagnosis
    if diagnosis:
        evidence = f": {diagnosis.evidence[0]}" if diagnosis.evidence else ""
        yield Line("Problem", terms.state(diagnosis.state) + evidence)
        for other in diagnosis.also:
            yield Line("", f"also: {terms.state(other)}")
    weak = statements.weakest(metrics)
    if weak:
        yield Line("Weakest", weak)
    unseen = statements.unseen(metrics)
    if unseen:
        yield Line("Untested", unseen)


def _next(steps: Sequence[tuple[str, str]]) -> Lines:
    """What to do now."""
    label = "Next"
    for why, command in steps:
        yield Line(label, f"{why}:")
        yield Line("", f"  {command}", command=True)
        label = ""


def _ways_on(layout: Layout, verbose: bool) -> Lines:
    """How to use it, and where there is more."""
    run = str(layout.folder)
    yield Line("Use", own(shlex.join(["transferkit", "predict", run, "PICTURES"])) or HIDDEN, command=True)
    if layout.report.exists():
        yield Line("Report", shown(layout.report), command=True)
    if not verbose:
        yield Line("Details", own(shlex.join(["transferkit", "summary", run, "--verbose"])) or HIDDEN, command=True)


def _work(manifest: RunRecord, metrics: MetricsRecord) -> Lines:
    """What was trained on what."""
    config, data = manifest.config, manifest.data
    outputs = plural(len(metrics.classes), tasks.of(metrics.task).output)
    parts = ", ".join(f"{n:,} {terms.part(name)}" for name, n in data.parts.items())
    yield Line("Data", f"{shown(data.path or 'arrays')}: {plural(data.n, 'picture')}, {outputs}; {parts}")
    network = shown(statements.network(config.backbone, metrics))
    yield Line("Network", f"{network}, {_weights(manifest.weights.source)}; {_frozen(config)}")
    phases = led_to_it(manifest)
    for phase in phases:
        kept = "; kept" if phase.name == manifest.chosen and len(phases) > 1 else ""
        yield Line(
            "Training",
            f"{terms.phase(phase.name, technical=True)}: {terms.score(metrics.goal)} {figure(phase.score)} on "
            f"validation; {plural(phase.parameters, 'weight')}, {_epochs(phase)}, "
            f"{duration(phase.seconds)}{kept}",
        )


def _epochs(phase: PhaseRecord) -> str:
    if not phase.epochs:
        return f"{phase.trained}, fitted in one step"
    return f"{plural(phase.epochs, 'epoch')} (best: {phase.best_epoch})"


def _choice(metrics: MetricsRecord) -> Lines:
    """What was chosen, what is expected of it, and what that brought over the plainest candidate."""
    rows, chosen, found = metrics.candidates, metrics.chosen_candidate, metrics.cross_validation
    if chosen is None or found is None or metrics.ensemble is not None:
        return
    what = terms.candidate(chosen.classifier, chosen.features)
    text = f"{what}, of {len(rows)} candidates by cross-validation"
    if chosen.judged_on != "validation":
        between = f" ({figure(found.ci95[0])} to {figure(found.ci95[1])})" if found.ci95 else ""
        text += f": {terms.score(found.metric)} {figure(found.score)}{between}{_over_simplest(rows, found)}"
    yield Line("Chosen", text)


def _over_simplest(rows: Sequence[HeadCandidate], found: CrossValidation) -> str:
    """What the choice brought over the simplest candidate, told apart on the same pictures; "" where it is that."""
    simple = next((row for row in rows if row.name == found.simplest), None)
    if simple is None or found.gain is None or found.gain_se is None:
        return ""
    low, high = (found.gain + sign * 1.96 * found.gain_se for sign in (-1, 1))
    words = "better than" if low > 0 else "worse than" if high < 0 else "no clear difference to"
    gain = f"gain {figure(found.gain, '+')}, {figure(low, '+')} to {figure(high, '+')}"
    return f"; {words} {terms.candidate(simple.classifier, simple.features)} ({gain})"


def _networks(metrics: MetricsRecord, verbose: bool) -> Lines:
    """The networks that were compared, what each came to, and what was left out; what was made of them and came to
    nothing where all is asked for."""
    found, label = metrics.portfolio, "Networks"
    if found is None:
        return
    idle = {row.words for row in found.refined if not row.shipped} | {f"not tried: {what}" for what in found.untried}
    idle |= set() if metrics.unfrozen else {found.tail}
    for text in found.words:
        if verbose or text not in idle:
            yield Line(label, text, 2)
            label = ""


def _unlabeled(metrics: MetricsRecord) -> Lines:
    """What pictures without labels added, or that they added nothing."""
    if metrics.unlabeled is not None:
        yield Line("Unlabelled", metrics.unlabeled.words)


def _unfrozen(metrics: MetricsRecord) -> Lines:
    """What training layers of the network brought over what was chosen with all of them frozen."""
    if metrics.unfrozen is not None:
        yield Line("Unfrozen", metrics.unfrozen.words)


def _cost(metrics: MetricsRecord) -> Lines:
    """What one picture takes and how large the file is, where there were limits, and what these left out."""
    if metrics.cost is not None:
        yield Line("Cost", metrics.cost.words)
        for text in metrics.cost.left_out:
            yield Line("", f"left out: {text}", 10)


def _folds(metrics: MetricsRecord) -> Lines:
    folds = metrics.folds
    if folds is not None:
        spread = f"{terms.score(folds.metric)} {figure(folds.mean)} ± {figure(folds.std)}"
        yield Line("Folds", f"{spread} over {len(folds.scores)} folds of training + validation ({terms.HEAD} alone)")


def _weights(source: str) -> str:
    known = {"random": "random weights", "file": "weights of the file", "pretrained": "pretrained weights"}
    return known.get(source, "ImageNet weights" if source == "imagenet" else f"weights of {shown(source)}")


def _frozen(config: ConfigRecord) -> str:
    policy = config.unfreeze
    known = {
        "none": "frozen, with a new classifier (head) trained on it",
        "all": "trained from its first layer",
        "gradual": "trained stage by stage, from the top down",
    }
    if policy in known:
        return known[policy]
    kind, _, where = policy.partition(":")
    return (
        f"trained from {where} up, frozen below"
        if kind == "from"
        else f"its last {plural(int(where), 'layer')} trained"
    )


def _search(metrics: MetricsRecord) -> Lines:
    """What the search tried, what won, and whether that is more than chance."""
    search = metrics.search
    if search is None:
        return
    failed = f" ({search.failed} failed)" if search.failed else ""
    spent = "; ended by its time budget" if search.budget_spent else ""
    tried = f"{plural(search.trials, 'trial')}{failed} in {duration(search.seconds)}{spent}"
    yield Line("Search", f"{search.algorithm}: {tried}; all of them in trials.csv")
    for line in search.words:
        yield Line("", line)


def _notes(metrics: MetricsRecord) -> Lines:
    """Promises that test did not bear out."""
    notes = (statements.calibrated(metrics), *statements.abstaining(metrics))
    yield from (Line("Note", note) for note in notes if note)


def _goal(metrics: MetricsRecord, name: str) -> Lines:
    """The score that was aimed at, where it is not the one already said."""
    key, test = metrics.goal_key, metrics.test
    value = test.value(key)
    if key != name and value is not None:
        said = f"{terms.score(metrics.goal)} {figure(value)}{statements.likely(test, key)}"
        yield Line("Goal", f"{said} on the same pictures")


def _files(layout: Layout, manifest: RunRecord) -> Lines:
    wanted = (layout.model, layout.metrics, layout.predictions, layout.history, layout.splits, layout.card)
    yield Line("Time", duration(manifest.timings["total"]))
    yield Line("Files", f"{shown(layout.folder)}/: {', '.join(f.name for f in wanted if f.exists())}")
