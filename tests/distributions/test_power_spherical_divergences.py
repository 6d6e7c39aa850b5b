"""Kullback-Leibler divergences of and from the Power Spherical law, against integration over two angles."""

import functools
import itertools
import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from installed import with_todays_compiler
from scipy.special import polygamma
from sphere_integral import Means, power_spherical_log_partition
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher

DIMENSIONS = (2, 3, 5, 11, 41, 128)
ANGLES = (0.0, 1e-3, 0.5, 2.0, 3.1, math.pi)
PAIRS = [(PowerSpherical, PowerSpherical), (VonMisesFisher, PowerSpherical), (PowerSpherical, VonMisesFisher)]
# Of a law that stands first in two pairs, computed once.
means_under = functools.cache(Means)
every_pair = pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda family: family.__name__)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).squeeze()


def two_axes(m: int, angle: float) -> tuple[Tensor, Tensor]:
    """Two directions at the given angle."""
    eye = torch.eye(m, dtype=torch.float64)
    return eye[0], math.cos(angle) * eye[0] + math.sin(angle) * eye[1]


def vmf_log_partition(kappa: float, m: int) -> float:
    """``log E_U exp(kappa (mu.z - 1))``, by mpmath's Bessel function."""
    if kappa == 0:
        return 0.0
    with mpmath.workdps(30):
        order, k = mpmath.mpf(m) / 2 - 1, mpmath.mpf(kappa)
        scaled = mpmath.log(mpmath.besseli(order, k)) - k
        return float(mpmath.loggamma(order + 1) + order * mpmath.log(2 / k) + scaled)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", DIMENSIONS)
@every_pair
def test_values_on_a_grid(first, second, m):
    """Relative to one or, if it is larger, the divergence: 1e-10 in float64 and 1e-5 in float32."""
    for k1, angle in itertools.product((0.0, 0.3, 30.0, 1e4), ANGLES):
        means = means_under(first.__name__, k1, m, angle)
        mu1, mu2 = two_axes(m, angle)
        for k2 in (0.0, 0.3, 20.0, 1e4):
            if second is PowerSpherical:
                expected = means.log_density + power_spherical_log_partition(k2, m) - k2 * means.log_other
            else:
                # k2 (1 - cos(angle) E mu1.z), with half angles where it is small
                away = means.complement * math.cos(angle) + 2 * math.sin(angle / 2) ** 2
                expected = means.log_density + vmf_log_partition(k2, m) + k2 * away
            scale = max(1, expected)
            wide = kl_divergence(first(mu1, double(k1)), second(mu2, double(k2))).item()
            assert abs(wide - expected) <= 1e-10 * scale, (k1, angle, k2)
            narrow = kl_divergence(first(mu1.float(), k1), second(mu2.float(), k2))
            assert narrow.dtype == torch.float32
            assert abs(narrow.item() - expected) <= 1e-5 * scale, (k1, angle, k2)


@pytest.mark.parametrize("kappa", [0.0, 1e-4, 0.3, 20.0, 1e4, 1e8])
@pytest.mark.parametrize("m", [2, 3, 5, 11, 41, 128, 1024])
def test_from_the_uniform_law(m, kappa):
    with mpmath.workdps(30):
        half = mpmath.mpf(m - 1) / 2
        mean_log = mpmath.digamma(half) - mpmath.digamma(2 * half)
        expected = power_spherical_log_partition(kappa, m) - kappa * float(mean_log)
    uniform, power = HypersphericalUniform(m, dtype=torch.float64), PowerSpherical(torch.eye(m).double()[0], kappa)
    assert kl_divergence(uniform, power).item() == pytest.approx(expected, rel=1e-10, abs=1e-10)
    narrow = kl_divergence(HypersphericalUniform(m), PowerSpherical(torch.eye(m)[0], kappa))
    assert narrow.dtype == torch.float32
    assert narrow.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kappa", [1e-10, 1e-6, 1e-3, 0.06, 1.25, 60.0, 1e4, 1e6, 1e8, 1e12])
