"""A run whose shipped model has learnt from the validation pictures too."""

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

import transferkit as tk
from tests.marks import extended
from tests.training.job import judge, recipe_for
from transferkit import terms
from transferkit.csv_files import read_csv
from transferkit.runs import refit
from transferkit.training.fit import StoppingMetric

pytestmark = pytest.mark.usefixtures("one_cache")


def scripted(scores):
    """A goal that gives these scores, epoch after epoch, then the last one."""
    line = iter(scores)
    return lambda samples, units: StoppingMetric("score", True, lambda outputs: next(line))


def spent(history):
    """Each phase's learning rates, epoch by epoch."""
    phases = groupby(history, lambda row: row["phase"])
    return {name: [row["learning_rate"] for row in rows] for name, rows in phases}


# Policy, schedule, scores of each phase in turn, and how many epochs of which are to be trained again.
WAYS = [
    ("none", "cosine", [[0.1, 0.3, 0.2, 0.1]], {"head": 2}),
    # The rate falls after three epochs without a better score; the best epoch is one at a lower rate.
    ("none", "plateau", [[0.3, 0.1, 0.1, 0.1, 0.1, 0.4, 0.1, 0.1]], {"head": 6}),
    ("from:block4", "cosine", [[0.1, 0.2, 0.1, 0.1], [0.3, 0.2, 0.4, 0.1]], {"head": 2, "tail": 3}),
    ("from:block4", "cosine", [[0.1, 0.2, 0.9, 0.1], [0.3, 0.2, 0.4, 0.1]], {"head": 3}),
    # The stage before the chosen one is worse than the head, but the chosen one went on from it.
    pytest.param(
        "gradual", "cosine", [[0.1, 0.2, 0.4, *[0.1] * 7], [0.1, 0.2], [0.6, 0.1], *[[0.2, 0.2]] * 3],
        {"head": 3, "tail from:block4": 2, "tail from:block3": 1},
        marks=pytest.mark.extended,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "schedule", "scores", "again"), WAYS)
def test_each_phase_is_trained_again_as_it_was_best_and_no_other(
    digits, tmp_path, monkeypatch, policy, schedule, scores, again
):
    epochs = len(scores[0])
    made = recipe_for(
        digits, unfreeze=policy, schedule=schedule, epochs=epochs, patience=epochs - 1, batch_size=4,
        goal=scripted([score for phase in scores for score in phase]),
    )  # fmt: skip
    trained = made.run()
    assert trained.chosen == list(again)[-1]
    runs = []
    inner = refit.Recipe.run
    monkeypatch.setattr(refit.Recipe, "run", lambda self: runs.append(self) or inner(self))
    both = refit.on_all(made, trained, tmp_path)
    before, now = spent(made.trainer.history), spent(runs[0].trainer.history)
    assert {name: len(rates) for name, rates in now.items()} == again
    assert len(runs[0].problem.train) == len(made.problem.train) + len(made.problem.val)
    for name, rates in now.items():
        # An epoch ends a step or two later: there are more pictures in it.
        np.testing.assert_allclose(rates, before[name][: len(rates)], atol=0.02 * max(before[name]), err_msg=name)
    assert all(f"{epochs} epochs of the {terms.phase(name)}" in both.notes[-1] for name, epochs in again.items())


@pytest.mark.extended
def test_what_memory_allowed_holds_for_more_pictures(digits, tmp_path, monkeypatch):
    made = recipe_for(digits, epochs=2, patience=1, batch_size=4)
    trained = made.run()
    made.trainer.batch_size, made.trainer.accumulate = 2, 2  # as a halved batch leaves them
    runs, inner = [], refit.Recipe.run
    monkeypatch.setattr(refit.Recipe, "run", lambda self: runs.append(self) or inner(self))
    refit.on_all(made, trained, tmp_path)
    assert (runs[0].trainer.batch_size, runs[0].trainer.accumulate) == (2, 2)


def test_numbers_are_learnt_again_in_the_units_in_which_the_model_answers(digits, tmp_path):
    made = recipe_for(digits, task="regress", per_class=8, epochs=12, patience=11, dropout=0.0)
    # Validation lies elsewhere, so that units of both together would be others.
    part = made.problem
    shifted = part.targets.copy()
    shifted[part.val] += 3
    made.problem = made.trainer.problem = replace(part, targets=shifted)
    trained = made.run()
    both = refit.on_all(made, trained, tmp_path)
    pixels = made.views.pixels(part.samples, part.val)
    models = (trained.model, both.model)
    before, now = (np.abs(np.asarray(model(pixels)) - shifted[part.val]).mean() for model in models)
    assert now < 0.7 * before


def test_what_was_interrupted_ends_with_the_newest_epoch(digits, tmp_path):
    made = recipe_for(digits, epochs=4, patience=3, goal=judge)
    trained = made.run()
    trained.phases[0] = replace(trained.phases[0], best_epoch=4)
    expected = refit.on_all(made, trained, tmp_path / "whole").model.get_weights()
    trained.phases[0] = replace(trained.phases[0], best_epoch=2)
    refit.on_all(made, trained, tmp_path / "parts")
    trained.phases[0] = replace(trained.phases[0], best_epoch=4)
    found = refit.on_all(made, trained, tmp_path / "parts").model.get_weights()
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("policy", extended(["none", "from:block4"], ["from:block4"]))
def test_the_shipped_model_has_seen_validation(digits, tmp_path, unpublished, policy):
    settings = {
        "head": "mlp",
        "unfreeze": policy,
        "epochs": 6,
        "patience": 5,
        "views": 1,
        "offline": True,
        "quiet": True,
    }
    plain, both = (
        tk.finetune(digits, "mini", output=tmp_path / refit, refit=refit, **settings)
        for refit in ("train", "train+val")
    )
    # Everything that validation judged is as without the refit; the model is another.
    assert both.metrics["val"] == plain.metrics["val"]
    assert both.history[0]["loss"] == plain.history[0]["loss"]
    assert both.metrics["temperature"] == plain.metrics["temperature"]
    splits = read_csv(both.folder / "splits.csv")
    held = [digits / row["path"] for row in splits if row["split"] == "val"]
    labels = [row["label"] for row in splits if row["split"] == "val"]
    right = [np.mean([p.label == t for p, t in zip(run.predict(held), labels, strict=True)]) for run in (plain, both)]
    assert right[1] > right[0], "the pictures it has learnt from are easier for it"
    assert any("trained again on training and validation" in note for note in both.manifest["notes"])
