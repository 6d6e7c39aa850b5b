r"""Likelihoods p(x|z): what the decoder's output means.

One `log_prob` serves training, validation and the importance-sampling bound, so they cannot disagree about the model.
It is computed in at least float32, also where `torch.autocast` lets the decoder compute in half precision.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal
from torch.nn import functional as F

from hvae_tutorial.models.layers import at_least_float32, check_integer


class Likelihood(nn.Module, ABC):
    """A map from the decoder's output to a distribution over x."""

    def __init__(self, x_dim: int) -> None:
        """Build the likelihood of an x with `x_dim` coordinates.

        Raises:
            ValueError: if `x_dim` is not an integer >= 1.
        """
        super().__init__()
        self.x_dim = check_integer("x_dim", x_dim)

    @abstractmethod
    def forward(self, output: Tensor) -> Distribution:
        """Return p(x|z) for the decoder's `output`, (..., x_dim): batch shape (...), event shape (x_dim,)."""

    @abstractmethod
    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) in nats: `x`, (..., x_dim), broadcasts against `output`, (..., x_dim)."""

    def extra_repr(self) -> str:
        """The settings shown in the model's repr."""
        return f"x_dim={self.x_dim}"


class BernoulliLikelihood(Likelihood):
    r"""Independent pixels, with the logits $l$ as the decoder's output.

    $$\log p(x|z) = x.l - \sum_i \log(1 + e^{l_i})$$

    Pixels are 0 or 1. Grey values in [0, 1] are allowed, and stand for the mean over pixels drawn from them. Values are
    not checked here, since that would wait on the device in every step; `training.fit` checks its data once.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import BernoulliLikelihood
        >>> likelihood = BernoulliLikelihood(x_dim=4)
        >>> logits = torch.zeros(4)
        >>> likelihood(logits).mean
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
        >>> likelihood.log_prob(torch.tensor([0.0, 1.0, 1.0, 0.0]), logits)  # 4 log(1/2)
        tensor(-2.7726)
    """

    def forward(self, output: Tensor) -> "Independent[Bernoulli]":
        """Return p(x|z) for logits `output`, (..., x_dim): batch shape (...), event shape (x_dim,)."""
        return Independent(Bernoulli(logits=at_least_float32(output), validate_args=False), 1, validate_args=False)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) in nats: `x`, (..., x_dim), broadcasts against logits `output`, (..., x_dim)."""
        # No matrix product and no vecdot: under autocast they would round to half precision.
        # softplus is linear beyond its threshold: an error of 2e-9 at the default, 20; at 40 not even float64 sees it.
        logits = at_least_float32(output)
        return (x * logits).sum(-1) - F.softplus(logits, threshold=40).sum(-1)


class GaussianLikelihood(Likelihood):
    r"""Real-valued x with the mean $y$, the decoder's output, and one learned noise scale.

    $$p(x|z) = N(x; y, \sigma^2 I)$$

    Learning $\sigma$ with the network balances reconstruction and KL by maximum likelihood instead of by hand
    (Rybkin, Daniilidis and Levine 2021). The data must be noisy: where the decoder can match them exactly, the
    likelihood grows without bound as $\sigma$ shrinks.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import GaussianLikelihood
        >>> likelihood = GaussianLikelihood(x_dim=2)
        >>> likelihood.log_prob(torch.zeros(2), torch.zeros(2)).detach()  # -log(2 pi)
        tensor(-1.8379)
    """

    def __init__(self, x_dim: int) -> None:
        """Build the likelihood of an x with `x_dim` coordinates; the scale starts at 1.

        Raises:
            ValueError: if `x_dim` is not an integer >= 1.
        """
        super().__init__(x_dim)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, output: Tensor) -> "Independent[Normal]":
        """Return p(x|z) with mean `output`, (..., x_dim): batch shape (...), event shape (x_dim,)."""
        mean = at_least_float32(output)
        return Independent(Normal(mean, self.log_scale.exp(), validate_args=False), 1, validate_args=False)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) in nats: `x`, (..., x_dim), broadcasts against the mean `output`, (..., x_dim)."""
        residual = (x - at_least_float32(output)) * torch.exp(-self.log_scale)
        log_normaliser = self.x_dim * (self.log_scale + 0.5 * math.log(2 * math.pi))
        return -0.5 * residual.square().sum(-1) - log_normaliser
