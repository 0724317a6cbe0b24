"""Whole searches, by real processes, cut off by real signals.

That each algorithm goes on from any point with any number of workers is held by `oracles/test_oracle.py`, and of the
journal by `test_search.py`.
"""

import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.marks import extended
from transferkit.api import Run
from transferkit.csv_files import read_csv
from transferkit.errors import ConfigError
from transferkit.features.extraction_engines import Here
from transferkit.tuning import tune
from transferkit.tuning.executors.local import InProcess

from .job import QUICK, SPACES, pictures, search

pytestmark = pytest.mark.usefixtures("unpublished", "one_cache")


def trials(folder):
    """trials.csv without times."""
    rows = read_csv(folder / "trials.csv")
    return [{k: v for k, v in row.items() if k not in ("seconds", "features_seconds")} for row in rows]


def ended(fresh, digits, output, algorithm, workers, *lines):
    """The exit code of a search in a process of its own."""
    program = "import runpy; runpy.run_module('tests.tuning.job', run_name='__main__')"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return fresh(program, digits, output, algorithm, workers, *lines, cwd=root, env=environment).returncode


def spawn(digits, output, algorithm, workers):
    command = [sys.executable, "-m", "tests.tuning.job", digits, output, algorithm, workers]
    with open(f"{output}.err", "wb") as errors:
        return subprocess.Popen([str(word) for word in command], cwd=Path(__file__).parents[2], stderr=errors)


@pytest.fixture(scope="module")
def done(digits, tmp_path_factory):
    """Searches that nothing disturbed, by algorithm; made when first asked for."""
    made = {}

    def get(algorithm):
        if algorithm not in made:
            output = tmp_path_factory.mktemp("tuned") / algorithm
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("transferkit.delivery.report.publish.publish", lambda *_: None)
                keep_copies(patch, output)
                made[algorithm] = search(digits, output, algorithm)
        return made[algorithm]

    return get


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.parametrize(("algorithm", "lines"), [("random", 9), ("hyperband", 8), ("random", 14)])
def test_a_killed_search_resumes_to_the_same_trials(digits, tmp_path, done, fresh, algorithm, lines):
    output = tmp_path / "run"
    assert ended(fresh, digits, output, algorithm, 1, lines) == -signal.SIGKILL
    before = read_journal(output)
    found = search(digits, output, algorithm, resume=True)
    whole = done(algorithm)
    assert trials(output) == trials(whole.folder)
    assert found.metrics["search"]["finals"] == whole.metrics["search"]["finals"]
    assert found.metrics["val"] == whole.metrics["val"]
    told = [e["trial"] for e in read_journal(output) if e["event"] == "tell"]
    assert len(told) == len(set(told)), "a finished trial was repeated"
    assert {e["trial"] for e in before if e["event"] == "tell"} <= set(told), "a finished trial was lost"


PLACES = {
    "before the journal": "transferkit.tuning.journal.Journal.open",
    "before the first line": "transferkit.tuning.journal.Journal.append",
    "before the winner is trained": "transferkit.runs.finetune.Job.run",
    "before run.json": "transferkit.runs.manifest.Manifest.start",
    "before the account": "transferkit.tuning.tune.SearchJob._account",
    "within the account": "transferkit.runs.layout.Layout.read_metrics",
    "before the report": "transferkit.delivery.report.publish.publish",
}


def keep_copies(patch, output):
    """Copy `output` beside itself as it is when a search first comes to each place: what kill -9 leaves of it there."""

    def kept(call, copy):
        def copied(*given, **more):
            if not copy.exists():
                shutil.copytree(output, copy)
            return call(*given, **more)

        return copied

    for place, name in PLACES.items():
        patch.setattr(name, kept(pkgutil.resolve_name(name), output.parent / place))


@pytest.mark.extended
@pytest.mark.parametrize("place", extended(PLACES, set(PLACES) - {"before the journal"}))
def test_a_search_killed_between_two_files_is_resumed(digits, tmp_path, done, place):
    output, whole = tmp_path / "run", done("grid")
    shutil.copytree(whole.folder.parent / place, output)
    if place == "before the journal":
        assert [e.name for e in output.iterdir() if not e.name.startswith(".")] == ["splits.csv"]
        with pytest.raises(ConfigError, match="the beginning of a search; add --resume"):
            search(digits, output, "grid")
        with pytest.raises(ConfigError, match=r"splits.csv is of another search"):
            search(digits, output, "grid", resume=True, seed=1)
    found = search(digits, output, "grid", resume=True)
    assert trials(output) == trials(whole.folder)
    assert found.metrics["search"]["finals"] == whole.metrics["search"]["finals"]
    assert found.metrics["test"] == whole.metrics["test"]
    assert found.manifest["kind"] == "tune"
    assert found.manifest["status"] == "complete"


