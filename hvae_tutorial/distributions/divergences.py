"""Kullback-Leibler divergences between laws of this package, registered with `torch.distributions.kl_divergence`."""

import torch
from torch import Tensor
from torch.distributions import kl_divergence, register_kl

from hvae_tutorial import special
from hvae_tutorial.distributions import _moebius
from hvae_tutorial.distributions._appell import power_spherical_log_mean
from hvae_tutorial.distributions._laplace import von_mises_fisher_log_mean
from hvae_tutorial.distributions._logarithm import power_spherical_excess, von_mises_fisher_mean
from hvae_tutorial.distributions.hyperspherical_uniform import HypersphericalUniform
from hvae_tutorial.distributions.power_spherical import PowerSpherical
from hvae_tutorial.distributions.product import Product, total
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric, broadcast_shapes, expand_to
from hvae_tutorial.distributions.spherical_cauchy import SphericalCauchy
from hvae_tutorial.distributions.von_mises_fisher import VonMisesFisher

__all__: list[str] = []

_Law = HypersphericalUniform | RotationallySymmetric


def _joint_batch_shape(p: _Law, q: _Law) -> torch.Size:
    if p.event_shape != q.event_shape:
        raise ValueError(f"p and q must live on the same sphere, got m = {p.event_shape[0]} and m = {q.event_shape[0]}")
    return broadcast_shapes(p.batch_shape, q.batch_shape)


@register_kl(VonMisesFisher, HypersphericalUniform)
@register_kl(PowerSpherical, HypersphericalUniform)
@register_kl(SphericalCauchy, HypersphericalUniform)
def _kl_to_uniform(p: VonMisesFisher | PowerSpherical | SphericalCauchy, q: HypersphericalUniform) -> Tensor:
    """Davidson et al. 2018, equation 8; De Cao and Aziz 2020, section 3.3; for the third see its `kl_to_uniform`."""
    return expand_to(p.kl_to_uniform(), _joint_batch_shape(p, q))


def _joint_dtype(p: RotationallySymmetric, q: RotationallySymmetric) -> torch.dtype:
    return torch.promote_types(p.concentration.dtype, q.concentration.dtype)


def _half_angle(p: RotationallySymmetric, q: RotationallySymmetric) -> Tensor:
    """Squared sine of half the angle between the mean directions, in float64: exact where it is near zero."""
    mu1, mu2 = special.widen(p.loc), special.widen(q.loc)
    difference2, sum2 = (mu1 - mu2).square().sum(-1), (mu1 + mu2).square().sum(-1)
    return difference2 / (difference2 + sum2)  # the sum is 4, up to the rounding of the norms


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
    return expand_to((radial.clamp(min=0) + angular).to(_joint_dtype(p, q)), shape)


@register_kl(HypersphericalUniform, PowerSpherical)
def _kl_uniform_power_spherical(p: HypersphericalUniform, q: PowerSpherical) -> Tensor:
    """``b(kappa) - kappa b'(0)`` with ``b`` the log normaliser of q relative to the uniform law; always finite."""
    divergence = q._bregman_from(torch.zeros_like(q._kappa))
    return expand_to(divergence.to(q.concentration.dtype), _joint_batch_shape(p, q))


@register_kl(PowerSpherical, PowerSpherical)
def _kl_power_spherical(p: PowerSpherical, q: PowerSpherical) -> Tensor:
    r"""``[b(k2) - b(k1) - b'(k1) (k2 - k1)] + k2 E_p[log(1 + mu1.z) - log(1 + mu2.z)]``.

    Both terms are non-negative and vanish for equal laws. The first is the Bregman divergence of the log normaliser b
    (a ratio of Gamma functions), the second one integral, see `hvae_tutorial.distributions._logarithm`. The divergence
    is finite for any two directions: the density of q is zero at one point, to a power whose logarithm has a mean.
    """
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    k1, k2 = p._kappa, q._kappa
    radial = q._bregman_from(k1)
    angular = k2 * power_spherical_excess(k1, sine2, p.m)
    return expand_to((radial + angular).to(_joint_dtype(p, q)), shape)


@register_kl(VonMisesFisher, PowerSpherical)
def _kl_von_mises_fisher_power_spherical(p: VonMisesFisher, q: PowerSpherical) -> Tensor:
    r"""``KL(p || uniform) + b(k2) - k2 E_p[log((1 + mu2.z) / 2)]``.

    The mean is one integral, see `hvae_tutorial.distributions._logarithm`; always finite, as for two Power Spherical
    laws.
    """
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    k1, k2 = special.widen(p.concentration), q._kappa
    mean_log = von_mises_fisher_mean(k1, sine2, p.m)
    divergence = (special.kl_to_uniform(k1, p.m) + q._log_partition() + k2 * mean_log).clamp(min=0)
    return expand_to(divergence.to(_joint_dtype(p, q)), shape)


@register_kl(PowerSpherical, VonMisesFisher)
def _kl_power_spherical_von_mises_fisher(p: PowerSpherical, q: VonMisesFisher) -> Tensor:
    r"""``KL(p || uniform) + phi(k2) - k2 A1 mu1.mu2`` with A1 the mean resultant length of p.

    Written as ``KL(p || uniform) - (k2 - phi(k2)) + k2 [(1 - A1) + A1 |mu1 - mu2|^2 / 2]``, without large numbers that
    cancel.
    """
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    k1, k2 = p._kappa, special.widen(q.concentration)
    # 1 - A1 mu1.mu2 in one fraction: A1 = k1 / (k1 + m - 1)
    distance = (p.m - 1 + 2 * k1 * sine2) / (k1 + p.m - 1)
    divergence = p._wide_kl_to_uniform() - special.log_partition_complement(k2, p.m) + k2 * distance
    return expand_to(divergence.clamp(min=0).to(_joint_dtype(p, q)), shape)


