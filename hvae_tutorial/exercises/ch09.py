"""Chapter 9: the table."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import chi2, nct, norm, ttest_ind
from scipy.stats import t as student
from torch import Tensor

from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, log_uniform, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.experiments import results
from hvae_tutorial.special import kl_to_uniform

# --- 9.1 -------------------------------------------------------------------------------------------------------------


def welch(a: Tensor, b: Tensor) -> tuple[float, float, float]:
    """Welch's test for equal means of two samples.

    Args:
        a: The runs of one model, shape (n_a,), float64, at least two, not all equal.
        b: The runs of another, shape (n_b,), likewise.

    Returns:
        The statistic t, positive if a has the larger mean; the degrees of freedom nu; and the two-sided p-value.
    """
    V_a, V_b = float(a.var()) / len(a), float(b.var()) / len(b)
    t = float(a.mean() - b.mean()) / math.sqrt(V_a + V_b)
    nu = (V_a + V_b) ** 2 / (V_a**2 / (len(a) - 1) + V_b**2 / (len(b) - 1))
    return t, nu, 2 * float(student.sf(abs(t), nu))


def _welch(
    a: Tensor,
    b: Tensor,
    *,
    correction: int = 1,
    squared: Callable[[float, float, int, int], float] = lambda va, vb, n_a, n_b: va / n_a + vb / n_b,
    freedom: Callable[[float, float, int, int], float] | None = None,
    p_value: Callable[[float, float], float] = lambda t, nu: 2 * float(student.sf(abs(t), nu)),
) -> tuple[float, float, float]:
    """Variants of the solution."""
    va, vb = (float(x.var(correction=correction)) for x in (a, b))
    n_a, n_b = len(a), len(b)
    V_a, V_b = va / n_a, vb / n_b
    right = (V_a + V_b) ** 2 / (V_a**2 / (n_a - 1) + V_b**2 / (n_b - 1))
    t = float(a.mean() - b.mean()) / math.sqrt(squared(va, vb, n_a, n_b))
    nu = right if freedom is None else freedom(va, vb, n_a, n_b)
    return t, nu, p_value(t, nu)


def _pooled(va: float, vb: float, n_a: int, n_b: int) -> float:
    return ((n_a - 1) * va + (n_b - 1) * vb) / (n_a + n_b - 2) * (1 / n_a + 1 / n_b)


def _welch_cases(rng: Generator) -> Iterator[Case]:
    sizes = [(5, 5), (3, 10), (2, 4), *((int(rng.integers(2, 15)), int(rng.integers(2, 15))) for _ in range(6))]
    for number, (n_a, n_b) in enumerate(sizes):
        shift, spread = (0.5, 1.0) if number == 0 else (rng.normal(0, 2), log_uniform(rng, 0.2, 5))
        a, b = shift - 100 + spread * rng.standard_normal(n_a), rng.standard_normal(n_b) - 100
        found = ttest_ind(a, b, equal_var=False)
        truth = (float(found.statistic), _degrees(a, b), float(found.pvalue))
        yield value((torch.from_numpy(a), torch.from_numpy(b)), truth, rtol=1e-8, atol=1e-14)


def _degrees(a: np.ndarray, b: np.ndarray) -> float:
    """Return nu from the shares c and 1 - c of the two models in V: 1/nu is a mean of 1/(n-1) with weights c^2."""
    first, second = (sum((v - x.sum() / len(x)) ** 2 for v in x) / (len(x) - 1) / len(x) for x in (a, b))
    c = first / (first + second)
    return float(1 / (c**2 / (len(a) - 1) + (1 - c) ** 2 / (len(b) - 1)))


check_welch = Exercise(
    id="ch09.1",
    title="Welch's test by hand",
    topic="Comparing models",
    difficulty=2,
    importance=4,
    minutes=10,
    question="""\
Write `welch`, which takes the runs of two models and returns the statistic $t$, the degrees of freedom $\\nu$ and the
two-sided p-value. SciPy's `student.sf(t, nu)` is $P(T > t)$ under Student's law. Then try $n_a = 3$ against
$n_b = 10$: for which spreads is $\\nu$ nearly 2, and for which nearly 11?""",
    solution=welch,
    explanation="""\
