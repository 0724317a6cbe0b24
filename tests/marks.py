"""Marks that several rooms' tests share."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def extended(values: Iterable[Any], those: Collection[Any], spread: bool = False) -> list[Any]:
    """`values` as parameters of a test, `those` among them marked `extended`: run in CI and when asked for.

    With `spread` a value is a tuple, for a test that has a parameter for each of its entries.
    """
    marked = []
    for value in values:
        marks = [pytest.mark.extended] if value in those else []
        marked.append(pytest.param(*(value if spread else (value,)), marks=marks))
    return marked


# For tests on real clusters of Ray, which opens its log files and pipes and leaves their closing to the end of the
# process. The fixture `parted` of `conftest` lets no connection go on to the next test.
RAY = [
    pytest.mark.extended,
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.usefixtures("parted"),
    pytest.mark.filterwarnings("ignore:unclosed file.*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray.*"),
]
