"""Chapter 4: drawing from the sphere."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.random import Generator
from scipy.optimize import minimize_scalar
from scipy.special import betainc
from torch import Tensor

from hvae_tutorial.distributions import SphericalCauchy, VonMisesFisher
from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, Refused, law, log_uniform, misfit, small, unit_vectors, value, value_of
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.sphere import project_to_tangent

N = 20_000  # samples of one test


def _uniform_law(m: int, x0: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """Distribution function of a coordinate of a uniform point of R^m, zoomed by x0."""

    def cdf(w: np.ndarray) -> np.ndarray:
        x = (w - x0) / (1 - x0 * w)
        return betainc((m - 1) / 2, (m - 1) / 2, np.clip((1 + x) / 2, 0, 1))

    return cdf


def _unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


# --- 4.1 -------------------------------------------------------------------------------------------------------------


def uniform_coordinate(u1: Tensor, u2: Tensor, m: int) -> Tensor:
    """A coordinate of a uniform point of the sphere in R^m, from two uniform numbers.

    Args:
        u1: Independent uniform numbers, shape (n,), in (0, 1), float64.
        u2: The same, independent of u1.
        m: Dimension of the ambient space, at least 2.

    Returns:
        The coordinates x, shape (n,), in [-1, 1]. (1 - x) / 2 has the law Beta((m-1)/2, (m-1)/2).
    """
    radius = torch.sqrt(1 - u1 ** (2 / (m - 2))) if m > 2 else torch.ones_like(u1)
    return radius * torch.cos(2 * math.pi * u2)


def _coordinate_cases(rng: Generator) -> Iterator[Case]:
    for m in (3, 2, 4, 10, int(rng.integers(5, 60))):
        u1, u2 = (torch.from_numpy(u) for u in rng.uniform(0, 1, (2, N)))
        yield law(
            (u1, u2, m),
            _uniform_law(m),
            shape=(N,),
            name="x",
            conditions=_inside,
        )


def _inside(x: Tensor) -> str | None:
    return None if bool((x.abs() <= 1 + 1e-12).all()) else "a coordinate of a unit vector lies in [-1, 1]"


def _coordinate(u1: Tensor, u2: Tensor, radius: Tensor) -> Tensor:
    return radius * torch.cos(2 * math.pi * u2)


check_uniform_coordinate = Exercise(
    id="ch04.1",
    title="The symmetric Beta, from two uniforms",
    topic="Sampling",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
Every proposal needs the height of a uniform point, a symmetric Beta variable, and many codes draw it by yet another
rejection. Write `uniform_coordinate`, which makes it from two uniform numbers without any. It has to work on the
circle too. The law of the result is tested, so any right way will do.""",
    solution=uniform_coordinate,
    explanation="""\
The first two coordinates of a uniform point have the density $(1 - s^2)^{(m-4)/2}$ in the disc: the angle is
uniform, and $1 - s^2$ has the distribution function $t^{(m-2)/2}$, so that $s^2 = 1 - u_1^{2/(m-2)}$. One coordinate
is $s\\cos 2\\pi u_2$. On the circle all points have $s = 1$.""",
    hints=(
        "Take two coordinates (x1, x2) of a uniform point: their angle is uniform. Which law has their length s?",
        "`1 - s**2` has the distribution function `t**((m-2)/2)` on (0, 1). Invert it with u1.",
        "`x = sqrt(1 - u1**(2/(m-2))) * cos(2 pi u2)`; at m = 2 the root is 1.",
    ),
    cases=_coordinate_cases,
    checked=f"the law of {N} values at five m from 2 to 60, by Kolmogorov-Smirnov tests that refuse a right function "
    "with probability 1e-7 each",
    mistakes=(
        Mistake(
            lambda u1, u2, m: _coordinate(u1, u2, torch.sqrt(1 - u1 ** (2 / (m - 2)))),
            "right for m > 2; on the circle it divides by m - 2 = 0.",
        ),
        Mistake(
            lambda u1, u2, m: _coordinate(u1, u2, torch.sqrt(1 - u1 ** (2 / (m - 1)))),
            "the power is that of the next dimension: 2/(m-2), not 2/(m-1).",
        ),
        Mistake(
            lambda u1, u2, m: _coordinate(u1, u2, 1 - u1 ** (2 / (m - 2)) if m > 2 else torch.ones_like(u1)),
            "this is s^2 times the cosine: the root is missing.",
        ),
        Mistake(
            lambda u1, u2, m: _coordinate(u1, u2, torch.sqrt(u1) if m > 2 else torch.ones_like(u1)),
            "s = sqrt(u1) is a uniform point in the disc, which is right for m = 4 alone.",
        ),
        Mistake(
            lambda u1, u2, m: 2 * u1 - 1,
            "a uniform number is the coordinate for m = 3 alone (Archimedes).",
        ),
    ),
)

# --- 4.2 -------------------------------------------------------------------------------------------------------------


def envelope(x: Tensor, kappa: float, m: int) -> tuple[Tensor, Tensor]:
    """Ulrich's proposals and the probability to accept them, with the best of his envelopes.

    Args:
        x: Coordinates of uniform points, shape (n,), in (-1, 1), float64.
        kappa: Concentration, positive.
        m: Dimension of the ambient space, at least 2.

    Returns:
        The zoomed heights w = (x0 + x) / (1 + x0 x), and for each the probability to accept it, both of shape (n,). The
        probability is the target's density over the proposals', scaled so that its maximum over w is 1.
    """
    x0 = 2 * kappa / (m - 1 + math.sqrt((m - 1) ** 2 + 4 * kappa**2))
    c = 1 / (1 + x0 * x)
    return (x0 + x) * c, (c * torch.exp(1 - c)) ** (m - 1)


