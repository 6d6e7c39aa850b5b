"""The objectives of a VAE, against models whose log p(x) is known: by quadrature, or in closed form.

Statistical checks fix the seed and allow 4.5 standard errors: each fails by chance with probability 7e-6.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from hvae_tutorial.models import (
    VAE,
    BernoulliLikelihood,
    GaussianLikelihood,
    GaussianPosterior,
    PowerSphericalPosterior,
    ProductPosterior,
    VonMisesFisherPosterior,
    mlp_product_vae,
    mlp_vae,
)
from hvae_tutorial.objectives import elbo, iwae_bound, vae

STANDARD_ERRORS = 4.5


def assert_mean(samples: Tensor, expected: float) -> None:
    standard_error = samples.std().item() / len(samples) ** 0.5
    assert abs(samples.mean().item() - expected) < STANDARD_ERRORS * standard_error


# A model with one latent dimension, four pixels and everything linear


X = torch.tensor([[1.0, 0.0, 1.0, 1.0]], dtype=torch.float64)


def tiny_model(head) -> VAE:
    torch.manual_seed(1)
    posterior = head(4, 1)
    model = VAE(nn.Identity(), nn.Linear(posterior.ambient_dim, 4), posterior, BernoulliLikelihood(4)).double()
    nn.init.normal_(model.decoder.weight, std=1.5)
    nn.init.normal_(model.decoder.bias)
    return model


def grid(model: VAE) -> tuple[Tensor, float]:
    """Points of the latent space, (n, ambient_dim), and the trapezoidal rule's weight of each."""
    n = 2000
    if model.posterior.metric == "euclidean":
        return torch.linspace(-12, 12, n, dtype=torch.float64).unsqueeze(-1), 24 / (n - 1)
    angle = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    return torch.stack([angle.cos(), angle.sin()], dim=-1), 2 * math.pi / n


@torch.no_grad()
def log_evidence(model: VAE) -> float:
    """log p(x), integrated over the latent space with torch's own Bernoulli."""
    z, weight = grid(model)
    log_likelihood = Bernoulli(logits=model.decoder(z)).log_prob(X).sum(-1)
    log_prior = (
        Normal(0, 1).log_prob(z[:, 0]) if z.shape[-1] == 1 else torch.full((len(z),), -math.log(2 * math.pi)).double()
    )
    return (log_likelihood + log_prior).logsumexp(0).item() + math.log(weight)


@torch.no_grad()
def exact_terms(model: VAE) -> tuple[float, float]:
    """Reconstruction and KL terms, integrated over the latent space."""
    z, weight = grid(model)
    q = model.encode(X)
    log_q, log_p = q.log_prob(z), model.posterior.prior().log_prob(z)
    density = log_q.exp() * weight
    reconstruction = density * Bernoulli(logits=model.decoder(z)).log_prob(X).sum(-1)
    kl = torch.where(density > 0, density * (log_q - log_p), 0)
    return reconstruction.sum().item(), kl.sum().item()


# The power spherical density vanishes opposite its mean, so that its importance weights have no variance: a standard
# error says nothing about them.
WITH_VARIANCE = [GaussianPosterior, VonMisesFisherPosterior]


@pytest.mark.parametrize("head", [*WITH_VARIANCE, PowerSphericalPosterior])
def test_elbo_against_quadrature(head):
    model = tiny_model(head)
    reconstruction, kl = exact_terms(model)
    torch.manual_seed(0)
    terms = elbo(model, X.expand(20_000, -1))
    assert terms.kl[0].item() == pytest.approx(kl, rel=1e-6)
    assert_mean(terms.reconstruction.detach(), reconstruction)
    assert_mean(terms.elbo.detach(), reconstruction - kl)
    assert reconstruction - kl < log_evidence(model)


@pytest.mark.parametrize("head", WITH_VARIANCE)
@pytest.mark.parametrize("chunk", [vae.CHUNK_ELEMENTS, 8])  # 8: two draws of four pixels at a time
def test_fault_9_the_bound_uses_the_likelihood_of_training(head, chunk, monkeypatch):
    # exp(L_K) is an unbiased estimate of p(x), here integrated with torch's Bernoulli. With a Gaussian likelihood in
    # the weights, or a wrong area of the sphere in the prior, it would miss by a factor.
    monkeypatch.setattr(vae, "CHUNK_ELEMENTS", chunk)
    model = tiny_model(head)
    torch.manual_seed(0)
    for num_samples, replicates in ((1, 1000), (5, 200)):
        bound = iwae_bound(model, X.expand(replicates, -1), num_samples)
        assert_mean(bound.exp(), math.exp(log_evidence(model)))