$V = s_a^2/n_a + s_b^2/n_b$ estimates the variance of the difference of the means; $\\nu$ is chosen so that a mean of
$\\nu$ squared normals has the relative variance of $V$. If nearly all of $V$ comes from $a$, then $\\nu$ is $n_a - 1$.
It is largest, $n_a + n_b - 2$, where the terms are as their numbers of degrees of freedom:
$s_a^2/n_a : s_b^2/n_b = (n_a - 1) : (n_b - 1)$.""",
    hints=(
        "Three numbers from each sample: mean, variance with n - 1 in the denominator (`x.var()`), and length.",
        "`V_a = a.var() / len(a)`, likewise V_b; `t = (a.mean() - b.mean()) / sqrt(V_a + V_b)`.",
        "`nu = (V_a + V_b)**2 / (V_a**2 / (len(a) - 1) + V_b**2 / (len(b) - 1))`, `p = 2 * student.sf(abs(t), nu)`.",
    ),
    cases=_welch_cases,
    checked="2 to 14 runs, equal and unequal spreads, against SciPy's ttest_ind and a second formula for nu",
    mistakes=(
        Mistake(
            lambda a, b: _welch(a, b, squared=_pooled, freedom=lambda va, vb, n_a, n_b: n_a + n_b - 2),
            "this is Student's test: it pools the variances, which is right only if both models have one spread.",
        ),
        Mistake(
            lambda a, b: _welch(a, b, correction=0),
            "the variance is divided by n, should be by n - 1: NumPy's var() has ddof=0 unless told otherwise.",
        ),
        Mistake(
            lambda a, b: _welch(a, b, squared=lambda va, vb, n_a, n_b: va + vb),
            "the variances are not divided by the number of runs: V is the variance of the means.",
        ),
        Mistake(
            lambda a, b: _welch(a, b, freedom=lambda va, vb, n_a, n_b: n_a + n_b - 2),
            "t is right, but n_a + n_b - 2 are the degrees of freedom of Student's test, with pooled variances.",
        ),
        Mistake(
            lambda a, b: _welch(a, b, p_value=lambda t, nu: float(student.sf(abs(t), nu))),
            "t and nu are right; p has one tail only: differences of both signs count, so double it.",
        ),
        Mistake(
            lambda a, b: _welch(a, b, p_value=lambda t, nu: 2 * float(student.sf(t, nu))),
            "t and nu are right; for negative t the p-value exceeds 1: use the absolute value of t.",
        ),
        Mistake(
            lambda a, b: _welch(a, b, p_value=lambda t, nu: 2 * float(norm.sf(abs(t)))),
            "t and nu are right, but p is that of a normal law: the spread is only estimated, so t follows Student's.",
        ),
    ),
    replaces=(results.welch_p_value,),
)

# --- 9.2 -------------------------------------------------------------------------------------------------------------


def peak(kappa: float) -> tuple[int, float]:
    """The number of coordinates at which a given concentration says most.

    Args:
        kappa: Concentration, from 3 to 120.

    Returns:
        The integer m >= 2 at which KL(vMF(mu, kappa) || uniform) is largest, and the divergence there, in nats.
    """
    m, nats = 1, -math.inf
    while True:
        following = kl_to_uniform(torch.tensor(kappa, dtype=torch.float64), m + 1).item()
        if following < nats:
            return m, nats
        m, nats = m + 1, following


def _kl(kappa: float, m: int) -> float:
    """The divergence by quadrature."""
    return kappa * _reference.mean(kappa, m) - _reference.log_partition(kappa, m)


def _highest(curve: Callable[[int], float], start: int = 2) -> int:
    """Climb from a start to the top of a curve over integers that rises and then falls."""
    m = start
    while curve(m + 1) > curve(m):
        m += 1
    while m > 2 and curve(m - 1) > curve(m):
        m -= 1
    return m


def _peak_cases(rng: Generator) -> Iterator[Case]:
    # at 40 and 120 the peak is at 31 and 92, which 0.762 kappa, rounded, misses by one
    for kappa in (10.0, 120.0, 3.0, 40.0, 100.0, *(float(k) for k in log_uniform(rng, 3, 80, 2))):
        m = _highest(partial(_kl, kappa), start=max(2, round(0.7 * kappa)))
        yield value((kappa,), (m, _kl(kappa, m)), rtol=1e-7)


def _log_area(m: int) -> float:
    return math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2)


def _sharp(kappa: float, m: int) -> float:
    """The formula for kappa far above m."""
    return (m - 1) / 2 * math.log(kappa / (2 * math.pi * math.e)) + _log_area(m)


def _sharp_peak(kappa: float) -> tuple[int, float]:
    m = _highest(lambda i: _sharp(kappa, i))
    return m, _sharp(kappa, m)


def _exactly(kappa: float, m: int) -> float:
    return kl_to_uniform(torch.tensor(kappa, dtype=torch.float64), m).item()


def _exact_peak(kappa: float) -> int:
    return _highest(lambda i: _exactly(kappa, i), start=max(2, round(0.7 * kappa)))


check_peak = Exercise(
    id="ch09.2",
    title="The exact peak",
    topic="Divergences",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
At a given $\\kappa$ more coordinates first make the divergence from the uniform law larger, and then smaller. Write
`peak`, which returns the $m$ at which it is largest, and the divergence there. `kl_to_uniform` of the library may be
used. Then plot $m/\\kappa$ and $\\mathrm{KL}/\\kappa$ at the peak against $\\kappa$.""",
    solution=peak,
    explanation="""\
The divergence rises and then falls in $m$, so it is enough to climb until the next is smaller. For large
$\\kappa$ the chapter's $\\frac m2\\log\\frac{1+g}2$, with $g = \\sqrt{1 + 4\\kappa^2/m^2}$, is largest where
$\\log\\frac{1+g}2 = \\frac{g-1}g$: at $g = 2.81$, $m = 0.762\\,\\kappa$, with $0.245\\,\\kappa$ nats. The formula for
sharp bumps has its peak at half of that $m$, because there $\\kappa$ is no longer large against $m$.""",
    hints=(
        "Climb: start at m = 2 and go on as long as the divergence rises.",
        "`kl_to_uniform` takes kappa as a tensor: make it float64, for neighbours near the peak differ little.",
        "Keep m and its divergence; if the divergence at m + 1 is smaller, return what you keep.",
    ),
    cases=_peak_cases,
    checked="kappa from 3 to 120, against quadrature",
    mistakes=(
        Mistake(
            _sharp_peak,
            "this is the peak of the formula for kappa far above m, which does not hold there: take the exact KL.",
        ),
        Mistake(
            lambda kappa: (7, _exactly(kappa, 7)),
            "m = 7 is where the surface area is largest. The divergence has its peak elsewhere.",
        ),
        Mistake(
            lambda kappa: (_exact_peak(kappa) - 1, _exactly(kappa, _exact_peak(kappa))),
            "this is d = m - 1, the dimension of the sphere; asked for is the number of coordinates m.",
        ),
        Mistake(
            lambda kappa: (max(2, round(0.75 * kappa)), _exactly(kappa, max(2, round(0.75 * kappa)))),
            "three quarters of kappa is near the peak, not at it: search.",
        ),
        Mistake(
            lambda kappa: (max(2, round(0.762 * kappa)), _exactly(kappa, max(2, round(0.762 * kappa)))),
            "0.762 kappa, rounded, is the peak for most kappa and beside it for some: search among its neighbours.",
        ),
        Mistake(
            lambda kappa: (min(_exact_peak(kappa), 50), _exactly(kappa, min(_exact_peak(kappa), 50))),
            "your search ends at m = 50; at kappa = 100 the peak is at 76.",
        ),
        Mistake(
            lambda kappa: (_exact_peak(kappa), _exactly(kappa, _exact_peak(kappa)) / math.log(2)),
            "m is right; the divergence is in bits, should be in nats.",
        ),
    ),
)

