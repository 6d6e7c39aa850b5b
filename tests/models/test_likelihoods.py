"""`log_prob` of a likelihood is that of the distribution it returns, for logits and noise of any size."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from hvae_tutorial.models import BernoulliLikelihood, GaussianLikelihood


def test_bernoulli_log_prob_is_torchs():
    torch.manual_seed(0)
    likelihood = BernoulliLikelihood(50)
    logits = 10 * torch.randn(7, 50, dtype=torch.float64)
    x = torch.bernoulli(torch.full((7, 50), 0.4, dtype=torch.float64))
    expected = Bernoulli(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(x, logits), expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(likelihood(logits).log_prob(x), expected, rtol=1e-14, atol=0)
    assert likelihood(logits).event_shape == (50,)


def test_bernoulli_log_prob_at_extreme_logits():
    logits = torch.tensor([[-1e4, 1e4, -25.0, 25.0]], dtype=torch.float64, requires_grad=True)
    likelihood = BernoulliLikelihood(4)
    right = likelihood.log_prob(torch.tensor([[0.0, 1.0, 0.0, 0.0]]).double(), logits)
    assert right.item() == pytest.approx(-25)
    wrong = likelihood.log_prob(torch.tensor([[1.0, 0.0, 1.0, 0.0]]).double(), logits)
    assert wrong.item() == pytest.approx(-2e4 - 50)
    (right + wrong).backward()
    assert logits.grad.isfinite().all()


def test_bernoulli_log_prob_keeps_the_last_digits():
    # Beyond a logit of 20 F.softplus is linear, and would lose the e^-25 that is left of a correct pixel.
    log_prob = BernoulliLikelihood(1).log_prob(torch.zeros(1, 1).double(), torch.full((1, 1), -25.0).double())
    assert log_prob.item() == pytest.approx(-math.exp(-25), rel=1e-9)
    log_prob = BernoulliLikelihood(1).log_prob(torch.zeros(1, 1).double(), torch.full((1, 1), 25.0).double())
    assert log_prob.item() + 25 == pytest.approx(-math.exp(-25), rel=1e-3)


def test_bernoulli_gradient_is_x_minus_the_mean():
    logits = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    x = torch.rand(3, 6, dtype=torch.float64)  # grey values are allowed
    BernoulliLikelihood(6).log_prob(x, logits).sum().backward()
    torch.testing.assert_close(logits.grad, x - torch.sigmoid(logits.detach()))


def test_grey_values_stand_for_the_mean_over_drawn_pixels():
    logits = torch.randn(1, 3, dtype=torch.float64)
    grey = torch.tensor([[0.2, 0.5, 0.9]], dtype=torch.float64)
    likelihood = BernoulliLikelihood(3)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    weights = (corners * grey + (1 - corners) * (1 - grey)).prod(-1)
    mean = (weights * likelihood.log_prob(corners, logits)).sum()
    torch.testing.assert_close(likelihood.log_prob(grey, logits).squeeze(), mean)


@pytest.mark.parametrize("log_scale", [-2.0, 0.0, 1.5])
def test_gaussian_log_prob_is_torchs(log_scale):
    likelihood = GaussianLikelihood(5).double()
    torch.nn.init.constant_(likelihood.log_scale, log_scale)
    x, output = torch.randn(2, 4, 5, dtype=torch.float64).unbind()
    expected = Normal(output, math.exp(log_scale)).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(x, output), expected)
    torch.testing.assert_close(likelihood(output).log_prob(x), expected)
    torch.testing.assert_close(likelihood(output).mean, output)


def test_the_gaussian_scale_is_learned():
    # The maximum-likelihood scale is the root mean square of the residuals: there the gradient is zero.
    likelihood = GaussianLikelihood(5).double()
    residual = torch.randn(1000, 5, dtype=torch.float64)
    with torch.no_grad():
        likelihood.log_scale.copy_(residual.square().mean().sqrt().log())
    likelihood.log_prob(residual, torch.zeros_like(residual)).sum().backward()
    assert likelihood.log_scale.grad.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("likelihood_class", [BernoulliLikelihood, GaussianLikelihood])
def test_x_broadcasts_against_many_outputs(likelihood_class):
    likelihood = likelihood_class(6)
    x, outputs = torch.rand(4, 6), torch.randn(3, 4, 6)
    expected = torch.stack([likelihood.log_prob(x, output) for output in outputs])
    torch.testing.assert_close(likelihood.log_prob(x, outputs), expected)


@pytest.mark.parametrize("likelihood_class", [BernoulliLikelihood, GaussianLikelihood])
@pytest.mark.parametrize("x_dim", [0, -3, 1.5])
def test_x_dim_must_be_a_positive_integer(likelihood_class, x_dim):
    with pytest.raises(ValueError, match=f"x_dim must be an integer >= 1, got {x_dim!r}"):
        likelihood_class(x_dim)
