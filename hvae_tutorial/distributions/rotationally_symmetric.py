"""What laws that are symmetric about a mean direction have in common."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from hvae_tutorial._autograd import differentiable
from hvae_tutorial.distributions._maximum_likelihood import WeightedPoints, concentration_limit, weighted_points
from hvae_tutorial.distributions._sampling import displacement
from hvae_tutorial.distributions.constraints import check_shape, finite_nonnegative, norm_tolerance, unit_vector

__all__ = ["RotationallySymmetric"]

_Rate = Callable[[Tensor, Tensor, int], Tensor]


def broadcast_shapes(a: Size, b: Size) -> Size:
    """`torch.broadcast_shapes`, at once in the usual cases: equal shapes, or one without a batch."""
    if a == b or not b:
        return a
    return torch.broadcast_shapes(a, b) if a else b


def expand_to(values: Tensor, shape: Size) -> Tensor:
    """`values.expand(shape)`, without an operation in the usual case of equal shapes."""
    return values if values.shape == shape else values.expand(shape)


def _renormalised(vectors: Tensor, other: torch.dtype) -> Tensor:
    """Unit vectors, up to the rounding of the coarser of two dtypes, made so in the finer one.

    Those further off stay as they are, for the validation to see.
    """
    coarser = max(vectors.dtype, other, key=lambda dtype: torch.finfo(dtype).eps)
    wide = vectors.to(torch.promote_types(vectors.dtype, other))
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return torch.where((norm - 1).abs() <= norm_tolerance(coarser), wide / norm, wide)


class RotationallySymmetric(Distribution):
    r"""Law on the unit sphere of R^m whose density depends on ``w = mu . z`` and a concentration alone.

    Moments follow from the mean ``A`` and the variance ``A'`` of ``w``:

    $$E z = A \mu,\qquad
      \mathrm{Cov}\, z = A' \mu\mu^\top + \frac{1 - A^2 - A'}{m-1} (I - \mu\mu^\top)$$

    (Mardia and Jupp 2000, section 9.3). Subclasses give the law of ``w`` and the estimates of `fit`.

    Args:
        loc: Mean direction ``mu``, unit vectors of shape (..., m), m at least 2. Where it and concentration differ in
            dtype, the parameters have the wider type, and loc, rounded to either, is normalised in it.
        concentration: ``kappa``, finite and at least 0, shape (...) without a trailing axis, broadcast against the
            batch of loc; or a number.
        validate_args: As in `torch.distributions.Distribution`.

    Raises:
        TypeError: loc is not a floating-point tensor, or concentration is neither a real tensor nor a number.
        ValueError: the shapes do not fit; concentration has the shape of loc's batch and an axis of size one more; or
            (validated) loc is not of unit norm or concentration is negative, infinite or NaN.
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {"loc": unit_vector, "concentration": finite_nonnegative}
    support = unit_vector
    has_rsample = True

    loc: Tensor
    concentration: Tensor

    def __init__(self, loc: Tensor, concentration: Tensor | float, validate_args: bool | None = None) -> None:
        if not isinstance(loc, Tensor) or not loc.is_floating_point():
            kind = f"a tensor of dtype {loc.dtype}" if isinstance(loc, Tensor) else f"{type(loc).__name__}"
            raise TypeError(f"loc must be a floating-point tensor of shape (..., m), got {kind}")
        if loc.ndim < 1 or loc.shape[-1] < 2:
            raise ValueError(f"loc must have shape (..., m) with m >= 2, got {tuple(loc.shape)}")
        if not isinstance(concentration, Tensor):
            try:
                concentration = torch.as_tensor(concentration, dtype=loc.dtype, device=loc.device)
            except (TypeError, ValueError, RuntimeError) as error:
                raise TypeError(
                    f"concentration must be a tensor of shape (...) or a number, got {concentration!r}"
                ) from error
        if not concentration.is_floating_point():
            if concentration.is_complex():
                raise TypeError(f"concentration must be real, got a tensor of dtype {concentration.dtype}")
            concentration = concentration.to(loc.dtype)
        if concentration.shape == (*loc.shape[:-1], 1) and loc.shape[:-1].numel() > 1:
            raise ValueError(
                f"concentration must have the shape of loc's batch, {tuple(loc.shape[:-1])}, got "
                f"{tuple(concentration.shape)}: write concentration.squeeze(-1) (or, for all pairs of directions and "
                "concentrations, loc.unsqueeze)"
            )
        try:
            batch_shape = broadcast_shapes(loc.shape[:-1], concentration.shape)
        except RuntimeError as error:
            raise ValueError(
                f"concentration must have a shape that broadcasts with loc.shape[:-1] = {tuple(loc.shape[:-1])} "
                f"(no trailing axis), got {tuple(concentration.shape)}"
            ) from error
        dtype = torch.promote_types(loc.dtype, concentration.dtype)
        if loc.dtype != concentration.dtype:
            loc = _renormalised(loc, concentration.dtype)
        self.loc = expand_to(loc.to(dtype), batch_shape + loc.shape[-1:])
        self.concentration = expand_to(concentration.to(dtype), batch_shape)
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @property
    def m(self) -> int:
        """Dimension of the ambient space."""
        return self.event_shape[0]

    def expand(self, batch_shape: Any, _instance: Self | None = None) -> Self:
        """The same law with its batch expanded to ``batch_shape``."""
        new = self._get_checked_instance(RotationallySymmetric, _instance)
        batch_shape = Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @classmethod
    def fit(cls, data: Tensor, weights: Tensor | None = None, *, max_concentration: float | None = None) -> Self:
        r"""Maximum likelihood: the law with the largest mean of ``log_prob`` at the data.

        Args:
            data: Unit vectors, shape (..., n, m): n points for each law of a batch (...).
            weights: Non-negative weights, shape (..., n), whose batch broadcasts with data's; all equal if None. With
                responsibilities of shape (n, K), ``fit(data, responsibilities.mT)`` is the M-step of a mixture of K.
            max_concentration: Largest estimate, a positive number. By default the concentration at which the root mean
                square distance to ``mu`` is eps, the resolution of data's dtype: what is more concentrated cannot be
                told from rounding (and at most the largest number of the dtype). Points that are all equal, or a single
                one, get it.

        Returns:
            The fitted law, batch shape (...), with data's dtype; computed in float64 (memory: a few times that of
            data, for each law of the batch). It is differentiable in data and weights, but where the concentration is
            at its maximum its gradient is zero. A law of a batch without any weight, such as a component of a mixture
            that has lost all points, is uniform.

        Raises:
            TypeError: data is not a floating-point tensor, weights no real tensor, or max_concentration no number.
            ValueError: a wrong shape, data off the sphere, weights that are negative, infinite or zero everywhere, or
                a max_concentration that is not positive and finite.

        Examples:
            >>> import torch
            >>> from hvae_tutorial.distributions import PowerSpherical, VonMisesFisher
            >>> points = torch.tensor([[0.8, 0.6, 0.0], [0.8, -0.6, 0.0]])  # their mean has length 0.8
            >>> q = VonMisesFisher.fit(points)
            >>> q.loc, q.concentration, q.mean_resultant_length
            (tensor([1., 0., 0.]), tensor(4.9977), tensor(0.8000))
            >>> PowerSpherical.fit(points).concentration
            tensor(8.4912)
        """
        points = weighted_points(data, weights)
        limit = concentration_limit(max_concentration, cls._spread(data.shape[-1]), data.dtype)
        loc, concentration = cls._maximum_likelihood(points, limit)
        concentration = torch.where(points.weighted, concentration, 0.0)
        return cls(loc.to(data.dtype), concentration.to(data.dtype))

    # --- what a subclass gives ---

    @property
    @abstractmethod
    def mean_resultant_length(self) -> Tensor:
        """``A``, the mean of ``mu . z``, in [0, 1), shape (...)."""

    @property
    @abstractmethod
    def mean_resultant_length_complement(self) -> Tensor:
        """``1 - A`` without cancellation, shape (...)."""

    @property
    @abstractmethod
    def projection_variance(self) -> Tensor:
        """Variance of ``mu . z``, shape (...)."""

    @staticmethod
    @abstractmethod
    def _maximum_likelihood(points: WeightedPoints, limit: float) -> tuple[Tensor, Tensor]:
        """Estimates of direction (..., m) and concentration (...), at most the limit, in float64."""

    @staticmethod
    @abstractmethod
    def _spread(m: int) -> float:
        """The limit of ``kappa (1 - A)`` for large kappa."""

    @staticmethod
    @abstractmethod
    def _sample_complement(kappa: Tensor, m: int, repeats: int) -> Tensor:
        """Samples (repeats * n,) of ``y = 1 - mu . z`` for concentrations (n,) in float32 or float64."""

    @staticmethod
    @abstractmethod
    def _rate(y: Tensor, concentration: Tensor, m: int) -> Tensor:
        """``-d theta / d kappa`` at fixed quantile, see `hvae_tutorial.distributions._implicit`."""

    # --- moments ---

    @property
    def mean(self) -> Tensor:
        """``A mu``, inside the ball, shape (..., m)."""
        return self.mean_resultant_length.unsqueeze(-1) * self.loc

    @property
    def mode(self) -> Tensor:
        """``mu``, shape (..., m)."""
        return self.loc

    @property
    def _tangent_variance(self) -> Tensor:
        complement = self.mean_resultant_length_complement
        return (complement * (2 - complement) - self.projection_variance) / (self.m - 1)

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance of z, shape (..., m, m)."""
        tangent = self._tangent_variance[..., None, None]
        eye = torch.eye(self.m, dtype=self.loc.dtype, device=self.loc.device)
        outer = self.loc.unsqueeze(-1) * self.loc.unsqueeze(-2)
        return tangent * (eye - outer) + self.projection_variance[..., None, None] * outer

    @property
    def variance(self) -> Tensor:
        """Diagonal of the covariance matrix, shape (..., m)."""
        along = self.loc**2
        return self._tangent_variance.unsqueeze(-1) * (1 - along) + self.projection_variance.unsqueeze(-1) * along

    def _squared_distance(self, value: Tensor) -> Tensor:
        """``|value - mu|^2`` in float32 or wider: narrower types would round off what a logarithm magnifies."""
        if torch.finfo(value.dtype).eps > torch.finfo(self.loc.dtype).eps:
            value = _renormalised(value, self.loc.dtype)
        wide = torch.promote_types(torch.promote_types(value.dtype, self.loc.dtype), torch.float32)
        return (value.to(wide) - self.loc.to(wide)).square().sum(-1)

    # --- sampling ---

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008  (an empty Size is immutable)
        """Exact samples without gradient, shape sample_shape + batch_shape + (m,)."""
        with torch.no_grad():
            difference, _ = self._draw(sample_shape)
            return difference.add_(self.loc).to(self.loc.dtype)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        r"""Exact samples with implicit-reparameterisation gradients, shape sample_shape + batch_shape + (m,).

        With ``theta`` the angle to the mean direction, a sample moves with the concentration along its meridian, at
        fixed quantile of ``theta``; with the mean direction it moves by the smallest rotation that moves ``mu``, so
        that the gradient for loc lies in the tangent space at loc:

        $$\frac{\partial z}{\partial\kappa} = -\frac{d\theta}{d\kappa}\, \frac{\mu - w z}{\sin\theta},\qquad
          \nabla_\mu = (\mu \cdot z)\, g - (\mu \cdot g)\, z$$

        for an incoming gradient g. Gradients are exact in expectation: nothing is lost at the rejection step. The
        result can be differentiated once, in either direction; a second differentiation raises a RuntimeError.
        """
        with torch.no_grad():
            difference, y = self._draw(sample_shape)
        loc = expand_to(self.loc.to(y.dtype), difference.shape)
        concentration = expand_to(self.concentration.to(y.dtype), y.shape)
        return _implicit_gradient(loc, concentration, difference, y, self._rate).to(self.loc.dtype)

    def _draw(self, sample_shape: Any) -> tuple[Tensor, Tensor]:
        """Differences ``z - mu`` of samples z, and their complements ``y = 1 - mu . z``, in float32 or float64."""
        dtype = torch.promote_types(self.loc.dtype, torch.float32)
        sample_shape = check_shape("sample_shape", sample_shape)
        # Not the `numel()` of a Size, which takes a symbolic size for a number.
        repeats = math.prod(sample_shape)
        # Detached also from forward mode, which torch's Gamma sampler refuses.
        concentration = self.concentration.detach().to(dtype).reshape(-1)
        y = self._sample_complement(concentration, self.m, repeats).reshape((*sample_shape, *self.batch_shape))
        return displacement(self.loc.detach().to(dtype), y), y


class _ImplicitGradient(torch.autograd.Function):
    """Samples from their differences to the mean direction, with gradients although these were drawn without."""

    @staticmethod
    def forward(
        loc: Tensor,
        concentration: Tensor,
        difference: Tensor,
        y: Tensor,
        rate: _Rate,
    ) -> Tensor:
        return loc + difference

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.rate = inputs
        # Not the sample itself: the caller may change it in place, and for large kappa the difference has more digits.
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        loc, concentration, difference, y = ctx.saved_tensors
        grad_loc = grad_concentration = None
        with torch.no_grad():
            w = 1 - y
            mu_grad = (loc * grad).sum(-1)
            if ctx.needs_input_grad[0]:
                z = loc + difference
                grad_loc = torch.addcmul(w.unsqueeze(-1) * grad, mu_grad.unsqueeze(-1), z, value=-1)
            if ctx.needs_input_grad[1]:
                # mu - w z = y mu - w (z - mu)
                toward_mu = torch.addcmul(y * mu_grad, w, (difference * grad).sum(-1), value=-1)
                sine2 = torch.addcmul(y, y, w)  # y (2 - y)
                rate = ctx.rate(y, concentration, loc.shape[-1])
                grad_concentration = toward_mu * rate * sine2.rsqrt()
        if torch.is_grad_enabled():  # else nothing can differentiate the gradients
            grad_loc = _once(grad_loc, loc, concentration, grad)
            grad_concentration = _once(grad_concentration, loc, concentration, grad)
        return grad_loc, grad_concentration, None, None, None

    @staticmethod
    def jvp(ctx: Any, loc_tangent: Tensor | None, concentration_tangent: Tensor | None, *_: None) -> Tensor:
        loc, concentration, difference, y = ctx.saved_tensors
        tangent = torch.zeros_like(difference)
        if loc_tangent is not None:
            z = loc + difference
            tangent = (1 - y).unsqueeze(-1) * loc_tangent - (z * loc_tangent).sum(-1, keepdim=True) * loc
        if concentration_tangent is not None:
            toward_mu = y.unsqueeze(-1) * loc - (1 - y).unsqueeze(-1) * difference
            speed = ctx.rate(y, concentration, loc.shape[-1]) * torch.addcmul(y, y, 1 - y).rsqrt()
            tangent = tangent + (speed * concentration_tangent).unsqueeze(-1) * toward_mu
        return _once(tangent, loc, concentration, loc_tangent, concentration_tangent)


_implicit_gradient = differentiable(_ImplicitGradient)


def _once(gradient: Tensor | None, *inputs: Tensor | None) -> Any:
    """A gradient that depends on the inputs, in a way that is not implemented: let its differentiation fail loudly."""
    if gradient is None or torch.compiler.is_dynamo_compiling():  # compiled functions are differentiated once anyway
        return gradient
    return _differentiable_once(gradient, *(tensor for tensor in inputs if tensor is not None))


class _DifferentiableOnce(torch.autograd.Function):
    @staticmethod
    def forward(gradient: Tensor, *inputs: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.number = len(inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        raise RuntimeError(_ONCE)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        raise RuntimeError(_ONCE)


_differentiable_once = differentiable(_DifferentiableOnce)
_ONCE = (
    "samples drawn by rsample can be differentiated once only: second derivatives of the implicit "
    "reparameterisation are not implemented"
)
