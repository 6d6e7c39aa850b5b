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
    if y.numel() <= size:
        return rate(y, kappa, constant, m)
    columns = zip(*(column.reshape(-1).split(size) for column in (y, kappa, constant)), strict=True)
    return torch.cat([rate(*parts, m) for parts in columns]).reshape(y.shape)


def _von_mises_fisher_rate(y: Tensor, kappa: Tensor, mean_complement: Tensor, m: int) -> Tensor:
    cosine, sine, cotangent = _angle(y)
    excess = mean_complement - y  # w - A, the score
    to_pole = excess > 0
    inverse_width2 = torch.addcmul((m - 2) / (sine * sine), kappa, cosine.clamp(min=0))
    slope = kappa * sine - (m - 2) * cotangent
    length = _tail_length(y, to_pole, inverse_width2, slope)
    s, c, weights = _half_angle_nodes(length, to_pole)
    # cos(theta + delta) - cos(theta), from sin and cos of delta / 2
    rise = s * torch.addcmul(sine.unsqueeze(-1) * c, cosine.unsqueeze(-1), s) * -2
    exponent = torch.addcmul(_log_sine_power(s, c, cotangent, m), kappa.unsqueeze(-1), rise)
    integrand = (rise + excess.unsqueeze(-1)).abs() * torch.exp(exponent)
    return integrand @ weights * length


def _power_spherical_rate(y: Tensor, kappa: Tensor, mean_log: Tensor, m: int) -> Tensor:
    cosine, sine, cotangent = _angle(y)
    excess = torch.log1p(-y / 2) - mean_log
    to_pole = excess > 0
    tangent = sine / (2 - y)  # of theta / 2
    inverse_width2 = kappa / (2 - y) + (m - 2) / (sine * sine)
    slope = kappa * tangent - (m - 2) * cotangent
    length = _tail_length(y, to_pole, inverse_width2, slope)
    s, c, weights = _half_angle_nodes(length, to_pole)
    # log of (1 + cos(theta + delta)) / (1 + cos(theta)) = 2 log of cos((theta + delta) / 2) / cos(theta / 2)
    drop = s * s / (1 + c) + tangent.unsqueeze(-1) * s
    rise = 2 * torch.log1p(-drop.clamp(max=_below_one(y.dtype)))
    exponent = torch.addcmul(_log_sine_power(s, c, cotangent, m), kappa.unsqueeze(-1), rise)
    integrand = (rise + excess.unsqueeze(-1)).abs() * torch.exp(exponent)
    return integrand @ weights * length


def _angle(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine, sine and cotangent of theta from ``y = 1 - cos(theta)``."""
    cosine, sine = 1 - y, torch.sqrt(y * (2 - y))
    return cosine, sine, cosine / sine


def _tail_length(y: Tensor, to_pole: Tensor, inverse_width2: Tensor, slope: Tensor) -> Tensor:
    """Length of the tail that does not change sign.

    It is cut at 9 widths of the density (a relative error of 2e-8 at most), or where its slope alone has reduced it by
    exp(-40).
    """
    near = torch.where(to_pole, y, 2 - y)
    length = 2 * torch.atan2(torch.sqrt(near), torch.sqrt(2 - near))  # theta or pi - theta, without cancellation
    return torch.minimum(length, torch.minimum(9 * torch.rsqrt(inverse_width2), 40 / slope.abs()))


def _half_angle_nodes(length: Tensor, to_pole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sine and cosine of ``delta / 2`` at the nodes ``theta + delta`` of the tail, and weights for a unit length."""
    half_nodes, weights = _legendre(_points(length.dtype), length.dtype, length.device)
    half = torch.where(to_pole, -length, length).unsqueeze(-1) * half_nodes
    return torch.sin(half), torch.cos(half), weights


def _log_sine_power(s: Tensor, c: Tensor, cotangent: Tensor, m: int) -> Tensor:
    """``(m - 2) log(sin(theta + delta) / sin(theta))``, from sine and cosine of ``delta / 2``."""
    ratio = s * (cotangent.unsqueeze(-1) * c - s) * 2
    return torch.log1p(ratio.clamp(min=-_below_one(s.dtype))) * (m - 2)


def _below_one(dtype: torch.dtype) -> float:
    return 1 - torch.finfo(dtype).eps


def _points(dtype: torch.dtype) -> int:
    return 32 if dtype == torch.float64 else 16


@cache
def _legendre(points: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre rule on [0, 1]: half of each node, and the weights."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return tuple(torch.tensor(a, dtype=dtype, device=device) for a in ((nodes + 1) / 4, weights / 2))  # type: ignore[return-value]