def _envelope_truth(x: np.ndarray, kappa: float, m: int) -> tuple[np.ndarray, np.ndarray]:
    """From the definition: densities, a change of variables, and the best x0 by search."""

    def L(w: np.ndarray | float, x0: float) -> np.ndarray | float:
        """Log f/g up to a constant: g(w) is s(x) dx/dw with x = (w - x0) / (1 - x0 w)."""
        return kappa * w - (m - 1) / 2 * math.log1p(-x0 * x0) + (m - 1) * np.log1p(-x0 * w)

    def top(x0: float) -> float:
        found = minimize_scalar(lambda w: -L(w, x0), bounds=(-1, 1), method="bounded", options={"xatol": 1e-10})
        return -float(found.fun)

    # L is concave in w, and its maximum over w has one minimum in x0.
    found = minimize_scalar(top, bounds=(0, 1 - 1e-9), method="bounded", options={"xatol": 1e-10})
    x0 = float(found.x)
    w = (x0 + x) / (1 + x0 * x)
    return w, np.exp(L(w, x0) - top(x0))


def _envelope_cases(rng: Generator) -> Iterator[Case]:
    laws = [(5, 3.0), (2, 5.0), (3, 1.0), (10, 50.0)]
    laws += [(int(rng.integers(2, 40)), float(log_uniform(rng, 0.2, 50))) for _ in range(3)]
    for m, kappa in laws:
        x = rng.uniform(-0.95, 0.95, 5)
        truth = tuple(torch.from_numpy(part) for part in _envelope_truth(x, kappa, m))
        yield value((torch.from_numpy(x), kappa, m), truth, rtol=1e-4, atol=1e-5)


def _envelope(
    x: Tensor, kappa: float, m: int, power: int | None = None, b: float | None = None, scale: float = 0.0
) -> tuple[Tensor, Tensor]:
    x0 = _reference.zoom_constant(kappa, m) if b is None else (1 - b) / (1 + b)
    w = (x0 + x) / (1 + x0 * x)
    power = m - 1 if power is None else power
    logs = kappa * (w - x0) + power * torch.log((1 - x0 * w) / (1 - x0 * x0))
    return w, torch.exp(logs + scale)


def _enveloped_uniform(x: Tensor, kappa: float, m: int) -> tuple[Tensor, Tensor]:
    return x, torch.exp(-kappa * (1 - x))


check_envelope = Exercise(
    id="ch04.2",
    title="Ulrich's envelope",
    topic="Sampling",
    difficulty=3,
    importance=4,
    minutes=20,
    question="""\
Write `envelope`: given heights $x$ of uniform points, the zoomed proposals $w$ and the probability to accept each.
The best zoom is $x_0 = 2\\kappa/(m - 1 + \\sqrt{(m-1)^2 + 4\\kappa^2})$. What should the probability be where target
and envelope touch?""",
    solution=envelope,
    explanation="""\
$\\log f/g = \\kappa w + (m-1)\\log(1 - x_0w) + \\text{const}$ is largest at $w = x_0$, where the probability is 1.
In terms of $x$, $1 - x_0w = (1 - x_0^2)c$ and $\\kappa(w - x_0) = (m-1)(1-c)$ with $c = 1/(1 + x_0x)$, so that it is
$(c\\,e^{1-c})^{m-1}$: no number is large.""",
    hints=(
        "`log f/g = kappa w + (m-1) log(1 - x0 w)` up to a constant; both have the factor (1 - w**2)**((m-3)/2).",
        "It is largest at w = x0. Subtract its value there: the probability is 1 where the curves touch.",
        "With `c = 1 / (1 + x0 x)` all of it becomes `(c exp(1 - c))**(m - 1)`.",
    ),
    cases=_envelope_cases,
    checked="m from 2 to 40, kappa from 0.2 to 50, against the definition, with x0 and the maximum found by search",
    mistakes=(
        Mistake(
            lambda x, kappa, m: _envelope(x, kappa, m, power=m - 3),
            "m - 3 stands where m - 1 should: the derivative dx/dw brings two more factors of 1 - x0 w.",
        ),
        Mistake(
            lambda x, kappa, m: _envelope(x, kappa, m, power=0),
            "the density of the proposals is missing: this is exp(kappa (w - x0)), the target alone.",
        ),
        Mistake(
            _enveloped_uniform,
            "the zoom is missing: these are uniform points, accepted with exp(-kappa (1 - w)).",
        ),
        Mistake(
            lambda x, kappa, m: _envelope(x, kappa, m, b=(m - 1) / (4 * kappa)),
            "b = (m-1)/(4 kappa) is an approximation for large kappa / m, found in public code; the best zoom has "
            "the root.",
        ),
        Mistake(
            lambda x, kappa, m: _envelope(
                x,
                kappa,
                m,
                scale=kappa * (x0 := _reference.zoom_constant(kappa, m))
                + (m - 1) / 2 * math.log1p(-x0 * x0)
                - _reference.log_partition(kappa, m),
            ),
            "phi is left in: this is f/g itself, whose maximum is M. Divide by M, and phi cancels.",
        ),
        Mistake(
            lambda x, kappa, m: _envelope(
                x, kappa, m, scale=kappa * (x0 := _reference.zoom_constant(kappa, m)) + (m - 1) * math.log1p(-x0 * x0)
            ),
            "not scaled: subtract the value of log f/g at w = x0, so that the probability is 1 there.",
        ),
    ),
)

# --- 4.3 -------------------------------------------------------------------------------------------------------------


