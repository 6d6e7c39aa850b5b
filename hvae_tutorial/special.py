r"""The one special function behind the von Mises-Fisher law, and its derivatives.

Let ``w`` be one coordinate of a uniform point on the unit sphere of R^m. Its cumulant-generating function

$$\phi_m(\kappa) = \log E\, e^{\kappa w}
  = \log\Gamma(m/2) + (m/2 - 1) \log(2/\kappa) + \log I_{m/2-1}(\kappa)$$

is the log normaliser of the von Mises-Fisher law; its derivatives are the cumulants of ``w = mu . z`` under that law:
the mean resultant length ``A = phi'``, its derivative ``A' = phi''``, and so on.

It is evaluated as Laplace's approximation times a correction. Substitute ``w = (x0 + x) / (1 + x0 x)``, which moves the
peak ``x0 = 2 kappa / (m-1 + sqrt((m-1)^2 + 4 kappa^2))`` of the integrand to ``x = 0``. With ``c = 1 / (1 + x0 x)`` and
``x`` a coordinate of a uniform point,

$$\phi_m(\kappa) = \kappa x_0 + \tfrac{m-1}{2} \log(1 - x_0^2) + \log E_x \bigl[(c\, e^{1-c})^{m-1}\bigr],
   \qquad w = x_0 + \tfrac{m-1}{\kappa} (1 - c).$$

The last expectation lies between 0.65 and 1: it is the acceptance rate of Ulrich's and Wood's rejection sampler
(Ulrich 1984; Wood 1994), whose proposal is this very substitution, and ``x0`` is Wood's constant. The cumulants of
``w`` are those of ``-c``, rescaled. All of this depends on kappa through ``x0`` in [0, 1) alone, so that phi and each
of its derivatives is an elementary factor, which carries the behaviour at small and large kappa, times an even smooth
function of ``x0``. These are integrated once per dimension by a Gauss rule at Chebyshev points, and expanded in
Chebyshev polynomials of ``x0^2``: no case distinction, no recurrence, and no cancellation at either end.

All functions are differentiable, in both directions, as far as the fourth cumulant goes (phi itself four times), and
work under ``torch.func``, ``torch.compile`` and ``torch.export`` (compiled, in reverse direction only). They compute in
float64 and return the dtype of ``kappa`` (on a device without float64, such as MPS, in float32: expect a relative error
of about 1e-5). They never wait for the device, hence do not raise on values: a negative or NaN ``kappa`` gives NaN.
"""

import math
from numbers import Integral
from operator import index
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from hvae_tutorial._autograd import differentiable
from hvae_tutorial._tables import table

__all__ = [
    "concentration_from_mean_resultant_length",
    "kl_to_uniform",
    "log_partition",
    "mean_resultant_length",
    "mean_resultant_length_complement",
    "mean_resultant_length_derivative",
]

# Long inputs are cut so that a (values, points) table has at most this many elements and stays in the cache.
_CHUNK_ELEMENTS = 1 << 17
_MEAN_COMPLEMENT = 6  # its place among the smooth parts


def log_partition(kappa: Tensor, m: int) -> Tensor:
    r"""Log normaliser of the von Mises-Fisher law relative to the uniform law.

    $$\phi_m(\kappa) = \log E[e^{\kappa w}] = \log {}_0F_1(; m/2; \kappa^2/4)$$

    (DLMF 10.39.9). The density on the sphere is ``exp(kappa mu.z - phi) / S_m`` with ``S_m`` its surface area.

    Args:
        kappa: Concentration, any shape, ``kappa >= 0``.
        m: Dimension of the ambient space, an integer of at least 2.

    Returns:
        ``phi_m(kappa)``, of kappa's shape and dtype; zero at ``kappa = 0``.

    Raises:
        TypeError: ``kappa`` is not a floating-point tensor, or ``m`` is not an integer.
        ValueError: ``m < 2``.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.special import log_partition
        >>> log_partition(torch.tensor([0.0, 1.0, 10.0]), 3)  # log(sinh(kappa) / kappa)
        tensor([0.0000, 0.1614, 7.0043])
    """
    return _named(kappa, m, "phi", "mean")[0]


