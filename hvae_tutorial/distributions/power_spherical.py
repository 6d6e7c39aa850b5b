"""The Power Spherical law."""

import math

import torch
from torch import Tensor

from hvae_tutorial import special
from hvae_tutorial.distributions._implicit import power_spherical_rate
from hvae_tutorial.distributions._sampling import into_open_interval, repeat
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric
from hvae_tutorial.sphere import log_surface_area

__all__ = ["PowerSpherical"]


class PowerSpherical(RotationallySymmetric):
    r"""Power Spherical law on the unit sphere S^(m-1) of R^m (De Cao and Aziz 2020).

    $$p(z) \propto (1 + \mu \cdot z)^\kappa$$

    so that ``(1 + mu.z) / 2`` is a Beta variable with parameters ``alpha = (m-1)/2 + kappa`` and ``beta = (m-1)/2``
    (their equations 6 to 9). It is drawn without rejection.

    Args:
        loc: Mean direction ``mu``, unit vectors of shape (..., m), m at least 2.
        concentration: ``kappa``, finite and at least 0, shape (...) without a trailing axis, broadcast against the
            batch of loc; or a number.
        validate_args: As in `torch.distributions.Distribution`. Unvalidated NaN concentrations give NaN samples.

    Raises:
        TypeError: loc is not a floating-point tensor.
        ValueError: the shapes do not fit, or (validated) loc is not of unit norm or concentration is negative,
            infinite or NaN.
    """

    @property
    def _half(self) -> float:
        return (self.m - 1) / 2

    @property
    def mean_resultant_length(self) -> Tensor:
        """``kappa / (kappa + m - 1)`` in [0, 1), shape (...)."""
        return self.concentration / (self.concentration + 2 * self._half)

    @property
    def mean_resultant_length_complement(self) -> Tensor:
        """``(m - 1) / (kappa + m - 1)``, shape (...)."""
        return 2 * self._half / (self.concentration + 2 * self._half)

    @property
    def projection_variance(self) -> Tensor:
        """Variance of ``mu . z``, four times that of the Beta variable, shape (...)."""
        alpha, beta = special.widen(self.concentration) + self._half, self._half
        variance = 4 * alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
        return variance.to(self.concentration.dtype)

    def _log_partition(self, kappa: Tensor) -> Tensor:
        """``log E_U[((1 + mu.z) / 2)^kappa]``: a ratio of Beta functions, zero at kappa = 0."""
        half = self._half
        return torch.lgamma(kappa + half) - torch.lgamma(kappa + 2 * half) + (math.lgamma(2 * half) - math.lgamma(half))

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log density with respect to surface area, in nats.

        ``(1 + mu.z) / 2`` is evaluated as ``1 - |z - mu|^2 / 4``, which keeps its accuracy for large kappa.

        Args:
            value: Unit vectors, shape (..., m), broadcast against the batch.

        Returns:
            Log densities of the broadcast shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        dtype = self.concentration.dtype
        wide = torch.promote_types(dtype, torch.float32)  # towards the antipode the logarithm magnifies rounding
        distance2 = (value.to(wide) - self.loc.to(wide)).square().sum(-1)
        normaliser = -self._log_partition(special.widen(self.concentration)) - log_surface_area(self.m)
        # At the antipode the density is zero for kappa > 0; xlogy keeps kappa = 0 uniform there.
        power = torch.xlogy(self.concentration, (1 - distance2 / 4).clamp(min=0))
        near = self.concentration * torch.log1p(-distance2.clamp(max=1) / 4)
        return (normaliser.to(wide) + torch.where(distance2 < 1, near, power)).to(dtype)

    def entropy(self) -> Tensor:
        """Differential entropy ``log S_m - KL(PowerSpherical || uniform)`` in nats, shape (...)."""
        return (log_surface_area(self.m) - self._wide_kl_to_uniform()).to(self.concentration.dtype)

    def kl_to_uniform(self) -> Tensor:
        """``KL(PowerSpherical || uniform)`` in nats, shape (...): what `torch.distributions.kl_divergence` returns."""
        return self._wide_kl_to_uniform().to(self.concentration.dtype)

    def _wide_kl_to_uniform(self) -> Tensor:
        """``kappa E[log((1 + mu.z) / 2)] - log E_U[((1 + mu.z) / 2)^kappa]`` in float64."""
        kappa = special.widen(self.concentration)
        mean_log = torch.digamma(kappa + self._half) - torch.digamma(kappa + 2 * self._half)
        return (kappa * mean_log - self._log_partition(kappa)).clamp(min=0)  # rounding, where it is zero

    @staticmethod
    def _sample_complement(kappa: Tensor, m: int, repeats: int) -> Tensor:
        concentration = repeat(kappa, repeats)
        # torch's Gamma sampler does not return for a NaN parameter.
        valid = (concentration >= 0) & (concentration < math.inf)
        half = torch.full_like(concentration, (m - 1) / 2)
        small = torch._standard_gamma(half)
        large = torch._standard_gamma(torch.where(valid, concentration, 1.0) + half)
        return torch.where(valid, into_open_interval(2 * small / (small + large)), math.nan)

    _rate = staticmethod(power_spherical_rate)
