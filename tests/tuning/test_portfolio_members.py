"""`best` with all that is made of networks: mirror images, features side by side, a student."""

import json

import keras
import numpy as np
import pytest

import transferkit as tk
from tests.cli.calls import call
from transferkit.runs import distilling, tail_plan
from transferkit.runs.finetune import Job
from transferkit.runs.layout import Layout
from transferkit.runs.tail_plan import TailPlan
from transferkit.selection.member import Voter
from transferkit.tuning.distillation import Distillation
from transferkit.tuning.portfolio_decision import Decider

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.extended]


def settled(patch, store):
    """What is shipped and whether layers are trained is set here, whatever wins on so few pictures."""

    def members(self):
        pair = next(one.member for one in self.every if len(one.member.networks) > 1)
        return {Voter(("mini",), mirrored=True): 0.25, pair: 0.75}

    taught = distilling.student_settings
    patch.setenv("TRANSFERKIT_CACHE", str(store))
    patch.setattr(Decider, "_members", members)
    patch.setattr(tail_plan, "plan", lambda *_: TailPlan("none", 0.0, "no layers were trained: not here"))
    patch.setattr(
        distilling, "student_settings",
        lambda *given: taught(*given).model_copy(update={"epochs": 3}),
    )  # fmt: skip
    patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)


def asked(digits, tiny, output, **more):
    return tk.best(
        digits, [tiny, "mini"], distill="mini", output=output, augment="none", offline=True, quiet=True, **more
    )  # fmt: skip


def test_of_two_networks_under_one_classifier_no_other_is_said_to_be_chosen(digits, tiny, tmp_path, monkeypatch):
    def members(self):
        return {next(one.member for one in self.every if len(one.member.networks) > 1): 1.0}

    settled(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(Decider, "_members", members)
    run = tk.best(digits, [tiny, "mini"], output=tmp_path / "run", augment="none", offline=True, quiet=True)
    assert not any(row["chosen"] for row in run.metrics["candidates"])
    (phase,) = run.manifest["phases"]
    pair = run.metrics["portfolio"]["refined"][2]
    assert phase["trained"].endswith(f" of {' and '.join(pair['networks'])}")
    assert phase["score"] == pytest.approx(run.metrics["val"]["accuracy"])
    assert run.evaluate()["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"])


@pytest.fixture(scope="module")
def run(digits, tiny, tmp_path_factory):
    """A run of `mini` with mirror images and of the features of both networks; killed as the student begins, and
    resumed. The pictures and answers that the student was taught by are kept in `taught`."""
    folder = tmp_path_factory.mktemp("members")

    def killed(self):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        settled(patch, folder / "cache")
        with patch.context() as first:
            first.setattr(Distillation, "run", killed)
            with pytest.raises(KeyboardInterrupt):
                asked(digits, tiny, folder / "run")
        model = (folder / "run" / "model.keras").read_bytes()
        patch.setattr(Job, "choose", lambda *_: pytest.fail("a network was compared again"))
        found = asked(digits, tiny, folder / "run", resume=True)
        assert (folder / "run" / "model.keras").read_bytes() == model, "the teacher stays as it is"
        return found


def test_one_file_of_keras_own_layers_looks_twice_and_at_two_networks(run):
    model = keras.saving.load_model(run.folder / "model.keras", safe_mode=True)
    layers = {layer.name: layer for layer in model.layers}
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)

    def shares(number, look):
        return np.asarray(keras.ops.softmax(layers[f"network_{number}"](look)), np.float64)

    both = (shares(1, pixels) + shares(1, pixels[:, :, ::-1].copy())) / 2
    heated = (0.25 * both + 0.75 * shares(2, pixels)) ** (1 / run.metrics["temperature"])
    assert np.allclose(model.predict(pixels, verbose=0), heated / heated.sum(1, keepdims=True), atol=1e-4)
    inner = {layer.name for layer in layers["network_2"].layers}
    assert {"features_1", "features_2", "side_by_side"} <= inner


