"""Geometry of the sphere: the projection is orthogonal, the distance an angle, the map equal in area.

(The surface area is tested with the special functions.)
"""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hvae_tutorial.sphere import geodesic_distance, hammer_projection, project_to_tangent

seeds = st.integers(0, 2**16)
dimensions = st.sampled_from([2, 3, 5, 40])


def directions(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64, generator=generator), dim=-1)


# --- tangent vectors --------------------------------------------------------------------------------------------------


@given(seed=seeds, m=dimensions)
def test_projection_is_orthogonal_idempotent_and_shortens(seed, m):
    mu, x = directions((m,), seed), 3 * directions((6, m), seed + 1)
    tangent = project_to_tangent(x, mu)
    assert tangent.shape == (6, m)
    torch.testing.assert_close(tangent @ mu, torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(project_to_tangent(tangent, mu), tangent)
    torch.testing.assert_close(tangent + (x @ mu)[:, None] * mu, x)
    assert (tangent.norm(dim=-1) <= x.norm(dim=-1) + 1e-12).all()


def test_projection_broadcasts():
    assert project_to_tangent(directions((5, 1, 3)), directions((2, 3))).shape == (5, 2, 3)
    torch.testing.assert_close(project_to_tangent(directions((3,)), directions((3,))), torch.zeros(3).double())


# --- distance ---------------------------------------------------------------------------------------------------------


@given(seed=seeds, m=dimensions)
def test_distance_is_the_angle(seed, m):
    a, b = directions((2, m), seed)
    distance = geodesic_distance(a, b)
    torch.testing.assert_close(distance.cos(), a @ b)
    assert 0 <= distance <= math.pi
    torch.testing.assert_close(geodesic_distance(b, a), distance)
    torch.testing.assert_close(geodesic_distance(a, -b), math.pi - distance)
    rotation, _ = torch.linalg.qr(torch.randn(m, m, dtype=torch.float64))
    torch.testing.assert_close(geodesic_distance(rotation @ a, rotation @ b), distance)


@given(seed=seeds, m=dimensions)
def test_triangle_inequality(seed, m):
    a, b, c = directions((3, m), seed)
    assert geodesic_distance(a, c) <= geodesic_distance(a, b) + geodesic_distance(b, c) + 1e-12


@pytest.mark.parametrize("angle", [1e-8, 1e-5, 0.1, 1.5, math.pi - 1e-5, math.pi - 1e-8])
def test_distance_is_accurate_next_to_both_poles(angle):
    """Where arccos(a . b) has lost all digits."""
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    with mpmath.workdps(40):
        exact = mpmath.atan2(mpmath.mpf(b[1].item()), mpmath.mpf(b[0].item()))
    assert geodesic_distance(a, b).item() == pytest.approx(float(exact), rel=1e-14, abs=0)
    assert math.pi - geodesic_distance(a, b).item() == pytest.approx(float(mpmath.pi - exact), rel=1e-7, abs=0)
    if angle == 1e-8:
        assert torch.arccos(a @ b) == 0  # the formula it replaces


def test_distance_of_equal_and_opposite_points_is_exact():
    a = directions((10, 4))
    assert (geodesic_distance(a, a) == 0).all()
    torch.testing.assert_close(geodesic_distance(a, -a), torch.full((10,), math.pi, dtype=torch.float64))


def test_distances_of_all_pairs():
    a, b = directions((5, 3)), directions((7, 3), 1)
    table = geodesic_distance(a[:, None], b)
    assert table.shape == (5, 7)
    torch.testing.assert_close(table[2, 4], geodesic_distance(a[2], b[4]))


# --- Hammer's projection ----------------------------------------------------------------------------------------------


def sphere_point(longitude: float, latitude: float) -> Tensor:
    return torch.tensor(
        [
            math.cos(latitude) * math.cos(longitude),
            math.cos(latitude) * math.sin(longitude),
            math.sin(latitude),
        ],
        dtype=torch.float64,
    )


def test_hammer_projection_of_known_points():
    points = {
        (0.0, 0.0): (0.0, 0.0),
        (0.0, math.pi / 2): (0.0, math.sqrt(2)),
        (0.0, -math.pi / 2): (0.0, -math.sqrt(2)),
        (math.pi, 0.0): (2 * math.sqrt(2), 0.0),
        # at the meridian of 90 degrees the half longitude is 45 degrees
        (math.pi / 2, 0.0): (2 * math.sin(math.pi / 4) / math.sqrt((1 + math.cos(math.pi / 4)) / 2), 0.0),
    }
    for (longitude, latitude), expected in points.items():
        found = hammer_projection(sphere_point(longitude, latitude))
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_hammer_projection_stays_in_its_ellipse():
    plane = hammer_projection(directions((1000, 3)))
    assert plane.shape == (1000, 2)
    assert ((plane / torch.tensor([2 * math.sqrt(2), math.sqrt(2)])).norm(dim=-1) <= 1 + 1e-12).all()


@pytest.mark.parametrize(("longitude", "latitude"), [(0.0, 0.0), (1.0, 0.5), (-2.5, 1.2), (3.0, -0.9)])
def test_hammer_projection_keeps_areas(longitude, latitude):
    """The area of the map's image of d longitude d latitude is cos(latitude), by the Jacobian's determinant."""

    def project(coordinates: Tensor) -> Tensor:
        u, v = coordinates
        return hammer_projection(torch.stack([v.cos() * u.cos(), v.cos() * u.sin(), v.sin()]))

    jacobian = torch.func.jacrev(project)(torch.tensor([longitude, latitude], dtype=torch.float64))
    assert torch.linalg.det(jacobian).item() == pytest.approx(math.cos(latitude), rel=1e-10)


def test_hammer_projection_is_symmetric_and_one_to_one():
    z = directions((200, 3))
    plane = hammer_projection(z)
    mirrored = hammer_projection(z * torch.tensor([1.0, -1.0, 1.0]))
    torch.testing.assert_close(mirrored, plane * torch.tensor([-1.0, 1.0]))
    # Snyder 1987, equations 24-3 and 24-4 invert it.
    x, y = plane.numpy().T
    root = np.sqrt(1 - (x / 4) ** 2 - (y / 2) ** 2)
    longitude = 2 * np.arctan2(root * x, 2 * (2 * root**2 - 1))
    latitude = np.arcsin(root * y)
    back = torch.stack([sphere_point(a, b) for a, b in zip(longitude, latitude, strict=True)])
    torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(2,), (4, 4), ()])
def test_hammer_projection_of_another_sphere(shape):
    with pytest.raises(ValueError, match=r"z must have shape \(\.\.\., 3\), unit vectors of S\^2, got \("):
        hammer_projection(torch.ones(shape))
