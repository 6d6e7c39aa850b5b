"""Maximum likelihood: `fit` of the von Mises-Fisher and of the Power Spherical law."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.special import gammaln, polygamma
from torch import Tensor

from hvae_tutorial.distributions import PowerSpherical, SphericalCauchy, VonMisesFisher
from hvae_tutorial.special import mean_resultant_length, mean_resultant_length_derivative


def directions(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64), dim=-1).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kappa", [1.0, 10.0, 1e3, 1e6, 1e8])
@pytest.mark.parametrize("m", [2, 3, 10, 128])
def test_parameters_are_recovered(m, kappa, dtype):
    """Within 5 asymptotic standard errors, for 40 cases and two parameters: a new seed fails with probability 5e-5."""
    n = 20_000
    loc = directions(m, dtype=dtype)
    found = VonMisesFisher.fit(VonMisesFisher(loc, kappa).sample((n,)))
    assert found.batch_shape == ()
    assert found.loc.dtype == found.concentration.dtype == dtype
    wide = torch.tensor(kappa, dtype=torch.float64)
    # Fisher information: A'(kappa) for kappa, kappa A for each of the m - 1 tangent directions
    error = 5 / math.sqrt(n * mean_resultant_length_derivative(wide, m).item())
    # kappa_hat is biased by about (m-1) / (2 n A' kappa); at kappa = 1 and m = 128 this is more than the error itself
    bias = (m - 1) / (2 * n * mean_resultant_length_derivative(wide, m).item() * kappa)
    assert abs(found.concentration.item() - kappa - bias) < error + bias
    gap2 = (found.loc.double() - loc.double()).square().sum().item()
    spread = 1 / (n * kappa * mean_resultant_length(wide, m).item())
    # gap2 / spread is nearly chi-squared with m - 1 degrees of freedom
    assert gap2 < spread * (m - 1 + 5 * math.sqrt(2 * (m - 1)) + 25)


@pytest.mark.parametrize("m", [2, 3, 10])
def test_likelihood_is_stationary_at_the_estimate_and_lower_around_it(m):
    data = VonMisesFisher(directions(m), 4.0).sample((200,))
    weights = torch.rand(200, dtype=torch.float64)
    found = VonMisesFisher.fit(data, weights)

    def log_likelihood(loc: Tensor, concentration: Tensor) -> Tensor:
        law = VonMisesFisher(torch.nn.functional.normalize(loc, dim=-1), concentration, validate_args=False)
        return (weights * law.log_prob(data)).sum()

    loc, concentration = found.loc.clone().requires_grad_(), found.concentration.clone().requires_grad_()
    best = log_likelihood(loc, concentration)
    for gradient in torch.autograd.grad(best, (loc, concentration)):
        assert gradient.abs().max() < 1e-8
    for _ in range(10):
        assert log_likelihood(loc + 0.01 * torch.randn_like(loc), concentration) < best
    for factor in (0.99, 1.01):
        assert log_likelihood(loc, concentration * factor) < best


def test_integer_weights_are_repetitions():
    data = VonMisesFisher(directions(4), 3.0).sample((30,))
    counts = torch.randint(0, 4, (30,))
    weighted = VonMisesFisher.fit(data, counts.double())
    repeated = VonMisesFisher.fit(data.repeat_interleave(counts, dim=0))
    torch.testing.assert_close(weighted.loc, repeated.loc)
    torch.testing.assert_close(weighted.concentration, repeated.concentration)


def test_scale_of_the_weights_does_not_matter():
    data = VonMisesFisher(directions(4), 3.0).sample((30,))
    weights = torch.rand(30, dtype=torch.float64)
    one, other = (VonMisesFisher.fit(data, scale * weights) for scale in (1e-6, 1e6))
    torch.testing.assert_close(one.loc, other.loc)
    torch.testing.assert_close(one.concentration, other.concentration)
    equal = VonMisesFisher.fit(data, torch.full((30,), 0.1, dtype=torch.float64))
    torch.testing.assert_close(equal.concentration, VonMisesFisher.fit(data).concentration)


def test_weights_of_another_type():
    data = VonMisesFisher(directions(4), 3.0).sample((30,))
    expected = VonMisesFisher.fit(data)
    for weights in (torch.ones(30), torch.ones(30, dtype=torch.int64)):
        torch.testing.assert_close(VonMisesFisher.fit(data, weights).concentration, expected.concentration)


def test_estimate_turns_with_the_data():
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    data = VonMisesFisher(directions(5), 3.0).sample((50,))
    found, turned = VonMisesFisher.fit(data), VonMisesFisher.fit(data @ rotation.T)
    torch.testing.assert_close(turned.loc, rotation @ found.loc)
    torch.testing.assert_close(turned.concentration, found.concentration)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_balanced_data_are_uniform(dtype):
    """A mean of zero has no direction; the estimate of the concentration is zero all the same."""
    found = VonMisesFisher.fit(torch.cat([torch.eye(3, dtype=dtype), -torch.eye(3, dtype=dtype)]))
    assert found.concentration == 0
    assert found.loc.norm() == 1


def test_two_points_have_an_estimate():
    """At right angles: mean length 1 / sqrt 2."""
    found = VonMisesFisher.fit(torch.eye(3, dtype=torch.float64)[:2])
    torch.testing.assert_close(found.loc, torch.tensor([1, 1, 0], dtype=torch.float64) / math.sqrt(2))
    torch.testing.assert_close(found.mean_resultant_length, torch.tensor(1 / math.sqrt(2), dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_data(dtype):
    data = VonMisesFisher(directions(6), 5.0).sample((2000,)).to(dtype)
    found = VonMisesFisher.fit(data)
    assert found.loc.dtype == found.concentration.dtype == dtype
    wide = VonMisesFisher.fit(torch.nn.functional.normalize(data.double(), dim=-1))
    torch.testing.assert_close(found.concentration.double(), wide.concentration, rtol=torch.finfo(dtype).eps, atol=0)


def test_subclass_fits_itself():
    class Named(VonMisesFisher):
        pass

    assert type(Named.fit(torch.eye(3))) is Named


# --- gradients --------------------------------------------------------------------------------------------------------


families = pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
light_tails = pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical])
# The largest concentration by default, in units of (m - 1) / eps^2.
LARGEST = {VonMisesFisher: 1, PowerSpherical: 2, SphericalCauchy: 1}

POINTS = torch.nn.functional.normalize(
    torch.tensor([[1, 0.1, 0], [1, -0.2, 0.1], [1, 0.3, 0.4], [0.2, 1, 0]], dtype=torch.float64), dim=-1
)


def central_differences(function, x: Tensor) -> Tensor:
    steps = 1e-6 * torch.eye(len(x), dtype=x.dtype)
    return torch.stack([(function(x + step) - function(x - step)) / 2e-6 for step in steps])


@families
def test_gradient_for_the_weights(family):
    """The sum of the weights is a function of the weights."""
    weights = torch.ones(4, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(family.fit(POINTS, weights).concentration, weights)
    expected = central_differences(lambda w: family.fit(POINTS, w).concentration, weights.detach())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    # a scale of all weights does not matter
    assert abs(found.sum()) < 1e-10
    if family is VonMisesFisher:
        torch.testing.assert_close(found, torch.tensor([1.08, 0.199, 1.21, -2.49]).double(), rtol=0.005, atol=0)


@families
@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("kappa", [0.5, 1000.0])
def test_first_and_second_derivatives(kappa, m, family):
    data = family(directions(m), kappa).sample((6,))
    weights = 0.2 + torch.rand(2, 6, dtype=torch.float64)

    def estimate(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        law = family.fit(torch.nn.functional.normalize(x, dim=-1), w)
        return law.loc, law.concentration.log()

    inputs = [data.requires_grad_(), weights.requires_grad_()]
    assert torch.autograd.gradcheck(estimate, inputs, rtol=1e-4)
    assert torch.autograd.gradgradcheck(estimate, inputs, rtol=1e-3, atol=1e-4, fast_mode=True)


@families
def test_gradients_are_finite_where_the_estimate_is_at_its_end(family):
    """Equal points, where the concentration is capped, and balanced points, where it is zero."""
    for data in (POINTS[:1].expand(3, 3), torch.cat([torch.eye(3), -torch.eye(3)]).double()):
        inputs = data.clone().requires_grad_(), torch.ones(len(data), dtype=torch.float64, requires_grad=True)
        law = family.fit(*inputs)
        for gradient in torch.autograd.grad(law.loc.sum() + law.concentration, inputs):
            assert gradient.isfinite().all()


@families
def test_gradients_by_torch_func(family):
    weights = torch.ones(4, dtype=torch.float64)

    def concentration(w: Tensor) -> Tensor:
        return family.fit(POINTS, w).concentration

    expected = central_differences(concentration, weights)
    torch.testing.assert_close(torch.func.grad(concentration)(weights), expected, rtol=1e-6, atol=1e-6)


# --- batches ----------------------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize(
    ("data_batch", "weight_batch", "batch"),
    [
        ((), (3,), (3,)),
        ((3,), (), (3,)),
        ((2, 1), (3,), (2, 3)),
        ((3,), (3,), (3,)),
        ((0,), (), (0,)),
        ((3,), None, (3,)),
    ],
)
def test_batches_are_single_fits(data_batch, weight_batch, batch, family):
    data = directions(*data_batch, 8, 4)
    weights = None if weight_batch is None else torch.rand(*weight_batch, 8, dtype=torch.float64)
    law = family.fit(data, weights)
    assert law.batch_shape == batch
    full_data = data.expand(*batch, 8, 4).reshape(-1, 8, 4)
    full_weights = (torch.ones(8).double() if weights is None else weights).expand(*batch, 8).reshape(-1, 8)
    singles = [family.fit(x, w) for x, w in zip(full_data, full_weights, strict=True)]
    for i, single in enumerate(singles):
        torch.testing.assert_close(law.loc.reshape(-1, 4)[i], single.loc)
        torch.testing.assert_close(law.concentration.reshape(-1)[i], single.concentration)


# --- concentrated data ------------------------------------------------------------------------------------------------


def two_points(gap: float, m: int, dtype: torch.dtype) -> Tensor:
    near = torch.eye(m, dtype=torch.float64)[0] + gap * torch.eye(m, dtype=torch.float64)[1]
    return torch.stack([torch.eye(m, dtype=torch.float64)[0], near / near.norm()]).to(dtype)


@light_tails
@pytest.mark.parametrize("m", [2, 3, 41])
@pytest.mark.parametrize(
    ("dtype", "gap"),
    [*((torch.float64, 10.0**-e) for e in (4, 6, 7, 9, 12, 15)), (torch.float32, 1e-4), (torch.float32, 1e-6)],
)
def test_points_that_are_nearly_equal(gap, dtype, m, family):
    """kappa tends to (m - 1) / (2 mean(1 - w)), twice that for the Power Spherical law; each point is at gap / 2."""
    data = two_points(gap, m, dtype)
    actual = (data[0].double() - data[1].double()).norm().item()
    expected = (m - 1) / (2 * (actual / 2) ** 2 / 2) * (1 if family is VonMisesFisher else 2)
    assert family.fit(data).concentration.item() == pytest.approx(expected, rel=0.01)


@families
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_points_that_are_equal_have_the_largest_concentration(n, dtype, family):
    m = 3
    limit = (m - 1) / torch.finfo(dtype).eps ** 2 * LARGEST[family]
    limit = min(limit, torch.finfo(dtype).max)
    for point in directions(10, m).to(dtype):
        law = family.fit(point.expand(n, m))
        assert law.concentration.item() == pytest.approx(limit, rel=1e-6)
        torch.testing.assert_close(law.loc, torch.nn.functional.normalize(point.double(), dim=0).to(dtype))
        assert family.fit(point.expand(n, m), max_concentration=50).concentration.item() == pytest.approx(50)
        # and it can be used: its samples are the point, up to rounding
        distance = (law.sample((100,)).double() - law.loc.double()).norm(dim=-1)
        furthest = distance.median() if family is SphericalCauchy else distance.max()
        assert furthest < (40 if dtype == torch.float16 else 6) * torch.finfo(dtype).eps
        assert law.log_prob(point).isfinite()
        assert law.entropy().isfinite()


@families
def test_the_largest_concentration_is_the_best_where_the_estimate_lies_beyond(family):
    data = family(directions(3), 200.0).sample((50,))
    law = family.fit(data, max_concentration=100.0)
    assert law.concentration == 100
    best = law.log_prob(data).sum()
    assert family(law.loc, 99.0).log_prob(data).sum() < best
    for tilt in (*torch.eye(3).double(), *-torch.eye(3).double()):
        other = torch.nn.functional.normalize(law.loc + 0.01 * tilt, dim=-1)
        assert family(other, 100.0).log_prob(data).sum() < best


@families
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_expectation_maximisation_goes_on_when_a_component_collapses(dtype, family):
    """Three components, one of which starts at an outlier and ends as that point; the M-step is one call."""
    eye = torch.eye(3, dtype=dtype)
    outlier = -torch.ones(1, 3, dtype=dtype) / math.sqrt(3)
    data = torch.cat([family(eye[0], 30.0).sample((100,)), family(eye[1], 30.0).sample((100,)), outlier])
    components = family(torch.stack([eye[0], eye[1], outlier[0]]), torch.tensor([5.0, 5.0, 100.0], dtype=dtype))
    shares, likelihoods = torch.full((3,), 1 / 3, dtype=dtype), []
    for _ in range(30):
        joint = components.log_prob(data.unsqueeze(1)) + shares.log()
        likelihoods.append(joint.logsumexp(-1).mean().item())
        responsibilities = joint.softmax(-1)
        components, shares = family.fit(data, responsibilities.mT), responsibilities.mean(0)
    limit = 2 / torch.finfo(dtype).eps ** 2 * LARGEST[family]
    assert components.concentration[2].item() == pytest.approx(limit, rel=1e-5)
    torch.testing.assert_close(components.loc[2], outlier[0])
    torch.testing.assert_close(shares[2], torch.tensor(1 / 201, dtype=dtype))
    # kappa_hat has a relative standard error of 1 / sqrt(100): 5 of them, for each of two components
    assert ((components.concentration[:2] / 30).log().abs() < 0.5).all()
    assert all(later > earlier - 1e-5 for earlier, later in itertools.pairwise(likelihoods))


@families
def test_a_component_that_has_lost_all_points_is_uniform(family):
    weights = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    law = family.fit(POINTS, weights)
    assert law.concentration[1] == 0
    assert law.loc[1].norm().item() == pytest.approx(1)
    torch.testing.assert_close(law.concentration[0], family.fit(POINTS).concentration)
    (gradient,) = torch.autograd.grad(law.concentration.sum() + law.loc.sum(), weights)
    assert gradient.isfinite().all()


# --- the Power Spherical law ------------------------------------------------------------------------------------------


def power_spherical_by_scipy(data: Tensor, weights: Tensor) -> tuple[np.ndarray, float]:
    """Parameters by SciPy's optimisers, from many starts, from the density of De Cao and Aziz (2020)."""
    x, w, half = data.numpy(), (weights / weights.sum()).numpy(), (data.shape[-1] - 1) / 2
    starts = np.random.default_rng(0).normal(size=(30, x.shape[1]))

    def mean_log(mu: np.ndarray) -> float:
        return -w @ np.log((1 + x @ (mu / np.linalg.norm(mu))) / 2)

    direction = min((optimize.minimize(mean_log, s, method="BFGS", tol=1e-9) for s in starts), key=lambda r: r.fun)

    def loss(log_kappa: float) -> float:
        kappa = math.exp(log_kappa)
        return kappa * direction.fun + gammaln(kappa + half) - gammaln(kappa + 2 * half)

    best = optimize.minimize_scalar(loss, bounds=(-8, 12), method="bounded", options={"xatol": 1e-9})
    return direction.x / np.linalg.norm(direction.x), math.exp(best.x)


