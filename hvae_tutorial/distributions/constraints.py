"""Constraints on the parameters and values of distributions on the sphere."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions.constraints import Constraint

__all__ = ["concatenated", "finite_nonnegative", "unit_vector"]


class _FiniteNonnegative(Constraint):
    """A number that is finite and not negative; NaN is neither."""

    def check(self, value: Tensor) -> Tensor:
        return torch.isfinite(value) & (value >= 0)


class _UnitVector(Constraint):
    """A vector of norm one along the last dimension, up to rounding: 1e-5, or 8 epsilons of a narrower dtype."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            raise TypeError(f"unit vectors must be a floating-point tensor, got a tensor of dtype {value.dtype}")
        norm = torch.linalg.vector_norm(value, dim=-1, dtype=torch.promote_types(value.dtype, torch.float32))
        return (norm - 1).abs() <= norm_tolerance(value.dtype)


def norm_tolerance(dtype: torch.dtype) -> float:
    """How far from one the norm of a unit vector may be that was rounded to ``dtype``."""
    return max(1e-5, 8 * torch.finfo(dtype).eps)


def check_shape(name: str, shape: Any) -> Any:
    """Return a batch's or a sample's shape, as a Size; compiled code, where sizes may be symbols, takes it as it is.

    Raises:
        TypeError: It is no sequence of integers.
        ValueError: One of them is negative.
    """
    if torch.compiler.is_compiling():
        return shape
    try:
        size = Size(shape)
    except TypeError as error:
        raise TypeError(f"{name} must be a tuple of integers or a torch.Size, got {shape!r}") from error
    if any(n < 0 for n in size):
        raise ValueError(f"{name} must have no negative size, got {tuple(size)}")
    return size


class _Concatenated(Constraint):
    """Vectors whose pieces, of the given sizes, each satisfy a constraint on vectors.

    `torch.distributions.constraints.cat` is for constraints on single numbers.
    """

    event_dim = 1

    def __init__(self, parts: Sequence[Constraint], sizes: Sequence[int]) -> None:
        self.parts, self.sizes = tuple(parts), tuple(sizes)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        pieces = value.split(self.sizes, dim=-1)
        return torch.stack([part.check(piece) for part, piece in zip(self.parts, pieces, strict=True)]).all(0)


concatenated = _Concatenated
finite_nonnegative = _FiniteNonnegative()
unit_vector = _UnitVector()
