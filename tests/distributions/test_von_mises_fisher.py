"""The von Mises-Fisher density integrates to one, and its entropy and moments are those of that density."""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from projection_law import von_mises_fisher
from torch import Tensor

from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.sphere import project_to_tangent

concentrations = st.floats(0, 1e6) | st.floats(-8, 8).map(lambda e: 10**e)
dimensions = st.sampled_from([2, 3, 4, 5, 10, 41, 128])


def directions(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64), dim=-1)


def at_complement(mu: Tensor, y: Tensor) -> Tensor:
    """Unit vectors with 1 - mu . z = y, in random tangent directions."""
    u = directions(len(y), len(mu))
    u = torch.nn.functional.normalize(project_to_tangent(u, mu), dim=-1)
    z = (1 - y)[:, None] * mu + torch.sqrt(y * (2 - y))[:, None] * u
    return torch.nn.functional.normalize(z, dim=-1)


# --- the density ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1e-3, 1.0, 25.0, 1e3])
@pytest.mark.parametrize("m", [2, 3, 5])
def test_density_integrates_to_one(m, kappa):
    """Over w, with the area of the sphere of dimension m - 2 that lies at each w, written out for these m."""
    area = {2: 2.0, 3: 2 * math.pi, 5: 2 * math.pi**2}[m]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    # In sqrt(theta / pi) panels are narrow about the mode, where a concentrated density lies.
    x, weight = (nodes + 1) / 2, weights / 2
    theta, jacobian = torch.from_numpy(math.pi * x**2), 2 * math.pi * x
    z = torch.zeros(400, m, dtype=torch.float64)
    z[:, 0], z[:, -1] = theta.cos(), theta.sin()
    mu = torch.eye(m, dtype=torch.float64)[0]
    density = VonMisesFisher(mu, kappa).log_prob(z).exp().numpy()
    total = (weight * jacobian * density * area * np.sin(theta.numpy()) ** (m - 2)).sum()
    assert total == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 2.0, 50.0])
