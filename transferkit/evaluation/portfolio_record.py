"""What metrics.json says of several networks: compared, made into more, and shipped together. Declarations only."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from transferkit.record import Count, Interval, Names, Number, Record


class ComparedNetwork(Record):
    """One network: what to expect of the classifier chosen on it, and what it gained over the first network."""

    network: str
    classifier: str = "?"
    features: str = "?"
    parameters: Count = 0
    score: Number
    ci95: Interval | None = None
    alone: Number | None = None  # the classifier's own score
    seconds: Number
    gain: Number | None = None
    gain_se: Number | None = None
    look: Number | None = None  # score of the probe by which networks were ranked
    look_spread: Number | None = None
    chosen: bool = False
    share: Number | None = None  # of the answer, where several networks are shipped together


class LeftOutNetwork(Record):
    """A network that was not compared, and why."""

    network: str
    why: str


class TogetherRecord(Record):
    """What averaging the networks' answers came to, against the best of them."""

    gain: Number
    gain_se: Number
    alone: Number | None = None
    shipped: bool = False
    single: str = ""  # why one network is shipped, though several were better
    words: str = ""


class RefinedRecord(Record):
    """What was made of one network or two (`kind` "mirrored" or "concatenated"), against the best of these alone. It is
    a candidate only where `validated`: better by more than one standard error, out of fold."""

    kind: str
    networks: Names
    classifier: str = "?"
    features: str = "?"
    score: Number
    gain: Number
    gain_se: Number
    validated: bool = False
    shipped: bool = False
    seconds: Number = 0
    words: str = ""


class ForecastRecord(Record):
    """What `seconds` more would probably bring, with its 95 % interval; no figure where nothing supports one.

    `networks` are those that there was no time for and that would be done by then, `compared` is how many networks the
    figure goes by, `chance` that any of those is better than the best so far."""

    seconds: Number
    networks: list[str] = []
    compared: Count = 0
    gain: Number | None = None
    ci95: Interval | None = None
    chance: Number | None = None
    words: str


class StepRecord(Record):
    """A step of the comparison: what was tried, the cross-validated score that is expected of it, the best so far and
    the seconds it took."""

    what: str
    score: Number
    best: Number
    seconds: Number


class DistilledRecord(Record):
    """A small network that was taught by what is shipped: the folder of its run, and its own test score beside the
    teacher's on the same pictures (`gain` is the student's over the teacher's, in pairs)."""

    network: str
    run: str
    parameters: Count = 0
    bytes: Count = 0
    metric: str
    test: Number | None = None
    test_ci95: Interval | None = None
    teacher: Number | None = None
    gain: Number | None = None
    gain_ci95: Interval | None = None
    words: str


class PortfolioRecord(Record):
    """Networks that were compared within a time budget, and what to expect of choosing among them."""

    metric: str
    score: Number
    ci95: Interval | None = None
    winner_alone: Number | None = None
    networks: Annotated[list[ComparedNetwork], Field(min_length=1)]
    left_out: list[LeftOutNetwork] = []
    together: TogetherRecord | None = None
    refined: list[RefinedRecord] = []
    untried: list[str] = []  # what was not made of the networks, and why
    steps: list[StepRecord] = []
    tail: str = ""  # why layers were trained, or were not
    forecast: ForecastRecord | None = None
    distilled: DistilledRecord | None = None
    words: list[str]
    seconds: Number = 0
    budget: Number = 0


class EnsembleMember(Record):
    """One of those that are shipped together, and its share of the answer: a network, or two whose features lie side by
    side (`networks`, with the `hashes` of their weights). `mirrored`: it looks at the mirror image too."""

    network: str
    weight: Number
    weights_sha256: str = ""
    networks: list[str] = []
    mirrored: bool = False
    hashes: list[str] = []


class EnsembleRecord(Record):
    """What is shipped together: several members, or one that is more than a network that looks once."""

    members: Annotated[list[EnsembleMember], Field(min_length=1)]
