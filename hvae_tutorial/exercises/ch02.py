"""Chapter 2: the von Mises-Fisher law."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.random import Generator
from scipy.integrate import quad
from scipy.optimize import brentq
from torch import Tensor

from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, log_uniform, unit_vectors, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.special import concentration_from_mean_resultant_length, log_partition, mean_resultant_length

# --- 2.1 -------------------------------------------------------------------------------------------------------------


def cap_share(degrees: float, kappa: float) -> float:
    """Share of the von Mises-Fisher law on the sphere S^2 within an angle of the mean direction.

    Args:
        degrees: The angle, from 0 to 180 degrees.
        kappa: Concentration, from 0.001 to 10,000.

    Returns:
        The probability that the angle between z and mu is at most `degrees`.
    """
    c = math.cos(math.radians(degrees))
    return math.expm1(-kappa * (1 - c)) / math.expm1(-2 * kappa)


def _cap_cases(rng: Generator) -> Iterator[Case]:
    fixed = [(30.0, 10.0), (90.0, 1.0), (180.0, 2.0), (0.0, 5.0), (20.0, 0.001), (1.0, 10_000.0), (0.01, 0.001)]
    drawn = [(float(rng.uniform(5, 175)), float(log_uniform(rng, 0.01, 30))) for _ in range(6)]
    for degrees, kappa in fixed + drawn:

        def f(t: float, kappa: float = kappa) -> float:
            return math.exp(kappa * (math.cos(t) - 1)) * math.sin(t)

        end, width = math.radians(degrees), 1 / math.sqrt(kappa)
        inner, outer = (
            quad(
                f, low, high, points=[t for t in (width, 5 * width) if low < t < high] or None, epsabs=0, epsrel=1e-11
            )[0]
            for low, high in ((0.0, end), (end, math.pi))
        )
        args, truth = (degrees, kappa), inner / (inner + outer)
        case = value(args, truth, rtol=1e-7, atol=1e-18)
        if 0 < degrees < 1:  # other mistakes lose digits too, and are known all the same
            case = dataclasses.replace(case, same=value(args, truth, rtol=1e-4).same)
        yield case


check_cap_share = Exercise(
    id="ch02.1",
    title="How much is in the cap?",
    topic="The law",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
On $S^2$ the height $w = \\mu \\cdot z$ of a uniform point is uniform on $[-1, 1]$. Write `cap_share`, which returns
the probability that a draw of the von Mises-Fisher law is within a given angle of $\\mu$. It has to work at $\\kappa
= 0.001$, where the obvious formula loses digits at small angles (at 0.01 degrees it is wrong by $9 \\cdot 10^{-6}$ of
the probability), and at $\\kappa = 10000$, where it overflows.""",
    solution=cap_share,
    explanation="""\
The density of $w$ is proportional to $e^{\\kappa w}$. Its integrals over $(c, 1)$ and $(-1, 1)$, divided by
$e^\\kappa / \\kappa$, are $1 - e^{-\\kappa(1-c)}$ and $1 - e^{-2\\kappa}$: no positive exponent is left, and `expm1`
keeps the digits of both for small $\\kappa$.""",
    hints=(
        "The density of w is proportional to `exp(kappa * w)` on (-1, 1); the cap is `w > cos(angle)`.",
        "Divide both integrals by `exp(kappa)`, so that all exponents are negative.",
        "`(1 - exp(-kappa (1 - c))) / (1 - exp(-2 kappa))`; `math.expm1(x)` is exp(x) - 1 without rounding.",
    ),
    cases=_cap_cases,
    checked="angles from 0 to 180 degrees, kappa from 0.001 to 10,000, against quadrature over the angle",
    mistakes=(
        Mistake(
            lambda degrees, kappa: -math.expm1(-kappa * (1 - math.cos(math.radians(degrees)))),
            "the normaliser 1 - exp(-2 kappa) is missing: it matters for small kappa.",
        ),
        Mistake(
            lambda degrees, kappa: math.expm1(-kappa * (1 - math.cos(degrees))) / math.expm1(-2 * kappa),
            "the angle is in degrees, and math.cos wants radians.",
        ),
        Mistake(
            lambda degrees, kappa: (
                (math.exp(kappa) - math.exp(kappa * math.cos(math.radians(degrees))))
                / (math.exp(kappa) - math.exp(-kappa))
            ),
            "the formula is right, but exp(kappa) overflows from 710 on: divide by it first.",
        ),
        Mistake(
            lambda degrees, kappa: (
                (1 - math.exp(-kappa * (1 - math.cos(math.radians(degrees))))) / (1 - math.exp(-2 * kappa))
            ),
            "the formula is right, but 1 - exp(-x) loses digits for small x: use -math.expm1(-x).",
        ),
        Mistake(
            lambda degrees, kappa: 1 - cap_share(degrees, kappa),
            "this is the share outside of the cap, one minus the share within.",
        ),
        Mistake(
            lambda degrees, kappa: (1 - math.cos(math.radians(degrees))) / 2,
            "this is the share of the area, the answer at kappa = 0.",
        ),
        Mistake(
            lambda degrees, kappa: _without_sine(degrees, kappa),
            "the area element sin(t) dt is missing: there is little room near the pole.",
        ),
    ),
)