@pytest.mark.parametrize("kappa", [0.5, 5.0, 200.0])
@pytest.mark.parametrize("m", [2, 3, 6])
def test_power_spherical_estimate_is_scipy_s(m, kappa):
    data = PowerSpherical(directions(m), kappa).sample((60,))
    weights = torch.rand(60, dtype=torch.float64)
    found = PowerSpherical.fit(data, weights)
    loc, concentration = power_spherical_by_scipy(data, weights)
    torch.testing.assert_close(found.loc, torch.from_numpy(loc), rtol=0, atol=1e-4)
    assert found.concentration.item() == pytest.approx(concentration, rel=1e-4)


@pytest.mark.parametrize("kappa", [5.0, 1e3, 1e6])
@pytest.mark.parametrize("m", [2, 3, 10, 128])
def test_power_spherical_parameters_are_recovered(m, kappa):
    """The log of kappa within 6 standard errors 1 / sqrt(n (m-1) / 2), and the bias: a new seed fails below 1e-6."""
    n, loc = 20_000, directions(m)
    found = PowerSpherical.fit(PowerSpherical(loc, kappa).sample((n,)))
    # The Fisher information of log kappa, kappa^2 (psi'(kappa + h) - psi'(kappa + 2h)), and of directions
    half = (m - 1) / 2
    information = kappa**2 * (polygamma(1, kappa + half) - polygamma(1, kappa + 2 * half))
    bias = (m - 1) / (2 * n * information)
    assert abs(math.log(found.concentration.item() / kappa) - bias) < 6 / math.sqrt(n * information) + bias
    assert found.loc @ loc > 1 - 10 * m / (n * kappa) * (1 + m / kappa)