# --- 9.3 -------------------------------------------------------------------------------------------------------------


def power(difference: float, n: int, level: float) -> float:
    """The probability that Student's two-sided t-test finds a true difference between two models.

    Both models have n runs, independent and normal with the same standard deviation, and the test knows that the
    standard deviations are equal: t = (mean a - mean b) / (s sqrt(2 / n)) with s^2 the mean of both variances.

    Args:
        difference: True difference of the means in standard deviations of a run, from 0 to 6 sqrt(2 / n).
        n: Runs of each model, from 2 to 20.
        level: The test finds a difference if p is below it; from 0.001 to 0.2.

    Returns:
        The probability of p < level, to six digits: more than a simulation gives.
    """
    nu, shift = 2 * (n - 1), difference * math.sqrt(n / 2)
    limit = student.isf(level / 2, nu)
    return float(nct.sf(limit, nu, shift) + nct.cdf(-limit, nu, shift))


def _by_quadrature(difference: float, n: int, level: float) -> float:
    """The same as an integral over s: given s, the mean difference is normal."""
    nu, shift = 2 * (n - 1), difference * math.sqrt(n / 2)
    limit = float(student.isf(level / 2, nu))
    node, weight = np.polynomial.legendre.leggauss(400)
    root = math.sqrt(chi2.isf(1e-14, nu)) / 2 * (node + 1)  # of the sum of nu squares: s times the root of nu
    s = root / math.sqrt(nu)
    found = norm.sf(limit * s - shift) + norm.cdf(-limit * s - shift)
    density = chi2.pdf(root**2, nu) * 2 * root
    return float(weight @ (found * density) / (weight @ density))


def _power(
    difference: float,
    n: int,
    level: float,
    *,
    shift: float | None = None,
    nu: int | None = None,
    tails: int = 2,
) -> float:
    """Variants of the solution."""
    freedom = 2 * (n - 1) if nu is None else nu
    moved = difference * math.sqrt(n / 2) if shift is None else shift
    limit = student.isf(level / tails, freedom)
    return float(nct.sf(limit, freedom, moved) + (nct.cdf(-limit, freedom, moved) if tails == 2 else 0.0))