@pytest.mark.extended
def test_a_folder_that_is_removed_during_the_search_is_an_error(digits, tmp_path, monkeypatch):
    from transferkit.errors import RunError
    from transferkit.tuning.search import Search

    output, finals = tmp_path / "run", Search.finals

    def removed(self, *given):
        shutil.rmtree(output)
        return finals(self, *given)

    monkeypatch.setattr(Search, "finals", removed)
    with pytest.raises(RunError, match=r"was removed or changed while.*trials.jsonl of it are gone"):
        search(digits, output, "grid", search=["learning_rate=0.001,0.01"])


def read_journal(folder):
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()[1:]]


@pytest.mark.extended
def test_hyperband_goes_on_with_what_it_promotes(done):
    rows = trials(done("hyperband").folder)
    by_name = {row["trial"]: row for row in rows}
    promoted = [row for row in rows if row["continues"]]
    assert promoted
    for row in promoted:
        lower = by_name[row["continues"]]
        assert int(row["epochs"]) > int(lower["epochs"])
        assert all(row[name] == lower[name] for name in ("learning_rate", "dropout"))


def test_the_account_of_a_search(done):
    run = done("random")
    found = run.metrics["search"]
    rows = trials(run.folder)
    assert found["trials"] == len(rows) == 5
    best = max(float(row["score"]) for row in rows)
    finals = {one["trial"]: one for one in found["finals"]}
    assert "default" in finals
    assert all(len(one["scores"]) == 1 and one["fresh"] for one in finals.values())
    assert finals[found["winner"]]["mean"] == max(one["mean"] for one in finals.values())
    assert any(best == one["own"] for one in finals.values()), "the best trial is among the finalists"
    assert {(c["part"]) for c in found["comparisons"]} == {"val", "test"}
    for comparison in found["comparisons"]:
        assert comparison["low"] <= comparison["gain"] <= comparison["high"]
        assert comparison["gain"] == pytest.approx(comparison["winner"] - comparison["score"])
    on_test = [c["winner"] for c in found["comparisons"] if c["part"] == "test"]
    assert on_test == pytest.approx([run.metrics["test"]["accuracy"]] * len(on_test)), "what is compared is shipped"
    winner = finals[found["winner"]]["own"]
    assert run.metrics["val"]["accuracy"] == pytest.approx(winner), "what is shipped is what won, to the last picture"
    assert run.manifest["kind"] == "tune"
    assert not (run.folder / "trials").exists()
    assert run.predict(pictures_of(run))[0].label in run.metrics["classes"]


def pictures_of(run):
    root = Path(run.manifest["data"]["path"])
    return [root / row["path"] for row in read_csv(run.folder / "predictions.csv")[:2]]


def test_trials_never_see_a_test_picture(digits, tmp_path, monkeypatch):
    """Every picture that is opened before the winner is trained belongs to training or validation."""
    from transferkit.tuning import tune

    class Planned(BaseException):
        """Nothing is trained here."""

    seen = []
    plan = tune.SearchJob._plan

    def spied(self, splits):
        made = plan(self, splits)
        names = [self.samples.paths[i] for i, part in enumerate(splits.assignment) if part == "test"]
        seen.append((set(names), set(made.samples.paths)))
        raise Planned

    monkeypatch.setattr(tune.SearchJob, "_plan", spied)
    with pytest.raises(Planned):
        search(digits, tmp_path / "run", "random", trials=1, seeds=1, finalists=1)
    (test, planned), = seen  # fmt: skip
    assert test
    assert not test & planned


@pytest.mark.slow
@pytest.mark.extended
def test_two_workers_find_the_same_trials_killed_or_not(digits, tmp_path, fresh):
    algorithm, lines = "hyperband", 9
    whole, output = tmp_path / "whole", tmp_path / "run"
    assert ended(fresh, digits, whole, algorithm, 2) == 0
    assert ended(fresh, digits, output, algorithm, 2, lines) == -signal.SIGKILL
    assert ended(fresh, digits, output, algorithm, 2) == 0
    assert trials(output) == trials(whole)
    assert Run(output).metrics["search"]["finals"] == Run(whole).metrics["search"]["finals"]
    assert Run(output).metrics["test"] == Run(whole).metrics["test"]


@pytest.mark.slow
@pytest.mark.extended
def test_workers_find_what_one_process_finds_and_a_killed_ones_trial_is_run_again(digits, tmp_path, done):
    output = tmp_path / "run"
    process = spawn(digits, output, "random", 2)
    killed = None
    while process.poll() is None:
        if killed is None and (worker := busy_worker(process.pid)) and (output / "trials.jsonl").exists():
            os.kill(worker, signal.SIGKILL)
            killed = worker
        time.sleep(0.05)
    assert process.returncode == 0, Path(f"{output}.err").read_text()
    assert killed
    key = lambda row: row["trial"]  # noqa: E731
    assert sorted(trials(output), key=key) == sorted(trials(done("random").folder), key=key)
    assert Run(output).metrics["val"] == done("random").metrics["val"]


