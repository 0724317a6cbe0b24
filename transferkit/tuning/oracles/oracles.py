"""Keras Tuner's oracles made repeatable: no files, no clock, every draw a function of seed and trial number.

Keras Tuner's own draw one stream, which shifts by one number from seed to seed (seed 1 repeats most of seed 0), take
seed 0 for no seed, give a space up after 20 collisions, and let the Bayesian one propose what was tried. Imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from transferkit import importing
from transferkit.compute.optional import OF_KERAS, absent
from transferkit.files import digest
from transferkit.tuning.oracles import acquisition
from transferkit.tuning.oracles.brackets import FACTOR
from transferkit.tuning.search_space.dimensions import Values
from transferkit.tuning.search_space.space import Space

with absent(*(OF_KERAS if importing.is_ours() else ())):  # IPython above all, by which it asks for a notebook
    from keras_tuner import Objective
    from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

ENUMERABLE = 100_000  # combinations up to which what is left of a space is listed
GOAL = "score"


def number(*parts: Any) -> int:
    """A 31-bit number that depends on all `parts`: the seed of one draw."""
    return int(digest([str(part) for part in parts])[:8], 16) & 0x7FFFFFFF


TunerAnswer = dict[str, object]  # Keras Tuner's: the `status` of a trial and its `values`


class _Repeatable:
    """What all three share. Mixed in before Keras Tuner's class, whose attributes it uses."""

    space_: Space
    seed_: int
    # Of Keras Tuner's Oracle:
    trials: dict[str, Any]  # objects of Keras Tuner's, which has no types
    ongoing_trials: dict[str, Any]
    hyperparameters: Any
    _tried_so_far: set[str]
    _seed_state: int
    _super: Callable[..., Any]

    def save(self, *_: Any) -> None:
        """Nothing: the journal is what a search resumes from."""

    def _save_trial(self, trial: Any) -> None:
        """Nothing either."""

    def tidy(self, values: Values) -> Values:
        """Values as they will be trained with: numbers of six digits. Keras Tuner's own entries stay."""
        own = {name: value for name, value in values.items() if name.startswith("tuner/")}
        return {**self.space_.tokens(values), **own}

    def _compute_values_hash(self, values: Values) -> str:
        found: str = super()._compute_values_hash(self.tidy(values) if values else values)  # type: ignore[misc]
        return found

    def tried(self, values: Values) -> bool:
        """Whether a trial had these values."""
        return self._compute_values_hash(values) in self._tried_so_far

    def _random_values(self) -> Values | None:
        # Random(a) and Random(a + 1) are unrelated: Keras Tuner counts on from here within the trial.
        self._seed_state = number("draw", self.seed_, len(self.trials)) << 20
        values = super()._random_values()  # type: ignore[misc]
        if values is None:
            left = self.left()
            values = Random(number("left", self.seed_, len(self.trials))).choice(left) if left else self._again()
        return None if values is None else self.tidy(values)

    def _again(self) -> Values | None:
        """What to do when everything was tried: stop."""
        return None

    def left(self) -> list[Values]:
        """The untried combinations of a space small enough to list."""
        size = self.space_.size()
        if size is None or size > ENUMERABLE:
            return []
        return [tokens for values in self.space_.points() if not self.tried(tokens := self.space_.tokens(values))]


def _prepare(oracle: Any, space: Space, seed: int) -> None:
    oracle.space_, oracle.seed_ = space, seed
    oracle.verbose = 0  # nothing is printed


def _options(space: Space, maximise: bool, seed: int) -> Values:
    return {
        "objective": Objective(GOAL, "max" if maximise else "min"),
        "hyperparameters": space.hyperparameters(),
        "seed": number("oracle", seed) + 1,  # 0 would be replaced by a random one
        # The search itself decides after how many failures to stop.
        "max_consecutive_failed_trials": 2**31,
    }  # fmt: skip


class RandomOracle(_Repeatable, RandomSearchOracle):  # type: ignore[misc]
    """Random search; ends when `trials` were proposed or the space is used up."""

    def __init__(self, space: Space, trials: int, maximise: bool, seed: int) -> None:
        super().__init__(max_trials=trials, **_options(space, maximise, seed))
        _prepare(self, space, seed)


class BayesianOracle(_Repeatable, BayesianOptimizationOracle):  # type: ignore[misc]
    """Keras Tuner's Gaussian process; the point of least confidence bound is sought among untried settings only.

    A third of the trials, at most three for each setting, are random at first. `next_values`, where set, are proposed
    next whatever the process says: what a journal holds.
    """

    next_values: Values | None = None

    def __init__(self, space: Space, trials: int, maximise: bool, seed: int) -> None:
        first = min(3 * len(space.dimensions), max(3, trials // 3))
        super().__init__(max_trials=trials, num_initial_points=first, **_options(space, maximise, seed))
        _prepare(self, space, seed)

    def populate_space(self, trial_id: str) -> TunerAnswer:
        """Keras Tuner's answer: `status` and `values`."""
        if self.next_values is not None:
            stored, self.next_values = self.next_values, None
            return {"status": "RUNNING", "values": stored}
        done = sum(trial.status == "COMPLETED" for trial in self.trials.values())
        if done < self.num_initial_points:
            return dict(self._random_populate_space())
        values = acquisition.propose(self, number("bayesian", self.seed_, len(self.trials)))
        if values is None:
            return dict(self._random_populate_space())
        return {"status": "RUNNING", "values": self.tidy(values)}


class BracketOracle(_Repeatable, HyperbandOracle):  # type: ignore[misc]
    """Hyperband that runs a number of whole brackets, counted in advance, and then stops."""

    def __init__(self, space: Space, brackets: int, maximise: bool, seed: int, max_epochs: int) -> None:
        self._wanted, self._begun = brackets, 0
        options = _options(space, maximise, seed)
        super().__init__(max_epochs=max_epochs, factor=FACTOR, hyperband_iterations=0, **options)
        _prepare(self, space, seed)

    def _start_new_bracket(self) -> None:
        super()._start_new_bracket()
        self._brackets[-1]["number"] = self._begun
        self._begun += 1

    def _random_trial(self, trial_id: str, bracket: Mapping[str, Any]) -> TunerAnswer:
        if bracket["number"] >= self._wanted:
            # Keras Tuner begins one bracket after the other; the running ones may still have trials to promote.
            return {"status": "IDLE" if self.ongoing_trials else "STOPPED", "values": None}
        return dict(super()._random_trial(trial_id, bracket))

    def bracket_of(self, trial_id: str) -> int:
        """The bracket of a trial that was just created, counted from 0. Raises KeyError for any other."""
        for bracket in self._brackets:
            if any(info["id"] == trial_id for rung in bracket["rounds"] for info in rung):
                return int(bracket["number"])
        raise KeyError(trial_id)

    def _again(self) -> Values | None:
        # A later bracket may train the settings of an earlier one for longer.
        here = {info["id"] for info in self._brackets[-1]["rounds"][0]}
        used = {self._compute_values_hash(_plain(self.trials[name].hyperparameters.values)) for name in here}
        points = [self.space_.tokens(values) for values in self.space_.points()]
        fresh = [values for values in points if self._compute_values_hash(values) not in used]
        return Random(number("again", self.seed_, len(self.trials))).choice(fresh) if fresh else None


def _plain(values: Values) -> Values:
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}
