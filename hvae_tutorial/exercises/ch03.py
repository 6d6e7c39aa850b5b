"""Chapter 3: the number that is too small to store."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.random import Generator
from scipy.special import iv, roots_gegenbauer
from torch import Tensor

from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, gradient, log_uniform, misfit, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.special import kl_to_uniform, log_partition, mean_resultant_length

# --- 3.1 -------------------------------------------------------------------------------------------------------------


def log_sinhc(kappa: Tensor) -> Tensor:
    """phi_3(kappa) = log(sinh(kappa) / kappa), for every kappa that the dtype can hold.

    Args:
        kappa: Concentrations, any shape, float32 or float64, from 0 to 1e30.

    Returns:
        phi_3, of kappa's shape and dtype: 0 at 0, about kappa^2 / 6 for small kappa, about kappa - log(2 kappa) for
        large kappa. Its gradient by autograd is finite everywhere, and 0 at 0. The relative errors of both are below
        1e-4 in float32 and 1e-8 in float64.
    """
    large = kappa > 1
    big, small = torch.where(large, kappa, 1.0), torch.where(large, 0.0, kappa)  # each branch gets harmless numbers
    s = small**2
    # The series of sinh(kappa) / kappa - 1, from which no digit is lost.
    rest = s / 6 * (1 + s / 20 * (1 + s / 42 * (1 + s / 72 * (1 + s / 110 * (1 + s / 156 * (1 + s / 210))))))
    return torch.where(large, big + torch.log(-torch.expm1(-2 * big) / (2 * big)), torch.log1p(rest))


def _log_sinhc_truth(kappa: float) -> float:
    if kappa < 0.3:  # log of the Taylor series of sinh(kappa)/kappa
        k2 = kappa * kappa
        return math.log1p(k2 / 6 * (1 + k2 / 20 * (1 + k2 / 42 * (1 + k2 / 72 * (1 + k2 / 110)))))
    return kappa - math.log(2 * kappa) + math.log1p(-math.exp(-2 * kappa))


def _langevin(kappa: float) -> float:
    if kappa < 0.05:
        return kappa / 3 - kappa**3 / 45 + 2 * kappa**5 / 945
    return (1 / math.tanh(kappa) if kappa < 20 else 1.0) - 1 / kappa


def _cancelling(kappa: Tensor) -> Tensor:
    """Right for large kappa; for small ones the digits of kappa^2 / 6 are lost."""
    safe = torch.where(kappa > 0, kappa, 1.0)
    return torch.where(kappa > 0, safe + torch.log(-torch.expm1(-2 * safe) / (2 * safe)), 0.0)


def _log_sinhc_cases(rng: Generator) -> Iterator[Case]:
    grids = [
        (torch.float64, np.array([1.0, 0.5, 20.0]), 1e-9),
        (torch.float64, np.array(0.0), 0.0),
        (torch.float32, log_uniform(rng, 0.3, 50, (2, 3)), 1e-4),
        (torch.float64, log_uniform(rng, 1e-2, 300, 5), 1e-8),
        (torch.float32, np.array([200.0, 1e4, 1e30]), 1e-5),
        (torch.float64, np.array([800.0, 1e10, 1e30]), 1e-12),
        (torch.float32, np.array([1e-3, 1e-4, 1e-6, float(log_uniform(rng, 1e-6, 1e-2))]), 1e-4),
        (torch.float64, np.array([1e-5, 1e-6, 1e-8, float(log_uniform(rng, 1e-8, 1e-4))]), 1e-8),
    ]
    for dtype, numbers, rtol in grids:
        kappa = torch.from_numpy(numbers).to(dtype)
        truth = torch.tensor([_log_sinhc_truth(k) for k in kappa.double().flatten().tolist()], dtype=dtype)
        yield _but_for_noise(value((kappa,), truth.reshape(kappa.shape), rtol=rtol))
    slopes = [
        (torch.float64, [0.0, 1e-2, 1.0, 30.0, 1e5], 1e-8),
        (torch.float64, [1e-4, 1e-6, 1e-8], 1e-8),
        (torch.float32, [1e-2, 1e-3, 1e-4, 1e-6, 0.5, 2.0, 30.0], 1e-4),
    ]
    for dtype, numbers, rtol in slopes:
        kappa = torch.tensor(numbers, dtype=dtype)
        slope = torch.tensor([_langevin(k) for k in kappa.double().tolist()], dtype=dtype)
        yield _but_for_noise(gradient((kappa,), 0, torch.ones_like(kappa), slope, rtol=rtol), power=2)


def _but_for_noise(case: Case, power: int = 1) -> Case:
    """The case; for small kappa two answers agree that differ by no more than rounding errors of 1 / kappa^power."""
    kappa = case.args[0].double()
    noise = torch.where((kappa > 0) & (kappa < 0.02), 32 * torch.finfo(case.args[0].dtype).eps / kappa**power, -1.0)
    agree = case.same

    def same(one: object, other: object) -> bool:
        if isinstance(one, Tensor) and isinstance(other, Tensor) and not misfit(one, other):
            one = torch.where((one - other).abs() <= noise, other, one)
        return agree(one, other)

    return dataclasses.replace(case, same=same)


check_log_sinhc = Exercise(
    id="ch03.1",
    title="A logarithm without overflow",
    topic="Special functions",
    difficulty=3,
    importance=4,
    minutes=20,
    question="""\
