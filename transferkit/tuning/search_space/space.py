"""The space of a search: which settings may take which values, and when. Pure Python until Keras Tuner is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferkit.config import Settings
from transferkit.errors import ConfigError, raise_problems
from transferkit.files import digest
from transferkit.record import JsonObject
from transferkit.tuning.search_space import combinations, parsing, space_checks, tracing
from transferkit.tuning.search_space.dimensions import OUTER, SEARCHABLE, Dimension, Value, Values

if TYPE_CHECKING:
    import keras_tuner

__all__ = [
    "OUTER", "SEARCHABLE", "Dimension", "Space", "check", "default_space", "from_function", "load_space",
    "parse_search",
]  # fmt: skip

LARGEST = 100_000  # combinations that a grid may have
# The recipe's usual rate of each optimizer (a test holds them equal); the search spans 1/30 of it to ten times.
USUAL_RATES = {"adamw": 3e-3, "adam": 3e-3, "rmsprop": 1e-3, "sgd": 1e-1, "momentum": 3e-2}


@dataclass(frozen=True)
class Space:
    """The settings that a search tries. Dimensions are kept in order: parents first, costly ones before cheap ones."""

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", combinations.ordered(self.dimensions))

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that are searched, each once."""
        return tuple(dict.fromkeys(d.name for d in self.dimensions))

    def size(self) -> int | None:
        """How many combinations there are; None where a range is continuous."""
        return combinations.count(self.dimensions, None)

    def grid_size(self, resolution: int = 5) -> int:
        """How many combinations `grid` will list."""
        return combinations.count(self.dimensions, resolution) or 0

    def grid(self, resolution: int = 5) -> list[Values]:
        """Every combination, each with its active settings only; ranges stand for `resolution` values.

        Settings that need new features vary slowest. Raises ConfigError above 100,000 combinations.
        """
        planned = self.grid_size(resolution)
        if planned > LARGEST:
            raise ConfigError(
                f"the grid has {planned:,} combinations, at most {LARGEST:,} are possible; "
                "search fewer values or settings, or choose --algorithm random"
            )
        return list(combinations.combinations(self.dimensions, resolution))

    def points(self) -> list[Values]:
        """Every combination of a space that has a `size`."""
        return list(combinations.combinations(self.dimensions, None))

    def active(self, values: Mapping[str, Value]) -> Values:
        """The settings in `values` that are active together, in the types that Settings takes.

        Takes Keras Tuner's values, settings, or either after JSON. Raises ValueError for a value outside the space
        and for an active setting that is missing.
        """
        found: Values = {}
        for dimension in self.dimensions:
            if dimension.holds(found):
                if dimension.name not in values:
                    raise ValueError(f"{dimension.name} is missing from {dict(values)}")
                found[dimension.name] = dimension.read(values[dimension.name])
        return found

    def tokens(self, values: Mapping[str, Value]) -> Values:
        """Active settings as Keras Tuner's hyperparameters take them; `active` reads them back."""
        active = self.active(values)
        return {d.name: d.token(active[d.name]) for d in self.dimensions if d.holds(active)}

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The space as Keras Tuner's; what depends on a parent lies in a conditional scope. Imports Keras."""
        import keras_tuner

        found = keras_tuner.HyperParameters()
        for dimension in self.dimensions:
            with ExitStack() as scopes:
                for parent, values in self._conditions(dimension):
                    scopes.enter_context(found.conditional_scope(parent.name, [parent.token(v) for v in values]))
                _register(found, dimension)
        return found

    def _conditions(self, dimension: Dimension) -> list[tuple[Dimension, tuple[Any, ...]]]:
        """Its parent, the parent's parent and so on, the outermost first: Keras Tuner wants scopes nested so."""
        chain: list[tuple[Dimension, tuple[Any, ...]]] = []
        while dimension.when:
            name, values = dimension.when
            dimension = next(d for d in self.dimensions if d.name == name)
            chain.insert(0, (dimension, values))
        return chain

    def as_dict(self) -> JsonObject:
        """What JSON can hold."""
        return {"dimensions": [dimension.as_dict() for dimension in self.dimensions]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Space:
        """Inverse of `as_dict`, also after a round trip through JSON."""
        return cls(tuple(Dimension.from_dict(item) for item in stored["dimensions"]))

    def key(self) -> str:
        """Hex digest: equal keys, equal spaces."""
        return digest(self.as_dict())

    def difference(self, other: Space) -> list[str]:
        """How `other` differs from this space, in words; empty where it does not."""
        mine, theirs = ([str(d) for d in space.dimensions] for space in (self, other))
        gone = [f"no longer searched: {text}" for text in mine if text not in theirs]
        new = [f"newly searched: {text}" for text in theirs if text not in mine]
        if not gone and not new and self.key() != other.key():
            return ["the same settings in another order or precision"]
        return gone + new

    def __str__(self) -> str:
        return "; ".join(map(str, self.dimensions))


def _register(found: keras_tuner.HyperParameters, dimension: Dimension) -> None:
    if dimension.kind == "choice":
        found.Choice(dimension.name, dimension.tokens())
        return
    low, high = dimension.range()
    sampling = "log" if dimension.log else "linear"
    if dimension.kind == "int":
        step = None if dimension.step is None else int(dimension.step)
        found.Int(dimension.name, int(low), int(high), step=step, sampling=sampling)
    else:
        found.Float(dimension.name, low, high, step=dimension.step, sampling=sampling)


def default_space(settings: Settings) -> Space:
    """Learning rate (1/30 of the optimizer's usual one to ten times it), batch size and head width.

    What `settings` were given explicitly stays as given and is not searched, nor is the width of a linear head.
    Raises ConfigError where nothing is left.
    """
    usual = USUAL_RATES[settings.optimizer]
    rates = Dimension("learning_rate", "float", low=float(f"{usual / 30:.3g}"), high=usual * 10, log=True)
    batches = Dimension("batch_size", "choice", (16, 32, 64, 128))
    widths = Dimension("head_width", "choice", ((64,), (128,), (256,), (512,)))
    fixed = settings.model_fields_set | ({"head_width"} if settings.head == "linear" else set())
    free = tuple(d for d in (rates, batches, widths) if d.name not in fixed)
    if not free:
        raise ConfigError(
            "learning rate, batch size and head width are all fixed; nothing is left to search. "
            "Drop one of them, or name what to search: --search dropout=0:0.5"
        )
    return Space(free)


def parse_search(texts: Sequence[str]) -> Space:
    """The space of `--search` options: `NAME=LOW:HIGH[:log][:STEP]` or `NAME=A,B,C`, then ` if PARENT=A,B`.

    Raises ConfigError that lists every option that cannot be read.
    """
    found, problems = parsing.read_texts(texts)
    raise_problems(ConfigError, problems)
    return Space(tuple(found))


def load_space(path: str | Path) -> Space:
    """The space of a TOML file, see docs/search.md. Raises ConfigError that lists every problem."""
    found, problems = parsing.read_file(Path(path))
    raise_problems(ConfigError, [f"{path}: {problem}" for problem in problems])
    return Space(tuple(found))


def from_function(build: Callable[[keras_tuner.HyperParameters], Any]) -> Space:
    """The space that a function of `keras_tuner.HyperParameters` asks for, in all its branches.

    The function is run once for each combination of its choices; what it returns is not used. Imports Keras.
    Raises ConfigError where it asks for nothing, or for what cannot be searched here.
    """
    return Space(tuple(tracing.dimensions(build)))


def check(space: Space, settings: Settings | Mapping[str, Any]) -> list[str]:
    """Every problem of searching a space beside settings; empty where there is none.

    Args:
        space: what is searched.
        settings: that are not searched; of Settings, those that were given.
    """
    given = settings.model_dump(include=settings.model_fields_set) if isinstance(settings, Settings) else settings
    return space_checks.problems(space.dimensions, dict(given))