def place(w: Tensor, g: Tensor, mu: Tensor) -> Tensor:
    """Points of the sphere with given heights, in uniform directions around mu.

    Args:
        w: Heights, shape (n,), in [-1, 1].
        g: Independent standard Gaussian vectors, shape (n, m), to take the directions from.
        mu: Mean direction, a unit vector, shape (m,); it may be a pole, such as e1 or -e1, or be close to one.

    Returns:
        Unit vectors z with mu.z = w, shape (n, m), of w's dtype.
    """
    sign = torch.where(mu[0] < 0, -1.0, 1.0).to(mu.dtype)
    v = g[:, 1:] / torch.linalg.vector_norm(g[:, 1:], dim=-1, keepdim=True)
    # About the axis -sign e1; then LAPACK's mirror, which carries this axis to mu and never divides by a small number.
    z = torch.cat([-sign * w[:, None], torch.sqrt((1 - w) * (1 + w))[:, None] * v], dim=-1)
    a = mu.clone()
    a[0] = a[0] + sign
    return z - 2 * (z @ a)[:, None] * a / (a @ a)


def _place_cases(rng: Generator) -> Iterator[Case]:
    near = 2e-5
    for number, m in enumerate((3, 5, 4, 3, 6, int(rng.integers(3, 20)), 4)):
        mu = torch.zeros(m, dtype=torch.float64)
        if number in (1, 2):
            mu[0] = 1.0 if number == 1 else -1.0
        elif number == 3:
            mu[0], mu[1] = 1.0, near
        elif number == 6:
            mu[1] = 1.0  # neither a pole nor on either side of the equator
        else:
            mu = unit_vectors(rng, 1, m)[0]
        dtype = torch.float32 if number == 4 else torch.float64
        mu = _unit(mu).to(dtype)
        w = torch.from_numpy(rng.uniform(-1, 1, N)).to(dtype)
        w[:2] = torch.tensor([1.0, -1.0])
        g = torch.from_numpy(rng.standard_normal((N, m))).to(dtype)
        across = unit_vectors(rng, 1, m)[0]
        across = _unit(across - (across @ mu.double()) * mu.double())
        yield _placed((w, g, mu), across)


def _placed(args: tuple[Tensor, Tensor, Tensor], across: Tensor) -> Case:
    """Norm and height of each point, and the law of the direction across mu, along one tangent."""
    w, g, mu = args
    m, tolerance = len(mu), 1e-10 if mu.dtype == torch.float64 else 1e-5

    def conditions(z: Tensor) -> str | None:
        if z.dtype != mu.dtype:
            return f"the result has dtype {z.dtype}, should be {mu.dtype}, that of the arguments"
        norms = torch.linalg.vector_norm(z, dim=-1)
        off = (norms - 1).abs().max().item()
        if off > tolerance:
            return f"the points leave the sphere: a norm differs from 1 by {off:.1e}"
        off = (z @ mu - w).abs().max().item()
        return f"mu.z is not w: it differs by {off:.1e}" if off > tolerance else None

    def direction(z: Tensor) -> Tensor:
        inner = (w.abs() < 0.999).double()
        return ((z @ across) / torch.sqrt((1 - w.double() ** 2).clamp(min=1e-12)))[inner.bool()]

    tested = law(
        args,
        _uniform_law(m - 1),
        shape=tuple(g.shape),
        of=direction,
        name="the component along a tangent",
        conditions=conditions,
    )

    def same(one: object, other: object) -> bool:
        if not isinstance(one, Tensor) or misfit(one, other):
            return False
        assert isinstance(other, Tensor)
        return torch.allclose(one, other, rtol=0, atol=10 * tolerance, equal_nan=True)

    return dataclasses.replace(tested, same=same)


def _mirror(w: Tensor, g: Tensor, mu: Tensor, epsilon: float = 0.0) -> Tensor:
    """Householder's reflection with a = e1 - mu."""
    v = _unit(g[:, 1:])
    z = torch.cat([w[:, None], torch.sqrt((1 - w) * (1 + w))[:, None] * v], dim=-1)
    a = -mu.clone()
    a[0] = a[0] + 1
    a = a / (torch.linalg.vector_norm(a) + epsilon)
    return z - 2 * (z @ a)[:, None] * a


def _root(w: Tensor) -> Tensor:
    return torch.sqrt((1 - w) * (1 + w))[:, None]


def _sign_of_zero(w: Tensor, g: Tensor, mu: Tensor) -> Tensor:
    sign, a = torch.sign(mu[0]), mu.clone()
    z = torch.cat([-sign * w[:, None], _root(w) * _unit(g[:, 1:])], dim=-1)
    a[0] = a[0] + sign
    return z - 2 * (z @ a)[:, None] * a / (a @ a)