On $S^2$ the normaliser is elementary: $\\phi_3(\\kappa) = \\log(\\sinh\\kappa / \\kappa)$. Write `log_sinhc` so that
it is right at $\\kappa = 0$, next to 0, at $10^{30}$, and in between, in float32 and in float64; and so that its
gradient is.""",
    solution=log_sinhc,
    explanation="""\
$\\sinh\\kappa = e^\\kappa (1 - e^{-2\\kappa})/2$, so $\\phi = \\kappa + \\log\\bigl((1 -
e^{-2\\kappa})/(2\\kappa)\\bigr)$: nothing overflows. But the logarithm is about $-\\kappa$ for small $\\kappa$, and
the sum about $\\kappa^2/6$: the digits cancel, as in the chapter's trap. In float32 at $\\kappa = 10^{-4}$ neither the
value nor the gradient has a right one left. There the series of $\\sinh\\kappa/\\kappa - 1$ has plus signs only, and
`log1p` keeps its digits. At 0 the quotient is 0/0. `torch.where` alone hides the NaN in the value and not in the
gradient: autograd multiplies the branch not taken by zero, and zero times NaN is NaN. So each branch gets a harmless
argument where it is not taken.""",
    hints=(
        "For large kappa take `exp(kappa)` out of sinh, so that the other exponent is negative. For small kappa the "
        "result is about kappa^2/6, and must not be what is left of larger numbers.",
        "`kappa + log(-expm1(-2 kappa) / (2 kappa))` is good for kappa above 1. Below, kappa and the logarithm cancel: "
        "take the series `sinh(kappa)/kappa = 1 + s/6 (1 + s/20 (1 + s/42 (1 + s/72 (...))))`, with s = kappa^2, "
        "without its 1, and `log1p`.",
        "`big = torch.where(kappa > 1, kappa, 1.0)` and `small = torch.where(kappa > 1, 0.0, kappa)`: compute one "
        "formula with `big` and the other with `small`, and choose with a third `torch.where`. The next factors are "
        "s/110, s/156 and s/210.",
    ),
    cases=_log_sinhc_cases,
    checked="kappa from 0, 1e-8 (in float32 1e-6) to 1e30, float32 and float64, several shapes, and the gradient, "
    "against series and limits",
    mistakes=(
        Mistake(
            lambda kappa: torch.log(torch.sinh(kappa) / kappa),
            "sinh overflows beyond 89 in float32 and 710 in float64, and at 0 there is 0/0.",
        ),
        Mistake(
            lambda kappa: kappa + torch.log(-torch.expm1(-2 * kappa) / (2 * kappa)),
            "at 0 this formula is 0/0; and for small kappa, kappa and -kappa cancel: what is left is kappa^2/6.",
        ),
        Mistake(
            lambda kappa: torch.where(
                kappa > 0, kappa + torch.log(-torch.expm1(-2 * kappa) / (2 * kappa)), torch.zeros_like(kappa)
            ),
            "the gradient at 0 is NaN: torch.where multiplies the branch that is not taken by zero, and zero times NaN "
            "is NaN. Give that branch a harmless argument. And for small kappa, kappa and -kappa cancel: what is left "
            "is kappa^2/6.",
        ),
        Mistake(
            _cancelling,
            "right for large kappa and at 0; for small kappa, kappa and -kappa cancel: what is left is kappa^2/6. Take "
            "the series there.",
        ),
        Mistake(
            lambda kappa: torch.where(kappa > 1e-3, _cancelling(kappa), 0.0 * kappa),
            "0 is returned for small kappa: the result is about kappa^2/6, and its gradient about kappa/3.",
        ),
        Mistake(
            lambda kappa: kappa - torch.log(2 * kappa),
            "this is the limit for large kappa: the term log(1 - exp(-2 kappa)) is missing.",
        ),
        Mistake(
            lambda kappa: kappa + torch.log(-torch.expm1(-2 * kappa) / kappa),
            "a log 2 is missing: sinh is half of the difference of two exponentials.",
        ),
    ),
    replaces=(log_partition,),
)

# --- 3.2 -------------------------------------------------------------------------------------------------------------


def bessel_ratio(kappa: float, m: int) -> float:
    """A_m(kappa) = I_(m/2)(kappa) / I_(m/2-1)(kappa), by the recurrence in the dimension.

    Args:
        kappa: Concentration, from 0.001 to 10,000.
        m: Dimension, from 2 to 500.

    Returns:
        The ratio, between 0 and 1, with a relative error below 1e-9.
    """
    steps = 20 + int(8 * math.sqrt(kappa))
    n = m + 2 * steps
    A = 2 * kappa / (n - 1 + math.hypot(n - 1, 2 * kappa))  # Amos' upper bound of A_n
    for _ in range(steps):
        n -= 2
        A = 1 / (n / kappa + A)
    return A


def _recurrence(kappa: float, m: int, steps: int, start: Callable[[int], float]) -> float:
    n = m + 2 * steps
    A = start(n)
    for _ in range(steps):
        n -= 2
        A = 1 / (n / kappa + A)
    return A


def _upwards(kappa: float, m: int) -> float:
    """From m = 2 or 3 upwards: A_(n+2) = 1/A_n - n/kappa."""
    n = 2 + m % 2
    A = _reference.mean(kappa, n)
    while n < m:
        A, n = 1 / A - n / kappa, n + 2
    return A


def _ratio_cases(rng: Generator) -> Iterator[Case]:
    fixed = [(2.0, 3), (2.0, 2), (10.0, 62), (1.7, 128), (1e4, 2), (1e-3, 500), (300.0, 500)]
    drawn = [(float(log_uniform(rng, 1e-3, 1e4)), int(log_uniform(rng, 2, 500))) for _ in range(8)]
    for kappa, m in fixed + drawn:
        yield value((kappa, m), _reference.mean(kappa, m), rtol=1e-9)


def _scipy_ratio(kappa: float, m: int) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(iv(m / 2, kappa)) / np.float64(iv(m / 2 - 1, kappa)))


check_bessel_ratio = Exercise(
    id="ch03.2",
    title="The Bessel ratio, downwards",
    topic="Special functions",
    difficulty=3,
    importance=3,
    minutes=20,
    question="""\
