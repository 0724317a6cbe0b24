"""`best`: networks compared on digits within a budget, interrupted and resumed, and what is left of it."""

import itertools
import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from tests.cli.calls import call
from tests.data.pictures import folder_of_classes
from transferkit.errors import ConfigError, DataError
from transferkit.runs import tail_plan
from transferkit.runs.finetune import Job
from transferkit.runs.layout import Layout
from transferkit.runs.tail_plan import TailPlan
from transferkit.selection import ensemble
from transferkit.tuning import network_runner, portfolio
from transferkit.tuning.portfolio_entry import request
from transferkit.tuning.refinement import Refinement

from .job import pictures

pytestmark = pytest.mark.usefixtures("unpublished", "one_cache")


def networks_alone(patch):
    """Nothing is made of the networks, and no layer is trained: `test_portfolio_members` has these."""
    patch.setattr(Refinement, "run", lambda self: None)
    patch.setattr(tail_plan, "plan", lambda *_: TailPlan("none", 0.0, "no layers were trained: not here"))


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    networks_alone(monkeypatch)


def compared(digits, tiny, output, **more):
    given = {"augment": "none", "offline": True, "quiet": True, "budget": "10m", **more}
    return tk.best(digits, [tiny, "mini"], output=output, **given)


@pytest.fixture(scope="module")
def done(digits, tiny, tmp_path_factory, store):
    folder = tmp_path_factory.mktemp("best")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(store))
        patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
        networks_alone(patch)
        return compared(digits, tiny, folder / "run")


def test_the_better_network_is_trained_and_all_that_was_compared_is_told(done, tiny):
    found = done.metrics["portfolio"]
    rows = {row["network"]: row for row in found["networks"]}
    assert set(rows) == {str(tiny), "mini"}
    assert rows["mini"]["chosen"]
    assert not rows[str(tiny)]["chosen"]
    assert rows["mini"]["gain"] > rows["mini"]["gain_se"] > 0
    assert rows[str(tiny)]["gain"] is None, "the first is what others are compared with"
    assert all(row["ci95"][0] < row["score"] < row["ci95"][1] and row["seconds"] > 0 for row in rows.values())
    assert found["left_out"] == []
    assert done.manifest["config"]["backbone"] == "mini"
    assert done.manifest["kind"] == "best"
    text = done.summary()
    assert "Networks   mini: " in text
    assert f"against {tiny}" in text


def test_what_is_expected_is_of_the_whole_choice(done):
    judged, found = done.metrics["cross_validation"], done.metrics["portfolio"]
    assert (judged["score"], judged["ci95"], judged["networks"]) == (found["score"], found["ci95"], 2)
    assert judged["winner_alone"] == found["winner_alone"]


def test_the_run_is_like_any_other(done, digits):
    picture = next((digits / "3").iterdir())
    assert done.predict(picture)[0].label in done.metrics["classes"]
    assert done.evaluate()["accuracy"] == pytest.approx(done.metrics["test"]["accuracy"])
    assert not (done.folder / "networks").exists()


def test_a_finished_comparison_has_nothing_to_resume(done, digits, tiny):
    before = (done.folder / "run.json").read_bytes()
    assert compared(digits, tiny, done.folder, resume=True).metrics == done.metrics
    assert (done.folder / "run.json").read_bytes() == before
    with pytest.raises(ConfigError, match="holds a comparison of networks"):
        compared(digits, tiny, done.folder)
    with pytest.raises(ConfigError, match="seed"):
        compared(digits, tiny, done.folder, resume=True, seed=1)


