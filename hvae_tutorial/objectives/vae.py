r"""The objectives of a VAE: plain functions of a model and a batch.

$$\mathrm{ELBO} = E_q[\log p(x|z)] - \beta\, \mathrm{KL}(q(z|x) \Vert p(z)), \qquad
  L_K = \log \frac1K \sum_{k=1}^K \frac{p(x|z_k)\, p(z_k)}{q(z_k|x)}, \quad z_k \sim q(z|x)$$

At $\beta = 1$, $\mathrm{ELBO} \le E[L_K] \le \log p(x)$ (Kingma and Welling 2014; Burda, Grosse, Salakhutdinov 2016).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hvae_tutorial.models import VAE
from hvae_tutorial.models.layers import check_integer

# The widest tensor of `iwae_bound` has at most this many elements (8 MiB in float32), and two of them live at once: few
# enough for the processor's cache, enough for the products to run at full speed.
CHUNK_ELEMENTS = 2**21


class ElboTerms(NamedTuple):
    """The ELBO of each data point and its two terms, in nats, each of shape (batch,)."""

    elbo: Tensor  # reconstruction - beta * kl
    reconstruction: Tensor  # log p(x|z) at the draw of z
    kl: Tensor  # KL(q(z|x) || p(z)); exact in the VAE and in M2


def elbo(model: VAE, x: Tensor, beta: float = 1.0) -> ElboTerms:
    """Return the evidence lower bound of each data point, from one draw of z a point.

    Args:
        model: the VAE.
        x: data, (batch, x_dim).
        beta: weight of the KL term; 1 makes it a bound on log p(x).

    Returns:
        Three tensors of shape (batch,), with gradients for the model's parameters.

    Raises:
        ValueError: if `x` has another shape.
    """
    q = model.encode(x)
    z = q.rsample()  # (batch, ambient_dim)
    reconstruction = model.likelihood.log_prob(x, model.decoder(z))
    kl = model.posterior.kl(q)
    return ElboTerms(reconstruction - beta * kl, reconstruction, kl)


@torch.no_grad()
def iwae_bound(model: VAE, x: Tensor, num_samples: int) -> Tensor:
    """Return the importance-weighted bound on log p(x) of each data point, in nats: (batch,).

    Data and samples are taken in blocks and the weights summed in logarithms as they come, so that memory does not grow
    with either. No gradient is kept: this is a measurement, not a training objective.

    The power spherical density vanishes opposite its mean, so that its weights have infinite variance: with such a
    posterior the bound holds, but rises to log p(x) slowly. The same is true of a normal posterior with a variance of
    1/2 or less in a direction in which the likelihood does not fall off.

    Args:
        model: the VAE, with any posterior that has a density.
        x: data, (batch, x_dim), as the likelihood sees them in training (binarised, if it is Bernoulli).
        num_samples: number of importance samples for each data point, >= 1.

    Raises:
        ValueError: if `num_samples` is not an integer >= 1, or `x` has another shape.
        NotImplementedError: for a plain autoencoder, which has no prior.
    """
    num_samples = check_integer("num_samples", num_samples)
    prior = model.posterior.prior()
    rows = max(1, CHUNK_ELEMENTS // model.likelihood.x_dim)  # draws of z decoded at once
    samples_at_once = min(num_samples, rows)
    points_at_once = rows // samples_at_once

    bounds = []
    for block in x.split(points_at_once):
        q = model.encode(block)
        log_sum = block.new_full((len(block),), -math.inf)
        for start in range(0, num_samples, samples_at_once):
            z = q.sample((min(samples_at_once, num_samples - start),))  # (samples, points, ambient_dim)
            log_weight = model.likelihood.log_prob(block, model.decoder(z)) + prior.log_prob(z) - q.log_prob(z)
            log_sum = torch.logaddexp(log_sum, log_weight.logsumexp(0))
        bounds.append(log_sum - math.log(num_samples))
    return torch.cat(bounds)
