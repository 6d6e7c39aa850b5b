"""Gradients through samples: pointwise against quadrature, and in the mean against the true derivative.

Mean gradients are held to 4.5 standard errors. There are 68 of these comparisons: with an exact gradient and a new seed
the probability of any failure is 68 * 6.8e-6 = 5e-4.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from projection_law import von_mises_fisher
from scipy import integrate, stats
from scipy.special import betaincinv, xlogy
from torch import Tensor

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher
from hvae_tutorial.distributions._implicit import power_spherical_rate, von_mises_fisher_rate
from hvae_tutorial.distributions._sampling import sample_complement
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric

FAMILIES = (VonMisesFisher, PowerSpherical, SphericalCauchy)
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def implicit_reference() -> np.ndarray:
    """Rows of tests/reference/implicit.csv, see make_implicit.py."""
    path = Path(__file__).parents[1] / "reference" / "implicit.csv"
    return np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="ascii")


def direction(m: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(m, dtype=torch.float64), dim=0).to(dtype)


def tangent_direction(mu: Tensor) -> Tensor:
    u = torch.randn_like(mu)
    return torch.nn.functional.normalize(u - (u @ mu) * mu, dim=0)


def at_fixed_complement(family: type[RotationallySymmetric], y: Tensor) -> type[RotationallySymmetric]:
    """The family with its random ``y = 1 - mu . z`` replaced by given values."""

    class Fixed(family):  # type: ignore[misc, valid-type]
        @staticmethod
        def _sample_complement(concentration: Tensor, m: int, repeats: int) -> Tensor:
            return y.to(concentration.dtype)

    return Fixed


# --- the derivative at a sample ---------------------------------------------------------------------------------------


def test_von_mises_fisher_rate_against_30_digits(implicit_reference):
    assert len(implicit_reference) == 8 * 6 * 9  # m from 2 to 1024, kappa from 1e-2 to 1e5, levels from 0.001 to 0.999
    for m in np.unique(implicit_reference["m"]).tolist():
        rows = implicit_reference[implicit_reference["m"] == m]
        y, kappa = (torch.from_numpy(np.ascontiguousarray(rows[name])) for name in ("y", "kappa"))
        found = (von_mises_fisher_rate(y, kappa, m) * torch.sqrt(y * (2 - y))).numpy()
        np.testing.assert_allclose(found, rows["dw_dkappa"], rtol=1e-6)


def test_gradient_of_a_sample_against_30_digits(implicit_reference):
    for m in np.unique(implicit_reference["m"]).tolist():
        rows = implicit_reference[implicit_reference["m"] == m]
        y, kappa = (torch.from_numpy(np.ascontiguousarray(rows[name])) for name in ("y", "kappa"))
        kappa.requires_grad_()
        mu = direction(m)
        z = at_fixed_complement(VonMisesFisher, y)(mu, kappa).rsample()
        (z @ mu).sum().backward()
        assert kappa.grad is not None
        np.testing.assert_allclose(kappa.grad.numpy(), rows["dw_dkappa"], rtol=1e-6)


@pytest.mark.parametrize("m", [2, 3, 4, 5, 10, 41, 128, 1024])
def test_von_mises_fisher_rate_in_single_precision_at_the_samplers_own_values(m):
    for kappa in (1e-2, 0.3, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5):
        kappas = torch.full((1000,), kappa)
        y = sample_complement(kappas, m)
        expected = von_mises_fisher_rate(y.double(), kappas.double(), m)
        np.testing.assert_allclose(von_mises_fisher_rate(y, kappas, m).double(), expected, rtol=1e-4)


def power_spherical_rate_by_quadrature(y: float, kappa: float, m: int) -> float:
    """The definition, integrated from the mean direction; the score's mean by quadrature too."""
    theta = 2 * math.asin(math.sqrt(y / 2))

    def density(t: float) -> float:
        return math.exp(xlogy(2 * kappa, math.cos(t / 2)) + xlogy(m - 2, math.sin(t)))

    def score(t: float) -> float:
        return 2 * math.log(math.cos(t / 2))

    options = {"epsabs": 0, "epsrel": 1e-11, "limit": 500, "points": [theta]}
    normaliser = integrate.quad(density, 0, math.pi, **options)[0]
    mean = integrate.quad(lambda t: score(t) * density(t), 0, math.pi, **options)[0] / normaliser
    integral = integrate.quad(lambda t: (score(t) - mean) * density(t), 0, theta, epsabs=0, epsrel=1e-11)[0]
    return integral / density(theta)


