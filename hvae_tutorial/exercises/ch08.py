"""Chapter 8: the S-VAE, assembled."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional as F

from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, Refused, log_uniform, misfit, unit_vectors, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.special import mean_resultant_length, mean_resultant_length_derivative

# --- 8.1 -------------------------------------------------------------------------------------------------------------


def head(u: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """The parameters of q(z|x) from what two linear layers return.

    Args:
        u: Not yet a direction, shape (..., m), not zero.
        raw: Not yet a concentration, shape (..., 1), any real numbers.

    Returns:
        mu = u / |u|, shape (..., m), and kappa = log(1 + exp(raw)) + 1, shape (...). Both have gradients.
    """
    mu = F.normalize(u, dim=-1)
    kappa = F.softplus(raw).squeeze(-1) + 1
    return mu, kappa


def _head_slopes(weights: np.ndarray, more: np.ndarray) -> Callable[..., Any]:
    """Ask for the gradients of a weighted sum of mu and kappa."""

    def ask(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        u, raw = (arg.requires_grad_() for arg in args)
        answer = function(u, raw)
        problem = misfit(answer, (torch.empty(weights.shape).double(), torch.empty(more.shape).double()))
        if problem:
            raise Refused(problem)
        mu, kappa = answer
        if not (mu.requires_grad and kappa.requires_grad):
            raise Refused("a result is detached: no gradient flows through it (.detach(), .item(), NumPy, no_grad?)")
        total = (torch.from_numpy(weights) * mu).sum() + (torch.from_numpy(more) * kappa).sum()
        slopes = torch.autograd.grad(total, (u, raw), allow_unused=True)
        if None in slopes:
            raise Refused("a result has a gradient, but none that reaches the argument it comes from")
        return slopes

    return ask


def _head_cases(rng: Generator) -> Iterator[Case]:
    for shape, spread in (((1, 3), 1), ((4, 2), 1), ((3, 6), 5), ((2, 3, 4), 1), ((5,), 1)):
        u = rng.standard_normal(shape) * log_uniform(rng, 0.1, 10, (*shape[:-1], 1))
        raw = spread * rng.standard_normal((*shape[:-1], 1))
        if spread > 1:
            raw[0] = 800.0
        length = np.sqrt((u**2).sum(-1, keepdims=True))
        kappa = np.logaddexp(0, raw[..., 0]) + 1
        args = (torch.from_numpy(u), torch.from_numpy(raw))
        yield value(args, (torch.from_numpy(u / length), torch.tensor(kappa)), rtol=1e-9, atol=1e-12)
        weights, more = rng.standard_normal(shape), rng.standard_normal(shape[:-1])
        mu = u / length
        by_u = (weights - mu * (weights * mu).sum(-1, keepdims=True)) / length
        by_raw = np.asarray(more)[..., None] / (1 + np.exp(-raw))
        plain = value(args, (torch.from_numpy(by_u), torch.from_numpy(by_raw)), rtol=1e-8, atol=1e-11)
        yield Case(args, plain.judge, plain.same, _head_slopes(weights, np.asarray(more)))


def _head_variant(
    direction: Callable[[Tensor], Tensor] = lambda u: F.normalize(u, dim=-1),
    concentration: Callable[[Tensor], Tensor] = lambda raw: F.softplus(raw).squeeze(-1) + 1,
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda u, raw: (direction(u), concentration(raw))


check_head = Exercise(
    id="ch08.1",
    title="The head",
    topic="Models",
    difficulty=1,
    importance=5,
    minutes=8,
    question="""\
The one module in which an S-VAE differs from an N-VAE. Write `head`, which turns what two linear layers return into
the mean direction and the concentration of a von Mises-Fisher law.""",
    solution=head,
    explanation="""\
