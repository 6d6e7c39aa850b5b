"""How a trained model is measured."""

import pytest
import torch

from hvae_tutorial.experiments import protocol
from hvae_tutorial.experiments.knn import knn_accuracies
from hvae_tutorial.experiments.protocol import elbo_terms, latent_means, log_likelihood, measure_vae
from hvae_tutorial.models import (
    VAE,
    BernoulliLikelihood,
    GaussianPosterior,
    ProductPosterior,
    VonMisesFisherPosterior,
    mlp_product_vae,
    mlp_vae,
)
from hvae_tutorial.objectives import ElboTerms


def test_means_are_directions_on_a_sphere_and_means_in_the_plane():
    torch.manual_seed(0)
    x = torch.rand(20, 12)
    for kind in ("n", "ae"):
        model = mlp_vae(kind, 3, x_dim=12, hidden=(8,))
        assert torch.equal(latent_means(model, x), model.encode(x).mean)
    for kind in ("s", "ps"):
        model = mlp_vae(kind, 3, x_dim=12, hidden=(8,))
        expected = torch.nn.functional.normalize(model.encode(x).mean, dim=-1)  # the mean lies inside the ball
        torch.testing.assert_close(latent_means(model, x), expected)
        assert not latent_means(model, x).requires_grad


def test_means_of_a_product_are_taken_part_by_part():
    torch.manual_seed(0)
    x = torch.rand(20, 12)
    posterior = ProductPosterior(
        [VonMisesFisherPosterior(12, 2), GaussianPosterior(12, 2), VonMisesFisherPosterior(12, 1)]
    )
    model = VAE(torch.nn.Identity(), torch.nn.Linear(7, 12), posterior, BernoulliLikelihood(12))
    sphere, plane, circle = latent_means(model, x).split([3, 2, 2], dim=-1)
    torch.testing.assert_close(sphere.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(circle.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(plane, posterior.heads[1](x).mean)
    assert model.encode(x).mean[:, :3].norm(dim=-1).max() < 0.9  # a mean would not have been on the sphere


@pytest.mark.parametrize("d", [3, (2, 2)])
def test_a_model_is_measured(d):
    torch.manual_seed(0)
    build = mlp_vae if isinstance(d, int) else mlp_product_vae
    model = build("s", d, x_dim=12, hidden=(8,))
    x = torch.rand(60, 12).round()
    found = measure_vae(model, x, importance_samples=5)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"], abs=1e-4)
    assert found["elbo"] < found["log_likelihood"]["mean"] + 1
    assert set(elbo_terms(model, x)) == {"elbo", "reconstruction", "kl"}
    z, labels = latent_means(model, x).numpy(), (torch.arange(60) % 2).numpy()
    accuracies = knn_accuracies(z[:40], labels[:40], z[40:], labels[40:], metric=model.posterior.metric, labels=(20,))
    assert 0 <= accuracies["20"]["mean"] <= 1


def test_a_log_likelihood_has_the_standard_error_of_a_mean(monkeypatch):
    asked = []
    bound = torch.tensor([-1.0, -2.0, -3.0, -6.0])
    monkeypatch.setattr(protocol, "iwae_bound", lambda *arguments: (asked.append(arguments), bound)[1])
    found = log_likelihood("a model", "data", 7)
    assert asked == [("a model", "data", 7)]
    deviation = ((4 + 1 + 0 + 9) / 3) ** 0.5  # about the mean, -3
    assert found == {"mean": -3.0, "standard_error": pytest.approx(deviation / 2), "samples": 7}


def test_the_terms_are_means_over_points_and_passes(monkeypatch):
    passes = []

    def elbo(*_):
        passes.append(1)
        reconstruction, kl = torch.tensor([-1.0, -3.0]) * len(passes), torch.tensor([1.0, 2.0])
        return ElboTerms(reconstruction - kl, reconstruction, kl)

    monkeypatch.setattr(protocol, "elbo", elbo)
    found = elbo_terms("a model", "data")
    assert len(passes) == 10
    assert found == {"elbo": -12.5, "reconstruction": -11.0, "kl": 1.5}  # -2 times the mean of 1, ..., 10


def test_both_log_likelihoods_have_their_own_number_of_samples(monkeypatch):
    monkeypatch.setattr(protocol, "log_likelihood", lambda model, x, samples: {"mean": -1.0, "samples": samples})
    torch.manual_seed(0)
    found = measure_vae(mlp_vae("s", 2, x_dim=12, hidden=(8,)), torch.rand(5, 12).round(), importance_samples=33)
    assert found["log_likelihood"]["samples"] == 33
    assert found["log_likelihood_10"]["samples"] == 10
    assert found["mean_concentration"] >= 1