check_place = Exercise(
    id="ch04.3",
    title="Heights and directions, also at the poles",
    topic="Sampling",
    difficulty=3,
    importance=4,
    minutes=25,
    question="""\
Only the height $w$ of a sample is hard to draw. Write `place`, which makes points $z = w\\mu + \\sqrt{1-w^2}\\,v$ of
it, with $v$ uniform across $\\mu$. Take the directions from Gaussian vectors: by projection, or by a mirror that
carries an axis to $\\mu$. Mind the poles: Householder's vector $e_1 - \\mu$ vanishes at $\\mu = e_1$,
and is small next to it.""",
    solution=place,
    explanation="""\
Projecting $g$ onto the tangent space and normalising is the short way, and passes too. The mirror $I -
2aa^\\top/|a|^2$ with $a = \\mu + \\sigma e_1$, $\\sigma = \\operatorname{sign}\\mu_1$ (1 at 0), carries
$-\\sigma e_1$ to $\\mu$, and $|a|^2 = 2(1 + |\\mu_1|) \\ge 2$ never vanishes. The patch found in public code,
$(e_1 - \\mu)/(|e_1 - \\mu| + \\varepsilon)$, is no mirror near $e_1$: points leave the sphere.""",
    hints=(
        "A Gaussian vector without its part along mu has a uniform direction in the tangent space: normalise it.",
        "By a mirror: with `s = 1.0 if mu[0] >= 0 else -1.0` (torch.sign(0) is 0) and `a = mu + s e1`, "
        "`z - 2 (z.a) a / (a.a)` carries the axis -s e1 to mu.",
        "Use `sqrt((1 - w) * (1 + w))`, and begin at height w on the axis -s e1, with the other coordinates "
        "sqrt(1 - w^2) g[:, 1:] / |g[:, 1:]|.",
    ),
    cases=_place_cases,
    checked="norms, heights and the law of directions of 20000 points, m from 3 to 20, mu anywhere, at e1, at -e1, "
    "2e-5 from e1 and at e2, float64 and float32; a right function is refused with probability 1e-6",
    mistakes=(
        Mistake(
            lambda w, g, mu: w[:, None] * mu + _root(w) * _unit(g),
            "g is normalised but not projected: it has a part along mu, and the points leave the sphere.",
        ),
        Mistake(
            lambda w, g, mu: _unit(w[:, None] * mu + _root(w) * _unit(g)),
            "the sum was normalised in place of a projection of g: the points are on the sphere, and at other heights.",
        ),
        Mistake(
            lambda w, g, mu: w[:, None] * mu + _root(w) * (g - (g @ mu)[:, None] * mu),
            "the projected direction has to be normalised.",
        ),
        Mistake(
            _mirror,
            "the mirror's vector e1 - mu vanishes at mu = e1: 0/0. Choose the sign that does not cancel, mu + sign e1.",
        ),
        Mistake(
            lambda w, g, mu: _mirror(w, g, mu, 1e-5),
            "an epsilon in the denominator removes the NaN at e1 and breaks the mirror near it: choose the sign that "
            "does "
            "not cancel, mu + sign e1.",
        ),
        Mistake(_sign_of_zero, "torch.sign(0) is 0: at mu_1 = 0 there is no axis. Take 1 or -1 there."),
    ),
    replaces=(project_to_tangent,),
)

# --- 4.4 -------------------------------------------------------------------------------------------------------------


def published_sampler(m: int, kappa: float, n: int) -> Tensor:
    """Draw n heights w, after published code, with its constants."""
    root = math.sqrt(4 * kappa**2 + (m - 1) ** 2)
    exact, approximate = (m - 1) / (2 * kappa + root), (m - 1) / (4 * kappa)
    share = min(max(kappa - 10, 0), 1)
    b = approximate * share + exact * (1 - share)
    a = (m - 1 + 2 * kappa + root) / 4
    delta = 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    w = torch.empty(0, dtype=torch.float64)
    while len(w) < n:
        half = torch.full((2 * n,), (m - 1) / 2, dtype=torch.float64)
        e = torch.distributions.Beta(half, half).sample()
        t = 2 * a * b / (1 - (1 - b) * e)
        log_acceptance = ((m - 1) * torch.log(t) - t + delta).clamp(max=0)
        accepted = torch.log(torch.rand(2 * n, dtype=torch.float64)) <= log_acceptance
        w = torch.cat([w, ((1 - (1 + b) * e) / (1 - (1 - b) * e))[accepted]])
    return w[:n]


def height_distribution(w: Tensor, m: int, kappa: float) -> Tensor:
    """The exact distribution function F(w) of the heights, shape (n,), by the trapezoidal rule over the angle."""
    angle = np.linspace(0, math.pi, 40_001)
    with np.errstate(divide="ignore"):
        logs = kappa * (np.cos(angle) - 1) + ((m - 2) * np.log(np.sin(angle)) if m > 2 else 0 * angle)
    f = np.exp(logs - logs.max())
    below = np.concatenate([[0.0], np.cumsum(f[1:] + f[:-1])])
    return torch.from_numpy(1 - np.interp(np.arccos(np.clip(w.numpy(), -1, 1)), angle, below / below[-1]))