def test_power_spherical_density_is_zero_opposite_a_point():
    """Opposite to the mean direction is a point of the data: the best direction lies at cos = 1/3 to it."""
    for m in (2, 3):
        data = torch.eye(m, dtype=torch.float64)[[0, 0, 0]] * torch.tensor([[1.0], [1.0], [-1.0]]).double()
        found = PowerSpherical.fit(data)
        assert found.loc[0].item() == pytest.approx(1 / 3)
        assert found.log_prob(data).isfinite().all()


def test_estimates_on_uniform_data_are_finite():
    for n in (1, 2, 3, 50):
        for m in (2, 5):
            law = PowerSpherical.fit(directions(n, m))
            assert law.concentration >= 0
            assert law.concentration.isfinite()


# --- bad input --------------------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 1), (2, 0, 3), ()])
def test_data_of_a_bad_shape(shape, family):
    message = r"data must have shape \(\.\.\., n, m\) with n >= 1 and m >= 2, got \(" + ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=message):
        family.fit(torch.ones(shape))


@families
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (np.eye(3), "ndarray"),
        ([[1.0, 0.0]], "list"),
        (torch.eye(3, dtype=torch.int64), r"a tensor of dtype torch\.int64"),
        (torch.eye(3, dtype=torch.complex64), r"a tensor of dtype torch\.complex64"),
    ],
    ids=["array", "list", "integers", "complex"],
)
def test_data_of_a_bad_type(data, kind, family):
    message = rf"data must be a floating-point tensor of unit vectors, shape \(\.\.\., n, m\), got {kind}"
    with pytest.raises(TypeError, match=message):
        family.fit(data)


