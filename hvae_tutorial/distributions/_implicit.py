r"""Implicit reparameterisation of the angle to the mean direction (Figurnov, Mohamed and Mnih 2018).

A law of the angle ``theta`` with density ``f`` and score ``s(theta) = d log f / d kappa`` moves its quantiles at rate

$$-\frac{d\theta}{d\kappa} = \frac{1}{f(\theta)} \int_0^\theta s(t) f(t)\,dt
   = \frac{1}{f(\theta)} \int_\theta^\pi -s(t) f(t)\,dt .$$

The score decreases in the angle and has mean zero. Of the two tails we take the one in which it keeps its sign: the
integrand is then positive and nothing cancels.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hvae_tutorial._tables import table
from hvae_tutorial.distributions._gamma import digamma_difference
from hvae_tutorial.special import mean_resultant_length_complement, widen

_CHUNK_ELEMENTS = 1 << 17


def von_mises_fisher_rate(y: Tensor, concentration: Tensor, m: int) -> Tensor:
    r"""``-d theta / d kappa`` of the von Mises-Fisher law at ``1 - cos(theta) = y``.

    The density is ``exp(kappa cos theta) sin(theta)^(m-2)`` and the score ``cos(theta) - A_m(kappa)``.

    Args:
        y: ``1 - w``, any shape, in (0, 2).
        concentration: ``kappa``, of the same shape.
        m: Dimension of the ambient space.

    Returns:
        The rate, positive, of the same shape; ``dw / dkappa`` is ``sin(theta)`` times it.
    """
    mean_complement = mean_resultant_length_complement(concentration, m)
    return _in_slices(_von_mises_fisher_rate, y, concentration, mean_complement, m)


def power_spherical_rate(y: Tensor, concentration: Tensor, m: int) -> Tensor:
    r"""``-d theta / d kappa`` of the Power Spherical law at ``1 - cos(theta) = y``.

    The density is ``(1 + cos theta)^kappa sin(theta)^(m-2)`` and the score ``log(1 + cos theta)`` minus its mean.
    Arguments and result as in `von_mises_fisher_rate`.
    """
    half = (m - 1) / 2
    alpha = widen(concentration) + half
    mean_log = -digamma_difference(alpha, half).to(y.dtype)  # of log((1 + w) / 2)
    return _in_slices(_power_spherical_rate, y, concentration, mean_log, m)


def _in_slices(rate: Callable[..., Tensor], y: Tensor, kappa: Tensor, constant: Tensor, m: int) -> Tensor:
    """Evaluate in slices (n,), so that the (nodes, n) tables stay in the cache; the result has y's shape."""
    columns = [column.reshape(-1) for column in (y, kappa, constant)]
    size = _CHUNK_ELEMENTS // 32
    if torch.compiler.is_compiling() or y.numel() <= size:
        return rate(*columns, m).reshape(y.shape)
    slices = zip(*(column.split(size) for column in columns), strict=True)
    return torch.cat([rate(*parts, m) for parts in slices]).reshape(y.shape)


# Operations are kept few, and few of them mix tensors with Python numbers: for a batch of 64 launching is the cost.
# Nodes are along the first axis, so that numbers of a value (n,) broadcast along rows that are contiguous.


def _von_mises_fisher_rate(y: Tensor, kappa: Tensor, mean_complement: Tensor, m: int) -> Tensor:
    cosine, sine2, sine = _cosine_and_sine(y)
    cotangent = cosine / sine
    excess = mean_complement - y  # w - A, the score
    inverse_width2 = torch.addcmul(torch.reciprocal(sine2).mul_(m - 2), kappa, cosine.relu())
    length, s, c, weights = _tail(excess, cosine, sine, inverse_width2, grading=1)
    two_s = s + s
    # cos(theta) - cos(theta + delta), from sine and cosine of delta / 2
    drop = torch.addcmul(sine * c, cosine, s).mul_(two_s)
    exponent = torch.addcmul(_log_sine_power(two_s, s, c, cotangent, m), kappa, drop, value=-1)
    integrand = (excess - drop).mul_(exponent.exp_())
    return integrand.mul_(weights).sum(0).mul_(length)


