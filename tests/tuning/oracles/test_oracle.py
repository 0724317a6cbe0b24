"""Ask and tell: repeatable, resumable from any point, complete, without duplicates; Hyperband continues trials."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transferkit.errors import ConfigError, RunError
from transferkit.tuning.oracles.brackets import cost, plan
from transferkit.tuning.oracles.oracle import Oracle
from transferkit.tuning.search_space.space import parse_search

SPACE = parse_search(
    [
        "learning_rate=1e-4:1e-2:log",
        "batch_size=16,32,64",
        "head_width=64,128,256x128",
        "augment=none,light",
        "mixup=0.1:0.4 if augment=light",
    ]
)
FINITE = parse_search(["batch_size=16,32,64", "pooling=avg,max", "dropout=0:0.4:0.1 if pooling=avg"])  # 18
SEARCHES = {
    "grid": (FINITE, None, 4),
    "random": (SPACE, 12, 4),
    "bayesian": (SPACE, 10, 4),
    "hyperband": (SPACE, 6, 9),
}


def score(values, epochs=1):
    rate = math.log10(values.get("learning_rate", 1e-3)) + 2.6
    return epochs * (1 - rate**2 - values.get("mixup", 0) + values.get("batch_size", 32) / 100)


def oracle(algorithm, seed=0, maximise=True, search=None):
    space, trials, epochs = search or SEARCHES[algorithm]
    return Oracle(space, algorithm, trials, maximise, seed, epochs)


def run(search, log=(), stop=None, fails=()):
    """The events of a sequential search that goes on from `log`, through JSON as the journal would keep it."""
    log = json.loads(json.dumps(list(log)))
    waiting = search.replay(log)
    while (waiting or not search.finished) and (stop is None or len(log) < stop):
        if not waiting:
            waiting = search.ask()
            if not waiting:
                break
            log.append({"event": "ask", "trial": waiting[0].id, "values": waiting[0].values})
            continue
        proposal = waiting.pop(0)
        value = None if proposal.id in fails else score(proposal.values, proposal.epochs)
        status = "failed" if value is None else "ok"
        log.append({"event": "tell", "trial": proposal.id, "score": value, "status": status})
        search.tell(proposal.id, value, status)
    return json.loads(json.dumps(log))


@pytest.mark.parametrize("algorithm", SEARCHES)
def test_a_search_resumed_from_any_point_goes_on_as_if_never_interrupted(algorithm):
    fails = ("0002", "0005")
    whole = run(oracle(algorithm), fails=fails)
    assert len({e["trial"] for e in whole}) == oracle(algorithm).planned
    # A Bayesian search fits a model for every proposal: there, every third point, behind asks and tells alike.
    for cut in range(0, len(whole) + 1, 3 if algorithm == "bayesian" else 1):
        resumed = oracle(algorithm)
        assert run(resumed, whole[:cut], fails=fails) == whole
        assert resumed.finished
    assert not oracle(algorithm).finished


@pytest.mark.parametrize("algorithm", SEARCHES)
@pytest.mark.parametrize("workers", [3, 50])
def test_with_several_workers_nothing_is_lost_or_repeated_after_a_kill(algorithm, workers):
    for cut in (1, 5, 8, 13):
        log, running = [], []
        search = oracle(algorithm)
        while len(log) < cut and not search.finished:
            asked = search.ask(workers - len(running))
            running += asked
            log += [{"event": "ask", "trial": p.id, "proposal": p.__dict__} for p in asked]
            # The one that began last ends first.
            done = running.pop()
            log.append({"event": "tell", "trial": done.id, "score": score(done.values, done.epochs), "status": "ok"})
            search.tell(done.id, log[-1]["score"])
        resumed = oracle(algorithm)
        waiting = resumed.replay(json.loads(json.dumps(log)))
        assert sorted(p.id for p in waiting) == sorted(p.id for p in running)
        assert {p.id: p for p in waiting} == {p.id: p for p in running}
        whole = [p.values for p in resumed.proposals.values()]
        while not resumed.finished:
            for p in waiting or resumed.ask(workers):
                resumed.tell(p.id, score(p.values, p.epochs))
            waiting = []
        assert len(resumed.proposals) == resumed.planned
        assert [p.values for p in resumed.proposals.values()][: len(whole)] == whole


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband"])
def test_seeds_repeat_and_differ_and_zero_is_one(algorithm):
    def first(seed):
        return [e["values"] for e in run(oracle(algorithm, seed), stop=8) if "values" in e]

    sequences = [first(seed) for seed in (0, 0, 1, 2)]
    assert sequences[0] == sequences[1]
    rates = [[v["learning_rate"] for v in sequence] for sequence in sequences[1:]]
    # Not a shift of one another either, as the streams of Keras Tuner's neighbouring seeds are.
    assert len({rate for sequence in rates for rate in sequence}) == sum(map(len, rates))


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_a_small_space_is_used_up_without_repeating_anything(algorithm):
    search = oracle(algorithm, search=(FINITE, 40, 4))
    assert search.planned == FINITE.size() == 18
    run(search)
    tried = [json.dumps(p.values, sort_keys=True) for p in search.proposals.values()]
    assert len(set(tried)) == len(tried) == 18
    assert search.ask() == []


def test_the_grid_is_complete_and_counted_in_advance():
    search = oracle("grid")
    assert search.planned == 18
    asked = search.ask(100)
    assert [p.values for p in asked] == FINITE.grid()
    assert not search.finished  # eighteen are running
    with pytest.raises(ConfigError, match="grid has 18 trials, --trials allows 17; pass --trials 18"):
        Oracle(FINITE, "grid", 17, True, 0, 4)


@pytest.mark.extended
def test_the_bayesian_search_finds_what_random_search_misses():
    def best(algorithm, maximise):
        found = []
        for seed in range(3):
            search = oracle(algorithm, seed, maximise, (SPACE, 18, 4))
            sign = 1 if maximise else -1
            while not search.finished:
                for p in search.ask():
                    search.tell(p.id, sign * score(p.values))
            found.append(max(score(p.values) for p in search.proposals.values()))
        return sum(found) / len(found)

    # The optimum is 1.64; the same whichever way the score points.
    found = best("bayesian", True)
    assert found == pytest.approx(best("bayesian", False), abs=0.02)
    assert 1.64 - found < (1.64 - best("random", True)) / 2


def test_hyperband_continues_the_best_of_each_rung():
    search = oracle("hyperband")
    run(search)
    proposals = search.proposals
    lower = {}
    for p in proposals.values():
        lower.setdefault((p.bracket, p.rung), []).append(p)
    assert {key: (len(ps), ps[0].epochs) for key, ps in lower.items()} == {
        (0, 0): (9, 1), (0, 1): (3, 3), (0, 2): (1, 9), (1, 0): (5, 3), (1, 1): (2, 9),
    }  # fmt: skip
    for (bracket, rung), ps in lower.items():
        if not rung:
            assert all(p.continues is None for p in ps)
            continue
        before = sorted(lower[bracket, rung - 1], key=lambda p: -score(p.values, p.epochs))
        assert {p.continues for p in ps} == {p.id for p in before[: len(ps)]}
        assert all(p.values == proposals[p.continues].values for p in ps)


def test_hyperband_never_continues_a_failed_trial_and_still_ends():
    search = oracle("hyperband")
    run(search, fails=[f"{i:04d}" for i in range(8)])  # of nine starts, one lives
    assert search.finished
    assert [p.continues for p in search.proposals.values() if p.bracket == 0 and p.rung == 1] == ["0008"]
    assert {p.epochs for p in search.proposals.values() if p.bracket == 1} == {3, 9}
    assert len(search.proposals) == search.planned - 2


def test_hyperband_minimises_too():
    search = oracle("hyperband", maximise=False)
    starts = search.ask(9)
    for rank, p in enumerate(starts):
        search.tell(p.id, float(rank))
    assert [p.continues for p in search.ask(3)] == [p.id for p in starts[:3]]


@pytest.mark.parametrize("maximise", [True, False])
def test_hyperband_says_whose_weights_it_may_still_go_on_from(maximise):
    search = oracle("hyperband", maximise=maximise)
    kept, running, most = set(), [], 0
    while not search.finished:
        running += search.ask(4 - len(running))
        # Whatever is continued was never given up, nor is it before the one that continues it has ended.
        assert {p.continues for p in running if p.continues} <= kept
        done = running.pop(0)
        search.tell(done.id, round(score(done.values, done.epochs), 1))  # some scores are equal
        kept = search.continuable() & {*kept, done.id}
        assert kept == search.continuable()  # nothing that was given up is wanted back
        most = max(most, len(kept))
    assert 3 <= most <= 7
    assert kept == set()
    other = oracle("random")
    run(other)
    assert other.continuable() == set()


def test_hyperband_says_what_its_budget_pays_for():
    rungs = plan(27, 10_000)[0]
    assert [epochs for _, epochs in rungs] == [1, 3, 9, 27]
    assert cost([(9, 1), (3, 3), (1, 9)]) == 9 + 3 * 2 + 6
    for trials in (6, 20, 60):
        brackets = plan(30, trials * 30)
        spent = sum(map(cost, brackets))
        assert spent <= trials * 30
        assert spent + cost(plan(30, 10**6)[len(brackets)]) > trials * 30
    with pytest.raises(ConfigError, match=r"first bracket of hyperband takes 156 epochs.*pass --trials 6"):
        Oracle(SPACE, "hyperband", 3, True, 0, 30)
    with pytest.raises(ConfigError, match="begins with 34 different settings, the space has 18"):
        Oracle(FINITE, "hyperband", 20, True, 0, 30)


def test_later_brackets_may_train_settings_of_earlier_ones_again_but_not_twice_themselves():
    search = oracle("hyperband", search=(FINITE, 30, 9))  # more brackets than the space can fill
    run(search)
    assert search.finished
    starts = {}
    for p in search.proposals.values():
        if not p.rung:
            starts.setdefault(p.bracket, []).append(json.dumps(p.values, sort_keys=True))
    assert sum(map(len, starts.values())) > 18
    assert all(len(set(values)) == len(values) for values in starts.values())


@pytest.mark.parametrize("bad", [None, math.nan, math.inf])
@pytest.mark.parametrize("algorithm", SEARCHES)
def test_failed_trials_count_and_do_not_stop_the_search(algorithm, bad):
    search = oracle(algorithm)
    asked = 0
    while not search.finished and (proposals := search.ask()):
        asked += 1
        search.tell(proposals[0].id, bad, "failed")
    assert search.finished
    assert asked >= 10 or algorithm == "hyperband"


def test_proposals_are_what_settings_take():
    for algorithm in ("random", "bayesian"):
        search = oracle(algorithm)
        run(search)
        for p in search.proposals.values():
            assert isinstance(p.values["head_width"], tuple)
            assert ("mixup" in p.values) == (p.values["augment"] == "light")
            assert float(f"{p.values['learning_rate']:.6g}") == p.values["learning_rate"]
            assert p.epochs == 4


def test_another_searchs_journal_is_refused():
    log = run(oracle("random"), stop=6)
    with pytest.raises(RunError, match="this search would have tried"):
        oracle("random", seed=1).replay(log)
    with pytest.raises(RunError, match="outside the space"):
        oracle("random").replay([{"event": "ask", "trial": "0000", "values": {"batch_size": 7}}])
    with pytest.raises(RunError, match="0000 was never proposed"):
        oracle("random").replay([{"event": "tell", "trial": "0000", "score": 1.0, "status": "ok"}])
    search = oracle("random")
    search.replay(log)
    with pytest.raises(RunError, match="0000 was told before"):
        search.tell("0000", 1.0)
    with pytest.raises(ConfigError, match="'magic' is unknown; choose from grid"):
        oracle("magic", search=(SPACE, 3, 4))
    with pytest.raises(ConfigError, match="needs a number of trials"):
        oracle("random", search=(SPACE, 0, 4))


def test_nothing_is_written_or_printed(tmp_path, monkeypatch, capfd):
    for name in ("TMPDIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # which Python keeps once it was asked for
    monkeypatch.chdir(tmp_path)
    for algorithm in ("random", "bayesian", "hyperband"):
        search = oracle(algorithm, search=(SPACE, 6, 9))
        while not search.finished:
            for proposal in search.ask():
                search.tell(proposal.id, 1.0)
    assert capfd.readouterr().out == ""
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "cache"] == []


def test_a_grid_needs_no_keras(tmp_path):
    code = (
        "import sys\n"
        "from transferkit.tuning.oracles.oracle import Oracle\n"
        "from transferkit.tuning.search_space.space import parse_search\n"
        "s = parse_search(['learning_rate=1e-4:1e-2:log', 'batch_size=16,32'])\n"
        "Oracle(s, 'grid', None, True, 0, 4).ask(3)\n"
        "assert not {'keras', 'tensorflow', 'keras_tuner', 'sklearn'} & set(sys.modules)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
