"""run.json as a record: what was done, with what, on what. Declarations only, and what a finished run must hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from transferkit.config.values import check_policy, parse_frames
from transferkit.record import Count, Number, Record, RecordError, SchemaVersion
from transferkit.tasks import TaskName

ARRAYS = "arrays"  # what versions that recorded no schema version wrote for the path of data from memory


class Skipped(Record):
    """A picture that could not be read."""

    path: str
    reason: str


class Relabelled(Record):
    """A picture whose label an exclusion file replaced, and the label `was` that the data has."""

    path: str
    was: str


def _frames(value: str | None) -> str | None:
    return str(parse_frames(value)) if value else value


class ConfigRecord(Record):
    """All settings, as the version that made the run wrote them; those declared are looked at by themselves."""

    __pydantic_extra__: dict[str, JsonValue]

    backbone: str = ""
    unfreeze: Annotated[str, AfterValidator(check_policy)] = "none"
    head: str = "mlp"
    metric: str = "auto"
    task: Literal["auto", TaskName] = "auto"
    optimizer: str = "adamw"
    schedule: str = "cosine"
    exclude: list[str] = []
    exclude_file: str | None = None
    refit: str = "train"
    budget: Number | None = None
    # How the data is read again.
    reader: str | None = None
    image_column: str | None = None
    label_column: list[str] | None = None
    group_column: str | None = None
    split_column: str | None = None
    path_template: str | None = None
    label_delimiter: str | None = None
    classes: list[str] | None = None
    crop_boxes: bool = False
    frames: Annotated[str | None, AfterValidator(_frames)] = None
    class_level: Literal["", "top", "leaf", "path"] | None = None


class PoolRecord(Record):
    """Pictures without labels. `n` are used, and hash to `sha256`; the others are `alike` (like a labelled picture),
    `repeated` (like another of them), `unreadable`, or more than are used (`beyond`)."""

    path: str = ""
    n: Count = 0
    alike: Count = 0
    repeated: Count = 0
    unreadable: Count = 0
    beyond: Count = 0
    sha256: str = ""


class DataRecord(Record):
    """The data and what became of it. `path` is None for arrays, which a run does not keep."""

    path: str | None
    parts: dict[str, Count] = {}
    sha256: str | None = None
    n: Count = 0
    skipped: list[Skipped] = []
    relabelled: list[Relabelled] = []
    unlabeled: PoolRecord | None = None
    reader: dict[str, JsonValue] = {}  # its name, why it was chosen, and the options that it took or found


class PluginRecord(Record):
    """A package whose plugin the settings name."""

    kind: str
    name: str
    target: str
    package: str
    version: str


class HardwareRecord(Record):
    """The machine."""

    cpu: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    system: str | None = None


class WeightsRecord(Record):
    """Of the pretrained network: where they came from, the hash of their values, and the licence if no catalog says
    it."""

    source: str
    sha256: str = ""
    licence: str = ""


class PrecisionRecord(Record):
    """What features were computed in, how, and why."""

    name: str
    how: str = "plain"
    reason: str = ""


class ViewPoint(Record):
    """What so many views come to: the mean loss of left-out pictures, and by how much it is lower than at the point
    before, with the standard error of that."""

    views: Count
    loss: Number
    gain: Number | None = None
    gain_se: Number | None = None

    @property
    def pays(self) -> bool:
        """Whether these are worth more than fewer, beyond one standard error; the first point has none to beat."""
        return self.gain is None or self.gain > (self.gain_se or 0.0)


class ViewsRecord(Record):
    """How many views `--views auto` came to (`chosen`), by `by` in so many folds of `n` pictures; `reason` says why
    nothing was measured."""

    chosen: Count
    measure: str
    n: Count = 0
    folds: Count = 0
    by: str = ""
    curve: list[ViewPoint] = []
    reason: str = ""

    @property
    def words(self) -> str:
        """In one line."""
        if self.reason:
            return f"{self.chosen} of each training picture, as without auto; {self.reason}"
        losses = ", ".join(f"{point.loss:.4g} with {point.views}" for point in self.curve)
        last = self.curve[-1]
        why = "" if last.gain is None else f" (gain {last.gain:.2g} ± {last.gain_se:.2g})"
        ends = "more are not tried" if last.pays else f"{last.views} do not pay"
        return (
            f"{self.chosen} of each training picture; {self.measure} of {self.n:,} left-out pictures by {self.by}: "
            f"{losses}{why}; {ends}"
        )


class PhaseRecord(Record):
    """One training phase. `score` and `loss` are validation's, at `best_epoch` (counted from 1)."""

    name: str
    trained: str
    parameters: int
    epochs: int
    best_epoch: int
    score: Number
    loss: Number | None = None
    seconds: Number
    source: str
    precision: str | None = None


