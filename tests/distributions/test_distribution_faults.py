"""Faults of public implementations that concern distributions, each shown beside its cure.

Numbers are those of the list of faults in the course. Each test runs the faulty formula, shows that it is wrong by the
amount reported, and holds the library to the truth.
"""

import math

import numpy as np
import pytest
import torch
from projection_law import von_mises_fisher
from torch import Tensor
from torch.distributions import Beta, kl_divergence

from hvae_tutorial.distributions import HypersphericalUniform, VonMisesFisher
from hvae_tutorial.distributions._sampling import _envelope, _in_rounds, _propose, displacement, sample_complement
from hvae_tutorial.models import VonMisesFisherPosterior


def direction(m: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(m, dtype=torch.float64), dim=0).to(dtype)


def cancelling_b(kappa: Tensor, m: int) -> Tensor:
    """Wood's constant as the public implementations evaluate it."""
    return (-2 * kappa + torch.sqrt(4 * kappa**2 + (m - 1) ** 2)) / (m - 1)


def blended_b(kappa: Tensor, m: int) -> Tensor:
    """The same as the authors' package has it: from kappa = 10 to 11 it passes over to an approximation."""
    share = torch.minimum(torch.maximum(kappa.new_tensor(0), kappa - 10), kappa.new_tensor(1))
    return (m - 1) / (4 * kappa) * share + cancelling_b(kappa, m) * (1 - share)


def pathwise_gradient(e: Tensor, kappa: Tensor, b: Tensor) -> float:
    """Mean of dw/dkappa for accepted proposals, as if the acceptance of e did not depend on kappa."""
    w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
    return torch.autograd.grad(w.sum(), kappa)[0].mean().item()


