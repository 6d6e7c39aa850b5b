"""Geometry of the unit sphere: area, tangent vectors, geodesics and a map projection."""

import math

import torch
from torch import Tensor

from hvae_tutorial.special import check_ambient_dimension

__all__ = ["geodesic_distance", "hammer_projection", "log_surface_area", "project_to_tangent"]


def log_surface_area(m: int) -> float:
    r"""Log of the surface area of the unit sphere in R^m.

    $$\log S_m = \log 2 + \tfrac m2 \log \pi - \log\Gamma(m/2)$$

    (DLMF 5.19.4 gives ``S_m`` as the derivative of the ball's volume.)

    Args:
        m: Dimension of the ambient space, an integer of at least 2; the sphere has dimension ``m - 1``.

    Raises:
        TypeError: ``m`` is not an integer.
        ValueError: ``m < 2``.

    Examples:
        >>> import math
        >>> from hvae_tutorial.sphere import log_surface_area
        >>> round(math.exp(log_surface_area(3)) / math.pi, 6)
        4.0
    """
    m = check_ambient_dimension(m)
    return math.log(2) + m / 2 * math.log(math.pi) - math.lgamma(m / 2)


def project_to_tangent(x: Tensor, mu: Tensor) -> Tensor:
    r"""Part of ``x`` that is orthogonal to the unit vector ``mu``.

    $$(I - \mu\mu^\top)\, x$$

    Args:
        x: Vectors, shape (..., m).
        mu: Unit vectors, shape (..., m), broadcast against ``x``.

    Returns:
        Tangent vectors at ``mu``, of the broadcast shape.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.sphere import project_to_tangent
        >>> project_to_tangent(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, 1.0]))
        tensor([1., 2., 0.])
    """
    return x - (x * mu).sum(-1, keepdim=True) * mu


def geodesic_distance(a: Tensor, b: Tensor) -> Tensor:
    r"""Angle between unit vectors, the length of the great-circle arc that joins them.

    $$2 \arctan\frac{\lVert a - b\rVert}{\lVert a + b\rVert}$$

    which, unlike ``arccos(a . b)``, is accurate for nearly equal and nearly opposite points (Kahan 2006).

    Args:
        a: Unit vectors, shape (..., m).
        b: Unit vectors, shape (..., m), broadcast against ``a``.

    Returns:
        Angles in [0, pi], of the broadcast batch shape (...).

    Examples:
        >>> import torch
        >>> from hvae_tutorial.sphere import geodesic_distance
        >>> geodesic_distance(torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        tensor([0.0000, 1.5708, 3.1416])
    """
    difference = torch.linalg.vector_norm(a - b, dim=-1)
    return 2 * torch.atan2(difference, torch.linalg.vector_norm(a + b, dim=-1))


def hammer_projection(z: Tensor) -> Tensor:
    r"""Hammer's equal-area map of the sphere S^2 onto an ellipse with half-axes ``2 sqrt(2)`` and ``sqrt(2)``.

    With longitude ``lambda = atan2(z_2, z_1)`` and latitude ``beta = arcsin z_3``,

    $$x = \frac{2\sqrt 2 \cos\beta \sin(\lambda/2)}{\sqrt{1 + \cos\beta\cos(\lambda/2)}},\qquad
      y = \frac{\sqrt 2 \sin\beta}{\sqrt{1 + \cos\beta\cos(\lambda/2)}}$$

    (Snyder 1987, equations 24-1 and 24-2).

    Args:
        z: Unit vectors, shape (..., 3).

    Returns:
        Points of the plane, shape (..., 2).

    Raises:
        ValueError: the last dimension of ``z`` is not 3.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.sphere import hammer_projection
        >>> hammer_projection(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
        tensor([[0.0000, 0.0000],
                [1.5307, 0.0000],
                [0.0000, 1.4142]])
    """
    if z.ndim == 0 or z.shape[-1] != 3:
        raise ValueError(f"z must have shape (..., 3), unit vectors of S^2, got {tuple(z.shape)}")
    half_longitude = torch.atan2(z[..., 1], z[..., 0]) / 2
    cos_latitude = torch.linalg.vector_norm(z[..., :2], dim=-1)
    scale = math.sqrt(2) / torch.sqrt(1 + cos_latitude * torch.cos(half_longitude))
    return torch.stack([2 * scale * cos_latitude * torch.sin(half_longitude), scale * z[..., 2]], dim=-1)