@pytest.mark.parametrize("kappa", [0.0, 0.1, 0.5, 1.0, 3.7, 30.0])
@pytest.mark.parametrize("m", [2, 3, 5, 20])
def test_power_spherical_rate_against_quadrature(m, kappa):
    y = 2 * stats.beta((m - 1) / 2, kappa + (m - 1) / 2).ppf([0.01, 0.3, 0.6, 0.9])
    found = power_spherical_rate(torch.from_numpy(y), torch.full((4,), kappa, dtype=torch.float64), m)
    expected = [power_spherical_rate_by_quadrature(value, kappa, m) for value in y]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kappa", [0.02, 0.1, 0.5, 1.0, 3.7, 30.0, 1e3])
@pytest.mark.parametrize("m", [2, 3, 5, 20, 128])
def test_power_spherical_rate_is_the_derivative_of_the_quantile(m, kappa, dtype):
    level = np.linspace(0.05, 0.95, 10)
    half = (m - 1) / 2

    def w(k: float) -> np.ndarray:
        return 1 - 2 * betaincinv(half, half + k, level)  # 1 - y, and y / 2 is a Beta variable

    # Central differences of the quantile, Richardson-extrapolated once.
    h = 4e-3 * (kappa + half)
    h = min(h, kappa)
    coarse, fine = ((w(kappa + s) - w(kappa - s)) / (2 * s) for s in (h, h / 2))
    expected = (4 * fine - coarse) / 3
    y = torch.from_numpy(1 - w(kappa)).to(dtype)
    found = power_spherical_rate(y, torch.full_like(y, kappa), m) * torch.sqrt(y * (2 - y))
    np.testing.assert_allclose(found.double(), expected, rtol=1e-4 if dtype == torch.float32 else 1e-6)


# --- the mean gradient ------------------------------------------------------------------------------------------------

# f(z), and the gradient of E f(z) with respect to the concentration and along a turn of mu towards u.
Problem = tuple[Callable[[Tensor], Tensor], float, float]


def linear(mu: Tensor, u: Tensor, kappa: float) -> Problem:
    """mu . z + u . z."""
    law = von_mises_fisher(kappa, len(mu))
    b = mu + u
    return lambda z: z @ b, law.central_moment(2), 1 - law.mean


def exponential(mu: Tensor, u: Tensor, kappa: float) -> Problem:
    """exp(a . z), with mean exp(phi(|kappa mu + a|) - phi(kappa))."""
    m = len(mu)
    a = 0.8 * mu + 0.9 * u
    r = math.hypot(kappa + 0.8, 0.9)
    base, raised = von_mises_fisher(kappa, m), von_mises_fisher(r, m)
    # phi = kappa + log of the integral of exp(-kappa y), up to a constant
    mean = math.exp(raised.log_integral - base.log_integral + r - kappa)
    by_kappa = mean * ((1 - raised.mean) * (kappa + 0.8) / r - (1 - base.mean))
    return lambda z: torch.exp(z @ a), by_kappa, mean * (1 - raised.mean) * kappa * 0.9 / r


def quadratic(mu: Tensor, u: Tensor, kappa: float) -> Problem:
    """(a . z)^2, with mean (a.mu)^2 E w^2 + (|a|^2 - (a.mu)^2) E(1 - w^2) / (m-1)."""
    m = len(mu)
    a = mu + 0.5 * u
    law = von_mises_fisher(kappa, m)
    # d/dkappa E w^2 is the covariance of w^2 and w
    slope = law.expectation(lambda y: ((1 - y) ** 2) * (law.mean - y))
    spread = law.expectation(lambda y: y * (2 - y)) / (m - 1)
    return lambda z: (z @ a) ** 2, (1 - 0.25 / (m - 1)) * slope, 2 * 0.5 * (1 - m * spread)


def standard_errors(sample: Tensor, expected: float) -> float:
    sample = sample.double()
    return abs((sample.mean() - expected) / (sample.std() / math.sqrt(len(sample)))).item()


CASES = [(2, 2.0), (3, 2.0), (5, 2.0), (10, 10.0), (20, 50.0), (41, 100.0), (128, 2.0)]


PROBLEMS = [(linear, torch.float64), *((problem, torch.float32) for problem in (linear, exponential, quadratic))]