def mean_resultant_length(kappa: Tensor, m: int) -> Tensor:
    r"""Mean of ``mu . z`` under the von Mises-Fisher law: the Bessel ratio.

    $$A_m(\kappa) = \phi_m'(\kappa) = I_{m/2}(\kappa) / I_{m/2-1}(\kappa)$$

    (Mardia and Jupp 2000, section 9.3.2). Arguments and errors as in `log_partition`.

    Returns:
        ``A_m(kappa)`` in [0, 1), of kappa's shape and dtype; it rounds to 1 for large kappa, where
        `mean_resultant_length_complement` keeps the difference.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.special import mean_resultant_length
        >>> mean_resultant_length(torch.tensor([0.0, 1.0, 10.0]), 3)  # coth(kappa) - 1 / kappa
        tensor([0.0000, 0.3130, 0.9000])
    """
    return _named(kappa, m, "mean", "variance")[0]


def mean_resultant_length_complement(kappa: Tensor, m: int) -> Tensor:
    r"""Mean of ``1 - mu . z``, computed without subtracting from one.

    $$1 - A_m(\kappa) \to \frac{m-1}{2\kappa} \quad (\kappa \to \infty)$$

    Arguments and errors as in `log_partition`.

    Returns:
        ``1 - A_m(kappa)`` in (0, 1], of kappa's shape and dtype, with full relative accuracy.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.special import mean_resultant_length_complement
        >>> mean_resultant_length_complement(torch.tensor([1.0, 1e9]), 3)
        tensor([6.8696e-01, 1.0000e-09])
    """
    return _named(kappa, m, "1 - mean", "variance")[0]


def mean_resultant_length_derivative(kappa: Tensor, m: int) -> Tensor:
    r"""Variance of ``mu . z``: the derivative of the Bessel ratio.

    $$A_m'(\kappa) = \phi_m''(\kappa) = 1 - A_m^2 - \frac{m-1}{\kappa} A_m$$

    (a Riccati equation; from DLMF 10.29.2). It is computed as a variance, not from this formula, which cancels.
    Arguments and errors as in `log_partition`.

    Returns:
        ``A_m'(kappa)`` in (0, 1/m], of kappa's shape and dtype; ``1/m`` at ``kappa = 0``.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.special import mean_resultant_length_derivative
        >>> mean_resultant_length_derivative(torch.tensor([0.0, 1.0, 10.0]), 3)
        tensor([0.3333, 0.2759, 0.0100])
    """
    return _named(kappa, m, "variance", "third cumulant")[0]


def kl_to_uniform(kappa: Tensor, m: int) -> Tensor:
    r"""Kullback-Leibler divergence from the von Mises-Fisher to the uniform law, the Legendre transform of phi.

    $$KL(\mathrm{vMF}(\mu, \kappa) \,\|\, U) = \kappa A_m(\kappa) - \phi_m(\kappa),
      \qquad \frac{d}{d\kappa} KL = \kappa A_m'(\kappa)$$

    (Davidson et al. 2018, equation 8, in the form that does not cancel). Arguments and errors as in `log_partition`.

    Returns:
        The divergence in nats, of kappa's shape and dtype; never negative, zero at ``kappa = 0``.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.special import kl_to_uniform
        >>> kl_to_uniform(torch.tensor([0.0, 1.0, 10.0]), 3)
        tensor([0.0000, 0.1516, 1.9957])
    """
    return _named(kappa, m, "kl", "variance")[0]


def concentration_from_mean_resultant_length(r: Tensor, m: int) -> Tensor:
    r"""Concentration with mean resultant length ``r``: the inverse of `mean_resultant_length`.

    Solves ``A_m(kappa) = r``, the likelihood equation of the von Mises-Fisher law (Mardia and Jupp 2000, section
    10.3.1), by Newton's method. It starts at the larger of two lower bounds, ``m r`` and ``(m-1) r / (1-r^2)`` (the
    inverse of Amos' bound ``A <= x0``, Amos 1974); A is concave, so the iterates rise to the solution.

    Args:
        r: Mean resultant length, any shape, in [0, 1). One gives infinity, values outside [0, 1] give NaN.
        m: Dimension of the ambient space, an integer of at least 2.

    Returns:
        The concentration, of r's shape and dtype, differentiable.

    Raises:
        TypeError: ``r`` is not a floating-point tensor, or ``m`` is not an integer.
        ValueError: ``m < 2``.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.special import concentration_from_mean_resultant_length
        >>> concentration_from_mean_resultant_length(torch.tensor([0.0, 0.5, 0.9]), 3)
        tensor([ 0.0000,  1.7968, 10.0000])
    """
    m = check_ambient_dimension(m)
    return _inverse_mean_resultant_length(_checked(r, "r"), m)


