r"""Posterior heads: from features to a distribution over the latent space.

A head maps features $h$ to $q(z|x)$ and knows the prior $p(z)$, $\mathrm{KL}(q \Vert p)$ and the distance of its latent
space. It is the only part in which one autoencoder of this library differs from another, and it serves the VAE, the
semi-supervised and the graph models alike. The parametrisations are those of Davidson et al. (2018), arXiv 1804.00891.

The parameters of q(z|x) have the dtype of the head's weights, also where `torch.autocast` lets layers compute in half
precision: softplus, normalisation, draws, KL and densities then lose nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints, kl_divergence
from torch.nn import functional as F

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, Product, SphericalCauchy, VonMisesFisher
from hvae_tutorial.distributions.product import total
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric
from hvae_tutorial.models.layers import at_least_float32, check_integer, glorot_linear
from hvae_tutorial.sphere import geodesic_distance

_NO_DIRECTION = 1e-12  # a shorter vector has none


class Posterior(nn.Module, ABC):
    """A map from features to a distribution over the latent space, which knows that space.

    Attributes:
        d: dimension of the latent space itself: d for the plane R^d and for the sphere S^d; a product has the sum.
        ambient_dim: number of coordinates of z: d in the plane, m = d + 1 on the sphere; a product has the sum.
        metric: the name scikit-learn's nearest neighbours takes for the order of `distance`: "euclidean" or "cosine".
    """

    d: int
    ambient_dim: int
    metric: ClassVar[str]

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Return q(z|x) for features `h`, (..., in_features): batch shape (...), event shape (ambient_dim,).

        Its arguments are not validated: a head stands inside the training step, where a check would wait on the device.
        """

    @abstractmethod
    def prior(self) -> Distribution:
        """Return p(z), of event shape (ambient_dim,), on the device and in the precision of the head's parameters."""

    def kl(self, q: Distribution) -> Tensor:
        """Return KL(q || prior) in nats for a `q` that this head made: a tensor of q's batch shape."""
        return kl_divergence(q, self.prior())

    @abstractmethod
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances between all points of two sets: (..., n_a, n_b).

        Args:
            a: points, (..., n_a, ambient_dim).
            b: points, (..., n_b, ambient_dim).
        """


class _PlanePosterior(Posterior):
    """What heads on R^d share."""

    metric = "euclidean"

    def __init__(self, in_features: int, d: int) -> None:
        """Build the head.

        Args:
            in_features: number of features the head reads.
            d: number of latent coordinates, >= 1.

        Raises:
            ValueError: if `d` is not an integer >= 1.
        """
        super().__init__()
        self.d = self.ambient_dim = check_integer("d", d)
        self.mean = glorot_linear(in_features, self.d)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the Euclidean distances between all points of `a`, (..., n_a, d), and `b`, (..., n_b, d)."""
        return _euclidean_distance(a, b)


class GaussianPosterior(_PlanePosterior):
    r"""A normal distribution with diagonal covariance on R^d; the prior is standard normal.

    $$q(z|x) = N(\mu, \mathrm{diag}(\sigma^2)), \quad \mu = W h + b, \quad \sigma = \mathrm{softplus}(W' h + b')$$

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import GaussianPosterior
        >>> head = GaussianPosterior(in_features=8, d=3)
        >>> q = head(torch.zeros(5, 8))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
        >>> head.kl(q).detach()  # features and biases are zero: the scale is log 2
        tensor([0.3202, 0.3202, 0.3202, 0.3202, 0.3202])
    """

    def __init__(self, in_features: int, d: int) -> None:
        """Build the head.

        Args:
            in_features: number of features the head reads.
            d: number of latent coordinates, >= 1.

        Raises:
            ValueError: if `d` is not an integer >= 1.
        """
        super().__init__(in_features, d)
        self.raw_scale = glorot_linear(in_features, self.d)

    def forward(self, h: Tensor) -> "Independent[Normal]":
        """Return q(z|x) for features `h`, (..., in_features): batch shape (...), event shape (d,)."""
        return _diagonal_normal(_of(self.mean, h), F.softplus(_of(self.raw_scale, h)))

    def prior(self) -> "Independent[Normal]":
        """Return N(0, I) on R^d, on the device and in the precision of the head's parameters."""
        zero = torch.zeros_like(self.mean.bias.detach())
        return _diagonal_normal(zero, zero + 1)

    def kl(self, q: Distribution) -> Tensor:
        r"""Return KL(q || prior) in nats for a `q` that this head made: a tensor of q's batch shape.

        $$\mathrm{KL}(q \Vert N(0, I)) = \sum_i \tfrac12 (\mu_i^2 + \sigma_i^2 - 1) - \log \sigma_i$$
        """
        # kl_divergence(q, self.prior()) is the same number from twice as many operations, and here each counts:
        # on the CPU a training step of this size waits for Python as much as for its small tensors.
        mean, scale = q.base_dist.loc, q.base_dist.scale  # type: ignore[attr-defined]
        return (0.5 * (mean * mean + scale * scale - 1) - scale.log()).sum(-1)