@pytest.mark.parametrize("m", [2, 3, 41, 1024])
def test_to_the_uniform_law_at_any_concentration(m, kappa):
    """Differences of log Gamma functions would have no digit left below 1e-6, nor, near 1e13, more than three."""
    with mpmath.workdps(40):
        half, k = mpmath.mpf(m - 1) / 2, mpmath.mpf(kappa)
        log_partition = mpmath.loggamma(k + half) - mpmath.loggamma(k + 2 * half)
        log_partition += mpmath.loggamma(2 * half) - mpmath.loggamma(half)
        expected = float(k * (mpmath.digamma(k + half) - mpmath.digamma(k + 2 * half)) - log_partition)
    power = PowerSpherical(torch.eye(m, dtype=torch.float64)[0], kappa)
    assert power.kl_to_uniform().item() == pytest.approx(expected, rel=2e-13, abs=0)


@pytest.mark.parametrize(
    ("k1", "k2"), [(1e-3, 2e-3), (0.0, 1e-2), (1.0, 1.1), (5.0, 500.0), (1e5, 1.2e5), (1e5, 1.00001e5), (1e8, 1e9)]
)
@pytest.mark.parametrize("m", [2, 3, 10, 41, 1000, 10_000])
def test_between_laws_of_one_direction(m, k1, k2):
    """The divergence and its gradient, also where the terms of the formula are nearly equal: 22% were lost there."""
    with mpmath.workdps(50):
        half, first, second = mpmath.mpf(m - 1) / 2, mpmath.mpf(k1), mpmath.mpf(k2)

        def b(k):
            return mpmath.loggamma(k + half) - mpmath.loggamma(k + 2 * half)

        def slope(k):
            return mpmath.digamma(k + half) - mpmath.digamma(k + 2 * half)

        expected = float(b(second) - b(first) - slope(first) * (second - first))
        by_second = float(slope(second) - slope(first))
    mu = torch.eye(m, dtype=torch.float64)[0]
    other = double(k2).requires_grad_()
    found = kl_divergence(PowerSpherical(mu, double(k1)), PowerSpherical(mu, other))
    (gradient,) = torch.autograd.grad(found, other)
    assert found.item() == pytest.approx(expected, rel=1e-11)
    assert gradient.item() == pytest.approx(by_second, rel=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("m", [2, 3, 128])
def test_equal_laws_have_divergence_zero(m, dtype):
    mu = torch.nn.functional.normalize(torch.randn(20, m, dtype=torch.float64), dim=-1).to(dtype)
    kappa = torch.logspace(-4, 8, 20, dtype=dtype)
    divergence = kl_divergence(PowerSpherical(mu, kappa), PowerSpherical(mu.clone(), kappa.clone()))
    assert (divergence == 0).all()
    # at kappa = 0 all families meet in the uniform law, and their directions do not matter
    zero = torch.zeros((), dtype=dtype)
    for first, second in PAIRS:
        assert kl_divergence(first(mu[0], zero), second(mu[1], zero)) == 0


@given(
    k1=st.floats(0, 1e6) | st.floats(-8, 8).map(lambda e: 10**e),
    k2=st.floats(0, 1e6) | st.floats(-8, 8).map(lambda e: 10**e),
    m=st.sampled_from([2, 3, 4, 5, 10, 41, 128, 1024]),
    angle=st.floats(0, math.pi) | st.floats(-9, 0).map(lambda e: 10**e),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_divergences_are_finite_and_not_negative(k1, k2, m, angle, dtype):
    mu1, mu2 = (mu.to(dtype) for mu in two_axes(m, angle))
    uniform = HypersphericalUniform(m, dtype=dtype)
    for p, q in [*((a(mu1, k1), b(mu2, k2)) for a, b in PAIRS), (uniform, PowerSpherical(mu1, k2))]:
        divergence = kl_divergence(p, q)
        assert divergence >= 0
        assert divergence.isfinite()


def test_it_grows_as_the_directions_part():
    angle = torch.linspace(0, math.pi, 200, dtype=torch.float64)
    for m, kappa in itertools.product((2, 3, 20), (0.1, 3.0, 1000.0)):
        mu = torch.nn.functional.pad(torch.stack([angle.cos(), angle.sin()], dim=-1), (0, m - 2))
        for first, second in PAIRS:
            divergence = kl_divergence(first(mu[0], double(kappa)), second(mu, double(kappa)))
            assert (divergence.diff() > 0).all()


# --- derivatives ------------------------------------------------------------------------------------------------------


def divergence(first, second, mu1: Tensor, k1: Tensor, mu2: Tensor, k2: Tensor) -> Tensor:
    mu1, mu2 = (torch.nn.functional.normalize(mu, dim=-1) for mu in (mu1, mu2))
    return kl_divergence(first(mu1, k1, validate_args=False), second(mu2, k2, validate_args=False))


@pytest.mark.parametrize("m", [2, 3, 12])
@every_pair
def test_gradients(first, second, m):
    mu1, mu2 = torch.randn(2, 4, m, dtype=torch.float64)
    mu2[0] = -mu1[0]  # opposite directions
    leaves = [mu1, double(0.4, 2.0, 7.0, 300.0), mu2, double(2.0, 0.3, 7.0, 500.0)]
    assert torch.autograd.gradcheck(
        lambda *x: divergence(first, second, *x), [leaf.requires_grad_() for leaf in leaves], rtol=1e-4
    )


def test_gradient_from_the_uniform_law():
    uniform = HypersphericalUniform(5, dtype=torch.float64)
    mu = torch.eye(5, dtype=torch.float64)[0]
    kappa = double(0.1, 3.0, 100.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda k: kl_divergence(uniform, PowerSpherical(mu, k, validate_args=False)), kappa)


def hessian(function):
    return torch.func.jacrev(torch.func.grad(function))


@pytest.mark.parametrize(("m", "kappa"), [(3, 2.0), (5, 0.7), (20, 50.0)])
def test_curvature_at_equal_laws_is_the_fisher_information(m, kappa):
    mu = torch.eye(m, dtype=torch.float64)[0]
    k, half = double(kappa), (m - 1) / 2
    in_kappa = hessian(lambda x: divergence(PowerSpherical, PowerSpherical, mu, k, mu, x))(k)
    assert in_kappa.item() == pytest.approx(polygamma(1, kappa + half) - polygamma(1, kappa + 2 * half), rel=1e-8)
    in_mu = hessian(lambda x: divergence(PowerSpherical, PowerSpherical, mu, k, x, k))(mu)
    # twice the divergence at a small angle, over its square, from the integral over two angles
    angle = 1e-3
    means = [Means("PowerSpherical", kappa, m, a) for a in (0.0, angle)]
    expected = 2 * kappa * (means[0].log_other - means[1].log_other) / angle**2
    torch.testing.assert_close(in_mu, expected * (torch.eye(m) - torch.outer(mu, mu)), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 128])
@every_pair
def test_gradients_are_finite_at_the_ends(first, second, m, kappa):
    for angle in (0.0, 1e-6, 1.0, math.pi):
        leaves = [t.float().requires_grad_() for t in (*two_axes(m, angle), double(kappa), double(kappa))]
        kl_divergence(first(leaves[0], leaves[2]), second(leaves[1], leaves[3])).backward()
        assert all(leaf.grad.isfinite().all() for leaf in leaves)


# --- in other people's programs ---------------------------------------------------------------------------------------


def arguments(m: int = 3) -> list[Tensor]:
    mu1, mu2 = torch.randn(2, 4, m, dtype=torch.float64)
    return [mu1, double(0.4, 2.0, 7.0, 300.0), mu2, double(2.0, 0.3, 7.0, 500.0)]


@every_pair
def test_vmap_and_jacobians(first, second):
    x = arguments()

    def function(*parameters: Tensor) -> Tensor:
        return divergence(first, second, *parameters)

    batched = function(*x)
    torch.testing.assert_close(torch.vmap(function)(*x), batched)
    rows = torch.func.jacrev(function, argnums=1)(*x)
    single = torch.vmap(torch.func.grad(function, argnums=1))(*x)
    torch.testing.assert_close(rows.diagonal(), single)


@with_todays_compiler
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiles_in_one_graph():
    x = [leaf.requires_grad_() for leaf in arguments()]

    def total(*parameters: Tensor) -> Tensor:
        uniform = kl_divergence(uniform_law, PowerSpherical(parameters[0], parameters[1], validate_args=False))
        return sum((divergence(a, b, *parameters).sum() for a, b in PAIRS), uniform.sum())

    uniform_law = HypersphericalUniform(3, dtype=torch.float64)
    expected = torch.autograd.grad(total(*x), x)
    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(*x), x), expected)


