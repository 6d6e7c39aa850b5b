"""The spherical Cauchy law."""

import math

import torch
from torch import Tensor

from hvae_tutorial import special
from hvae_tutorial.distributions import _moebius
from hvae_tutorial.distributions._maximum_likelihood import WeightedPoints
from hvae_tutorial.distributions._moebius_likelihood import spherical_cauchy_estimate
from hvae_tutorial.distributions._sampling import envelope_sample
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric
from hvae_tutorial.sphere import log_surface_area

__all__ = ["SphericalCauchy"]


class SphericalCauchy(RotationallySymmetric):
    r"""Spherical Cauchy law on the unit sphere S^(m-1) of R^m (Kato and McCullagh 2020, equation 2).

    $$p(z) = \frac{1}{S_m} \Bigl(\frac{\sqrt{1 - x_0^2}}{1 - x_0\, \mu \cdot z}\Bigr)^{m-1},\qquad
      x_0 = \frac{2\kappa}{m-1 + \sqrt{(m-1)^2 + 4\kappa^2}}$$

    Their parameter is ``rho`` with ``x0 = 2 rho / (1 + rho^2)``. Here ``x0`` is Wood's constant of the von Mises-Fisher
    law with the same concentration, of which this is the envelope: that law is drawn by drawing from this one, and
    keeping each draw with a probability that is at least 0.65. At equal, large ``kappa`` the median of ``1 - mu.z`` is
    ``(m - 1) / (2 kappa)``, the mean of the von Mises-Fisher law's, but far from the mean direction the density
    falls off like a power of the distance. ``kappa = 0`` is the uniform law.

    A Moebius map makes it of the uniform law: it is drawn without rejection, and all first gradients are exact.

    Its maximum likelihood (`fit`) is the law whose Moebius map, inverted, takes the data to mean zero (Kato and
    McCullagh 2020, section 4), by Newton's method in hyperbolic space, where the likelihood is concave. It has no
    maximum where half of the weight or more lies at one point, and the concentration is then the largest allowed; by
    default that at which the median distance to ``mu`` is the resolution of the data's dtype.

    Args:
        loc: Mean direction ``mu``, unit vectors of shape (..., m), m at least 2. Where it and concentration differ in
            dtype, the parameters have the wider type, and loc, rounded to either, is normalised in it.
        concentration: ``kappa``, finite and at least 0, shape (...) without a trailing axis, broadcast against the
            batch of loc; or a number.
        validate_args: As in `torch.distributions.Distribution`. Unvalidated, a concentration that is negative or NaN
            gives NaN everywhere.

    Raises:
        TypeError: loc is not a floating-point tensor, or concentration is neither a real tensor nor a number.
        ValueError: the shapes do not fit; concentration has the shape of loc's batch and an axis of size one more; or
            (validated) loc is not of unit norm or concentration is negative, infinite or NaN.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.distributions import SphericalCauchy
        >>> law = SphericalCauchy(torch.tensor([1.0, 0.0, 0.0]), 4.0)
        >>> law.rsample((2,)).shape
        torch.Size([2, 3])
        >>> round(law.kl_to_uniform().item(), 4)
        0.6829
    """

    @property
    def _kappa(self) -> Tensor:
        return special.widen(self.concentration)

    @property
    def _zeta(self) -> Tensor:
        """The rapidity in float64, see `hvae_tutorial.distributions._moebius`."""
        return _moebius.rapidity(self._kappa, self.m)

    @property
    def mean_resultant_length(self) -> Tensor:
        """Mean of ``mu . z`` in [0, 1), shape (...)."""
        return _moebius.mean_resultant_length(self._kappa, self.m).to(self.concentration.dtype)

    @property
    def mean_resultant_length_complement(self) -> Tensor:
        """Mean of ``1 - mu . z`` without cancellation, shape (...)."""
        return self._wide_complement().to(self.concentration.dtype)

    def _wide_complement(self) -> Tensor:
        near, far, weights = _moebius.complements(self._kappa, self.m)
        return (near + far) @ weights / 2

    @property
    def projection_variance(self) -> Tensor:
        """Variance of ``mu . z``, shape (...)."""
        near, far, weights = _moebius.complements(self._kappa, self.m)
        mean = ((near + far) @ weights / 2).unsqueeze(-1)
        variance = ((near - mean).square() + (far - mean).square()) @ weights / 2
        return variance.to(self.concentration.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log density with respect to surface area, in nats.

        Evaluated as ``(m - 1) (zeta - log(1 + (e^(2 zeta) - 1) |z - mu|^2 / 4)) - log S_m`` with ``x0 = tanh(zeta)``,
        which keeps its accuracy for large kappa; off the sphere this differs from the formula above.

        Args:
            value: Unit vectors, shape (..., m), broadcast against the batch; rounded to a narrower dtype than that of
                the law, they are normalised in the law's.

        Returns:
            Log densities of the broadcast shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        distance2 = self._squared_distance(value)
        zeta = self._zeta
        factor = (torch.expm1(2 * zeta) / 4).to(distance2.dtype)
        log_density = (self.m - 1) * (zeta.to(distance2.dtype) - torch.log1p(factor * distance2))
        return (log_density - log_surface_area(self.m)).to(torch.promote_types(value.dtype, self.loc.dtype))

    def entropy(self) -> Tensor:
        """Differential entropy ``log S_m - KL(spherical Cauchy || uniform)`` in nats, shape (...)."""
        return (log_surface_area(self.m) - self._wide_kl_to_uniform()).to(self.concentration.dtype)

    def kl_to_uniform(self) -> Tensor:
        r"""``KL(spherical Cauchy || uniform)`` in nats, shape (...): what `torch.distributions.kl_divergence` returns.

        With ``x`` a coordinate of a uniform point,

        $$\mathrm{KL} = (m-1) \Bigl(-\tfrac12 \log(1 - x_0^2) + E \log(1 + x_0 x)\Bigr)
          = \tfrac{m-1}{2}\, E \log\Bigl(1 + \frac{x_0^2}{1 - x_0^2} (1 - x^2)\Bigr) .$$
        """
        return self._wide_kl_to_uniform().to(self.concentration.dtype)

    def _wide_kl_to_uniform(self) -> Tensor:
        odds = _moebius.odds(self._kappa, self.m)
        return (self.m - 1) * _moebius.mean_log(odds, self.m, self.concentration.dtype)

    @staticmethod
    def _maximum_likelihood(points: WeightedPoints, limit: float) -> tuple[Tensor, Tensor]:
        half = (points.points.shape[-1] - 1) / 2
        loc, zeta = spherical_cauchy_estimate(points, math.asinh(limit / half) / 2)
        return loc, (torch.sinh(2 * zeta) * half).clamp(max=limit)

    @staticmethod
    def _spread(m: int) -> float:
        """Of the median: for m = 2 and 3 the mean of ``1 - w`` decreases more slowly than ``1 / kappa``."""
        return (m - 1) / 2

    _sample_complement = staticmethod(envelope_sample)

    @staticmethod
    def _rate(y: Tensor, concentration: Tensor, m: int) -> Tensor:
        """``dw / dzeta = 1 - w^2`` at a fixed x, and ``dzeta / dkappa = 1 / sqrt((m-1)^2 + 4 kappa^2)``."""
        return torch.addcmul(y, y, 1 - y).sqrt() * torch.rsqrt((m - 1) ** 2 + 4 * concentration.square())
