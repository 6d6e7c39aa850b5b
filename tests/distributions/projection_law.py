"""The laws of ``y = 1 - mu . z`` by numerical integration, without the library's code."""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import betainc, xlogy

_NEGLIGIBLE = 60  # nats below the peak
_PANELS, _NODES = 1000, 8


class ProjectionLaw:
    """Law of the angle theta in [0, pi] with a given unimodal log density, and of ``y = 1 - cos(theta)``.

    Gauss-Legendre quadrature in panels over the range where the density matters: errors are of the order of rounding.
    """

    def __init__(self, log_density: Callable[[np.ndarray], np.ndarray]) -> None:
        low, high = _range(log_density)
        # Panels shrink towards the antipode, where the Power Spherical density is singular.
        knots = high - (high - low) * np.linspace(1, 0, _PANELS + 1) ** 3
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        half = np.diff(knots)[:, None] / 2
        theta = knots[:-1, None] + half * (1 + nodes)
        log_values = log_density(theta)
        peak = log_values.max()
        mass = half * weights * np.exp(log_values - peak)
        total = mass.sum()
        self.log_integral = float(peak + np.log(total))
        self._y = 2 * np.sin(theta / 2) ** 2
        self._mass = mass / total
        cumulative = np.concatenate([[0.0], np.cumsum(self._mass.sum(axis=1))])
        self._range = low, high
        self._cdf = CubicHermiteSpline(knots, cumulative, np.exp(log_density(knots) - peak) / total)

    def expectation(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """``E f(y)``."""
        return float((self._mass * function(self._y)).sum())

    @property
    def mean(self) -> float:
        """``E y``, the complement of the mean resultant length."""
        return self.expectation(lambda y: y)

    def central_moment(self, order: int) -> float:
        """``E (y - E y)^order``."""
        mean = self.mean
        return self.expectation(lambda y: (y - mean) ** order)

    def cdf(self, y: np.ndarray) -> np.ndarray:
        """Distribution function of y."""
        theta = 2 * np.arcsin(np.sqrt(np.clip(y / 2, 0, 1)))
        return np.clip(self._cdf(np.clip(theta, *self._range)), 0, 1)


@cache
def von_mises_fisher(kappa: float, m: int) -> ProjectionLaw:
    """Density ``exp(-kappa (1 - cos theta)) sin(theta)^(m-2)``."""
    return ProjectionLaw(lambda t: xlogy(m - 2, np.sin(t)) - 2 * kappa * np.sin(t / 2) ** 2)


@cache
def power_spherical(kappa: float, m: int) -> ProjectionLaw:
    """Density ``cos(theta / 2)^(2 kappa) sin(theta)^(m-2)``."""
    return ProjectionLaw(lambda t: xlogy(m - 2, np.sin(t)) + xlogy(2 * kappa, np.cos(t / 2)))


@cache
def spherical_cauchy(kappa: float, m: int) -> ProjectionLaw:
    """Density ``(1 - x0 cos theta)^(1-m) sin(theta)^(m-2)`` with Wood's constant x0; for kappa up to 1e3."""
    return ProjectionLaw(
        lambda t: xlogy(m - 2, np.sin(t)) - (m - 1) * np.log1p(2 * _odds(kappa, m) * np.sin(t / 2) ** 2)
    )


def spherical_cauchy_cdf(y: np.ndarray, kappa: float, m: int) -> np.ndarray:
    """Distribution function of y, for any kappa: ``y / (2 - y)`` is ``(1 - x0) / (1 + x0)`` times odds of a Beta."""
    odds = y / (2 - y) * (1 + 2 * _odds(kappa, m))
    return betainc((m - 1) / 2, (m - 1) / 2, odds / (1 + odds))


def _odds(kappa: float, m: int) -> float:
    """``x0 / (1 - x0)``."""
    h = kappa / (m - 1)
    root = np.hypot(h, 0.5) + 0.5
    return h * (h + root) / root


def _range(log_density: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Range of theta outside which the density is negligible."""
    theta = np.concatenate([np.geomspace(1e-9, 1e-2, 20_000), np.linspace(1e-2, np.pi, 20_000)[1:]])
    logs = log_density(theta)
    inside = np.flatnonzero(logs > logs.max() - _NEGLIGIBLE)
    low, high = inside[0], inside[-1]
    return (0.0 if low == 0 else theta[low - 1]), (np.pi if high >= len(theta) - 2 else theta[high + 1])
