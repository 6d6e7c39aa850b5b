"""Kullback-Leibler divergences between laws of this package, registered with `torch.distributions.kl_divergence`."""

import torch
from torch import Tensor
from torch.distributions import kl_divergence, register_kl

from hvae_tutorial import special
from hvae_tutorial.distributions.hyperspherical_uniform import HypersphericalUniform
from hvae_tutorial.distributions.power_spherical import PowerSpherical
from hvae_tutorial.distributions.product import Product, total
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric, broadcast_shapes, expand_to
from hvae_tutorial.distributions.von_mises_fisher import VonMisesFisher

__all__: list[str] = []

_Law = HypersphericalUniform | RotationallySymmetric


def _joint_batch_shape(p: _Law, q: _Law) -> torch.Size:
    if p.event_shape != q.event_shape:
        raise ValueError(f"p and q must live on the same sphere, got m = {p.event_shape[0]} and m = {q.event_shape[0]}")
    return broadcast_shapes(p.batch_shape, q.batch_shape)


@register_kl(VonMisesFisher, HypersphericalUniform)
@register_kl(PowerSpherical, HypersphericalUniform)
def _kl_to_uniform(p: VonMisesFisher | PowerSpherical, q: HypersphericalUniform) -> Tensor:
    """Davidson et al. 2018, equation 8; De Cao and Aziz 2020, section 3.3."""
    return expand_to(p.kl_to_uniform(), _joint_batch_shape(p, q))


@register_kl(HypersphericalUniform, HypersphericalUniform)
def _kl_uniform_uniform(p: HypersphericalUniform, q: HypersphericalUniform) -> Tensor:
    return torch.zeros(_joint_batch_shape(p, q), dtype=p.dtype, device=p.device)


@register_kl(HypersphericalUniform, VonMisesFisher)
def _kl_uniform_von_mises_fisher(p: HypersphericalUniform, q: VonMisesFisher) -> Tensor:
    """The mean of ``mu . z`` is zero under the uniform law, which leaves phi."""
    return special.log_partition(q.concentration, q.m).expand(_joint_batch_shape(p, q))


@register_kl(VonMisesFisher, VonMisesFisher)
def _kl_von_mises_fisher(p: VonMisesFisher, q: VonMisesFisher) -> Tensor:
    r"""Bregman divergence of phi: ``phi(k2) - phi(k1) + A(k1) (k1 - k2 mu1.mu2)``.

    Written as ``[phi(k2) - phi(k1) - A(k1) (k2 - k1)] + A(k1) k2 |mu1 - mu2|^2 / 2``, a sum of two non-negative terms,
    the first with the complements ``k - phi`` and ``1 - A``, which stay small for large concentrations.
    """
    shape, m = _joint_batch_shape(p, q), p.m
    k1, k2 = special.widen(p.concentration), special.widen(q.concentration)
    radial = (
        special.log_partition_complement(k1, m)
        - special.log_partition_complement(k2, m)
        + special.mean_resultant_length_complement(k1, m) * (k2 - k1)
    )
    distance2 = (special.widen(p.loc) - special.widen(q.loc)).square().sum(-1)
    angular = special.mean_resultant_length(k1, m) * k2 * distance2 / 2
    dtype = torch.promote_types(p.concentration.dtype, q.concentration.dtype)
    return (radial.clamp(min=0) + angular).to(dtype).expand(shape)


@register_kl(Product, Product)
def _kl_product_product(p: Product, q: Product) -> Tensor:
    """The log densities of independent parts add, and so do their divergences."""
    if p.sizes != q.sizes:
        raise ValueError(f"p and q must have parts of the same sizes, got {p.sizes} and {q.sizes}")
    return total(kl_divergence(one, other) for one, other in zip(p.parts, q.parts, strict=True))
