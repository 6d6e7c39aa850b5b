r"""Implicit reparameterisation of the angle to the mean direction (Figurnov, Mohamed and Mnih 2018).

A law of the angle ``theta`` with density ``f`` and score ``s(theta) = d log f / d kappa`` moves its quantiles at rate

$$-\frac{d\theta}{d\kappa} = \frac{1}{f(\theta)} \int_0^\theta s(t) f(t)\,dt
   = \frac{1}{f(\theta)} \int_\theta^\pi -s(t) f(t)\,dt .$$

The score decreases in the angle and has mean zero. Of the two tails we take the one in which it keeps its sign: the
integrand is then positive and nothing cancels.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

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
    complement = mean_resultant_length_complement(concentration, m)
    return _in_slices(_von_mises_fisher_rate, y, concentration, complement, m)


def power_spherical_rate(y: Tensor, concentration: Tensor, m: int) -> Tensor:
    r"""``-d theta / d kappa`` of the Power Spherical law at ``1 - cos(theta) = y``.

    The density is ``(1 + cos theta)^kappa sin(theta)^(m-2)`` and the score ``log(1 + cos theta)`` minus its mean.
    Arguments and result as in `von_mises_fisher_rate`.
    """
    half = (m - 1) / 2
    alpha = widen(concentration) + half
    mean_log = (torch.digamma(alpha) - torch.digamma(alpha + half)).to(y.dtype)  # of log((1 + w) / 2)
    return _in_slices(_power_spherical_rate, y, concentration, mean_log, m)


def _in_slices(rate: Callable[..., Tensor], y: Tensor, kappa: Tensor, constant: Tensor, m: int) -> Tensor:
    """Evaluate in slices, so that the (values, nodes) tables stay in the cache; the result has y's shape."""
    size = _CHUNK_ELEMENTS // _points(y.dtype)
    columns = zip(*(column.reshape(-1).split(size) for column in (y, kappa, constant)), strict=True)
    return torch.cat([rate(*(part.unsqueeze(-1) for part in parts), m) for parts in columns]).reshape(y.shape)


def _von_mises_fisher_rate(y: Tensor, kappa: Tensor, mean_complement: Tensor, m: int) -> Tensor:
    theta, sine = _angle(y)
    excess = mean_complement - y  # w - A
    cosine = 1 - y
    inverse_width2 = kappa * cosine.clamp(min=0) + (m - 2) / sine**2
    slope = (kappa * sine - (m - 2) * cosine / sine).abs()
    delta, weights = _tail(theta, _supplement(y), excess > 0, inverse_width2, slope)
    rise = -2 * torch.sin(theta + delta / 2) * torch.sin(delta / 2)  # cos(theta + delta) - cos(theta)
    integrand = (rise + excess).abs() * torch.exp(kappa * rise + _log_sine_power(delta, cosine / sine, m))
    return (integrand * weights).sum(-1)


def _power_spherical_rate(y: Tensor, kappa: Tensor, mean_log: Tensor, m: int) -> Tensor:
    theta, sine = _angle(y)
    cosine = 1 - y
    excess = torch.log1p(-y / 2) - mean_log
    inverse_width2 = kappa / (2 - y).clamp(min=torch.finfo(y.dtype).tiny) + (m - 2) / sine**2
    tangent = torch.tan(theta / 2)
    slope = (kappa * tangent - (m - 2) * cosine / sine).abs()
    delta, weights = _tail(theta, _supplement(y), excess > 0, inverse_width2, slope)
    # log of (1 + cos(theta + delta)) / (1 + cos(theta)) = 2 log of cos((theta + delta) / 2) / cos(theta / 2)
    ratio = -2 * torch.sin(delta / 4) ** 2 - tangent * torch.sin(delta / 2)
    rise = 2 * torch.log1p(ratio.clamp(min=_above_minus_one(y.dtype)))
    integrand = (rise + excess).abs() * torch.exp(kappa * rise + _log_sine_power(delta, cosine / sine, m))
    return (integrand * weights).sum(-1)


def _angle(y: Tensor) -> tuple[Tensor, Tensor]:
    """``theta`` and its sine from ``y = 1 - cos(theta)``."""
    sine = torch.sqrt(y * (2 - y)).clamp(min=torch.finfo(y.dtype).tiny)
    return 2 * torch.atan2(torch.sqrt(y), torch.sqrt(2 - y)), sine


def _supplement(y: Tensor) -> Tensor:
    """``pi - theta`` without cancellation."""
    return 2 * torch.atan2(torch.sqrt(2 - y), torch.sqrt(y))


def _log_sine_power(delta: Tensor, cotangent: Tensor, m: int) -> Tensor:
    """``(m - 2) log(sin(theta + delta) / sin(theta))``."""
    if m == 2:
        return torch.zeros_like(delta)
    ratio = torch.sin(delta) * cotangent - 2 * torch.sin(delta / 2) ** 2
    return (m - 2) * torch.log1p(ratio.clamp(min=_above_minus_one(delta.dtype)))


def _above_minus_one(dtype: torch.dtype) -> float:
    return -1 + torch.finfo(dtype).eps


def _tail(
    theta: Tensor, supplement: Tensor, to_pole: Tensor, inverse_width2: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes, as signed distances from theta, and weights on the tail that does not change sign.

    The tail is cut at 9 widths of the density (a relative 2e-8 at most), or where its slope alone has reduced it by
    exp(-40).
    """
    nodes, weights = _legendre(_points(theta.dtype), theta.dtype, theta.device)
    length = torch.where(to_pole, theta, supplement)
    length = torch.minimum(length, torch.minimum(9 * torch.rsqrt(inverse_width2), 40 / slope))
    return torch.where(to_pole, -length, length) * nodes, length * weights


def _points(dtype: torch.dtype) -> int:
    return 32 if dtype == torch.float64 else 16


@cache
def _legendre(points: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return tuple(torch.tensor(a, dtype=dtype, device=device) for a in ((nodes + 1) / 2, weights / 2))  # type: ignore[return-value]
