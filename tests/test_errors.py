"""One family of errors."""

from __future__ import annotations

import pytest

from transferkit import errors


@pytest.mark.parametrize(
    ("kind", "builtin", "code"),
    [
        (errors.ConfigError, ValueError, 2),
        (errors.DataError, ValueError, 2),
        (errors.BackboneError, ValueError, 2),
        (errors.WeightsError, OSError, 2),
        (errors.RunError, OSError, 2),
        (errors.StorageError, OSError, 1),
        (errors.TrainingError, RuntimeError, 1),
    ],
)
def test_each_error_is_also_a_builtin_one(kind: type[errors.TransferKitError], builtin: type, code: int) -> None:
    error = kind("what is wrong")
    assert isinstance(error, errors.TransferKitError)
    assert isinstance(error, builtin)
    assert (str(error), error.exit_code) == ("what is wrong", code)


def test_problems_are_raised_together_and_once() -> None:
    errors.raise_problems(errors.DataError, [])
    with pytest.raises(errors.DataError, match=r"^one$"):
        errors.raise_problems(errors.DataError, ["one", "one"])
    with pytest.raises(errors.DataError, match=r"^2 problems:\n  - one\n  - two$"):
        errors.raise_problems(errors.DataError, ["one", "two"])


def test_nearest_names() -> None:
    assert errors.nearest("VGG61", ["vgg16", "resnet50"]) == "; nearest: 'vgg16'"
    assert errors.nearest("zzz", ["vgg16"]) == ""
    assert errors.nearest(5, ["vgg16"]) == ""  # type: ignore[arg-type]
