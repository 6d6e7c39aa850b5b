"""Kullback-Leibler divergences against numerical integration, their laws, their shapes and their precision."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from projection_law import power_spherical, von_mises_fisher
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, Product, SphericalCauchy, VonMisesFisher
from hvae_tutorial.sphere import log_surface_area

concentrations = st.floats(0, 1e6) | st.floats(-8, 8).map(lambda e: 10**e)
dimensions = st.sampled_from([2, 3, 4, 5, 10, 41, 128, 1024])


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def axis(m: int, i: int = 0) -> Tensor:
    return torch.eye(m, dtype=torch.float64)[i]


def direction(m: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(m, dtype=torch.float64), dim=-1)


def turned(mu: Tensor, angle: float) -> Tensor:
    """A unit vector at the given angle to mu."""
    u = torch.randn_like(mu)
    u = torch.nn.functional.normalize(u - (u @ mu) * mu, dim=0)
    return math.cos(angle) * mu + math.sin(angle) * u


def divergence_by_quadrature(p: Distribution, q: Distribution, m: int) -> float:
    """E_p[log p - log q] with both log densities evaluated on a grid of the sphere, in two or three dimensions."""
    if m == 2:
        angle = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)[:-1]
        z = torch.stack([angle.cos(), angle.sin()], dim=-1)
        weight = torch.full_like(angle, 2 * math.pi / len(angle))
    else:
        nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(400))
        longitude = torch.linspace(-math.pi, math.pi, 401, dtype=torch.float64)[:-1]
        radius = torch.sqrt(1 - nodes**2)[:, None]
        z = torch.stack(
            [radius * longitude.cos(), radius * longitude.sin(), nodes[:, None].expand(400, 400)], dim=-1
        ).reshape(-1, 3)
        weight = (weights[:, None] * 2 * math.pi / 400).expand(400, 400).reshape(-1)
    log_p, log_q = p.log_prob(z), q.log_prob(z)
    mass = weight * log_p.exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-10)
    return torch.where(mass > 0, mass * (log_p - log_q), 0.0).sum().item()


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", [0.0, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("m", [2, 3])
def test_all_pairs_against_integration_over_the_sphere(m, kappa):
    mu = direction(m)
    vmf, power = VonMisesFisher(mu, kappa), PowerSpherical(mu, kappa)
    uniform = HypersphericalUniform(m, dtype=torch.float64)
    others = [VonMisesFisher(turned(mu, 0.7), k) for k in (0.0, 0.5, 20.0)]
    pairs = [(vmf, uniform), (power, uniform), (uniform, uniform), (uniform, vmf)]
    pairs += [(law, other) for law in (vmf, power) for other in others]
    for p, q in pairs:
        assert kl_divergence(p, q).item() == pytest.approx(divergence_by_quadrature(p, q, m), abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("kappa", [1e-2, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("m", [2, 3, 5, 20, 128, 1024])
def test_divergences_to_and_from_uniform_against_integration_of_the_projection(m, kappa):
    uniform = HypersphericalUniform(m, dtype=torch.float64)
    base = von_mises_fisher(0.0, m)
    law = von_mises_fisher(kappa, m)
    # E log(p / q) = -kappa E y - (log of the normaliser of exp(-kappa y) relative to uniform)
    expected = -kappa * law.mean - (law.log_integral - base.log_integral)
    vmf = VonMisesFisher(axis(m), kappa)
    assert kl_divergence(vmf, uniform).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert kl_divergence(uniform, vmf).item() == pytest.approx(
        kappa + (law.log_integral - base.log_integral), rel=1e-9, abs=1e-12
    )
    law = power_spherical(kappa, m)
    mean_log = law.expectation(lambda y: np.log1p(-np.minimum(y, np.nextafter(2, 0)) / 2))
    expected = kappa * mean_log - (law.log_integral - base.log_integral)
    assert kl_divergence(PowerSpherical(axis(m), kappa), uniform).item() == pytest.approx(expected, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize(("k1", "k2"), [(0.0, 3.0), (3.0, 0.0), (1.0, 50.0), (50.0, 1.0), (1e4, 1.01e4), (1e6, 1e3)])
@pytest.mark.parametrize("m", [2, 3, 10, 128])
def test_two_von_mises_fisher_laws_against_integration_of_the_projection(m, k1, k2):
    cosine = 0.95
    mu2 = cosine * axis(m) + math.sqrt(1 - cosine**2) * axis(m, 1)
    p, q = von_mises_fisher(k1, m), von_mises_fisher(k2, m)
    # E_p [k1 (w - 1) - k2 (mu2.z - 1)] less the difference of the log normalisers; E_p mu2.z = cosine E_p w
    expected = -k1 * p.mean + k2 * (1 - cosine * (1 - p.mean)) - (p.log_integral - q.log_integral)
    found = kl_divergence(VonMisesFisher(axis(m), k1), VonMisesFisher(mu2, k2)).item()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_kl_to_uniform_is_log_area_less_entropy(family):
    law = family(direction(7), torch.logspace(-3, 6, 10, dtype=torch.float64))
    expected = log_surface_area(7) - law.entropy()
    torch.testing.assert_close(kl_divergence(law, HypersphericalUniform(7)), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(law.kl_to_uniform(), expected, rtol=1e-9, atol=1e-9)


# --- cancellation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1.0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 10, 41, 1024])
def test_equal_laws_have_divergence_zero(m, kappa, dtype):
    mu = direction(m).to(dtype)
    p, q = VonMisesFisher(mu, kappa), VonMisesFisher(mu.clone(), kappa)
    assert kl_divergence(p, q).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("m", [2, 3, 10, 128])
def test_nearly_equal_directions_at_large_concentration(m, dtype):
    """A(k) k |mu1 - mu2|^2 / 2 at kappa = 1e8 and an angle of 1e-4: 0.5, not the difference of numbers near 1e8."""
    kappa, angle = 1e8, 1e-4
    mu2 = (math.cos(angle) * axis(m) + math.sin(angle) * axis(m, 1)).to(dtype)
    found = kl_divergence(VonMisesFisher(axis(m).to(dtype), kappa), VonMisesFisher(mu2, kappa)).item()
    sine = mu2[1].double().item()
    assert found == pytest.approx(kappa * (1 - math.sqrt(1 - sine**2)), rel=2e-6 if dtype == torch.float32 else 1e-6)


@pytest.mark.parametrize("m", [3, 20, 128])
def test_nearly_equal_large_concentrations(m):
    """(m-1)/2 (log(k1/k2) + k2/k1 - 1) for large concentrations, against 30 digits; m = 3 exactly."""
    k1, k2 = 1e6, 1.001e6
    found = kl_divergence(VonMisesFisher(axis(m), k1), VonMisesFisher(axis(m), k2)).item()
    with mpmath.workdps(40):
        a, b = mpmath.mpf(k1), mpmath.mpf(k2)

        def log_scaled_bessel(k):
            # the Hankel expansion, DLMF 10.40.1, without the factors that cancel
            order = mpmath.mpf(m) / 2 - 1
            terms, term = mpmath.mpf(1), mpmath.mpf(1)
            for j in range(1, 12):
                term *= -(4 * order**2 - (2 * j - 1) ** 2) / (8 * j * k)
                terms += term
            return mpmath.log(terms) - mpmath.mpf(m - 1) / 2 * mpmath.log(k)

        complement = -mpmath.diff(log_scaled_bessel, a)  # 1 - A
        expected = float(log_scaled_bessel(b) - log_scaled_bessel(a) + complement * (b - a))
    assert found == pytest.approx(expected, rel=1e-5)


# --- laws -------------------------------------------------------------------------------------------------------------


@given(k1=concentrations, k2=concentrations, m=dimensions, cosine=st.floats(-1, 1))
def test_divergence_is_not_negative(k1, k2, m, cosine):
    mu2 = cosine * axis(m) + math.sqrt(1 - cosine**2) * axis(m, 1)
    p, q = VonMisesFisher(axis(m), k1), VonMisesFisher(mu2, k2)
    uniform = HypersphericalUniform(m, dtype=torch.float64)
    for pair in ((p, q), (q, p), (p, uniform), (uniform, p), (PowerSpherical(axis(m), k1), uniform)):
        divergence = kl_divergence(*pair)
        assert divergence >= 0
        assert divergence.isfinite()


@given(k1=concentrations, k2=concentrations, m=dimensions, cosine=st.floats(-1, 1))
def test_divergence_is_a_bregman_divergence(k1, k2, m, cosine):
    """KL(p, q) + KL(p2, p) - KL(p2, q) = (E_p2 - E_p)(theta_q - theta_p), with theta = kappa mu; here p2 is uniform."""
    mu2 = cosine * axis(m) + math.sqrt(1 - cosine**2) * axis(m, 1)
    p, q = VonMisesFisher(axis(m), k1), VonMisesFisher(mu2, k2)
    uniform = HypersphericalUniform(m, dtype=torch.float64)
    left = kl_divergence(p, q) + kl_divergence(uniform, p) - kl_divergence(uniform, q)
    right = -(p.mean * (k2 * mu2 - k1 * axis(m))).sum(-1)
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9 * (1 + k1 + k2))


@given(kappa=concentrations, m=dimensions)
def test_uniform_is_the_law_of_zero_concentration(kappa, m):
    p = VonMisesFisher(axis(m), kappa)
    zero, uniform = VonMisesFisher(axis(m, 1), 0.0), HypersphericalUniform(m, dtype=torch.float64)
    torch.testing.assert_close(kl_divergence(p, zero), kl_divergence(p, uniform), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(kl_divergence(zero, p), kl_divergence(uniform, p), rtol=1e-9, atol=1e-12)


# --- gradients, shapes, types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 12])
def test_gradients_of_the_divergences(m):
    mu1, mu2 = direction(m), direction(m)

    def both(x: Tensor, y: Tensor, k1: Tensor, k2: Tensor) -> tuple[Tensor, ...]:
        x, y = x / x.norm(), y / y.norm()
        p, q = (VonMisesFisher(x, k1, validate_args=False), VonMisesFisher(y, k2, validate_args=False))
        uniform = HypersphericalUniform(m, dtype=torch.float64)
        return kl_divergence(p, q), kl_divergence(p, uniform), kl_divergence(uniform, q)

    leaves = [mu1, mu2, double(2.0), double(7.0)]
    assert torch.autograd.gradcheck(both, [leaf.requires_grad_() for leaf in leaves])

    def power(kappa: Tensor) -> Tensor:
        law = PowerSpherical(mu1.detach(), kappa, validate_args=False)
        return kl_divergence(law, HypersphericalUniform(m, dtype=torch.float64))

    assert torch.autograd.gradcheck(power, [double(2.0).requires_grad_()])


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 128])
def test_gradients_are_finite_at_the_ends(m, kappa):
    k1, k2 = (torch.tensor(kappa, requires_grad=True) for _ in range(2))
    mu = torch.eye(m)[0].requires_grad_()
    uniform = HypersphericalUniform(m)
    total = (
        kl_divergence(VonMisesFisher(mu, k1), VonMisesFisher(torch.eye(m)[1], k2))
        + kl_divergence(VonMisesFisher(mu, k1), uniform)
        + kl_divergence(uniform, VonMisesFisher(mu, k2))
        + kl_divergence(PowerSpherical(mu, k1), uniform)
    )
    total.backward()
    assert all(leaf.grad.isfinite().all() for leaf in (k1, k2, mu))


@pytest.mark.parametrize(
    ("first", "second", "joint"),
    [
        ((), (), ()),
        ((3,), (), (3,)),
        ((), (3,), (3,)),
        ((2, 1), (3,), (2, 3)),
        ((0,), (), (0,)),
        ((4, 3), (3,), (4, 3)),
    ],
)
def test_batch_shapes_broadcast(first, second, joint):
    m = 4

    def laws(shape: tuple[int, ...]) -> list[Distribution]:
        loc = torch.nn.functional.normalize(torch.randn(*shape, m), dim=-1)
        kappa = torch.rand(shape) * 10
        return [VonMisesFisher(loc, kappa), PowerSpherical(loc, kappa), HypersphericalUniform(m, shape)]

    (vmf, power, uniform), (vmf2, _, uniform2) = laws(first), laws(second)
    for p, q in ((vmf, uniform2), (power, uniform2), (uniform, uniform2), (uniform, vmf2), (vmf, vmf2)):
        divergence = kl_divergence(p, q)
        assert divergence.shape == joint
        assert divergence.dtype == torch.float32


def test_broadcast_values_are_those_of_the_pairs():
    m = 5
    loc = torch.nn.functional.normalize(torch.randn(3, m, dtype=torch.float64), dim=-1)
    kappa = torch.tensor([0.0, 2.0, 50.0], dtype=torch.float64)
    p = VonMisesFisher(loc.unsqueeze(1), kappa.unsqueeze(1))
    q = VonMisesFisher(loc, kappa)
    table = kl_divergence(p, q)
    for i in range(3):
        for j in range(3):
            one = kl_divergence(VonMisesFisher(loc[i], kappa[i]), VonMisesFisher(loc[j], kappa[j]))
            torch.testing.assert_close(table[i, j], one)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_types_are_computed_wide(dtype):
    m = 6
    loc = torch.eye(m, dtype=dtype)[:2]
    kappa = torch.tensor([3.0, 100.0], dtype=dtype)
    narrow, wide = VonMisesFisher(loc, kappa), VonMisesFisher(loc.double(), kappa.double())
    uniform, wide_uniform = HypersphericalUniform(m, dtype=dtype), HypersphericalUniform(m, dtype=torch.float64)
    power, wide_power = PowerSpherical(loc, kappa), PowerSpherical(loc.double(), kappa.double())
    pairs = [
        ((narrow, uniform), (wide, wide_uniform)),
        ((uniform, narrow), (wide_uniform, wide)),
        ((power, uniform), (wide_power, wide_uniform)),
        ((narrow, narrow.expand((2,))), (wide, wide)),
    ]
    for pair, wide_pair in pairs:
        found = kl_divergence(*pair)
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.double(), kl_divergence(*wide_pair), rtol=2 * torch.finfo(dtype).eps, atol=1e-6
        )


def test_different_spheres_are_an_error():
    vmf, uniform = VonMisesFisher(torch.eye(3)[0], 1.0), HypersphericalUniform(4)
    other = VonMisesFisher(torch.eye(4)[0], 1.0)
    message = r"p and q must live on the same sphere, got m = 3 and m = 4"
    for p, q in ((vmf, uniform), (vmf, other), (HypersphericalUniform(3), uniform), (HypersphericalUniform(3), other)):
        with pytest.raises(ValueError, match=message):
            kl_divergence(p, q)
    with pytest.raises(ValueError, match=message):
        kl_divergence(PowerSpherical(torch.eye(3)[0], 1.0), uniform)


def test_batches_that_do_not_fit_are_an_error():
    p = VonMisesFisher(torch.eye(3)[0], torch.ones(2))
    with pytest.raises((RuntimeError, ValueError), match="broadcast"):
        kl_divergence(p, HypersphericalUniform(3, (3,)))


def test_pairs_that_are_not_registered_are_an_error():
    with pytest.raises(NotImplementedError, match="No KL"):
        kl_divergence(Product([VonMisesFisher(torch.eye(3)[0], 1.0)]), VonMisesFisher(torch.eye(3)[0], 1.0))