@pytest.mark.parametrize(
    ("first_shape", "second_shape", "joint"),
    [((), (), ()), ((3,), (), (3,)), ((), (3,), (3,)), ((2, 1), (3,), (2, 3)), ((0,), (), (0,))],
)
def test_batches_broadcast(first_shape, second_shape, joint):
    def laws(shape: tuple[int, ...]):
        loc = torch.nn.functional.normalize(torch.randn(*shape, 4, dtype=torch.float64), dim=-1)
        kappa = 10 * torch.rand(shape, dtype=torch.float64)
        return PowerSpherical(loc, kappa), VonMisesFisher(loc, kappa), HypersphericalUniform(4, shape)

    (power, vmf, uniform), (power2, vmf2, _) = laws(first_shape), laws(second_shape)
    for p, q in ((power, power2), (vmf, power2), (power, vmf2), (uniform, power2)):
        table = kl_divergence(p, q)
        assert table.shape == joint
        rows = [kl_divergence(row(p, joint, i), row(q, joint, i)) for i in range(table.numel())]
        if rows:
            torch.testing.assert_close(table.reshape(-1), torch.stack(rows))
    law = Independent(power.expand((2, *power.batch_shape)), 1)
    assert (kl_divergence(law, law) == 0).all()


def row(law, joint: tuple[int, ...], i: int):
    """The i-th law of a batch, by its parameters."""
    if isinstance(law, HypersphericalUniform):
        return HypersphericalUniform(law.m, dtype=law.dtype)
    law = law.expand(joint)
    return type(law)(law.loc.reshape(-1, law.m)[i], law.concentration.reshape(-1)[i])


