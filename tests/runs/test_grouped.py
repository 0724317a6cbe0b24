"""A run on pictures that belong together: what it says counts groups from the choice to the comparison."""

import csv

import numpy as np
import pytest

import transferkit as tk
from transferkit.evaluation.intervals import wilson
from transferkit.runs.layout import Layout
from transferkit.runs.pictures import groups_at

pytestmark = [pytest.mark.extended, pytest.mark.usefixtures("unpublished")]


@pytest.fixture(scope="module")
def runs(digits, tmp_path_factory):
    """Two runs on the same split of digits, five of one class a group."""
    folder = tmp_path_factory.mktemp("grouped")
    with open(folder / "table.csv", "w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(("path", "label", "patient"))
        for number, path in enumerate(sorted(digits.glob("*/*.png"))):
            rows.writerow((path, path.parent.name, f"patient {number // 5}"))
    options = {"backbone": "mini", "group_column": "patient", "quiet": True, "offline": True}
    return [tk.finetune(folder / "table.csv", output=folder / name, seed=3, **options, **more)
            for name, more in (("chosen", {}), ("trained", {"head": "linear", "epochs": 1}))]  # fmt: skip


def test_ranges_are_those_of_the_groups(runs):
    test = runs[0].metrics["test"]
    assert test["groups_drawn"] == test["groups"] < test["n"] / 2
    low, high = test["accuracy_ci95"]
    first, last = wilson(round(test["accuracy"] * test["n"]), test["n"])
    assert high - low > last - first
    probe = runs[0].metrics["baselines"]["linear_probe"]
    assert probe["accuracy_ci95"]
    assert 0 < probe["against"]["accuracy"]["p"] <= 1


def test_runs_are_compared_by_groups(runs):
    found = tk.compare(*(run.folder for run in runs))
    assert "p_mcnemar" not in found.pairs[0]
    groups = runs[0].metrics["test"]["groups"]
    assert f"test pictures of {groups} groups, which are drawn:" in str(found)
    layout = Layout(runs[0].folder)
    codes = groups_at(layout, layout.read_predictions().paths)
    assert len(np.unique(codes)) == groups