def find_faults(sampler: Callable[[int, float, int], Tensor], laws: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Where a sampler has the wrong law, by a Kolmogorov-Smirnov test with 20,000 samples at each (m, kappa).

    Args:
        sampler: sampler(m, kappa, n) draws n heights w, a float64 tensor of shape (n,).
        laws: Pairs (m, kappa) to try.

    Returns:
        Those of `laws` at which the law is wrong, in their order: sqrt(n) D exceeds a limit t. A right sampler shall be
        accused with probability 1e-6, for all pairs together, by the bound P(sqrt(n) D > t) <= 2 exp(-2 t^2) of one.
    """
    n = 20_000
    limit = math.sqrt(math.log(2 * len(laws) / 1e-6) / 2)
    wrong = []
    for m, kappa in laws:
        F = height_distribution(sampler(m, kappa, n).sort().values, m, kappa)
        steps = torch.arange(n + 1, dtype=torch.float64) / n
        D = max((steps[1:] - F).max(), (F - steps[:-1]).max())
        if math.sqrt(n) * D > limit:
            wrong.append((m, kappa))
    return wrong


RIGHT_BELOW_10 = [(5, 5.0), (10, 8.0), (41, 10.0), (2, 1.0), (20, 3.0)]
WRONG_ABOVE_11 = [(41, 12.0), (20, 12.0), (41, 50.0), (100, 200.0)]


def exact_sampler(m: int, kappa: float, n: int) -> Tensor:
    """A right one, by inversion of the distribution function."""
    return _inverted(torch.rand(n, dtype=torch.float64), m, kappa)


def unlucky_sampler(m: int, kappa: float, n: int) -> Tensor:
    """A right law with bad luck: sqrt(n) D = 1.6, as happens once in eighty times."""
    u = (torch.randperm(n, dtype=torch.float64) + 0.5) / n
    return _inverted(u - 1.6 / math.sqrt(n) * (1 - (u - 0.5).abs() / 0.3).clamp(min=0), m, kappa)


def narrow_sampler(m: int, kappa: float, n: int) -> Tensor:
    """The right mean, and half of the standard deviation."""
    w, mean = exact_sampler(m, kappa, n), _reference.mean(kappa, m)
    return mean + 0.5 * (w - mean)


def eager_sampler(m: int, kappa: float, n: int) -> Tensor:
    """Twice the concentration asked for."""
    return exact_sampler(m, 2 * kappa, n)


def at_the_limit(beyond: float, side: int) -> Callable[[int, float, int], Tensor]:
    """Samples whose sqrt(n) D is given, chosen one by one.

    Args:
        beyond: sqrt(n) D.
        side: 1 if the largest distance is just before a sample, -1 if it is just after one.
    """

    def borderline_sampler(m: int, kappa: float, n: int) -> Tensor:
        u = (torch.randperm(n, dtype=torch.float64) + 0.5) / n
        bump = (1.5 - (u - 0.5).abs() / 0.2).clamp(0, 1)
        return _inverted(u + side * (beyond / math.sqrt(n) - 0.5 / n) * bump, m, kappa)

    return borderline_sampler


def _inverted(u: Tensor, m: int, kappa: float) -> Tensor:
    grid = (
        1 - np.geomspace(2, 1e-7 / max(kappa, 1.0), 20_001) if kappa > 20 else np.cos(np.linspace(math.pi, 0, 20_001))
    )
    return torch.from_numpy(np.interp(u.numpy(), _reference.cdf(grid, kappa, m), grid))


def _fault_cases(rng: Generator) -> Iterator[Case]:
    def shuffled(laws: list[tuple[int, float]]) -> list[tuple[int, float]]:
        return [laws[i] for i in rng.permutation(len(laws))]

    plans: list[tuple[Callable[[int, float, int], Tensor], list[tuple[int, float]], set[tuple[int, float]]]] = [
        (published_sampler, [(5, 5.0), (41, 12.0)], {(41, 12.0)}),
        (published_sampler, shuffled(RIGHT_BELOW_10 + WRONG_ABOVE_11), set(WRONG_ABOVE_11)),
        (exact_sampler, shuffled(RIGHT_BELOW_10 + WRONG_ABOVE_11), set()),
        (unlucky_sampler, shuffled([*RIGHT_BELOW_10, (41, 12.0)]), set()),
        (narrow_sampler, shuffled([(5, 5.0), (41, 12.0)]), {(5, 5.0), (41, 12.0)}),
        (eager_sampler, shuffled([(5, 5.0), (41, 12.0)]), {(5, 5.0), (41, 12.0)}),
    ]
    # The limit t itself, with several numbers of pairs. A side of D that is left out changes sqrt(n) D by
    # 1/sqrt(n) = 0.007, and t by the exact law of D, in place of its bound, is less by 0.001.
    pairs = [(5, 5.0), (10, 8.0), (3, 2.0), (20, 3.0), (2, 1.0), (41, 12.0)]
    for beyond, side in [(-0.03, 1), (-0.03, -1), (0.03, 1), (0.004, 1), (0.004, -1)]:
        laws = shuffled(pairs)[: int(rng.integers(4, 7))]
        plans.append((at_the_limit(_limit(len(laws)) + beyond, side), laws, set(laws) if beyond > 0 else set()))
    plans.append((at_the_limit(_limit(1) - 0.03, 1), shuffled(pairs), set()))
    for sampler, laws, wrong in plans:
        judge = functools.partial(_accused, expected=[pair for pair in laws if pair in wrong])
        yield Case((sampler, laws), judge, same=lambda one, other: isinstance(one, list) and one == other)


def _accused(answer: object, expected: list[tuple[int, float]]) -> str | None:
    if not isinstance(answer, list) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in answer):
        return f"it returns a {type(answer).__name__}, should be a list of pairs (m, kappa)"
    if answer == expected:
        return None
    missed = [pair for pair in expected if pair not in answer]
    accused = [pair for pair in answer if pair not in expected]
    parts = [f"{missed} not found" if missed else "", f"{accused} accused though right" if accused else ""]
    return "; ".join(filter(None, parts)) or f"in another order than they were given: {answer}"


def _limit(K: int, level: float = 1e-6) -> float:
    return math.sqrt(math.log(2 * K / level) / 2)


def _faults_by(
    statistic: Callable[[Tensor, Tensor, int, float], float], limit: Callable[[int], float] = _limit
) -> Callable[[Callable[[int, float, int], Tensor], list[tuple[int, float]]], list[tuple[int, float]]]:
    """A wrong test: `statistic` takes the sorted samples, F there, m and kappa; `limit` the number of pairs."""

    def find(sampler: Callable[[int, float, int], Tensor], laws: list[tuple[int, float]]) -> list[tuple[int, float]]:
        wrong = []
        for m, kappa in laws:
            w = sampler(m, kappa, N).sort().values
            if statistic(w, height_distribution(w, m, kappa), m, kappa) > limit(len(laws)):
                wrong.append((m, kappa))
        return wrong

    return find


def _after(F: Tensor) -> Tensor:
    """sqrt(n) (F_n - F), just after each sample."""
    return math.sqrt(N) * (torch.arange(1, N + 1, dtype=torch.float64) / N - F)


def _before(F: Tensor) -> Tensor:
    """The same just before each sample."""
    return _after(F) - 1 / math.sqrt(N)


def _distance(w: Tensor, F: Tensor, m: int, kappa: float) -> float:
    """sqrt(n) D."""
    return max(float(_after(F).max()), -float(_before(F).min()))


def _mean_is_off(w: Tensor, F: Tensor, m: int, kappa: float) -> float:
    return math.sqrt(N) * abs(float(w.mean()) - _reference.mean(kappa, m)) / float(w.std())


check_find_faults = Exercise(
    id="ch04.4",
    title="Find the fault",
    topic="Sampling",
    difficulty=4,
    importance=5,
    minutes=25,
    question="""\
`published_sampler` is the sampler of trap five as it was published: exact up to $\\kappa = 10$, then passing to the
other constant. Its samples look right. Write `find_faults`, a Kolmogorov-Smirnov test that tells where its law is
wrong; `height_distribution` has the exact distribution function. Try it on $(m, \\kappa) = (5, 5)$, $(41, 10)$ and
$(41, 12)$. At which $\\kappa$ does it become wrong at $m = 41$, and can the test still see it at $\\kappa = 1000$? And
how many samples would it take to see it at $m = 5$, $\\kappa = 12$?""",
    solution=find_faults,
    explanation="""\
Beyond $\\kappa = 10$ the code passes to $b = (m-1)/(4\\kappa)$, which is close to the exact $b$ only if $\\kappa
\\gg m$. At $(41, 12)$ it is 0.83 in place of 0.57, and the other constants no longer belong to the proposals: the
log acceptance exceeds 0, nearly every proposal is kept, and the mean height is 0.09 in place of 0.27. At $m = 41$ the
law is wrong for every $\\kappa > 10$. With $D$ between the two laws and $n = 20\\,000$, $\\sqrt n\\,D$ is 5.8 at
$\\kappa = 10.05$, 35 at 20 and 4.8 at 100; at 1000 it is 0.02, and no test of this size sees it. At $(5, 12)$
the two laws differ by $D = 0.0017$. To see it takes about 2.4 million samples, at the limit for one pair: tests in few
dimensions see nothing. A limit for one test is not a limit for ten: divide the error rate by their number.""",
    hints=(
        "Sort the samples. The empirical distribution function is i/n just after the i-th sample and (i-1)/n just "
        "before.",
        "`D` is the larger of `(i/n - F).max()` and `(F - (i-1)/n).max()`; compare `sqrt(n) * D` with a limit t. "
        "By SciPy, D is `kstest(F, 'uniform', method='asymp').statistic`; without `asymp` it computes exact p-values, "
        "which takes longer than the checker waits.",
        "For K pairs and an error rate of 1e-6: `2 K exp(-2 t**2) = 1e-6`, so `t = sqrt(log(2 K / 1e-6) / 2)`.",
    ),
    cases=_fault_cases,
    checked="the published sampler at nine laws, a right one, a right one with bad luck (sqrt(n) D = 1.6), one with "
    "the right mean and a wrong law, one too concentrated, and samples with sqrt(n) D on both sides of the limit; a "
    "test at the level asked for fails with probability 4e-6",
    mistakes=(
        Mistake(
            _faults_by(_distance, lambda K: 1.36),
            "1.36 is the limit of one test at the level 5%: a right sampler that is tried at ten laws is accused in "
            "four runs of ten. Divide the error rate by the number of tests.",
        ),
        Mistake(
            _faults_by(_distance, lambda K: _limit(K, 0.05)),
            "the error rate is 5% for all pairs together; 1e-6 is asked for.",
        ),
        Mistake(
            _faults_by(_distance, lambda K: _limit(1)),
            "the error rate 1e-6 is that of one pair; for K of them divide it by K: `2 K exp(-2 t**2) = 1e-6`.",
        ),
        Mistake(
            _faults_by(_mean_is_off, lambda K: 6.0),
            "only the mean was compared: a sampler may have the right mean and the wrong law.",
        ),
        Mistake(
            _faults_by(lambda w, F, m, kappa: float(_after(F).max())),
            "only one side was looked at: F_n - F may be negative too.",
        ),
        Mistake(
            _faults_by(lambda w, F, m, kappa: float(_after(F).abs().max())),
            "F_n was compared with F just after each sample only, where it is i/n; just before it is (i-1)/n, and the "
            "largest distance may be there.",
        ),
        Mistake(
            _faults_by(lambda w, F, m, kappa: float(_before(F).abs().max())),
            "F_n was compared with F just before each sample only, where it is (i-1)/n; just after it is i/n, and the "
            "largest distance may be there.",
        ),
        Mistake(
            _faults_by(lambda w, F, m, kappa: _distance(w, F, m, kappa) / math.sqrt(N)),
            "the factor sqrt(n) is missing: D itself is never larger than 1.",
        ),
        Mistake(
            _faults_by(lambda w, F, m, kappa: -_distance(w, F, m, kappa), lambda K: -_limit(K)),
            "these are the laws that pass: those that fail are wanted.",
        ),
    ),
    given=(published_sampler, height_distribution),
)

# --- 4.5 -------------------------------------------------------------------------------------------------------------


def spherical_cauchy(mu: Tensor, x0: float, n: int) -> Tensor:
    """Samples of the spherical Cauchy law: uniform points, zoomed towards mu.

    If u = mu.y is the height of a uniform point y, the height of the sample is w = (x0 + u) / (1 + x0 u). The direction
    across mu stays as it is.

    Args:
        mu: Mean direction, a unit vector, shape (m,), float64, m at least 3.
        x0: Strength of the zoom, in [0, 1); the law is uniform at 0.
        n: How many.

    Returns:
        Unit vectors, shape (n, m), of mu's dtype.
    """
    y = torch.randn(n, len(mu), dtype=mu.dtype)
    y = y / torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    u = (y @ mu)[:, None]
    w = (x0 + u) / (1 + x0 * u)
    return w * mu + torch.sqrt((1 - w**2) / (1 - u**2)) * (y - u * mu)


def _on_sphere(z: Tensor) -> str | None:
    off = (torch.linalg.vector_norm(z, dim=-1) - 1).abs().max().item()
    return f"the points leave the sphere: a norm differs from 1 by {off:.1e}" if off > 1e-8 else None


def _cauchy_cases(rng: Generator) -> Iterator[Case]:
    laws = [(3, 0.5), (5, 0.0), (4, 0.9), (int(rng.integers(6, 30)), float(rng.uniform(0.2, 0.8)))]
    for m, x0 in laws:
        mu = unit_vectors(rng, 1, m)[0]
        across = unit_vectors(rng, 1, m)[0]
        across = _unit(across - (across @ mu) * mu)

        def direction(z: Tensor, mu: Tensor = mu, across: Tensor = across) -> Tensor:
            return z @ across / torch.sqrt((1 - (z @ mu) ** 2).clamp(min=1e-12))

        args = (mu, x0, N)
        yield law(
            args,
            _uniform_law(m, x0),
            shape=(N, m),
            of=functools.partial(_height, mu=mu),
            name="mu.z",
            conditions=_on_sphere,
        )
        yield law(
            args,
            _uniform_law(m - 1),
            shape=(N, m),
            of=direction,
            name="the direction across mu, along a tangent,",
            conditions=_on_sphere,
        )


def _cauchy(mu: Tensor, n: int, zoom: Callable[[Tensor], Tensor]) -> Tensor:
    y = _unit(torch.randn(n, len(mu), dtype=mu.dtype))
    u = (y @ mu)[:, None]
    w = zoom(u)
    return w * mu + torch.sqrt((1 - w**2).clamp(min=0) / (1 - u**2)) * (y - u * mu)


check_spherical_cauchy = Exercise(
    id="ch04.5",
    title="The spherical Cauchy law, in five lines",
    topic="Sampling",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
Ulrich's proposals are a law in their own right: the *spherical Cauchy* law. Nothing is rejected and no special
function is needed. Write `spherical_cauchy`, a sampler of it: draw uniform points, zoom their heights, keep their
directions.""",
    solution=spherical_cauchy,
    explanation="""\
A uniform point is $y = u\\mu + \\sqrt{1-u^2}\\,v$. The sample is $w\\mu + \\sqrt{1-w^2}\\,v$, and $v = (y -
u\\mu)/\\sqrt{1-u^2}$. The map, which the chapter calls a zoom, is smooth in $x_0$ and $\\mu$, and nothing is rejected:
autograd alone gives the gradients of a sample.""",
    hints=(
        "A uniform point is a normalised Gaussian vector; its height is u = y.mu, its part across mu is y - u mu.",
        "The part across mu has the length sqrt(1 - u^2); it should get the length sqrt(1 - w^2).",
    ),
    cases=_cauchy_cases,
    checked=f"{N} points at m from 3 to 30 and x0 from 0 to 0.9: norms, the law of heights and that of directions, by "
    "Kolmogorov-Smirnov tests that refuse a right sampler with probability 1e-7 each",
    mistakes=(
        Mistake(
            lambda mu, x0, n: _unit(torch.randn(n, len(mu), dtype=mu.dtype)),
            "these are uniform points: the zoom is missing.",
        ),
        Mistake(
            lambda mu, x0, n: _unit(_unit(torch.randn(n, len(mu), dtype=mu.dtype)) + x0 * mu),
            "points moved by x0 mu and normalised have another law (a projected one); zoom the heights.",
        ),
        Mistake(
            lambda mu, x0, n: _cauchy(mu, n, lambda u: x0 + (1 - x0) * u),
            "the heights are squeezed linearly: divide by 1 + x0 u.",
        ),
        Mistake(
            lambda mu, x0, n: _cauchy(mu, n, lambda u: (u - x0) / (1 - x0 * u)),
            "this zooms away from mu: the sign of x0.",
        ),
    ),
    replaces=(SphericalCauchy.rsample,),
)

