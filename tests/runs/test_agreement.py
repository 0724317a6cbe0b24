"""What calibration and scores rest on are answers of the network that is shipped."""

from dataclasses import replace

import numpy as np
import pytest

import transferkit as tk
from tests.fake_engine import faked
from tests.training.job import recipe_for
from transferkit import compute
from transferkit.console import Reporter
from transferkit.csv_files import read_csv
from transferkit.data.images.decode import DecodeSettings
from transferkit.data.source import scan
from transferkit.errors import TrainingError
from transferkit.evaluation import calibration
from transferkit.features import precision
from transferkit.features.precision import Precision
from transferkit.runs import model_file, scoring
from transferkit.runs.agreement import TOLERANCE, agreed, gap, sampled
from transferkit.selection import shipping


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_answers_that_agree_are_kept_and_others_are_made_again_by_the_shipped_network(digits, task):
    made = recipe_for(digits, task=task)
    reporter = made.reporter
    trained = made.run()
    assert agreed(trained, made) is trained
    assert not reporter.warnings
    off = replace(
        trained, val_outputs=trained.val_outputs + np.float32(1.0) * (np.arange(trained.val_outputs.shape[1]))
    )
    repaired = agreed(off, made)
    np.testing.assert_allclose(repaired.val_outputs, trained.val_outputs, atol=1e-4)
    assert len(reporter.warnings) == 1
    assert reporter.warnings == repaired.notes
    unit = "standard deviations" if task == "regress" else "of probability"
    assert unit in reporter.warnings[0]
    assert "validation was answered again" in reporter.warnings[0]


@pytest.mark.parametrize("off", [0.0, 1e-4])
def test_features_of_an_engine_have_to_agree_far_more_closely(digits, monkeypatch, off):
    """Numbers, unlike answers that are sure, hide nothing; so small a difference the trial of an engine lets pass."""
    fake = faked(monkeypatch)
    fake.change = lambda outputs: [x + np.float32(off) * np.sqrt((x**2).mean(axis=-1, keepdims=True)) for x in outputs]
    made = recipe_for(digits, task="regress")
    trained = made.run()
    assert made.frozen.precision.how == "fake"
    found = gap(trained.model, trained.val_outputs[sampled(made.problem)], made.problem, made.views)
    assert found < TOLERANCE  # as for a lower precision it would pass
    repaired = agreed(trained, made)
    assert (repaired is trained) is (off == 0.0)
    again = recipe_for(digits, task="regress")
    again.frozen.choose_precision(again.frozen.pooled(), again.problem.samples, again.wanted())
    assert again.frozen.precision.how == ("plain" if off else "fake")
    own = scoring.predictions(
        trained.model, made.problem.samples.select(made.problem.val), made.views.decode, Reporter(quiet=True), "val"
    )
    np.testing.assert_allclose(repaired.val_outputs, own, atol=1e-4)


@pytest.fixture
def imprecise(monkeypatch):
    """A low precision that is far from float32, and a probe that does not see it."""
    monkeypatch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
    inner = compute.forward

    def forward(network, graph_bfloat16=False):
        run = inner(network)
        if not graph_bfloat16:
            return run
        return lambda inputs, rows=None: [np.float32(x + 0.3 * np.abs(x).mean() * np.sin(97 * x)) for x in run(inputs)]

    monkeypatch.setattr(compute, "forward", forward)
    monkeypatch.setattr(precision, "_agreeing", lambda *_: Precision("bfloat16", "graph"))
    monkeypatch.setattr(precision, "choose_training", lambda *_: Precision())


@pytest.mark.usefixtures("unpublished")
def test_scores_and_calibration_of_a_run_are_those_of_its_model(digits, tmp_path, imprecise):
    run = tk.finetune(
        digits, "mini", output=tmp_path / "run", epochs=3, patience=2, views=1, precision="bfloat16", quiet=True
    )
    assert any("answered again" in note for note in run.manifest["notes"])
    samples = scan(digits)
    val = {row["path"] for row in read_csv(run.folder / "splits.csv") if row["split"] == "val"}
    samples = samples.select([i for i, path in enumerate(samples.paths) if path in val])
    model, facts = model_file.load(run.layout.model), run.metrics
    answers = scoring.predictions(model, samples, DecodeSettings(32), Reporter(quiet=True), "val")
    assert np.mean(answers.argmax(1) == samples.targets) == pytest.approx(facts["val"]["accuracy"])
    assert calibration.ece(answers, samples.targets) == pytest.approx(facts["val"]["ece"], abs=1e-4)


@pytest.mark.extended
def test_a_chosen_classifier_that_its_network_does_not_bear_out_is_chosen_again_in_float32(digits, tmp_path, imprecise):
    run = tk.finetune(digits, "mini", output=tmp_path / "run", views=1, precision="bfloat16", quiet=True)
    (note,) = [note for note in run.manifest["notes"] if "computed again in float32" in note]
    assert "of probability otherwise than in training" in note
    assert note in run.manifest["warnings"]
    assert run.manifest["precision"]["name"] == "float32"
    assert [phase["name"] for phase in run.manifest["phases"]] == ["mlp", "head"]
    assert run.metrics["test"]["accuracy"] > 0.9  # features of the other kind are noise to what is shipped


def test_a_chosen_classifier_that_is_not_what_is_shipped_is_refused(digits, tmp_path, monkeypatch):
    inner = shipping.body

    def other(projection, fitted, scale=1.0, shift=0.0):
        return inner(projection, fitted, -scale, shift)

    monkeypatch.setattr(shipping, "body", other)
    with pytest.raises(TrainingError, match="--head mlp"):
        tk.finetune(digits, "mini", output=tmp_path / "run", views=1, precision="float32", quiet=True)
