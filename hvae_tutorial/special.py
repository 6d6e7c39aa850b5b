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

All functions are differentiable to third order, and work under ``torch.func`` and ``torch.compile`` (but for an
explicit ``dynamic=True``; the default, which learns dynamic sizes, is fine). They compute in
float64 and return the dtype of ``kappa`` (on a device without float64, such as MPS, in float32: expect a relative error
of about 1e-5). They never wait for the device, hence do not raise on values: a negative or NaN ``kappa`` gives NaN.
"""

import inspect
import math
from numbers import Integral

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

__all__ = [
    "concentration_from_mean_resultant_length",
    "kl_to_uniform",
    "log_partition",
    "mean_resultant_length",
    "mean_resultant_length_complement",
    "mean_resultant_length_derivative",
]

_HIGHEST_CUMULANT = 4
# Long inputs are cut so that a (values, points) table has at most this many elements and stays in the cache.
_CHUNK_ELEMENTS = 1 << 17
_KL, _MEAN_COMPLEMENT = 5, 6  # places among the smooth parts, after those of phi and its four derivatives


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
    """
    return _apply(_Cumulant, _checked(kappa, "kappa", m), m, 0)[0]


def mean_resultant_length(kappa: Tensor, m: int) -> Tensor:
    r"""Mean of ``mu . z`` under the von Mises-Fisher law: the Bessel ratio.

    $$A_m(\kappa) = \phi_m'(\kappa) = I_{m/2}(\kappa) / I_{m/2-1}(\kappa)$$

    (Mardia and Jupp 2000, section 9.3.2). Arguments and errors as in `log_partition`.

    Returns:
        ``A_m(kappa)`` in [0, 1), of kappa's shape and dtype; it rounds to 1 for large kappa, where
        `mean_resultant_length_complement` keeps the difference.
    """
    return _apply(_Cumulant, _checked(kappa, "kappa", m), m, 1)[0]


def mean_resultant_length_complement(kappa: Tensor, m: int) -> Tensor:
    r"""Mean of ``1 - mu . z``, computed without subtracting from one.

    $$1 - A_m(\kappa) \to \frac{m-1}{2\kappa} \quad (\kappa \to \infty)$$

    Arguments and errors as in `log_partition`.

    Returns:
        ``1 - A_m(kappa)`` in (0, 1], of kappa's shape and dtype, with full relative accuracy.
    """
    return _apply(_Complement, _checked(kappa, "kappa", m), m)[1]


def mean_resultant_length_derivative(kappa: Tensor, m: int) -> Tensor:
    r"""Variance of ``mu . z``: the derivative of the Bessel ratio.

    $$A_m'(\kappa) = \phi_m''(\kappa) = 1 - A_m^2 - \frac{m-1}{\kappa} A_m$$

    (a Riccati equation; from DLMF 10.29.2). It is computed as a variance, not from this formula, which cancels.
    Arguments and errors as in `log_partition`.

    Returns:
        ``A_m'(kappa)`` in (0, 1/m], of kappa's shape and dtype; ``1/m`` at ``kappa = 0``.
    """
    return _apply(_Cumulant, _checked(kappa, "kappa", m), m, 2)[0]


def kl_to_uniform(kappa: Tensor, m: int) -> Tensor:
    r"""Kullback-Leibler divergence from the von Mises-Fisher to the uniform law, the Legendre transform of phi.

    $$KL(\mathrm{vMF}(\mu, \kappa) \,\|\, U) = \kappa A_m(\kappa) - \phi_m(\kappa),
      \qquad \frac{d}{d\kappa} KL = \kappa A_m'(\kappa)$$

    (Davidson et al. 2018, equation 8, in the form that does not cancel). Arguments and errors as in `log_partition`.

    Returns:
        The divergence in nats, of kappa's shape and dtype; never negative, zero at ``kappa = 0``.
    """
    return _apply(_KLToUniform, _checked(kappa, "kappa", m), m)[0]


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
    """
    return _apply(_InverseMeanResultantLength, _checked(r, "r", m), m)


def log_partition_complement(kappa: Tensor, m: int) -> Tensor:
    """``kappa - phi_m(kappa)``, which log densities and divergences at large kappa need; as in `log_partition`."""
    return _apply(_Complement, _checked(kappa, "kappa", m), m)[0]


def kl_to_uniform_and_mean_complement(kappa: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """`kl_to_uniform` and `mean_resultant_length_complement` from one evaluation."""
    divergence, _, complement = _apply(_KLToUniform, _checked(kappa, "kappa", m), m)
    return divergence, complement


def widen(values: Tensor) -> Tensor:
    """``values`` in the dtype of internal computations: float64, or float32 on a device that has no other."""
    return values.to(_working_dtype(values))


def check_ambient_dimension(m: int) -> int:
    """Return ``m`` if it is an integer of at least 2, else raise a `TypeError` or a `ValueError`."""
    if isinstance(m, bool) or not isinstance(m, Integral):
        raise TypeError(f"m must be an integer >= 2 (the ambient dimension), got {m!r} of type {type(m).__name__}")
    if m < 2:
        raise ValueError(f"m must be an integer >= 2 (the ambient dimension), got {m}")
    return int(m)


def _checked(values: Tensor, name: str, m: int) -> Tensor:
    check_ambient_dimension(m)
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a floating-point tensor, got {values!r} of type {type(values).__name__}")
    if not values.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor, got a tensor of dtype {values.dtype}")
    return values


# --- derivatives: each function returns its value and its derivative, and saves the latter for the backward pass ------


def _apply(function: type[torch.autograd.Function], values: Tensor, *parameters: int):  # type: ignore[no-untyped-def]
    """Apply ``function``, past autograd where no gradient is asked for: its bookkeeping costs as much as the values."""
    if torch.is_grad_enabled() and values.requires_grad:
        return function.apply(values, *parameters)
    return function.forward(values, *parameters)


def _binds_fast(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """Keep the signature that `torch.autograd.Function.apply` would else work out anew at every call."""
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
    return function


@_binds_fast
class _Cumulant(torch.autograd.Function):
    """``(phi^(order), phi^(order + 1))``: a differentiation moves one order up."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, m: int, order: int) -> tuple[Tensor, ...]:
        return _evaluate(kappa, m, lambda law: (law.cumulant(order), law.cumulant(order + 1)))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
        kappa, ctx.m, ctx.order = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kappa, output[1])

    @staticmethod
    def backward(ctx, grad, grad_next):  # type: ignore[no-untyped-def]
        kappa, derivative = ctx.saved_tensors
        pairs = (grad, lambda: derivative), (grad_next, lambda: _cumulant(kappa, ctx.m, ctx.order + 2))
        return _pull_back(*pairs), None, None


