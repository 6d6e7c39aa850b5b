"""The Power Spherical density, entropy and moments are those of its Beta variable, by quadrature and in 30 digits."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from projection_law import power_spherical, von_mises_fisher
from torch import Tensor

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical
from hvae_tutorial.distributions._gamma import digamma_difference, log_gamma_difference, trigamma_difference
from hvae_tutorial.sphere import log_surface_area, project_to_tangent

DIFFERENCES = (log_gamma_difference, digamma_difference, trigamma_difference)
CONCENTRATIONS = [0.0, 0.1, 1.0, 30.0, 1e3, 1e6]


def directions(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64), dim=-1)


def at_complement(mu: Tensor, y: Tensor) -> Tensor:
    """Unit vectors with 1 - mu . z = y, in random tangent directions."""
    u = directions(len(y), len(mu))
    u = torch.nn.functional.normalize(project_to_tangent(u, mu), dim=-1)
    z = (1 - y)[:, None] * mu + torch.sqrt(y * (2 - y))[:, None] * u
    return torch.nn.functional.normalize(z, dim=-1)


def log_normaliser(kappa: float, m: int) -> mpmath.mpf:
    """log of the integral of ((1 + mu . z) / 2)^kappa over the sphere: a Beta function, to 25 digits."""
    with mpmath.workdps(40):
        half, k = mpmath.mpf(m - 1) / 2, mpmath.mpf(kappa)
        # equation 7 of De Cao and Aziz (2020), less kappa log 2
        return (
            2 * half * mpmath.log(2)
            + half * mpmath.log(mpmath.pi)
            + mpmath.loggamma(half + k)
            - mpmath.loggamma(2 * half + k)
        )


@pytest.mark.parametrize("kappa", CONCENTRATIONS)
@pytest.mark.parametrize("m", [2, 3, 5, 41])
def test_density_by_quadrature(m, kappa):
    """The density integrates to one: its normaliser is that found by integrating over the angle."""
    law, base = power_spherical(kappa, m), von_mises_fisher(0.0, m)
    expected = -(law.log_integral - base.log_integral + log_surface_area(m))
    mu = directions(m)
    found = PowerSpherical(mu, kappa).log_prob(mu).item()
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert found == pytest.approx(-float(log_normaliser(kappa, m)), rel=1e-10, abs=1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9)], ids=str)
@pytest.mark.parametrize("kappa", CONCENTRATIONS)
@pytest.mark.parametrize("m", [2, 3, 5, 41, 128])
def test_log_prob_is_accurate(m, kappa, dtype, tolerance):
    loc = directions(m).to(dtype)
    y = torch.linspace(0.02, 2, 10, dtype=torch.float64) * min((m - 1) / (kappa + m - 1), 0.9)
    y = torch.cat([y, torch.tensor([1e-12, 0.4, 0.6, 1.3, 1.9], dtype=torch.float64)])
    value = at_complement(loc.double(), y).to(dtype)
    found = PowerSpherical(loc, kappa).log_prob(value)
    assert found.dtype == dtype
    exact_loc, exact = (torch.nn.functional.normalize(v.double(), dim=-1) for v in (loc, value))
    distance2 = (exact - exact_loc).square().sum(-1)
    expected = kappa * torch.log1p(-distance2 / 4) - float(log_normaliser(kappa, m))
    error = (found.double() - expected).abs() / expected.abs().clamp(min=1)
    # Near the antipode the logarithm magnifies the rounding of z itself: y = 1.9 leaves 1 - |z - mu|^2 / 4 = 0.05.
    assert error.max() <= tolerance


def test_density_at_the_antipode():
    mu = torch.eye(4)[0]
    assert PowerSpherical(mu, 2.0).log_prob(-mu) == -math.inf
    torch.testing.assert_close(PowerSpherical(mu, 0.0).log_prob(-mu), HypersphericalUniform(4).log_prob(-mu))


@given(
    kappa=st.floats(0, 1e6) | st.floats(-8, 8).map(lambda e: 10**e),
    m=st.sampled_from([2, 3, 5, 41, 128]),
    seed=st.integers(0, 2**16),
)
def test_density_is_equivariant_under_rotations(kappa, m, seed):
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(m, m, dtype=torch.float64, generator=generator))
    mu, z = torch.nn.functional.normalize(torch.randn(2, m, dtype=torch.float64, generator=generator), dim=-1)
    direct = PowerSpherical(mu, kappa).log_prob(z)
    # relative: at m = 2 a point may lie next to the antipode, where the logarithm magnifies rounding
    turned = PowerSpherical(rotation @ mu, kappa).log_prob(rotation @ z)
    torch.testing.assert_close(turned, direct, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("a", [0.5, 3.0, 100.0, 999.0, 1001.0, 1e4, 1e8, 1e20])
@pytest.mark.parametrize("h", [0.5, 1.0, 2.5, 63.5, 511.5])
def test_differences_of_log_gamma_and_its_derivatives(a, h):
    with mpmath.workdps(60):
        x, y = mpmath.mpf(a), mpmath.mpf(a) + mpmath.mpf(h)
        expected = [
            float(mpmath.loggamma(y) - mpmath.loggamma(x)),
            *(float(mpmath.psi(i, y) - mpmath.psi(i, x)) for i in (0, 1)),
        ]
    found = [f(torch.tensor(a, dtype=torch.float64), h).item() for f in DIFFERENCES]
    if a > 1000:
        assert found == pytest.approx(expected, rel=1e-14, abs=0)
    else:
        assert found[0] == pytest.approx(expected[0], rel=1e-12, abs=1e-12)
        assert found[1] == pytest.approx(expected[1], rel=1e-11, abs=0)
        assert found[2] == pytest.approx(expected[2], rel=1e-12, abs=0)


def test_derivatives_of_the_differences():
    a = torch.tensor([0.7, 5.0, 999.999, 1000.001, 3e3, 1e6], dtype=torch.float64, requires_grad=True)
    for difference, derivative in itertools.pairwise(DIFFERENCES):
        (slope,) = torch.autograd.grad(difference(a, 1.5).sum(), a)
        torch.testing.assert_close(slope, derivative(a, 1.5), rtol=1e-8, atol=0)


@pytest.mark.parametrize("kappa", CONCENTRATIONS)
@pytest.mark.parametrize("m", [2, 3, 5, 41])
def test_entropy_by_quadrature(m, kappa):
    law = power_spherical(kappa, m)
    mean_log = law.expectation(lambda y: np.log1p(-np.minimum(y, np.nextafter(2, 0)) / 2))
    expected = -kappa * mean_log + float(log_normaliser(kappa, m))
    found = PowerSpherical(torch.eye(m, dtype=torch.float64)[0], kappa).entropy().item()
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(("m", "kappa"), [(2, 3.0), (3, 0.5), (10, 20.0), (41, 1e4)])
def test_entropy_is_minus_the_mean_log_density(m, kappa):
    n = 50_000
    law = PowerSpherical(directions(m), kappa)
    surprise = -law.log_prob(law.sample((n,)))
    # 4.5 standard errors: each of the four fails with probability 7e-6 on a new seed
    assert abs(surprise.mean() - law.entropy()) < 4.5 * surprise.std() / math.sqrt(n)


@pytest.mark.parametrize("kappa", CONCENTRATIONS)
@pytest.mark.parametrize("m", [2, 3, 5, 41])
def test_moments_by_quadrature(m, kappa):
    mu = directions(m)
    marginal = power_spherical(kappa, m)
    law = PowerSpherical(mu, kappa)
    torch.testing.assert_close(law.mean, (1 - marginal.mean) * mu, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(law.mode, mu)
    along, across = marginal.central_moment(2), marginal.expectation(lambda y: y * (2 - y)) / (m - 1)
    outer = torch.outer(mu, mu)
    expected = along * outer + across * (torch.eye(m, dtype=torch.float64) - outer)
    torch.testing.assert_close(law.covariance_matrix, expected, rtol=1e-7, atol=1e-7 * across)
    torch.testing.assert_close(law.variance, law.covariance_matrix.diagonal(dim1=-2, dim2=-1))
    assert law.mean_resultant_length_complement.item() == pytest.approx(marginal.mean, rel=1e-7, abs=0)
    assert law.projection_variance.item() == pytest.approx(along, rel=1e-7, abs=0)


@pytest.mark.parametrize("m", [2, 3, 12])
def test_gradients_of_the_density_and_the_entropy(m):
    mu, z = directions(m), directions(5, m)

    def functions(x: Tensor, kappa: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        law = PowerSpherical(x, kappa, validate_args=False)
        return law.log_prob(value), law.entropy()

    leaves = [mu, torch.tensor(3.0, dtype=torch.float64), z]
    assert torch.autograd.gradcheck(functions, [leaf.requires_grad_() for leaf in leaves])


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 128])
def test_closed_forms_and_their_gradients_are_finite(m, kappa):
    concentration = torch.tensor(kappa, requires_grad=True)
    mu = torch.eye(m)[0].requires_grad_()
    law = PowerSpherical(mu, concentration)
    values = [law.log_prob(torch.eye(m)[1]), law.log_prob(torch.eye(m)[0]), law.entropy(), law.mean.sum()]
    values += [law.variance.sum(), law.covariance_matrix.sum()]
    for value in values:
        assert value.isfinite()
        gradients = torch.autograd.grad(value, (mu, concentration), retain_graph=True, allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kappa", [0.0, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("m", [2, 5, 64])
def test_half_precision_is_computed_wide_and_rounded(m, kappa, dtype):
    eps = torch.finfo(dtype).eps
    loc, value = directions(m).to(dtype), directions(10, m).to(dtype)
    narrow = PowerSpherical(loc, torch.tensor(kappa, dtype=dtype))
    wide = PowerSpherical(loc.double(), narrow.concentration.double(), validate_args=False)
    for name in ("mean", "mean_resultant_length", "projection_variance", "variance", "covariance_matrix"):
        found = getattr(narrow, name)
        assert found.dtype == dtype, name
        atol = 4 * eps * (1 / m if "ariance" in name else 1)
        torch.testing.assert_close(found.double(), getattr(wide, name), rtol=4 * eps, atol=atol)
    assert narrow.entropy().dtype == dtype
    torch.testing.assert_close(narrow.entropy().double(), wide.entropy(), rtol=2 * eps, atol=eps)
    value = torch.cat([value, narrow.sample((10,))])
    found = narrow.log_prob(value)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wide.log_prob(value.double()), rtol=2 * eps, atol=2 * eps)


@pytest.mark.parametrize("kappa", [1e3, 1e8, 1e12, 1e15])
def test_gradients_of_samples_at_large_concentrations(kappa):
    """There the tangent part of a sample shrinks like kappa^(-1/2); a difference of digammas had no digit left."""
    torch.manual_seed(0)
    concentration = torch.full((2000,), kappa, dtype=torch.float64, requires_grad=True)
    tangent = PowerSpherical(torch.eye(3, dtype=torch.float64)[0], concentration).rsample()[:, 1]
    (gradient,) = torch.autograd.grad(tangent.sum(), concentration)
    error = (gradient / (-tangent.detach() / (2 * kappa)) - 1).abs().median()
    assert error < 3 / kappa + 1e-10
