r"""Maximum likelihood of the spherical Cauchy law: the point of hyperbolic space that centres the data.

A Moebius map takes the law to the uniform law, and the data to points ``xi`` of the sphere. At the maximum their mean
is zero (Kato and McCullagh 2020, section 4). In coordinates at the present estimate the log likelihood of a move by t
is, up to a factor and to third order, ``t . E xi - t^T (I - E xi xi^T) t / 2``: it is concave along the geodesics of
hyperbolic space, so that there is one maximum, unless half of the weight or more lies at one point.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hvae_tutorial.distributions._maximum_likelihood import STEPS_WITH_GRADIENT, WeightedPoints, mean_direction


class _Centre(NamedTuple):
    """A point of hyperbolic space: direction (..., m), and distance (...) from the centre, the rapidity."""

    loc: Tensor
    zeta: Tensor


def spherical_cauchy_estimate(data: WeightedPoints, limit: float) -> tuple[Tensor, Tensor]:
    """Direction (..., m) and rapidity (...), at most `limit`.

    Newton's method, or a step along the gradient where this raises the likelihood more: the curvature is at most one,
    so that such a step always raises it.
    """
    detached = WeightedPoints(*(tensor.detach() for tensor in data))
    loc, _, complement = mean_direction(detached)
    # Where 1 - w has the mean of a concentrated law in many dimensions; for others it is a start.
    centre = _Centre(loc, torch.log((2 - complement) / complement.clamp(min=1e-300)).clamp(0, 2 * limit) / 2)
    value = _log_likelihood(detached, centre)
    for _ in range(200):
        mean, newton = _steps(detached, centre)
        best, best_value = centre, value
        for step in (newton, mean):
            best, best_value = _better(detached, best, best_value, _moved(centre, step, limit))
        if not bool((best_value > value).any()):
            break
        centre, value = best, best_value
    # Half of the weight at one point: the likelihood rises as far as it is followed towards that point.
    heaviest = detached.shares.argmax(-1)[..., None, None].expand(*loc.shape[:-1], 1, loc.shape[-1])
    point = detached.points.expand(*loc.shape[:-1], *data.points.shape[-2:]).gather(-2, heaviest).squeeze(-2)
    centre, _ = _better(detached, centre, value, _Centre(point, torch.full_like(centre.zeta, limit)))
    inside = centre.zeta < limit
    for _ in range(STEPS_WITH_GRADIENT):
        _, newton = _steps(data, centre)
        # At the limit the estimate stays where it is: the data are closer together than can be resolved.
        centre = _moved(centre, torch.where(inside.unsqueeze(-1), newton, 0.0), limit)
    return centre


def _better(data: WeightedPoints, centre: _Centre, value: Tensor, other: _Centre) -> tuple[_Centre, Tensor]:
    """Of each law of the batch the likelier of two points, and its likelihood."""
    other_value = _log_likelihood(data, other)
    better = other_value > value
    loc = torch.where(better.unsqueeze(-1), other.loc, centre.loc)
    return _Centre(loc, torch.where(better, other.zeta, centre.zeta)), torch.where(better, other_value, value)


def _steps(data: WeightedPoints, centre: _Centre) -> tuple[Tensor, Tensor]:
    """The mean of the centred points, which is the gradient, and Newton's step, no longer than one; (..., m) each."""
    xi = _centred(data.points, centre)
    weighted = data.shares.unsqueeze(-1) * xi
    mean = weighted.sum(-2)
    eye = torch.eye(xi.shape[-1], dtype=xi.dtype, device=xi.device)
    curvature = eye - weighted.mT @ xi
    # Points on one line through the centre leave no curvature along it; the limit of the length then decides.
    newton = torch.linalg.solve(curvature + 1e-15 * eye, mean.unsqueeze(-1)).squeeze(-1)
    return mean, newton / torch.linalg.vector_norm(newton, dim=-1, keepdim=True).clamp(min=1)


def _centred(points: Tensor, centre: _Centre) -> Tensor:
    """The points seen from the centre: the Moebius map that takes it to the origin, along its direction."""
    loc, zeta = centre.loc.unsqueeze(-2), centre.zeta.unsqueeze(-1)
    y = (points - loc).square().sum(-1) / 2
    tangent = points - (1 - y).unsqueeze(-1) * loc
    doppler = torch.exp(-zeta) + torch.sinh(zeta) * y  # cosh(zeta) (1 - x0 w)
    return tangent / doppler.unsqueeze(-1) + (1 - y * torch.exp(zeta) / doppler).unsqueeze(-1) * loc


def _moved(centre: _Centre, step: Tensor, limit: float) -> _Centre:
    """The point reached from the centre along a geodesic: the step (..., m) is its velocity at time zero."""
    loc, zeta = centre.loc, centre.zeta.unsqueeze(-1)
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    tiny = length < 1e-8
    safe = torch.where(tiny, 1.0, length)
    stretched = torch.where(tiny, step, step / safe * torch.sinh(safe))
    cosh = torch.where(tiny, 1.0, torch.cosh(safe))
    along = (stretched * loc).sum(-1, keepdim=True)
    across = stretched - along * loc
    place = across + loc * (torch.cosh(zeta) * along + torch.sinh(zeta) * cosh)
    radius = torch.linalg.vector_norm(place, dim=-1, keepdim=True)
    moved = torch.where(radius > 0, place / torch.where(radius > 0, radius, 1.0), loc)
    return _Centre(moved, torch.asinh(radius).squeeze(-1).clamp(max=limit))


def _log_likelihood(data: WeightedPoints, centre: _Centre) -> Tensor:
    """Mean of ``zeta - log(1 + (e^(2 zeta) - 1) y / 2)``, the log density divided by m - 1."""
    y = (data.points - centre.loc.unsqueeze(-2)).square().sum(-1) / 2
    factor = torch.expm1(2 * centre.zeta).unsqueeze(-1) / 2
    return centre.zeta - (data.shares * torch.log1p(factor * y)).sum(-1)
