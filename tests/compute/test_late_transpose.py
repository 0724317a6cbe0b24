"""An OpenVINO model gives the same numbers wherever its channels come to the front, and all else is left as it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from transferkit.compute import engines
from transferkit.compute.late_transpose import transpose_late

if "openvino" not in engines.installed():
    pytest.skip("OpenVINO is not installed", allow_module_level=True)
RUNTIME = engines._openvino_alone()
OPS = RUNTIME.opset13
PICTURES = np.random.default_rng(0).integers(0, 256, (1, 6, 5, 3), np.uint8)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def of(between: Callable[[Any], Any], order: tuple[int, ...] = (0, 3, 1, 2), first: int = 3) -> Any:
    """A model of pictures, their transposition, what lies between, and a convolution."""
    pictures = OPS.parameter([1, 6, 5, 3], np.uint8)
    front = OPS.transpose(pictures, np.array(order, np.int64))
    kernel = numbers(4, first, 2, 2)
    last = OPS.convolution(between(front), kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    return RUNTIME.Model([last], [pictures])


def answers(model: Any) -> np.ndarray:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.array(RUNTIME.Core().compile_model(model, "CPU", settings)([PICTURES])[0])


def floats(node: Any) -> Any:
    return OPS.convert(node, "f32")


def padded(node: Any) -> Any:
    ends = np.array([0, 0, 1, 2], np.int64)
    return OPS.pad(OPS.divide(floats(node), numbers(1, 3, 1, 1)), ends, ends, "constant", np.float32(0))


MOVED = {
    "nothing but floats": floats,
    "one number": lambda x: OPS.add(OPS.multiply(floats(x), np.float32(1 / 127.5)), np.float32(-1)),
    "numbers by channel": lambda x: OPS.subtract(OPS.multiply(floats(x), numbers(1, 3, 1, 1)), numbers(3, 1, 1)),
    "numbers by row and column": lambda x: OPS.add(OPS.multiply(floats(x), numbers(6, 1)), numbers(1, 3, 6, 5)),
    "taken from a number": lambda x: OPS.subtract(numbers(1, 3, 1, 1), floats(x)),
    "padding": padded,
    "numbers that become weights": lambda x: OPS.multiply(OPS.divide(floats(x), numbers(1, 3, 1, 1)), np.float32(0.1)),
}
LEFT = {
    "channels in another order": lambda x: OPS.gather(floats(x), np.array([2, 1, 0]), np.array(1)),
    "nothing": lambda x: OPS.relu(floats(x)),
    "what is computed twice": lambda x: OPS.add(floats(x), floats(x)),
    "numbers that are not constant": lambda x: OPS.multiply(f := floats(x), f),
}


@pytest.mark.parametrize("between", MOVED.values(), ids=MOVED)
def test_numbers_are_the_same_when_the_channels_come_to_the_front_later(between: Callable[[Any], Any]) -> None:
    plain, late = of(between), of(between)
    assert transpose_late(late, OPS)
    (pictures,) = late.get_parameters()
    readers = [port.get_node().get_type_name() for port in pictures.output(0).get_target_inputs()]
    assert "Transpose" not in readers
    np.testing.assert_array_equal(answers(late), answers(plain))


@pytest.mark.parametrize("between", LEFT.values(), ids=LEFT)
def test_what_does_not_take_each_number_by_itself_is_left(between: Callable[[Any], Any]) -> None:
    plain, late = of(between), of(between)
    assert not transpose_late(late, OPS)
    np.testing.assert_array_equal(answers(late), answers(plain))


def test_numbers_that_something_else_reads_too_are_left() -> None:
    def model() -> Any:
        pictures = OPS.parameter([1, 6, 5, 3], np.uint8)
        front = floats(OPS.transpose(pictures, np.array([0, 3, 1, 2], np.int64)))
        twice = [OPS.convolution(OPS.multiply(front, np.float32(factor)), numbers(3, 3, 1, 1), [1, 1], [0, 0], [0, 0],
                                 [1, 1]) for factor in (2, 3)]  # fmt: skip
        return RUNTIME.Model([OPS.add(*twice)], [pictures])

    plain, late = model(), model()
    assert not transpose_late(late, OPS)
    np.testing.assert_array_equal(answers(late), answers(plain))


def test_another_transposition_is_left() -> None:
    model = of(floats, (0, 1, 3, 2), first=6)
    assert not transpose_late(model, OPS)
    assert answers(model).shape == (1, 4, 2, 4)
