"""How a trained model is measured."""

import pytest
import torch

from hvae_tutorial.experiments.knn import knn_accuracies
from hvae_tutorial.experiments.protocol import elbo_terms, latent_means, measure_vae
from hvae_tutorial.models import (
    VAE,
    BernoulliLikelihood,
    GaussianPosterior,
    ProductPosterior,
    VonMisesFisherPosterior,
    mlp_vae,
)


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
    model = mlp_vae("s", d, x_dim=12, hidden=(8,))
    x = torch.rand(60, 12).round()
    found = measure_vae(model, x, importance_samples=5)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"], abs=1e-4)
    assert found["elbo"] < found["log_likelihood"]["mean"] + 1
    assert set(elbo_terms(model, x)) == {"elbo", "reconstruction", "kl"}
    z, labels = latent_means(model, x).numpy(), (torch.arange(60) % 2).numpy()
    accuracies = knn_accuracies(z[:40], labels[:40], z[40:], labels[40:], metric=model.posterior.metric, labels=(20,))
    assert 0 <= accuracies["20"]["mean"] <= 1
