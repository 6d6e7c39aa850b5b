"""One error rate for all statistical tests of this folder.

Each p-value is held against ``LEVEL``, and conftest.py sees to it that there are at most ``MOST_TESTS`` of them: the
probability that any is below its level, although every law is exact, is at most ``OVERALL`` (Bonferroni). Seeds are
fixed, so that this is the probability that a new seed or a new generator of torch's turns the suite red for no reason.
"""

import numpy as np
from scipy import stats
from scipy.special import erfc

OVERALL = 1e-3
MOST_TESTS = 4000
LEVEL = OVERALL / MOST_TESTS

performed = 0


def check_p_values(**p_values: float) -> None:
    """Fail if any of the named p-values is below ``LEVEL``."""
    global performed
    performed += len(p_values)
    rejected = {name: p for name, p in p_values.items() if not p > LEVEL}
    assert not rejected, f"p-values below {LEVEL:.1e}: {rejected}"


def mean_p_value(sample: np.ndarray, expected: float) -> float:
    """Two-sided p-value of the mean of a large sample, by the central limit theorem with the sample's own variance."""
    z = (sample.mean() - expected) / (sample.std() / np.sqrt(len(sample)))
    return float(erfc(abs(z) / np.sqrt(2)))


def kolmogorov_smirnov_p_value(sample: np.ndarray, cdf) -> float:
    """Two-sided Kolmogorov-Smirnov p-value."""
    return float(stats.kstest(sample, cdf, method="asymp").pvalue)
