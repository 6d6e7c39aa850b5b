"""The spherical Cauchy law is what a Moebius map makes of the uniform law: density, moments, samples, divergences, fit.

References: spherical_cauchy.csv (mpmath), integration over one angle and over two, SciPy's optimiser.
"""

import csv
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from error_rate import check_p_values, kolmogorov_smirnov_p_value, mean_p_value
from hypothesis import given
from hypothesis import strategies as st
from projection_law import spherical_cauchy, spherical_cauchy_cdf, von_mises_fisher
from scipy import optimize
from scipy.special import polygamma
from sphere_integral import Means, power_spherical_log_partition
from torch import Tensor
from torch.distributions import kl_divergence

from hvae_tutorial import special
from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher
from hvae_tutorial.sphere import log_surface_area, project_to_tangent

REFERENCE = Path(__file__).parents[1] / "reference" / "spherical_cauchy.csv"
ROWS = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(REFERENCE.read_text().splitlines())]
OTHERS = (SphericalCauchy, VonMisesFisher, PowerSpherical)
PAIRS = [*((SphericalCauchy, other) for other in OTHERS), *((other, SphericalCauchy) for other in OTHERS[1:])]


def axis(m: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(0), m).double()


def directions(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64), dim=-1)


def two_axes(m: int, angle: float) -> tuple[Tensor, Tensor]:
    eye = torch.eye(m, dtype=torch.float64)
    return eye[0], math.cos(angle) * eye[0] + math.sin(angle) * eye[1]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mean_resultant_length", "mean_resultant_length_complement", "variance", "kl"])
def test_statistics_on_the_reference_grid(name):
    """Relative errors: 1e-13 in float64 (the variance 1e-9), 1e-6 in float32."""
    column = "kl_to_uniform" if name == "kl" else name
    for row in ROWS:
        m, kappa = int(row["m"]), row["kappa"]
        for dtype, tolerance in ((torch.float64, 1e-9 if name == "variance" else 1e-13), (torch.float32, 1e-6)):
            if dtype == torch.float32 and np.float32(kappa) != kappa:
                continue
            law = SphericalCauchy(axis(m).to(dtype), torch.tensor(kappa, dtype=dtype))
            found = {"kl": law.kl_to_uniform, "variance": lambda law=law: law.projection_variance}.get(
                name, lambda law=law: getattr(law, name)
            )()
            assert found.dtype == dtype
            tiny = 1e-37 if dtype == torch.float32 else 0.0
            assert found.item() == pytest.approx(row[column], rel=tolerance, abs=tiny), (m, kappa)


def test_the_reference_is_the_law_of_the_circle():
    """For m = 2 all is elementary: the mean is rho, the variance (1 - rho^2) / 2, the divergence -log(1 - rho^2)."""
    for row in ROWS:
        if row["m"] == 2 and 1e-2 < row["kappa"] < 1e6:
            x0 = 2 * row["kappa"] / (1 + math.sqrt(1 + 4 * row["kappa"] ** 2))
            rho = x0 / (1 + math.sqrt(1 - x0**2))
            assert row["mean_resultant_length"] == pytest.approx(rho, rel=1e-9, abs=0)
            assert row["variance"] == pytest.approx((1 - rho**2) / 2, rel=1e-9, abs=0)
            assert row["kl_to_uniform"] == pytest.approx(-math.log1p(-(rho**2)), rel=1e-9, abs=0)


