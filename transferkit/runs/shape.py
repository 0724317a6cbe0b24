"""What run.json, metrics.json and a model's facts must hold for those who read them: keys and types, checked once.

Keys that are not listed are left alone, and what an older version did not write is optional: a run stays readable.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from transferkit import tasks
from transferkit.config import check_policy
from transferkit.data.samples import shown
from transferkit.evaluation.metric_registry import GOALS
from transferkit.tasks import TaskName

Count = Annotated[int, Field(ge=0)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
SCALARS = (int, float, type(None))
ROWS = ("per_class", "per_label", "per_target")
SHOWN = 5  # problems that are named


class Part(BaseModel):
    """Strict: a number is a number, and a finite one."""

    # Names of ours may begin with "model_", which older pydantic warns of.
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


def _unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names must differ")
    return names


Names = Annotated[list[str], Field(min_length=1), AfterValidator(_unique)]

# ---------------------------------------------------------------------------------------------- run.json


class Skipped(Part):
    """A picture that could not be read."""

    path: str
    reason: str


class Relabelled(Part):
    """A picture whose label an exclusion file replaced, and the label `was` that the data has."""

    path: str
    was: str


class Begun(Part):
    """Of any run, also one that is not finished."""

    class Place(Part):
        """Where the data is."""

        path: str

    status: str
    command: str
    config: dict[str, Any]
    data: Place
    kind: str = "finetune"
    error: str = ""
    resumed: int = 0
    working_directory: str = "."
    split_sha256: str | None = None
    files: dict[str, str] = {}
    versions: dict[str, str] = {}
    timings: dict[str, float] = {}


class Phase(Part):
    """One training phase."""

    name: str
    trained: str
    parameters: int
    epochs: int
    best_epoch: int
    score: float
    seconds: float
    source: str
    precision: str | None = None


class Complete(Begun):
    """Of a finished run. What only some commands use is checked where it is there."""

    class Given(Part):
        """Settings that are looked at by themselves."""

        backbone: str
        unfreeze: Annotated[str, AfterValidator(check_policy)]
        metric: str = "auto"
        task: Literal["auto", TaskName] = "auto"
        exclude: list[str] = []
        exclude_file: str | None = None

    class Data(Part):
        """The data and what became of it."""

        path: str
        n: Count
        parts: dict[str, Count]
        sha256: str | None = None
        skipped: list[Skipped] = []
        relabelled: list[Relabelled] = []

    class Weights(Part):
        """Of the pretrained network."""

        source: str
        sha256: str = ""

    class Timings(Part):
        """Seconds."""

        total: float

    class Precision(Part):
        """What features were computed in."""

        name: str
        reason: str = ""

    class Rate(Part):
        """A point of the learning-rate range test."""

        learning_rate: Annotated[float, Field(gt=0)]
        loss: float | None

    config: Given  # type: ignore[assignment]
    data: Data  # type: ignore[assignment]
    weights: Weights
    phases: list[Phase]
    chosen: str
    timings: Annotated[dict[str, float], AfterValidator(lambda value: Complete.Timings(**value) and value)]
    started: str = ""
    seed: Count = 0
    given: list[str] = []
    precision: Annotated[dict[str, Any], AfterValidator(lambda value: Complete.Precision(**value) and value)] = {
        "name": "unknown", "reason": "not recorded",
    }  # fmt: skip
    hardware: dict[str, Any] = {}
    notes: list[str] = []
    warnings: list[str] = []
    rate_curve: list[Rate] | None = None
    learning_rate: float | None = None


# ---------------------------------------------------------------------------------------------- metrics.json


def _scores(found: dict[str, Any], table: bool = False) -> dict[str, Any]:
    """Scores are numbers or undefined; their intervals pairs of numbers; tables rows of the same."""
    for key, value in found.items():
        if key in ROWS and not table:
            if not isinstance(value, list | None) or any(not isinstance(row, dict) for row in value or ()):
                raise ValueError(f"{key} must be a list of rows")
            for row in value or ():
                _scores(row, table=True)
                if not any(isinstance(row.get(name), str) for name in ("class", "label", "target")):
                    raise ValueError(f"{key} has a row without a name")
        elif key.endswith("_ci95"):
            if value is not None and not (isinstance(value, list) and len(value) == 2 and all(map(_number, value))):
                raise ValueError(f"{key} must be two numbers")
        elif key == "confusion" and value is not None:
            _matrix(value)
        elif key in ("class", "label", "target"):
            _require(isinstance(value, str), key, "a name")
        elif key not in ROWS and not isinstance(value, dict | list):
            _require(value is None or _number(value), key, "a number")
    return found


def _require(holds: bool, key: str, what: str) -> None:
    if not holds:
        raise ValueError(f"{key} must be {what}")


def _matrix(value: Any) -> None:
    rows = isinstance(value, list) and all(isinstance(row, list) and len(row) == len(value) for row in value)
    _require(rows and all(_number(cell) for row in value for cell in row), "confusion", "a square table of numbers")


def _number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


Scores = Annotated[dict[str, Any], AfterValidator(_scores)]


class Remedy(Part):
    """One thing to try."""

    why: str
    command: str


class Diagnosis(Part):
    """What is wrong, if anything."""

    state: str
    evidence: list[str]
    remedies: list[Remedy] = []
    also: list[str] = []


class Curve(Part):
    """The learning curve."""

    class Fit(Part):
        """What more pictures would bring."""

        class Point(Part):
            """Of the fitted curve."""

            n: float
            score: float
            low: float
            high: float

        gain: float
        gain_low: float
        gain_high: float
        curve: list[Point]

    sizes: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    scores: list[float]
    fit: Fit | None = None

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if len(self.sizes) != len(self.scores):
            raise ValueError("sizes and scores must be equally many")
        return self


class Abstention(Part):
    """A threshold below which no answer is given."""

    accuracy: float
    threshold: float | None
    coverage: float | None = None
    test_coverage: float | None = None
    test_accuracy: float | None = None


class SearchPart(Part):
    """Of a search."""

    algorithm: str
    metric: str
    maximise: bool
    trials: Count
    failed: Count
    budget_spent: bool
    seconds: float
    words: list[str]


class Folds(Part):
    """Scores of the folds."""

    metric: str
    mean: float
    std: float
    scores: list[float]


class Unfrozen(Part):
    """What training layers of the network came to."""

    words: str


class Cost(Part):
    """What one picture takes and how large the file is, where there were limits."""

    words: str
    left_out: list[str] = []


class Metrics(Part):
    """metrics.json."""

    task: TaskName
    classes: Names
    goal: str
    test: Annotated[dict[str, Any], AfterValidator(lambda found: Metrics.of_test(found))]
    val: Scores | None = None
    train: Scores | None = None
    baselines: dict[str, Scores]
    temperature: Annotated[float, Field(gt=0)] = 1.0
    thresholds: list[float] | None = None
    diagnosis: Annotated[Diagnosis | None, BeforeValidator(lambda value: value or None)] = None
    learning_curve: Curve | None = None
    abstention: list[Abstention] = []
    folds: Folds | None = None
    unfrozen: Unfrozen | None = None
    cost: Cost | None = None
    search: SearchPart | None = None

    @model_validator(mode="after")
    def _scored(self) -> Self:
        key = GOALS[tasks.of(self.task).default_metric].key
        if self.test["n"] and key not in self.test:
            raise ValueError(f"test has no {key}")
        confusion = self.test.get("confusion")
        if confusion is not None and len(confusion) != len(self.classes):
            raise ValueError("the confusion matrix has another size than there are classes")
        return self

    @staticmethod
    def of_test(found: dict[str, Any]) -> dict[str, Any]:
        """Scores, and of how many pictures."""
        n = found.get("n")
        _require(isinstance(n, int) and not isinstance(n, bool) and n >= 0, "n", "a number of pictures")
        return _scores(found)


# ---------------------------------------------------------------------------------------------- model.keras


class Facts(Part):
    """transferkit.json inside model.keras."""

    class Decode(Part):
        """How pictures are read."""

        decoder: int
        size: Annotated[int, Field(ge=8, le=4096)]
        resize: str = "stretch"

    task: TaskName
    classes: Names
    decode: Decode
    thresholds: list[float] | None
    temperature: Annotated[float, Field(gt=0)] = 1.0
    backbone: str = ""
    scaling: Any = None
    weights: str = ""
    pooling: str = ""


def filled(shape: type[Part], content: dict[str, Any]) -> dict[str, Any]:
    """`content` with the defaults of what it leaves out: readers index, whatever version wrote it."""
    absent = {
        name: field.get_default(call_default_factory=True)
        for name, field in shape.model_fields.items()
        if name not in content and not field.is_required()
    }
    return {**content, **absent}


def problems(shape: type[Part], content: Any) -> str:
    """What is wrong with `content`, in words fit to print; empty where nothing is."""
    try:
        shape.model_validate(content)
    except ValidationError as error:
        found = [_said(entry) for entry in error.errors(include_url=False, include_context=False, include_input=False)]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return shown("; ".join(found[:SHOWN]) + more)
    except RecursionError:
        return "nested too deeply"
    return ""


def _said(entry: Any) -> str:
    where = ".".join(str(step)[:40] for step in entry["loc"])
    text = str(entry["msg"]).removeprefix("Value error, ")
    return f"{where}: {text[:1].lower()}{text[1:200]}" if where else text