@_binds_fast
class _Complement(torch.autograd.Function):
    """``(kappa - phi, 1 - A)``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, m: int) -> tuple[Tensor, ...]:
        return _evaluate(kappa, m, _Moments.complements)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
        kappa, ctx.m = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kappa, output[1])

    @staticmethod
    def backward(ctx, grad, grad_next):  # type: ignore[no-untyped-def]
        kappa, derivative = ctx.saved_tensors
        return _pull_back((grad, lambda: derivative), (grad_next, lambda: -_cumulant(kappa, ctx.m, 2))), None


@_binds_fast
class _KLToUniform(torch.autograd.Function):
    """``(KL, A', 1 - A)``: the derivative of the divergence is ``kappa A'``, and ``1 - A`` is wanted with it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, m: int) -> tuple[Tensor, ...]:
        return _evaluate(kappa, m, lambda law: (law.kl_to_uniform(), law.cumulant(2), law.mean_complement()))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
        kappa, ctx.m = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kappa, output[1])

    @staticmethod
    def backward(ctx, grad, grad_variance, grad_complement):  # type: ignore[no-untyped-def]
        kappa, variance = ctx.saved_tensors
        return _pull_back(
            (grad, lambda: kappa * variance),
            (grad_variance, lambda: _cumulant(kappa, ctx.m, 3)),
            (grad_complement, lambda: -variance),
        ), None


@_binds_fast
class _InverseMeanResultantLength(torch.autograd.Function):
    """``kappa(r)`` with derivative ``1 / A'(kappa)``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(r: Tensor, m: int) -> Tensor:
        target = widen(r)
        complement = 1 - target
        kappa = torch.maximum(m * target, (m - 1) * target / (complement * (1 + target)))
        coefficients = _coefficients(m, _points(m, torch.float64), target.dtype, target.device)
        for _ in range(6):  # quadratic from a start within a factor of two; the sixth step is a margin
            law = _Moments(kappa, m, coefficients)
            gap = torch.where(target < 0.5, target - law.cumulant(1), law.mean_complement() - complement)
            kappa = kappa + gap / law.cumulant(2)
        kappa = torch.where(target == 1, torch.inf, kappa)
        return torch.where((target >= 0) & (target <= 1), kappa, torch.nan).to(r.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
        _, ctx.m = inputs
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (kappa,) = ctx.saved_tensors
        return grad / _cumulant(kappa, ctx.m, 2), None


def _cumulant(kappa: Tensor, m: int, order: int) -> Tensor:
    """Differentiable ``phi^(order)``, order 1 to 4."""
    if order > _HIGHEST_CUMULANT:
        raise NotImplementedError(
            f"derivatives of the log partition function are implemented up to order {_HIGHEST_CUMULANT}; "
            f"order {order} was asked for"
        )
    return _Cumulant.apply(kappa, m, order - 1)[1]


def _pull_back(*pairs):  # type: ignore[no-untyped-def]
    """Sum of ``grad * derivative()`` over the outputs that have a gradient; None if none has."""
    terms = [grad * derivative() for grad, derivative in pairs if grad is not None]
    return sum(terms[1:], start=terms[0]) if terms else None


# --- numerics: float64, no autograd ---------------------------------------------------------------------------------


def _working_dtype(values: Tensor) -> torch.dtype:
    return torch.float32 if values.device.type == "mps" else torch.float64


def _evaluate(kappa: Tensor, m: int, statistics) -> tuple[Tensor, ...]:  # type: ignore[no-untyped-def]
    """Apply ``statistics`` to the law in slices of bounded size; results have kappa's dtype."""
    values = widen(kappa)
    coefficients = _coefficients(m, _points(m, kappa.dtype), values.dtype, values.device)
    chunk = _CHUNK_ELEMENTS // coefficients.shape[0]
    if values.numel() <= chunk or torch.compiler.is_compiling():
        results = statistics(_Moments(values, m, coefficients))
    else:
        parts = [statistics(_Moments(part, m, coefficients)) for part in values.reshape(-1).split(chunk)]
        results = (torch.cat(columns).reshape(values.shape) for columns in zip(*parts, strict=True))
    return tuple(result.to(kappa.dtype) for result in results)