Each row is divided by its own length, and $\\kappa$ is kept above 1 by `softplus` and an offset. `F.softplus` does
not overflow where $\\log(1 + e^t)$ does. The gradient for $u$ is the tangent part of that for $\\mu$, divided by
$|u|$.""",
    hints=(
        "Which axis holds the coordinates of one point? Divide along that one.",
        "`F.normalize(u, dim=-1)`, and `F.softplus(raw)`, whose last axis has the size 1 and has to go.",
    ),
    cases=_head_cases,
    checked="values and gradients, shapes with zero to two batch axes, raw up to 800, against NumPy",
    mistakes=(
        Mistake(
            _head_variant(lambda u: u / u.norm()),
            "divided by one number, the length of the whole batch: each row has its own, dim=-1.",
        ),
        Mistake(
            _head_variant(lambda u: F.normalize(u, dim=0)),
            "normalised along the batch, dim=0: the coordinates of a point are on the last axis.",
        ),
        Mistake(
            _head_variant(F.normalize),
            "F.normalize without dim takes axis 1: right for a matrix by luck. The coordinates are on the last axis, "
            "dim=-1; with one axis there is no axis 1 at all.",
        ),
        Mistake(_head_variant(lambda u: u), "u is not normalised: mu has to have the length 1."),
        Mistake(
            _head_variant(lambda u: F.softmax(u, dim=-1)),
            "a softmax: its coordinates are positive and sum to 1, a probability, not a direction.",
        ),
        Mistake(
            _head_variant(concentration=lambda raw: F.softplus(raw).squeeze(-1)),
            "the 1 is missing: kappa starts at 1, not at 0.",
        ),
        Mistake(
            _head_variant(concentration=lambda raw: raw.exp().squeeze(-1) + 1),
            "exp in place of softplus: it overflows, and one large step makes it explode.",
        ),
        Mistake(
            _head_variant(concentration=lambda raw: torch.log(1 + raw.exp()).squeeze(-1) + 1),
            "log(1 + exp(t)) is right, but overflows from 710 on in float64 and from 89 on in float32: softplus does "
            "not.",
        ),
        Mistake(
            _head_variant(concentration=lambda raw: F.softplus(raw) + 1),
            "kappa has one axis too many: (..., 1) times (...) broadcasts to all pairs, without an error.",
        ),
    ),
)

# --- 8.2 -------------------------------------------------------------------------------------------------------------


def circles_log_prob(z: Tensor, mu: Tensor, kappa: Tensor) -> Tensor:
    """Log density of a product of von Mises laws on p circles.

    Args:
        z: Points, shape (..., 2 p): the coordinates of the first circle's unit vector, then those of the second, ...
        mu: Mean directions, shape (..., 2 p), ordered in the same way.
        kappa: Concentrations, shape (..., p), positive, up to 10,000.

    Returns:
        log q(z) with respect to arc length on each circle, shape (...).
    """
    pairs = (*kappa.shape, 2)
    w = (z.reshape(pairs) * mu.reshape(pairs)).sum(-1)
    log_i0 = torch.special.i0e(kappa).log() + kappa
    return (kappa * w - log_i0 - math.log(2 * math.pi)).sum(-1)


def _circles(
    z: Tensor,
    mu: Tensor,
    kappa: Tensor,
    *,
    interleaved: bool = False,
    overflow: bool = False,
    constants: int | None = None,
    common: bool = False,
    keep: bool = False,
) -> Tensor:
    """Variants of the solution."""
    p = kappa.shape[-1]
    if interleaved:
        w = z[..., :p] * mu[..., :p] + z[..., p:] * mu[..., p:]
    else:
        w = (z * mu).unflatten(-1, (p, 2)).sum(-1)
    if common:
        kappa = kappa.mean(-1, keepdim=True).expand_as(kappa)
    log_i0 = torch.special.i0(kappa).log() if overflow else torch.special.i0e(kappa).log() + kappa
    each = kappa * w - log_i0
    if keep:
        return each - math.log(2 * math.pi)
    return each.sum(-1) - (p if constants is None else constants) * math.log(2 * math.pi)


def _circle_cases(rng: Generator) -> Iterator[Case]:
    for shape, p, high in (((), 1, 5.0), ((3,), 2, 20.0), ((2, 2), 3, 50.0), ((4,), 2, 1e4), ((2,), 5, 5.0)):
        n = math.prod(shape) * p
        z, mu = (unit_vectors(rng, n, 2).reshape(*shape, 2 * p) for _ in range(2))
        kappa = np.asarray(log_uniform(rng, 0.1, high, (*shape, p)))
        if high > 1000:
            kappa[0] = high
            z = mu.clone()  # elsewhere the density is 0
        angles = [np.arctan2(x.numpy().reshape(-1, 2)[:, 1], x.numpy().reshape(-1, 2)[:, 0]) for x in (z, mu)]
        cosines = np.cos(angles[0] - angles[1])
        logs = [
            k * c - _reference.log_partition(float(k), 2) - math.log(2 * math.pi)
            for k, c in zip(kappa.ravel(), cosines, strict=True)
        ]
        truth = torch.tensor(np.array(logs).reshape(*shape, p).sum(-1))
        yield value((z, mu, torch.from_numpy(kappa)), truth, rtol=1e-8, atol=1e-8)


check_circles_log_prob = Exercise(
    id="ch08.2",
    title="Two circles, or more",
    topic="Models",
    difficulty=2,
    importance=4,
    minutes=15,
    question="""\