@register_kl(HypersphericalUniform, SphericalCauchy)
def _kl_uniform_spherical_cauchy(p: HypersphericalUniform, q: SphericalCauchy) -> Tensor:
    """The same in both directions: the inverse of a Moebius map moves the centre of the ball as far."""
    return expand_to(q.kl_to_uniform(), _joint_batch_shape(p, q))


@register_kl(SphericalCauchy, SphericalCauchy)
def _kl_spherical_cauchy(p: SphericalCauchy, q: SphericalCauchy) -> Tensor:
    r"""A function of the hyperbolic distance ``delta`` between the laws alone, hence symmetric.

    The Moebius map that makes p uniform takes q to a law at this distance from the centre, and changes no divergence.
    By the law of cosines of hyperbolic geometry, in the form in which nothing cancels,

    $$\sinh^2\tfrac\delta2 = \sinh^2\frac{\zeta_1 - \zeta_2}2
      + \sinh\zeta_1 \sinh\zeta_2\, \frac{1 - \mu_1 \cdot \mu_2}2 .$$
    """
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    zeta1, zeta2 = p._zeta, q._zeta
    half = torch.sinh((zeta1 - zeta2) / 2).square() + torch.sinh(zeta1) * torch.sinh(zeta2) * sine2
    divergence = (p.m - 1) * _moebius.mean_log(4 * half * (1 + half), p.m, torch.float64)
    return expand_to(divergence.to(_joint_dtype(p, q)), shape)


@register_kl(SphericalCauchy, VonMisesFisher)
def _kl_spherical_cauchy_von_mises_fisher(p: SphericalCauchy, q: VonMisesFisher) -> Tensor:
    """``KL(p || uniform) - (k2 - phi(k2)) + k2 [(1 - A1) + A1 |mu1 - mu2|^2 / 2]`` with A1 the mean of ``mu1.z``."""
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    k2 = special.widen(q.concentration)
    distance = p._wide_complement() + 2 * _moebius.mean_resultant_length(p._kappa, p.m) * sine2
    divergence = p._wide_kl_to_uniform() - special.log_partition_complement(k2, p.m) + k2 * distance
    return expand_to(divergence.clamp(min=0).to(_joint_dtype(p, q)), shape)


@register_kl(SphericalCauchy, PowerSpherical)
def _kl_spherical_cauchy_power_spherical(p: SphericalCauchy, q: PowerSpherical) -> Tensor:
    r"""``KL(p || uniform) + b(k2) - k2 E_p[log((1 + mu2.z) / 2)]``, always finite.

    The Moebius map of p changes ``1 + mu2.z`` by factors, of which the mean of the logarithm is known:
    ``E log(1 + mu2.z) = E log(1 + mu1.z) + log(1 - s + s e^(-2 zeta))`` with ``s = (1 - mu1.mu2) / 2``.
    """
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    k1, k2 = p._kappa, q._kappa
    mean_log = _moebius.mean_softplus(k1, p.m) - torch.log1p(sine2 * torch.expm1(-2 * p._zeta))
    divergence = p._wide_kl_to_uniform() + q._log_partition() + k2 * mean_log
    return expand_to(divergence.clamp(min=0).to(_joint_dtype(p, q)), shape)


@register_kl(VonMisesFisher, SphericalCauchy)
def _kl_von_mises_fisher_spherical_cauchy(p: VonMisesFisher, q: SphericalCauchy) -> Tensor:
    r"""``KL(p || uniform) + (m - 1) (E_p[log(1 + beta (1 - mu2.z))] - zeta2)``, ``beta = (e^(2 zeta2) - 1) / 2``.

    The mean is one integral, see `hvae_tutorial.distributions._laplace`.
    """
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    k1, zeta2 = special.widen(p.concentration), q._zeta
    mean_log = von_mises_fisher_log_mean(k1, sine2, torch.expm1(2 * zeta2) / 2, p.m)
    divergence = special.kl_to_uniform(k1, p.m) + (p.m - 1) * (mean_log - zeta2)
    return expand_to(divergence.clamp(min=0).to(_joint_dtype(p, q)), shape)


@register_kl(PowerSpherical, SphericalCauchy)
def _kl_power_spherical_spherical_cauchy(p: PowerSpherical, q: SphericalCauchy) -> Tensor:
    r"""``KL(p || uniform) + (m - 1) (E_p[log(1 + beta (1 - mu2.z))] - zeta2)``, ``beta = (e^(2 zeta2) - 1) / 2``.

    The mean is one integral, see `hvae_tutorial.distributions._appell`.
    """
    shape, sine2 = _joint_batch_shape(p, q), _half_angle(p, q)
    zeta2 = q._zeta
    mean_log = power_spherical_log_mean(p._kappa, sine2, torch.expm1(2 * zeta2), p.m)
    divergence = p._wide_kl_to_uniform() + (p.m - 1) * (mean_log - zeta2)
    return expand_to(divergence.clamp(min=0).to(_joint_dtype(p, q)), shape)


@register_kl(Product, Product)
def _kl_product_product(p: Product, q: Product) -> Tensor:
    """The log densities of independent parts add, and so do their divergences."""
    if p.sizes != q.sizes:
        raise ValueError(f"p and q must have parts of the same sizes, got {p.sizes} and {q.sizes}")
    return total(kl_divergence(one, other) for one, other in zip(p.parts, q.parts, strict=True))