@pytest.mark.parametrize("head", WITH_VARIANCE)
def test_the_bound_rises_to_the_evidence(head):
    model = tiny_model(head)
    evidence = log_evidence(model)
    torch.manual_seed(0)
    x = X.expand(4000, -1)
    one_sample = elbo(model, x).elbo.detach()
    bounds = [one_sample, *(iwae_bound(model, x, num_samples) for num_samples in (3, 30))]
    for lower, upper in itertools.pairwise(bounds):
        standard_error = (lower.var() + upper.var()).sqrt().item() / len(x) ** 0.5
        assert lower.mean() < upper.mean() - STANDARD_ERRORS * standard_error
    assert bounds[-1].mean() < evidence + STANDARD_ERRORS * bounds[-1].std() / len(x) ** 0.5
    many = iwae_bound(model, X.expand(20, -1), 20_000)
    assert many.mean().item() == pytest.approx(evidence, abs=0.01)


def test_the_bound_of_power_spherical_posteriors_rises_slowly():
    model = tiny_model(PowerSphericalPosterior)
    torch.manual_seed(0)
    means = [iwae_bound(model, X.expand(2000, -1), num_samples).mean().item() for num_samples in (1, 10, 100)]
    gaps = [log_evidence(model) - mean for mean in means]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.1


# The same on a product of a circle and a line


def test_elbo_and_bound_on_a_product_against_quadrature():
    torch.manual_seed(1)
    head = ProductPosterior([VonMisesFisherPosterior(4, 1), GaussianPosterior(4, 1)])
    model = VAE(nn.Identity(), nn.Linear(3, 4), head, BernoulliLikelihood(4)).double()
    nn.init.normal_(model.decoder.weight, std=1.5)
    nn.init.ones_(head.heads[1].raw_scale.bias)  # narrower than 0.7, a Gaussian has weights without a variance
    angle = torch.arange(100, dtype=torch.float64) * (2 * math.pi / 100)
    line = torch.linspace(-10, 10, 401, dtype=torch.float64)
    z = torch.stack(torch.broadcast_tensors(angle.cos()[:, None], angle.sin()[:, None], line), dim=-1)
    weight = 2 * math.pi / 100 * 20 / 400
    with torch.no_grad():
        q = model.encode(X)
        log_likelihood = Bernoulli(logits=model.decoder(z)).log_prob(X).sum(-1)
        log_prior = Normal(0, 1).log_prob(line) - math.log(2 * math.pi)
        evidence = (log_likelihood + log_prior).exp().sum().item() * weight
        density = q.log_prob(z).exp() * weight
        assert density.sum().item() == pytest.approx(1, rel=1e-6)
        reconstruction = (density * log_likelihood).sum().item()
        kl = (density * (q.log_prob(z) - log_prior)).sum().item()
    torch.manual_seed(0)
    terms = elbo(model, X.expand(20_000, -1))
    assert terms.kl[0].item() == pytest.approx(kl, rel=1e-6)
    assert_mean(terms.reconstruction.detach(), reconstruction)
    for num_samples, replicates in ((1, 1000), (5, 200)):
        assert_mean(iwae_bound(model, X.expand(replicates, -1), num_samples).exp(), evidence)
    assert iwae_bound(model, X, 100_000).item() == pytest.approx(math.log(evidence), abs=0.02)


# A linear model with Gaussian noise, for which the posterior is known


def model_with_exact_posterior() -> tuple[VAE, MultivariateNormal]:
    """A model whose head is its true posterior, and its p(x)."""
    torch.manual_seed(2)
    weight, bias, scale = torch.randn(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64), 0.7
    model = VAE(nn.Identity(), nn.Linear(1, 3), GaussianPosterior(3, 1), GaussianLikelihood(3)).double()
    variance = 1 / (1 + weight @ weight / scale**2)
    with torch.no_grad():
        model.decoder.weight.copy_(weight[:, None])
        model.decoder.bias.copy_(bias)
        model.likelihood.log_scale.fill_(math.log(scale))
        model.posterior.mean.weight.copy_(variance * weight / scale**2)
        model.posterior.mean.bias.copy_(-variance * weight @ bias / scale**2)
        model.posterior.raw_scale.weight.zero_()
        model.posterior.raw_scale.bias.copy_(variance.sqrt().expm1().log())  # the inverse of softplus
    covariance = weight[:, None] * weight + scale**2 * torch.eye(3, dtype=torch.float64)
    return model, MultivariateNormal(bias, covariance)