class DeterministicPosterior(_PlanePosterior):
    """A point mass at z = W h + b on R^d, without a prior: with it the VAE is a plain autoencoder.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import DeterministicPosterior
        >>> head = DeterministicPosterior(in_features=8, d=2)
        >>> q = head(torch.zeros(3, 8))
        >>> q.mean.shape, head.kl(q)
        (torch.Size([3, 2]), tensor([0., 0., 0.]))
    """

    def forward(self, h: Tensor) -> "PointMass":
        """Return the point mass at z for features `h`, (..., in_features): batch shape (...), event shape (d,)."""
        return PointMass(_of(self.mean, h), validate_args=False)

    def prior(self) -> Distribution:
        """Raise: an autoencoder has no prior.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "a plain autoencoder (DeterministicPosterior) has no prior over z: it can neither draw new samples "
            "nor bound log p(x) by importance sampling; use a Gaussian or a hyperspherical posterior for these"
        )

    def kl(self, q: Distribution) -> Tensor:
        """Return zeros of q's batch shape: an autoencoder is trained on its reconstructions alone."""
        return q.mean.new_zeros(q.batch_shape)


class _SpherePosterior(Posterior):
    """What heads on the sphere S^d share: they differ in the family of distributions alone."""

    metric = "cosine"
    family: ClassVar[type[RotationallySymmetric]]
    least_concentration: ClassVar[float] = 1.0

    def __init__(self, in_features: int, d: int) -> None:
        """Build the head.

        Args:
            in_features: number of features the head reads.
            d: dimension of the sphere, >= 1; z has m = d + 1 coordinates.

        Raises:
            ValueError: if `d` is not an integer >= 1.
        """
        super().__init__()
        self.d = check_integer("d", d)
        self.ambient_dim = self.d + 1
        self.direction = glorot_linear(in_features, self.ambient_dim)
        self.raw_concentration = glorot_linear(in_features, 1)

    def forward(self, h: Tensor) -> Distribution:
        """Return q(z|x) for features `h`, (..., in_features): batch shape (...), event shape (m,)."""
        direction = _of(self.direction, h)
        norm = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
        # A fresh head makes 0 of features that are all 0, as a node without words or neighbours has. Any unit vector
        # will do there; division by a tiny number would hand the bias a gradient of 1e12, and Adam freezes it for good.
        loc = torch.where(norm > _NO_DIRECTION, direction / norm.clamp_min(_NO_DIRECTION), self.ambient_dim**-0.5)
        concentration = F.softplus(_of(self.raw_concentration, h)).squeeze(-1) + self.least_concentration
        return self.family(loc, concentration, validate_args=False)

    def prior(self) -> HypersphericalUniform:
        """Return the uniform distribution on S^d, on the device and in the precision of the head's parameters."""
        bias = self.direction.bias
        return HypersphericalUniform(self.ambient_dim, dtype=bias.dtype, device=bias.device, validate_args=False)

    def kl(self, q: Distribution) -> Tensor:
        """Return KL(q || prior) in nats for a `q` that this head made: a tensor of q's batch shape."""
        # kl_divergence(q, self.prior()) is the same number; it builds a prior and looks the pair up at every step.
        return q.kl_to_uniform()  # type: ignore[attr-defined]

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the angles, in [0, pi], between all points of `a`, (..., n_a, m), and `b`, (..., n_b, m)."""
        return geodesic_distance(at_least_float32(a).unsqueeze(-2), at_least_float32(b).unsqueeze(-3))


class VonMisesFisherPosterior(_SpherePosterior):
    r"""A von Mises-Fisher distribution on S^d; the prior is uniform (Davidson et al. 2018).

    $$q(z|x) = \mathrm{vMF}(\mu, \kappa), \quad \mu = \mathrm{normalize}(W h + b),
      \quad \kappa = \mathrm{softplus}(w.h + b') + 1$$

    The concentration has no cap: a cap on it is a cap on the KL term.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import VonMisesFisherPosterior
        >>> head = VonMisesFisherPosterior(in_features=8, d=2)
        >>> q = head(torch.ones(5, 8))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
        >>> head.kl(q).shape, head.prior()
        (torch.Size([5]), HypersphericalUniform(m: 3, batch_shape: ()))
    """

    family = VonMisesFisher


class PowerSphericalPosterior(_SpherePosterior):
    """A power spherical distribution on S^d (De Cao and Aziz 2020); parameters and prior as for von Mises-Fisher.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import PowerSphericalPosterior
        >>> head = PowerSphericalPosterior(in_features=8, d=2)
        >>> q = head(torch.ones(5, 8))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
        >>> head.kl(q).shape, head.prior()
        (torch.Size([5]), HypersphericalUniform(m: 3, batch_shape: ()))
    """

    family = PowerSpherical


class SphericalCauchyPosterior(_SpherePosterior):
    """A spherical Cauchy distribution on S^d (Kato and McCullagh 2020); parameters and prior as for von Mises-Fisher.

    At the same concentration it is as wide near its mode, with tails that fall off like a power.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import SphericalCauchyPosterior
        >>> q = SphericalCauchyPosterior(in_features=8, d=2)(torch.ones(5, 8))
        >>> type(q).__name__, q.batch_shape, q.event_shape
        ('SphericalCauchy', torch.Size([5]), torch.Size([3]))
    """

    family = SphericalCauchy


class ProductPosterior(Posterior):
    r"""Several heads that read the same features: z = (z_1, ..., z_k), with independent parts under q and the prior.

    $$q(z|x) = \prod_i q_i(z_i|x), \quad p(z) = \prod_i p_i(z_i), \quad
      \mathrm{KL} = \sum_i \mathrm{KL}(q_i \Vert p_i)$$

    With von Mises-Fisher heads this is the product of spheres of Davidson, Tomczak and Gavves (2019, arXiv 1910.02912):
    one concentration for each sphere, where a single sphere of as many coordinates has one for all. The heads may be of
    different kinds, as in plane x sphere.

    Spheres S^(d_1), ..., S^(d_k) together have $d = \sum_i d_i$ dimensions and $m = \sum_i (d_i + 1) = d + k$
    coordinates: at equal m, a product has k - 1 dimensions less than one sphere.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import GaussianPosterior, ProductPosterior, VonMisesFisherPosterior
        >>> head = ProductPosterior([VonMisesFisherPosterior(8, d=2), GaussianPosterior(8, d=4)])
        >>> head.d, head.ambient_dim
        (6, 7)
        >>> head(torch.ones(5, 8)).rsample().shape
        torch.Size([5, 7])
    """

    metric = "euclidean"
    heads: Sequence[Posterior]

    def __init__(self, heads: Sequence[Posterior]) -> None:
        """Put heads together.

        Args:
            heads: one or more heads that read the same features; z has their coordinates in this order.

        Raises:
            TypeError: if `heads` is no sequence of posterior heads.
            ValueError: if there are no heads.
        """
        if not isinstance(heads, Iterable):
            raise TypeError(f"heads must be a sequence of posterior heads, got {type(heads).__name__}")
        heads = list(heads)
        if not heads:
            raise ValueError("heads must have at least one posterior head, got none")
        for head in heads:
            if not isinstance(head, Posterior):
                raise TypeError(f"heads must be posterior heads, got {type(head).__name__}")
        super().__init__()
        self.heads = nn.ModuleList(heads)  # type: ignore[assignment]
        self.d = sum(head.d for head in heads)
        self.ambient_dim = sum(head.ambient_dim for head in heads)

    def forward(self, h: Tensor) -> Product:
        """Return q(z|x) for features `h`, (..., in_features): batch shape (...), event shape (ambient_dim,)."""
        return Product([head(h) for head in self.heads], validate_args=False)

    def prior(self) -> Product:
        """Return the product of the heads' priors.

        Raises:
            NotImplementedError: if one of the heads has no prior.
        """
        return Product([head.prior() for head in self.heads], validate_args=False)

    def kl(self, q: Distribution) -> Tensor:
        """Return KL(q || prior) in nats for a `q` that this head made, the sum over the heads, of q's batch shape."""
        parts = q.parts  # type: ignore[attr-defined]
        return total(head.kl(part) for head, part in zip(self.heads, parts, strict=True))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        r"""Return the straight-line distances between all points of `a`, (..., n_a, m), and `b`, (..., n_b, m).

        $$\sqrt{\textstyle\sum_i |a_i - b_i|^2}, \quad |a_i - b_i|^2 = 2 (1 - a_i \cdot b_i) \text{ on a sphere}$$

        A sphere enters by its chord, which orders its points as the angle does and equals it up to a relative error of
        angle^2 / 24, and not by the angle itself: so `metric`, which knows coordinates and not where a part begins,
        orders all points exactly as this distance does.
        """
        return _euclidean_distance(a, b)


# Every head that models are built with by its letter, from its number of features and d.
POSTERIORS: dict[str, Callable[[int, int], Posterior]] = {
    "s": VonMisesFisherPosterior,
    "n": GaussianPosterior,
    "ps": PowerSphericalPosterior,
    "c": SphericalCauchyPosterior,
    "ae": DeterministicPosterior,
}


def laws() -> list[str]:
    """Return the letters of the heads whose posterior has a density, and which have a prior: all but "ae"."""
    return [letter for letter, head in POSTERIORS.items() if head is not DeterministicPosterior]


class PointMass(Distribution):
    """All mass at one point. It can be sampled, but has no density.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import PointMass
        >>> PointMass(torch.tensor([1.0, 2.0])).sample((2,))
        tensor([[1., 2.],
                [1., 2.]])
    """

    arg_constraints = {"loc": constraints.real_vector}  # noqa: RUF012 (the name and form torch.distributions asks for)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, *, validate_args: bool | None = None) -> None:
        """Put all mass at `loc`, (..., d): batch shape (...), event shape (d,)."""
        self.loc = loc
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The point, (..., d)."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The point, (..., d)."""
        return self.loc

    def rsample(self, sample_shape: torch.types._size = torch.Size()) -> Tensor:  # noqa: B008 (torch's own signature)
        """Return the point, repeated to `sample_shape` + (..., d)."""
        return self.loc.expand(self._extended_shape(sample_shape))


def _of(layer: nn.Linear, h: Tensor) -> Tensor:
    """Return what the layer makes of the features, in the dtype of its weights."""
    return layer(h).to(layer.weight.dtype)


def _euclidean_distance(a: Tensor, b: Tensor) -> Tensor:
    # cdist's matrix-product mode subtracts squares and is off by 1e-3 between near points in float32.
    return torch.cdist(at_least_float32(a), at_least_float32(b), compute_mode="donot_use_mm_for_euclid_dist")


def _diagonal_normal(loc: Tensor, scale: Tensor) -> "Independent[Normal]":
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
