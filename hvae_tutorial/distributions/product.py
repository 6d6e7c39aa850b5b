"""Products of independent laws."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, Self

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from hvae_tutorial.distributions.constraints import concatenated

__all__ = ["Product"]


class Product(Distribution):
    r"""Law of several independent vectors, written one after another: ``z = (z_1, ..., z_k)``.

    $$\log p(z) = \sum_i \log p_i(z_i)$$

    With von Mises-Fisher parts it is the posterior of Davidson, Tomczak and Gavves (2019, arXiv 1910.02912): a law on a
    product of spheres, with a concentration for each. Densities refer to the product of the measures of the parts:
    surface area on a sphere, volume in the plane. Entropies and divergences add as the log densities do; means, modes
    and variances are written one after another.

    Args:
        parts: Laws of vectors (event shape (m_i,)), whose batch shapes broadcast.
        validate_args: As in `torch.distributions.Distribution`; it checks values, the parts have checked their own
            parameters.

    Raises:
        ValueError: no parts, a part whose values are not vectors, or batch shapes that do not broadcast.

    Examples:
        >>> import torch
        >>> from torch.distributions import Independent, Normal, kl_divergence
        >>> from hvae_tutorial.distributions import HypersphericalUniform, Product, VonMisesFisher
        >>> plane = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> q = Product([VonMisesFisher(torch.tensor([1.0, 0, 0]), 10.0), plane])
        >>> p = Product([HypersphericalUniform(3), plane])
        >>> q.mean
        tensor([0.9000, 0.0000, 0.0000, 0.0000, 0.0000])
        >>> [tuple(part.shape) for part in q.split(q.rsample((4,)))]
        [(4, 3), (4, 2)]
        >>> kl_divergence(q, p)
        tensor(1.9957)
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  (torch declares it so)

    def __init__(self, parts: Sequence[Distribution], validate_args: bool | None = None) -> None:
        if isinstance(parts, Tensor) or not isinstance(parts, Iterable):
            raise TypeError(f"parts must be a sequence of distributions, got {type(parts).__name__}")
        parts = tuple(parts)
        if not parts:
            raise ValueError("parts must have at least one distribution, got none")
        for part in parts:
            if not isinstance(part, Distribution):
                raise TypeError(f"parts must be distributions, got {type(part).__name__}")
            if len(part.event_shape) != 1:
                raise ValueError(f"parts must have event shapes (m,), got {tuple(part.event_shape)} of {part}")
        shapes = [part.batch_shape for part in parts]
        try:
            batch_shape = torch.broadcast_shapes(*shapes)
        except RuntimeError as error:
            raise ValueError(f"parts must have batch shapes that broadcast, got {[*map(tuple, shapes)]}") from error
        self.parts = tuple(part if part.batch_shape == batch_shape else part.expand(batch_shape) for part in parts)
        self.sizes = tuple(part.event_shape[0] for part in parts)
        super().__init__(batch_shape, Size([sum(self.sizes)]), validate_args=validate_args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"

    def expand(self, batch_shape: Any, _instance: Self | None = None) -> Self:
        """The same law with its batch expanded to ``batch_shape``."""
        new = self._get_checked_instance(Product, _instance)
        batch_shape = Size(batch_shape)
        new.parts, new.sizes = tuple(part.expand(batch_shape) for part in self.parts), self.sizes
        super(Product, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether every part has samples with gradients."""
        return all(part.has_rsample for part in self.parts)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Constraint:
        """Vectors whose pieces lie in the supports of the parts."""
        return concatenated([part.support for part in self.parts], self.sizes)  # type: ignore[misc]

    def split(self, value: Tensor) -> tuple[Tensor, ...]:
        """The pieces (..., m_i) of values (..., m)."""
        return value.split(self.sizes, dim=-1)

    @property
    def mean(self) -> Tensor:
        """Means of the parts, shape (..., m)."""
        return torch.cat([part.mean for part in self.parts], dim=-1)

    @property
    def mode(self) -> Tensor:
        """Modes of the parts, shape (..., m)."""
        return torch.cat([part.mode for part in self.parts], dim=-1)

    @property
    def variance(self) -> Tensor:
        """Variances of the coordinates, shape (..., m)."""
        return torch.cat([part.variance for part in self.parts], dim=-1)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008  (an empty Size is immutable)
        """Samples without gradient, shape sample_shape + batch_shape + (m,)."""
        return torch.cat([part.sample(sample_shape) for part in self.parts], dim=-1)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Samples with the gradients of the parts, shape sample_shape + batch_shape + (m,)."""
        return torch.cat([part.rsample(sample_shape) for part in self.parts], dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density in nats: the sum over the parts.

        Args:
            value: Points, shape (..., m), broadcast against the batch.

        Returns:
            Log densities of the broadcast shape.
        """
        if self._validate_args:
            self._validate_sample(value)
        return total(part.log_prob(piece) for part, piece in zip(self.parts, self.split(value), strict=True))

    def entropy(self) -> Tensor:
        """Differential entropy in nats, the sum over the parts, shape (...)."""
        return total(part.entropy() for part in self.parts)


def total(terms: Iterable[Tensor]) -> Tensor:
    """Sum of one or more tensors of the same shape; Python's `sum` would begin with an addition to 0."""
    return reduce(add, terms)
