"""The von Mises-Fisher law."""

from typing import Self

import torch
from torch import Tensor

from hvae_tutorial import special
from hvae_tutorial.distributions._implicit import von_mises_fisher_rate
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
            value: Unit vectors, shape (..., m), broadcast against the batch.

        Returns:
            Log densities of the broadcast shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        distance2 = (value - self.loc).square().sum(-1)
        kappa = special.widen(self.concentration)
        normaliser = special.log_partition_complement(kappa, self.m) - log_surface_area(self.m)
        return normaliser.to(self.concentration.dtype) - self.concentration * distance2 / 2

    def entropy(self) -> Tensor:
        """Differential entropy ``log S_m - KL(vMF || uniform)`` in nats, shape (...)."""
        divergence = special.kl_to_uniform(special.widen(self.concentration), self.m)
        return (log_surface_area(self.m) - divergence).to(self.concentration.dtype)

    @classmethod
    def fit(cls, data: Tensor, weights: Tensor | None = None) -> Self:
        r"""Maximum likelihood: the direction of the mean, and ``kappa`` with ``A_m(kappa) = |mean|``.

        (Mardia and Jupp 2000, section 10.3.1.) Weights make it the M-step of a mixture.

        Args:
            data: Unit vectors, shape (n, m).
            weights: Non-negative weights, shape (n,); all equal if None.

        Returns:
            The fitted law, batch shape (), with data's dtype.

        Raises:
            ValueError: a wrong shape, data off the sphere, weights that are negative or sum to zero, or data without a
                finite estimate: all points equal.
        """
        if data.ndim != 2 or data.shape[0] < 1 or data.shape[1] < 2:
            raise ValueError(f"data must have shape (n, m) with n >= 1 and m >= 2, got {tuple(data.shape)}")
        if not bool(cls.support.check(data).all()):
            norms = torch.linalg.vector_norm(data, dim=-1)
            worst = norms[(norms - 1).abs().nan_to_num(torch.inf).argmax()].item()
            raise ValueError(f"data must be unit vectors, got a row of norm {worst:.6g}")
        if weights is None:
            weights = torch.ones_like(data[:, 0])
        if weights.shape != data.shape[:1]:
            raise ValueError(
                f"weights must have shape ({data.shape[0]},), one per row of data, got {tuple(weights.shape)}"
            )
        if not bool((weights >= 0).all()) or not 0 < (total := weights.sum().item()) < float("inf"):
            raise ValueError(
                f"weights must be non-negative, finite and not all zero, got sum {weights.sum().item():.6g}"
            )
        # Norms off by float32's rounding would be taken for spread where the data are concentrated.
        wide = torch.nn.functional.normalize(special.widen(data), dim=-1)
        mean = special.widen(weights) @ wide / total
        length = torch.linalg.vector_norm(mean)
        if not length < 1 - 100 * torch.finfo(length.dtype).eps:
            raise ValueError("data must not all be equal: the mean resultant length is 1 and no finite estimate exists")
        concentration = special.concentration_from_mean_resultant_length(length, data.shape[1])
        # A mean of zero has no direction: the estimate is uniform, and any will do.
        loc = mean / length if length > 0 else torch.eye(data.shape[1], dtype=mean.dtype, device=mean.device)[0]
        return cls(loc.to(data.dtype), concentration.to(data.dtype))

    def kl_to_uniform(self) -> Tensor:
        """``KL(vMF || uniform)`` in nats, shape (...): what `torch.distributions.kl_divergence` returns."""
        return special.kl_to_uniform(self.concentration, self.m)

    def rsample_and_kl_to_uniform(self) -> tuple[Tensor, Tensor]:
        """One sample with gradients, shape (..., m), and `kl_to_uniform`, shape (...): what an ELBO asks for.

        Both come from one evaluation of the special functions: the gradient of a sample needs ``1 - A``.
        """
        divergence, mean_complement = special.kl_to_uniform_and_mean_complement(self.concentration, self.m)
        return self._rsample((), mean_complement), divergence

    _sample_complement = staticmethod(sample_complement)
    _rate = staticmethod(von_mises_fisher_rate)