Write `bessel_ratio`, which returns $A_m(\\kappa)$ by $A_m = 1/(m/\\kappa + A_{m+2})$ and no Bessel function. In
which direction? From which start? With how many steps?""",
    solution=bessel_ratio,
    explanation="""\
A relative error shrinks by $A_m A_{m+2}$ at each step down, and grows by the inverse at each step up. So any start
is forgotten on the way down, the faster the larger $m/\\kappa$. For $m \\ll \\kappa$ errors fade only as
$e^{-M^2/4\\kappa}$, which asks for a number of steps proportional to $\\sqrt\\kappa$; Amos' bound as a start saves
about two fifths of them at $\\kappa = 10000$.""",
    hints=(
        "Start at some large n, with any guess of A_n, and come down to m. An error shrinks at every step.",
        "The number of steps has to grow like sqrt(kappa): `20 + 8 sqrt(kappa)` of them are enough.",
        "Amos' bound `2 kappa / (n - 1 + sqrt((n-1)**2 + 4 kappa**2))` is a good first guess of A_n.",
    ),
    cases=_ratio_cases,
    checked="kappa from 0.001 to 10,000, m from 2 to 500, against quadrature",
    mistakes=(
        Mistake(
            _scipy_ratio,
            "the quotient of two Bessel functions is 0/0 where they underflow and infinity by infinity where they "
            "overflow: use the recurrence.",
        ),
        Mistake(
            _upwards,
            "the recurrence runs upwards: each step multiplies the rounding error, until nothing is left.",
        ),
        Mistake(
            lambda kappa, m: _recurrence(kappa, m, 20, lambda n: kappa / n),
            "20 steps are too few for large kappa: their number has to grow like sqrt(kappa).",
        ),
        Mistake(
            lambda kappa, m: _recurrence(kappa, m, 100, lambda n: kappa / n),
            "100 steps are too few for large kappa: their number has to grow like sqrt(kappa).",
        ),
        Mistake(
            lambda kappa, m: _reference.mean(kappa, m + 2),
            "one step is missing at the end: this is A of m + 2.",
        ),
        Mistake(
            lambda kappa, m: 2 * kappa / (m - 1 + math.hypot(m - 1, 2 * kappa)),
            "this is Amos' upper bound for m itself: use it far above m, and come down.",
        ),
    ),
    replaces=(mean_resultant_length,),
)

# --- 3.3 -------------------------------------------------------------------------------------------------------------


def gauss_rule(m: int, n: int = 200) -> tuple[Tensor, Tensor]:
    """Nodes x and weights of E f(x) = sum(weights * f(x)), with x a coordinate of a uniform point of R^m."""
    x, weights = roots_gegenbauer(n, m / 2 - 1) if m > 2 else (np.cos((np.arange(n) + 0.5) * np.pi / n), np.ones(n))
    return torch.from_numpy(x), torch.from_numpy(weights / weights.sum())


def log_normaliser(kappa: Tensor, m: int) -> Tensor:
    """phi_m(kappa) = log E exp(kappa w) over uniform points, by Gauss' rule at the zoomed variable.

    Args:
        kappa: Concentrations, shape (n,), float64, from 0.01 to 1e20.
        m: Dimension, from 2 to 100.

    Returns:
        phi_m, shape (n,), with an absolute error below 1e-9 or a relative one below 1e-9.
    """
    x, weights = gauss_rule(m)
    x0 = 2 * kappa / (m - 1 + torch.sqrt((m - 1) ** 2 + 4 * kappa**2))
    u = x0[:, None] * x
    logs = (m - 1) * (u / (1 + u) - torch.log1p(u))  # log of (c e^(1-c))^(m-1), c = 1 / (1 + u)
    correction = torch.log(torch.exp(logs) @ weights)
    return kappa * x0 - (m - 1) / 2 * torch.log1p(kappa * x0 / (m - 1)) + correction


def _normaliser(
    kappa: Tensor, m: int, power: int = 0, half: int = 0, laplace: bool = False, subtract: bool = False
) -> Tensor:
    """Variants of the solution."""
    x, weights = gauss_rule(m)
    x0 = 2 * kappa / (m - 1 + torch.sqrt((m - 1) ** 2 + 4 * kappa**2))
    c = 1 / (1 + x0[:, None] * x)
    f = torch.exp((m - 1) * (1 - c)) * c ** (m - 1 - power)
    correction = torch.zeros_like(kappa) if laplace else torch.log(f @ weights)
    log_shrink = torch.log(1 - x0**2) if subtract else -torch.log1p(kappa * x0 / (m - 1))
    return kappa * x0 + (m - 1 - half) / 2 * log_shrink + correction


def _normaliser_cases(rng: Generator) -> Iterator[Case]:
    for m in (3, 2, 10, 41, int(rng.integers(4, 100))):
        kappa = np.sort(log_uniform(rng, 1e-2, 1e3, 4))
        truth = torch.tensor([_reference.log_partition(float(k), m) for k in kappa], dtype=torch.float64)
        yield value((torch.from_numpy(kappa), m), truth, rtol=1e-9, atol=1e-9)
    for m in (3, int(rng.integers(4, 60))):
        kappa = np.array([float(log_uniform(rng, 1e7, 1e12)), 1e20])
        log_area = math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2)
        limit = kappa - (m - 1) / 2 * np.log(kappa / (2 * math.pi)) - log_area  # that of the Gaussian law
        yield value((torch.from_numpy(kappa), m), torch.from_numpy(limit), rtol=1e-9)


check_log_normaliser = Exercise(
    id="ch03.3",
    title="Gauss' rule at the zoomed variable",
    topic="Special functions",
    difficulty=4,
    importance=5,
    minutes=25,
    question="""\
