"""Chapter 6: the price of pointing."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.random import Generator
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, gradient, log_uniform, unit_vectors, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.special import (
    concentration_from_mean_resultant_length,
    kl_to_uniform,
    log_partition,
    mean_resultant_length,
    mean_resultant_length_derivative,
)

# --- 6.1 -------------------------------------------------------------------------------------------------------------


def cheapest_price(r: Tensor, m: int) -> Tensor:
    """The least divergence from the uniform law, of all laws on the sphere whose mean of w = mu.z is r.

    Args:
        r: Means, any shape, from 0.05 to 0.99, float64; may require a gradient.
        m: Dimension of the ambient space, at least 2.

    Returns:
        The supremum over t of t r - phi(t), in nats, of r's shape and dtype, differentiable.
    """
    t = concentration_from_mean_resultant_length(r.detach(), m)
    return t * r - log_partition(t, m)


def _banerjee(r: Tensor, m: int) -> Tensor:
    return r * (m - r**2) / (1 - r**2)


def _on_a_grid(r: Tensor, m: int) -> Tensor:
    t = torch.linspace(0, 100, 10_001, dtype=r.dtype)
    return (r[..., None] * t - log_partition(t, m)).max(-1).values


def _price_cases(rng: Generator) -> Iterator[Case]:
    def price(r: float, m: int) -> float:
        low, high = math.log(1e-2), math.log(1e5)
        found = minimize_scalar(
            lambda s: _reference.log_partition(math.exp(s), m) - math.exp(s) * r,
            bounds=(low, high),
            method="bounded",
            options={"xatol": 1e-9},
        )
        return -found.fun

    def kappa(r: float, m: int) -> float:
        return brentq(lambda t: _reference.mean(t, m) - r, 1e-2, 1e5, xtol=1e-10)

    def both(r: np.ndarray, m: int) -> Iterator[Case]:
        truth = torch.tensor([price(x, m) for x in r.flat], dtype=torch.float64).reshape(r.shape)
        slope = torch.tensor([kappa(x, m) for x in r.flat], dtype=torch.float64).reshape(r.shape)
        yield value((torch.from_numpy(r), m), truth, rtol=1e-6)
        weights = torch.from_numpy(rng.uniform(0.5, 2, r.shape))
        yield gradient((torch.from_numpy(r), m), 0, weights, weights * slope, rtol=1e-6)

    yield from both(np.array(0.5), 3)
    for m in (2, 3, 10, int(rng.integers(4, 40))):
        yield from both(rng.uniform(0.05, 0.95, 3), m)
    yield from both(np.array([[0.1, 0.99], [0.6, 0.9]]), int(rng.integers(2, 40)))


check_cheapest_price = Exercise(
    id="ch06.1",
    title="The cheapest law",
    topic="Divergences",
    difficulty=2,
    importance=3,
    minutes=15,
    question="""\
You are told only the mean $r$ of $w = \\mu\\cdot z$, not the law. What does it cost at least? Write
`cheapest_price`, the Legendre transform $\\sup_t\\,[t\\,r - \\phi_m(t)]$, so that autograd can differentiate it by
$r$. `log_partition` and `concentration_from_mean_resultant_length` of the library may be used. What is the
derivative?""",
    solution=cheapest_price,
    explanation="""\