def busy_worker(parent):
    """A worker process of `parent` that has been computing for a while."""
    import psutil

    try:
        children = psutil.Process(parent).children()
        return next((c.pid for c in children if "worker" in " ".join(c.cmdline()) and c.cpu_times().user > 2), None)
    except psutil.Error:
        return None


@pytest.mark.slow
@pytest.mark.extended
def test_an_interrupt_ends_with_130_and_leaves_the_best_so_far(digits, tmp_path):
    output = tmp_path / "run"
    arguments = ["tune", digits, "--backbone", "mini", "--trials", "500", "--algorithm", "random", "--offline"]
    arguments += ["--augment", "none", "--epochs", "3", "--patience", "2", "--output", output, "--exclude", "[3-9]*"]
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv[0] = 'transferkit'; "
    code += "from transferkit.cli import main; main()"
    with open(tmp_path / "err", "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)], stderr=errors, cwd=Path(__file__).parents[2]
        )
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if (output / "trials.jsonl").exists() and (output / "trials.jsonl").read_text().count('"tell"') >= 3:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.1)
    try:
        assert process.wait(240) == 130, (tmp_path / "err").read_text()
    finally:
        process.kill()
    assert len(trials(output)) >= 3
    best = max(float(row["score"]) for row in trials(output))
    assert f"{best:.4f}" in (output / "best.toml").read_text()


@pytest.mark.parametrize("ours", [False, True])
def test_a_search_that_is_cut_off_lets_go_of_its_networks_in_a_program_of_the_users(monkeypatch, ours):
    def cut_off(job):
        job._built.networks["some"] = object()
        raise KeyboardInterrupt

    monkeypatch.setattr(tune.SearchJob, "_search_and_train", cut_off)
    monkeypatch.setattr(tune.importing, "is_ours", lambda: ours)
    job = object.__new__(tune.SearchJob)
    with pytest.raises(KeyboardInterrupt):
        job.run()
    assert bool(job._built.networks) is ours


def test_another_space_is_refused_on_resume(digits, done):
    run = done("random")
    with pytest.raises(ConfigError, match="dropout") as caught:
        search(digits, run.folder, "random", resume=True, search=["learning_rate=1e-3:1e-1:log"])
    assert "no longer searched" in str(caught.value)


def test_a_finished_search_has_nothing_to_resume(digits, done):
    run = done("random")
    before = (run.folder / "run.json").read_bytes()
    again = search(digits, run.folder, "random", resume=True)
    assert again.metrics == run.metrics
    assert (run.folder / "run.json").read_bytes() == before


@pytest.mark.extended
def test_folds_judge_every_trial_by_their_mean(digits, tmp_path):
    run = search(digits, tmp_path / "run", "random", trials=2, folds=3, seeds=1, finalists=1)
    events = [e for e in read_journal(run.folder) if e["event"] == "tell"]
    assert all(len(e["scores"]) == 3 for e in events)
    assert all(e["score"] == pytest.approx(sum(e["scores"]) / 3) for e in events)
    assert all(row["spread"] for row in trials(run.folder))


@pytest.mark.extended
def test_trials_that_fail_are_recorded_and_five_in_a_row_end_the_search(digits, tmp_path, monkeypatch):
    from transferkit.errors import TrainingError
    from transferkit.tuning.trial_runner import TrialRunner

    pair = TrialRunner._pair

    def unlucky(self, task, *rest):
        if task.id in ("0001", "0002"):
            raise RuntimeError(f"no luck with {task.id}")
        return pair(self, task, *rest)

    monkeypatch.setattr(TrialRunner, "_pair", unlucky)
    run = search(digits, tmp_path / "some", "random", seeds=1, finalists=1)
    rows = {row["trial"]: row for row in trials(run.folder)}
    assert rows["0001"]["status"] == "failed"
    assert "no luck with 0001" in rows["0001"]["error"]
    assert run.metrics["search"]["failed"] == 2

    def hopeless(self, task, *rest):
        raise RuntimeError(f"broken {task.id}")

    monkeypatch.setattr(TrialRunner, "_pair", hopeless)
    with pytest.raises(TrainingError, match="5 trials in a row failed") as caught:
        search(digits, tmp_path / "all", "random", trials=9)
    assert all(f"broken {n:04}" in str(caught.value) for n in range(5))