A torus instead of a sphere: the latent space is a product of $p$ circles, with an independent von Mises law on each.
Write `circles_log_prob`, the logarithm of its density, as the bound $L_K$ needs it. Each circle has its own $\\kappa$;
a von Mises-Fisher law on one sphere has only one.""",
    solution=circles_log_prob,
    explanation="""\
Independent laws multiply, so logarithms add: $\\sum_i \\kappa_i w_i - \\log I_0(\\kappa_i) - \\log 2\\pi$, with one
normaliser for each circle. $I_0$ overflows at 710 in float64; $\\log I_0(\\kappa) = \\log(e^{-\\kappa}I_0(\\kappa)) +
\\kappa$ never does. KL divergences add in the same way: chapter 13 builds products of spheres.""",
    hints=(
        "Give each circle an axis of its own: `z.reshape(*kappa.shape, 2)`. Then w_i is a sum over the last axis.",
        "One circle has the density exp(kappa w) / (2 pi I0(kappa)).",
        "`torch.special.i0e(kappa)` is `exp(-kappa) I0(kappa)`: take its logarithm and add kappa.",
    ),
    cases=_circle_cases,
    checked="1 to 5 circles, kappa from 0.1 to 10,000, zero to two batch axes, against quadrature",
    mistakes=(
        Mistake(
            lambda z, mu, kappa: _circles(z, mu, kappa, constants=1),
            "log 2 pi is subtracted once only: each circle has its own length.",
        ),
        Mistake(
            lambda z, mu, kappa: _circles(z, mu, kappa, constants=0),
            "log 2 pi is missing: this is the density relative to the uniform law on each circle.",
        ),
        Mistake(
            lambda z, mu, kappa: _circles(z, mu, kappa, interleaved=True),
            "the coordinates are paired wrongly: those of one circle stand side by side, not p apart.",
        ),
        Mistake(
            lambda z, mu, kappa: _circles(z, mu, kappa, overflow=True),
            "I0 overflows for large kappa: use i0e, the same times exp(-kappa), and add kappa to its logarithm.",
        ),
        Mistake(
            lambda z, mu, kappa: _circles(z, mu, kappa, common=True),
            "one kappa, the mean, for all circles: each has its own.",
        ),
        Mistake(
            lambda z, mu, kappa: _circles(z, mu, kappa, keep=True),
            "one number for each circle: the log density of the product is their sum.",
        ),
    ),
)

# --- 8.3 -------------------------------------------------------------------------------------------------------------


def great_circle(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points on the shortest way from a to b on the sphere, at constant speed.

    Args:
        a: Unit vector, shape (m,).
        b: Unit vector, shape (m,), not opposite to a; it may equal a.
        t: Shares of the way, shape (n,), in [0, 1].

    Returns:
        Unit vectors, shape (n, m), of a's dtype: a at t = 0, b at t = 1.
    """
    theta = 2 * torch.atan2((a - b).norm(), (a + b).norm())
    t = t[:, None]
    # sin(t theta) / sin(theta) as a quotient of sin(x)/x, which is 1 at x = 0: the points may be equal.
    share_a = (1 - t) * torch.sinc((1 - t) * theta / math.pi) / torch.sinc(theta / math.pi)
    share_b = t * torch.sinc(t * theta / math.pi) / torch.sinc(theta / math.pi)
    return share_a * a + share_b * b


def _walk_cases(rng: Generator) -> Iterator[Case]:
    eye = torch.eye(3, dtype=torch.float64)
    pairs = [(eye[0], eye[1])]
    for m in (2, 3, 6, 11):
        a, b = unit_vectors(rng, 2, m)
        pairs.append((a, b if a @ b > -0.99 else -b))
    a, b = unit_vectors(rng, 2, 4)
    pairs += [(a, F.normalize(a + 0.01 * b, dim=0)), (a, F.normalize(b - 3 * a, dim=0)), (a, a.clone())]
    longer = eye[0] * (1 + 2**-52)  # of the length 1 up to rounding, but a . a > 1
    pairs += [(eye[0], eye[0].clone()), (longer, longer.clone())]
    for a, b in pairs:
        t = np.sort(np.concatenate([[0.0, 1.0], rng.uniform(0, 1, 3)]))
        # Another way: turn a by t theta towards the tangent direction of b.
        tangent = (b - (a @ b) * a).numpy().astype(np.longdouble)
        length = np.sqrt((tangent**2).sum())
        theta = np.arctan2(length, np.longdouble(a @ b))
        direction = tangent / length if length > 1e-14 else np.zeros_like(tangent)
        turned = np.cos(t * theta)[:, None] * a.numpy() + np.sin(t * theta)[:, None] * direction
        yield value((a, b, torch.from_numpy(t)), torch.from_numpy(turned.astype(float)), rtol=1e-9, atol=1e-9)