def _power_spherical_rate(y: Tensor, kappa: Tensor, mean_log: Tensor, m: int) -> Tensor:
    cosine, sine2, sine = _cosine_and_sine(y)
    tangent = sine / (2 - y)  # of theta / 2
    excess = torch.log1p(-y / 2) - mean_log
    inverse_width2 = kappa / (2 - y) + (m - 2) / sine2
    # The density is singular at the antipode, like (pi - t)^(2 kappa + m - 2).
    length, s, c, weights = _tail(excess, cosine, sine, inverse_width2, grading=3)
    # log of (1 + cos(theta + delta)) / (1 + cos(theta)) = 2 log of cos((theta + delta) / 2) / cos(theta / 2)
    ratio = s * s / (1 + c) + tangent * s
    rise = 2 * torch.log1p(-ratio.clamp(max=_below_one(y.dtype)))
    exponent = torch.addcmul(_log_sine_power(s + s, s, c, cosine / sine, m), kappa, rise)
    integrand = (excess + rise).mul_(exponent.exp_())
    return integrand.mul_(weights).sum(0).mul_(length)


def _cosine_and_sine(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine, squared sine and sine of theta from ``y = 1 - cos(theta)``."""
    cosine = 1 - y
    sine2 = torch.addcmul(y, y, cosine)  # y (2 - y)
    return cosine, sine2, torch.sqrt(sine2)


def _tail(
    excess: Tensor, cosine: Tensor, sine: Tensor, inverse_width2: Tensor, grading: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The tail in which the score keeps its sign: to the mean direction where it is positive, else to the antipode.

    It is cut at 9 widths of the density, a relative error of 2e-8 at most. With a grading g the nodes crowd at its far
    end, where powers of the distance are integrated as if g times as smooth.

    Returns:
        Its length (n,), with the sign of the score; sine and cosine of ``delta / 2`` at the Gauss-Legendre nodes
        ``theta + delta``, (nodes, n); weights (nodes, 1) for a unit length.
    """
    rule = table(_legendre, _points(sine.dtype, grading), grading, dtype=sine.dtype, device=sine.device)
    half_nodes, weights = rule.unbind()
    # theta or, where the score is negative, pi - theta: accurate at both ends
    length = torch.atan2(sine, torch.copysign(cosine, cosine * excess))
    length = torch.minimum(length, torch.rsqrt(inverse_width2).mul_(9))
    length = torch.copysign(length, excess)
    half = length * half_nodes
    return length, torch.sin(half), torch.cos(half), weights


def _log_sine_power(two_s: Tensor, s: Tensor, c: Tensor, cotangent: Tensor, m: int) -> Tensor:
    """``(m - 2) log(sin(theta + delta) / sin(theta))``, from sine and cosine of ``delta / 2``."""
    ratio = (cotangent * c).sub_(s).mul_(two_s)
    return ratio.clamp(min=-_below_one(s.dtype)).log1p_().mul_(m - 2)


def _below_one(dtype: torch.dtype) -> float:
    return 1 - torch.finfo(dtype).eps


def _points(dtype: torch.dtype, grading: int) -> int:
    """Number of nodes; half suffices in single precision where they are not crowded at the far end."""
    return 32 if dtype == torch.float64 or grading > 1 else 16


def _legendre(points: int, grading: int) -> np.ndarray:
    """Gauss-Legendre rule on [0, 1] under ``1 - (1 - x)^grading``: minus half of the nodes, and weights; (2, n, 1)."""
    x, weights = np.polynomial.legendre.leggauss(points)
    to_end = (1 - x) / 2
    return np.stack([(to_end**grading - 1) / 2, weights / 2 * grading * to_end ** (grading - 1)])[..., None]
