"""Chapter 14: the report."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator
from scipy import stats
from scipy.integrate import quad

from hvae_tutorial.exercises._cases import Case, log_uniform, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise

# --- 14.1 ------------------------------------------------------------------------------------------------------------


def against_paper(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    """How far our runs lie from a published mean, and how often chance alone leads as far.

    Args:
        ours: Results of our runs, at least one.
        mean: Published mean.
        deviation: Published standard deviation of single runs, positive.
        runs: How many runs the published figures are from, at least two.

    Returns:
        t, our mean minus the published one in standard errors of this difference, and the two-sided p-value by
        Student's law.
    """
    error = deviation * math.sqrt(1 / len(ours) + 1 / runs)
    t = (sum(ours) / len(ours) - mean) / error
    return t, 2 * float(stats.t.sf(abs(t), runs - 1))


def _beyond(t: float, degrees: int) -> float:
    """P(|T| > |t|) by quadrature of Student's density."""
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    inside = quad(lambda x: math.exp(constant - (degrees + 1) / 2 * math.log1p(x * x / degrees)), 0, abs(t))[0]
    return 1 - 2 * inside


def _against_paper_cases(rng: Generator) -> Iterator[Case]:
    drawn = [(int(rng.integers(1, 6)), int(rng.integers(2, 21))) for _ in range(8)]
    for count, runs in ((1, 10), (2, 10), (5, 3), *drawn):
        mean, deviation = float(rng.uniform(-150, -80)), float(log_uniform(rng, 0.05, 2))
        ours = [float(x) for x in mean + deviation * rng.normal(0.8, 1, count)]
        scaled = np.mean(ours) - mean
        t = float(scaled / math.sqrt(deviation**2 / count + deviation**2 / runs))
        yield value((ours, mean, deviation, runs), (t, _beyond(t, runs - 1)), rtol=1e-6, atol=1e-9)


def _with_error(error: float, ours: Sequence[float], mean: float, degrees: float) -> tuple[float, float]:
    t = (float(np.mean(ours)) - mean) / error
    return t, 2 * float(stats.t.sf(abs(t), degrees))