@pytest.mark.extended
def test_a_search_over_what_needs_new_features(digits, tmp_path):
    space = ["pooling=avg,max", "head_width=8,16"]
    run = search(digits, tmp_path / "run", "grid", search=space, seeds=1, finalists=1)
    rows = trials(run.folder)
    assert [row["pooling"] for row in rows] == ["avg", "avg", "max", "max"], "features are computed once each"
    assert {(row["pooling"], row["head_width"]) for row in rows} == {
        (p, w) for p in ("avg", "max") for w in ("8", "16")
    }


@pytest.mark.extended
def test_a_tail_is_searched_and_the_winner_is_the_trial(digits, tmp_path):
    run = search(
        digits, tmp_path / "run", "grid", search=["learning_rate=0.003,0.01"], unfreeze="from:block4", seeds=1,
        finalists=1, epochs=2, patience=1,
    )  # fmt: skip
    found = run.metrics["search"]
    winner = next(one for one in found["finals"] if one["trial"] == found["winner"])
    assert max(p["score"] for p in run.manifest["phases"]) == pytest.approx(winner["scores"][0])


@pytest.mark.extended
def test_memory_and_time_of_a_trial_are_bounded(digits, tmp_path):
    from transferkit.errors import TrainingError

    with pytest.raises(TrainingError, match="5 trials in a row failed") as caught:
        search(digits, tmp_path / "memory", "random", trials=5, trial_memory="100MB")
    assert "memory" in str(caught.value)
    run = search(digits, tmp_path / "time", "random", trials=1, epochs=300, patience=299, trial_budget=0.2,
                 seeds=1, finalists=1)  # fmt: skip
    row = trials(run.folder)[0]
    assert row["error"] == "ended by its time limit of 0.2 s"
    assert 1 <= int(row["epochs"]) < 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search": ["lerning_rate=1e-3:1e-2"]}, "learning_rate"),
        ({"search": ["head_width=8,16"], "head": "linear"}, "linear"),
        ({"algorithm": "grid", "search": SPACES["grid"], "trials": 3}, "all 4 combinations"),
        ({"address": "auto"}, "--engine ray"),
        ({"workers": 0}, "--workers"),
        ({"trial_memory": "lots"}, "4GB"),
        ({"dropout": 0.2}, "both searched and fixed"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(digits, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        search(digits, tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_resume_does_not_write_into_a_folder_of_other_things(digits, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no search that could be resumed"):
        search(digits, tmp_path, resume=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.extended  # what such a space means: tests/tuning/search_space/test_tracing.py
def test_python_spaces(digits, tmp_path):
    def build(hp):
        hp.Float("learning_rate", 1e-3, 1e-2, sampling="log")
        hp.Choice("optimizer", ["adam", "sgd"])

    data = pictures(digits)
    from transferkit import api

    quick = {**QUICK, "trials": 2, "seeds": 1, "finalists": 1}
    # As with finetune, `resume` begins a search where there is none.
    run = api.tune(data, "mini", space=build, output=tmp_path / "run", algorithm="random", resume=True, **quick)
    assert set(trials(run.folder)[0]) >= {"learning_rate", "optimizer"}


@pytest.mark.extended
def test_a_time_budget_ends_the_asking_and_the_winner_is_still_shipped(digits, tmp_path):
    run = search(digits, tmp_path / "run", "random", trials=5000, budget="3s", seeds=1, finalists=1)
    found = run.metrics["search"]
    assert found["budget_spent"]
    assert 1 <= found["trials"] < 5000
    assert run.metrics["test"]["n"]
    assert "ended by its time budget" in run.summary()


def test_other_data_is_refused_on_resume(digits, tmp_path, done):
    from dataclasses import replace

    from transferkit import api
    from transferkit.errors import DataError

    data = pictures(digits)
    other = replace(data, samples=data.samples.select(range(len(data.samples) - 1)))
    with pytest.raises(DataError, match="not in the data"):
        api.tune(
            other, "mini", output=done("random").folder, resume=True, algorithm="random", trials=5,
            search=SPACES["random"], **QUICK,
        )  # fmt: skip


@pytest.mark.extended
def test_on_a_cluster_all_of_it_extracts_the_features_before_the_first_trial(digits, tmp_path, monkeypatch):
    told = []
    monkeypatch.setenv("TRANSFERKIT_CACHE", str(tmp_path / "cache"))

    class Everywhere(Here):
        def __init__(self, *options):
            told.append(options)

        def run(self, work, pictures, reporter):
            told.append(len(pictures))
            return super().run(work, pictures, reporter)

    def begin(name, plan, slots, reporter, **options):
        told.append(name)
        return InProcess(plan, reporter)

    monkeypatch.setattr(tune, "RayActors", Everywhere)
    monkeypatch.setattr(tune, "engine", begin)
    search(digits, tmp_path / "run", "random", engine="ray", address="auto", trial_cpus=2.0, trials=2)
    assert told == [("auto", None, 2.0, None), 119, "ray"]
