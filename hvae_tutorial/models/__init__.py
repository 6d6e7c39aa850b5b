"""Models: the VAE, its posterior heads and its likelihoods; M2 and M1+M2 for classes; the VGAE for graphs."""

from hvae_tutorial.models.likelihoods import BernoulliLikelihood, GaussianLikelihood, Likelihood
from hvae_tutorial.models.m2 import M1M2, M2, ClassTerms, LatentLikelihood, StackedM1M2, mlp_m1m2, mlp_m2
from hvae_tutorial.models.posteriors import (
    DeterministicPosterior,
    GaussianPosterior,
    PointMass,
    Posterior,
    PowerSphericalPosterior,
    ProductPosterior,
    SphericalCauchyPosterior,
    VonMisesFisherPosterior,
)
from hvae_tutorial.models.vae import VAE, mlp_product_vae, mlp_vae
from hvae_tutorial.models.vgae import VGAE, InnerProductDecoder, gcn_vgae, normalized_adjacency

__all__ = [
    "M1M2",
    "M2",
    "VAE",
    "VGAE",
    "BernoulliLikelihood",
    "ClassTerms",
    "DeterministicPosterior",
    "GaussianLikelihood",
    "GaussianPosterior",
    "InnerProductDecoder",
    "LatentLikelihood",
    "Likelihood",
    "PointMass",
    "Posterior",
    "PowerSphericalPosterior",
    "ProductPosterior",
    "SphericalCauchyPosterior",
    "StackedM1M2",
    "VonMisesFisherPosterior",
    "gcn_vgae",
    "mlp_m1m2",
    "mlp_m2",
    "mlp_product_vae",
    "mlp_vae",
    "normalized_adjacency",
]
