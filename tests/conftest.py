"""Settings and fixtures shared by the whole suite."""

from pathlib import Path

import hypothesis
import numpy as np
import pytest
from torch.distributions import Distribution

# The same examples in every run and no deadline: a red test means a changed program, not luck or a busy machine.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _validation() -> None:
    """Distributions check their arguments, whichever tests ran before: torch.compile turns that off in its process."""
    Distribution.set_default_validate_args(True)


@pytest.fixture(scope="session")
def special_reference() -> np.ndarray:
    """Rows of tests/reference/special.csv (see make_special.py) as a structured array of float64."""
    path = Path(__file__).parent / "reference" / "special.csv"
    return np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="ascii")