# --- 4.6 -------------------------------------------------------------------------------------------------------------


def keep(z: Tensor, mu: Tensor, kappa: float) -> Tensor:
    """Of spherical Cauchy draws, those that together have the von Mises-Fisher law.

    Args:
        z: Independent draws of the spherical Cauchy law about mu with the best zoom for kappa,
            x0 = 2 kappa / (m - 1 + sqrt((m-1)^2 + 4 kappa^2)), shape (n, m), float64.
        mu: Mean direction, a unit vector, shape (m,).
        kappa: Concentration, positive.

    Returns:
        The draws that are kept, shape (k, m). On average the share e^(phi - kappa x0) / (1 - x0^2)^((m-1)/2) of them
        is: no sampler of this kind can keep more.
    """
    m = len(mu)
    x0 = 2 * kappa / (m - 1 + math.sqrt((m - 1) ** 2 + 4 * kappa**2))
    w = z @ mu
    log_probability = kappa * (w - x0) + (m - 1) * torch.log((1 - x0 * w) / (1 - x0**2))
    return z[torch.rand(len(z), dtype=z.dtype) < torch.exp(log_probability)]


SINGLES = 1000  # draws that are handed over one by one


def _keep_cases(rng: Generator) -> Iterator[Case]:
    laws = [(5, 3.0), (3, 10.0), (10, 50.0), (int(rng.integers(4, 40)), float(log_uniform(rng, 1, 100))), (5, 10.0)]
    for number, (m, kappa) in enumerate(laws):
        n, ask = (SINGLES, _one_by_one) if number == 4 else (N, value_of)
        mu = unit_vectors(rng, 1, m)[0]
        x0 = _reference.zoom_constant(kappa, m)
        y = unit_vectors(rng, n, m)
        u = (y @ mu)[:, None]
        w = (x0 + u) / (1 + x0 * u)
        z = w * mu + torch.sqrt((1 - w**2) / (1 - u**2)) * (y - u * mu)
        rate = math.exp(_reference.log_partition(kappa, m) - kappa * x0 - (m - 1) / 2 * math.log1p(-(x0**2)))

        tested = law(
            (z, mu, kappa),
            functools.partial(_reference.cdf, kappa=kappa, m=m),
            shape=(None, m),
            of=functools.partial(_height, mu=mu),
            name="mu.z",
        )
        yield dataclasses.replace(
            tested,
            judge=functools.partial(_law_and_number, tested=tested, rate=rate, n=n),
            same=functools.partial(_same_law_and_number, tested=tested, n=n),
            ask=ask,
        )