@pytest.mark.parametrize(("problem", "dtype"), PROBLEMS, ids=lambda p: getattr(p, "__name__", str(p)))
@pytest.mark.parametrize(("m", "kappa"), CASES)
def test_mean_gradient_is_the_gradient_of_the_mean(m, kappa, problem, dtype):
    n = min(100_000, 4_000_000 // m)
    mu = direction(m)
    u = tangent_direction(mu)
    function, by_kappa, by_turn = problem(mu, u, kappa)
    # One leaf for each sample keeps the gradients apart, for their standard error.
    loc = mu.to(dtype).repeat(n, 1).requires_grad_()
    concentration = torch.full((n,), kappa, dtype=dtype, requires_grad=True)
    z = VonMisesFisher(loc, concentration).rsample()
    function(z.double()).sum().backward()
    assert standard_errors(concentration.grad, by_kappa) < 4.5
    assert standard_errors(loc.grad.double() @ u, by_turn) < 4.5


def power_linear(kappa: float, m: int) -> float:
    """Derivative of the mean resultant length kappa / (kappa + m - 1)."""
    return (m - 1) / (kappa + m - 1) ** 2


@pytest.mark.parametrize(("m", "kappa"), [(2, 0.1), (2, 2.0), (3, 0.1), (5, 2.0), (10, 10.0), (41, 100.0)])
def test_mean_gradient_of_power_spherical_samples(m, kappa):
    n = 60_000
    mu = direction(m, torch.float32)
    u = tangent_direction(mu)
    loc = mu.repeat(n, 1).requires_grad_()
    concentration = torch.full((n,), kappa, requires_grad=True)
    (PowerSpherical(loc, concentration).rsample() @ (mu + u)).sum().backward()
    assert standard_errors(concentration.grad, power_linear(kappa, m)) < 4.5
    assert standard_errors(loc.grad @ u, kappa / (kappa + m - 1)) < 4.5


# --- structure --------------------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("m", [2, 3, 10])
def test_gradient_of_loc_lies_in_the_tangent_space(m, family):
    loc = torch.nn.functional.normalize(torch.randn(50, m, dtype=torch.float64), dim=-1).requires_grad_()
    z = family(loc, torch.logspace(-2, 5, 50, dtype=torch.float64)).rsample()
    (z * torch.randn(50, m, dtype=torch.float64)).sum().backward()
    assert loc.grad is not None
    assert loc.grad.abs().max() > 0.1
    assert (loc.grad * loc).sum(-1).abs().max() < 1e-13


@every_family
@pytest.mark.parametrize("m", [2, 3, 10])
def test_gradient_of_loc_turns_the_sample_with_the_mean_direction(m, family):
    """mu turned by the small angle t towards u carries z to R z, R the rotation of the plane of mu and u."""
    mu = direction(m).requires_grad_()
    u, g = tangent_direction(mu.detach()), torch.randn(m, dtype=torch.float64)
    z = family(mu, 3.0).rsample()
    (z @ g).backward()
    with torch.no_grad():
        turned = (mu @ z) * u - (u @ z) * mu  # d/dt R(t) z at t = 0
    assert mu.grad is not None
    torch.testing.assert_close(mu.grad @ u, turned @ g)


@every_family
def test_sample_moves_along_its_meridian(family):
    """dz/dkappa is tangent at z and lies in the plane of mu and z."""
    m = 6
    mu = direction(m)
    kappa = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    z = family(mu, kappa).rsample()
    rows = [torch.autograd.grad(z[i], kappa, retain_graph=True)[0] for i in range(m)]
    motion, z = torch.stack(rows), z.detach()
    meridian = mu - (mu @ z) * z
    assert (motion @ mu) > 0  # towards the mean direction
    torch.testing.assert_close(motion, (motion @ meridian) / (meridian @ meridian) * meridian)


@every_family
def test_gradients_of_shared_parameters_are_sums(family):
    m, n = 4, 6
    weights = torch.randn(n, m, dtype=torch.float64)
    locs = torch.nn.functional.normalize(torch.randn(n, m, dtype=torch.float64), dim=-1)
    kappas = torch.linspace(0.5, 5, n, dtype=torch.float64)

    def gradients(loc: Tensor, concentration: Tensor, sample_shape: tuple[int, ...] = ()) -> list[Tensor]:
        loc, concentration = (p.detach().clone().requires_grad_() for p in (loc, concentration))
        torch.manual_seed(5)
        z = family(loc, concentration).rsample(sample_shape)
        return list(torch.autograd.grad((z.reshape(n, m) * weights).sum(), (loc, concentration)))

    shared_loc = locs[0]
    apart = gradients(shared_loc.repeat(n, 1), kappas)
    together = gradients(shared_loc, kappas)
    torch.testing.assert_close(together[0], apart[0].sum(0))
    torch.testing.assert_close(together[1], apart[1])

    apart = gradients(locs, kappas[:1].repeat(n))
    together = gradients(locs, kappas[0])
    torch.testing.assert_close(together[0], apart[0])
    torch.testing.assert_close(together[1], apart[1].sum())

    apart = gradients(shared_loc.repeat(n, 1), kappas[:1].repeat(n))
    together = gradients(shared_loc, kappas[0], (n,))
    torch.testing.assert_close(together[0], apart[0].sum(0))
    torch.testing.assert_close(together[1], apart[1].sum())

    # loc (2, 1, m) against concentration (3,)
    loc, kappa = locs[:2].unsqueeze(1), kappas[:3]
    apart = gradients(loc.expand(2, 3, m).reshape(n, m), kappa.expand(2, 3).reshape(n))
    together = gradients(loc, kappa)
    torch.testing.assert_close(together[0], apart[0].reshape(2, 3, m).sum(1, keepdim=True))
    torch.testing.assert_close(together[1], apart[1].reshape(2, 3).sum(0))


@every_family
def test_one_parameter_alone_can_have_a_gradient(family):
    mu, kappa = direction(5), torch.tensor(2.0, dtype=torch.float64)
    family(mu.requires_grad_(), kappa).rsample((3,)).sum().backward()
    family(mu.detach(), kappa.requires_grad_()).rsample((3,)).sum().backward()
    assert mu.grad is not None
    assert kappa.grad is not None
    assert not family(mu, kappa).sample().requires_grad


def test_uniform_samples_have_no_gradient():
    law = HypersphericalUniform(3)
    assert law.has_rsample
    assert not law.rsample((2,)).requires_grad


@every_family
def test_samples_may_be_changed_in_place(family):
    kappa = torch.tensor(2.0, requires_grad=True)
    mu = torch.eye(4)[1]
    torch.manual_seed(1)
    (expected,) = torch.autograd.grad(2 * family(mu, kappa).rsample((5,)).sum(), kappa)
    torch.manual_seed(1)
    z = family(mu, kappa).rsample((5,))
    z.mul_(2)
    (found,) = torch.autograd.grad(z.sum(), kappa)
    torch.testing.assert_close(found, expected)


def test_gradient_follows_a_concentration_that_changed_in_place():
    """A law that is kept, such as a learned prior, after an optimiser's step on its parameters."""
    kappa = torch.full((100,), 2.0, requires_grad=True)
    kept = VonMisesFisher(torch.eye(5)[0], kappa)
    torch.distributions.kl_divergence(kept, HypersphericalUniform(5))
    with torch.no_grad():
        kappa.mul_(50)

    def gradient(law: VonMisesFisher) -> Tensor:
        torch.manual_seed(0)
        return torch.autograd.grad(law.rsample()[:, 0].sum(), kappa)[0]

    torch.testing.assert_close(gradient(kept), gradient(VonMisesFisher(torch.eye(5)[0], kappa)))


@every_family
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradients_are_rounded_single_precision(dtype, family):
    y = torch.tensor([0.05, 0.2, 0.6, 1.3])
    mu = torch.eye(5)[2]

    def gradient(dtype: torch.dtype) -> Tensor:
        kappa = torch.full((4,), 3.0, dtype=dtype, requires_grad=True)
        torch.manual_seed(0)
        z = at_fixed_complement(family, y)(mu.to(dtype), kappa).rsample()
        return torch.autograd.grad(z.sum(), kappa)[0].float()

    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(gradient(dtype), gradient(torch.float32), rtol=tolerance, atol=tolerance)


# --- a second differentiation -----------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("parameter", ["loc", "concentration"])
def test_second_differentiation_raises(parameter, family):
    parameters = {"loc": direction(4), "concentration": torch.tensor(2.0, dtype=torch.float64)}
    leaf = parameters[parameter].requires_grad_()
    z = family(**parameters).rsample((3,))
    (gradient,) = torch.autograd.grad((z**2 * torch.arange(4.0)).sum(), leaf, create_graph=True)
    assert gradient.isfinite().all()
    with pytest.raises(RuntimeError, match="differentiated once only"):
        torch.autograd.grad(gradient.sum(), leaf)


@every_family
def test_first_gradient_with_create_graph_is_the_same(family):
    kappa = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    mu = direction(4).requires_grad_()
    z = family(mu, kappa).rsample((3,))
    plain = torch.autograd.grad(z[:, 0].sum(), (mu, kappa), retain_graph=True)
    with_graph = torch.autograd.grad(z[:, 0].sum(), (mu, kappa), create_graph=True)
    torch.testing.assert_close(with_graph, plain)


@every_family
def test_second_derivatives_on_other_paths_work(family):
    kappa = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.3, -0.2, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    mu = direction(4)
    law = family(mu, kappa)
    z = law.rsample()
    # d/dx passes beside the sample twice, and through it once: d^2/dx^2 and d^2/(dx dkappa) exist.
    (by_x,) = torch.autograd.grad(torch.exp(z @ x) + (x**3).sum(), x, create_graph=True)
    by_x_x = torch.autograd.grad(by_x.sum(), x, retain_graph=True)[0]
    weight = torch.exp(z @ x)
    torch.testing.assert_close(by_x_x, weight * z * z.sum() + 6 * x)
    (by_x_kappa,) = torch.autograd.grad(by_x.sum(), kappa)
    assert by_x_kappa.isfinite()
    assert by_x_kappa != 0
    # The closed forms can be differentiated twice although a sample was drawn from the same law.
    (slope,) = torch.autograd.grad(law.entropy(), kappa, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, kappa)
    assert curvature.isfinite()


# --- the ends ---------------------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("m", [2, 3, 4, 10, 41, 1024])
def test_gradients_are_finite_everywhere(m, dtype, family):
    limits = torch.finfo(dtype)
    small = torch.logspace(math.log10(limits.tiny) + 0.01, -1, 40, dtype=torch.float64).to(dtype)
    near_antipode = (2 - torch.logspace(math.log10(limits.eps), -1, 40, dtype=torch.float64)).to(dtype)
    y = torch.cat([torch.tensor([limits.tiny], dtype=dtype), small, near_antipode])
    y = y.clamp(max=2 - limits.eps)
    for kappa in (0.0, 1e-6, 1.0, 1e3, 1e8):
        mu = direction(m, dtype).requires_grad_()
        concentration = torch.full_like(y, kappa).requires_grad_()
        z = at_fixed_complement(family, y)(mu, concentration).rsample()
        (z @ torch.arange(1.0, m + 1, dtype=dtype)).sum().backward()
        assert mu.grad.isfinite().all()
        assert concentration.grad.isfinite().all()


@every_family
@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 10])
def test_gradients_of_extreme_laws_are_finite(m, kappa, family):
    concentration = torch.full((2000,), kappa, requires_grad=True)
    mu = torch.eye(m)[0].requires_grad_()
    z = family(mu, concentration).rsample()
    (z * torch.arange(1.0, m + 1)).sum().backward()
    assert mu.grad.isfinite().all()
    assert concentration.grad.isfinite().all()
    assert z.isfinite().all()


@pytest.mark.parametrize("m", [2, 3, 10])
def test_rate_vanishes_towards_both_poles(m):
    """dw/dkappa at the poles, where the sphere ends: quantiles 0 and 1 do not move."""
    y = torch.tensor([1e-14, 2 - 1e-14], dtype=torch.float64)
    motion = von_mises_fisher_rate(y, torch.full_like(y, 2.0), m) * torch.sqrt(y * (2 - y))
    assert (motion >= 0).all()
    assert (motion < 1e-10).all()


def test_slices_agree_with_the_whole():
    y = torch.rand(30_000, dtype=torch.float64) * 1.9 + 0.05
    kappa = torch.rand(30_000, dtype=torch.float64) * 20
    for rate in (von_mises_fisher_rate, power_spherical_rate):
        parts = torch.cat([rate(a, k, 7) for a, k in zip(y.split(1000), kappa.split(1000), strict=True)])
        torch.testing.assert_close(rate(y, kappa, 7), parts)
        torch.testing.assert_close(rate(y.reshape(2, -1), kappa.reshape(2, -1), 7).reshape(-1), parts)
