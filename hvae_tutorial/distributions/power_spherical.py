"""The Power Spherical law."""

import math
from typing import Any

import torch
from torch import Tensor

from hvae_tutorial import special
from hvae_tutorial._autograd import differentiable
from hvae_tutorial.distributions._gamma import digamma_difference, log_gamma_difference, trigamma_difference
from hvae_tutorial.distributions._implicit import power_spherical_rate
from hvae_tutorial.distributions._maximum_likelihood import (
    WeightedPoints,
    power_spherical_concentration,
    power_spherical_direction,
)
from hvae_tutorial.distributions._sampling import into_open_interval, repeat
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric
from hvae_tutorial.sphere import log_surface_area

__all__ = ["PowerSpherical"]


class PowerSpherical(RotationallySymmetric):
    r"""Power Spherical law on the unit sphere S^(m-1) of R^m (De Cao and Aziz 2020).

    $$p(z) \propto (1 + \mu \cdot z)^\kappa$$

    so that ``(1 + mu.z) / 2`` is a Beta variable with parameters ``alpha = (m-1)/2 + kappa`` and ``beta = (m-1)/2``
    (their equations 6 to 9). It is drawn without rejection.

    Its maximum likelihood (`fit`): ``mu`` maximises the mean of ``log(1 + mu.z)``, and ``kappa`` solves

    $$\psi(\kappa + m - 1) - \psi\bigl(\kappa + \tfrac{m-1}{2}\bigr) = -\overline{\log((1 + \mu \cdot z) / 2)} .$$

    The concentration multiplies the mean of the logarithm in the likelihood, so that the direction is found first, by
    Newton's method on the sphere from the mean direction. For data all around the sphere this mean has several maxima,
    for it is minus infinity opposite each point; then the one found need not be the highest.

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
        >>> from torch.distributions import kl_divergence
        >>> from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical
        >>> q = PowerSpherical(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 10.0]))
        >>> q.batch_shape, q.event_shape
        (torch.Size([2]), torch.Size([3]))
        >>> q.mean_resultant_length
        tensor([0.3333, 0.8333])
        >>> kl_divergence(q, HypersphericalUniform(3))
        tensor([0.1931, 1.4888])
        >>> q.rsample((1000,)).shape
        torch.Size([1000, 2, 3])
    """

    @property
    def _half(self) -> float:
        return (self.m - 1) / 2

    @property
    def _kappa(self) -> Tensor:
        """The concentration in float64, NaN where it is negative, infinite or NaN: unvalidated, these are no law."""
        kappa = special.widen(self.concentration)
        return torch.where((kappa >= 0) & (kappa < torch.inf), kappa, torch.nan)

    @property
    def mean_resultant_length(self) -> Tensor:
        """``kappa / (kappa + m - 1)`` in [0, 1), shape (...)."""
        kappa = self._kappa
        return (kappa / (kappa + 2 * self._half)).to(self.concentration.dtype)

    @property
    def mean_resultant_length_complement(self) -> Tensor:
        """``(m - 1) / (kappa + m - 1)``, shape (...)."""
        return (2 * self._half / (self._kappa + 2 * self._half)).to(self.concentration.dtype)

    @property
    def projection_variance(self) -> Tensor:
        """Variance of ``mu . z``, four times that of the Beta variable, shape (...)."""
        alpha, beta = self._kappa + self._half, self._half
        variance = 4 * alpha * beta / ((alpha + beta) ** 2 * (alpha + beta + 1))
        return variance.to(self.concentration.dtype)

    def _log_partition(self) -> Tensor:
        """``b = log E_U[((1 + mu.z) / 2)^kappa]`` in float64: a ratio of Beta functions, zero at kappa = 0."""
        kappa, half = self._kappa, self._half
        at_zero = log_gamma_difference(kappa.new_full((), half), half)
        return at_zero - log_gamma_difference(kappa + half, half)

    def _bregman_from(self, kappa: Tensor) -> Tensor:
        """``b - b(kappa) - b'(kappa) (self.kappa - kappa)`` in float64, of the joint shape, not negative."""
        return _bregman(*torch.broadcast_tensors(kappa, self._kappa), self._half)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log density with respect to surface area, in nats.

        ``(1 + mu.z) / 2`` is evaluated as ``1 - |z - mu|^2 / 4``, which keeps its accuracy for large kappa.

        Args:
            value: Unit vectors, shape (..., m), broadcast against the batch; rounded to a narrower dtype than that of
                the law, they are normalised in the law's.

        Returns:
            Log densities of the broadcast shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        distance2 = self._squared_distance(value)
        kappa = self.concentration.to(distance2.dtype)
        normaliser = -self._log_partition() - log_surface_area(self.m)
        # At the antipode the density is zero for kappa > 0; xlogy keeps kappa = 0 uniform there.
        power = torch.xlogy(kappa, (1 - distance2 / 4).clamp(min=0))
        near = kappa * torch.log1p(-distance2.clamp(max=1) / 4)
        log_density = normaliser.to(distance2.dtype) + torch.where(distance2 < 1, near, power)
        return log_density.to(torch.promote_types(value.dtype, self.loc.dtype))

    def entropy(self) -> Tensor:
        """Differential entropy ``log S_m - KL(PowerSpherical || uniform)`` in nats, shape (...)."""
        return (log_surface_area(self.m) - self._wide_kl_to_uniform()).to(self.concentration.dtype)

    def kl_to_uniform(self) -> Tensor:
        """``KL(PowerSpherical || uniform)`` in nats, shape (...): what `torch.distributions.kl_divergence` returns."""
        return self._wide_kl_to_uniform().to(self.concentration.dtype)

    def _wide_kl_to_uniform(self) -> Tensor:
        """``kappa b' - b`` in float64."""
        return _kl_to_uniform(self._kappa, self._half)

    @staticmethod
    def _maximum_likelihood(points: WeightedPoints, limit: float) -> tuple[Tensor, Tensor]:
        loc = power_spherical_direction(points)
        return loc, power_spherical_concentration(points, loc, limit)

    @staticmethod
    def _spread(m: int) -> float:
        return m - 1

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