def test_types_are_promoted_and_half_precision_is_computed_wide():
    m = 6
    mu, kappa = torch.eye(m, dtype=torch.float64)[:2], double(3.0, 100.0)
    for dtype in (torch.float16, torch.bfloat16):
        for first, second in PAIRS:
            found = kl_divergence(first(mu[0].to(dtype), kappa.to(dtype)), second(mu.to(dtype), kappa.to(dtype)))
            assert found.dtype == dtype
            expected = kl_divergence(first(mu[0], kappa), second(mu, kappa))
            torch.testing.assert_close(found.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)
            mixed = kl_divergence(first(mu[0].to(dtype), kappa.to(dtype)), second(mu, kappa))
            assert mixed.dtype == torch.float64


@every_pair
def test_unvalidated_concentrations_that_are_none_give_nan_in_their_rows_alone(first, second):
    mu = torch.eye(4)
    bad = torch.tensor([1.0, -2.0, math.nan, 3.0], requires_grad=True)
    for p, q in (
        (first(mu, bad, validate_args=False), second(mu[1], 2.0)),
        (first(mu[1], 2.0), second(mu, bad, validate_args=False)),
    ):
        found = kl_divergence(p, q)
        assert found.isnan().tolist() == [False, True, True, False]
        (gradient,) = torch.autograd.grad(found[[0, 3]].sum(), bad)
        assert gradient[[0, 3]].isfinite().all()


@every_pair
def test_different_spheres_are_an_error(first, second):
    with pytest.raises(ValueError, match="p and q must live on the same sphere, got m = 3 and m = 4"):
        kl_divergence(first(torch.eye(3)[0], 1.0), second(torch.eye(4)[0], 1.0))
    with pytest.raises(ValueError, match="p and q must live on the same sphere, got m = 3 and m = 4"):
        kl_divergence(HypersphericalUniform(3), PowerSpherical(torch.eye(4)[0], 1.0))