class _Moments:
    """Cumulants of ``w = mu . z`` at given concentrations: elementary factors times the smooth parts.

    Operations are kept few, without a branch on values: for a batch of 64 the cost is that of launching them.
    """

    def __init__(self, kappa: Tensor, m: int, coefficients: Tensor) -> None:
        self.m = m
        self.kappa = torch.threshold(kappa, -torch.finfo(kappa.dtype).tiny, math.nan)  # NaN below zero
        h = self.kappa / (m - 1)
        self.g = torch.reciprocal(torch.hypot(h, torch.full_like(h, 0.5)) + 0.5)  # 1 - x0^2
        self.x0 = h * self.g
        self.odds = h * self.x0  # x0^2 / (1 - x0^2)
        # The Chebyshev polynomials of 2 x0^2 - 1 are cosines of multiples of one angle.
        multiples = torch.acos(self.x0).unsqueeze(-1) * _even_numbers(coefficients.shape[0], h.dtype, h.device)
        self.smooth = multiples.cos_() @ coefficients

    def cumulant(self, order: int) -> Tensor:
        """``phi^(order)``, order 0 to 4."""
        smooth = self.smooth[..., order]
        if order == 0:
            return torch.sub(self.odds * smooth, torch.log1p(self.odds), alpha=(self.m - 1) / 2)
        if order == 1:
            return self.x0 * smooth
        if order == 2:
            return self.g * self.g * smooth
        return self.g**3 * self.x0 * smooth if order == 3 else self.g**4 * smooth

    def mean_complement(self) -> Tensor:
        """``1 - A``: to ``1 - x0``, without cancellation, is added a positive term."""
        return torch.addcmul(self.g / (self.x0 + 1), self.x0 * self.g, self.smooth[..., _MEAN_COMPLEMENT])

    def complements(self) -> tuple[Tensor, Tensor]:
        """``kappa - phi = kappa (1 - A) + KL``, and ``1 - A``."""
        complement = self.mean_complement()
        return torch.addcmul(self.kl_to_uniform(), self.kappa, complement), complement

    def kl_to_uniform(self) -> Tensor:
        """``kappa A - phi``; the term ``kappa x0`` is cancelled on paper."""
        smooth = self.x0 * self.x0 * self.smooth[..., _KL]
        return torch.add(smooth, torch.log1p(self.odds), alpha=(self.m - 1) / 2)


def _points(m: int, dtype: torch.dtype) -> int:
    """Number of interpolation points: error 1e-13 in float64; about half of them (1e-8) for narrower dtypes."""
    points = 20 + math.ceil(150 / m)
    return points if dtype == torch.float64 else points // 2 + 2


_TABLES: dict[tuple[object, ...], Tensor] = {}


@torch.compiler.assume_constant_result
def _coefficients(m: int, points: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Chebyshev coefficients (points, 7) of the smooth parts, made once (some milliseconds) for each device and dtype.

    Interpolation at the Chebyshev points of the first kind; Trefethen (2013), chapters 3 and 4.
    """
    key = (m, points, dtype, device)
    if key not in _TABLES:
        odd = 2 * np.arange(points) + 1
        parts = _smooth_parts(np.cos(np.pi * odd / (4 * points))[:, None], m)
        # Whole turns are taken off in integers: the cosine of a large angle would lose a digit or two.
        turned = np.outer(np.arange(points), odd) % (4 * points)
        transform = np.cos(np.pi * turned / (2 * points)) * (2 / points)
        transform[0] /= 2
        coefficients = transform @ parts
        # A tends to x0, and the difference is wanted to the last bit: it is made zero at x0 = 1.
        coefficients[0, _MEAN_COMPLEMENT] -= coefficients[:, _MEAN_COMPLEMENT].sum()
        _TABLES[key] = torch.tensor(coefficients, dtype=dtype, device=device)
    return _TABLES[key]


@torch.compiler.assume_constant_result
def _even_numbers(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The first even numbers 0, 2, 4, ..., made once for each device and dtype."""
    key = (count, dtype, device)
    if key not in _TABLES:
        _TABLES[key] = torch.arange(0, 2 * count, 2, dtype=dtype, device=device)
    return _TABLES[key]


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
