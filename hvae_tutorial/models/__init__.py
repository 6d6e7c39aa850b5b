"""Models: the VAE, its posterior heads and its likelihoods."""

from hvae_tutorial.models.likelihoods import BernoulliLikelihood, GaussianLikelihood, Likelihood
from hvae_tutorial.models.posteriors import (
    DeterministicPosterior,
    GaussianPosterior,
    PointMass,
    Posterior,
    PowerSphericalPosterior,
    ProductPosterior,
    VonMisesFisherPosterior,
)
from hvae_tutorial.models.vae import VAE, mlp_vae

__all__ = [
    "VAE",
    "BernoulliLikelihood",
    "DeterministicPosterior",
    "GaussianLikelihood",
    "GaussianPosterior",
    "Likelihood",
    "PointMass",
    "Posterior",
    "PowerSphericalPosterior",
    "ProductPosterior",
    "VonMisesFisherPosterior",
    "mlp_vae",
]
