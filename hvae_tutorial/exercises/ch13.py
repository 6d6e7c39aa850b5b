"""Chapter 13: beyond one sphere."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.random import Generator
from scipy.integrate import quad
from scipy.special import digamma, gammaln, logsumexp
from torch import Tensor

from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, log_uniform, unit_vectors, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.special import log_partition

# --- 13.1 ------------------------------------------------------------------------------------------------------------


def least_nats(angle: float, d: int) -> float:
    """The chapter's lower bound of the divergence from the uniform law of a law on a sphere with E w = cos(angle).

    Args:
        angle: In degrees, from 0.01 to 90.
        d: Dimension of the sphere, from 1 to 1000.

    Returns:
        The bound of the chapter, in nats.
    """
    return -d * math.log(math.sin(math.radians(angle)))


def _least_nats_cases(rng: Generator) -> Iterator[Case]:
    drawn = [(float(log_uniform(rng, 0.1, 89)), int(rng.integers(1, 300))) for _ in range(6)]
    for angle, d in ((2.0, 2), (90.0, 5), (26.0, 40), *drawn):
        # Integral of s / (1 - s^2) from 0 to cos(angle); s = tanh(u) makes it one of tanh(u).
        end = math.atanh(math.cos(math.radians(angle)))
        truth = d * quad(math.tanh, 0, end, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
        yield value((angle, d), truth, rtol=1e-7, atol=1e-9)


check_least_nats = Exercise(
    id="ch13.1",
    title="What a direction costs",
    topic="Divergences",
    difficulty=1,
    importance=3,
    minutes=3,
    question="""\
A warm-up. Write `least_nats`, the chapter's lower bound $d\\log(1/\\sin\\theta)$ (not the exact $K(r)$) of the nats
that a law on $S^d$ with $E\\,w=\\cos\\theta$ pays. How many would the code of an image cost that is known to 2 degrees
on $S^{40}$?""",
    solution=least_nats,
    explanation="""\
Every dimension charges $\\log(1/\\sin\\theta)$. Two degrees on $S^{40}$: 134 nats, four times what the paper's
S-VAE spends there.""",
    hints=(
        "The bound is the integral of d s / (1 - s^2) from 0 to r = cos(angle).",
        "It is `-d / 2 * log(1 - r**2)`, and 1 - cos^2 = sin^2. Python's functions take radians.",
    ),
    cases=_least_nats_cases,
    checked="angles from 0.1 to 90 degrees, d from 1 to 300, against the integral",
    mistakes=(
        Mistake(lambda angle, d: -d * math.log(math.sin(angle)),
                "the angle is in degrees, and math.sin takes radians."),
        Mistake(lambda angle, d: -d / 2 * math.log(math.sin(math.radians(angle))),
                "half of it: log(1 - r^2) is log sin^2, so the 1/2 is used up."),
        Mistake(lambda angle, d: -(d + 1) * math.log(math.sin(math.radians(angle))),
                "d + 1 coordinates, but d dimensions charge."),
        Mistake(lambda angle, d: -math.log(math.sin(math.radians(angle))), "this is what one dimension charges."),
        Mistake(lambda angle, d: d * math.log(math.sin(math.radians(angle))), "the sign: log sin is negative."),
    ),
)  # fmt: skip

# --- 13.2 ------------------------------------------------------------------------------------------------------------


def power_spherical_kl(kappa: float, m: int) -> float:
    """KL divergence of the Power Spherical law to the uniform one.

    Args:
        kappa: Concentration, from 0.1 to 1000.
        m: Number of coordinates, from 2 to 100.

    Returns:
        The divergence in nats, with a relative error below 1e-6.
    """
    beta = (m - 1) / 2
    alpha = kappa + beta
    mean_log = digamma(alpha) - digamma(alpha + beta)  # E log((1 + w) / 2)
    log_mean = gammaln(alpha) - gammaln(alpha + beta) - gammaln(beta) + gammaln(2 * beta)  # under the uniform law
    return float(kappa * mean_log - log_mean)


def _power_spherical_kl_reference(kappa: float, m: int) -> float:
    """By quadrature over u = log tan(angle / 2), where log((1 + w) / 2) = -log(1 + e^(2 u))."""

    def logs(u: float, k: float) -> float:
        return (m - 1) * u - (m - 1 + k) * float(np.logaddexp(0, 2 * u))

    def integral(k: float, power: int) -> tuple[float, float]:
        """The integral of the density times log((1 + w) / 2)^power, relative to the density's peak, and the peak."""
        middle = math.log((m - 1) / (m - 1 + 2 * k)) / 2
        top = logs(middle, k)

        def f(u: float) -> float:
            return float((-np.logaddexp(0, 2 * u)) ** power) * math.exp(logs(u, k) - top)

        edges = [middle + step for step in (-45, -4, -1, 0, 1, 4, 45)]
        pieces = [quad(f, low, high, epsabs=0, epsrel=1e-11)[0] for low, high in itertools.pairwise(edges)]
        return sum(pieces), top

    (own, peak), (mean_log, _), (uniform, base) = integral(kappa, 0), integral(kappa, 1), integral(0.0, 0)
    return kappa * mean_log / own - (math.log(own / uniform) + peak - base)


