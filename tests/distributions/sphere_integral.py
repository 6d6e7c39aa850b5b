"""Means over laws on the sphere about one direction, of logarithms about another, by two integrals over angles.

Gauss-Legendre rules in panels that shrink towards the singular points, without the library's code.
"""

import itertools

import mpmath
import numpy as np
from scipy.special import xlogy


class Means:
    """Means under a law about ``mu1`` at an angle to ``mu2``, all in nats.

    Attributes:
        log_density: ``E log p``, with p relative to the uniform law.
        complement: ``E (1 - mu1.z)``.
        log_other: ``E log((1 + mu2.z) / 2)``.
    """

    def __init__(self, family: str, kappa: float, m: int, angle: float) -> None:
        theta, weights = _rule(np.unique([0, angle, np.pi - angle, np.pi]), _around_the_peak(kappa, m))
        log_sine = xlogy(m - 2, np.sin(theta))
        if family == "PowerSpherical":
            log_kernel = 2 * kappa * np.log(np.cos(theta / 2))
        elif family == "SphericalCauchy":
            h = kappa / (m - 1)
            odds = h * (h + np.hypot(h, 0.5) + 0.5) / (np.hypot(h, 0.5) + 0.5)  # x0 / (1 - x0)
            log_kernel = -(m - 1) * np.log1p(2 * odds * np.sin(theta / 2) ** 2)
        else:
            log_kernel = -2 * kappa * np.sin(theta / 2) ** 2
        log_mass = np.log(weights) + log_sine + log_kernel
        log_integral = log_mass.max() + np.log(np.exp(log_mass - log_mass.max()).sum())
        mass = np.exp(log_mass - log_integral)
        kept = mass > 1e-22
        theta, mass = theta[kept], mass[kept]
        log_uniform = np.log((weights * np.exp(log_sine)).sum())
        self.log_density = float(mass @ (log_kernel[kept] - (log_integral - log_uniform)))
        self.complement = float(mass @ (2 * np.sin(theta / 2) ** 2))
        self.log_other = float(mass @ _inner_mean(theta, angle, m))
        self._law = theta, mass, angle, m

    def log_cauchy(self, odds: float) -> float:
        """``E log(1 + odds (1 - mu2.z))``."""
        theta, mass, angle, m = self._law
        return float(mass @ _inner_mean(theta, angle, m, odds))


def power_spherical_log_partition(kappa: float, m: int) -> float:
    """``log E_U ((1 + mu.z) / 2)^kappa`` to 30 digits."""
    with mpmath.workdps(30):
        half, k = mpmath.mpf(m - 1) / 2, mpmath.mpf(kappa)
        ratio = mpmath.loggamma(k + half) - mpmath.loggamma(k + 2 * half)
        return float(ratio + mpmath.loggamma(2 * half) - mpmath.loggamma(half))


def _inner_mean(theta: np.ndarray, angle: float, m: int, odds: float | None = None) -> np.ndarray:
    """Mean of ``log((1 + mu2.z) / 2)``, or of ``log(1 + odds (1 - mu2.z))``, over the points at the angle theta to mu1.

    ``(1 + mu2.z) / 2 = cos^2((theta + angle) / 2) + sin(theta) sin(angle) cos^2(t / 2)`` with t the angle between the
    tangent directions.
    """
    if odds is not None:
        if m == 2:
            near, far = (np.log1p(2 * odds * np.sin((theta + sign * angle) / 2) ** 2) for sign in (-1, 1))
            return (near + far) / 2
        t, weights = _rule(np.array([0, np.pi]), np.linspace(0, np.pi, 9))
        weights = weights * np.sin(t) ** (m - 3)
        least, most = np.sin((theta - angle) / 2) ** 2, np.sin(theta) * np.sin(angle)
        blocks = np.array_split(np.arange(len(theta)), max(1, len(theta) // 50))
        away = (least[b, None] + most[b, None] * np.sin(t / 2) ** 2 for b in blocks)
        return np.concatenate([np.log1p(2 * odds * part) @ (weights / weights.sum()) for part in away])
    if m == 2:
        return np.log(np.abs(np.cos((theta - angle) / 2))) + np.log(np.abs(np.cos((theta + angle) / 2)))
    t, weights = _rule(np.array([0, np.pi]), np.linspace(0, np.pi, 9))
    weights = weights * np.sin(t) ** (m - 3)
    least, most = np.cos((theta + angle) / 2) ** 2, np.sin(theta) * np.sin(angle)
    blocks = np.array_split(np.arange(len(theta)), max(1, len(theta) // 50))
    means = [np.log(least[b, None] + most[b, None] * np.cos(t / 2) ** 2) @ (weights / weights.sum()) for b in blocks]
    return np.concatenate(means)


def _around_the_peak(kappa: float, m: int) -> np.ndarray:
    peak = np.arctan2(np.sqrt(m - 2), np.sqrt(kappa + 1))
    return np.clip(peak + np.linspace(-12, 12, 49) / np.sqrt(kappa + m), 0, np.pi)


def _rule(singular: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, pi], in panels that halve towards the singular points from both sides."""
    knots = [singular, others, np.linspace(0, np.pi, 33)]
    for a, b in itertools.pairwise(singular):
        steps = (b - a) / 2 * 0.5 ** np.arange(45)
        knots += [a + steps, b - steps]
    edges = np.unique(np.clip(np.concatenate(knots), 0, np.pi))
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()