def _without_sine(degrees: float, kappa: float) -> float:
    end = math.radians(degrees)
    points = [t for t in (1 / math.sqrt(kappa), 5 / math.sqrt(kappa)) if t < end]
    inner = quad(lambda t: math.exp(kappa * (math.cos(t) - 1)), 0, end, points=points or None, epsabs=0, epsrel=1e-11)[
        0
    ]
    points = [t for t in (1 / math.sqrt(kappa), 5 / math.sqrt(kappa)) if t < math.pi]
    whole = quad(
        lambda t: math.exp(kappa * (math.cos(t) - 1)), 0, math.pi, points=points or None, epsabs=0, epsrel=1e-11
    )[0]
    return inner / whole


# --- 2.2 -------------------------------------------------------------------------------------------------------------


def fit_concentration(z: Tensor) -> Tensor:
    """Maximum-likelihood concentration of the von Mises-Fisher law.

    Args:
        z: Unit vectors, shape (n, m), n and m at least 2, float64, not all equal.

    Returns:
        The kappa that maximises the likelihood of z together with the best mean direction, a scalar tensor of z's
        dtype, with a relative error below 1e-6.
    """
    m = z.shape[1]
    r = z.mean(0).norm()
    kappa = r * (m - r**2) / (1 - r**2)
    for _ in range(10):
        A = mean_resultant_length(kappa, m)
        slope = 1 - A**2 - (m - 1) * A / kappa
        kappa = kappa + (r - A) / slope
    return kappa


def _directions(rng: Generator, m: int, kappa: float, n: int) -> Tensor:
    """Points around e1, with w at random near what kappa asks for; not exactly of the law, which is not needed."""
    w = torch.from_numpy(_reference.quantile(rng.uniform(0.001, 0.999, n), kappa, m))
    v = unit_vectors(rng, n, m)
    v[:, 0] = 0
    v = v / v.norm(dim=1, keepdim=True)
    z = torch.sqrt(1 - w[:, None] ** 2) * v
    z[:, 0] = w
    return z / z.norm(dim=1, keepdim=True)


def _rotated(rng: Generator, z: Tensor) -> Tensor:
    q, _ = np.linalg.qr(rng.standard_normal((z.shape[1], z.shape[1])))
    return z @ torch.from_numpy(q)


def _best_concentration(r: float, m: int) -> float:
    low, high = r * (m - 1) / 2, 2 * m * r / (1 - r * r) + 1  # A <= x0 and a bound from above
    return brentq(lambda kappa: _reference.mean(kappa, m) - r, low, high, xtol=1e-12, rtol=1e-12)


def _fit_cases(rng: Generator) -> Iterator[Case]:
    laws = [(3, 2.0, 20), (2, 5.0, 30), (10, 30.0, 40), (3, 500.0, 10)]
    laws += [(int(rng.integers(3, 30)), float(log_uniform(rng, 2, 300)), int(rng.integers(20, 60))) for _ in range(4)]
    for m, kappa, n in laws:
        z = _rotated(rng, _directions(rng, m, kappa, n))
        r = float(z.mean(0).norm())
        yield value((z,), torch.tensor(_best_concentration(r, m), dtype=torch.float64), rtol=1e-6)


