"""What JAX and Keras log of what they get over by themselves is not shown."""

import logging

import pytest

pytest.importorskip("jax")
from transferkit.compute import jax as engine  # noqa: F401  # which is what adds the filter


def test_attention_that_falls_back_says_nothing_and_all_else_is_said(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("absl")
    logger.addHandler(caplog.handler)
    try:
        logger.error("Failed to apply cudnn implementation of jax.nn.dot_product_attention.")
        logger.error("something else")
    finally:
        logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"something else"}
