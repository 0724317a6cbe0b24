"""Marks that several rooms' tests share."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def extended(values: Iterable[Any], those: Collection[Any]) -> list[Any]:
    """`values` as parameters of a test, `those` among them marked `extended`: run in CI and when asked for."""
    return [pytest.param(value, marks=pytest.mark.extended) if value in those else value for value in values]
