"""Reference values of the special functions, to at least 40 correct digits, with mpmath.

    python tests/reference/make_special.py          # writes special.csv beside this file

For the cumulant-generating function of one coordinate of a uniform point on the sphere of R^m,

    phi(k) = log 0F1(; m/2; k^2/4) = log sum_j t_j,    t_j = (k^2/4)^j / (j! (m/2)_j)        DLMF 10.25.2

the script stores phi, A = phi', 1 - A, A' = phi'', A'' = phi''', k - phi and k A - phi. Each row is computed twice, by
methods that share no formula; the two must agree to 40 digits, and so must each method at two working precisions.

`by_series` sums the positive terms t_j outwards from the largest one, and takes the derivatives from the cumulants of j
under the weights t_j: with D = k d/dk,

    D phi = 2 c1[j],    D^2 phi = 4 c2[j] = k A + k^2 A',    D^3 phi = 8 c3[j] = k A + 3 k^2 A' + k^3 A''.

`by_recurrence` runs the continued fraction of I_{v+1}/I_v backwards (Miller; DLMF 10.29.1, 10.33.1)

    a_m = m A_m / k = 1 / (1 + k^2 a_{m+2} / (m (m + 2))),

takes phi at a dimension M >= 2000 from the Debye expansion (DLMF 10.41.3, U_j from 10.41.9), carries it down with
phi_m = phi_{m+2} + log(1 + k^2 a_{m+2} / (m (m + 2))), and the derivatives from the Riccati equation
A' = 1 - A^2 - (m - 1) A / k and its derivative.

The grid holds every kappa as a float64 and, where that is another number, rounded to float32, so that a test in single
precision compares values at the very kappa that it evaluates. The rows "scatter" are off the grid: they find a bad seam
between two branches of an implementation.
"""

import csv
import math
import random
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import mpmath
import numpy as np
from mpmath import mp, mpf

COLUMNS = (
    "log_partition",
    "mean_resultant_length",
    "mean_resultant_length_complement",
    "mean_resultant_length_derivative",
    "mean_resultant_length_second_derivative",
    "kappa_minus_log_partition",
    "kl_to_uniform",
)
DIMENSIONS = (2, 3, 4, 5, 7, 10, 20, 41, 64, 128, 512, 1024, 4096, 16384)
CONCENTRATIONS = (1e-6, 1e-4, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5, 1e6)
BEYOND = (1e-10, 1e8)  # the ends of what the sampler accepts: outside the grid of the accuracy goal
SCATTER = 200

DIGITS = 40  # to which both methods and both working precisions must agree
DEBYE_TERMS = 30  # at order 999 the first term left out is below 1e-60
Values = tuple[mpf, ...]


def by_series(kappa: float, m: int) -> Values:
    """Cumulants of the power series' index, the sum taken outwards from the largest term in fixed point."""
    bits = 2 * mp.prec
    numerator, denominator = Fraction(kappa).as_integer_ratio()
    numerator, shift = numerator**2, 2 * (denominator.bit_length() - 1)  # kappa^2 = numerator / 2^shift, exactly
    order = m / 2 - 1
    peak = int((math.hypot(order, kappa) - order) / 2)

    def sweep(term: int, step: int) -> tuple[int, int, int, int]:
        """Sums of (j - peak)^n t_j / t_peak, n = 0..3, over the j on one side of the peak."""
        sums = [0, 0, 0, 0]
        j = peak
        while True:
            if step > 0:  # t_{j+1} / t_j = kappa^2 / (2 (j + 1) (m + 2 j))
                term = (term * numerator >> shift) // (2 * (j + 1) * (m + 2 * j))
            elif j == 0:
                break
            else:
                term = (term * (2 * j * (m + 2 * j - 2)) << shift) // numerator
            j += step
            if term == 0:
                break
            weighted = term
            for n in range(4):
                sums[n] += weighted
                weighted *= j - peak
        return sums[0], sums[1], sums[2], sums[3]

    one = 1 << bits
    above, below = sweep(one, +1), sweep(one, -1)
    excess, s1, s2, s3 = (mpf(a + b) / one for a, b in zip(above, below, strict=True))
    s0 = 1 + excess
    mean = s1 / s0
    c2 = s2 / s0 - mean**2
    c3 = s3 / s0 - 3 * mean * s2 / s0 + 2 * mean**3

    k, half = mpf(kappa), mpf(m) / 2
    log_peak = 2 * peak * mp.log(k / 2) - mp.loggamma(peak + 1) - mp.loggamma(half + peak) + mp.loggamma(half)
    phi = log_peak + mpmath.log1p(excess)
    first = 2 * (peak + mean) / k
    second = (4 * c2 - k * first) / k**2
    third = (8 * c3 - k * first - 3 * k**2 * second) / k**3
    return phi, first, second, third