class RatePoint(Record):
    """A point of the learning-rate finder."""

    learning_rate: Annotated[Number, Field(gt=0)]
    loss: Number | None


class TestSplitRecord(Record):
    """The test split by its content, and which run this is that was scored on it."""

    __test__ = False  # pytest: no test

    sha256: str = ""
    run: Count = 0
    note: str | None = None


class SearchOrigin(Record):
    """How the search was begun that this run ends."""

    command: str
    engine: str = "local"
    workers: int = 1


class PortfolioOrigin(Record):
    """How the comparison of networks was begun that this run ends."""

    command: str


class RunOptions(Record):
    """Options that change no number, and so are not in the command: `--offline`, `--cache`, `--track`."""

    offline: bool | None = None
    cache: bool | None = None
    track: list[str] = []

    def given(self) -> dict[str, bool | tuple[str, ...]]:
        """Those that were said."""
        flags = {"offline": self.offline, "cache": self.cache}
        found: dict[str, bool | tuple[str, ...]] = {name: on for name, on in flags.items() if on is not None}
        return found | ({"track": tuple(self.track)} if self.track else {})


class RunRecord(Record):
    """run.json. While a run is not `complete`, what it has not come to yet has its default."""

    schema_version: SchemaVersion = 0
    status: str
    kind: str = "finetune"
    command: str
    started: str = ""
    working_directory: str = "."
    config: ConfigRecord
    given: list[str] = []
    cache: bool | None = None
    seed: Count = 0
    data: DataRecord
    versions: dict[str, str] = {}
    plugins: list[PluginRecord] = []
    hardware: HardwareRecord = HardwareRecord()
    timings: dict[str, Number] = {}  # seconds of each stage
    callbacks: list[str] = []  # the caller's own, by name
    options: RunOptions | None = None
    split_sha256: str | None = None
    weights: WeightsRecord = WeightsRecord(source="")
    precision: PrecisionRecord = PrecisionRecord(name="unknown", reason="not recorded")
    views: ViewsRecord | None = None
    phases: list[PhaseRecord] = []
    chosen: str = ""
    learnt_from: str | None = None
    notes: list[str] = []
    rate_curve: list[RatePoint] | None = None
    learning_rate: Number | None = None
    test_split: TestSplitRecord | None = None
    warnings: list[str] = []
    search: SearchOrigin | None = None
    portfolio: PortfolioOrigin | None = None
    files: dict[str, str] = {}  # SHA-256 of what a finished run keeps as it is
    error: str = ""
    resumed: int = 0
    content_sha256: str | None = None  # of all other keys; looked at and left out where run.json is read

    @model_validator(mode="after")
    def _arrays(self) -> Self:
        if self.schema_version == 0 and self.data.path == ARRAYS:  # paths were absolute then
            self.data.path = None
        return self

    @property
    def complete(self) -> bool:
        """Whether the run is finished."""
        return self.status == "complete"

    @property
    def chosen_phase(self) -> PhaseRecord | None:
        """The phase whose weights were kept."""
        return next((phase for phase in self.phases if phase.name == self.chosen), None)

    def add_timings(self, stages: Mapping[str, float]) -> None:
        """Note seconds of stages, to the hundredth; those that are there already are replaced."""
        self.timings = self.timings | {stage: round(seconds, 2) for stage, seconds in stages.items()}

    def filled(self) -> dict[str, object]:
        """`as_json`, and the defaults of what is not there: a reader need not know which version wrote it."""
        fields = type(self).model_fields
        absent = {key: getattr(self, key) for key in fields if not self.has(key) and getattr(self, key) is not None}
        return self.as_json() | {k: v.as_json() if isinstance(v, Record) else v for k, v in absent.items()}

    def check_finished(self) -> None:
        """Raise RecordError where something is missing that a finished run has."""
        wanted: tuple[tuple[str, Record, tuple[str, ...]], ...] = (
            ("", self, ("weights", "phases", "chosen")),
            ("config.", self.config, ("backbone", "unfreeze")),
            ("data.", self.data, ("n", "parts")),
        )
        lost = [f"{where}{key}" for where, record, keys in wanted for key in keys if key not in record.model_fields_set]
        lost += [] if "total" in self.timings else ["timings.total"]
        if lost:
            raise RecordError("; ".join(f"{name}: field required" for name in lost))