def test_density_on_the_circle_and_the_ordinary_sphere(kappa):
    """The closed forms of von Mises and of Fisher."""
    angle = torch.linspace(-3, 3, 7, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    if kappa == 0:  # which torch's law does not take
        expected = torch.full_like(angle, -math.log(2 * math.pi))
    else:
        expected = torch.distributions.VonMises(torch.tensor(0.5, dtype=torch.float64), kappa).log_prob(angle)
    mu = torch.tensor([math.cos(0.5), math.sin(0.5)], dtype=torch.float64)
    # torch's von Mises law goes through a polynomial approximation of the Bessel function, of seven digits
    torch.testing.assert_close(VonMisesFisher(mu, kappa).log_prob(circle), expected, rtol=1e-6, atol=1e-6)
    z = directions(7, 3)
    mu = directions(3)
    log_normaliser = math.log(4 * math.pi) + (math.log(math.sinh(kappa) / kappa) if kappa else 0)
    torch.testing.assert_close(VonMisesFisher(mu, kappa).log_prob(z), kappa * (z @ mu) - log_normaliser)


@cache
def log_normaliser(kappa: float, m: int) -> mpmath.mpf:
    """log of the integral of exp(kappa (mu . z - 1)) over the sphere, to 25 digits."""
    with mpmath.workdps(40):
        k, order = mpmath.mpf(kappa), mpmath.mpf(m) / 2 - 1
        if kappa == 0:
            return mpmath.log(2) + mpmath.mpf(m) / 2 * mpmath.log(mpmath.pi) - mpmath.loggamma(mpmath.mpf(m) / 2)
        bessel = mpmath.besseli(order, k, maxterms=10**6)
        return mpmath.mpf(m) / 2 * mpmath.log(2 * mpmath.pi) - order * mpmath.log(k) + mpmath.log(bessel) - k


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
@pytest.mark.parametrize("kappa", [0.0, 1e-2, 1.0, 100.0, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("m", [2, 3, 5, 41, 128, 1024])
def test_log_prob_is_accurate(m, kappa, dtype, tolerance):
    loc = directions(m).to(dtype)
    law = von_mises_fisher(kappa, m)
    # where samples lie, near the mode and far from it
    quantiles = np.linspace(max(law.mean - 4 * math.sqrt(law.central_moment(2)), law.mean / 50), law.mean * 1.5, 20)
    y = torch.from_numpy(np.concatenate([quantiles.clip(1e-12, 2), [1e-12, 0.5, 1.3, 1.99]]))
    value = at_complement(loc.double(), y).to(dtype)
    found = VonMisesFisher(loc, kappa).log_prob(value)
    assert found.dtype == dtype
    # The points that the rounded vectors stand for: directions, whose squared distance has no cancellation.
    exact_loc, exact = (torch.nn.functional.normalize(v.double(), dim=-1) for v in (loc, value))
    distance2 = (exact - exact_loc).square().sum(-1)
    expected = -kappa * distance2 / 2 - float(log_normaliser(kappa, m))
    error = (found.double() - expected).abs() / expected.abs().clamp(min=1)
    assert error.max() <= tolerance


def test_normaliser_by_quadrature_agrees_with_mpmath():
    """The two references of this folder against each other."""
    for m in (2, 5, 41, 1024):
        for kappa in (1e-2, 1.0, 100.0, 1e4, 1e6):
            law, base = von_mises_fisher(kappa, m), von_mises_fisher(0.0, m)
            by_quadrature = law.log_integral - base.log_integral + float(log_normaliser(0.0, m))
            assert by_quadrature == pytest.approx(float(log_normaliser(kappa, m)), rel=1e-12, abs=1e-11)


@given(kappa=concentrations, m=dimensions, seed=st.integers(0, 2**16))
def test_density_is_equivariant_under_rotations(kappa, m, seed):
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(m, m, dtype=torch.float64, generator=generator))
    mu, z = (
        torch.nn.functional.normalize(torch.randn(m, dtype=torch.float64, generator=generator), dim=-1)
        for _ in range(2)
    )
    direct = VonMisesFisher(mu, kappa).log_prob(z)
    turned = VonMisesFisher(rotation @ mu, kappa).log_prob(rotation @ z)
    torch.testing.assert_close(turned, direct, rtol=1e-9, atol=1e-9)


@given(kappa=concentrations, m=dimensions)
def test_density_is_largest_at_the_mode(kappa, m):
    mu = torch.eye(m, dtype=torch.float64)[0]
    law = VonMisesFisher(mu, kappa)
    others = torch.cat([torch.eye(m, dtype=torch.float64)[1:], -torch.eye(m, dtype=torch.float64)])
    assert (law.log_prob(law.mode) >= law.log_prob(others)).all()
    assert torch.equal(law.mode, mu)


@pytest.mark.parametrize("m", [2, 3, 12])
def test_gradients_of_the_density_and_the_entropy(m):
    mu, z = directions(m), directions(5, m)

    def functions(x: Tensor, kappa: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        law = VonMisesFisher(x, kappa, validate_args=False)
        return law.log_prob(value), law.entropy()

    leaves = [mu, torch.tensor(3.0, dtype=torch.float64), z]
    assert torch.autograd.gradcheck(functions, [leaf.requires_grad_() for leaf in leaves])
    # the second derivatives of the closed forms exist
    assert torch.autograd.gradgradcheck(functions, leaves)


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 128])
def test_closed_forms_and_their_gradients_are_finite(m, kappa):
    concentration = torch.tensor(kappa, requires_grad=True)
    mu = torch.eye(m)[0].requires_grad_()
    law = VonMisesFisher(mu, concentration)
    values = [law.log_prob(torch.eye(m)[1]), law.log_prob(-torch.eye(m)[0]), law.entropy(), law.mean.sum()]
    values += [law.variance.sum(), law.covariance_matrix.sum(), law.stddev.sum()]
    for value in values:
        assert value.isfinite()
        gradients = torch.autograd.grad(value, (mu, concentration), retain_graph=True, allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in gradients)


# --- entropy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1e-2, 1.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("m", [2, 3, 5, 41, 1024])
def test_entropy_by_quadrature(m, kappa):
    law = von_mises_fisher(kappa, m)
    expected = kappa * law.mean + float(log_normaliser(kappa, m))  # -E[-kappa y - log of the normaliser]
    found = VonMisesFisher(torch.eye(m, dtype=torch.float64)[0], kappa).entropy().item()
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-9)
    single = VonMisesFisher(torch.eye(m)[0], kappa).entropy()
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("m", "kappa"), [(2, 3.0), (3, 0.5), (10, 20.0), (41, 1e4)])
def test_entropy_is_minus_the_mean_log_density(m, kappa):
    n = 50_000
    law = VonMisesFisher(directions(m), kappa)
    surprise = -law.log_prob(law.sample((n,)))
    # 4.5 standard errors: each of the four fails with probability 7e-6 on a new seed
    assert abs(surprise.mean() - law.entropy()) < 4.5 * surprise.std() / math.sqrt(n)


