"""What the figures show goes through text, from which another process draws them: the same, whatever the task."""

from __future__ import annotations

import numpy as np
import pytest

from tests.delivery.contents import TASKS
from transferkit.delivery.report.drawings import drawings, facts_of_test, facts_of_training, from_facts
from transferkit.runs.run_record import RatePoint


@pytest.mark.parametrize("task", TASKS)
def test_figures_of_the_text_are_those_of_the_content(task: str) -> None:
    content = TASKS[task]()
    content["kept"] = 1
    points = [RatePoint(learning_rate=10.0**-i, loss=1.0 + i) for i in range(4)]
    content["learning_rate_range"] = points, 0.01
    if task == "classify":  # as of so many classes that metrics.json lacks it
        content["confusion"] = np.eye(len(content["metrics"].classes), dtype=np.int64) * 3
    of_training, of_test = from_facts(facts_of_training(content)), from_facts(facts_of_test(content))
    found, expected = of_training | of_test, drawings(content)

    others = {"classify": {"confusion", "per_class", "reliability"}, "regress": {"regression"}}
    assert not of_training.keys() & of_test.keys()
    assert found.keys() == expected.keys() >= {"learning_rate_range"} | others.get(task, {"per_class"})
    for name, one in found.items():
        assert (one.alt, one.wide) == (expected[name].alt, expected[name].wide)
        assert one.png() == expected[name].png(), name
