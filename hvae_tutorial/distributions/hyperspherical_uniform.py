"""The uniform law on the unit sphere."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from hvae_tutorial.distributions.constraints import check_shape, unit_vector
from hvae_tutorial.special import check_ambient_dimension
from hvae_tutorial.sphere import log_surface_area

__all__ = ["HypersphericalUniform"]


class HypersphericalUniform(Distribution):
    r"""Uniform law on the unit sphere S^(m-1) of R^m.

    $$p(z) = 1 / S_m,\qquad S_m = 2\pi^{m/2} / \Gamma(m/2)$$

    Args:
        m: Dimension of the ambient space, an integer of at least 2 (the sphere itself has dimension ``m - 1``).
        batch_shape: Shape of the batch.
        dtype: Floating-point type of samples and densities; torch's default if None.
        device: Device of samples and densities; torch's default if None.
        validate_args: As in `torch.distributions.Distribution`.

    Raises:
        TypeError: ``m`` is not an integer, batch_shape is not a shape, or dtype is not a floating-point type.
        ValueError: ``m < 2``.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.distributions import HypersphericalUniform
        >>> p = HypersphericalUniform(3)
        >>> p.log_prob(torch.tensor([1.0, 0.0, 0.0]))  # minus the log of the area, 4 pi
        tensor(-2.5310)
        >>> p.variance
        tensor([0.3333, 0.3333, 0.3333])
        >>> p.sample((5,)).shape
        torch.Size([5, 3])
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  (torch declares it so)
    support = unit_vector
    has_rsample = True

    def __init__(
        self,
        m: int,
        batch_shape: Size | tuple[int, ...] = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.m = check_ambient_dimension(m)
        self.dtype = torch.get_default_dtype() if dtype is None else dtype
        # torch.get_default_device() cannot be compiled.
        self.device = torch.empty(0).device if device is None else torch.device(device)
        if not isinstance(self.dtype, torch.dtype) or not self.dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating-point type, got {dtype!r}")
        super().__init__(check_shape("batch_shape", batch_shape), Size([self.m]), validate_args=validate_args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(m: {self.m}, batch_shape: {tuple(self.batch_shape)})"

    def expand(self, batch_shape: Any, _instance: "HypersphericalUniform | None" = None) -> "HypersphericalUniform":
        """The same law with another batch shape."""
        new = self._get_checked_instance(HypersphericalUniform, _instance)
        new.m, new.dtype, new.device = self.m, self.dtype, self.device
        batch_shape = check_shape("batch_shape", batch_shape)
        super(HypersphericalUniform, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        """Zero, the centre of the sphere, shape (..., m)."""
        return torch.zeros(self.batch_shape + self.event_shape, dtype=self.dtype, device=self.device)

    @property
    def mode(self) -> Tensor:
        """The first axis, shape (..., m): the density is the same everywhere, so that any point is a mode."""
        first = torch.zeros(self.m, dtype=self.dtype, device=self.device)
        first[0] = 1
        return first.expand(self.batch_shape + self.event_shape)

    @property
    def covariance_matrix(self) -> Tensor:
        """The identity divided by m, shape (..., m, m)."""
        eye = torch.eye(self.m, dtype=self.dtype, device=self.device) / self.m
        return eye.expand(self.batch_shape + eye.shape)

    @property
    def variance(self) -> Tensor:
        """``1 / m`` for each coordinate, shape (..., m)."""
        return torch.full_like(self.mean, 1 / self.m)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008  (an empty Size is immutable)
        """Normalised Gaussian vectors, shape sample_shape + batch_shape + (m,); there is nothing to differentiate."""
        shape = self._extended_shape(check_shape("sample_shape", sample_shape))
        gaussian = torch.randn(shape, dtype=self.dtype, device=self.device)
        return gaussian / torch.linalg.vector_norm(gaussian, dim=-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        """``-log S_m`` in nats at each point, shape value.shape[:-1] broadcast with batch_shape."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return torch.full(shape, -log_surface_area(self.m), dtype=self.dtype, device=value.device)

    def entropy(self) -> Tensor:
        """``log S_m`` in nats (differential entropy; negative for large m), shape (...)."""
        return torch.full(self.batch_shape, log_surface_area(self.m), dtype=self.dtype, device=self.device)
