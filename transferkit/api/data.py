"""Pictures with labels, as `load_data` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferkit.quantities import plural

if TYPE_CHECKING:
    from transferkit.data.samples import Samples


@dataclass(frozen=True)
class Data:
    """Pictures with labels and how they are to be split; from `load_data`."""

    samples: Samples
    origin: str | None  # the path; None for arrays
    split: tuple[float, ...] | None = None
    seed: int | None = None

    def __repr__(self) -> str:
        """`Data('flowers': 2,527 pictures, 6 classes)`; the samples themselves would fill screens."""
        outputs = plural(len(self.classes), self.samples.kind.output)
        return f"Data({self.origin or 'arrays'!r}: {plural(len(self), 'picture')}, {outputs})"

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of classes, labels or targets."""
        return self.samples.classes

    def counts(self) -> dict[str, int]:
        """Pictures per class."""
        return self.samples.counts()

    def _repr_html_(self) -> str:
        """For notebooks: where the pictures are from, and how many there are of each class."""
        from transferkit.delivery import notebook

        counts = self.counts()
        most = max(counts.values(), default=0) or 1
        rows = [(name, count / most, f"{count:,}") for name, count in counts.items()]
        return notebook.text(f"{len(self):,} pictures from {self.origin or 'arrays'}") + notebook.bars(rows)