@families
@pytest.mark.parametrize(
    ("weights", "kind"),
    [
        (np.ones(3), "ndarray"),
        ([1.0, 1.0, 1.0], "list"),
        (1.0, "float"),
        (torch.ones(3, dtype=torch.complex64), r"a tensor of dtype torch\.complex64"),
    ],
    ids=["array", "list", "number", "complex"],
)
def test_weights_of_a_bad_type(weights, kind, family):
    with pytest.raises(TypeError, match=rf"weights must be a real tensor of shape \(\.\.\., n\), got {kind}"):
        family.fit(torch.eye(3), weights)


@families
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "max_concentration must be positive and finite, got 0"),
        (-1.0, ValueError, "max_concentration must be positive and finite, got -1.0"),
        (math.inf, ValueError, "max_concentration must be positive and finite, got inf"),
        (math.nan, ValueError, "max_concentration must be positive and finite, got nan"),
        ("100", TypeError, "max_concentration must be a number, got '100' of type str"),
        (True, TypeError, "max_concentration must be a number, got True of type bool"),
    ],
)
def test_bad_largest_concentration(value, error, message, family):
    with pytest.raises(error, match=message):
        family.fit(torch.eye(3), max_concentration=value)


@families
@pytest.mark.parametrize(("row", "norm"), [([2.0, 0.0], "2"), ([0.0, 0.0], "0"), ([math.nan, 0.0], "nan")])
def test_data_off_the_sphere(row, norm, family):
    with pytest.raises(ValueError, match=f"data must be unit vectors, got a row of norm {norm}"):
        family.fit(torch.tensor([[1.0, 0.0], row, [0.0, 1.0]]))


@families
@pytest.mark.parametrize("shape", [(2,), (3, 1), (), (3, 2)])
def test_weights_of_a_bad_shape(shape, family):
    with pytest.raises(ValueError, match=r"weights must have shape \(\.\.\., 3\), one per row of data, .*, got \("):
        family.fit(torch.eye(3), torch.ones(shape))


def test_weights_whose_batch_does_not_fit():
    with pytest.raises(ValueError, match=r"with a batch that broadcasts with \(2,\), got \(5, 3\)"):
        VonMisesFisher.fit(torch.eye(3).expand(2, 3, 3), torch.ones(5, 3))


@families
@pytest.mark.parametrize("weights", [[1.0, -1e-3, 1.0], [0.0, 0.0, 0.0], [1.0, math.nan, 1.0], [1.0, math.inf, 1.0]])
def test_bad_weights(weights, family):
    with pytest.raises(ValueError, match="weights must be non-negative, finite and not all zero, got sum"):
        family.fit(torch.eye(3), torch.tensor(weights))
    with pytest.raises(ValueError, match="weights must be non-negative, finite and not all zero, got sum"):
        family.fit(torch.eye(3), torch.tensor([weights, weights]))