def _shifted(difference: float, n: int, level: float) -> float:
    nu, shift = 2 * (n - 1), difference * math.sqrt(n / 2)
    limit = student.isf(level / 2, nu)
    return float(student.sf(limit - shift, nu) + student.cdf(-limit - shift, nu))


def _known_spread(difference: float, n: int, level: float) -> float:
    shift, limit = difference * math.sqrt(n / 2), norm.isf(level / 2)
    return float(norm.sf(limit - shift) + norm.cdf(-limit - shift))


def _power_cases(rng: Generator) -> Iterator[Case]:
    fixed = [(3.8, 3, 0.01), (0.0, 5, 0.05), (2.0, 10, 0.01), (6.0, 2, 0.05)]
    for _ in range(6):
        n = int(rng.integers(2, 20))
        fixed.append((float(rng.uniform(1, 5.5) * math.sqrt(2 / n)), n, float(log_uniform(rng, 0.002, 0.2))))
    for args in fixed:
        yield _close_is_named(value(args, _by_quadrature(*args), rtol=1e-6, atol=1e-8))


def _close_is_named(case: Case) -> Case:
    """Say of an answer that is right to a few per cent that six digits are asked for."""

    def judge(answer: Any) -> str | None:
        problem = case.judge(answer)
        if problem and isinstance(answer, float) and abs(answer - case.truth) < 0.02 + 0.02 * case.truth:
            problem += "\nclose; but six digits are asked for: take `nct`, with both tails, not a simulation"
        return problem

    return replace(case, judge=judge)


check_power = Exercise(
    id="ch09.3",
    title="What three runs can see",
    topic="Comparing models",
    difficulty=3,
    importance=4,
    minutes=20,
    question="""\
How many runs does a difference need? The chapter simulates the power of Welch's test. If both spreads are known to be
equal, Student's test may be used, and its power has a formula. Write `power`. If $Z$ is standard normal and $Y$ an
independent mean of $\\nu$ squares, $(Z + \\delta)/\\sqrt Y$ follows the *noncentral* law of $t$, SciPy's
`nct(nu, delta)`. Then compare with Figure 9.2: what does it cost not to know that the spreads are equal?""",
    solution=power,
    explanation="""\
The difference of the means has the spread $\\sigma\\sqrt{2/n}$, so in these units the true difference is
$\\delta = \\text{difference}\\cdot\\sqrt{n/2}$. $s^2$ is a mean of $2(n-1)$ squares, and $t$ noncentral. A difference
is found if $|t|$ exceeds the quantile at $1 - \\text{level}/2$. At a true difference of zero the power is the level.
At 3.8 spreads, three runs each and the level 0.01 it is 58%; Welch's test has 39%, since it has to estimate two
spreads from three runs each.""",
    hints=(
        "First the limit: which |t| gives p = level, with 2 (n - 1) degrees of freedom? `student.isf(level / 2, nu)`.",
        "Divide the difference of the means by its true spread, sqrt(2/n) standard deviations: that is delta.",
        "`nct.sf(limit, nu, delta) + nct.cdf(-limit, nu, delta)`: both tails. It is exact, as no simulation is.",
    ),
    cases=_power_cases,
    checked="differences from 0 to 6 spreads, 2 to 20 runs, levels from 0.002 to 0.2, against quadrature over s",
    mistakes=(
        Mistake(
            lambda difference, n, level: _power(difference, n, level, nu=n - 1),
            "n - 1 degrees of freedom are those of one model; s comes from both: 2 (n - 1).",
        ),
        Mistake(
            lambda difference, n, level: _power(difference, n, level, shift=difference * math.sqrt(n)),
            "the difference of two means has the variance 2/n, not 1/n: delta = difference * sqrt(n / 2).",
        ),
        Mistake(
            lambda difference, n, level: _power(difference, n, level, shift=difference),
            "delta should grow with the number of runs: the difference in units of sqrt(2/n), the spread of the means.",
        ),
        Mistake(
            lambda difference, n, level: _power(difference, n, level, tails=1),
            "the test is two-sided: half of the level belongs to each tail, so the limit is isf(level / 2).",
        ),
        Mistake(
            _shifted,
            "Student's law, shifted by delta, is not the law of t: (Z + delta) is divided by s, so delta is too. Take "
            "the noncentral law.",
        ),
        Mistake(
            _known_spread,
            "with the normal law the spread counts as known. With few runs it is not, and the power is smaller.",
        ),
        Mistake(
            lambda difference, n, level: 1 - _power(difference, n, level),
            "this is the probability to miss the difference; the power is one minus it.",
        ),
    ),
)
