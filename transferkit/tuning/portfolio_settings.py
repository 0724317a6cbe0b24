"""Which settings `best` takes: those of a run that bear on all networks alike, and where networks are compared.

How a head is trained is not among them, since classifiers are chosen; nor are layers that are trained.
"""

from __future__ import annotations

from dataclasses import replace

from transferkit.setting import Declared, declared
from transferkit.tuning.search_settings import SearchSettings

SETTINGS = (
    "task", "classes", "split", "exclude", "exclude_file", "reader", "image_column", "label_column", "group_column",
    "split_column", "path_template", "label_delimiter", "crop_boxes", "frames", "class_level", "on_bad_file",
    "image_size", "resize", "intensity", "augment", "views", "precision", "max_latency", "max_size", "metric", "seed",
)  # fmt: skip
# Settings of a search that say where its trials run: here each network is one. What the help says of them.
PLACE = {
    "workers": "Networks at a time on Ray.",
    "engine": "Where networks are compared. In this process, or on a Ray cluster.",
    "address": "The Ray cluster.",
    "trial_cpus": "CPUs of a network on Ray.",
    "trial_gpus": "GPUs of a network on Ray.",
}


def place_settings() -> dict[str, Declared]:
    """The declarations of `PLACE`, in their order."""
    known = declared(SearchSettings)
    said = {name: replace(known[name].said, help=text, common=False) for name, text in PLACE.items()}
    return {name: replace(known[name], said=said[name]) for name in PLACE}
