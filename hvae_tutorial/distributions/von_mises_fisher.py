"""The von Mises-Fisher law."""

import torch
from torch import Tensor

from hvae_tutorial import special
from hvae_tutorial.distributions._implicit import von_mises_fisher_rate
from hvae_tutorial.distributions._maximum_likelihood import (
    WeightedPoints,
    mean_direction,
    von_mises_fisher_concentration,
)
from hvae_tutorial.distributions._sampling import sample_complement
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric
from hvae_tutorial.sphere import log_surface_area

__all__ = ["VonMisesFisher"]


class VonMisesFisher(RotationallySymmetric):
    r"""Von Mises-Fisher law on the unit sphere S^(m-1) of R^m.

    $$p(z) = \frac{1}{S_m} \exp(\kappa\, \mu \cdot z - \phi_m(\kappa))$$

    with ``phi`` of `hvae_tutorial.special.log_partition` (Davidson et al. 2018, equation 2). ``kappa = 0`` is the
    uniform law. The first gradients are exact: in the density, in the divergences, and through samples.

    Its maximum likelihood (`fit`): the direction of the mean, and ``kappa`` with ``A_m(kappa) = |mean|`` (Mardia and
    Jupp 2000, section 10.3.1). ``1 - |mean|`` is computed as half the mean squared distance to ``mu``, so that the
    estimate keeps its accuracy for concentrated data, where it tends to ``(m - 1) / (2 mean(1 - mu.z))``.

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
    """

    @property
    def mean_resultant_length(self) -> Tensor:
        """``A_m(kappa)`` in [0, 1), shape (...)."""
        return special.mean_resultant_length(self.concentration, self.m)

    @property
    def mean_resultant_length_complement(self) -> Tensor:
        """``1 - A_m(kappa)`` without cancellation, shape (...)."""
        return special.mean_resultant_length_complement(self.concentration, self.m)

    @property
    def projection_variance(self) -> Tensor:
        """``A_m'(kappa)``, the variance of ``mu . z``, shape (...)."""
        return special.mean_resultant_length_derivative(self.concentration, self.m)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log density with respect to surface area, in nats.

        Evaluated as ``-kappa |z - mu|^2 / 2 + (kappa - phi) - log S_m``, which keeps its accuracy for large kappa;
        off the sphere this differs from ``kappa mu.z - phi - log S_m``.

        Args:
            value: Unit vectors, shape (..., m), broadcast against the batch; rounded to a narrower dtype than that of
                the law, they are normalised in the law's.

        Returns:
            Log densities of the broadcast shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        distance2 = self._squared_distance(value)
        kappa = special.widen(self.concentration)
        normaliser = special.log_partition_complement(kappa, self.m) - log_surface_area(self.m)
        log_density = normaliser.to(distance2.dtype) - self.concentration.to(distance2.dtype) * distance2 / 2
        return log_density.to(torch.promote_types(value.dtype, self.loc.dtype))

    def entropy(self) -> Tensor:
        """Differential entropy ``log S_m - KL(vMF || uniform)`` in nats, shape (...)."""
        divergence = special.kl_to_uniform(special.widen(self.concentration), self.m)
        return (log_surface_area(self.m) - divergence).to(self.concentration.dtype)

    def kl_to_uniform(self) -> Tensor:
        """``KL(vMF || uniform)`` in nats, shape (...): what `torch.distributions.kl_divergence` returns."""
        return special.kl_to_uniform(self.concentration, self.m)

    @staticmethod
    def _maximum_likelihood(points: WeightedPoints, limit: float) -> tuple[Tensor, Tensor]:
        loc, length, complement = mean_direction(points)
        return loc, von_mises_fisher_concentration(length, complement, loc.shape[-1], limit)

    @staticmethod
    def _spread(m: int) -> float:
        return (m - 1) / 2

    _sample_complement = staticmethod(sample_complement)
    _rate = staticmethod(von_mises_fisher_rate)