def log_partition_complement(kappa: Tensor, m: int) -> Tensor:
    """``kappa - phi_m(kappa)``, which log densities and divergences at large kappa need; as in `log_partition`."""
    return _named(kappa, m, "kappa - phi", "1 - mean")[0]


def widen(values: Tensor) -> Tensor:
    """``values`` in the dtype of internal computations: float64, or float32 on a device that has no other."""
    return values.to(_working_dtype(values))


def check_ambient_dimension(m: int) -> int:
    """Return ``m`` if it is an integer of at least 2, else raise a `TypeError` or a `ValueError`."""
    if isinstance(m, bool) or not isinstance(m, Integral):
        raise TypeError(f"m must be an integer >= 2 (the ambient dimension), got {m!r} of type {type(m).__name__}")
    if m < 2:
        raise ValueError(f"m must be an integer >= 2 (the ambient dimension), got {m}")
    return index(m)  # in a compiled function the size of a tensor becomes a number here


def _named(kappa: Tensor, m: int, *names: str) -> tuple[Tensor, ...]:
    """Checked and differentiable statistics of the law; with each, its derivative should be asked for too."""
    m = check_ambient_dimension(m)
    return _statistics(_checked(kappa, "kappa"), m, names)


def _checked(values: Tensor, name: str) -> Tensor:
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a floating-point tensor, got {values!r} of type {type(values).__name__}")
    if not values.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor, got a tensor of dtype {values.dtype}")
    return values


# --- derivatives ------------------------------------------------------------------------------------------------------

# The derivative of each statistic: another statistic, and the factor that it carries (None stands for kappa).
_DERIVATIVES = {
    "phi": ("mean", 1),
    "mean": ("variance", 1),
    "variance": ("third cumulant", 1),
    "third cumulant": ("fourth cumulant", 1),
    "kappa - phi": ("1 - mean", 1),
    "1 - mean": ("variance", -1),
    "kl": ("variance", None),
}


class _Statistics(torch.autograd.Function):
    """Statistics of the law by name, from one evaluation. A derivative that is among them is not computed anew."""

    @staticmethod
    def forward(kappa: Tensor, m: int, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        return _evaluate(kappa, m, names)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        kappa, ctx.m, ctx.names = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kappa, *output)
        ctx.save_for_forward(kappa, *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None]:
        kappa, *values = ctx.saved_tensors
        terms = [
            grad * _derivative(name, kappa, ctx.m, ctx.names, values)
            for name, grad in zip(ctx.names, grads, strict=True)
            if grad is not None
        ]
        return (sum(terms[1:], start=terms[0]) if terms else None), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        kappa, *values = ctx.saved_tensors
        return tuple(tangent * _derivative(name, kappa, ctx.m, ctx.names, values) for name in ctx.names)


_statistics = differentiable(_Statistics)


def _derivative(name: str, kappa: Tensor, m: int, names: tuple[str, ...], values: list[Tensor]) -> Tensor:
    """Differentiable derivative of a statistic, taken from the values that are there or else computed."""
    if name not in _DERIVATIVES:
        raise NotImplementedError(
            "derivatives of the log partition function are implemented up to order 4, the fourth cumulant; "
            "order 5 was asked for"
        )
    base, factor = _DERIVATIVES[name]
    value = values[names.index(base)] if base in names else _statistics(kappa, m, (base,))[0]
    return kappa * value if factor is None else value if factor == 1 else -value


class _InverseMeanResultantLength(torch.autograd.Function):
    """``kappa(r)`` with derivative ``1 / A'(kappa)``."""

    @staticmethod
    def forward(r: Tensor, m: int) -> Tensor:
        target = widen(r)
        complement = 1 - target
        kappa = torch.maximum(m * target, (m - 1) * target / (complement * (1 + target)))
        points = _points(m, torch.float64)
        for _ in range(6):  # quadratic from a start within a factor of two; the sixth step is a margin
            law = _Moments(kappa, m, points)
            gap = torch.where(target < 0.5, target - law.mean(), law.mean_complement() - complement)
            kappa = kappa + gap / law.variance()
        kappa = torch.where(target == 1, torch.inf, kappa)
        return torch.where((target >= 0) & (target <= 1), kappa, torch.nan).to(r.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, ctx.m = inputs
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kappa,) = ctx.saved_tensors
        return grad / _statistics(kappa, ctx.m, ("variance",))[0], None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (kappa,) = ctx.saved_tensors
        return tangent / _statistics(kappa, ctx.m, ("variance",))[0]