def _concentration(z: Tensor, r: Tensor | None = None, m: int | None = None) -> Tensor:
    r = z.mean(0).norm() if r is None else r
    return concentration_from_mean_resultant_length(r, z.shape[1] if m is None else m)


def _started(z: Tensor, form: Callable[[Tensor, int], Tensor]) -> Tensor:
    return form(z.mean(0).norm(), z.shape[1])


check_fit_concentration = Exercise(
    id="ch02.2",
    title="Maximum likelihood of the concentration",
    topic="The law",
    difficulty=3,
    importance=5,
    minutes=20,
    question="""\
Write `fit_concentration`, which returns the $\\hat\\kappa$ of unit vectors: the solution of $A_m(\\kappa) = r$ with
$r = \\lVert \\bar z \\rVert$. `mean_resultant_length` of the library may be used. $A_m'$ is the variance of
$w$: use the chapter's `moments`, or bisection; chapter 3 derives a closed form.""",
    solution=fit_concentration,
    explanation="""\
$A_m' = 1 - A_m^2 - \\frac{m-1}\\kappa A_m$ is positive, so there is one solution. Newton's method starts at $r(m -
r^2)/(1 - r^2)$, and doubles the number of right digits at each step. The start itself is often taken for the
answer; it can be wrong by 6% ($m = 2$, $r = 0.9$).""",
    hints=(
        "The likelihood depends on z through the length r of the mean vector alone. Solve A(kappa) = r.",
        "Newton: `kappa += (r - A) / A'`, with `A' = 1 - A**2 - (m-1) A / kappa`.",
        "Start at `r * (m - r**2) / (1 - r**2)`; ten steps are more than enough.",
    ),
    cases=_fit_cases,
    checked="m from 2 to 30, kappa from 2 to 500, 10 to 60 points, against A by quadrature and bisection",
    mistakes=(
        Mistake(
            lambda z: _started(z, lambda r, m: r * (m - r**2) / (1 - r**2)),
            "this is Banerjee's approximation, the start of Newton's method: go on from it.",
        ),
        Mistake(
            lambda z: _started(z, lambda r, m: (m - 1) / (2 * (1 - r))),
            "this is the limit for large kappa, 1 - A = (m-1) / (2 kappa).",
        ),
        Mistake(lambda z: _started(z, lambda r, m: m * r), "this is the limit for small kappa, A = kappa / m."),
        Mistake(
            lambda z: _concentration(z, r=z.norm(dim=1).mean().clamp(max=1)),
            "the mean of the lengths is 1: r is the length of the mean.",
        ),
        Mistake(
            lambda z: _concentration(z, m=z.shape[1] - 1) if z.shape[1] > 2 else 1 / (1 - z.mean(0).norm()),
            "A was taken for m - 1: m counts coordinates, not the dimensions of the sphere.",
        ),
        Mistake(lambda z: _concentration(z, r=z.mean(0).square().sum()), "r is squared: a root is missing."),
    ),
    replaces=(concentration_from_mean_resultant_length, VonMisesFisher.fit),
)

# --- 2.3 -------------------------------------------------------------------------------------------------------------