def _textbook_walk(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    theta = torch.acos((a @ b).clamp(-1, 1))
    t = t[:, None]
    return (torch.sin((1 - t) * theta) * a + torch.sin(t * theta) * b) / torch.sin(theta)


def _unclamped_walk(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    theta, t = torch.acos(a @ b), t[:, None]
    share_a, share_b = ((x * torch.sinc(x * theta / math.pi)) / torch.sinc(theta / math.pi) for x in (1 - t, t))
    return share_a * a + share_b * b


check_great_circle = Exercise(
    id="ch08.3",
    title="A walk along a great circle",
    topic="Models",
    difficulty=2,
    importance=3,
    minutes=15,
    question="""\
To see what lies between two images, one walks from code to code. In the plane that is a straight line; on the sphere
the line leaves the surface, where the decoder was never trained. Write `great_circle`: the shortest way on the sphere,
at constant speed.""",
    solution=great_circle,
    explanation="""\
With the angle $\\theta$ between $a$ and $b$ the point is $(\\sin((1-t)\\theta)\\, a + \\sin(t\\theta)\\, b)/\\sin
\\theta$. It has the length 1, since $a\\cdot b = \\cos\\theta$, and the angle $t\\theta$ from $a$. For equal points
it is 0/0: $\\sin(x)/x$ cures that. Normalising the straight line gives the same way at another speed, slow at both
ends.""",
    hints=(
        "The point is a combination of a and b. Its angle to a should be t theta.",
        "`(sin((1-t) theta) a + sin(t theta) b) / sin(theta)`, with theta the angle between a and b. `a @ b` may "
        "exceed 1 by rounding: clamp it before `acos`, or take `theta = 2 atan2(|a - b|, |a + b|)`.",
        "When a = b that is 0/0. `torch.sinc(x)` is `sin(pi x) / (pi x)`, and 1 at x = 0: write "
        "`sin(t theta) / sin(theta)` as `t sinc(t theta / pi) / sinc(theta / pi)`.",
    ),
    cases=_walk_cases,
    checked="m from 2 to 11, near, far and equal points, also 1e-16 too long, against a rotation in the plane of both",
    mistakes=(
        Mistake(
            lambda a, b, t: (1 - t[:, None]) * a + t[:, None] * b,
            "this is the straight line: between its ends it lies inside the sphere.",
        ),
        Mistake(
            lambda a, b, t: F.normalize((1 - t[:, None]) * a + t[:, None] * b, dim=-1),
            "the straight line, normalised: the way is right, but the speed is not constant.",
        ),
        Mistake(
            _textbook_walk,
            "sin(theta) is 0 when both points are equal, and 0/0 is NaN: use sin(x)/x.",
        ),
        Mistake(
            _unclamped_walk,
            "a . b may be above 1 by rounding, and its acos is NaN: clamp it, or take the angle from the lengths of "
            "a - b and a + b.",
        ),
        Mistake(lambda a, b, t: great_circle(b, a, t), "the walk goes from b to a."),
        Mistake(
            lambda a, b, t: great_circle(a, -b, t) if float((a - b).norm()) > 1e-9 else great_circle(a, b, t),
            "the walk ends at -b: on this sphere z and -z are two points, not one.",
        ),
    ),
)

# --- 8.4 -------------------------------------------------------------------------------------------------------------


def resting_kappa(s: float, m: int) -> float:
    """Where kappa comes to rest when the gradient of reconstruction lacks its correction.

    Reconstruction is s w, with mean s A_m(kappa). Its slope as the incomplete gradient sees it is
    s (m-1) A_m(kappa) / (kappa rho), rho = sqrt((m-1)^2 + 4 kappa^2); that of the KL is kappa A_m'(kappa), which is
    exact.

    Args:
        s: What reconstruction pays for w, from 3 to 300.
        m: Dimension of the ambient space, from 2 to 60.

    Returns:
        The kappa > 0 at which both slopes are equal, with a relative error below 1e-6.
    """
    kappa = torch.linspace(1e-3, s, 5_001, dtype=torch.float64)  # reconstruction pays s at most
    rho = torch.sqrt((m - 1) ** 2 + 4 * kappa**2)
    found = (m - 1) * mean_resultant_length(kappa, m) / (kappa * rho)
    paid = kappa * mean_resultant_length_derivative(kappa, m) / found  # the s of which this kappa is the rest
    return float(np.interp(s, paid, kappa))


def _rest(
    s: float, m: int, found: Callable[[float, float, float], float], paid: Callable[[float, float, float], float]
) -> float:
    """Variants: slopes of reconstruction and KL, each a function of kappa, A and rho."""

    def force(kappa: float) -> float:
        A = _A(kappa, m)
        rho = math.hypot(m - 1, 2 * kappa)
        return s * found(kappa, A, rho) - paid(kappa, A, rho)

    return float(brentq(force, 1e-3, 3 * s + 100, xtol=1e-12))


def _A(kappa: float, m: int) -> float:
    return float(mean_resultant_length(torch.tensor(kappa, dtype=torch.float64), m))


def _kl_slope(m: int) -> Callable[[float, float, float], float]:
    return lambda k, A, rho: k * float(mean_resultant_length_derivative(torch.tensor(k, dtype=torch.float64), m))


def _first_step(s: float, m: int) -> float:
    return s * s * (m - 1) * _A(s, m) / (s * math.hypot(m - 1, 2 * s)) / _kl_slope(m)(s, 0.0, 0.0)


def _resting_cases(rng: Generator) -> Iterator[Case]:
    laws = [(15.0, 3), (10.0, 2), (20.0, 11)]
    laws += [(float(log_uniform(rng, 3, 300)), int(rng.integers(2, 61))) for _ in range(4)]
    for s, m in laws:

        def force(kappa: float, s: float = s, m: int = m) -> float:
            w, p = _reference.law(kappa, m)
            slope = (1 - w**2) / math.hypot(m - 1, 2 * kappa)  # of the sample, at an accepted proposal
            return float(s * (slope @ p) - kappa * _reference.variance(kappa, m))

        yield value((s, m), float(brentq(force, 0.05, 1.01 * s, xtol=1e-10)), rtol=1e-6)


check_resting_kappa = Exercise(
    id="ch08.4",
    title="Where the incomplete gradient comes to rest",
    topic="Models",
    difficulty=3,
    importance=3,
    minutes=20,
    question="""\
The chapter predicts how much concentration an S-VAE loses when its sampler's gradient is incomplete. Write
`resting_kappa`, which solves the balance of slopes for $\\kappa$. The exact gradient would rest at $\\kappa = s$.
`mean_resultant_length` and its derivative may be taken from the library.""",
    solution=resting_kappa,
    explanation="""\
The equation cannot be solved for $\\kappa$, but for $s$: each $\\kappa$ is the rest of one $s$, which grows with it. So
a table of $s$, read backwards, is enough. For $m = 3$ and $s = 15$ it is 13.9. Divided by $A_m'$ the equation says that
$\\kappa$ is $s$ times the share of the gradient that arrives. So $\\kappa$ falls short of $s$ by exactly the missing
share, taken where it rests. At $\\kappa = s$ that share may be another: for $m = 2$ and $s = 5$ it is 23% there, and
$\\kappa$ falls by 40%.""",
    hints=(
        "Solved for kappa the equation has no formula. Solved for s it has one.",
        "Make a fine grid of kappa from 0.001 to s, compute the s of each, and interpolate backwards: "
        "`np.interp(s, s_of_kappa, kappa)`. Or bisect: the difference of the slopes is positive at small kappa and "
        "negative at kappa = s.",
    ),
    cases=_resting_cases,
    checked="s from 3 to 300, m from 2 to 60, against quadrature over the law of w",
    mistakes=(
        Mistake(
            lambda s, m: s,
            "this is where the exact gradient rests: reconstruction is paid in full.",
        ),
        Mistake(
            lambda s, m: _rest(s, m, lambda k, A, rho: (m - 1) * A / (k * math.hypot(m - 1, k)), _kl_slope(m)),
            "the 4 is missing in rho = sqrt((m-1)^2 + 4 kappa^2).",
        ),
        Mistake(
            lambda s, m: _rest(s, m, lambda k, A, rho: m * A / (k * math.hypot(m, 2 * k)), _kl_slope(m)),
            "m stands where m - 1 should: the sphere has m - 1 dimensions.",
        ),
        Mistake(
            _first_step,
            "s times the share of the gradient that is found at kappa = s: a first step towards the root only.",
        ),
    ),
)
