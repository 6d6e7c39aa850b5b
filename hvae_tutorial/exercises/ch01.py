"""Chapter 1: why a sphere?"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.special import chdtrc

from hvae_tutorial.exercises._cases import Case, log_uniform, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise

# --- 1.1 -------------------------------------------------------------------------------------------------------------


def balance(a: float, s: float, beta: float) -> float:
    """Where a code comes to rest between the decoder's wish and the prior's pull.

    Args:
        a: Where the decoder wants the code, any number.
        s: Width of the decoder's tolerance, positive.
        beta: Weight of the KL term, not negative.

    Returns:
        The mean mu at which -(mu - a)^2 / (2 s^2) - beta mu^2 / 2 is largest, with a relative error below 1e-6.
    """
    return a / (1 + beta * s**2)


def _balance_cases(rng: Generator) -> Iterator[Case]:
    fixed = [(4.0, 1.0, 0.1), (3.0, 0.8, 0.0)]
    drawn = [(rng.uniform(-5, 5), log_uniform(rng, 0.1, 5), log_uniform(rng, 0.01, 10)) for _ in range(10)]
    for a, s, beta in (*fixed, *drawn):
        a, s, beta = float(a), float(s), float(beta)
        root = brentq(lambda mu, a=a, s=s, b=beta: -(mu - a) / s**2 - b * mu, -10, 10, xtol=1e-14)
        yield value((a, s, beta), root, rtol=1e-6, atol=1e-10)


check_balance = Exercise(
    id="ch01.1",
    title="Pull against pull",
    topic="Priors",
    difficulty=1,
    importance=3,
    minutes=2,
    question="""\
A warm-up. The decoder would like a code at $a$, with tolerance $s$, and the Gaussian prior pulls it to the origin
with weight $\\beta$. Write `balance`, which returns where the code comes to rest.""",
    solution=balance,
    explanation="""\
The slope $-(\\mu - a)/s^2 - \\beta\\mu$ is zero at $\\mu = a/(1 + \\beta s^2)$. A tight decoder (small $s$) keeps
the code at $a$; a loose one lets it fall to the origin.""",
    hints=(
        "At the best mean the derivative by mu is zero.",
        "Solve `-(mu - a) / s**2 - beta * mu = 0` for mu.",
    ),
    cases=_balance_cases,
    checked="a from -5 to 5, s from 0.1 to 5, beta from 0 to 10, against a root found by bisection",
    mistakes=(
        Mistake(lambda a, s, beta: a / (1 + s**2), "beta is not used: this is the balance at beta = 1."),
        Mistake(lambda a, s, beta: a / (1 + beta * s), "s should be squared: it is a width, and s^2 a variance."),
        Mistake(
            lambda a, s, beta: a / (1 + beta / s**2),
            "the width is upside down: the tighter the decoder (the smaller s), the nearer is the code to a.",
        ),
        Mistake(
            lambda a, s, beta: a * (1 + beta * s**2), "multiplied where it should be divided: the prior pulls inwards."
        ),
        Mistake(lambda a, s, beta: a, "this is where the decoder wants the code: the prior's pull is missing."),
    ),
)

# --- 1.2 -------------------------------------------------------------------------------------------------------------


def mean_norm(d: int) -> float:
    """The mean distance from the origin of a standard Gaussian vector, E|z| with z ~ N(0, I) in R^d.

    Args:
        d: Dimension, from 1 to 1,000,000.

    Returns:
        E|z|, with a relative error below 1e-8.
    """
    return math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))


def _mean_norm_cases(rng: Generator) -> Iterator[Case]:
    dims = [1, 2, 3, 10, 100, *(int(d) for d in log_uniform(rng, 4, 1e5, 4)), 1_000_000]
    for d in dims:
        low, high = max(0.0, math.sqrt(d) - 12), math.sqrt(d) + 12  # outside the norm lies with probability 1e-30
        truth = low + quad(lambda r, d=d: chdtrc(d, r * r), low, high, points=[math.sqrt(d)], epsrel=1e-12)[0]
        yield value((d,), truth, rtol=1e-8)


check_mean_norm = Exercise(
    id="ch01.2",
    title="The radius of the bubble",
    topic="Priors",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
The chapter says that $|z|$ is near $\\sqrt d$. How near is its mean? Write `mean_norm`, which returns $E|z|$ for $z
\\sim N(0, I)$ in $\\mathbb{R}^d$, for every $d$ up to a million.""",
    solution=mean_norm,
    explanation="""\
In shells, $E|z|$ is a quotient of the integrals of $r^d e^{-r^2/2}$ and $r^{d-1} e^{-r^2/2}$, both Gamma functions:
$\\sqrt2\\,\\Gamma(\\frac{d+1}2)/\\Gamma(\\frac d2)$. $\\Gamma$ overflows beyond 171.6, its logarithm never. The
result is about $\\sqrt d\\,(1 - \\frac1{4d})$: the mean is a little below the root of the mean square.""",
    hints=(
        "The density of r = |z| is proportional to `r**(d-1) * exp(-r**2 / 2)`. Substitute `t = r**2 / 2`.",
        "`E|z| = sqrt(2) * Gamma((d+1)/2) / Gamma(d/2)`.",
        "`math.gamma` overflows beyond 171.6; take the difference of two `math.lgamma`, and only then `math.exp`.",
    ),
    cases=_mean_norm_cases,
    checked="d from 1 to 1,000,000, against quadrature of P(|z| > r)",
    mistakes=(
        Mistake(
            lambda d: math.sqrt(d), "sqrt(d) is the root of the mean square E|z|^2 = d; the mean of |z| is below it."
        ),
        Mistake(
            lambda d: math.sqrt(2) * math.gamma((d + 1) / 2) / math.gamma(d / 2),
            "the formula is right, but Gamma overflows beyond 171.6: subtract logarithms (math.lgamma).",
        ),
        Mistake(
            lambda d: math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2)),
            "the factor sqrt(2) is missing: t = r^2 / 2, so r = sqrt(2 t).",
        ),
        Mistake(
            lambda d: math.sqrt(2) * math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)),
            "the two Gamma functions have changed places.",
        ),
        Mistake(lambda d: math.sqrt(d - 1), "this is the most probable distance, the peak of the density of |z|."),
    ),
)