def _power_spherical_kl_cases(rng: Generator) -> Iterator[Case]:
    drawn = [(float(log_uniform(rng, 0.1, 1000)), int(rng.integers(2, 60))) for _ in range(3)]
    for kappa, m in ((5.0, 3), (0.5, 2), (100.0, 11), *drawn):
        yield value((kappa, m), _power_spherical_kl_reference(kappa, m), rtol=1e-6)


def _ps(kappa: float, m: int, beta: float) -> float:
    alpha = kappa + beta
    return float(
        kappa * (digamma(alpha) - digamma(alpha + beta))
        - (gammaln(alpha) - gammaln(alpha + beta) - gammaln(beta) + gammaln(2 * beta))
    )


def _ps_without_uniform(kappa: float, m: int) -> float:
    beta = (m - 1) / 2
    return _ps(kappa, m, beta) - float(gammaln(beta) - gammaln(2 * beta))


def _ps_log_of_mean(kappa: float, m: int) -> float:
    beta = (m - 1) / 2
    alpha = kappa + beta
    return _ps(kappa, m, beta) + float(
        kappa * (math.log(alpha / (alpha + beta)) - digamma(alpha) + digamma(alpha + beta))
    )


def _ps_two_kappa(kappa: float, m: int) -> float:
    return _ps(kappa, m, (m - 1) / 2) + kappa * math.log(2)


check_power_spherical_kl = Exercise(
    id="ch13.2",
    title="The divergence of the Power Spherical law",
    topic="Divergences",
    difficulty=3,
    importance=3,
    minutes=20,
    question="""\
The density of the Power Spherical law is proportional to $((1+w)/2)^\\kappa$, and $(1+w)/2$ is a Beta variable: under
the uniform law with both parameters $\\beta=\\frac{m-1}2$, under the law itself with $\\kappa+\\beta$ and $\\beta$.
Write `power_spherical_kl`, its divergence to the uniform law.""",
    solution=power_spherical_kl,
    explanation="""\
With $t=(1+w)/2$ the density relative to the uniform law is $t^\\kappa/E_U[t^\\kappa]$, so
$\\mathrm{KL}=\\kappa\\,E_q[\\log t]-\\log E_U[t^\\kappa]$. The first mean is
$\\psi(\\kappa+\\beta)-\\psi(\\kappa+2\\beta)$, the second a ratio of Beta functions,
$B(\\kappa+\\beta,\\beta)/B(\\beta,\\beta)$. For very large $\\kappa$ both terms are large and cancel: the library
takes their difference on paper.""",
    hints=(
        "Relative to the uniform law the density is `t**kappa / E[t**kappa]` with t = (1 + w)/2 and the mean under the "
        "uniform law.",
        "For t ~ Beta(a, b): `E log t = digamma(a) - digamma(a + b)`.",
        "`E[t**kappa]` under Beta(b, b) is `B(b + kappa, b) / B(b, b)`, with b = (m - 1)/2; take `gammaln`.",
    ),
    cases=_power_spherical_kl_cases,
    checked="kappa from 0.1 to 1000, m from 2 to 59, against quadrature",
    mistakes=(
        Mistake(lambda kappa, m: _ps(kappa, m, m / 2), "beta is (m - 1)/2, not m/2: the weight of w is "
                "(1 - w^2)^((m-3)/2)."),
        Mistake(_ps_without_uniform, "E[t^kappa] lacks its denominator B(beta, beta), the uniform law's own integral."),
        Mistake(_ps_log_of_mean, "E log t is not log E t: the logarithm's mean is a difference of digamma functions."),
        Mistake(_ps_two_kappa, "a log 2 too many: with t = (1 + w)/2 in both places no power of two is left."),
        Mistake(lambda kappa, m: -_ps(kappa, m, (m - 1) / 2), "the sign is turned: a divergence is not negative."),
    ),
)  # fmt: skip

# --- 13.3 ------------------------------------------------------------------------------------------------------------


