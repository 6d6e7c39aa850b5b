"""Weighted maximum likelihood for laws about a mean direction, in float64.

Estimates solve equations. A solution is found without gradient; two more Newton steps, taken with it, then give the
derivatives up to the third order (each step doubles the number of right terms, as in iterating for power series).
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from hvae_tutorial import special
from hvae_tutorial.distributions._gamma import digamma_difference, trigamma_difference
from hvae_tutorial.distributions.constraints import norm_tolerance, unit_vector

STEPS_WITH_GRADIENT = 2


class WeightedPoints(NamedTuple):
    """Unit vectors (..., n, m), shares (..., n) that sum to one, and whether (...) there was any weight."""

    points: Tensor
    shares: Tensor
    weighted: Tensor


def weighted_points(data: Tensor, weights: Tensor | None) -> WeightedPoints:
    """Check the arguments of `fit` and bring them to float64 and to norm and sum one."""
    _check_real(data, "data", "floating-point tensor of unit vectors, shape (..., n, m)", torch.is_floating_point)
    if data.ndim < 2 or data.shape[-2] < 1 or data.shape[-1] < 2:
        raise ValueError(f"data must have shape (..., n, m) with n >= 1 and m >= 2, got {tuple(data.shape)}")
    if not bool(unit_vector.check(data).all()):
        norms = torch.linalg.vector_norm(data.detach(), dim=-1).reshape(-1)
        worst = norms[(norms - 1).abs().nan_to_num(torch.inf).argmax()].item()
        raise ValueError(
            f"data must be unit vectors, got a row of norm {worst:.6g} (tolerance {norm_tolerance(data.dtype):.2g})"
        )
    # Norms off by float32's rounding would be taken for spread where the data are concentrated.
    points = torch.nn.functional.normalize(special.widen(data), dim=-1)
    if weights is None:
        weights = torch.ones_like(points[..., 0])
    _check_real(weights, "weights", "real tensor of shape (..., n)", lambda tensor: not tensor.is_complex())
    n = data.shape[-2]
    if weights.ndim < 1 or weights.shape[-1] != n or not _broadcast(weights.shape[:-1], data.shape[:-2]):
        raise ValueError(
            f"weights must have shape (..., {n}), one per row of data, with a batch that broadcasts with "
            f"{tuple(data.shape[:-2])}, got {tuple(weights.shape)}"
        )
    wide = special.widen(weights)
    total = wide.sum(-1, keepdim=True)
    weighted = total > 0
    if not bool((wide >= 0).all()) or not bool(total.isfinite().all()) or (total.numel() > 0 and not weighted.any()):
        raise ValueError(
            f"weights must be non-negative, finite and not all zero, got sum {total.sum().item():.6g}, "
            f"smallest {wide.min().item():.6g}"
        )
    shares = torch.where(weighted, wide / torch.where(weighted, total, 1.0), 1 / n)
    return WeightedPoints(points, shares, weighted.squeeze(-1))


def concentration_limit(max_concentration: float | None, spread: float, dtype: torch.dtype) -> float:
    """The largest estimate: by default ``2 spread / eps^2``, for a law with ``1 - A = spread / kappa``, large kappa.

    Then the root mean square distance to the mean direction is eps, about that which rounding to the dtype makes.
    """
    if max_concentration is None:
        max_concentration = 2 * spread / torch.finfo(dtype).eps ** 2
    elif isinstance(max_concentration, bool) or not isinstance(max_concentration, Real):
        kind = type(max_concentration).__name__
        raise TypeError(f"max_concentration must be a number, got {max_concentration!r} of type {kind}")
    elif not 0 < max_concentration < math.inf:
        raise ValueError(f"max_concentration must be positive and finite, got {max_concentration}")
    return min(float(max_concentration), torch.finfo(dtype).max)


def mean_direction(data: WeightedPoints) -> tuple[Tensor, Tensor, Tensor]:
    """Direction (..., m) and length R (...) of the mean, and ``1 - R``.

    The last is half the mean squared distance to the direction, which does not cancel. A mean of zero has no direction;
    the first axis stands for it.
    """
    mean = (data.shares.unsqueeze(-2) @ data.points).squeeze(-2)
    length = torch.linalg.vector_norm(mean, dim=-1, keepdim=True)
    first = torch.eye(1, mean.shape[-1], dtype=mean.dtype, device=mean.device)[0]
    loc = torch.where(length > 0, mean / torch.where(length > 0, length, 1.0), first)
    return loc, length.squeeze(-1), (data.shares * _distance2(data.points, loc)).sum(-1) / 2


def von_mises_fisher_concentration(length: Tensor, complement: Tensor, m: int, limit: float) -> Tensor:
    """``kappa <= limit`` with ``A_m(kappa) = length``, also where only ``complement = 1 - length`` can tell.

    Newton's method as in `hvae_tutorial.special.concentration_from_mean_resultant_length`.
    """
    complement = complement.clamp(min=(m - 1) / (4 * limit))

    def step(kappa: Tensor, length: Tensor, complement: Tensor) -> Tensor:
        gap = torch.where(
            length < 0.5,
            length - special.mean_resultant_length(kappa, m),
            special.mean_resultant_length_complement(kappa, m) - complement,
        )
        return kappa + gap / special.mean_resultant_length_derivative(kappa, m)

    r, c = length.detach(), complement.detach()
    kappa = torch.maximum(m * r, (m - 1) * r / (c * (1 + r)))
    for _ in range(6):
        kappa = step(kappa, r, c)
    for _ in range(STEPS_WITH_GRADIENT):
        kappa = step(kappa, length, complement)
    return kappa.clamp(min=0, max=limit)


def power_spherical_direction(data: WeightedPoints) -> Tensor:
    r"""Direction (..., m) that maximises the mean of ``log(1 + mu . x)``, which does not depend on the concentration.

    Newton's method on the sphere, with a gradient step where the Hessian is not negative definite, and halved until
    the mean rises. It starts at the mean direction or, where this is better, beside it: opposite a point of the data
    the mean is minus infinity.
    """
    detached = WeightedPoints(*(tensor.detach() for tensor in data))
    start, _, _ = mean_direction(detached)
    axes = torch.eye(start.shape[-1], dtype=start.dtype, device=start.device)[:3]
    loc, value = start, _mean_log(detached, start)
    for tilt in (*axes, *-axes):
        other = torch.nn.functional.normalize(start + tilt / 2, dim=-1)
        loc, value = _better(loc, value, other, _mean_log(detached, other))
    for _ in range(100):
        step = _direction_step(detached, loc)
        # A step of this size ends in a direction that is right to rounding, for Newton's method squares the error.
        if not bool((step.abs() > 1e-8).any()):
            break
        best, best_value = loc, value
        for halvings in range(20):
            other = torch.nn.functional.normalize(loc + step * 0.5**halvings, dim=-1)
            waiting = best_value <= value
            other_value = torch.where(waiting, _mean_log(detached, other), -torch.inf)
            best, best_value = _better(best, best_value, other, other_value)
            if bool((best_value > value).all()):
                break
        if not bool((best_value > value).any()):
            break
        loc, value = best, best_value
    for _ in range(STEPS_WITH_GRADIENT):
        loc = torch.nn.functional.normalize(loc + _direction_step(data, loc), dim=-1)
    return loc


def power_spherical_concentration(data: WeightedPoints, loc: Tensor, limit: float) -> Tensor:
    """``kappa <= limit`` with ``psi(kappa + 2h) - psi(kappa + h)`` minus the mean of ``log((1 + mu . x) / 2)``.

    Here ``h = (m-1)/2``; where there is no solution, 0. The difference is nearly ``log(1 + h / (kappa + h - 1/2))``.
    Solved for kappa, this is the identity but for a part whose slope is at most 0.27, so that its iteration converges.
    """
    half = (loc.shape[-1] - 1) / 2
    target = -_mean_log(data, loc).clamp(max=-half / (2 * limit))
    aim = half / torch.expm1(target.detach())
    kappa = torch.zeros_like(aim)
    for _ in range(40):
        kappa = (kappa + aim - half / torch.expm1(digamma_difference(kappa + half, half))).clamp(min=0)
    for _ in range(STEPS_WITH_GRADIENT):
        alpha = kappa + half
        kappa = kappa - (digamma_difference(alpha, half) - target) / trigamma_difference(alpha, half)
        kappa = kappa.clamp(min=0)
    return kappa.clamp(max=limit)


def _mean_log(data: WeightedPoints, loc: Tensor) -> Tensor:
    """Mean of ``log((1 + loc . x) / 2)``, accurate where it is near zero."""
    quarter = (_distance2(data.points, loc) / 4).clamp(max=1)
    return torch.where(data.shares > 0, data.shares * torch.log1p(-quarter), 0.0).sum(-1)


def _direction_step(data: WeightedPoints, loc: Tensor) -> Tensor:
    """Tangent vector to the maximum of the quadratic approximation, or along the gradient where it has none."""
    column = loc.unsqueeze(-1)
    plus = (data.points @ column).squeeze(-1) + 1
    share = data.shares / torch.where(data.shares > 0, plus, 1.0)
    pull = (share.unsqueeze(-2) @ data.points).squeeze(-2)
    along = (pull * loc).sum(-1, keepdim=True)
    gradient = pull - along * loc
    weight = share / torch.where(data.shares > 0, plus, 1.0)
    tangent = data.points - (plus - 1).unsqueeze(-1) * loc.unsqueeze(-2)
    eye = torch.eye(loc.shape[-1], dtype=loc.dtype, device=loc.device)
    curvature = (tangent * weight.unsqueeze(-1)).mT @ tangent + along.unsqueeze(-1) * eye
    # In the direction of loc itself nothing is asked; the curvature on the circle, a bound, stands there.
    bound = share.sum(-1, keepdim=True)
    curvature = curvature + (bound - along).unsqueeze(-1) * (column * column.mT)
    concave = torch.linalg.cholesky_ex(curvature.detach()).info.eq(0).unsqueeze(-1)
    safe = torch.where(concave.unsqueeze(-1), curvature, eye)
    newton = torch.linalg.solve(safe, gradient.unsqueeze(-1)).squeeze(-1)
    return torch.where(concave, newton, gradient / bound)


def _better(loc: Tensor, value: Tensor, other: Tensor, other_value: Tensor) -> tuple[Tensor, Tensor]:
    better = other_value > value
    return torch.where(better.unsqueeze(-1), other, loc), torch.where(better, other_value, value)


def _distance2(points: Tensor, loc: Tensor) -> Tensor:
    return (points - loc.unsqueeze(-2)).square().sum(-1)


def _check_real(value: object, name: str, expected: str, accept: Callable[[Tensor], bool]) -> None:
    if not isinstance(value, Tensor) or not accept(value):
        kind = f"a tensor of dtype {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} must be a {expected}, got {kind}")


def _broadcast(a: torch.Size, b: torch.Size) -> bool:
    try:
        torch.broadcast_shapes(a, b)
    except RuntimeError:
        return False
    return True
