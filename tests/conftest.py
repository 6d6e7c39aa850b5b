"""Settings and fixtures shared by the whole suite, and how it is spread over processes."""

from collections import Counter
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


def portion(nodeid: str) -> str:
    """What one process does of the suite at a time: a file, whose tests share fixtures.

    But the tests of the site are one portion, so that the site is built once, and each chapter is one.
    """
    file = nodeid.partition("::")[0]
    if file.startswith("tests/site/"):
        return "tests/site"
    return nodeid if file == "tests/chapters/test_execution.py" else file


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort portions with slow tests to the front: at the end of a run no process waits long for another's last one."""
    if not hasattr(config, "workerinput"):
        return  # one process
    slow = Counter(portion(item.nodeid) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: slow[portion(item.nodeid)], reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """With `--dist loadfile`, hand out portions in the order above: with --no-loadscope-reorder."""
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class PortionScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return portion(nodeid)

    return PortionScheduling(config, log)
