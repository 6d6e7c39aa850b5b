"""Chapter 5: gradients through a rejection sampler."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.integrate import quad
from torch import Tensor

from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, doubles, gradient, log_uniform, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.special import (
    log_partition,
    mean_resultant_length,
    mean_resultant_length_derivative,
)

# --- 5.1 -------------------------------------------------------------------------------------------------------------


def found_share(kappa: Tensor, m: int) -> Tensor:
    """Share of the derivative of E[w] that autograd finds if the correction is missing.

    Autograd through the accepted proposals gives E[dh/dkappa], and the truth is A'(kappa), both under the von
    Mises-Fisher law of w. The share is E[dh/dkappa] / A'(kappa).

    Args:
        kappa: Concentrations, any shape, from 0.1 to 300, float64.
        m: Dimension of the ambient space, at least 2.

    Returns:
        The share, between 0 and 1, of kappa's shape and dtype.
    """
    A = mean_resultant_length(kappa, m)
    rho = torch.sqrt((m - 1) ** 2 + 4 * kappa**2)
    found = (m - 1) * A / (kappa * rho)
    truth = 1 - A**2 - (m - 1) * A / kappa
    return found / truth


def _share(kappa: Tensor, m: int, rho: Tensor | None = None, other: bool = False) -> Tensor:
    """Variants of the solution."""
    truth = mean_resultant_length_derivative(kappa, m)
    rho = torch.sqrt((m - 1) ** 2 + 4 * kappa**2) if rho is None else rho
    found = (m - 1) * mean_resultant_length(kappa, m) / (kappa * rho)
    return 1 - found / truth if other else found / truth


def _lost_cases(rng: Generator) -> Iterator[Case]:
    def case(kappa: np.ndarray, m: int) -> Case:
        shares = []
        for k in kappa.flat:
            w, p = _reference.law(k, m)
            shares.append((1 - w**2) @ p / math.hypot(m - 1, 2 * k) / _reference.variance(k, m))
        truth = torch.tensor(shares, dtype=torch.float64).reshape(kappa.shape)
        return value((torch.from_numpy(kappa), m), truth, rtol=1e-6)

    yield case(np.array(2.0), 5)
    for m in (2, 3, 10, int(rng.integers(4, 60))):
        yield case(log_uniform(rng, 0.1, 300, 3), m)
    yield case(log_uniform(rng, 0.1, 300, (2, 2)), int(rng.integers(2, 60)))


check_found_share = Exercise(
    id="ch05.1",
    title="The lost term, in numbers",
    topic="Gradients",
    difficulty=2,
    importance=4,
    minutes=15,
    question="""\
How much of the gradient does autograd find, if the sampler is run as it is? Take $f(w) = w$. Write `found_share`,
which returns $E[\\partial h/\\partial\\kappa] / A_m'(\\kappa)$, and find the $\\kappa$ at which the circle loses
most. `mean_resultant_length` of the library may be used.""",
    solution=found_share,
    explanation="""\
