"""Distributions on the unit sphere and on products, with the interface of `torch.distributions`."""

from hvae_tutorial.distributions import divergences, transforms  # noqa: F401  (importing them registers what they hold)
from hvae_tutorial.distributions.hyperspherical_uniform import HypersphericalUniform
from hvae_tutorial.distributions.power_spherical import PowerSpherical
from hvae_tutorial.distributions.product import Product
from hvae_tutorial.distributions.spherical_cauchy import SphericalCauchy
from hvae_tutorial.distributions.von_mises_fisher import VonMisesFisher

__all__ = ["HypersphericalUniform", "PowerSpherical", "Product", "SphericalCauchy", "VonMisesFisher"]