def wood_1994(kappa: Tensor, b: Tensor, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Textbook proposals: the Beta variable e, w, and whether it is accepted."""
    half = torch.full_like(kappa, (m - 1) / 2)
    e = Beta(half, half).sample()
    x0 = (1 - b) / (1 + b)
    w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
    c = kappa * x0 + (m - 1) * torch.log(1 - x0**2)
    return e, w, kappa * w + (m - 1) * torch.log(1 - x0 * w) - c >= torch.log(torch.rand_like(kappa))


# --- fault 1: pathwise gradient through the accepted proposal, without its correction ---------------------------------


@pytest.mark.parametrize(
    ("m", "kappa", "uncorrected", "as_published", "truth"),
    [
        (2, 2.0, 0.0846, 0.0846, 0.1642),
        (5, 2.0, 0.1278, 0.1278, 0.1474),
        # -8% for want of the correction; the rest of the -32% is the kink of the blend, at kappa = 10 exactly
        (10, 10.0, 0.0260, 0.0191, 0.0282),
    ],
)
def test_fault_1_gradient_of_the_mean_resultant_length(m, kappa, uncorrected, as_published, truth):
    n = 100_000
    k = torch.full((3 * n,), kappa, dtype=torch.float64)
    e, _, accepted = wood_1994(k, cancelling_b(k, m), m)
    e, k = e[accepted][:n], k[:n].requires_grad_()
    # 100,000 samples: the standard error is half a percent or less, the tolerance more than four of them
    assert pathwise_gradient(e, k, cancelling_b(k, m)) == pytest.approx(uncorrected, rel=0.02)
    assert pathwise_gradient(e, k, blended_b(k, m)) == pytest.approx(as_published, rel=0.02)

    assert von_mises_fisher(kappa, m).central_moment(2) == pytest.approx(truth, abs=5e-5)
    mu = direction(m)
    (ours,) = torch.autograd.grad((VonMisesFisher(mu, k).rsample() @ mu).sum(), k)
    assert ours.mean().item() == pytest.approx(truth, rel=0.02)


# --- fault 3: samples off the sphere for large concentrations in float32 ----------------------------------------------


@pytest.mark.parametrize("kappa", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("m", [3, 5, 11])
def test_fault_3_samples_stay_on_the_sphere(m, kappa):
    n = 20_000
    k = torch.full((n,), kappa)
    # The fault: w by the cancelling constant leaves [-1, 1], and the tangent part is a square root clamped from below.
    b = cancelling_b(k, m)
    _, w, _ = wood_1994(k, b, m)
    v = torch.nn.functional.normalize(torch.randn(n, m - 1), dim=-1)
    wrong = torch.cat([w[:, None], torch.sqrt((1 - w**2).clamp(min=1e-10))[:, None] * v], dim=-1)
    mu = direction(m, torch.float32)
    z = VonMisesFisher(mu, k).sample()
    assert (z.norm(dim=-1) - 1).abs().max() <= 1e-6
    # At this size the tangent part carries the law: |z - mu|^2 / 2 has mean 1 - A, to 5 standard errors.
    law = von_mises_fisher(kappa, m)
    y = (z.double() - torch.nn.functional.normalize(mu.double(), dim=0)).square().sum(-1) / 2
    assert abs(y.mean().item() / law.mean - 1) < 5 * math.sqrt(law.central_moment(2) / n) / law.mean + 1e-3
    off_sphere = (wrong.norm(dim=-1) - 1).abs()
    off_law = abs((off_sphere.new_tensor(1) - w).double().mean().item() / law.mean - 1)
    assert off_sphere.max() > 1e-6 or off_law > 0.02 or not wrong.isfinite().all()  # the fault


# --- fault 4: a wrapped normal law for the von Mises law at m = 2 -----------------------------------------------------


def test_fault_4_mean_resultant_length_on_the_circle():
    kappa, n = 5.0, 100_000
    wrapped = (torch.randn(n, dtype=torch.float64) / kappa).cos()  # an angle of standard deviation 1 / kappa
    assert wrapped.mean().item() == pytest.approx(0.980, abs=5e-4)
    law = VonMisesFisher(direction(2), kappa)
    w = law.sample((n,)) @ law.loc
    # the standard error is 4e-4
    assert w.mean().item() == pytest.approx(0.893, abs=2e-3)
    assert law.mean_resultant_length.item() == pytest.approx(0.89338, abs=5e-6)
    # Its best wrapped normal, of the same mean resultant length, is another law as well: the fourth moments differ.
    sigma = math.sqrt(-2 * math.log(0.89338))
    fourth = von_mises_fisher(kappa, 2).expectation(lambda y: (1 - y) ** 4)
    wrapped_fourth = 3 / 8 + math.exp(-2 * sigma**2) / 2 + math.exp(-8 * sigma**2) / 8
    assert abs(wrapped_fourth - fourth) > 0.002
    assert (w**4).mean().item() == pytest.approx(fourth, abs=5e-3)


# --- fault 6: concentration capped at 100 m ---------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 5, 11])
def test_fault_6_no_cap_on_the_concentration(m):
    # At the cap itself, and far beyond it: the divergence grows, and pulls, and samples concentrate.
    kappa = torch.tensor([100.0 * m, 1e4 * m, 1e6 * m], requires_grad=True)
    uniform = HypersphericalUniform(m)
    mu = torch.eye(m)[0]

    capped = VonMisesFisher(mu, kappa.clamp(max=100 * m))
    divergence = kl_divergence(capped, uniform)
    (gradient,) = torch.autograd.grad(divergence.sum(), kappa)
    assert divergence[2] == divergence[1] == divergence[0]  # the fault
    assert gradient[1:].tolist() == [0, 0]

    law = VonMisesFisher(mu, kappa)
    assert torch.equal(law.concentration, kappa)
    divergence = kl_divergence(law, uniform)
    # it grows like (m - 1) / 2 log kappa
    torch.testing.assert_close(divergence.diff(), torch.full((2,), (m - 1) / 2 * math.log(100)), rtol=5e-3, atol=0)
    (gradient,) = torch.autograd.grad(divergence.sum(), kappa)
    torch.testing.assert_close(gradient * kappa, torch.full((3,), (m - 1) / 2), rtol=5e-3, atol=0)
    y = (law.sample((20_000,)) - mu).square().sum(-1) / 2
    # y kappa is nearly a Gamma variable of shape (m - 1) / 2; 5 standard errors of its mean
    assert ((y * kappa).mean(0) - (m - 1) / 2).abs().max() < 5 * math.sqrt((m - 1) / 2 / 20_000) + 5e-3 * m
    z = law.rsample((100,))
    (gradient,) = torch.autograd.grad(z[..., 0].double().sum(), kappa)
    assert (gradient > 0).all()


# --- fault 9: the uniform log density ---------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 6, 41])
def test_fault_9_uniform_log_density(m):
    wrong = math.lgamma(m / 2) - m / 2 * math.log(2 * math.pi)
    right = math.lgamma(m / 2) - math.log(2) - m / 2 * math.log(math.pi)
    z = HypersphericalUniform(m, dtype=torch.float64).sample((3,))
    for law in (HypersphericalUniform(m, dtype=torch.float64), VonMisesFisher(direction(m), 0.0)):
        torch.testing.assert_close(law.log_prob(z), torch.full((3,), right, dtype=torch.float64))
    # Their difference is (m/2 - 1) log 2 nats: none on the circle, on which it is seen by no test.
    assert right - wrong == pytest.approx((m / 2 - 1) * math.log(2))
    if m == 3:
        area = 4 * math.pi
        assert math.exp(right) * area == pytest.approx(1)
        assert math.exp(wrong) * area == pytest.approx(2**-0.5)


# --- fault 10: Householder vector zero at mu = e1 ---------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 3, 10])
def test_fault_10_mean_direction_on_an_axis(m):
    e1 = torch.eye(m)[0]
    y = torch.full((100,), 0.3)

    def householder(mu: Tensor, x: Tensor) -> Tensor:
        u = e1 - mu
        u = u / u.norm()
        return x - 2 * (x @ u)[:, None] * u

    x = e1 + displacement(e1, y)
    assert householder(e1, x).isnan().all()  # the fault
    for mu in [*torch.eye(m), *-torch.eye(m)]:
        z = mu + displacement(mu, y)
        torch.testing.assert_close(1 - z @ mu, y)
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(100))
        kappa = torch.tensor(2.0, requires_grad=True)
        mu = mu.clone().requires_grad_()
        VonMisesFisher(mu, kappa).rsample((10,)).sum().backward()
        assert mu.grad.isfinite().all()
        assert kappa.grad.isfinite()
    # Nor does it break next to the axis, where e1 - mu is not zero but has lost its digits.
    near = torch.nn.functional.normalize(e1 + 1e-7 * torch.eye(m)[1], dim=0)
    z = near + displacement(near, y)
    assert (z.norm(dim=-1) - 1).abs().max() < 1e-6
    torch.testing.assert_close(1 - z @ near, y)


# --- fault 11: the cancelling constant in float32 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "kappa"),
    # at (11, 1e4) the constant is off by a fifth, but not yet zero: proposals are accepted, of a wrong law (fault 3)
    [(m, kappa) for m in (3, 5, 11) for kappa in (1e4, 1e5, 1e6, 1e8) if (m, kappa) != (11, 1e4)],
)
def test_fault_11_acceptance_rate_at_large_concentrations(m, kappa):
    k = torch.full((20_000,), kappa)
    _, _, accepted = wood_1994(k, cancelling_b(k, m), m)
    assert accepted.float().mean() < 0.001  # the fault

    root = math.hypot(m - 1, 2 * kappa) + m - 1
    x0, mode = 2 * kappa / root, 2 * (m - 1) / (root + 2 * kappa)
    _, accepted = _propose(torch.full((20_000,), x0), torch.full((20_000,), mode), m, 1)
    assert 0.66 < accepted.float().mean() < 0.72  # 0.68 to 0.70
    assert _in_rounds(*_envelope(k, m), m)[1] <= 12


# --- fault 12: a NaN concentration, and a loop without end ------------------------------------------------------------


def test_fault_12_nan_concentration():
    k = torch.tensor([1.0, math.nan])
    for _ in range(1000):  # the fault: no round will ever accept
        _, _, accepted = wood_1994(k, cancelling_b(k, 5), 5)
        assert not accepted[1]
    with pytest.raises(ValueError, match=r"(?s)Expected parameter concentration .*nan"):
        VonMisesFisher(torch.eye(5)[:2], k)
    y, rounds = _in_rounds(*_envelope(k, 5), 5)
    assert rounds <= 100
    z = VonMisesFisher(torch.eye(5)[:2], k, validate_args=False).sample()
    assert z[1].isnan().all()
    assert y[0].isfinite()
    assert z[0].isfinite().all()


def test_fault_12_no_nan_at_the_pole():
    """The NaN came from sqrt(1 - w^2) at w = 1, and from its derivative: y is kept inside (0, 2) here."""
    w = torch.tensor(1 + 1e-7, requires_grad=True)
    assert torch.sqrt(1 - w**2).isnan()  # the fault
    y = torch.cat([sample_complement(torch.full((20_000,), 1e8), m) for m in (2, 3, 5)])
    assert (y > 0).all()
    assert (y < 2).all()
    assert torch.sqrt(y * (2 - y)).isfinite().all()


# --- fault 13: the latent size taken for m ----------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_fault_13_an_s_vae_with_d_lives_on_the_sphere_of_dimension_d(d):
    m = d + 1
    posterior = VonMisesFisherPosterior(7, d)
    law = posterior(torch.randn(3, 7))
    assert law.event_shape == posterior.prior().event_shape == (m,)
    # The sphere of dimension d and not d - 1: near the mode the density falls like a Gaussian of d coordinates.
    kappa = 1e5
    entropy = VonMisesFisher(torch.eye(m, dtype=torch.float64)[0], kappa).entropy().item()
    gaussian = d / 2 * math.log(2 * math.pi * math.e / kappa)
    assert entropy == pytest.approx(gaussian, abs=1e-3)
    if d > 1:
        latent_size_as_m = VonMisesFisher(torch.eye(d, dtype=torch.float64)[0], kappa).entropy().item()
        assert latent_size_as_m == pytest.approx((d - 1) / 2 * math.log(2 * math.pi * math.e / kappa), abs=1e-3)
        assert abs(latent_size_as_m - entropy) > 1
    # The uniform prior takes m; the entropy of the circle is that of m = 2.
    assert HypersphericalUniform(2, dtype=torch.float64).entropy().item() == pytest.approx(np.log(2 * np.pi))