def _gauss() -> tuple[tuple[float, float], ...]:
    """Gauss' rule on [0, 1]: nodes, weights. A function, since torch.compile takes a module's floats for variables."""
    return (
        (0.04691007703066802, 0.11846344252809464),
        (0.23076534494715845, 0.23931433524968315),
        (0.5, 0.28444444444444433),
        (0.7692346550528415, 0.23931433524968315),
        (0.9530899229693319, 0.11846344252809464),
    )


class _Bregman(torch.autograd.Function):
    """``b(k2) - b(k1) - b'(k1) (k2 - k1)`` of the log normaliser b relative to the uniform law; shapes are equal.

    Where the concentrations are near one another these terms are nearly equal: there it is the integral of
    ``(k2 - t) b''(t)``, and its derivative by k2 that of ``b''(t)``, by Gauss' rule.
    """

    @staticmethod
    def _between(k1: Tensor, k2: Tensor, half: float) -> tuple[Tensor, Tensor, list[tuple[float, float, Tensor]]]:
        """Where they are near, the step there, and the rule: nodes, weights and ``b''``, as in `_KLToUniform`."""
        near = (k2 - k1).abs() < (torch.minimum(k1, k2) + half) / 8
        step = torch.where(near, k2 - k1, 0.0)
        gauss = _gauss()
        curvatures = -trigamma_difference(torch.stack([k1 + node * step for node, _ in gauss]) + half, half)
        return near, step, [(*rule, curvature) for rule, curvature in zip(gauss, curvatures, strict=True)]

    @staticmethod
    def forward(k1: Tensor, k2: Tensor, half: float) -> Tensor:
        near, step, rule = _Bregman._between(k1, k2, half)
        integral = sum(weight * (1 - node) * curvature for node, weight, curvature in rule)
        rise = log_gamma_difference(k1 + half, half) - log_gamma_difference(k2 + half, half)
        far = rise + digamma_difference(k1 + half, half) * (k2 - k1)
        return torch.where(near, step * step * integral, far)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        k1, k2, ctx.half = inputs
        ctx.save_for_backward(k1, k2)
        ctx.save_for_forward(k1, k2)

    @staticmethod
    def _slopes(k1: Tensor, k2: Tensor, half: float) -> tuple[Tensor, Tensor]:
        near, step, rule = _Bregman._between(k1, k2, half)
        far = digamma_difference(k1 + half, half) - digamma_difference(k2 + half, half)
        by_second = torch.where(near, step * sum(weight * curvature for _, weight, curvature in rule), far)
        return trigamma_difference(k1 + half, half) * (k2 - k1), by_second

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        k1, k2 = ctx.saved_tensors
        by_first, by_second = _Bregman._slopes(k1, k2, ctx.half)
        return grad * by_first, grad * by_second, None

    @staticmethod
    def jvp(ctx: Any, tangent1: Tensor, tangent2: Tensor, _: None) -> Tensor:
        k1, k2 = ctx.saved_tensors
        by_first, by_second = _Bregman._slopes(k1, k2, ctx.half)
        return tangent1 * by_first + tangent2 * by_second


_bregman = differentiable(_Bregman)


class _KLToUniform(torch.autograd.Function):
    """``kappa b' - b`` with its derivative ``kappa b''``, where differentiating each term would cancel ``b'``."""

    @staticmethod
    def forward(kappa: Tensor, half: float) -> Tensor:
        at = kappa.new_full((), half)
        at_zero = log_gamma_difference(at, half)
        divergence = log_gamma_difference(kappa + half, half) - kappa * digamma_difference(kappa + half, half)
        # Below, these terms are nearly equal: the derivative's integral from zero, by Gauss' rule.
        # Its nearest singularity is at -half: an error of 34^-10.
        gauss = _gauss()
        small = torch.minimum(kappa, at / 8)
        slopes = trigamma_difference(torch.stack([node * small for node, _ in gauss]) + half, half)
        integral = sum(-weight * node * slope for (node, weight), slope in zip(gauss, slopes, strict=True))
        return torch.where(kappa < at / 8, small * small * integral, divergence - at_zero)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        kappa, ctx.half = inputs
        ctx.save_for_backward(kappa)
        ctx.save_for_forward(kappa)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kappa,) = ctx.saved_tensors
        return -grad * kappa * trigamma_difference(kappa + ctx.half, ctx.half), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (kappa,) = ctx.saved_tensors
        return -tangent * kappa * trigamma_difference(kappa + ctx.half, ctx.half)


_kl_to_uniform = differentiable(_KLToUniform)
