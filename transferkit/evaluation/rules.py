"""What can be wrong with a run: small rules, each looking at one case. Their sources are in docs/diagnosis.md."""

from __future__ import annotations

import math

import numpy as np

from transferkit import terms
from transferkit.data.samples import shown
from transferkit.evaluation.learning_curve import climbs
from transferkit.evaluation.metrics_record import CurveFit
from transferkit.evaluation.remedies import larger_head, less_freedom, more_views, rate
from transferkit.evaluation.symptoms import (
    Case,
    Symptom,
    cut_short,
    fall_per_rate,
    pooled_recall,
    probe_ahead,
    recalls,
    rival,
    score_of,
    standard_error,
    still_improving,
    turned_up,
    weakest,
)
from transferkit.evaluation.versus import LEVEL
from transferkit.quantities import figure, plural

NEAR_DUPLICATE_SHARE = 0.05  # of a split: shots in series leave a percent or two
DOUBTFUL = 0.02  # of labels that are wrong at the least: fewer need no alarm
GUESSING = 3.0  # times the loss of guessing
LITTLE = 0.5  # of what is left above the commonest answer: a model that learnt something gains more
MANY_EPOCHS = 10  # in which a head at a fitting rate has learnt most of what it will


def leakage(case: Case) -> Symptom | None:
    """Pictures shared by splits, near-identical ones too; or validation far above test or above training."""
    evidence, n = [], case.context.duplicates_across_splits
    if n:
        evidence.append(f"{n} pictures lie in more than one split")
    for split, found in case.context.near_duplicates.items():
        if found.n >= 5 and found.n > NEAR_DUPLICATE_SHARE * found.of:
            evidence.append(
                f"{found.n} of {found.of} {split} pictures that were compared have a near-identical copy in training"
            )
    if _far_above_test(case) and case.context.unlike is None:
        evidence.append(f"validation {case.named} {case.val:.3f} is far above test {case.test:.3f}")
    if case.metrics.train and -case.gap > max(0.05, 4 * case.noise):
        evidence.append(f"validation {case.named} {case.val:.3f} is far above training {case.train:.3f}")
    if not evidence:
        return None
    why = "pictures of one scene, patient or product belong in one split; name it in a group column"
    return Symptom(evidence, [case.look(why, "data check", "data")])


def shift(case: Case) -> Symptom | None:
    """Test is answered far worse than validation, and its pictures look unlike those of training."""
    share = case.context.unlike
    if share is None or not _far_above_test(case):
        return None
    evidence = (
        f"validation {case.named} {case.val:.3f} is far above test {case.test:.3f}, and {share:.0%} of the test "
        "pictures look less like those of training than 95 % of validation did"
    )
    why = "train on pictures of the kind that is to be answered; see what each split holds"
    return Symptom([evidence], [case.look(why, "data summary", "data")])


def _far_above_test(case: Case) -> bool:
    if case.val is None or case.test is None:
        return False
    spread = math.hypot(standard_error(case, "val"), standard_error(case, "test"))
    return case.val - case.test > max(0.05, 4 * spread)


def too_high(case: Case) -> Symptom | None:
    """The loss became NaN, stayed far above that of guessing, or ended a phase no lower than it began."""
    raw = [row.get("loss", 0.0) for row in case.rows]
    loss = case.column("loss")
    if any(not math.isfinite(value) for value in raw):
        evidence = "the training loss stopped being a number"
    elif (guess := _guess(case)) and _middle(case) > GUESSING * guess:
        evidence = f"in half of the epochs the loss was above {_middle(case):.3g}; mere guessing has {guess:.3g}"
    elif len(loss) >= 3 and loss[-1] > loss[0] + max(0.05, 0.05 * loss[0]):
        evidence = f"the training loss rose from {loss[0]:.3g} to {loss[-1]:.3g}"
    else:
        return None
    return Symptom([evidence], [case.remedy("smaller steps", f"--learning-rate {rate(case, 0.1)}")])


def _guess(case: Case) -> float | None:
    """Cross-entropy of an answer that knows nothing; None where the loss is another."""
    classes = case.context.n_classes or 0
    return None if classes < 2 else case.task.guessing(classes)


def _middle(case: Case) -> float:
    """The median of training and of validation loss, whichever is lower: penalties raise the one, overfitting the
    other."""
    columns = [c for c in (case.column("loss"), case.column("val_loss")) if len(c)]
    return min((float(np.median(c)) for c in columns), default=0.0)


def unstable(case: Case) -> Symptom | None:
    """The training loss itself keeps jumping. A jumpy validation loss alone only means few pictures."""
    loss = case.column("loss")
    if len(loss) < 6:
        return None
    jumps = int((np.diff(loss) > np.maximum(0.2 * loss[:-1], 0.03 * loss.max())).sum())
    if jumps < max(2, 0.25 * (len(loss) - 1)):
        return None
    larger = 2 * int(case.number("batch_size", 32))
    calmer = [case.remedy("less noise in each step", f"--batch-size {larger}")] if larger <= 4096 else []
    return Symptom(
        [f"the training loss jumped up by a fifth or more in {jumps} of {len(loss) - 1} epochs"],
        [
            case.remedy("smaller steps", f"--learning-rate {rate(case, 0.3)}"),
            *calmer,
        ],
    )