# --- 1.3 -------------------------------------------------------------------------------------------------------------


def ring_price(kappa: float) -> float:
    """The price of the cheapest ring in the plane whose posteriors have two widths.

    A ring of radius r is coded by N(mu, Sigma) with |mu| = r, and the prior is N(0, I). Sigma has the standard
    deviation s1 along the radius and s2 along the ring. The precision of the angle, kappa = r^2 / s2^2, is given; r, s1
    and s2 are chosen so that the Kullback-Leibler divergence is smallest.

    Args:
        kappa: Precision of the angle, positive.

    Returns:
        The smallest divergence, in nats.
    """
    # s1 = 1 costs nothing. With r^2 = kappa s2^2 the rest is ((kappa + 1) s2^2 - 1) / 2 - log s2, least at
    # s2^2 = 1 / (kappa + 1).
    return math.log1p(kappa) / 2


def _ring(kappa: float, logs: np.ndarray) -> float:
    s1, s2 = np.exp(2 * logs)  # variances
    return 0.5 * (kappa * s2 + s1 + s2 - 2) - 0.5 * (math.log(s1) + math.log(s2))


def _ring_cases(rng: Generator) -> Iterator[Case]:
    for kappa in (100.0, 0.01, 1.0, *(float(k) for k in log_uniform(rng, 0.1, 3000, 6))):
        best = minimize(lambda logs, k=kappa: _ring(k, logs), np.zeros(2), method="BFGS", options={"gtol": 1e-9})
        yield value((kappa,), float(best.fun), rtol=1e-7, atol=1e-10)


check_ring_price = Exercise(
    id="ch01.3",
    title="A ring with two widths",
    topic="Priors",
    difficulty=4,
    importance=4,
    minutes=30,
    question="""\
The chapter compares rings at equal mean cosine. What if one had kept to $\\kappa = r^2/\\sigma_2^2$? Let the posterior
have two widths, $\\sigma_1$ along the radius and $\\sigma_2$ along the ring, and let this $\\kappa$ be given. Write
`ring_price`, which returns the price of the cheapest such ring. Compare it with the circle's,
$\\frac12\\log(2\\pi\\kappa/e)$, and ask yourself what $\\kappa$ no longer sees.""",
    solution=ring_price,
    explanation="""\
Along the radius the posterior may be the prior, $\\sigma_1 = 1$, at no cost. What is left is minimal at $\\sigma_2^2
= 1/(\\kappa + 1)$, $r^2 = \\kappa/(\\kappa+1)$, and costs $\\frac12\\log(1+\\kappa)$: for large $\\kappa$ half of
$\\log\\kappa$, as on the circle. From $\\kappa = 2$ on it is even less than the circle's exact price (and than the
formula above from 0.8 on). But is the angle still known? With $\\sigma_1 = 1$ and a radius below 1, samples reach the
origin and pass it: at $\\kappa = 100$ the mean of the direction $z/|z|$ has the length 0.67, and 0.995 on the circle.
$r^2/\\sigma_2^2$ measures the angle only while $\\sigma_1$ is small beside $r$. If the mean direction has the length
0.995 in each case, the round ring costs 3.94 nats, the best ring with two widths 3.16, and the circle 2.72.""",
    hints=(
        "Write down the KL divergence of chapter 1 for one coordinate along the radius, with mean r and width s1, "
        "and one "
        "along the ring, with mean 0 and width s2.",
        "s1 occurs in `(s1**2 - 1) / 2 - log(s1)` alone. Which s1 is best? Insert `r**2 = kappa * s2**2` into the "
        "rest.",
        "Left is `((kappa + 1) * s2**2 - 1) / 2 - log(s2)`, smallest at `s2**2 = 1 / (kappa + 1)`.",
    ),
    cases=_ring_cases,
    checked="kappa from 0.01 to 3000, against a numerical search for both widths",
    mistakes=(
        Mistake(
            lambda kappa: math.log1p(kappa / 2),
            "this is the round posterior's price: let the two widths differ.",
        ),
        Mistake(
            lambda kappa: math.log1p(kappa),
            "twice too much: along the radius the posterior may be as wide as the prior, which costs nothing.",
        ),
        Mistake(
            lambda kappa: 0.5 * math.log(2 * math.pi * kappa / math.e),
            "this is the price on the circle, for large kappa.",
        ),
        Mistake(
            lambda kappa: 0.5 * math.log(kappa),
            "r^2 / 2 is missing: with r^2 = kappa s2^2 it makes kappa + 1 out of kappa.",
        ),
        Mistake(
            lambda kappa: 0.5 * kappa / (kappa + 1) + 0.5 * math.log1p(kappa) + 0.5 * (1 / (kappa + 1) - 1) + 0.5,
            "the -1/2 of the radial coordinate is missing.",
        ),
    ),
)