_inverse_mean_resultant_length = differentiable(_InverseMeanResultantLength)


# --- numerics: float64, no autograd ---------------------------------------------------------------------------------


def _working_dtype(values: Tensor) -> torch.dtype:
    return torch.float32 if values.device.type == "mps" else torch.float64


def _evaluate(kappa: Tensor, m: int, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Statistics by name, in kappa's dtype; in slices of bounded size, except where sizes may be symbols."""
    values = widen(kappa)
    points = _points(m, kappa.dtype)
    chunk = _CHUNK_ELEMENTS // points
    if torch.compiler.is_compiling() or values.numel() <= chunk:
        results = _Moments(values, m, points).named(names)
    else:
        parts = [_Moments(part, m, points).named(names) for part in values.reshape(-1).split(chunk)]
        results = [torch.cat(columns).reshape(values.shape) for columns in zip(*parts, strict=True)]
    return tuple(result.to(kappa.dtype) for result in results)


class _Moments:
    """Statistics of ``w = mu . z`` at given concentrations: elementary factors times the smooth parts.

    Operations are kept few, without a branch on values: for a batch of 64 the cost is that of launching them.
    """

    def __init__(self, kappa: Tensor, m: int, points: int) -> None:
        self.m = m
        self.kappa = torch.threshold(kappa, -torch.finfo(kappa.dtype).tiny, math.nan)  # NaN below zero
        h = self.kappa / (m - 1)
        self.g = torch.reciprocal(torch.hypot(h, torch.full_like(h, 0.5)) + 0.5)  # 1 - x0^2
        self.x0 = h * self.g
        self.odds = h * self.x0  # x0^2 / (1 - x0^2)
        # The Chebyshev polynomials of 2 x0^2 - 1 are cosines of multiples of one angle.
        multiples = table(_even_numbers, points, dtype=h.dtype, device=h.device)
        coefficients = table(_chebyshev_coefficients, m, points, dtype=h.dtype, device=h.device)
        self.smooth = (torch.acos(self.x0).unsqueeze(-1) * multiples).cos_() @ coefficients

    def named(self, names: tuple[str, ...]) -> list[Tensor]:
        """The statistics with these names."""
        return [_EVALUATED[name](self) for name in names]

    def phi(self) -> Tensor:
        """``phi``."""
        return torch.sub(self.odds * self.smooth[..., 0], torch.log1p(self.odds), alpha=(self.m - 1) / 2)

    def mean(self) -> Tensor:
        """``A = phi'``."""
        return self.x0 * self.smooth[..., 1]

    def variance(self) -> Tensor:
        """``A' = phi''``."""
        return self.g * self.g * self.smooth[..., 2]

    def third_cumulant(self) -> Tensor:
        """Third derivative of phi."""
        return self.g**3 * self.x0 * self.smooth[..., 3]

    def fourth_cumulant(self) -> Tensor:
        """Fourth derivative of phi."""
        return self.g**4 * self.smooth[..., 4]

    def kl(self) -> Tensor:
        """``kappa A - phi``; the term ``kappa x0`` is cancelled on paper."""
        smooth = self.x0 * self.x0 * self.smooth[..., 5]
        return torch.add(smooth, torch.log1p(self.odds), alpha=(self.m - 1) / 2)

    def mean_complement(self) -> Tensor:
        """``1 - A``: to ``1 - x0``, without cancellation, is added a positive term."""
        return torch.addcmul(self.g / (self.x0 + 1), self.x0 * self.g, self.smooth[..., _MEAN_COMPLEMENT])

    def phi_complement(self) -> Tensor:
        """``kappa - phi = kappa (1 - A) + KL``."""
        return torch.addcmul(self.kl(), self.kappa, self.mean_complement())


_EVALUATED = {
    "phi": _Moments.phi,
    "mean": _Moments.mean,
    "variance": _Moments.variance,
    "third cumulant": _Moments.third_cumulant,
    "fourth cumulant": _Moments.fourth_cumulant,
    "kl": _Moments.kl,
    "1 - mean": _Moments.mean_complement,
    "kappa - phi": _Moments.phi_complement,
}


def _points(m: int, dtype: torch.dtype) -> int:
    """Number of interpolation points: error 1e-13 in float64; about half of them (1e-8) for narrower dtypes."""
    points = 20 + math.ceil(150 / m)
    return points if dtype == torch.float64 else points // 2 + 2


def _chebyshev_coefficients(m: int, points: int) -> np.ndarray:
    """Interpolation at the Chebyshev points of the first kind; Trefethen (2013), chapters 3 and 4."""
    odd = 2 * np.arange(points) + 1
    parts = _smooth_parts(np.cos(np.pi * odd / (4 * points))[:, None], m)
    # Whole turns are taken off in integers: the cosine of a large angle would lose a digit or two.
    turned = np.outer(np.arange(points), odd) % (4 * points)
    transform = np.cos(np.pi * turned / (2 * points)) * (2 / points)
    transform[0] /= 2
    coefficients = transform @ parts
    # A tends to x0, and the difference is wanted to the last bit: it is made zero at x0 = 1.
    coefficients[0, _MEAN_COMPLEMENT] -= coefficients[:, _MEAN_COMPLEMENT].sum()
    return coefficients


def _even_numbers(count: int) -> np.ndarray:
    return np.arange(0.0, 2 * count, 2)


def _smooth_parts(x0: np.ndarray, m: int) -> np.ndarray:
    """Smooth parts of phi, its four derivatives, the divergence and ``1 - A`` for (n, 1) values of x0, an (n, 7) array.

    Even, smooth functions of x0 on [-1, 1], from the acceptance and from the cumulants ``k_n`` of ``delta = 1 - c``
    under the law. With ``g = 1 - x0^2`` they are, in this order,

    - ``m - 1 + g log(acceptance) / x0^2``, which times ``x0^2 / g`` leaves phi without its logarithm,
    - ``1 + g k_1 / x0^2``, which times ``x0`` is A,
    - ``k_2 / x0^2``, ``k_3 / x0^4``, ``k_4 / x0^4``,
    - ``((m - 1) k_1 - log(acceptance)) / x0^2``, which times ``x0^2`` leaves the divergence without its logarithm,
    - ``-k_1 / x0^2``, which times ``x0 g`` is ``x0 - A``.

    The 256-point rule is at rounding error for every m and x0.
    """
    x, weights = gauss_gegenbauer(m, 256)
    s = x0**2
    delta = x0 * x / (1 + x0 * x)
    log_ratio = (m - 1) * (delta - np.log1p(x0 * x))
    excess = (np.expm1(log_ratio) @ weights)[:, None]
    density = weights * np.exp(log_ratio) / (1 + excess)
    mean = (density * delta).sum(axis=1, keepdims=True)
    k2, k3, k4 = ((density * (delta - mean) ** n).sum(axis=1, keepdims=True) for n in (2, 3, 4))
    log_acceptance = np.log1p(excess) / s
    # The mean divided by s, integrated by parts: as a sum of delta its odd terms would cancel for small x0.
    k1 = -(density * (1 - x**2) * (1 / (m - 1) + delta) / (1 + x0 * x) ** 2).sum(axis=1, keepdims=True)
    return np.hstack(
        [
            m - 1 + (1 - s) * log_acceptance,
            1 + (1 - s) * k1,
            k2 / s,
            k3 / s**2,
            (k4 - 3 * k2**2) / s**2,
            (m - 1) * k1 - log_acceptance,
            -k1,
        ]
    )


def gauss_gegenbauer(m: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rule for a coordinate ``x`` of a uniform point on the unit sphere of R^m: weights sum to one.

    Golub and Welsch (1969) with the recurrence coefficients of the Gegenbauer polynomials, DLMF 18.9.1.

    Returns:
        Nodes (n,) in (-1, 1) and weights (n,).
    """
    j = np.arange(2, n)
    squares = np.concatenate([[1 / m], j * (j + m - 3) / ((2 * j + m - 2.0) * (2 * j + m - 4.0))])
    nodes, vectors = eigh_tridiagonal(np.zeros(n), np.sqrt(squares))
    weights = vectors[0] ** 2
    nodes, weights = (nodes - nodes[::-1]) / 2, (weights + weights[::-1]) / 2  # symmetric to the last bit
    return nodes, weights / weights.sum()
