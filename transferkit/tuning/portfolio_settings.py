"""Which settings of a run `best` takes: those that bear on all networks alike. Imports nothing.

How a head is trained is not among them, since classifiers are chosen; nor are layers that are trained.
"""

from __future__ import annotations

SETTINGS = (
    "task", "classes", "split", "exclude", "exclude_file", "reader", "image_column", "label_column", "group_column",
    "split_column", "path_template", "label_delimiter", "crop_boxes", "frames", "class_level", "on_bad_file",
    "image_size", "resize", "intensity", "augment", "views", "precision", "max_latency", "max_size", "metric", "seed",
)  # fmt: skip
