"""The von Mises-Fisher law."""

from typing import Self

import torch
from torch import Tensor

from hvae_tutorial import special
from hvae_tutorial.distributions._implicit import von_mises_fisher_rate
from hvae_tutorial.distributions._maximum_likelihood import (
    concentration_limit,
    mean_direction,
    von_mises_fisher_concentration,
    weighted_points,
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

    @classmethod
    def fit(cls, data: Tensor, weights: Tensor | None = None, *, max_concentration: float | None = None) -> Self:
        r"""Maximum likelihood: the direction of the mean, and ``kappa`` with ``A_m(kappa) = |mean|``.

        (Mardia and Jupp 2000, section 10.3.1.) ``1 - |mean|`` is computed as half the mean squared distance to ``mu``,
        so that the estimate keeps its accuracy for concentrated data, where it tends to
        ``(m - 1) / (2 mean(1 - mu.z))``.

        Args:
            data: Unit vectors, shape (..., n, m): n points for each law of a batch (...).
            weights: Non-negative weights, shape (..., n), whose batch broadcasts with data's; all equal if None. With
                responsibilities of shape (n, K), ``fit(data, responsibilities.mT)`` is the M-step of a mixture of K.
            max_concentration: Largest estimate, a positive number. By default ``(m - 1) / eps^2`` with eps the
                resolution of data's dtype, at which the root mean square distance to ``mu`` is eps: what is more
                concentrated cannot be told from rounding (and at most the largest number of the dtype). Points that
                are all equal, or a single one, get it.

        Returns:
            The fitted law, batch shape (...), with data's dtype; computed in float64 (memory: a few times that of
            data, for each law of the batch). It is differentiable in data and weights, but where the concentration is
            at its maximum its gradient is zero. A law of a batch without any weight, such as a component of a mixture
            that has lost all points, is uniform.

        Raises:
            TypeError: data is not a floating-point tensor, weights no real tensor, or max_concentration no number.
            ValueError: a wrong shape, data off the sphere, weights that are negative, infinite or zero everywhere, or
                a max_concentration that is not positive and finite.
        """
        points = weighted_points(data, weights)
        m = data.shape[-1]
        limit = concentration_limit(max_concentration, (m - 1) / 2, data.dtype)
        loc, length, complement = mean_direction(points)
        concentration = von_mises_fisher_concentration(length, complement, m, limit)
        concentration = torch.where(points.weighted, concentration, 0.0)
        return cls(loc.to(data.dtype), concentration.to(data.dtype))

    def kl_to_uniform(self) -> Tensor:
        """``KL(vMF || uniform)`` in nats, shape (...): what `torch.distributions.kl_divergence` returns."""
        return special.kl_to_uniform(self.concentration, self.m)

    _sample_complement = staticmethod(sample_complement)
    _rate = staticmethod(von_mises_fisher_rate)