def _paper_is_exact(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    return _with_error(deviation / math.sqrt(len(ours)), ours, mean, runs - 1)


def _ours_are_exact(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    return _with_error(deviation / math.sqrt(runs), ours, mean, runs - 1)


def _single_runs(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    return _with_error(deviation, ours, mean, runs - 1)


def _normal_law(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    t, _ = against_paper(ours, mean, deviation, runs)
    return t, 2 * float(stats.norm.sf(abs(t)))


def _one_sided(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    t, p = against_paper(ours, mean, deviation, runs)
    return t, p / 2


def _all_degrees(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    t, _ = against_paper(ours, mean, deviation, runs)
    return t, 2 * float(stats.t.sf(abs(t), runs + len(ours) - 2)) if runs + len(ours) > 2 else 1.0


def _one_degree_more(ours: Sequence[float], mean: float, deviation: float, runs: int) -> tuple[float, float]:
    t, _ = against_paper(ours, mean, deviation, runs)
    return t, 2 * float(stats.t.sf(abs(t), runs))


check_against_paper = Exercise(
    id="ch14.1",
    title="Our runs against a published mean",
    topic="Comparing models",
    difficulty=2,
    importance=5,
    minutes=10,
    question="""\
A paper prints a mean and a standard deviation over `runs` runs; you have some runs of your own. Write `against_paper`,
which returns how many standard errors your mean is away, and the two-sided p-value by Student's law. The spread is the
paper's alone, as it may be that you have one run only.""",
    solution=against_paper,
    explanation="""\
The difference of two means of $k$ and $n$ runs has the variance $\\sigma^2(1/k + 1/n)$. The paper's deviation estimates
$\\sigma$ from $n$ runs, so $t$ has Student's law with $n - 1$ degrees of freedom. With one run of ours and ten of
theirs a cell within two of their standard deviations is within 1.9 standard errors.""",
    hints=(
        "Both means are uncertain: add their variances, `deviation**2 / k` and `deviation**2 / runs`.",
        "`t = (mean of ours - mean) / (deviation * sqrt(1 / k + 1 / runs))`.",
        "The p-value is `2 * scipy.stats.t.sf(abs(t), runs - 1)`.",
    ),
    cases=_against_paper_cases,
    checked="1 to 5 runs against 2 to 20, p-values against quadrature of Student's density",
    mistakes=(
        Mistake(_paper_is_exact, "the published mean is taken as exact: it is a mean of a few runs, too."),
        Mistake(_ours_are_exact, "our own mean is taken as exact: it is a mean of a few runs, too."),
        Mistake(_single_runs, "this is the distance in standard deviations of a single run, not in standard errors."),
        Mistake(
            _normal_law, "the p-value is that of the normal law: the deviation is an estimate, take Student's law."
        ),
        Mistake(_one_sided, "the p-value is one-sided: a difference could have gone either way."),
        Mistake(_all_degrees, "the degrees of freedom count our runs, but they do not enter the standard deviation."),
        Mistake(_one_degree_more, "n degrees of freedom: the mean has used up one, n - 1 are left."),
    ),
)

# --- 14.2 ------------------------------------------------------------------------------------------------------------


def leaning(differences: Sequence[float]) -> float:
    """How often fair coins lean to one side at least as far as these differences.

    Args:
        differences: Ours minus the paper's, one a cell, none of them zero, from 1 to 200.

    Returns:
        Two-sided p-value of the sign test: the probability that among as many fair coins the side that comes up more
        often comes up at least as often as the commoner sign here.
    """
    n = len(differences)
    positive = sum(difference > 0 for difference in differences)
    most = max(positive, n - positive)
    tail = sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n
    return min(1.0, 2 * tail)


def _count_worlds(n: int, most: int) -> float:
    """The share of all 2^n worlds of signs that lean as far, by looking at each."""
    worlds = itertools.product((0, 1), repeat=n)
    return sum(max(sum(world), n - sum(world)) >= most for world in worlds) / 2**n


def _leaning_cases(rng: Generator) -> Iterator[Case]:
    for n in (6, 1, 2, 4, *(int(k) for k in rng.integers(3, 13, 6))):
        signs = np.where(rng.random(n) < 0.8, 1.0, -1.0)
        if n == 6:
            signs = np.ones(6)
        if n in (2, 4):
            signs = np.array([1.0, -1.0, -1.0, -1.0][:n])
        most = int(max((signs > 0).sum(), (signs < 0).sum()))
        differences = [float(x) for x in signs * log_uniform(rng, 0.01, 5, n)]
        yield value((differences,), _count_worlds(n, most), rtol=1e-9)


def _point(differences: Sequence[float]) -> float:
    n, positive = len(differences), sum(difference > 0 for difference in differences)
    return min(1.0, 2 * math.comb(n, positive) / 2**n)


def _one_side(differences: Sequence[float]) -> float:
    n, positive = len(differences), sum(difference > 0 for difference in differences)
    return sum(math.comb(n, k) for k in range(max(positive, n - positive), n + 1)) / 2**n


def _uncapped(differences: Sequence[float]) -> float:
    return 2 * _one_side(differences)


def _strictly_more(differences: Sequence[float]) -> float:
    n, positive = len(differences), sum(difference > 0 for difference in differences)
    return 2 * sum(math.comb(n, k) for k in range(max(positive, n - positive) + 1, n + 1)) / 2**n


def _upwards(differences: Sequence[float]) -> float:
    n, positive = len(differences), sum(difference > 0 for difference in differences)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(positive, n + 1)) / 2**n)


check_leaning = Exercise(
    id="ch14.2",
    title="Do the differences lean?",
    topic="Comparing models",
    difficulty=2,
    importance=4,
    minutes=10,
    question="""\
The first six KL values of ours that we had were all above the paper's. Write `leaning`, the sign test: if each
difference were as likely to fall on either side, how often would they lean at least as far, to whichever side? What
does it say of six out of six, and which assumption of the test would you doubt here?""",
    solution=leaning,
    explanation="""\
Among $2^n$ equally likely worlds count those whose commoner sign comes up at least as often: twice the upper tail of
the binomial law, and 1 where the two tails meet. Six of six: $2/64 = 0.031$. Doubt independence: the six models share
the binarisation of the test images and the split, so one cause can push all of them.""",
    hints=(
        "Only the signs count: how many are positive, and how many negative? Take the larger number, `most`.",
        "`sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n` is one tail; there are two, of the same size.",
        "With as many plus as minus the two tails overlap: a probability is never above 1.",
    ),
    cases=_leaning_cases,
    checked="1 to 12 differences, against a count of all worlds of signs",
    mistakes=(
        Mistake(_point, "this is the probability of exactly as many: worlds that lean further count, too."),
        Mistake(_one_side, "one tail only: they could have leaned to the other side as well."),
        Mistake(_uncapped, "with as many of each sign the tails overlap, and the sum passes 1: cap it."),
        Mistake(_strictly_more, "worlds that lean exactly as far count, too: begin the sum at the count itself."),
        Mistake(_upwards, "only the positive signs were counted: differences may lean downwards, too."),
    ),
)

# --- 14.3 ------------------------------------------------------------------------------------------------------------


def likelihood_shift(d: int) -> float:
    """What a wrong constant in log p(z) does to the log-likelihood of every image.

    Args:
        d: Dimension of the sphere S^d, which lies in m = d + 1 coordinates; from 1 to 200.

    Returns:
        log Gamma(m/2) - m/2 log(2 pi), taken for the log density of the uniform law, minus the right one, in nats.
    """
    m = d + 1
    wrong = math.lgamma(m / 2) - m / 2 * math.log(2 * math.pi)
    right = math.lgamma(m / 2) - math.log(2) - m / 2 * math.log(math.pi)
    return wrong - right


def _log_area(m: int) -> float:
    """Log S_m from the circle upwards: S_(k+1) is S_k times the integral of sin^(k-1) over (0, pi), by quadrature."""
    total = math.log(2 * math.pi)
    for k in range(2, m):
        total += math.log(quad(lambda t, k=k: math.sin(t) ** (k - 1), 0, math.pi, epsabs=0, epsrel=1e-12)[0])
    return total


def _likelihood_shift_cases(rng: Generator) -> Iterator[Case]:
    for d in (2, 1, 5, 10, 20, 40, *(int(k) for k in rng.integers(3, 100, 3))):
        m = d + 1
        truth = math.lgamma(m / 2) - m / 2 * math.log(2 * math.pi) + _log_area(m)
        yield value((d,), truth, rtol=1e-7, atol=1e-9)


check_likelihood_shift = Exercise(
    id="ch14.3",
    title="A constant without a gradient",
    topic="Likelihood",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
A program takes $\\log\\Gamma(\\frac m2) - \\frac m2\\log(2\\pi)$ for the log density of the uniform law on the sphere.
Write `likelihood_shift`: by how many nats does this move the log-likelihood of every image? With it in hand, what would
Table 1 say at $d = 10$?""",
    solution=likelihood_shift,
    explanation="""\
The right constant is $\\log\\Gamma(\\frac m2) - \\log 2 - \\frac m2\\log\\pi$. The difference is $(1 - \\frac
m2)\\log 2$: nothing on the circle, $-3.1$ nats at $d = 10$, where the paper's S-VAE leads by less than one nat, and
$-13.5$ at $d = 40$. A constant has no gradient, so training goes on as if nothing were wrong.""",
    hints=(
        "The area of the sphere in m coordinates is `2 * pi**(m/2) / Gamma(m/2)`; the density is one over it.",
        "Subtract the two logarithms: the Gamma functions cancel. And m is d + 1.",
        "`(1 - m / 2) * log(2)`.",
    ),
    cases=_likelihood_shift_cases,
    checked="d from 1 to 99, against the area from repeated quadrature",
    mistakes=(
        Mistake(
            lambda d: (1 - d / 2) * math.log(2), "d has been taken for m: the sphere S^d lies in d + 1 coordinates."
        ),
        Mistake(
            lambda d: ((d + 1) / 2 - 1) * math.log(2), "the sign is turned around: asked is the wrong minus the right."
        ),
        Mistake(lambda d: -(d + 1) / 2 * math.log(2), "the 2 in 2 pi^(m/2) / Gamma(m/2) is missing."),
        Mistake(
            lambda d: math.lgamma((d + 1) / 2) - (d + 1) / 2 * math.log(2 * math.pi),
            "this is the wrong constant itself; asked is how far it is from the right one.",
        ),
    ),
)