def test_all_that_was_made_is_told_with_its_gain(run, tiny):
    found = run.metrics["portfolio"]
    rows = [(row["kind"], set(row["networks"])) for row in found["refined"]]
    assert rows == [("mirrored", {"mini"}), ("mirrored", {str(tiny)}), ("concatenated", {"mini", str(tiny)})]
    for row in found["refined"]:
        assert row["validated"] == (row["gain"] > row["gain_se"])
        assert row["seconds"] > 0
    assert [row["shipped"] for row in found["refined"]] == [True, False, True]
    assert found["untried"] == []
    text = run.summary()
    assert "mini also on mirror images, " in text
    assert "25 % of the answer" in text
    assert f"features of mini and {tiny} side by side: " in text
    assert f"{tiny} also on mirror images" not in text, "what came to nothing is for who asks for all"
    whole = run.summary(verbose=True)
    assert "no layers were trained: not here" in whole
    assert f"{tiny} also on mirror images" in whole
    members = run.metrics["ensemble"]["members"]
    assert [(row["mirrored"], row["weight"], len(row["hashes"])) for row in members] == [
        (True, 0.25, 1),
        (False, 0.75, 2),
    ]


def test_the_run_is_like_any_other(run, digits):
    picture = next((digits / "3").iterdir())
    assert run.metrics["test"]["accuracy"] > 0.7
    assert run.evaluate()["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"])
    assert run.predict(picture)[0].label in run.metrics["classes"]
    assert "use --method occlusion" in call("explain", run.folder, picture).err
    for kind in ("saved_model", "litert", "onnx"):
        assert call("export", run.folder, "--format", kind, "--quiet").code == 0, kind
    assert not (run.folder / "networks").exists()


def test_the_student_is_a_run_of_its_own_judged_beside_its_teacher(run):
    found, student = run.metrics["portfolio"]["distilled"], tk.load_run(run.folder / "student")
    assert found["test"] == student.metrics["test"]["accuracy"] > 0.7, "it has learnt what it was taught"
    assert found["teacher"] == run.metrics["test"]["accuracy"]
    assert found["gain"] == pytest.approx(found["test"] - found["teacher"])
    assert found["gain_ci95"][0] <= found["gain"] <= found["gain_ci95"][1]
    assert found["words"] in run.summary()
    assert "student mini (" in found["words"]
    assert distilling.FLATTERED in student.manifest["notes"]
    assert student.metrics["unfrozen"]["policy"] == "from:block4"
    assert student.manifest["kind"] == "distilled"
    assert "--distill mini" in student.manifest["command"]
    assert student.metrics["test_uses"]["run"] > run.metrics["test_uses"]["run"], "it looked at the test pictures too"
    rows = [[(row.path, row.split) for row in Layout(one.folder).read_splits()] for one in (run, student)]
    assert rows[0] == rows[1]


def test_another_student_is_another_comparison(run, digits, tiny):
    with pytest.raises(tk.errors.ConfigError, match="distill"):
        tk.best(digits, [tiny, "mini"], output=run.folder, augment="none", offline=True, quiet=True, resume=True)


def test_a_tail_competes_with_all_members_together(digits, tiny, tmp_path, monkeypatch):
    settled(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(tail_plan, "plan", lambda *_: TailPlan("from:block4", 60.0, "layers were trained too"))
    result = call(
        "best", digits, "--backbone", tiny, "--backbone", "mini", "--augment", "none", "--offline", "--json",
        "--output", tmp_path / "run",
    )  # fmt: skip
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["unfrozen"]["policy"] == "from:block4"
    assert ("ensemble" in found) == (not found["unfrozen"]["shipped"])
    assert found["unfrozen"]["shipped"] == (found["unfrozen"]["gain"] > found["unfrozen"]["gain_se"])
    assert found["portfolio"]["tail"] == "layers were trained too"