$t \\mapsto t\\,r - \\phi_m(t)$ is concave, with slope $r - A_m(t)$: the best $t$ is $\\kappa = A_m^{-1}(r)$. There
the slope in $t$ is zero, so a change of $\\kappa$ with $r$ has no effect to first order (the envelope theorem). The
derivative is the explicit one, $\\kappa$, even where $\\kappa$ is detached.""",
    hints=(
        "Where is the derivative of `t * r - phi(t)` by t zero? `phi' = A`.",
        "`concentration_from_mean_resultant_length(r, m)` solves `A(t) = r`.",
        "Put that t into `t * r - log_partition(t, m)`.",
    ),
    cases=_price_cases,
    checked="values and gradients, m from 2 to 40, r from 0.05 to 0.99, shapes (), (3,) and (2, 2), against a search",
    mistakes=(
        Mistake(
            lambda r, m: concentration_from_mean_resultant_length(r, m) * r,
            "phi is missing: kappa r is the whole rectangle of Figure 6.1, not the part above the curve.",
        ),
        Mistake(
            lambda r, m: log_partition(concentration_from_mean_resultant_length(r, m), m),
            "this is phi(kappa), the divergence of the uniform law from the von Mises-Fisher law: the reverse.",
        ),
        Mistake(
            lambda r, m: r * mean_resultant_length(r, m) - log_partition(r, m),
            "r was taken for the concentration: first find the kappa with A(kappa) = r.",
        ),
        Mistake(
            lambda r, m: _banerjee(r, m) * r - log_partition(_banerjee(r, m), m),
            "this is t r - phi(t) at Banerjee's approximation of kappa: near the supremum, and below it.",
        ),
        Mistake(
            _on_a_grid,
            "the search ends at t = 100, and its step is 0.01. For r near 1 the best t lies beyond, and the gradient, "
            "which is t, has the grid's accuracy.",
        ),
        Mistake(
            lambda r, m: cheapest_price(r, m).detach(),
            "the result is detached from r. Only t may be: the derivative by r at fixed t is what is wanted.",
        ),
    ),
    replaces=(kl_to_uniform,),
)

# --- 6.2 -------------------------------------------------------------------------------------------------------------


def concentration_with_kl(kl: Tensor, m: int) -> Tensor:
    """The concentration at which the divergence from the uniform law has a given value.

    Args:
        kl: Divergences in nats, positive, any shape, float64, those of concentrations from 0.05 to 1,000,000.
        m: Dimension of the ambient space, at least 2.

    Returns:
        kappa with KL(vMF(mu, kappa) || uniform) = kl, of kl's shape and dtype, with a relative error below 1e-6.
    """
    log_kappa = torch.log(2 * m * kl) / 2  # right where kappa is small
    for _ in range(60):
        kappa = log_kappa.exp()
        slope = kappa**2 * mean_resultant_length_derivative(kappa, m)  # of KL by log kappa
        log_kappa = log_kappa - (kl_to_uniform(kappa, m) - kl) / slope
    return log_kappa.exp()


def _large_form(kl: Tensor, m: int) -> Tensor:
    log_area = math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2)
    return 2 * math.pi * math.e * torch.exp(2 * (kl - log_area) / (m - 1))


def _one_step(kl: Tensor, m: int) -> Tensor:
    kappa = torch.sqrt(2 * m * kl)
    slope = kappa**2 * mean_resultant_length_derivative(kappa, m)
    return kappa * torch.exp((kl - kl_to_uniform(kappa, m)) / slope)


def _bisected(function: Callable[[Tensor, int], Tensor], target: Tensor, m: int) -> Tensor:
    """Where an increasing function of kappa has a value, by bisection of log kappa."""
    low, high = torch.full_like(target, math.log(1e-4)), torch.full_like(target, math.log(1e8))
    for _ in range(60):
        middle = (low + high) / 2
        below = function(middle.exp(), m) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low.exp()


def _inverse_cases(rng: Generator) -> Iterator[Case]:
    def case(kappa: np.ndarray, m: int) -> Case:
        prices = [k * _reference.mean(k, m) - _reference.log_partition(k, m) for k in kappa.flat]
        kl = torch.tensor(prices, dtype=torch.float64).reshape(kappa.shape)
        return value((kl, m), torch.from_numpy(kappa), rtol=1e-6)

    yield case(np.array(5.0), 3)
    for m in (2, 6, int(rng.integers(4, 60))):
        yield case(log_uniform(rng, 0.05, 1, 3), m)
        yield case(log_uniform(rng, 1, 1e3, (2, 2)), m)
        yield case(log_uniform(rng, 1e4, 1e6, 2), m)


check_concentration_with_kl = Exercise(
    id="ch06.2",
    title="How sharp is that?",
    topic="Divergences",
    difficulty=3,
    importance=4,
    minutes=20,
    question="""\