@pytest.mark.extended
def test_after_an_interrupt_no_network_is_compared_again_and_the_result_is_the_same(
    done, digits, tiny, tmp_path, monkeypatch
):
    output, asked, choose = tmp_path / "run", [], Job.choose

    def interrupted(self, splits):
        asked.append(self.settings.backbone)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return choose(self, splits)

    monkeypatch.setattr(Job, "choose", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        compared(digits, tiny, output)
    assert f"transferkit resume {output}" in "".join(caught.value.__notes__)
    again = call("resume", output, "--quiet")
    assert again.code == 0, again.err
    assert asked == [str(tiny), "mini", "mini"]
    found, whole = tk.load_run(output).metrics, done.metrics
    plain = lambda m: [{k: v for k, v in row.items() if k != "seconds"} for row in m["portfolio"]["networks"]]  # noqa: E731
    assert plain(found) == plain(whole)
    assert found["test"] == whole["test"]
    assert found["cross_validation"] == whole["cross_validation"]


@pytest.mark.extended
def test_what_was_decided_stays_though_more_time_is_given(digits, tiny, tmp_path, monkeypatch):
    """Left out for lack of time, then interrupted while the winner is trained: nobody else has a say any more."""
    output = tmp_path / "run"

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Job, "_trained", stopped)
        with pytest.raises(KeyboardInterrupt):
            compared(digits, tiny, output, budget=0.5)
    run = compared(digits, tiny, output, budget="10m", resume=True)
    found = run.metrics["portfolio"]
    assert [row["network"] for row in found["networks"]] == [str(tiny)]
    assert [row["network"] for row in found["left_out"]] == ["mini"]
    assert run.manifest["config"]["backbone"] == str(tiny)


@pytest.mark.extended
def test_answers_that_were_damaged_are_made_again(digits, tiny, tmp_path, monkeypatch):
    output, asked, choose = tmp_path / "run", [], Job.choose

    def stopped(*_):
        raise KeyboardInterrupt

    def counted(self, splits):
        asked.append(self.settings.backbone)
        return choose(self, splits)

    monkeypatch.setattr(Job, "choose", counted)
    with monkeypatch.context() as patch:
        patch.setattr(portfolio.network_choice, "choose", stopped)
        with pytest.raises(KeyboardInterrupt):
            compared(digits, tiny, output)
        (output / "networks" / "0.npz").write_bytes(b"PK")
        with pytest.raises(KeyboardInterrupt):
            compared(digits, tiny, output, resume=True)
    assert asked == [str(tiny), "mini", str(tiny)]


