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