$E[\\partial h/\\partial\\kappa] = E[1-w^2]/\\rho$, and integration by parts turns $E[1-w^2]$ into $(m-1)A/\\kappa$.
The Riccati equation has $A'$. The difference, $1$ minus the share, is what the score term would have brought. On the
circle the share is smallest, 0.51, at $\\kappa \\approx 1.66$.""",
    hints=(
        "Both expectations are elementary functions of A, which `mean_resultant_length` computes.",
        "`dh/dkappa = (1 - w**2) / rho` with `rho = sqrt((m-1)**2 + 4 kappa**2)`, and `kappa E[1 - w**2] = (m-1) A`.",
        "`A' = 1 - A**2 - (m-1) A / kappa`. Divide.",
    ),
    cases=_lost_cases,
    checked="m from 2 to 60, kappa from 0.1 to 300, shapes (), (3,) and (2, 2), against quadrature",
    mistakes=(
        Mistake(
            lambda kappa, m: _share(kappa, m, other=True),
            "this is the share that is lost, one minus the share that autograd finds.",
        ),
        Mistake(
            lambda kappa, m: _share(kappa, m, rho=torch.sqrt((m - 1) ** 2 + kappa**2)),
            "the 4 is missing in rho = sqrt((m-1)^2 + 4 kappa^2).",
        ),
        Mistake(
            lambda kappa, m: _share(kappa, m, rho=torch.sqrt(m**2 + 4 * kappa**2)) * m / (m - 1),
            "m stands where m - 1 should: the sphere has m - 1 dimensions.",
        ),
        Mistake(
            lambda kappa, m: _share(kappa, m) * mean_resultant_length_derivative(kappa, m),
            "this is E[dh/dkappa] itself: divide by A'(kappa).",
        ),
        Mistake(
            lambda kappa, m: torch.ones_like(kappa),
            "one everywhere would mean that nothing is lost: E[dh/dkappa] alone is not A'(kappa).",
        ),
    ),
)

# --- 5.2 -------------------------------------------------------------------------------------------------------------


def corrected_slopes(f: Callable[[Tensor], Tensor], w: Tensor, kappa: Tensor, m: int) -> Tensor:
    """Unbiased estimates of d/dkappa E[f(w)], one from each accepted sample: the score cure.

    Args:
        f: A differentiable function, applied to each element.
        w: Samples of w = mu.z from the rejection sampler at concentration kappa, shape (n,), in (-1, 1).
        kappa: Concentration, a scalar tensor, positive.
        m: Dimension of the ambient space, at least 2.

    Returns:
        f'(w) dh/dkappa + f(w) dlog(pi)/dkappa, shape (n,), of w's dtype.
    """
    w = w.detach().requires_grad_()
    cost = f(w)
    (slope,) = torch.autograd.grad(cost.sum(), w)
    w, cost = w.detach(), cost.detach()
    rho = torch.sqrt((m - 1) ** 2 + 4 * kappa**2)
    x0 = 2 * kappa / (m - 1 + rho)
    score = x0 - mean_resultant_length(kappa, m) - kappa * (w - x0) ** 2 / rho
    return slope * (1 - w**2) / rho + cost * score


def _slopes(
    f: Callable[[Tensor], Tensor],
    w: Tensor,
    kappa: Tensor,
    m: int,
    weigh: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Variants: `weigh` combines f, f' and the score."""
    w = w.detach().requires_grad_()
    cost = f(w)
    (slope,) = torch.autograd.grad(cost.sum(), w)
    w, cost = w.detach(), cost.detach()
    rho = torch.sqrt((m - 1) ** 2 + 4 * kappa**2)
    x0 = 2 * kappa / (m - 1 + rho)
    score = x0 - mean_resultant_length(kappa, m) - kappa * (w - x0) ** 2 / rho
    return slope * (1 - w**2) / rho + weigh(cost, slope, score)


def _identity(w: Tensor) -> Tensor:
    return w


def _shifted(w: Tensor) -> Tensor:
    return w + 10


def _wave(w: Tensor) -> Tensor:
    return torch.sin(3 * w)


def _exponential(w: Tensor) -> Tensor:
    return torch.exp(w)


COSTS: list[tuple[Callable[[Tensor], Tensor], Callable[[np.ndarray], np.ndarray]]] = [
    (_identity, np.ones_like),
    (_shifted, np.ones_like),
    (_wave, lambda w: 3 * np.cos(3 * w)),
    (_exponential, np.exp),
]


def _log_pi(x: np.ndarray, kappa: float, m: int) -> np.ndarray:
    """Logarithm of M a(x): the density of accepted proposals relative to the proposals', with M by quadrature."""
    x0 = _reference.zoom_constant(kappa, m)
    c = 1 / (1 + x0 * x)
    log_rate = _reference.log_partition(kappa, m) - kappa * x0 - (m - 1) / 2 * math.log1p(-(x0**2))
    return (m - 1) * (np.log(c) + 1 - c) - log_rate


