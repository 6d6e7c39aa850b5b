"""The law of w by quadrature, in NumPy alone: what the checkers compare with.

The density of the angle t between z and mu is proportional to exp(kappa cos t) sin(t)^(m-2). Gauss-Legendre's rule is
put on the window around its peak outside of which less than 1e-15 of it lies; everything is computed relative to the
peak, so nothing overflows. The tests compare with mpmath.
"""

import math

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


def angles(kappa: float, m: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return angles, the logarithms of exp(kappa cos t) sin(t)^(m-2) times the rule's weights, and the window's end."""
    peak = math.acos(2 * kappa / (m - 2 + math.hypot(m - 2, 2 * kappa))) if m > 2 else 0.0
    curvature = kappa * math.cos(peak) + ((m - 2) / math.sin(peak) ** 2 if m > 2 else 0.0)
    width = 13 / math.sqrt(curvature) if curvature > 0 else math.pi
    low, high = max(0.0, peak - width), min(math.pi, peak + width)
    t = low + (high - low) * (_NODES + 1) / 2
    logs = kappa * np.cos(t) + (m - 2) * np.log(np.sin(t)) + np.log(_WEIGHTS * (high - low) / 2)
    return t, logs, high


def law(kappa: float, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points w and probabilities: expectations under the law of w are sums."""
    t, logs, _ = angles(kappa, m)
    p = np.exp(logs - logs.max())
    return np.cos(t), p / p.sum()


def log_partition(kappa: float, m: int) -> float:
    """Return phi = log E exp(kappa w) over uniform points."""
    _, logs, _ = angles(kappa, m)
    area = math.lgamma((m - 1) / 2) + math.log(math.pi) / 2 - math.lgamma(m / 2)  # of sin^(m-2) over (0, pi)
    return float(logs.max() + np.log(np.exp(logs - logs.max()).sum()) - area)


def mean(kappa: float, m: int) -> float:
    """Return A = E w."""
    w, p = law(kappa, m)
    return float(w @ p)


def variance(kappa: float, m: int) -> float:
    """Return A' = Var w."""
    w, p = law(kappa, m)
    return float((w - w @ p) ** 2 @ p)


def cdf(w: np.ndarray, kappa: float, m: int) -> np.ndarray:
    """Return the distribution function of w, to about 1e-7, by Simpson's rule on a fine grid of angles."""
    _, _, high = angles(kappa, m)
    grid = np.linspace(0, high, 20_001)
    with np.errstate(divide="ignore"):
        logs = kappa * (np.cos(grid) - 1) + (np.zeros_like(grid) if m == 2 else (m - 2) * np.log(np.sin(grid)))
    f = np.exp(logs - logs.max())
    middle = (grid[1:] + grid[:-1]) / 2
    logs_middle = kappa * (np.cos(middle) - 1) + (m - 2) * np.log(np.sin(middle))
    pieces = f[1:] + f[:-1] + 4 * np.exp(logs_middle - logs.max())
    below = np.concatenate([[0.0], np.cumsum(pieces)])  # of the angle
    return 1 - np.interp(np.arccos(np.clip(w, -1, 1)), grid, below / below[-1])


def quantile(u: np.ndarray, kappa: float, m: int) -> np.ndarray:
    """Return values of w whose distribution function is about u (to 1e-4): places to ask at, not a reference."""
    w = np.cos(np.linspace(math.pi, 0, 20_001)) if kappa < 20 else 1 - np.geomspace(2, 1e-4 / kappa, 20_001)
    return np.interp(u, cdf(w, kappa, m), w)


def zoom_constant(kappa: float, m: int) -> float:
    """Return Wood's x0."""
    return 2 * kappa / (m - 1 + math.hypot(m - 1, 2 * kappa))