This is how the library computes the values from which its table of $\\phi_m$ is made. A Gauss rule for
$E\\,e^{\\kappa w}$ fails for large $\\kappa$, where all is in one corner. Substitute $w = (x_0 + x)/(1 + x_0x)$ first,
and use the same rule for $x$. Write `log_normaliser`; `gauss_rule(m)` is given.""",
    solution=log_normaliser,
    explanation="""\
After the substitution the integrand is $(c\\,e^{1-c})^{m-1} \\le 1$ with $c = 1/(1 + x_0x)$, smooth and broad at
every $\\kappa$, and 200 nodes are more than enough. The factor in front is $e^{\\kappa x_0}(1-x_0^2)^{(m-1)/2}$.
$1 - x_0^2$ must not be computed by subtraction: $\\kappa(1 - x_0^2) = (m-1)x_0$ gives $-\\log(1 - x_0^2) = \\log(1 +
\\kappa x_0/(m-1))$.""",
    hints=(
        "`x0 = 2 kappa / (m-1 + sqrt((m-1)**2 + 4 kappa**2))`, `c = 1 / (1 + x0 x)`, and `kappa w = kappa x0 + "
        "(m-1)(1-c)`.",
        "`(1 - w**2)**((m-3)/2) dw` is `(1 - x0**2)**((m-1)/2) c**(m-1)` times the same for x.",
        "`phi = kappa x0 + (m-1)/2 log(1 - x0**2) + log E (c exp(1-c))**(m-1)`, and `1 / (1 - x0**2) = "
        "1 + kappa x0 / (m-1)`, which does not cancel.",
    ),
    cases=_normaliser_cases,
    checked="m from 2 to 100, kappa from 0.01 to 1e20, against quadrature over the angle and the limit",
    mistakes=(
        Mistake(
            lambda kappa, m: torch.log(torch.exp(kappa[:, None] * (gauss_rule(m)[0] - 1)) @ gauss_rule(m)[1]) + kappa,
            "this is Gauss' rule without the zoom: for large kappa no node is where the mass is.",
        ),
        Mistake(
            lambda kappa, m: _normaliser(kappa, m, power=2, half=2),
            "the factor dw/dx = (1 - x0^2) c^2 of the substitution is missing.",
        ),
        Mistake(
            lambda kappa, m: _normaliser(kappa, m, laplace=True),
            "the expectation is missing: this is Laplace's approximation.",
        ),
        Mistake(
            lambda kappa, m: _normaliser(kappa, m, half=2 * (m - 1)),
            "the sign of (m-1)/2 log(1 - x0^2): it is negative.",
        ),
        Mistake(
            lambda kappa, m: _normaliser(kappa, m, subtract=True),
            "right for moderate kappa; for large kappa x0 rounds to 1 and 1 - x0^2 to 0. It is (m-1) x0 / kappa.",
        ),
    ),
    replaces=(log_partition, kl_to_uniform),
    given=(gauss_rule,),
)