def _moved(x: np.ndarray, kappa: float, m: int) -> np.ndarray:
    x0 = _reference.zoom_constant(kappa, m)
    return (x0 + x) / (1 + x0 * x)


def _by_differences(
    x: np.ndarray, kappa: float, m: int, f: Callable[[Tensor], Tensor], df: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Both terms with derivatives by finite differences."""
    step = 1e-4 * kappa
    w = _moved(x, kappa, m)
    path = (_moved(x, kappa + step, m) - _moved(x, kappa - step, m)) / (2 * step)
    score = (_log_pi(x, kappa + step, m) - _log_pi(x, kappa - step, m)) / (2 * step)
    return df(w) * path + f(torch.from_numpy(w)).numpy() * score


def _slope_cases(rng: Generator) -> Iterator[Case]:
    for number, (m, kappa) in enumerate([(2, 2.0), (5, 2.0), (10, 10.0), (int(rng.integers(3, 40)), None)] * 2):
        kappa = float(log_uniform(rng, 0.5, 50)) if kappa is None else kappa
        f, df = COSTS[number % 4] if number < 4 else COSTS[(number + 1) % 4]
        x = rng.uniform(-0.95, 0.95, 5)
        truth = torch.from_numpy(_by_differences(x, kappa, m, f, df))
        w = torch.from_numpy(_moved(x, kappa, m))
        yield value((f, w, torch.tensor(kappa, dtype=torch.float64), m), truth, rtol=1e-5, atol=1e-6)


check_corrected_slopes = Exercise(
    id="ch05.2",
    title="The score cure",
    topic="Gradients",
    difficulty=3,
    importance=3,
    minutes=20,
    question="""\
Repair the gradient by adding what autograd does not see. Write `corrected_slopes`, which returns for each accepted
sample $f'(w)\\,\\partial h/\\partial\\kappa + f(w)\\,\\partial\\log\\pi_\\kappa/\\partial\\kappa$. Then compare the
spread of its values for $f(w) = w$ and $f(w) = w + 10$. `mean_resultant_length` of the library may be used.""",
    solution=corrected_slopes,
    explanation="""\
The first term moves the sample with its proposal held fixed; the second weighs it by how its probability to be
accepted changes. The score has two parts: $-\\kappa(w-x_0)^2/\\rho$ from the acceptance, and $x_0 - A$ from the
normaliser $M$. Without the second part the mean of the score is not zero, and a constant added to $f$ changes the
result.""",
    hints=(
        "`f'` comes from `torch.autograd.grad` with respect to a copy of `w` that requires a gradient.",
        "With `rho = sqrt((m-1)**2 + 4 kappa**2)` and `x0 = 2 kappa / (m-1 + rho)`, `dh/dkappa = (1 - w**2) / rho`.",
        "The score is `x0 - A - kappa (w - x0)**2 / rho`: the first two terms come from the normaliser M.",
    ),
    cases=_slope_cases,
    checked="four functions f, m from 2 to 40, kappa from 0.5 to 50, against finite differences of log pi and h",
    mistakes=(
        Mistake(
            lambda f, w, kappa, m: _slopes(f, w, kappa, m, lambda cost, slope, score: torch.zeros_like(cost)),
            "the correction is missing: this is what autograd finds with the accepted proposals held fixed.",
        ),
        Mistake(
            lambda f, w, kappa, m: _slopes(
                f, w, kappa, m, lambda cost, slope, score: cost * (w - mean_resultant_length(kappa, m))
            ),
            "w - A is the score of the density of w. It accounts for all of the change, so that together with "
            "f' dh/dkappa part of it counts twice; needed is the score of pi, the density of the accepted x.",
        ),
        Mistake(
            lambda f, w, kappa, m: _slopes(
                f,
                w,
                kappa,
                m,
                lambda cost, slope, score: cost * (score - _x0(kappa, m) + mean_resultant_length(kappa, m)),
            ),
            "the normaliser M is missing in the score: x0 - A. Its mean has to be zero.",
        ),
        Mistake(
            lambda f, w, kappa, m: _slopes(f, w, kappa, m, lambda cost, slope, score: score),
            "the score has to be multiplied by f(w).",
        ),
        Mistake(
            lambda f, w, kappa, m: _slopes(f, w, kappa, m, lambda cost, slope, score: -cost * score),
            "the correction has the wrong sign.",
        ),
    ),
)


def _x0(kappa: Tensor, m: int) -> Tensor:
    return 2 * kappa / (m - 1 + torch.sqrt((m - 1) ** 2 + 4 * kappa**2))


# --- 5.3 -------------------------------------------------------------------------------------------------------------


def surrogate(f: Callable[[Tensor], Tensor], x: Tensor, kappa: Tensor, m: int) -> Tensor:
    """A loss with the value mean f(w) whose gradient by autograd has the correction.

    Args:
        f: A differentiable function, applied to each element.
        x: Accepted proposals, heights of uniform points, shape (n,), in (-1, 1); no gradient.
        kappa: Concentration, a scalar tensor, positive, that may require a gradient.
        m: Dimension of the ambient space, at least 2.

    Returns:
        A scalar of kappa's dtype: mean f(w) with w = (x0 + x) / (1 + x0 x). Its derivative by kappa is the mean of
        f'(w) dh/dkappa + f(w) dlog(pi)/dkappa.
    """
    x0 = 2 * kappa / (m - 1 + torch.sqrt((m - 1) ** 2 + 4 * kappa**2))
    c = 1 / (1 + x0 * x)
    cost = f((x0 + x) * c)
    log_acceptance = (m - 1) * (torch.log(c) + 1 - c)
    log_rate = log_partition(kappa, m) - kappa * x0 - (m - 1) / 2 * torch.log1p(-(x0**2))
    log_pi = log_acceptance - log_rate
    return (cost + cost.detach() * (log_pi - log_pi.detach())).mean()


def _surrogate(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    kappa: Tensor,
    m: int,
    combine: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Variants: `combine` takes f(w), w, log a and the logarithm of the acceptance rate."""
    x0 = _x0(kappa, m)
    c = 1 / (1 + x0 * x)
    w = (x0 + x) * c
    log_rate = log_partition(kappa, m) - kappa * x0 - (m - 1) / 2 * torch.log1p(-(x0**2))
    return combine(f(w), w, (m - 1) * (torch.log(c) + 1 - c), log_rate).mean()


def _variant(combine: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda f, x, kappa, m: _surrogate(f, x, kappa, m, combine)


def _centred(log_weight: Tensor) -> Tensor:
    return log_weight - log_weight.detach()


def _double_count(f: Callable[[Tensor], Tensor], x: Tensor, kappa: Tensor, m: int) -> Tensor:
    x0 = _x0(kappa, m)
    w = (x0 + x) / (1 + x0 * x)
    log_density = kappa * w.detach() - log_partition(kappa, m)
    return (f(w) + f(w).detach() * _centred(log_density)).mean()


def _surrogate_cases(rng: Generator) -> Iterator[Case]:
    for number, (m, kappa) in enumerate([(2, 2.0), (5, 2.0), (10, 10.0), (int(rng.integers(3, 40)), None)]):
        kappa = float(log_uniform(rng, 0.5, 50)) if kappa is None else kappa
        f, df = COSTS[number]
        x = rng.uniform(-0.95, 0.95, 6)
        args = (f, torch.from_numpy(x), torch.tensor(kappa, dtype=torch.float64), m)
        yield value(args, f(torch.from_numpy(_moved(x, kappa, m))).mean(), rtol=1e-9, atol=1e-12)
        slope = torch.tensor(_by_differences(x, kappa, m, f, df).mean())
        yield gradient(args, 2, torch.tensor(1.0, dtype=torch.float64), slope, rtol=1e-5, atol=1e-6)


check_surrogate = Exercise(
    id="ch05.3",
    title="A surrogate loss",
    topic="Gradients",
    difficulty=4,
    importance=3,
    minutes=25,
    question="""\
Training code wants one number to call `backward()` on. Write `surrogate`: a scalar whose value is the mean of
$f(w)$, and whose gradient by autograd is that of the score cure, without a formula for any derivative.
`log_partition` of the library may be used. Chapter 4 has $1/M = e^{\\phi - \\kappa x_0} (1 - x_0^2)^{-(m-1)/2}$.""",
    solution=surrogate,
    explanation="""\
$f\\cdot(\\log\\pi - \\text{the same, detached})$ has the value zero and the gradient
$f\\,\\partial\\log\\pi$; the derivative of $f$ is multiplied by zero. Added to $f(w)$, through which autograd
finds the pathwise term, it completes Lemma 2. Here $\\log\\pi$ holds $x$ fixed, so it is $\\log a_\\kappa(x) +
\\log M$ and not the density of $w$.""",
    hints=(
        "`y * (s - s.detach())` has the value 0; its gradient is `y` times that of `s`.",
        "`log_pi = (m-1) (log c + 1 - c) + log M` with `c = 1 / (1 + x0 x)`; autograd differentiates it for you.",
        "`log M = kappa x0 + (m-1)/2 log(1 - x0**2) - phi`.",
    ),
    cases=_surrogate_cases,
    checked="value and gradient for four functions f, m from 2 to 40, kappa from 0.5 to 50, against finite differences",
    mistakes=(
        Mistake(
            _variant(lambda cost, w, log_a, log_rate: cost),
            "the correction is missing: the value is right, and autograd sees the proposals move but not that others "
            "are accepted.",
        ),
        Mistake(
            _variant(lambda cost, w, log_a, log_rate: cost + cost.detach() * _centred(log_a)),
            "log M is missing in log pi: the acceptance rate depends on kappa too.",
        ),
        Mistake(
            _variant(lambda cost, w, log_a, log_rate: cost + cost.detach() * (log_a - log_rate)),
            "the gradient is right but the value is not: subtract log_pi.detach(), so that the second term is zero.",
        ),
        Mistake(
            _variant(lambda cost, w, log_a, log_rate: cost + cost * (log_a - log_rate)),
            "f is not detached where it multiplies log pi: its own derivative comes in once more.",
        ),
        Mistake(
            _double_count,
            "the score is that of the density of w at fixed w. It accounts for all of the change by itself; "
            "together with the pathwise term part of it counts twice.",
        ),
    ),
)

# --- 5.4 -------------------------------------------------------------------------------------------------------------


def implicit_gradient(w: Tensor, kappa: Tensor, m: int) -> Tensor:
    """Attach to samples w the derivative by kappa at fixed quantile: what `rsample` does.

    Args:
        w: Samples of w = mu.z at concentration kappa, however they were drawn, shape (n,), in (-1, 1), no gradient.
        kappa: Concentrations, shape (n,), positive; may require a gradient.
        m: Dimension of the ambient space, at least 2.

    Returns:
        The same numbers w, shape (n,), of w's dtype. Their gradient is dw/dkappa = -(dF/dkappa) / p, with the
        distribution function F and the density p of w. Write it as a torch.autograd.Function.
    """

    class Implicit(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Tensor, kappa: Tensor) -> Tensor:
            ctx.save_for_backward(w, kappa)
            return w.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
            w, kappa = (saved.double() for saved in ctx.saved_tensors)
            nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(64))
            A, theta = mean_resultant_length(kappa, m), torch.acos(w)
            # The tail on which t - A does not change its sign, as far as nine widths of the density.
            width = torch.rsqrt(kappa * w.clamp(min=0) + (m - 2) / torch.sin(theta) ** 2)
            length = torch.minimum(torch.where(w > A, theta, math.pi - theta), 9 * width)
            s = theta[:, None] + torch.where(w > A, -length, length)[:, None] * (nodes + 1) / 2
            ratio = torch.exp(kappa[:, None] * (torch.cos(s) - w[:, None]))
            ratio = ratio * (torch.sin(s) / torch.sin(theta)[:, None]) ** (m - 2)
            integral = length * (((torch.cos(s) - A[:, None]).abs() * ratio) @ (weights / 2))
            return None, grads[0] * (torch.sin(theta) * integral).to(grads[0].dtype)

    return Implicit.apply(w, kappa)


def _attached(slope: Callable[[Tensor, Tensor, int], Tensor], ignore: bool = False) -> Callable[..., Tensor]:
    """A function that attaches another derivative."""

    def attach(w: Tensor, kappa: Tensor, m: int) -> Tensor:
        rate = slope(w.double(), kappa.detach().double(), m).to(w.dtype)
        result = w + rate * (kappa - kappa.detach())
        if ignore:  # of the gradient that comes in
            result.register_hook(lambda grad: torch.ones_like(grad))
        return result

    return attach


def _exact(w: Tensor, kappa: Tensor, m: int) -> Tensor:
    """dw/dkappa by autograd through the solution, in float64."""
    variable = kappa.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(implicit_gradient(w, variable, m).sum(), variable)
    return slope


def _pathwise(w: Tensor, kappa: Tensor, m: int) -> Tensor:
    return (1 - w**2) / torch.sqrt((m - 1) ** 2 + 4 * kappa**2)


def _density(w: Tensor, kappa: Tensor, m: int) -> Tensor:
    constant = math.lgamma(m / 2) - math.lgamma((m - 1) / 2) - math.log(math.pi) / 2
    return torch.exp(kappa * w - log_partition(kappa, m) + constant) * (1 - w**2) ** ((m - 3) / 2)


def _implicit_truth(w: float, kappa: float, m: int) -> float:
    """-(dF/dkappa) / p, with the derivative of F by finite differences of quadratures."""
    theta = math.acos(w)
    peak = math.acos(2 * kappa / (m - 2 + math.hypot(m - 2, 2 * kappa))) if m > 2 else 0.0

    def mass(k: float, low: float, high: float) -> float:
        points = [p for p in (peak,) if low < p < high]
        top = math.cos(peak)

        def f(s: float) -> float:
            return math.exp(k * (math.cos(s) - top)) * (math.sin(s) if m > 2 else 1.0) ** (m - 2)

        return quad(f, low, high, points=points or None, epsabs=0, epsrel=1e-11, limit=200)[0]

    def above(k: float) -> float:
        inner, outer = mass(k, 0.0, theta), mass(k, theta, math.pi)
        return inner / (inner + outer)

    step = 5e-3 * kappa
    slope = (8 * (above(kappa + step) - above(kappa - step)) - above(kappa + 2 * step) + above(kappa - 2 * step)) / 12
    return slope / step / float(_density(doubles(w), doubles(kappa), m))


def _implicit_cases(rng: Generator) -> Iterator[Case]:
    laws = [(5, 2.0), (2, 2.0), (10, 10.0), (3, 5.0), (int(rng.integers(4, 40)), float(log_uniform(rng, 0.3, 100)))]
    for number, (m, kappa) in enumerate(laws):
        n = int(rng.integers(3, 6))
        dtype, rtol = (torch.float32, 2e-3) if number == 3 else (torch.float64, 1e-4)
        kappas = torch.from_numpy(kappa * rng.uniform(0.7, 1.4, n)).to(dtype)
        shares = rng.uniform(0.02, 0.98, n)
        w = [_reference.quantile(u, float(k), m) for u, k in zip(shares, kappas, strict=True)]
        draws = torch.tensor(np.array(w), dtype=dtype)
        if number == 0:
            draws[-1] = mean_resultant_length(kappas, m)[-1]  # neither above A nor below
        args = (draws, kappas, m)
        truth = torch.tensor(
            [_implicit_truth(float(x), float(k), m) for x, k in zip(draws, kappas, strict=True)], dtype=dtype
        )
        weights = torch.from_numpy(rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)).to(dtype)
        # A mistake that goes back to the proposal and forth returns w rounded, and is known all the same.
        same = value(args, draws, rtol=rtol, atol=1e-5).same
        yield dataclasses.replace(value(args, draws, rtol=1e-4 * rtol), same=same)
        yield gradient(args, 1, weights, weights * truth, rtol=rtol, atol=1e-9)