def label_noise(case: Case) -> Symptom | None:
    """The same picture under two labels, many labels contradicted where others' models are sure, or too many confident
    mistakes."""
    from scipy.stats import poisson

    evidence, looks, n = [], [], case.context.conflicting_labels
    if n > DOUBTFUL * (case.context.n_train or 0):
        evidence.append(f"{plural(n, 'picture')} {'occurs' if n == 1 else 'occur'} under more than one label")
        looks.append(case.look("list the pictures that occur under several labels", "data check", "data"))
    labels = case.context.doubtful_labels
    if labels and labels.n >= 10 and labels.low > DOUBTFUL:
        evidence.append(
            f"about {labels.share:.0%} of the {labels.of:,} training labels that were judged are probably wrong (at "
            f"least {labels.low:.0%}): models that never saw them contradict {labels.contradicted} of the "
            f"{labels.sure} where they are surest, more than errors of their own explain"
        )
    sure = case.context.confident_errors
    seen, allowed = (sure.observed, sure.expected) if sure else (0, 0.0)
    # Errors are Poisson's at the most, each with a probability of its own: so many are less than one run in a thousand.
    if seen >= 5 and seen > 2 * allowed and poisson.sf(seen - 1, allowed) < 1e-3:
        evidence.append(f"{seen} confident answers are wrong where {allowed:.1f} were to be expected")
    if not evidence:
        return None
    smoothing = case.number("label_smoothing", 0.1)
    # For classes alone: it is what the recipe smooths by itself.
    trust = case.task.exclusive and smoothing < 0.2
    softer = [case.remedy("until then, trust single labels less", "--label-smoothing 0.2")] if trust else []
    return Symptom(
        evidence,
        [
            *looks,
            case.look("look at the most confident mistakes first", "report", "run"),
            case.look("list labels that are probably wrong", "data check --run", "run"),
            *softer,
        ],
    )


def learned_nothing(case: Case) -> Symptom | None:
    """Not told apart from the answer that ignores the picture, and surely not far above it.

    That a difference is not clear proves nothing where there are few pictures: it must be clearly small, too.
    """
    floor, edge = score_of(case, case.metrics.baselines.get("majority")), rival(case, "majority")
    if floor is None or case.test is None or edge is None:
        return None
    if floor > 0.98:  # nothing is left to gain over such a majority
        return None
    if case.context.unlike is not None and _far_above_test(case):  # it has learnt something, of other pictures
        return None
    if overfitting(case) is not None:  # it has learnt its training pictures, and nothing that goes beyond them
        return None
    better = edge.gain > 0 and edge.p < LEVEL
    if better or edge.high > LITTLE * (1 - floor):
        return None
    verdict = "worse than" if edge.gain < 0 and edge.p < LEVEL else "no clear difference from"
    found = case.remedy("find a rate at which the loss falls", "--learning-rate auto")
    return Symptom(
        [
            f"test {case.named} {figure(case.test)}: {verdict} {case.task.ignorant} ({figure(floor)}); the "
            f"gain lies in {figure(edge.low, '+')} to {figure(edge.high, '+')}"
        ],
        [
            *([] if case.word("learning_rate") == "auto" else [found]),
            case.look("features from another network; see which ones fit this machine", "backbones recommend", "data"),
        ],
    )


def too_low(case: Case) -> Symptom | None:
    """The loss still falls, nearly as fast as at the start, or far above what a probe reaches: steps are too small."""
    loss = case.column("loss")
    if not cut_short(case) or len(loss) < 6:
        return None
    early, late = fall_per_rate(case)
    probe = probe_ahead(case) if len(loss) >= MANY_EPOCHS else None
    if probe is not None:
        # Steps of a fitting size need a few epochs for what logistic regression finds; these took many.
        evidence = (
            f"{len(loss)} epochs brought training {case.named} to {case.train:.3f} where the simplest classifier "
            f"(linear probe) reaches {probe:.3f}"
        )
    elif early > 0 and late >= 0.7 * early and loss[-1] >= 0.6 * loss[0]:
        evidence = f"after {len(loss)} epochs every step still lowers the loss nearly as much as at the start"
    else:
        return None
    return Symptom([evidence], [case.remedy("larger steps", f"--learning-rate {rate(case, 10)}")])


def overfitting(case: Case) -> Symptom | None:
    """A gap beyond noise, and a validation loss that turned up (or a gap too wide to need it)."""
    if case.gap <= max(0.05, 2.5 * case.noise):
        return None
    rose = turned_up(case)
    if rose is None and (case.gap <= 0.15 or (cut_short(case) and still_improving(case))):
        return None  # what more epochs still improve on new pictures has not learnt too much
    noise = f"beyond noise (±{2 * case.noise:.3f})"
    evidence = [f"training {case.named} {case.train:.3f} against validation {case.val:.3f}, {noise}"]
    return Symptom(evidence + ([rose] if rose else []), less_freedom(case))


