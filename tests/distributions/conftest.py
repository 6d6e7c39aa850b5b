"""Fixtures of the tests of distributions."""

from collections.abc import Iterator

import error_rate
import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    """The same random numbers in every run, whichever tests are selected."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _stated_error_rate() -> Iterator[None]:
    """Hold the number of p-values to what the stated error rate was divided by."""
    yield
    assert error_rate.performed <= error_rate.MOST_TESTS