def product_log_ratio(z: Tensor, mus: Sequence[Tensor], kappas: Sequence[float]) -> Tensor:
    """Log q(z) - log p(z) for a product of spheres: q is von Mises-Fisher on each, p uniform on each.

    Args:
        z: Points, shape (n, m_1 + ... + m_k): the coordinates of the spheres one after the other.
        mus: Mean directions, k tensors of shapes (m_1,), ..., (m_k,), of z's dtype.
        kappas: Concentrations, k positive numbers.

    Returns:
        The logarithms of the ratio, shape (n,), of z's dtype.
    """
    total = torch.zeros_like(z[:, 0])
    for piece, mu, kappa in zip(z.split([len(mu) for mu in mus], dim=-1), mus, kappas, strict=True):
        total = total + kappa * (piece @ mu) - log_partition(torch.tensor(kappa, dtype=z.dtype), len(mu))
    return total


def _product_cases(rng: Generator) -> Iterator[Case]:
    for sizes in (
        (3, 3),
        (2,),
        (4, 2, 3),
        *(tuple(int(m) for m in rng.integers(2, 9, rng.integers(1, 5))) for _ in "abcd"),
    ):
        n = int(rng.integers(1, 6))
        pieces = [unit_vectors(rng, n, m) for m in sizes]
        mus = [unit_vectors(rng, 1, m)[0] for m in sizes]
        kappas = [float(k) for k in log_uniform(rng, 0.1, 100, len(sizes))]
        truth = sum(
            k * (piece * mu).sum(-1) - _reference.log_partition(k, len(mu))
            for piece, mu, k in zip(pieces, mus, kappas, strict=True)
        )
        yield value((torch.cat(pieces, dim=-1), mus, kappas), truth, rtol=1e-6, atol=1e-6)


def _ratios(z: Tensor, mus: Sequence[Tensor], kappas: Sequence[float], size: int | None) -> list[Tensor]:
    pieces = z.split([len(mu) for mu in mus], dim=-1)
    return [
        kappa * (piece @ mu) - log_partition(torch.tensor(kappa, dtype=z.dtype), size or len(mu))
        for piece, mu, kappa in zip(pieces, mus, kappas, strict=True)
    ]


def _one_big_sphere(z: Tensor, mus: Sequence[Tensor], kappas: Sequence[float]) -> Tensor:
    return sum(_ratios(z, mus, kappas, z.shape[-1]), torch.zeros_like(z[:, 0]))


def _no_normaliser(z: Tensor, mus: Sequence[Tensor], kappas: Sequence[float]) -> Tensor:
    pieces = z.split([len(mu) for mu in mus], dim=-1)
    return sum((k * (p @ mu) for p, mu, k in zip(pieces, mus, kappas, strict=True)), torch.zeros_like(z[:, 0]))


def _mean_of_parts(z: Tensor, mus: Sequence[Tensor], kappas: Sequence[float]) -> Tensor:
    return torch.stack(_ratios(z, mus, kappas, None)).mean(0)


def _product_of_logs(z: Tensor, mus: Sequence[Tensor], kappas: Sequence[float]) -> Tensor:
    return torch.stack(_ratios(z, mus, kappas, None)).prod(0)


def _first_part(z: Tensor, mus: Sequence[Tensor], kappas: Sequence[float]) -> Tensor:
    return _ratios(z, mus, kappas, None)[0]


check_product_log_ratio = Exercise(
    id="ch13.3",
    title="A product of spheres",
    topic="Products",
    difficulty=2,
    importance=4,
    minutes=15,
    question="""\
Write `product_log_ratio` for $q=\\prod_i\\mathrm{vMF}(\\mu_i,\\kappa_i)$ and $p$ uniform, on a product of spheres whose
coordinates stand one after the other in $z$. You may take $\\phi$ from the library
(`hvae_tutorial.special.log_partition`) or from your own of chapter 3. The mean of the result under $q$ is the
divergence, and its exponential the importance weight, upside down.""",
    solution=product_log_ratio,
    explanation="""\
The densities multiply, so the logarithms add: $\\sum_i\\kappa_i\\,\\mu_i\\cdot z_i-\\phi_{m_i}(\\kappa_i)$. The areas
cancel, part by part. Each part has its own number of coordinates $m_i$, and the product of spheres is no sphere of
$\\sum m_i$ coordinates.""",
    hints=(
        "`z.split([len(mu) for mu in mus], dim=-1)` gives each sphere its coordinates.",
        "On one sphere: `kappa * mu.z - phi_m(kappa)`; log S_m is in q and in p, and cancels.",
        "Add the parts. `log_partition(kappa, m)` takes a tensor and the m of that part.",
    ),
    cases=_product_cases,
    checked="1 to 4 spheres of 2 to 8 coordinates, kappa from 0.1 to 100, against phi by quadrature",
    mistakes=(
        Mistake(_one_big_sphere, "phi was taken with all coordinates together: each part has its own m."),
        Mistake(_no_normaliser, "the normaliser phi is missing in each part."),
        Mistake(_mean_of_parts, "this is the mean over the parts: logarithms of a product add."),
        Mistake(_product_of_logs, "the logarithms were multiplied: densities multiply, their logarithms add."),
        Mistake(_first_part, "only the first sphere has been counted."),
    ),
)

