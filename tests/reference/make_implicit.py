"""Reference values of the implicit reparameterisation derivative dw/dkappa, to 30 digits, with mpmath.

    python tests/reference/make_implicit.py         # writes implicit.csv beside this file

w = mu . z has the density f(w) ~ exp(kappa w) (1 - w^2)^((m-3)/2). A draw with a fixed value of its distribution
function moves with kappa at the rate (Figurnov, Mohamed and Mnih 2018)

    dw/dkappa = (1/f(w)) int_w^1 (t - A) f(t) dt = (1/f(w)) int_{-1}^w (A - t) f(t) dt,        A = E[w].

In the angle theta = arccos w, which removes the end-point singularity at m = 2, and with y = 1 - w = 2 sin^2(theta/2):

    int_w^1 (t - A) f(t) dt ~ int_0^theta ((1 - A) - 2 sin^2(s/2)) exp(-2 kappa sin^2(s/2)) sin(s)^(m-2) ds.

Both sides are integrated (Gauss-Legendre in panels), with A from its continued fraction, so
that their agreement, which is demanded to 30 digits, checks the quadrature as well as A. For m = 3 the distribution
function has the inverse y = -log1p((1-u) expm1(-2 kappa)) / kappa, and dw/dkappa is checked against its derivative.

Column y is an exact float64, close to the quantile `level` of y (hence 1 - level of w).
"""

import csv
import math
from itertools import pairwise
from pathlib import Path

import mpmath
import numpy as np
from make_special import by_recurrence
from mpmath import mp, mpf

DIMENSIONS = (2, 3, 5, 10, 20, 41, 128, 1024)
CONCENTRATIONS = (1e-2, 1.0, 10.0, 100.0, 1e3, 1e5)
LEVELS = (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999)

DIGITS = 30
NEGLIGIBLE = 140  # nats below the peak: e^-140 < 1e-60


def log_density(theta: np.ndarray, kappa: float, m: int) -> np.ndarray:
    """Log density of theta, less a constant, in float64."""
    return -2 * kappa * np.sin(theta / 2) ** 2 + (m - 2) * np.log(np.maximum(np.sin(theta), 1e-300))


def support(kappa: float, m: int) -> tuple[float, float]:
    """Range of theta outside which the density is negligible."""
    theta = np.concatenate([np.geomspace(1e-9, 1e-2, 20_000), np.linspace(1e-2, math.pi, 100_000)])
    logs = log_density(theta, kappa, m)
    inside = np.flatnonzero(logs > logs.max() - NEGLIGIBLE)
    low, high = inside[0], inside[-1]
    return (0.0 if low == 0 else theta[low - 1]), (math.pi if high >= len(theta) - 2 else theta[high + 1])


def quantiles(kappa: float, m: int) -> list[float]:
    """y = 1 - w at LEVELS, about as exact as a fine trapezoidal rule: any y near the quantile will do."""
    theta = np.linspace(*support(kappa, m), 400_001)
    density = np.exp(log_density(theta, kappa, m) - log_density(theta, kappa, m).max())
    cumulative = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return (2 * np.sin(np.interp(LEVELS, cumulative / cumulative[-1], theta) / 2) ** 2).tolist()


def derivatives(ys: list[float], kappa: float, m: int) -> list[mpf]:
    """dw/dkappa at every y, from panels between consecutive y."""
    k, complement = mpf(kappa), 1 - by_recurrence(kappa, m)[1]
    low, high = support(kappa, m)
    angles = [2 * mp.asin(mp.sqrt(mpf(y) / 2)) for y in ys]
    middle = angles[len(angles) // 2]

    def density(s: mpf) -> mpf:  # relative to that at the median: mpmath's quadrature has an absolute tolerance
        y, y0 = 2 * mp.sin(s / 2) ** 2, 2 * mp.sin(middle / 2) ** 2
        return mp.exp(k * (y0 - y)) * (mp.sin(s) / mp.sin(middle)) ** (m - 2)

    def integrand(s: mpf) -> mpf:  # in units of 1/kappa
        return k * (complement - 2 * mp.sin(s / 2) ** 2) * density(s)

    knots = [mpf(low), *angles, mp.pi if high == math.pi else mpf(high)]
    width = (angles[6] - angles[2]) / 2  # about one and a quarter standard deviations
    panels = [
        mp.quad(integrand, mp.linspace(a, b, 2 + int((b - a) / width)), method="gauss-legendre")
        for a, b in pairwise(knots)
    ]
    found = []
    for i, (y, theta) in enumerate(zip(ys, angles, strict=True), start=1):
        upper, lower = mp.fsum(panels[:i]), -mp.fsum(panels[i:])
        if abs(upper - lower) > mpf(10) ** -DIGITS * abs(upper):
            raise ArithmeticError(f"m={m}, kappa={kappa}, y={y}: {mp.nstr(upper, 40)} against {mp.nstr(lower, 40)}")
        value = upper / k * mp.sin(theta) / density(theta)  # f(w) dw = density(theta) dtheta
        if m == 3:
            check_closed_form(value, mpf(y), k)
        found.append(value)
    return found


def check_closed_form(value: mpf, y: mpf, k: mpf) -> None:
    """Compare with -dy/dkappa of y = -log1p(v expm1(-2 kappa)) / kappa at constant v."""
    v = mpmath.expm1(-k * y) / mpmath.expm1(-2 * k)
    exact = y / k - 2 * v * mp.exp(-2 * k) / (k * (1 + v * mpmath.expm1(-2 * k)))
    if abs(value - exact) > mpf(10) ** -DIGITS * abs(exact):
        raise ArithmeticError(f"m=3, kappa={k}, y={y}: {mp.nstr(value, 40)} against {mp.nstr(exact, 40)}")


def main() -> None:
    """Writes implicit.csv."""
    with Path(__file__).with_name("implicit.csv").open("w", newline="") as file, mp.workdps(70):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("m", "kappa", "level", "y", "dw_dkappa"))
        for m in DIMENSIONS:
            for kappa in CONCENTRATIONS:
                ys = quantiles(kappa, m)
                for level, y, value in zip(LEVELS, ys, derivatives(ys, kappa, m), strict=True):
                    writer.writerow((m, repr(kappa), level, repr(y), mp.nstr(value, 30)))


if __name__ == "__main__":
    main()