def by_recurrence(kappa: float, m: int) -> Values:
    """Backward recurrence for A, Debye expansion for phi, Riccati equation for the derivatives."""
    k = mpf(kappa)
    top = max(m, 2000 + m % 2)  # phi starts here
    # One step in dimension n contracts an error of the ratio by A_n^2, and A_n <= k / (n/2 + k).
    start, contraction = top, 0.0
    while contraction < mp.prec:
        start += 2
        contraction += 2 * math.log2((start / 2 + kappa) / kappa)

    one = 1 << 2 * mp.prec  # fixed point: the loop is long for large kappa
    square = int(k**2 * one)
    a, factor = one, mpf(1)
    for n in range(start, m - 1, -2):
        growth = one + square * a // (one * n * (n + 2))
        a = one * one // growth
        if n < top:
            factor *= mpf(growth) / one
    first = k * (mpf(a) / one) / m
    phi = debye(k, top) + mp.log(factor)
    second = 1 - first**2 - (m - 1) * first / k
    third = -2 * first * second - (m - 1) * second / k + (m - 1) * first / k**2
    return phi, first, second, third


def debye(k: mpf, m: int) -> mpf:
    """phi by the uniform expansion of I_v(k), v = m/2 - 1, in which the large powers cancel on paper."""
    v = mpf(m) / 2 - 1
    s = mp.sqrt(v**2 + k**2)
    p = v / s
    tail = mp.fsum(mp.polyval(u[::-1], p) / v**j for j, u in enumerate(debye_polynomials(mp.prec)))
    return mp.loggamma(v + 1) - v * mp.log((v + s) / 2) + s - mp.log(2 * mp.pi * s) / 2 + mp.log(tail)


@cache
def debye_polynomials(precision: int) -> list[list[mpf]]:
    """Coefficients, upwards, of U_{j+1}(p) = p^2 (1 - p^2) U_j'(p) / 2 + (1/8) int_0^p (1 - 5 t^2) U_j(t) dt, U_0 = 1.

    They are exact fractions, rounded at the end to the working precision (in bits).
    """
    exact = [[Fraction(1)]]
    for _ in range(1, DEBYE_TERMS):
        following = [Fraction(0)] * (len(exact[-1]) + 3)
        for n, c in enumerate(exact[-1]):
            following[n + 1] += c * n / 2 + c / 8 / (n + 1)
            following[n + 3] -= c * n / 2 + 5 * c / 8 / (n + 3)
        exact.append(following)
    with mp.workprec(precision):
        return [[mpf(c.numerator) / c.denominator for c in polynomial] for polynomial in exact]


def row(kappa: float, m: int) -> Values:
    """The seven stored values, after the methods and the precisions have been compared."""

    def stored(method: Callable[[float, int], Values], dps: int) -> Values:
        with mp.workdps(dps):
            phi, first, second, third = method(kappa, m)
            k = mpf(kappa)
            return phi, first, 1 - first, second, third, k - phi, k * first - phi

    reference = stored(by_series, 160)
    for other in (stored(by_series, 120), stored(by_recurrence, 120), stored(by_recurrence, 160)):
        for name, x, y in zip(COLUMNS, reference, other, strict=True):
            if abs(x - y) > mpf(10) ** -DIGITS * abs(x):
                raise ArithmeticError(f"{name} at m={m}, kappa={kappa}: {mp.nstr(x, 45)} against {mp.nstr(y, 45)}")
    return reference


def points() -> list[tuple[str, int, float]]:
    """(set, m, kappa) of every row."""
    rows = []
    for kappa in CONCENTRATIONS + BEYOND:
        label = "beyond" if kappa in BEYOND else "grid"
        for k in sorted({kappa, float(np.float32(kappa))}):
            rows += [(label, m, k) for m in DIMENSIONS]
    rng = random.Random(0)
    for _ in range(SCATTER):
        m = round(math.exp(rng.uniform(math.log(2), math.log(16384))))
        rows.append(("scatter", m, float(np.float32(10 ** rng.uniform(-6, 6)))))
    return rows


def main() -> None:
    """Writes special.csv."""
    with Path(__file__).with_name("special.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("set", "m", "kappa", *COLUMNS))
        for label, m, kappa in points():
            writer.writerow((label, m, repr(kappa), *(mp.nstr(value, 30) for value in row(kappa, m))))


if __name__ == "__main__":
    main()