# --- 13.4 ------------------------------------------------------------------------------------------------------------


def defended_log_weight(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """Log importance weights of draws of which a share came from the prior.

    Args:
        log_p: log p(z) at the draws, shape (n,).
        log_q: log q(z) at the same draws, shape (n,); both may be below -1000.
        share: The share of draws from p, between 0 and 1, both excluded.

    Returns:
        log of p / ((1 - share) q + share p), shape (n,), finite wherever log_p is.
    """
    mixture = torch.logaddexp(math.log(1 - share) + log_q, math.log(share) + log_p)
    return log_p - mixture


def _defended_cases(rng: Generator) -> Iterator[Case]:
    for n in (3, 4, *(int(k) for k in rng.integers(1, 8, 7))):
        log_p, log_q = rng.normal(-5, 3, n), rng.normal(-5, 6, n)
        if n % 3 == 0:
            log_q[0] = -2000.0
        elif n % 3 == 1:
            log_p[0] = -2000.0
        log_p[-1], log_q[-1] = log_p[-1] - 2000, log_q[-1] - 2000  # both underflow
        share = float(rng.uniform(0.01, 0.5))
        truth = log_p - logsumexp(np.stack([log_q, log_p]), axis=0, b=np.array([[1 - share], [share]]))
        args = (torch.from_numpy(log_p), torch.from_numpy(log_q), share)
        yield value(args, torch.from_numpy(truth), rtol=1e-9, atol=1e-12)


def _naive(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    p, q = log_p.exp(), log_q.exp()
    return torch.log(p / ((1 - share) * q + share * p))


def _by_the_ratio(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    return -torch.log((1 - share) * torch.exp(log_q - log_p) + share)


check_defended_log_weight = Exercise(
    id="ch13.4",
    title="A weight with a defence",
    topic="Likelihood",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
Importance weights $p/q$ have no variance where $q$ is too thin. Draw a share $\\epsilon$ of the points from the prior,
and weigh with the mixture that was used. Write `defended_log_weight`, right also where $\\log p$ and $\\log q$ are near
$-2000$.
What is the largest weight that can occur?""",
    solution=defended_log_weight,
    explanation="""\
$\\log p-\\log((1-\\epsilon)q+\\epsilon p)$, with the sum by `logaddexp`, which never leaves the logarithms. The
mixture is at least $\\epsilon p$, so no weight passes $1/\\epsilon$.""",
    hints=(
        "The draws come from the mixture `(1 - share) * q + share * p`: this is the density to divide by.",
        "log of a product: the two terms have the logarithms `log(1 - share) + log_q` and `log(share) + log_p`.",
        "`torch.logaddexp(a, b)` is log(exp(a) + exp(b)) without overflow.",
    ),
    cases=_defended_cases,
    checked="log q from about -25 to 15, either or both near -2000, share from 0.01 to 0.5, against SciPy's weighted "
    "log-sum-exp",
    mistakes=(
        Mistake(lambda log_p, log_q, share: log_p - log_q, "this is p/q: the draws came from the mixture."),
        Mistake(
            lambda log_p, log_q, share: log_p - torch.logaddexp(log_q, log_p),
            "the shares are missing: the mixture is (1 - share) q + share p.",
        ),
        Mistake(
            lambda log_p, log_q, share: log_p - torch.logaddexp(math.log(share) + log_q, math.log(1 - share) + log_p),
            "the shares have changed places: share is that of draws from p.",
        ),
        Mistake(
            lambda log_p, log_q, share: log_p - ((1 - share) * log_q + share * log_p),
            "a mixture of logarithms is not the logarithm of a mixture.",
        ),
        Mistake(_naive, "p and q have underflowed to zero on the way: stay with logarithms (torch.logaddexp)."),
        Mistake(_by_the_ratio, "q/p overflows where p is far smaller: stay with logarithms (torch.logaddexp)."),
    ),
)