def test_networks_are_looked_at_with_the_pictures_as_they_will_be_read(tmp_path, tiny, monkeypatch):
    for number in range(40):
        grey = np.random.default_rng(number).integers(0, 4000, (32, 32)).astype(np.uint16)
        (tmp_path / "deep" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(tmp_path / "deep" / "ab"[number % 2] / f"{number}.png")
    asked = []

    def probed(*arguments):
        asked.append(arguments[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(network_runner, "probe", probed)
    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path / "deep", tiny, tmp_path / "run", intensity="percentile")
    assert asked == ["percentile"]


@pytest.mark.extended
def test_without_time_the_first_network_is_finished_all_the_same(digits, tiny, tmp_path):
    result = call(
        "best", digits, "--backbone", "mini", "--backbone", tiny, "--budget", "0.5s", "--augment", "none", "--offline",
        "--output", tmp_path / "run", "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    found = json.loads(result.out)["portfolio"]
    assert [row["network"] for row in found["networks"]] == ["mini"]
    assert [row["network"] for row in found["left_out"]] == [str(tiny)]
    assert "no time" in found["left_out"][0]["why"]
    assert any("left out" in line for line in found["words"])


@pytest.mark.extended
def test_the_test_pictures_have_no_part_in_it(done, digits, tiny, tmp_path, monkeypatch):
    test = {row.path for row in Layout(done.folder).read_splits() if row.split == "test"}
    seen = []
    probe, choose = network_runner.probe, Job.choose

    def probed(name, samples, *rest):
        seen.extend(samples.paths)
        return probe(name, samples, *rest)

    def chosen(self, splits):
        found = choose(self, splits)
        assert len(found.found.logits) == sum(part != "test" for part in splits.assignment)
        return found

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(network_runner, "probe", probed)
    monkeypatch.setattr(Job, "choose", chosen)
    monkeypatch.setattr(portfolio.network_choice, "choose", stopped)
    with pytest.raises(KeyboardInterrupt):
        compared(digits, tiny, tmp_path / "run")
    assert test
    assert seen
    assert not test & set(seen)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "soon"], "--budget soon is not a duration"),
        (["--budget", "0"], "--budget 0 leaves no time"),
        (["--backbone", "vgg61"], "unknown backbone 'vgg61'"),
        (["--views", "3", "--augment", "none"], "--views 3"),
        (["--resume"], "--resume needs --output"),
        (["--distill", "minni"], "unknown backbone 'minni'"),
        (["--metric", "acuracy"], "--metric acuracy"),
        (["--address", "auto"], "--address has no effect with --engine local; add --engine ray"),
        (["--workers", "2"], "--workers 2 has no effect with --engine local"),
        (["--engine", "rai"], "--engine rai"),
        (
            ["--engine", "ray", "--trial-cpus", "1.5", "--trial-gpus", "2.5"],
            "--trial-cpus 1.5: above 1, Ray takes whole numbers only; use 1\n  - --trial-gpus 2.5: above 1, Ray takes",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(digits, tmp_path, words, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = [] if "--backbone" in words else ["--backbone", "mini"]
    result = call("best", digits, *more, *words)
    assert result.code == 2
    assert said in result.err
    assert not list(tmp_path.iterdir())


def test_the_command_says_where_networks_are_compared(tmp_path):
    given = {"engine": "ray", "workers": 2, "trial_cpus": 2.0}
    found = request(["mini"], True, "10m", given, str(tmp_path / "data"), tmp_path / "run", False, True)
    assert "--backbone mini --workers 2 --engine ray --trial-cpus 2 --budget 600" in found.command


def test_too_few_pictures_for_folds_are_told(tmp_path):
    parts = (("train", {"a": 8, "b": 8, "c": 1}), ("val", {"a": 3, "b": 3}), ("test", {"a": 3, "b": 3}))
    for number, (part, counts) in enumerate(parts):
        folder_of_classes(tmp_path / "d" / part, counts, start=100 * number)
    with pytest.raises(DataError, match=r"compared by cross-validation.*transferkit finetune"):
        tk.best(tmp_path / "d", "mini", output=tmp_path / "run", offline=True, quiet=True)
    assert not (tmp_path / "run" / "networks.jsonl").exists()


@pytest.fixture(scope="module")
def both(digits, tiny, tmp_path_factory, store):
    """A run of two networks together, whatever that brings."""
    folder = tmp_path_factory.mktemp("both")
    find = ensemble.find

    def even(*given):
        return replace(find(*given), weights={0: 0.25, 1: 0.75}, gain=1.0, error=0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_CACHE", str(store))
        patch.setattr(ensemble, "find", even)
        networks_alone(patch)
        return compared(digits, tiny, folder / "run")


@pytest.mark.extended
def test_two_networks_are_shipped_as_one_file_of_keras_own_layers(both, digits, tiny):
    model = keras.saving.load_model(both.folder / "model.keras", safe_mode=True)
    names = {layer.name: layer for layer in model.layers}
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    apart = [np.asarray(keras.ops.softmax(names[f"network_{i}"](pixels))) for i in (1, 2)]
    mean = 0.25 * apart[0] + 0.75 * apart[1]
    heated = mean ** (1 / both.metrics["temperature"])
    assert np.allclose(model.predict(pixels, verbose=0), heated / heated.sum(1, keepdims=True), atol=1e-4)
    members = both.metrics["ensemble"]["members"]
    assert [(row["network"], row["weight"]) for row in members] == [(str(tiny), 0.25), ("mini", 0.75)]
    assert members[0]["weights_sha256"] != members[1]["weights_sha256"]


@pytest.mark.extended
def test_a_run_of_two_networks_is_like_any_other(both, digits, tiny):
    picture = next((digits / "3").iterdir())
    assert both.metrics["test"]["accuracy"] > 0.8
    assert both.predict(picture)[0].label in both.metrics["classes"]
    assert both.evaluate()["accuracy"] == pytest.approx(both.metrics["test"]["accuracy"])
    found = both.metrics["portfolio"]
    assert found["together"]["shipped"]
    assert all(row["chosen"] for row in found["networks"])
    text = both.summary(verbose=True)
    assert "so they are shipped together, in one file" in text
    assert f"{tiny} + mini" in text
    assert "75 % of the answer" in text
    assert call("explain", both.folder, picture, "--method", "occlusion", "--output", both.folder / "x").code == 0
    assert "use --method occlusion" in call("explain", both.folder, picture).err


@pytest.mark.extended
def test_two_networks_have_a_report_and_a_card(both, tiny, monkeypatch):
    monkeypatch.undo()
    assert call("report", both.folder, "--quiet").code == 0
    page = (both.folder / "report.html").read_text()
    assert "Networks" in page
    assert f"{tiny.name} + mini" in (both.folder / "CARD.md").read_text()  # exports: test_portfolio_members


@pytest.mark.extended
def test_limits_are_for_one_network(digits, tiny, tmp_path, monkeypatch):
    find = ensemble.find
    monkeypatch.setattr(ensemble, "find", lambda *given: replace(find(*given), gain=1.0, error=0.0))
    monkeypatch.setattr(ensemble.Ensemble, "taken", property(lambda self: True))
    run = compared(digits, tiny, tmp_path / "run", max_size=50)
    assert "ensemble" not in run.metrics
    assert "--max-latency and --max-size bound one network" in run.summary()


def test_what_more_time_would_bring_is_said(done):
    found = done.metrics["portfolio"]
    assert found["forecast"]["words"] == (
        "ten minutes more would bring nothing: there is nothing left to try with these networks"
    )
    assert "gain" not in found["forecast"]
    assert found["forecast"]["words"] in done.summary()
    steps = found["steps"]
    assert [step["what"] for step in steps][:2] == [row["network"] for row in found["networks"]]
    assert all(a["best"] <= b["best"] for a, b in itertools.pairwise(steps))


def test_a_file_of_settings_and_a_run_of_best_are_taken(done, digits, tiny, tmp_path, monkeypatch):
    asked = {}

    def stop(data, backbone=None, **given):
        asked.update(given, backbone=backbone)
        raise KeyboardInterrupt

    monkeypatch.setattr("transferkit.api.best", stop)
    file = tmp_path / "best.toml"
    file.write_text('backbone = ["mini"]\nbudget = "2m"\nviews = 3\ndistill = "mini"\noutput = "x"\n')
    assert call("best", digits, "--config", file, "--views", "1").code == 130
    assert (asked["backbone"], asked["budget"], asked["distill"], asked["views"]) == (["mini"], "2m", "mini", "1")
    asked.clear()
    assert call("best", digits, "--config", done.folder).code == 130
    assert asked["backbone"] is None, "networks are compared again, not only the one that won"
    assert asked["augment"] == "none"
    assert "budget" not in asked
    refused = tmp_path / "epochs.toml"
    refused.write_text("epochs = 3\n")
    monkeypatch.undo()
    result = call("best", digits, "--backbone", "mini", "--config", refused, "--output", tmp_path / "run")
    assert result.code == 2
    assert "'epochs' is no setting of best" in result.err


@pytest.mark.extended
def test_without_names_the_default_is_first_and_all_that_are_here_follow(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    run = tk.best(pictures(digits, 8), output=tmp_path / "run", augment="none", offline=True, quiet=True)
    found = run.metrics["portfolio"]
    assert found["networks"][0]["network"] == "mini"
    assert {row["network"] for row in (*found["networks"], *found["left_out"])} == {"mini", "efficientnet_lite0"}