# --- moments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1e-2, 1.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("m", [2, 3, 5, 41])
def test_moments_by_quadrature(m, kappa):
    mu = directions(m)
    marginal = von_mises_fisher(kappa, m)
    law = VonMisesFisher(mu, kappa)
    torch.testing.assert_close(law.mean, (1 - marginal.mean) * mu, rtol=1e-10, atol=1e-12)
    along, across = marginal.central_moment(2), marginal.expectation(lambda y: y * (2 - y)) / (m - 1)
    outer = torch.outer(mu, mu)
    expected = along * outer + across * (torch.eye(m, dtype=torch.float64) - outer)
    torch.testing.assert_close(law.covariance_matrix, expected, rtol=1e-9, atol=1e-14 + 1e-9 * along)
    torch.testing.assert_close(law.variance, law.covariance_matrix.diagonal(dim1=-2, dim2=-1))
    torch.testing.assert_close(law.stddev, law.variance.sqrt())
    assert law.mean_resultant_length.item() == pytest.approx(1 - marginal.mean, abs=1e-12)
    assert law.mean_resultant_length_complement.item() == pytest.approx(marginal.mean, rel=1e-10, abs=0)
    assert law.projection_variance.item() == pytest.approx(along, rel=1e-10, abs=0)


@pytest.mark.parametrize("kappa", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("m", [2, 3, 41])
def test_moments_in_single_precision(m, kappa):
    mu = directions(m).float()
    narrow, wide = VonMisesFisher(mu, kappa), VonMisesFisher(mu.double(), torch.tensor(kappa).double())
    torch.testing.assert_close(narrow.mean.double(), wide.mean, rtol=1e-6, atol=1e-7)
    across = (wide.covariance_matrix.diagonal().sum() / m).item()
    torch.testing.assert_close(narrow.covariance_matrix.double(), wide.covariance_matrix, rtol=1e-5, atol=2e-6 * across)
    torch.testing.assert_close(narrow.variance.double(), wide.variance, rtol=1e-5, atol=2e-6 * across)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("m", [2, 3, 41])
def test_variance_along_the_mean_direction_keeps_its_digits(m, dtype):
    """It falls like kappa^-2, the variance across like kappa^-1: one must not be taken from the other."""
    law = VonMisesFisher(torch.eye(m, dtype=dtype)[0], 1e8)
    torch.testing.assert_close(law.variance[0], law.projection_variance, rtol=1e-6, atol=0)
    torch.testing.assert_close(law.covariance_matrix[0, 0], law.projection_variance, rtol=1e-6, atol=0)


@given(kappa=concentrations, m=dimensions)
def test_moments_obey_their_laws(kappa, m):
    mu = torch.eye(m, dtype=torch.float64)[-1]
    law = VonMisesFisher(mu, kappa)
    assert 0 <= law.mean_resultant_length <= 1
    # E |z|^2 = 1
    torch.testing.assert_close(law.variance.sum() + law.mean.square().sum(), torch.ones((), dtype=torch.float64))
    eigenvalues = torch.linalg.eigvalsh(law.covariance_matrix)
    assert (eigenvalues > -1e-15).all()
    assert (eigenvalues <= 1 / m + 1e-9).all()


# --- half precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kappa", [0.0, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("m", [2, 5, 64])
def test_half_precision_is_computed_wide_and_rounded(m, kappa, dtype):
    eps = torch.finfo(dtype).eps
    loc, value = directions(m).to(dtype), directions(10, m).to(dtype)
    narrow = VonMisesFisher(loc, torch.tensor(kappa, dtype=dtype))
    wide = VonMisesFisher(loc.double(), narrow.concentration.double(), validate_args=False)
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


# --- on the device ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu():
    loc, kappa = directions(6, 5).float(), torch.logspace(-2, 5, 6)
    cpu = VonMisesFisher(loc, kappa)
    gpu = VonMisesFisher(loc.cuda(), kappa.cuda().requires_grad_())
    z = gpu.rsample((1000,))
    assert z.is_cuda
    assert (z.norm(dim=-1) - 1).abs().max() <= 1e-6
    torch.testing.assert_close(gpu.log_prob(z).detach().cpu(), cpu.log_prob(z.detach().cpu()), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gpu.entropy().detach().cpu(), cpu.entropy())
    z.sum().backward()
    assert gpu.concentration.isfinite().all()
    # 1000 samples a law; 5 standard errors for each of 6 means
    w = (z.detach().cpu() * loc).sum(-1)
    gap = (w.mean(0) - cpu.mean_resultant_length).abs()
    assert (gap <= 5 * cpu.projection_variance.sqrt() / math.sqrt(1000) + 1e-6).all()
