"""VonMisesFisher.fit."""

import math

import pytest
import torch
from torch import Tensor

from hvae_tutorial.distributions import VonMisesFisher
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


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 1), (2, 3, 4), ()])
def test_data_of_a_bad_shape(shape):
    message = r"data must have shape \(n, m\) with n >= 1 and m >= 2, got \(" + ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=message):
        VonMisesFisher.fit(torch.ones(shape))


@pytest.mark.parametrize(("row", "norm"), [([2.0, 0.0], "2"), ([0.0, 0.0], "0"), ([math.nan, 0.0], "nan")])
def test_data_off_the_sphere(row, norm):
    with pytest.raises(ValueError, match=f"data must be unit vectors, got a row of norm {norm}"):
        VonMisesFisher.fit(torch.tensor([[1.0, 0.0], row, [0.0, 1.0]]))


@pytest.mark.parametrize("shape", [(2,), (3, 1), (), (3, 3)])
def test_weights_of_a_bad_shape(shape):
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\), one per row of data, got \("):
        VonMisesFisher.fit(torch.eye(3), torch.ones(shape))


@pytest.mark.parametrize("weights", [[1.0, -1e-3, 1.0], [0.0, 0.0, 0.0], [1.0, math.nan, 1.0], [1.0, math.inf, 1.0]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="weights must be non-negative, finite and not all zero, got sum"):
        VonMisesFisher.fit(torch.eye(3), torch.tensor(weights))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_equal_data_have_no_finite_estimate(dtype):
    points = [torch.eye(3, dtype=dtype)[0], *directions(20, 3, dtype=dtype), *directions(20, 41, dtype=dtype)]
    for point in points:
        for n in (1, 2, 7):
            with pytest.raises(ValueError, match="data must not all be equal"):
                VonMisesFisher.fit(point.expand(n, -1))


def test_data_that_are_equal_where_they_have_weight():
    with pytest.raises(ValueError, match="data must not all be equal"):
        VonMisesFisher.fit(torch.eye(3), torch.tensor([0.0, 1.0, 0.0]))
