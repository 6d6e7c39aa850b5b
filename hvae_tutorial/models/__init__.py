"""Models: the VAE, its posterior heads and its likelihoods; M2 and M1+M2 for semi-supervised learning."""

from hvae_tutorial.models.likelihoods import BernoulliLikelihood, GaussianLikelihood, Likelihood
from hvae_tutorial.models.m2 import M1M2, M2, ClassTerms, LatentLikelihood, StackedM1M2, mlp_m1m2, mlp_m2
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
    "M1M2",
    "M2",
    "VAE",
    "BernoulliLikelihood",
    "ClassTerms",
    "DeterministicPosterior",
    "GaussianLikelihood",
    "GaussianPosterior",
    "LatentLikelihood",
    "Likelihood",
    "PointMass",
    "Posterior",
    "PowerSphericalPosterior",
    "ProductPosterior",
    "StackedM1M2",
    "VonMisesFisherPosterior",
    "mlp_m1m2",
    "mlp_m2",
    "mlp_vae",
]