def too_little_data(case: Case) -> Symptom | None:
    """Few pictures per class with a gap beyond noise, or a learning curve that still climbs."""
    evidence: list[str] = []
    n, classes = case.context.n_train, case.context.n_classes or 1
    if n and n / classes < 30 and case.gap > max(0.05, 2 * case.noise):
        evidence.append(f"{n / classes:.0f} training pictures per class, and validation trails training")
    curve = case.context.learning_curve
    if curve and climbs(curve) and not _beyond(case, curve):
        evidence.append(
            f"twice the pictures would bring {terms.rival('linear_probe', case.context.task).phrase} about "
            f"{curve.gain:+.3f} in {case.named} ({curve.gain_low:+.3f} to {curve.gain_high:+.3f})"
        )
    if not evidence:
        return None
    which = weakest(case)
    why = f"more pictures help most, first of {which}" if which else "more pictures help most"
    return Symptom(evidence, [case.look(why, "data summary", "data"), *more_views(case)])


def _beyond(case: Case, curve: CurveFit) -> bool:
    """Whether the model is better than the curve's classifier would be with twice the pictures: then that classifier
    does not stand for it, and what it would gain says nothing of the model."""
    return curve.doubled is not None and case.val is not None and case.val > curve.doubled.high


def imbalance(case: Case) -> Symptom | None:
    """Rare classes are recognised significantly worse than common ones."""
    from scipy.stats import fisher_exact

    counts = case.context.class_counts
    rows = [(row, recall) for row, recall in recalls(case.metrics.test or case.metrics.val) if row.name in counts]
    if len(rows) < 2 or max(counts.values()) < 3 * max(1, min(counts.values())):
        return None
    middle = float(np.mean(list(counts.values())))
    rare = [r for r in rows if counts[r[0].name] < 0.5 * middle]
    common = [r for r in rows if counts[r[0].name] >= 0.5 * middle]
    (few, a), (many, b) = pooled_recall(rare), pooled_recall(common)
    if not few or not many:
        return None
    right = round(a * few), round(b * many)
    table = np.array([[right[0], few - right[0]], [right[1], many - right[1]]])
    if b - a <= 0.1 or fisher_exact(table).pvalue > 0.01:
        return None
    which = "the rare class" if len(rare) == 1 else f"the {len(rare)} rare classes"
    evidence = [f"recall is {a:.2f} for {which} and {b:.2f} for the others"]
    rarest = sorted((row.name for row, _ in rare), key=lambda name: counts[name])[:5]
    names = ", ".join(f"{shown(name)} ({counts[name]})" for name in rarest)
    more = case.look(f"more pictures of the rare classes: {names}", "data summary", "data")
    weighed = case.word("class_weights", "none") != "none"
    if weighed or not case.task.exclusive:
        return Symptom(evidence, [more])
    why = "weigh rare classes up and choose by a score that counts them"
    return Symptom(evidence, [case.remedy(why, "--class-weights balanced --metric macro_f1"), more])


def underfitting(case: Case) -> Symptom | None:
    """Training is as poor as validation and far from perfect, or was cut short while still improving."""
    if overfitting(case) is not None:  # too much is not too little: a probe that wins does so as it is simpler
        return None
    if cut_short(case) and still_improving(case):
        epochs = min(10000, int(case.number("epochs", len(case.rows))) * 3)
        return Symptom(
            ["the last epoch was the best and validation still improved when the epochs ran out"],
            [case.remedy("train longer", f"--epochs {epochs}")],
        )
    probe = probe_ahead(case)
    if probe is not None:
        evidence = [
            f"the simplest classifier on the same network (linear probe) reaches {case.named} {probe:.3f} on test, and "
            f"this model {case.test:.3f}: beyond chance, in pairs on the same pictures"
        ]
        longer = f"--epochs {min(10000, 3 * int(case.number('epochs', len(case.rows))))}"
        found = case.word("learning_rate") == "auto"
        return Symptom(
            evidence,
            [
                case.remedy("train longer", longer)
                if found
                else case.remedy("find a rate that suits the head", "--learning-rate auto")
            ],
        )
    # The running mean under augmentation, mixup and dropout says nothing here: only a measured score does.
    if not case.metrics.train or case.train is None or case.val is None:
        return None
    if case.train >= 0.8 or case.gap > max(0.05, 2 * case.noise):
        return None
    evidence = [
        f"training {case.named} {case.train:.3f} and validation {case.val:.3f} both leave room: no clear difference "
        f"between them (±{2 * case.noise:.3f})"
    ]
    remedies = []
    if case.word("unfreeze", "none") == "none":
        remedies.append(case.remedy("let the upper part of the network adapt", "--unfreeze last:1"))
    better = "features from a stronger network; see which ones fit this machine"
    return Symptom(evidence, [*remedies, *larger_head(case), case.look(better, "backbones recommend", "data")])