def _one_by_one(keep: Callable[..., Tensor], args: tuple[Tensor, Tensor, float]) -> Tensor:
    """What is kept of single draws: each is kept or not, whatever the others are."""
    z, mu, kappa = args
    parts = []
    for draw in z.split(1):
        part = keep(draw, mu, kappa)
        problem = None if isinstance(part, Tensor) else misfit(part, draw)
        if problem or part.shape not in ((0, len(mu)), (1, len(mu))):
            raise Refused(problem or f"of one draw, it keeps {small(part)}; the shape should be (0 or 1, {len(mu)})")
        parts.append(part)
    return torch.cat(parts)


def _height(z: Tensor, mu: Tensor) -> Tensor:
    return z @ mu


def _law_and_number(kept: object, tested: Case, rate: float, n: int) -> str | None:
    problem = tested.judge(kept)
    if problem or not isinstance(kept, Tensor):
        return problem
    off = (len(kept) / n - rate) / math.sqrt(rate * (1 - rate) / n)
    if abs(off) <= 5.4:  # a right rate is farther off with probability 7e-8
        return None
    singly = ", when they are handed over one at a time" if n == SINGLES else ""
    return f"the share {len(kept) / n:.3f} of the draws is kept{singly}, should be {rate:.3f}"


def _same_law_and_number(one: object, other: object, tested: Case, n: int) -> bool:
    if not tested.same(one, other):
        return False
    assert isinstance(one, Tensor)
    assert isinstance(other, Tensor)
    return abs(len(one) - len(other)) <= 5.4 * math.sqrt(n / 2)


