"""The foils: their law is wrong where it is known to be and right elsewhere; their gradient lacks what it lacks.

The reference is the sampler as its formulas state it, in NumPy, by quadrature over its Beta variable or by rejection.
Statistical tests: 40 p-values, each held against 1e-5, so that a correct program fails under a fresh seed with
probability below 4e-4.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from hvae_tutorial import special
from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.experiments import foils
from hvae_tutorial.experiments.foils import PathwiseVonMisesFisher, PublicVonMisesFisher, SampledVonMisesFisher
from hvae_tutorial.experiments.names import HEADS
from hvae_tutorial.models.vae import POSTERIORS
from hvae_tutorial.sphere import log_surface_area

LEVEL = 1e-5
# (m, kappa): mean of w of the public sampler, and of the von Mises-Fisher law, each from 200,000 draws of both.
KNOWN = {
    (41, 10.0): (0.231, 0.231),
    (41, 12.0): (0.088, 0.272),
    (41, 20.0): (0.326, 0.409),
    (41, 50.0): (0.661, 0.675),
    (41, 100.0): (0.818, 0.819),
    (21, 12.0): (0.396, 0.459),
    (11, 12.0): (0.646, 0.656),
    (51, 11.0): (-0.063, 0.207),
    (6, 12.0): (0.8055, 0.8058),
}
POINTS = [*KNOWN, (21, 10.4), (2, 30.0), (3, 15.0), (41, 5.0)]


def constants(kappa: float, m: int) -> tuple[float, float, float]:
    """b, a and d as the releases have them."""
    root = math.sqrt(4 * kappa**2 + (m - 1) ** 2)
    s = min(max(0.0, kappa - 10), 1.0)
    b = (m - 1) / (4 * kappa) * s + (-2 * kappa + root) / (m - 1) * (1 - s)
    a = (m - 1 + 2 * kappa + root) / 4
    return b, a, 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)


def proposal(e: Any, b: float, a: float, d: float, m: int) -> Any:
    """w, and the logarithm of the acceptance as the releases compute it, not clipped."""
    t = 2 * a * b / (1 - (1 - b) * e)
    return (1 - (1 + b) * e) / (1 - (1 - b) * e), (m - 1) * np.log(t) - t + d


def reference_mean(kappa: float, m: int) -> float:
    """The mean of w over the samples, by adaptive quadrature over the angle whose squared sine is e."""
    formulas = constants(kappa, m)

    def weighted(angle: float, factor: Callable[[float], float]) -> float:
        w, log_acceptance = proposal(math.sin(angle) ** 2, *formulas, m)
        return factor(w) * math.sin(2 * angle) ** (m - 2) * math.exp(min(0.0, log_acceptance))

    def total(factor: Callable[[float], float]) -> float:
        return integrate.quad(weighted, 0, math.pi / 2, args=(factor,), epsabs=1e-13, epsrel=1e-11, limit=500)[0]

    return total(lambda w: w) / total(lambda _: 1.0)


def north(m: int, kappa: float, family: type[VonMisesFisher], dtype: torch.dtype = torch.float64) -> VonMisesFisher:
    return family(torch.eye(m, dtype=dtype)[0], torch.tensor(kappa, dtype=dtype))


def test_no_table_of_models_has_them() -> None:
    assert not {"s-path", "s-clip"} & {*POSTERIORS, *HEADS}


@pytest.mark.parametrize(("m", "kappa"), KNOWN)
def test_the_mean_is_wrong_as_measured(m: int, kappa: float) -> None:
    theirs, truth = KNOWN[m, kappa]
    law = north(m, kappa, PublicVonMisesFisher)
    assert law.sampled_mean_resultant_length.item() == pytest.approx(theirs, abs=1.5e-3)
    assert law.mean_resultant_length.item() == pytest.approx(truth, abs=6e-4)


@pytest.mark.parametrize(("m", "kappa"), POINTS)
def test_the_mean_is_that_of_the_formulas(m: int, kappa: float) -> None:
    found = north(m, kappa, PublicVonMisesFisher).sampled_mean_resultant_length.item()
    assert found == pytest.approx(reference_mean(kappa, m), abs=2e-6)  # the clip is a kink for both quadratures


@pytest.mark.parametrize(("m", "kappa"), POINTS)
def test_samples_have_the_law_of_the_formulas(m: int, kappa: float) -> None:
    generator = np.random.default_rng(0)
    formulas = constants(kappa, m)
    e = generator.beta((m - 1) / 2, (m - 1) / 2, size=60_000)
    w, log_acceptance = proposal(e, *formulas, m)
    expected = w[np.log(generator.random(len(e))) < log_acceptance]
    rate = north(m, kappa, PublicVonMisesFisher).acceptance_rate.item()
    assert stats.binomtest(len(expected), len(e), min(rate, 1)).pvalue > LEVEL
    torch.manual_seed(0)
    z = north(m, kappa, PublicVonMisesFisher, torch.float32).sample((40_000,))
    assert torch.allclose(z.norm(dim=-1), torch.ones(()), atol=1e-5)
    assert stats.ks_2samp(z[:, 0].numpy(), expected).pvalue > LEVEL
    z = north(m, kappa, PathwiseVonMisesFisher, torch.float32).sample((40_000,))
    exact = special.mean_resultant_length(torch.tensor(kappa, dtype=torch.float64), m).item()
    assert stats.ttest_1samp(z[:, 0].numpy(), exact).pvalue > LEVEL


@pytest.mark.parametrize(("m", "kappa"), POINTS)
def test_density_and_divergence_are_those_of_the_samples(m: int, kappa: float) -> None:
    law = north(m, kappa, SampledVonMisesFisher)
    angle = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    z = torch.zeros(len(angle), m, dtype=torch.float64)
    z[:, 0], z[:, 1] = angle.cos(), angle.sin()
    log_density = law.log_prob(z)
    area = 2.0 if m == 2 else math.exp(log_surface_area(m - 1))
    p = (area * torch.exp(log_density) * angle.sin() ** (m - 2)).numpy()

    def integral(values: Any) -> float:
        return integrate.trapezoid(p * values, angle.numpy())

    assert integral(1.0) == pytest.approx(1, abs=1e-5)
    assert integral(z[:, 0].numpy()) == pytest.approx(reference_mean(kappa, m), abs=1e-5)
    divergence = integral(log_density.numpy() + log_surface_area(m))
    assert law.kl_to_uniform().item() == pytest.approx(divergence, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("m", [2, 3, 6, 21, 41])
@pytest.mark.parametrize("kappa", [0.0, 1.0, 9.99])
def test_below_ten_it_is_the_exact_law(m: int, kappa: float) -> None:
    torch.manual_seed(0)
    exact, law = north(m, kappa, VonMisesFisher), north(m, kappa, SampledVonMisesFisher)
    z = exact.sample((20,))
    assert torch.allclose(law.log_prob(z), exact.log_prob(z), atol=1e-10)
    assert torch.allclose(law.kl_to_uniform(), exact.kl_to_uniform(), atol=1e-10)


def test_what_is_reported_is_the_exact_law() -> None:
    exact, law = north(41, 12.0, VonMisesFisher), north(41, 12.0, PublicVonMisesFisher)
    z = exact.sample((20,))
    assert torch.equal(law.log_prob(z), exact.log_prob(z))
    assert torch.equal(law.kl_to_uniform(), exact.kl_to_uniform())
    assert law.sampled_kl_to_uniform() < 0.2 < 1.5 < law.kl_to_uniform()


def test_up_to_63_coordinates_the_reported_divergence_is_too_large() -> None:
    kappa = torch.cat([torch.linspace(10.01, 12, 40), torch.linspace(12.5, 80, 50)]).double()
    for m, bound in ((3, True), (11, True), (41, True), (63, True), (64, False), (101, False)):
        law = PublicVonMisesFisher(torch.eye(m, dtype=torch.float64)[0], kappa)
        assert bool((law.sampled_kl_to_uniform() < law.kl_to_uniform()).all()) == bound


def test_the_barrier_begins_at_thirteen_coordinates() -> None:
    kappa = torch.linspace(9, 30, 421, dtype=torch.float64)
    for m in (6, 11, 12, 13, 21, 41):
        law = PublicVonMisesFisher(torch.eye(m, dtype=torch.float64)[0], kappa)
        assert bool((law.sampled_mean_resultant_length.diff() < 0).any()) == (m >= 13)
        assert (law.mean_resultant_length.diff() > 0).all()


@pytest.mark.parametrize(("m", "end"), [(21, 12.3), (41, 16.3), (61, 20.9)])
def test_the_barrier_ends_where_the_mean_is_back(m: int, end: float) -> None:
    kappa = torch.tensor([10.0, end - 0.1, end + 0.1], dtype=torch.float64)
    before, below, above = PublicVonMisesFisher(
        torch.eye(m, dtype=torch.float64)[0], kappa
    ).sampled_mean_resultant_length
    assert below < before < above


@pytest.mark.parametrize("m", [2, 6, 41])
def test_rates_are_those_of_autograd_through_the_accepted_proposal(m: int) -> None:
    e = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    for value in (0.5, 5.0, 10.3, 10.9, 12.0, 80.0):
        kappa = torch.full_like(e, value, requires_grad=True)
        root = torch.sqrt(4 * kappa**2 + (m - 1) ** 2)
        exact = (-2 * kappa + root) / (m - 1)
        s = torch.minimum(torch.maximum(torch.tensor(0.0), kappa - 10), torch.tensor(1.0))
        for family, b in (
            (PathwiseVonMisesFisher, exact),
            (PublicVonMisesFisher, (m - 1) / (4 * kappa) * s + exact * (1 - s)),
        ):
            w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
            (expected,) = torch.autograd.grad(w.sum(), kappa, retain_graph=True)
            y = (1 - w).detach()
            found = family._rate(y, kappa.detach(), m) * torch.sqrt(y * (2 - y))  # dw / dkappa
            assert torch.allclose(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("m", "kappa", "expected", "truth"), [(2, 2.0, 0.0846, 0.1642), (5, 2.0, 0.1278, 0.1474)])
def test_the_pathwise_gradient_has_the_known_bias(m: int, kappa: float, expected: float, truth: float) -> None:
    """The mean of (1 - w^2) / rho is (m - 1) A / (kappa rho); the truth is the variance of w."""
    torch.manual_seed(0)
    concentration = torch.full((100_000,), kappa, dtype=torch.float64, requires_grad=True)
    exact = VonMisesFisher(torch.eye(m, dtype=torch.float64)[0], concentration.detach())
    root = math.sqrt(4 * kappa**2 + (m - 1) ** 2)
    assert (m - 1) * exact.mean_resultant_length[0].item() / (kappa * root) == pytest.approx(expected, abs=2e-4)
    assert exact.projection_variance[0].item() == pytest.approx(truth, abs=5e-5)
    for family, mean in ((PathwiseVonMisesFisher, expected), (VonMisesFisher, truth)):
        w = family(torch.eye(m, dtype=torch.float64)[0], concentration).rsample()[:, 0]
        (slopes,) = torch.autograd.grad(w.sum(), concentration)
        standard_error = slopes.std().item() / math.sqrt(len(slopes))
        assert slopes.mean().item() == pytest.approx(mean, abs=4.5 * standard_error + 2e-4)


def test_in_the_blend_the_public_gradient_points_away() -> None:
    """At m = 41 it lowers w as kappa rises: the barrier is one for the gradient, too."""
    y = torch.linspace(0.1, 1.9, 10, dtype=torch.float64)
    assert (PublicVonMisesFisher._rate(y, torch.full_like(y, 10.5), 41) < 0).all()
    assert (PublicVonMisesFisher._rate(y, torch.full_like(y, 10.5), 6) > 0).all()
    assert (PublicVonMisesFisher._rate(y, torch.full_like(y, 11.5), 41) > 0).all()


def test_inside_the_barrier_nothing_is_left_out_of_the_public_gradient() -> None:
    """At m = 41 all proposals are accepted there: the slope of the mean is the mean of the pathwise slopes."""
    kappa = torch.tensor([10.5, 12.0, 16.0, 30.0, 5.0], dtype=torch.float64, requires_grad=True)
    law = PublicVonMisesFisher(torch.eye(41, dtype=torch.float64)[0], kappa)
    (slope,) = torch.autograd.grad(law.sampled_mean_resultant_length.sum(), kappa)
    b, e, probability = (tensor.detach() for tensor in law._quadrature()[:3])
    y = 2 * b * e / (1 - (1 - b) * e)
    rate = PublicVonMisesFisher._rate(y, kappa.detach().unsqueeze(-1).expand_as(y), 41)
    pathwise = (probability * torch.sqrt(y * (2 - y)) * rate).sum(-1)
    assert (1 - law.acceptance_rate[:3]).abs().max() < 1e-9
    assert torch.allclose(pathwise[:3], slope[:3], rtol=1e-6)
    assert (pathwise[3:] / slope[3:] - 1).abs().min() > 1e-4  # where some are rejected something is left out


@pytest.mark.parametrize("family", [PathwiseVonMisesFisher, PublicVonMisesFisher])
def test_the_gradient_of_the_direction_is_the_exact_one(family: type[VonMisesFisher]) -> None:
    gradients = []
    for law in (VonMisesFisher, family):
        torch.manual_seed(0)
        loc = torch.nn.functional.normalize(torch.arange(1.0, 7).expand(50, 6), dim=-1).requires_grad_()
        z = law(loc, torch.full((50,), 5.0)).rsample()
        weight = torch.arange(6.0)
        (gradient,) = torch.autograd.grad((z.detach() * 0 + z).matmul(weight).sum(), loc)
        w = (loc * z).sum(-1, keepdim=True).detach()
        expected = w * weight - (loc.detach() @ weight).unsqueeze(-1) * z.detach()
        gradients.append(torch.allclose(gradient, expected, atol=1e-5))
    assert gradients == [True, True]


def test_a_concentration_that_is_no_number_ends_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foils, "_MAX_ROUNDS", 3)
    law = PublicVonMisesFisher(torch.eye(6)[0], torch.tensor(math.nan), validate_args=False)
    with pytest.raises(RuntimeError, match="no proposal was accepted in 3 rounds: is a concentration NaN or infinite"):
        law.sample((5,))


@pytest.mark.parametrize("family", [PathwiseVonMisesFisher, PublicVonMisesFisher, SampledVonMisesFisher])
def test_everything_is_on_the_device_of_the_law_whatever_torch_has_as_default(family: type[VonMisesFisher]) -> None:
    """What is made inside without a device would be made on the default one, here one that holds no numbers."""
    law = family(torch.eye(41)[:3], torch.tensor([5.0, 10.5, 30.0]))
    with torch.device("meta"):
        found = [law.rsample((2,)), law.log_prob(law.mode), law.kl_to_uniform(), law.mean]
        if isinstance(law, PublicVonMisesFisher):
            found += [law.sampled_mean_resultant_length, law.sampled_kl_to_uniform(), law.sampled_log_prob(law.mode)]
    assert {tensor.device.type for tensor in found} == {"cpu"}
    assert all(tensor.isfinite().all() for tensor in found)