def em_step(z: Tensor, mus: Tensor, kappas: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of EM for a mixture of von Mises-Fisher laws.

    Args:
        z: Unit vectors, shape (n, m), float64.
        mus: Mean directions of the K components, shape (K, m).
        kappas: Concentrations, shape (K,), positive.
        shares: Weights of the components, shape (K,), positive, with sum 1.

    Returns:
        The next mus (K, m), kappas (K,) and shares (K,).
    """
    m = z.shape[1]
    joint = shares.log() + kappas * (z @ mus.T) - log_partition(kappas, m)
    r = joint.softmax(-1)  # E: shape (n, K)
    sums = r.T @ z  # M
    lengths = sums.norm(dim=-1)
    resultants = lengths / r.sum(0)
    return sums / lengths[:, None], concentration_from_mean_resultant_length(resultants, m), r.mean(0)


def _em_by_loops(
    z: np.ndarray, mus: np.ndarray, kappas: np.ndarray, shares: np.ndarray
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in NumPy, one point and one component at a time."""
    n, m = z.shape
    K = len(shares)
    r = np.zeros((n, K))
    for i in range(n):
        for k in range(K):
            r[i, k] = shares[k] * math.exp(kappas[k] * (z[i] @ mus[k]) - _reference.log_partition(float(kappas[k]), m))
        r[i] /= r[i].sum()
    sums = [sum(r[i, k] * z[i] for i in range(n)) for k in range(K)]
    lengths = [float(np.linalg.norm(total)) for total in sums]
    new = [_best_concentration(lengths[k] / r[:, k].sum(), m) for k in range(K)]
    means = np.stack([total / length for total, length in zip(sums, lengths, strict=True)])
    return torch.from_numpy(means), torch.tensor(new, dtype=torch.float64), torch.from_numpy(r.mean(0))


def _em_cases(rng: Generator) -> Iterator[Case]:
    for m in (3, 2, int(rng.integers(3, 12))):
        n, K = int(rng.integers(25, 40)), 3
        centres = unit_vectors(rng, K, m)
        points = centres[torch.from_numpy(rng.integers(0, K, n))] + 0.6 / math.sqrt(m) * torch.from_numpy(
            rng.standard_normal((n, m))
        )
        z = points / points.norm(dim=1, keepdim=True)
        shares = rng.uniform(0.5, 2, K)
        args = (unit_vectors(rng, K, m).numpy(), rng.uniform(1, 6, K) * m / 3, shares / shares.sum())
        yield value((z, *(torch.from_numpy(a) for a in args)), _em_by_loops(z.numpy(), *args), rtol=1e-6, atol=1e-9)


def _em_variant(
    weigh: Callable[[Tensor, Tensor], Tensor], resultant: Callable[[Tensor, Tensor], Tensor] | None = None
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """A wrong EM: `weigh` takes the exponents and the normalisers, log share - phi."""

    def step(z: Tensor, mus: Tensor, kappas: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        m = z.shape[1]
        r = weigh(kappas * (z @ mus.T), torch.stack([shares.log().expand_as(kappas), -log_partition(kappas, m)]))
        sums = r.T @ z
        lengths = sums.norm(dim=-1)
        of = lengths / r.sum(0) if resultant is None else resultant(lengths, r)
        return sums / lengths[:, None], concentration_from_mean_resultant_length(of, m), r.mean(0)

    return step


def _means_inside(z: Tensor, mus: Tensor, kappas: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mus, next_kappas, next_shares = em_step(z, mus, kappas, shares)
    return mean_resultant_length(next_kappas, z.shape[1])[:, None] * mus, next_kappas, next_shares


def _hard(exponents: Tensor, logs: Tensor) -> Tensor:
    joint = exponents + logs.sum(0)
    return torch.nn.functional.one_hot(joint.argmax(-1), joint.shape[-1]).to(joint.dtype)


check_em_step = Exercise(
    id="ch02.3",
    title="A mixture of three, by EM",
    topic="The law",
    difficulty=4,
    importance=3,
    minutes=30,
    question="""\
Write `em_step`: E and M for a mixture of von Mises-Fisher laws in any dimension, without a loop over points. The
library's `log_partition` and `concentration_from_mean_resultant_length` may be used.""",
    solution=em_step,
    explanation="""\
E: the posterior of the component is proportional to share times density, and both the share and the normaliser
$\\phi(\\kappa_k)$ differ between components. M: maximum likelihood with weights; the resultant length of a component
is $\\lVert\\sum_i r_{ik} z_i\\rVert / \\sum_i r_{ik}$, divided by the weight it has, not by $n$.""",
    hints=(
        "E: `r = softmax(log(shares) + log density, dim=-1)`, shape (n, K). The area S_m is the same for all, phi is "
        "not.",
        "M: `r.T @ z` has the weighted sums of all components, shape (K, m). Their directions are the new mus.",
        "The new kappas solve A(kappa) = length of the sum / r.sum(0); the new shares are r.mean(0).",
    ),
    cases=_em_cases,
    checked="three components, m from 2 to 12, 25 to 40 points, against loops with quadrature and bisection",
    mistakes=(
        Mistake(
            _em_variant(lambda e, logs: (e + logs[1]).softmax(-1)),
            "the shares are missing in E: a common component is more likely before z is seen.",
        ),
        Mistake(
            _em_variant(lambda e, logs: (e + logs[0]).softmax(-1)),
            "phi(kappa) is missing in E: a narrow component is higher at its peak and lower elsewhere.",
        ),
        Mistake(
            _means_inside,
            "the new mus are the weighted means of the points, inside the sphere: divide them by their lengths.",
        ),
        Mistake(_em_variant(_hard), "each point is given to one component: this is k-means, and E keeps fractions."),
        Mistake(
            _em_variant(lambda e, logs: (e + logs.sum(0)).softmax(0)),
            "the softmax runs over the points: it has to run over the components (dim=-1).",
        ),
        Mistake(
            _em_variant(lambda e, logs: (e + logs.sum(0)).softmax(-1), lambda lengths, r: lengths / len(r)),
            "the length of the sum is divided by n: divide by the component's own weight, r.sum(0).",
        ),
    ),
)

# --- 2.4 -------------------------------------------------------------------------------------------------------------


def how_many(scores: Tensor, block: Tensor) -> int:
    """The number of components, by held-out log-likelihood.

    The best model is that of the largest mean score. Chosen is the smallest one that is not clearly worse: its mean
    score falls behind that of the best by at most one standard error of this difference. Neighbouring points resemble
    each other, so means and standard errors are those of the means of blocks: if the B blocks have the mean differences
    D_b, the standard error is the standard deviation of the D_b (with B - 1) divided by the root of B.

    Args:
        scores: Held-out log-likelihood of each point under the models with 1, 2, ..., K components, shape (n, K).
        block: The block of each point, integers from 0 to B - 1, shape (n,); blocks count equally, whatever their size.

    Returns:
        The number of components, from 1 to K.
    """
    blocks = int(block.max()) + 1
    means = torch.stack([scores[block == b].mean(0) for b in range(blocks)])  # shape (B, K)
    best = int(means.mean(0).argmax())
    behind = means[:, best, None] - means
    error = behind.std(0) / math.sqrt(blocks)
    return int((behind.mean(0) <= error).nonzero()[0]) + 1


def _how_many_by_loops(scores: np.ndarray, block: np.ndarray) -> int:
    blocks = sorted(set(block.tolist()))
    best = max(range(scores.shape[1]), key=lambda k: sum(float(scores[block == b, k].mean()) for b in blocks))
    for k in range(scores.shape[1]):
        gaps = [float((scores[block == b, best] - scores[block == b, k]).mean()) for b in blocks]
        mean = sum(gaps) / len(gaps)
        variance = sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
        if mean <= math.sqrt(variance / len(gaps)):
            return k + 1
    raise AssertionError


def _how_many_cases(rng: Generator) -> Iterator[Case]:
    for number in range(24):
        B, size, K = int(rng.integers(6, 12)), int(rng.integers(10, 30)), 5
        block = np.repeat(np.arange(B), size)
        rng.shuffle(block)
        truth = 1 + number % 4
        gain = -0.3 * np.maximum(truth - 1 - np.arange(K), 0) + 0.02 * rng.standard_normal(K)
        common = 0.1 * rng.standard_normal((B, K))[block]
        scores = gain + common + 2 * rng.standard_normal((B * size, 1)) + 0.2 * rng.standard_normal((B * size, K))
        yield value((torch.from_numpy(scores), torch.from_numpy(block)), _how_many_by_loops(scores, block), rtol=0)
    # One component is behind by an error of which B in place of B - 1 makes too little.
    B, size = int(rng.integers(6, 12)), int(rng.integers(10, 30))
    block = np.repeat(np.arange(B), size)
    gaps = rng.standard_normal(B)
    gaps = (gaps - gaps.mean()) / gaps.std(ddof=1) + (1 + math.sqrt(1 - 1 / B)) / 2 / math.sqrt(B)
    scores = 2 * rng.standard_normal((B * size, 1)) - np.stack([gaps, np.zeros(B)], axis=1)[block]
    yield value((torch.from_numpy(scores), torch.from_numpy(block)), _how_many_by_loops(scores, block), rtol=0)
    # Blocks of unequal sizes: the second model is ahead in all but the largest, which has most of the points.
    block = np.repeat(np.arange(B), [20 * size if b == 0 else size for b in range(B)])
    scores = 2 * rng.standard_normal((len(block), 1)) + np.where(block == 0, -1.0, 1.0)[:, None] * [0.0, 1.0]
    case = value((torch.from_numpy(scores), torch.from_numpy(block)), _how_many_by_loops(scores, block), rtol=0)
    yield dataclasses.replace(case, same=lambda one, other: True)  # it tells one mistake, of which others may have part


def _rule(scores: Tensor, block: Tensor, error: Callable[[Tensor, Tensor, int], Tensor]) -> int:
    """One standard error, of another kind: `error` takes scores, blocks and the best."""
    means = _block_means(scores, block).mean(0)
    best = int(means.argmax())
    return int((means[best] - means <= error(scores, block, best)).nonzero()[0]) + 1


def _points_count_equally(scores: Tensor, block: Tensor) -> int:
    best = int(scores.mean(0).argmax())
    behind = scores.mean(0)[best] - scores.mean(0)
    return int((behind <= _block_error(scores, block, best)).nonzero()[0]) + 1


def _block_means(scores: Tensor, block: Tensor) -> Tensor:
    return torch.stack([scores[block == b].mean(0) for b in range(int(block.max()) + 1)])


def _block_error(scores: Tensor, block: Tensor, best: int) -> Tensor:
    means = _block_means(scores, block)
    return (means[:, best, None] - means).std(0) / math.sqrt(len(means))


check_how_many = Exercise(
    id="ch02.4",
    title="How many components?",
    topic="The law",
    difficulty=2,
    importance=3,
    minutes=15,
    question="""\
More components can only fit the training points better, so the choice is made on points that were held out. Write
`how_many`: the smallest model that is within one standard error of the best. In the chapter the blocks are
kilometres of the valley.""",
    solution=how_many,
    explanation="""\
Two models are compared on the same points, so the scatter that they share cancels in the difference: the error of
the difference is much smaller than that of either mean. And a thousand neighbours are no thousand facts: their mean
is one number a block. Both mistakes are common, and they go in opposite directions.""",
    hints=(
        "First the mean score of each block and model, shape (B, K). The best model is that of the largest mean.",
        "Subtract each model's score from that of the best, block by block: how far is it behind? Shape (B, K) again.",
        "The standard error of the mean over blocks is that of B numbers: their `std(0)`, divided by the root of B. "
        "Take the "
        "first model that is behind by no more.",
    ),
    cases=_how_many_cases,
    checked="26 sets of scores, one of them in unequal blocks, 6 to 11 blocks, one to five components, against loops",
    mistakes=(
        Mistake(
            lambda scores, block: int(scores.mean(0).argmax()) + 1,
            "this is the best model, without the standard error: it takes components that bring nothing.",
        ),
        Mistake(
            lambda scores, block: how_many(scores, block) - 1,
            "it counts from 0: column 0 is the model with one component.",
        ),
        Mistake(
            lambda scores, block: _rule(
                scores, block, lambda s, b, best: (s[:, best, None] - s).std(0) / math.sqrt(len(s))
            ),
            "the points are taken for independent: the standard error has to come from the means of blocks.",
        ),
        Mistake(
            lambda scores, block: _rule(
                scores, block, lambda s, b, best: _block_means(s, b)[:, best].std() / math.sqrt(int(b.max()) + 1)
            ),
            "this is the standard error of the best score, not that of the difference, in which the scatter that both "
            "models share cancels.",
        ),
        Mistake(
            lambda scores, block: _rule(
                scores, block, lambda s, b, best: _block_error(s, b, best) * math.sqrt(int(b.max()) + 1)
            ),
            "this is the standard deviation between blocks: divide by the root of their number.",
        ),
        Mistake(
            lambda scores, block: _rule(
                scores, block, lambda s, b, best: _block_error(s, b, best) * math.sqrt(1 - 1 / (int(b.max()) + 1))
            ),
            "the standard deviation divides by B: it is to divide by B - 1 (correction=1, ddof=1).",
        ),
        Mistake(
            _points_count_equally,
            "the means are those over points, in which a large block counts for more: take the means of blocks first, "
            "and then their mean.",
        ),
    ),
)