def _kept(
    log_probability: Callable[[Tensor, float, int, float], Tensor], others: bool = False
) -> Callable[..., Tensor]:
    """A wrong choice; `log_probability` takes w, kappa, m and x0."""

    def choose(z: Tensor, mu: Tensor, kappa: float) -> Tensor:
        m, x0 = len(mu), _reference.zoom_constant(kappa, len(mu))
        kept = torch.rand(len(z), dtype=z.dtype) < torch.exp(log_probability(z @ mu, kappa, m, x0))
        return z[~kept] if others else z[kept]

    return choose


def _log_keep(w: Tensor, kappa: float, m: int, x0: float) -> Tensor:
    return kappa * (w - x0) + (m - 1) * torch.log((1 - x0 * w) / (1 - x0 * x0))


check_keep = Exercise(
    id="ch04.6",
    title="Von Mises-Fisher, by keeping some",
    topic="Sampling",
    difficulty=3,
    importance=4,
    minutes=15,
    question="""\
Write `keep`, which throws away some of the draws of a spherical Cauchy law, so that the others have the von
Mises-Fisher law exactly. The heights' densities are proportional to $e^{\\kappa w}$ and to $(1 - x_0w)^{-(m-1)}$,
each times $(1-w^2)^{(m-3)/2}$. Keep as many as you can. With your `spherical_cauchy` of exercise 4.5, with
this $x_0$, you have a complete sampler.""",
    solution=keep,
    explanation="""\
Keep $z$ with a probability proportional to the quotient of the densities, $e^{\\kappa w}(1 - x_0w)^{m-1}$. It is
largest at $w = x_0$; divided by its value there it is a probability, and no larger factor is possible. Between 65%
and all of the draws are kept.""",
    hints=(
        "Keep a draw with probability f/(M g), where M is the maximum of f/g over w.",
        "`log f/g = kappa w + (m-1) log(1 - x0 w)`, and its maximum is at w = x0.",
    ),
    cases=_keep_cases,
    checked=f"{N} draws at m from 3 to 40 and kappa from 1 to 100, and {SINGLES} one by one: the law of "
    "heights by Kolmogorov-Smirnov tests that refuse a right function with probability 1e-7 each, and the share that "
    "is kept",
    mistakes=(
        Mistake(lambda z, mu, kappa: z, "nothing was thrown away: these are the spherical Cauchy draws."),
        Mistake(
            _kept(lambda w, kappa, m, x0: kappa * (w - 1)),
            "exp(-kappa (1 - w)) is for uniform proposals: divide by the density of these, (1 - x0 w)^-(m-1).",
        ),
        Mistake(
            _kept(lambda w, kappa, m, x0: kappa * (w - x0) + (m - 3) * torch.log((1 - x0 * w) / (1 - x0 * x0))),
            "m - 3 stands where m - 1 should: the factor (1 - w^2)^((m-3)/2) is in both densities and cancels.",
        ),
        Mistake(
            _kept(lambda w, kappa, m, x0: kappa * w + (m - 1) * torch.log(1 - x0 * w)),
            "f/g is not divided by its maximum: where it exceeds 1, too few are kept.",
        ),
        Mistake(
            _kept(lambda w, kappa, m, x0: (L := _log_keep(w, kappa, m, x0)) - L.max()),
            "the maximum of f/g is the one at w = x0, not that of your sample: of a single draw, all would be kept.",
        ),
        Mistake(
            _kept(lambda w, kappa, m, x0: (m - 1) * (1 - torch.log1p(x0 * w) - 1 / (1 + x0 * w))),
            "w stands where x should: c = 1 / (1 + x0 x) takes the uniform height x = (w - x0) / (1 - x0 w).",
        ),
        Mistake(_kept(_log_keep, others=True), "these are the draws to throw away."),
        Mistake(
            _kept(lambda w, kappa, m, x0: _log_keep(w, kappa, m, x0) - math.log(2)),
            "the law is right, and half as many are kept as could be: f/g should be 1 at its maximum.",
        ),
    ),
    replaces=(VonMisesFisher.sample, VonMisesFisher.rsample),
)