@pytest.mark.parametrize("kappa", [0.0, 0.1, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("m", [2, 3, 5, 41])
def test_density_by_quadrature(m, kappa):
    """The density integrates to one, and has the shape of the textbook formula."""
    law, base = spherical_cauchy(kappa, m), von_mises_fisher(0.0, m)
    mu, z = directions(m), directions(20, m)
    found = SphericalCauchy(mu, kappa)
    at_mode = -(law.log_integral - base.log_integral + log_surface_area(m))
    assert found.log_prob(mu).item() == pytest.approx(at_mode, rel=1e-9, abs=1e-9)
    x0 = 2 * kappa / (m - 1 + math.sqrt((m - 1) ** 2 + 4 * kappa**2))
    expected = at_mode + (m - 1) * (math.log1p(-x0) - torch.log1p(-x0 * (z @ mu)))
    torch.testing.assert_close(found.log_prob(z), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kappa", [0.0, 1.0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 41, 128])
def test_log_prob_is_accurate_in_float32(m, kappa):
    y = torch.logspace(-10, math.log10(1.99), 30, dtype=torch.float64)
    mu = axis(m)
    u = torch.nn.functional.normalize(project_to_tangent(directions(30, m), mu), dim=-1)
    value = ((1 - y)[:, None] * mu + torch.sqrt(y * (2 - y))[:, None] * u).float()
    exact = torch.nn.functional.normalize(value.double(), dim=-1)
    expected = SphericalCauchy(mu, kappa).log_prob(exact)
    found = SphericalCauchy(mu.float(), kappa).log_prob(value)
    assert ((found - expected).abs() / expected.abs().clamp(min=1)).max() < 1e-5


def test_the_law_is_the_von_mises_fisher_envelope():
    """vMF = spherical Cauchy draws, each kept with a probability that is one at the mode: at most 1 / 0.65 as high."""
    for m, kappa in itertools.product((2, 3, 6, 41), (0.1, 3.0, 50.0, 1e4)):
        y = torch.linspace(1e-6, 2 - 1e-6, 2001, dtype=torch.float64)
        z = torch.nn.functional.pad(torch.stack([1 - y, torch.sqrt(y * (2 - y))], dim=-1), (0, m - 2))
        ratio = VonMisesFisher(axis(m), kappa).log_prob(z) - SphericalCauchy(axis(m), kappa).log_prob(z)
        assert ratio.max() < -math.log(0.65)
        x0 = 2 * kappa / (m - 1 + math.sqrt((m - 1) ** 2 + 4 * kappa**2))
        # the ratio is highest where the proposal x is zero, at w = x0
        at = torch.nn.functional.pad(torch.tensor([x0, math.sqrt(1 - x0**2)]).double(), (0, m - 2))
        highest = VonMisesFisher(axis(m), kappa).log_prob(at) - SphericalCauchy(axis(m), kappa).log_prob(at)
        assert highest >= ratio.max() - 1e-12
        # and that height is the reciprocal of the acceptance rate: its logarithm is what phi lacks to Laplace's formula
        phi = special.log_partition(torch.tensor(kappa, dtype=torch.float64), m).item()
        acceptance = phi - kappa * x0 - (m - 1) / 2 * math.log1p(-(x0**2))
        assert highest.item() == pytest.approx(-acceptance, abs=1e-9)


def test_equal_concentrations_mean_equal_widths():
    """Large kappa: the median of 1 - w is (m - 1) / (2 kappa), the mean of the vMF law's; the tails differ."""
    for m in (3, 6, 41):
        for kappa in (1e3 * m, 1e6):
            scale = (m - 1) / (2 * kappa)
            assert spherical_cauchy_cdf(np.array([scale]), kappa, m).item() == pytest.approx(0.5, abs=2e-3)
            assert von_mises_fisher(kappa, m).mean == pytest.approx(scale, rel=0.01)


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 12])
def test_gradients_of_all_statistics(m):
    mu, z = directions(m), directions(5, m)

    def functions(x: Tensor, kappa: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        law = SphericalCauchy(x, kappa, validate_args=False)
        moments = law.mean_resultant_length, law.mean_resultant_length_complement, law.projection_variance
        return law.log_prob(value), law.entropy(), law.kl_to_uniform(), *moments

    leaves = [leaf.requires_grad_() for leaf in (mu, torch.tensor(3.0, dtype=torch.float64), z)]
    assert torch.autograd.gradcheck(functions, leaves)
    assert torch.autograd.gradgradcheck(functions, leaves)


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 128])
def test_closed_forms_and_their_gradients_are_finite(m, kappa):
    concentration = torch.tensor(kappa, requires_grad=True)
    mu = torch.eye(m)[0].requires_grad_()
    law = SphericalCauchy(mu, concentration)
    values = [law.log_prob(torch.eye(m)[1]), law.log_prob(-torch.eye(m)[0]), law.entropy(), law.mean.sum()]
    for value in [*values, law.variance.sum(), law.covariance_matrix.sum()]:
        assert value.isfinite()
        gradients = torch.autograd.grad(value, (mu, concentration), retain_graph=True, allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("kappa", [0.5, 20.0, 1e4])
@pytest.mark.parametrize("m", [2, 3, 6, 41])
def test_samples_move_along_the_moebius_map(m, kappa):
    """d/dkappa at a fixed proposal x: w = (x0 + x) / (1 + x0 x), by central differences of the textbook formula."""
    concentration = torch.full((50,), kappa, dtype=torch.float64, requires_grad=True)
    mu = axis(m)
    w = SphericalCauchy(mu, concentration).rsample() @ mu
    (found,) = torch.autograd.grad(w.sum(), concentration)

    def x0(k: float) -> float:
        return 2 * k / (m - 1 + math.sqrt((m - 1) ** 2 + 4 * k**2))

    w = w.detach()
    x = (w - x0(kappa)) / (1 - x0(kappa) * w)
    step = 1e-5 * kappa
    high, low = ((x0(k) + x) / (1 + x0(k) * x) for k in (kappa + step, kappa - step))
    torch.testing.assert_close(found, (high - low) / (2 * step), rtol=1e-4, atol=1e-7 / kappa)


@pytest.mark.parametrize(("m", "kappa"), [(2, 2.0), (3, 5.0), (11, 12.0), (41, 40.0)])
def test_pathwise_gradients_have_the_right_mean(m, kappa):
    """Of E z_1 and E z_1^2, for kappa and for loc, against the derivatives of the moments; see error_rate."""
    n = 100_000
    loc = directions(m)
    concentration = torch.full((n,), kappa, dtype=torch.float64, requires_grad=True)
    mu = loc.expand(n, m).clone().requires_grad_()
    z = SphericalCauchy(mu, concentration, validate_args=False).rsample()
    for power in (1, 2):
        by_kappa, by_loc = torch.autograd.grad((z[:, 0] ** power).sum(), (concentration, mu), retain_graph=True)
        k, a = torch.tensor(kappa, dtype=torch.float64, requires_grad=True), loc.clone().requires_grad_()
        law = SphericalCauchy(a, k, validate_args=False)
        moment = law.mean[0] if power == 1 else law.variance[0] + law.mean[0] ** 2
        true_k, true_loc = torch.autograd.grad(moment, (k, a))
        tangent = project_to_tangent(axis(m) if m == 2 else directions(m), loc)
        along = (by_loc @ tangent).numpy()
        check_p_values(
            kappa=mean_p_value(by_kappa.numpy(), true_k.item()),
            loc=mean_p_value(along, (true_loc @ tangent).item()),
        )


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kappa", [0.0, 1e-2, 1.0, 10.0, 1e4, 1e8])
@pytest.mark.parametrize("m", [2, 3, 4, 6, 41, 1024])
def test_the_law_of_samples(m, kappa, dtype):
    """The angle by Kolmogorov and Smirnov; the log-odds of y have mean -2 zeta and variance 2 psi'((m-1)/2)."""
    n = min(50_000, 2_500_000 // m)
    mu = axis(m).to(dtype)
    y = SphericalCauchy._sample_complement(torch.tensor([kappa], dtype=dtype), m, n).double().numpy()
    zeta = math.asinh(2 * kappa / (m - 1)) / 2
    odds = np.log(y / (2 - y))
    variance = 2 * float(polygamma(1, (m - 1) / 2))
    check_p_values(
        y=kolmogorov_smirnov_p_value(y, lambda t: spherical_cauchy_cdf(t, kappa, m)),
        mean=mean_p_value(odds, -2 * zeta),
        variance=mean_p_value((odds + 2 * zeta) ** 2, variance),
    )
    z = SphericalCauchy(mu, torch.tensor(kappa, dtype=dtype)).sample((1000,))
    assert (torch.linalg.vector_norm(z.double(), dim=-1) - 1).abs().max() < (1e-6 if dtype == torch.float32 else 1e-14)


def test_von_mises_fisher_by_keeping_some_of_its_draws():
    m, kappa, n = 6, 12.0, 60_000
    law, target = SphericalCauchy(axis(m), kappa), VonMisesFisher(axis(m), kappa)
    z = law.sample((n,))
    ratio = target.log_prob(z) - law.log_prob(z)
    x0 = 2 * kappa / (m - 1 + math.sqrt((m - 1) ** 2 + 4 * kappa**2))
    at_x0 = torch.nn.functional.pad(torch.tensor([x0, math.sqrt(1 - x0**2)]).double(), (0, m - 2))
    kept = torch.rand(n).log() < ratio - (target.log_prob(at_x0) - law.log_prob(at_x0))
    y = (1 - z[kept][:, 0]).numpy()
    check_p_values(y=kolmogorov_smirnov_p_value(y, von_mises_fisher(kappa, m).cdf))
    assert 0.65 < kept.double().mean() < 1


# --- divergences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 11, 128])
@pytest.mark.parametrize("first", OTHERS, ids=lambda family: family.__name__)
def test_divergences_on_a_grid(first, m):
    """All pairs with this law, by integration over two angles; relative to one or, if larger, to the divergence.

    From the von Mises-Fisher law, log normalisers of size m log kappa lose a digit at m = 128.
    """
    for k1, angle in itertools.product((0.0, 30.0, 1e4), (0.0, 1e-3, 0.5, 3.1)):
        mu1, mu2 = two_axes(m, angle)
        means = Means(first.__name__, k1, m, angle)
        for second, k2 in itertools.product(OTHERS, (0.3, 1e4)):
            if (first, second) not in PAIRS:
                continue
            if second is SphericalCauchy:
                x0 = 2 * k2 / (m - 1 + math.sqrt((m - 1) ** 2 + 4 * k2**2))
                odds = k2 / (m - 1) * (1 + x0)  # x0 / (1 - x0), as kappa / (m - 1) = x0 / (1 - x0^2)
                at_mode = (m - 1) / 2 * math.log(1 + 2 * odds)
                expected = means.log_density - at_mode + (m - 1) * means.log_cauchy(odds)
            elif second is PowerSpherical:
                expected = means.log_density + power_spherical_log_partition(k2, m) - k2 * means.log_other
            else:
                away = means.complement * math.cos(angle) + 2 * math.sin(angle / 2) ** 2
                phi = special.log_partition(torch.tensor(k2, dtype=torch.float64), m).item()
                expected = means.log_density + phi - k2 + k2 * away
            scale = max(1, expected)
            p, q = first(mu1, torch.tensor(k1, dtype=torch.float64)), second(mu2, torch.tensor(k2, dtype=torch.float64))
            assert abs(kl_divergence(p, q).item() - expected) <= (1e-10 + 1e-12 * m) * scale, (second, k1, angle, k2)
            narrow = kl_divergence(first(mu1.float(), k1), second(mu2.float(), k2))
            assert narrow.dtype == torch.float32
            assert abs(narrow.item() - expected) <= 1e-5 * scale, (second, k1, angle, k2)


def test_divergences_are_symmetric_and_do_not_change_under_moebius_maps():
    """Between two laws of the family, and between one and the uniform law, which belongs to it."""
    p, q = SphericalCauchy(directions(30, 5), 10.0), SphericalCauchy(directions(30, 5), 3.0)
    torch.testing.assert_close(kl_divergence(p, q), kl_divergence(q, p))
    uniform = HypersphericalUniform(5, dtype=torch.float64)
    assert torch.equal(kl_divergence(p, uniform), kl_divergence(uniform, p))
    assert (kl_divergence(p, SphericalCauchy(p.loc.clone(), 10.0)) == 0).all()


@given(
    k1=st.floats(0, 1e6) | st.floats(-8, 8).map(lambda e: 10**e),
    k2=st.floats(0, 1e6) | st.floats(-8, 8).map(lambda e: 10**e),
    m=st.sampled_from([2, 3, 4, 5, 10, 41, 128, 1024]),
    angle=st.floats(0, math.pi) | st.floats(-9, 0).map(lambda e: 10**e),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_divergences_are_finite_and_not_negative(k1, k2, m, angle, dtype):
    mu1, mu2 = (mu.to(dtype) for mu in two_axes(m, angle))
    law, uniform = SphericalCauchy(mu1, k1), HypersphericalUniform(m, dtype=dtype)
    for p, q in [*((first(mu1, k1), second(mu2, k2)) for first, second in PAIRS), (law, uniform), (uniform, law)]:
        divergence = kl_divergence(p, q)
        assert divergence >= 0
        assert divergence.isfinite()


@pytest.mark.parametrize("angle", [0.0, 1.0])
@pytest.mark.parametrize("m", [2, 3, 12])
def test_gradients_of_divergences(m, angle):
    mu1, mu2 = two_axes(m, angle)

    def divergences(a: Tensor, b: Tensor, k1: Tensor, k2: Tensor) -> tuple[Tensor, ...]:
        a, b = (torch.nn.functional.normalize(x, dim=0) for x in (a, b))
        return tuple(kl_divergence(p(a, k1, False), q(b, k2, False)) for p, q in PAIRS)

    leaves = [mu1, mu2, torch.tensor(3.0).double(), torch.tensor(7.0).double()]
    assert torch.autograd.gradcheck(divergences, [leaf.clone().requires_grad_() for leaf in leaves], atol=1e-5)


# --- maximum likelihood -----------------------------------------------------------------------------------------------


def estimate_by_scipy(data: Tensor, weights: Tensor) -> np.ndarray:
    """``x0 mu``, from the density, by minimising over the ball."""
    x, w = data.numpy(), (weights / weights.sum()).numpy()

    def loss(t: np.ndarray) -> float:
        c = t / math.sqrt(1 + t @ t)
        return -0.5 * math.log1p(-(c @ c)) + w @ np.log1p(-x @ c)

    best = min((optimize.minimize(loss, s, method="BFGS", tol=1e-10) for s in 0.1 * x[:3]), key=lambda r: r.fun)
    return best.x / math.sqrt(1 + best.x @ best.x)


@pytest.mark.parametrize("kappa", [0.0, 0.5, 5.0, 200.0])
@pytest.mark.parametrize("m", [2, 3, 6])
def test_estimate_is_scipy_s(m, kappa):
    data = SphericalCauchy(directions(m), kappa).sample((60,))
    weights = torch.rand(60, dtype=torch.float64)
    law = SphericalCauchy.fit(data, weights)
    h = law.concentration / (m - 1)
    x0 = h / (torch.hypot(h, torch.tensor(0.5)) + 0.5)
    np.testing.assert_allclose((x0 * law.loc).numpy(), estimate_by_scipy(data, weights), atol=2e-6)


def centred(data: torch.Tensor, law: SphericalCauchy) -> torch.Tensor:
    """The data moved by the inverse of the Moebius map y -> (1 - |psi|^2) (y + psi) / |y + psi|^2 + psi of the law."""
    h = law.concentration / (law.loc.shape[-1] - 1)
    x0 = h / (torch.hypot(h, torch.tensor(0.5)) + 0.5)
    psi = ((x0 / (1 + torch.sqrt(1 - x0**2))).unsqueeze(-1) * law.loc).unsqueeze(-2)
    away = data - psi
    return (1 - psi.square().sum(-1, keepdim=True)) * away / away.square().sum(-1, keepdim=True) - psi


@pytest.mark.parametrize("kappa", [1.0, 50.0, 1e6])
@pytest.mark.parametrize("m", [2, 5, 41])
def test_the_estimate_centres_the_data(m, kappa):
    """The Moebius map of the ball (Kato and McCullagh 2020, equation 1), inverted, takes the data to mean zero."""
    data = SphericalCauchy(directions(m), kappa).sample((3 * m,))
    assert centred(data, SphericalCauchy.fit(data)).mean(0).norm() < 1e-7 * max(1, kappa) ** 0.5


def test_three_points_of_any_spread_and_weight_are_centred():
    """Also where two of them, nearly in one place, have most of the weight: there is a maximum, far from the centre."""
    base, spread = directions(2500, 1, 2), 10 ** (4 * torch.rand(2500, 1, 1, dtype=torch.float64) - 3)
    data = torch.nn.functional.normalize(base + spread * torch.randn(2500, 3, 2, dtype=torch.float64), dim=-1)
    shares = torch.rand(2500, 3, dtype=torch.float64) + 0.02
    shares = shares / shares.sum(-1, keepdim=True)
    inside = (shares < 0.48).all(-1)  # half of the weight at one point has no maximum
    data, shares = data[inside], shares[inside]
    law = SphericalCauchy.fit(data, shares)
    mean = (shares.unsqueeze(-1) * centred(data, law)).sum(-2)
    assert len(mean) > 1000
    # The direction is known to eps, and the law's width is 1/kappa.
    assert (mean.norm(dim=-1) < 1e-8 + 1e-15 * law.concentration).all()


def test_newton_s_overshoot_is_no_end():
    """Here a Newton step lowers the likelihood: one along the gradient has to follow."""
    angles = torch.tensor([1.4398, 1.1437, -0.5524], dtype=torch.float64)
    weights = torch.tensor([0.3283, 0.1852, 0.4865], dtype=torch.float64)
    data = torch.stack([angles.cos(), angles.sin()], dim=-1)
    mean = weights.unsqueeze(-1) * centred(data, SphericalCauchy.fit(data, weights))
    assert mean.sum(0).norm() < 1e-12


def test_half_of_the_weight_at_one_point_has_no_maximum():
    data = torch.cat([axis(3).expand(6, 3), directions(5, 3)])
    law = SphericalCauchy.fit(data, max_concentration=1e6)
    assert law.concentration.item() == pytest.approx(1e6)
    torch.testing.assert_close(law.loc, axis(3), rtol=0, atol=1e-5)


def test_outliers_hardly_move_it():
    """Ten points of a hundred at the antipode: the mean resultant length believes them, this law does not."""
    data = torch.cat([VonMisesFisher(axis(4), 200.0).sample((90,)), -axis(4).expand(10, 4)])
    robust, fragile = SphericalCauchy.fit(data), VonMisesFisher.fit(data)
    clean = SphericalCauchy.fit(data[:90])
    assert robust.concentration > 0.4 * clean.concentration
    assert fragile.concentration < 0.1 * VonMisesFisher.fit(data[:90]).concentration