@pytest.mark.parametrize("chunk", [vae.CHUNK_ELEMENTS, 3, 1, 17, 60])
@pytest.mark.parametrize(("points", "num_samples"), [(1, 1), (5, 7), (40, 3), (3, 100)])
def test_with_the_exact_posterior_the_bound_is_the_evidence(chunk, points, num_samples, monkeypatch):
    # Every weight p(x, z) / q(z|x) is then p(x) itself: no chance, and any block cut wrongly shows.
    monkeypatch.setattr(vae, "CHUNK_ELEMENTS", chunk)
    model, evidence = model_with_exact_posterior()
    x = evidence.sample((points,))
    torch.testing.assert_close(iwae_bound(model, x, num_samples), evidence.log_prob(x), rtol=1e-12, atol=1e-12)


def test_with_the_exact_posterior_the_elbo_is_the_evidence():
    model, evidence = model_with_exact_posterior()
    x = evidence.sample((1,))
    torch.manual_seed(0)
    assert_mean(elbo(model, x.expand(20_000, -1)).elbo.detach(), evidence.log_prob(x).item())


# What the functions promise


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor made."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not function.is_view:
            self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.parametrize(("points", "num_samples"), [(500, 50), (2, 12_500), (25_000, 1)])
def test_the_bound_needs_bounded_memory(points, num_samples, monkeypatch):
    monkeypatch.setattr(vae, "CHUNK_ELEMENTS", 10_000)
    model = mlp_vae("n", 2, x_dim=20, hidden=(8,))
    with LargestTensor() as largest:
        iwae_bound(model, torch.rand(1, 20).expand(points, -1), num_samples)
    assert 5_000 < largest.elements <= max(10_000, points)  # in one piece it would be 500,000


@pytest.mark.parametrize(("kind", "d"), [("s", 3), ("n", 3), ("ps", 3), ("s", (1, 2)), ("n", (1, 2))])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_shapes_and_gradients(kind, d, likelihood):
    build = mlp_vae if isinstance(d, int) else mlp_product_vae
    model = build(kind, d, x_dim=12, hidden=(8,), likelihood=likelihood)
    x = torch.rand(5, 12)
    terms = elbo(model, x, beta=0.3)
    assert all(term.shape == (5,) for term in terms)
    torch.testing.assert_close(terms.elbo, terms.reconstruction - 0.3 * terms.kl)
    terms.elbo.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    bound = iwae_bound(model, x, 4)
    assert bound.shape == (5,)
    assert not bound.requires_grad


def test_beta_weighs_the_kl_term():
    model = mlp_vae("n", 3, x_dim=12, hidden=(8,))
    x = torch.rand(5, 12)
    values = []
    for beta in (0.0, 1.0, 4.0):
        torch.manual_seed(0)
        values.append(elbo(model, x, beta))
    for beta, terms in zip((0.0, 1.0, 4.0), values, strict=True):
        torch.testing.assert_close(terms.reconstruction, values[0].reconstruction)
        torch.testing.assert_close(terms.elbo, values[0].elbo - beta * terms.kl)


def test_an_autoencoder_is_trained_on_its_reconstructions():
    model = mlp_vae("ae", 3, x_dim=12, hidden=(8,))
    x = torch.rand(5, 12)
    terms = elbo(model, x)
    assert torch.equal(terms.elbo, terms.reconstruction)
    p = torch.sigmoid(model.decoder(model.posterior.mean(model.encoder(x))))
    torch.testing.assert_close(terms.reconstruction, -F.binary_cross_entropy(p, x, reduction="none").sum(-1))


def test_an_autoencoder_has_no_bound():
    with pytest.raises(NotImplementedError, match=r"autoencoder .* nor bound log p"):
        iwae_bound(mlp_vae("ae", 3, x_dim=12), torch.rand(5, 12), 4)


@pytest.mark.parametrize("num_samples", [0, -1, 2.5, True])
def test_num_samples_must_be_a_positive_integer(num_samples):
    with pytest.raises(ValueError, match=f"num_samples must be an integer >= 1, got {num_samples}"):
        iwae_bound(mlp_vae("n", 3, x_dim=12), torch.rand(5, 12), num_samples)


def test_num_samples_may_be_of_numpy():
    model, x = mlp_vae("n", 3, x_dim=12), torch.rand(5, 12).round()
    torch.manual_seed(0)
    expected = iwae_bound(model, x, 7)
    torch.manual_seed(0)
    assert torch.equal(iwae_bound(model, x, np.int64(7)), expected)


def test_x_of_a_wrong_shape():
    model = mlp_vae("n", 3, x_dim=12)
    with pytest.raises(ValueError, match=r"x must have shape \(batch, 12\), got \(5, 13\)"):
        elbo(model, torch.rand(5, 13))
    with pytest.raises(ValueError, match=r"x must have shape \(batch, 12\), got \(5, 13\)"):
        iwae_bound(model, torch.rand(5, 13), 3)