A training log shows the KL, and you want to know $\\kappa$. Write `concentration_with_kl`, the inverse of $\\kappa
\\mapsto \\mathrm{KL}(\\kappa)$, by Newton's method. `kl_to_uniform` and `mean_resultant_length_derivative` of the
library may be used. Then find the $\\kappa$ of the paper's 13.35 nats at $m = 6$.""",
    solution=concentration_with_kl,
    explanation="""\
By $\\log\\kappa$ the divergence has the slope $\\kappa^2 A_m'$, which starts at 0 and settles at $(m-1)/2$. For
$m \\ge 3$ this slope only rises, so the curve is convex: started left of the root, at the small-$\\kappa$ form
$\\sqrt{2m\\,\\mathrm{KL}}$, the first step lands right of it, and the iterates fall to the root. (For $m = 2$ the
slope overshoots and returns to $1/2$; a first step can then land short of the root. Newton still converges.) By
$\\kappa$ itself the curve bends down at large $\\kappa$, and a start that is too far right jumps to a negative
concentration. The paper's 13.35 nats need a $\\kappa$ of about 900.""",
    hints=(
        "Newton: `x = x - (f(x) - target) / f'(x)`. The derivative of KL by kappa is `kappa * A'`.",
        "Iterate on `x = log(kappa)`: kappa stays positive, and the slope becomes `kappa**2 * A'`.",
        "Start at `x = log(2 m kl) / 2`, from KL = kappa^2 / (2m) for small kappa. Sixty steps are plenty.",
    ),
    cases=_inverse_cases,
    checked="m from 2 to 60, kappa from 0.05 to 1,000,000, shapes (), (2,), (3,) and (2, 2), against quadrature",
    mistakes=(
        Mistake(
            _large_form,
            "this inverts the formula for large kappa, d/2 log(kappa / (2 pi e)) + log S: wrong where KL is small.",
        ),
        Mistake(
            lambda kl, m: torch.sqrt(2 * m * kl),
            "this inverts KL = kappa^2 / (2m), which holds for small kappa only: take it as the start.",
        ),
        Mistake(_one_step, "one Newton step from the small-kappa form: does the loop return in its first round?"),
        Mistake(
            lambda kl, m: _bisected(log_partition, kl, m),
            "your kappa solves phi(kappa) = kl: phi is the reverse, KL(uniform || von Mises-Fisher).",
        ),
        Mistake(
            lambda kl, m: _bisected(kl_to_uniform, kl * math.log(2), m),
            "your kappa has this divergence in bits: the logarithm of 2 is not needed, all is in nats.",
        ),
        Mistake(
            lambda kl, m: _bisected(kl_to_uniform, kl, m).clamp(max=100.0 * m),
            "kappa is capped at 100 m: a run that is sharper would be given the cap, as in the chapter's trap.",
        ),
    ),
)

# --- 6.3 -------------------------------------------------------------------------------------------------------------


def kl_of_two(mu1: Tensor, kappa1: Tensor, mu2: Tensor, kappa2: Tensor) -> Tensor:
    """The divergence of one von Mises-Fisher law from another, KL(law 1 || law 2), for n pairs.

    Args:
        mu1: Mean directions of law 1, unit vectors, shape (n, m), float64.
        kappa1: Its concentrations, shape (n,), positive.
        mu2: Mean directions of law 2, shape (n, m).
        kappa2: Its concentrations, shape (n,), positive.

    Returns:
        The divergences in nats, shape (n,), float64.
    """
    m = mu1.shape[-1]
    phi1, phi2 = log_partition(kappa1, m), log_partition(kappa2, m)
    cosine = (mu1 * mu2).sum(-1)
    return phi2 - phi1 + mean_resultant_length(kappa1, m) * (kappa1 - kappa2 * cosine)