check_implicit_gradient = Exercise(
    id="ch05.4",
    title="rsample, by implicit differentiation",
    topic="Gradients",
    difficulty=4,
    importance=5,
    minutes=30,
    question="""\
The heart of the library: take samples $w$ that somebody has drawn by rejection, and give them the derivative that
holds their quantile still. Write `implicit_gradient` with a `torch.autograd.Function` whose forward pass returns $w$
and whose backward pass multiplies by $dw/d\\kappa$. `mean_resultant_length` of the library may be used, and
`dw_dkappa` of this chapter, if you copy it. The chapter's `dw_dkappa` takes one $\\kappa$. Here each sample has its
own: write `kappa[:, None]` and `A[:, None]` inside the integral.""",
    solution=implicit_gradient,
    explanation="""\
$F_\\kappa(w) = u$ at fixed $u$ gives $dw/d\\kappa = -\\partial_\\kappa F / p$, and $\\partial_\\kappa F =
\\int_{-1}^w (t - A)\\,p\\,dt$ because $t - A$ is the score. The integral over the tail on which $t - A$ keeps its
sign has nothing to cancel, and in the angle nothing is singular. `forward` may do what it likes: autograd asks only
`backward`, which must multiply by the gradient that comes in.""",
    hints=(
        "`forward(ctx, w, kappa)` saves both and returns `w.clone()`; `backward(ctx, g)` returns one gradient for each "
        "argument: `None, g * dw_dkappa`.",
        "`dw/dkappa = (1/p(w)) * integral from w to 1 of (t - A) p(t) dt`. The normaliser of p divides out.",
        "Put `t = cos(s)`, `w = cos(theta)`: `dw/dkappa = sin(theta) * integral from 0 to theta of (cos(s) - A) "
        "exp(kappa (cos(s) - w)) (sin(s)/sin(theta))**(m-2) ds`; 64 Gauss-Legendre nodes are enough. For w < A take "
        "the other tail, from theta to pi, with A - cos(s).",
    ),
    cases=_implicit_cases,
    checked="values, and gradients with random weights, m from 2 to 40, kappa from 0.2 to 140, another for each "
    "sample, float64 and float32, against finite differences of the distribution function",
    mistakes=(
        Mistake(
            _attached(_pathwise),
            "the acceptance correction is missing: (1 - w^2)/rho is the derivative at a fixed proposal. Hold the "
            "quantile, not the proposal.",
        ),
        Mistake(
            _attached(lambda w, kappa, m: -_exact(w, kappa, m)),
            "the sign: F(w) = u gives p dw + dF/dkappa dkappa = 0, so dw/dkappa = -(dF/dkappa) / p.",
        ),
        Mistake(
            _attached(lambda w, kappa, m: _exact(w, kappa, m) * _density(w, kappa, m)),
            "the division by the density p(w) is missing.",
        ),
        Mistake(
            _attached(lambda w, kappa, m: mean_resultant_length_derivative(kappa, m)),
            "each sample got A'(kappa), which is only the mean of dw/dkappa over the samples.",
        ),
        Mistake(
            _attached(lambda w, kappa, m: _exact(w, kappa[:1].expand_as(kappa), m)),
            "one kappa was taken for all samples, the first: each has its own, `kappa[:, None]` inside the integral.",
        ),
        Mistake(
            _attached(lambda w, kappa, m: _exact(w, kappa, m) * (mean_resultant_length(kappa, m) != w)),
            "the derivative is 0 for a sample that equals A, since torch.sign(A - w) is: take one of the tails there.",
        ),
        Mistake(
            _attached(_exact, ignore=True),
            "backward ignores the gradient that comes in: multiply dw/dkappa by it.",
        ),
    ),
)
