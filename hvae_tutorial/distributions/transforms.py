r"""Maps from unconstrained vectors onto the sphere, registered with `torch.distributions`.

Two registries of torch answer two questions. ``transform_to(constraint)`` is for optimisation: any smooth map onto the
set, here `Normalize`, which is defined by ``m`` numbers for a point of the sphere in R^m, and forgets their length.
``biject_to(constraint)`` is for densities, as in Hamiltonian Monte Carlo: a bijection with a Jacobian determinant, here
`Stereographic`, which maps R^(m-1) onto the sphere without one point. (For the simplex, torch has a softmax and stick
breaking in the same way.) For finite non-negative numbers both give softplus.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import SoftplusTransform, Transform

from hvae_tutorial.distributions.constraints import _Concatenated, concatenated, finite_nonnegative, unit_vector

__all__ = ["Concatenated", "Normalize", "Stereographic"]


class Normalize(Transform):
    r"""``x / |x|``, from R^m without zero onto the unit sphere; what ``transform_to(unit_vector)`` gives.

    It is no bijection, hence has no log-determinant; its inverse returns the unit vector itself, one of the vectors
    that are mapped to it. Zero has no direction: it gives NaN.

    Examples:
        >>> import torch
        >>> from torch.distributions import transform_to
        >>> from hvae_tutorial.distributions.constraints import unit_vector
        >>> transform_to(unit_vector)(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
    """

    domain = constraints.real_vector
    codomain = unit_vector
    bijective = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Normalize)

    def _call(self, x: Tensor) -> Tensor:
        x = x / _largest(x)  # squares of large and of small numbers leave the dtype's range
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)

    def _inverse(self, y: Tensor) -> Tensor:
        return y


def _largest(x: Tensor) -> Tensor:
    """The largest absolute coordinate, (..., 1), or 1 where it is 0; without a gradient, as it cancels in results."""
    largest = x.detach().abs().amax(-1, keepdim=True)
    return torch.where(largest > 0, largest, 1.0)


class Stereographic(Transform):
    r"""Inverse stereographic projection of R^(m-1) onto the sphere in R^m; what ``biject_to(unit_vector)`` gives.

    $$z = \frac{(2x,\; 1 - |x|^2)}{1 + |x|^2},\qquad x = \frac{(z_1, \dots, z_{m-1})}{1 + z_m},\qquad
      \log\Bigl|\frac{dz}{dx}\Bigr| = (m - 1) \log\frac{2}{1 + |x|^2}$$

    The determinant is that of surface area on the sphere, to which all densities of this package refer. Zero becomes
    the last axis; its opposite is the one point that is not reached. Densities become heavy-tailed: the uniform law
    falls off like ``|x|^(-2 (m-1))``. (do Carmo 1992, chapter 1, for the conformal factor ``2 / (1 + |x|^2)``.)

    Examples:
        >>> import torch
        >>> from torch.distributions import biject_to
        >>> from hvae_tutorial.distributions.constraints import unit_vector
        >>> to_sphere = biject_to(unit_vector)
        >>> x = torch.tensor([[0.0, 0.0], [0.5, 0.0]])
        >>> z = to_sphere(x)
        >>> z
        tensor([[0.0000, 0.0000, 1.0000],
                [0.8000, 0.0000, 0.6000]])
        >>> to_sphere.inv(z)
        tensor([[0.0000, 0.0000],
                [0.5000, 0.0000]])
        >>> to_sphere.log_abs_det_jacobian(x, z)
        tensor([1.3863, 0.9400])
    """

    domain = constraints.real_vector
    codomain = unit_vector
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stereographic)

    def _call(self, x: Tensor) -> Tensor:
        scale = _largest(x).clamp(min=1)  # of numerator and denominator, against overflow
        one, x = scale.reciprocal().square(), x / scale
        squared = x.square().sum(-1, keepdim=True)
        return torch.cat([2 * x / scale, one - squared], dim=-1) / (one + squared)

    def _inverse(self, y: Tensor) -> Tensor:
        rest, last = y[..., :-1], y[..., -1:]
        # 1 + z_m near the opposite of the last axis, without cancellation: the squares of the coordinates sum to one.
        south = last < 0
        far = rest.square().sum(-1, keepdim=True) / (1 - torch.where(south, last, 0.0))
        return rest / torch.where(south, far, 1 + last)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """``(m - 1) log(2 / (1 + |x|^2))``, shape (...)."""
        scale = _largest(x).clamp(min=1)
        squared = (x / scale).square().sum(-1) + (scale.reciprocal().square() - 1).squeeze(-1)
        return x.shape[-1] * (math.log(2) - 2 * scale.log().squeeze(-1) - torch.log1p(squared))

    def forward_shape(self, shape: Sequence[int]) -> Size:
        """Shape of the result for an argument of the given shape."""
        return _resized(shape, 1)

    def inverse_shape(self, shape: Sequence[int]) -> Size:
        """Shape of the argument for a result of the given shape."""
        return _resized(shape, -1)


class Concatenated(Transform):
    """Transforms of vectors, each on its piece of a longer vector; pieces may change their sizes.

    `torch.distributions.transforms.CatTransform` is for pieces whose sizes stay the same.

    Args:
        transforms: Transforms of vectors (event dimension 1).
        sizes: Sizes of the pieces of the result.
        cache_size: As in `torch.distributions.transforms.Transform`.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.distributions.transforms import Concatenated, Normalize, Stereographic
        >>> two_spheres = Concatenated([Normalize(), Stereographic()], sizes=[2, 3])
        >>> two_spheres(torch.tensor([3.0, 4.0, 1.0, 0.0]))
        tensor([0.6000, 0.8000, 1.0000, 0.0000, 0.0000])
    """

    def __init__(self, transforms: Sequence[Transform], sizes: Sequence[int], cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.transforms, self.sizes = tuple(transforms), tuple(sizes)
        self._input_sizes = tuple(
            transform.inverse_shape((size,))[-1] for transform, size in zip(transforms, sizes, strict=True)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Concatenated) and self.transforms == other.transforms and self.sizes == other.sizes

    def with_cache(self, cache_size: int = 1) -> "Concatenated":
        """The same transform with another cache."""
        return Concatenated(self.transforms, self.sizes, cache_size)

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether every transform is."""
        return all(transform.bijective for transform in self.transforms)

    @property
    def domain(self) -> Constraint:  # type: ignore[override]
        """Vectors whose pieces lie in the domains."""
        return concatenated([transform.domain for transform in self.transforms], self._input_sizes)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]
        """Vectors whose pieces lie in the codomains."""
        return concatenated([transform.codomain for transform in self.transforms], self.sizes)

    def _call(self, x: Tensor) -> Tensor:
        pieces = x.split(self._input_sizes, dim=-1)
        return torch.cat([t(piece) for t, piece in zip(self.transforms, pieces, strict=True)], dim=-1)

    def _inverse(self, y: Tensor) -> Tensor:
        pieces = y.split(self.sizes, dim=-1)
        return torch.cat([t.inv(piece) for t, piece in zip(self.transforms, pieces, strict=True)], dim=-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum over the pieces, shape (...)."""
        pieces = zip(self.transforms, x.split(self._input_sizes, -1), y.split(self.sizes, -1), strict=True)
        return torch.stack([t.log_abs_det_jacobian(a, b) for t, a, b in pieces]).sum(0)

    def forward_shape(self, shape: Sequence[int]) -> Size:
        """Shape of the result for an argument of the given shape."""
        return _resized(shape, sum(self.sizes) - sum(self._input_sizes))

    def inverse_shape(self, shape: Sequence[int]) -> Size:
        """Shape of the argument for a result of the given shape."""
        return _resized(shape, sum(self._input_sizes) - sum(self.sizes))


def _resized(shape: Sequence[int], change: int) -> Size:
    if len(shape) < 1:
        raise ValueError("vectors must have at least one dimension, got a number")
    return Size((*shape[:-1], shape[-1] + change))


@transform_to.register(unit_vector)
def _normalize(constraint: Constraint) -> Transform:
    return Normalize()


@biject_to.register(unit_vector)
def _stereographic(constraint: Constraint) -> Transform:
    return Stereographic()


@transform_to.register(finite_nonnegative)
@biject_to.register(finite_nonnegative)
def _softplus(constraint: Constraint) -> Transform:
    return SoftplusTransform()


def _register_pieces(registry: Callable[[Constraint], Transform]) -> None:
    @registry.register(_Concatenated)  # type: ignore[attr-defined]
    def _pieces(constraint: _Concatenated) -> Transform:
        return Concatenated([registry(part) for part in constraint.parts], constraint.sizes)


_register_pieces(transform_to)
_register_pieces(biject_to)
