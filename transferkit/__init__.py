"""transferkit: the best image classifier a folder of pictures allows, with an honest account of it.

Importing this package is cheap: Keras is imported by the first verb that computes.
"""

# First of all, and without `from __future__`: a file of that name in the working directory would be imported too.
from transferkit import beginning, importing

beginning.until_begun(importing.started_as())
importing.begin()

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from transferkit import library_room, native_logs  # noqa: E402
from transferkit._version import __version__  # noqa: E402

if TYPE_CHECKING:
    from transferkit.api import (
        Data,
        Run,
        assemble,
        backbone,
        best,
        build_head,
        compare,
        evaluate,
        extract_features,
        finetune,
        freeze,
        label,
        load_data,
        load_run,
        predict,
        reproduce,
        tune,
    )
    from transferkit.config import Settings
    from transferkit.errors import TransferKitError
    from transferkit.training.fit import Callback
    from transferkit.tuning.hypermodel import HyperModel
    from transferkit.tuning.search_space.space import Space

# By us, or by a script that imports Keras after this package.
native_logs.when_imported()
library_room.require()

_HOMES = {
    **dict.fromkeys(
        (
            "Data",
            "Run",
            "assemble",
            "backbone",
            "best",
            "build_head",
            "compare",
            "evaluate",
            "extract_features",
            "finetune",
            "freeze",
            "label",
            "load_data",
            "load_run",
            "predict",
            "reproduce",
            "tune",
        ),
        "transferkit.api",
    ),
    "Callback": "transferkit.training.fit",
    "HyperModel": "transferkit.tuning.hypermodel",
    "Space": "transferkit.tuning.search_space.space",
    "Settings": "transferkit.config",
    "TransferKitError": "transferkit.errors",
}
__all__ = [
    "Callback", "Data", "HyperModel", "Run", "Settings", "Space", "TransferKitError", "__version__", "assemble",
    "backbone", "best", "build_head", "compare", "evaluate", "extract_features", "finetune", "freeze", "label",
    "load_data", "load_run", "predict", "reproduce", "tune",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'transferkit' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