def _two(
    combine: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Variants: `combine` takes phi1, phi2, A of law 1, kappa1, kappa2 and the cosine."""

    def variant(mu1: Tensor, kappa1: Tensor, mu2: Tensor, kappa2: Tensor) -> Tensor:
        m = mu1.shape[-1]
        phis = log_partition(kappa1, m), log_partition(kappa2, m)
        return combine(*phis, mean_resultant_length(kappa1, m), kappa1, kappa2, (mu1 * mu2).sum(-1))

    return variant


def _pair(mu1: np.ndarray, kappa1: float, mu2: np.ndarray, kappa2: float) -> float:
    """E_1 log(law 1 / law 2), by quadrature over the height and the part of the direction that law 2 sees."""
    m = len(mu1)
    w, p = _reference.law(kappa1, m)
    u, share = (np.array([-1.0, 1.0]), np.array([0.5, 0.5])) if m == 2 else _reference.law(0.0, m - 1)
    cosine = mu1 @ mu2
    height2 = w[:, None] * cosine + np.sqrt((1 - w[:, None] ** 2) * max(0.0, 1 - cosine**2)) * u  # mu2.z
    log1 = kappa1 * w[:, None] - _reference.log_partition(kappa1, m)
    log2 = kappa2 * height2 - _reference.log_partition(kappa2, m)
    return float(p @ (log1 - log2) @ share)


def _pair_cases(rng: Generator) -> Iterator[Case]:
    for m, n in ((3, 1), (2, 3), (5, 4), (int(rng.integers(4, 40)), 3), (int(rng.integers(4, 40)), 2)):
        mu1, mu2 = unit_vectors(rng, n, m), unit_vectors(rng, n, m)
        if n == 4:
            mu2[0] = mu1[0]  # one direction, two concentrations
        kappa1, kappa2 = (log_uniform(rng, 0.1, 300, n) for _ in range(2))
        truth = [_pair(*pair) for pair in zip(mu1.numpy(), kappa1.tolist(), mu2.numpy(), kappa2.tolist(), strict=True)]
        args = (mu1, torch.from_numpy(kappa1), mu2, torch.from_numpy(kappa2))
        yield value(args, torch.tensor(truth, dtype=torch.float64), rtol=1e-7, atol=1e-10)


check_kl_of_two = Exercise(
    id="ch06.3",
    title="Two that point",
    topic="Divergences",
    difficulty=2,
    importance=4,
    minutes=15,
    question="""\
The prior need not be uniform: a second von Mises-Fisher law may be learned as a prior, or be yesterday's posterior.
Write `kl_of_two`, the divergence of law 1 from law 2 for $n$ pairs of laws. `log_partition` and
`mean_resultant_length` of the library may be used.""",
    solution=kl_of_two,
    explanation="""\
$\\log(q_1/q_2) = (\\kappa_1\\mu_1 - \\kappa_2\\mu_2)\\cdot z - \\phi_m(\\kappa_1) + \\phi_m(\\kappa_2)$, and only
the mean of $z$ is needed, which under law 1 is $A_m(\\kappa_1)\\,\\mu_1$. The surface area cancels. With $\\kappa_2
= 0$ the price of the chapter is left.""",
    hints=(
        "Write down log(q1 / q2). It is linear in z.",
        "Under law 1, `E z = A(kappa1) * mu1`.",
        "`phi(kappa2) - phi(kappa1) + A(kappa1) * (kappa1 - kappa2 * cosine)` with the cosine `(mu1 * mu2).sum(-1)`.",
    ),
    cases=_pair_cases,
    checked="one to four pairs, m from 2 to 40, kappa from 0.1 to 300, against quadrature in two variables",
    mistakes=(
        Mistake(
            lambda mu1, kappa1, mu2, kappa2: kl_of_two(mu2, kappa2, mu1, kappa1),
            "the laws have changed places: this is KL(law 2 || law 1).",
        ),
        Mistake(
            _two(lambda phi1, phi2, A, kappa1, kappa2, cosine: phi2 - phi1 + A * (kappa1 - kappa2)),
            "the angle between the two mean directions does not enter: kappa2 is to be multiplied by mu1.mu2.",
        ),
        Mistake(
            lambda mu1, kappa1, mu2, kappa2: _two(
                lambda phi1, phi2, A, kappa1, kappa2, cosine: (
                    phi2 - phi1 + mean_resultant_length(kappa2, mu1.shape[-1]) * (kappa1 - kappa2 * cosine)
                )
            )(mu1, kappa1, mu2, kappa2),
            "the mean of z was taken under law 2: it is A(kappa1) mu1, that of the law before the bars.",
        ),
        Mistake(
            _two(lambda phi1, phi2, A, kappa1, kappa2, cosine: phi2 - phi1 + kappa1 - kappa2 * cosine),
            "A(kappa1) is missing: z is not mu1, only its mean points there, with length A(kappa1).",
        ),
        Mistake(
            _two(lambda phi1, phi2, A, kappa1, kappa2, cosine: phi1 - phi2 + A * (kappa1 - kappa2 * cosine)),
            "the two normalisers have changed places: -log q2 brings + phi(kappa2).",
        ),
        Mistake(
            _two(lambda phi1, phi2, A, kappa1, kappa2, cosine: A * (kappa1 - kappa2 * cosine)),
            "the normalisers are missing: they cancel only if both concentrations are equal.",
        ),
        Mistake(
            lambda mu1, kappa1, mu2, kappa2: kl_of_two(mu1, kappa1, mu2, kappa2) + kl_of_two(mu2, kappa2, mu1, kappa1),
            "this is the sum of both directions (Jeffreys' divergence): wanted is KL(law 1 || law 2) alone.",
        ),
    ),
)

# --- 6.4 -------------------------------------------------------------------------------------------------------------


def mean_kl_parts(z: Tensor, mus: Tensor, kappas: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts of the mean KL of N posteriors, estimated from S samples of each.

    Args:
        z: Samples, shape (N, S, m), float64: z[n] are unit vectors drawn from posterior n.
        mus: Mean directions of the posteriors, unit vectors, shape (N, m).
        kappas: Their concentrations, shape (N,), positive.

    Returns:
        The information, mean of log(q_n(z) / q(z)), and the mismatch, mean of log(q(z) / p(z)), in nats, two
        scalars. The means are over all samples z of all posteriors q_n; q is the mixture of the q_n with equal weights,
        p the uniform law.
    """
    phi = log_partition(kappas, mus.shape[-1])
    log_ratios = kappas * (z @ mus.T) - phi  # log(q_j / p), (N, S, N)
    own = log_ratios.diagonal(dim1=0, dim2=2).T  # log(q_n / p) at the samples of n, (N, S)
    aggregate = log_ratios.logsumexp(-1) - math.log(len(mus))  # log(q / p)
    return (own - aggregate).mean(), aggregate.mean()


def _parts(
    mix: Callable[[Tensor, Tensor], Tensor], phis: bool = True
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Variants: `mix` makes log(q / p) of all log(q_j / p), (N, S, N), and of those of the own posterior, (N, S)."""

    def variant(z: Tensor, mus: Tensor, kappas: Tensor) -> tuple[Tensor, Tensor]:
        log_ratios = kappas * (z @ mus.T) - (log_partition(kappas, mus.shape[-1]) if phis else 0)
        own = log_ratios.diagonal(dim1=0, dim2=2).T
        aggregate = mix(log_ratios, own)
        return (own - aggregate).mean(), aggregate.mean()

    return variant


def _exact(log_ratios: Tensor, own: Tensor) -> Tensor:
    return log_ratios.logsumexp(-1) - math.log(log_ratios.shape[-1])


def _others_only(log_ratios: Tensor, own: Tensor) -> Tensor:
    n = log_ratios.shape[-1]
    self = torch.eye(n, dtype=torch.bool)[:, None, :]
    return log_ratios.masked_fill(self, -math.inf).logsumexp(-1) - math.log(n - 1)


def _with_area(z: Tensor, mus: Tensor, kappas: Tensor) -> tuple[Tensor, Tensor]:
    m = mus.shape[-1]
    log_area = math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2)
    information, aggregate = mean_kl_parts(z, mus, kappas)
    return information, aggregate - log_area


def _parts_cases(rng: Generator) -> Iterator[Case]:
    for m, n, size in ((3, 4, 5), (2, 3, 4), (6, 8, 3), (int(rng.integers(4, 30)), 5, 4)):
        mus = unit_vectors(rng, n, m)
        kappas = log_uniform(rng, 0.5, 50, n)
        noise = unit_vectors(rng, n * size, m).reshape(n, size, m)
        z = mus[:, None, :] + noise / torch.from_numpy(np.sqrt(kappas + m))[:, None, None] * math.sqrt(m)
        z = z / z.norm(dim=-1, keepdim=True)  # near its mean direction; the formulas hold for any points
        points, centres = z.numpy(), mus.numpy()
        norms = [_reference.log_partition(k, m) for k in kappas]
        information, aggregate = 0.0, 0.0
        for i in range(n):
            for s in range(size):
                logs = [kappas[j] * float(centres[j] @ points[i, s]) - norms[j] for j in range(n)]
                mixture = float(logsumexp(logs, b=1 / n))
                information += (logs[i] - mixture) / (n * size)
                aggregate += mixture / (n * size)
        truth = tuple(torch.tensor(x, dtype=torch.float64) for x in (information, aggregate))
        yield value((z, mus, torch.from_numpy(kappas)), truth, rtol=1e-6, atol=1e-8)


check_mean_kl_parts = Exercise(
    id="ch06.4",
    title="Paid and told",
    topic="Divergences",
    difficulty=3,
    importance=5,
    minutes=20,
    question="""\
How much of a training log's KL informs? Write `mean_kl_parts`, which estimates both parts of the mean KL,
information and mismatch, from samples of each posterior. `log_partition` of the library may be used.""",
    solution=mean_kl_parts,
    explanation="""\
$\\log(q_j/p) = \\kappa_j\\,\\mu_j\\cdot z - \\phi_m(\\kappa_j)$: the surface area cancels. The mixture's density is
the mean of the densities, so its logarithm is a logsumexp minus $\\log N$, and it is needed at every sample of
every posterior. The two parts add up to the mean of $\\log(q_n/p)$ at the posterior's own samples, an estimate of
the mean KL. The information never exceeds $\\log N$, so with few images it says little.""",
    hints=(
        "Compute log(q_j / p) at every sample for every j: `kappas * (z @ mus.T) - phi`, shape (N, S, N).",
        "log(q / p) is the logarithm of a mean: `logsumexp` over j, minus `log(N)`.",
        "The posterior's own ratios are the diagonal over the first and the last axis: "
        "`.diagonal(dim1=0, dim2=2).T`. Information is the mean of own minus mixture, the other part the mean of the "
        "mixture.",
    ),
    cases=_parts_cases,
    checked="three to eight posteriors, m from 2 to 30, kappa from 0.5 to 50, against loops",
    mistakes=(
        Mistake(
            _parts(lambda log_ratios, own: log_ratios.mean(-1)),
            "the mixture is the mean of the densities, not of their logarithms: logsumexp in place of mean.",
        ),
        Mistake(
            _parts(lambda log_ratios, own: log_ratios.logsumexp(-1)),
            "the densities were added, not averaged: -log(N) is missing.",
        ),
        Mistake(
            _parts(_others_only),
            "the posterior's own density is left out of the mixture: then the two parts need not be positive, and the "
            "information has no bound.",
        ),
        Mistake(
            _parts(_exact, phis=False),
            "the normalisers phi(kappa_j) are missing: they differ, because the concentrations do.",
        ),
        Mistake(
            _with_area,
            "the uniform density 1/S is missing in the mismatch: log(q / p), not log q.",
        ),
        Mistake(
            lambda z, mus, kappas: mean_kl_parts(z, mus, kappas)[::-1],
            "the two parts have changed places: first the information, then the mismatch.",
        ),
        Mistake(
            lambda z, mus, kappas: (sum(mean_kl_parts(z, mus, kappas)), mean_kl_parts(z, mus, kappas)[1]),
            "the first part is the whole mean KL, log(q_n / p): divide q_n by the mixture, not by the prior.",
        ),
    ),
)
