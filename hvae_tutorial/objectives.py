r"""Objectives: plain functions of a model and a batch.

$$\mathrm{ELBO} = E_q[\log p(x|z)] - \beta\, \mathrm{KL}(q(z|x) \Vert p(z)), \qquad
  L_K = \log \frac1K \sum_{k=1}^K \frac{p(x|z_k)\, p(z_k)}{q(z_k|x)}, \quad z_k \sim q(z|x)$$

At $\beta = 1$, $\mathrm{ELBO} \le E[L_K] \le \log p(x)$ (Kingma and Welling 2014; Burda, Grosse, Salakhutdinov 2016).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hvae_tutorial.models import M1M2, M2, VAE, ClassTerms
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


def unlabelled_bound(model: M2 | M1M2, x: Tensor, beta: float = 1.0) -> ElboTerms:
    r"""Return the bound U(x) on log p(x) of each data point, summed over classes exactly (Kingma et al. 2014, eq. 7).

    Its KL term is that of all latent variables together, the class among them:
    $\sum_y q(y|x)\, \mathrm{KL}(q(z|x,y) \Vert p(z)) + \mathrm{KL}(q(y|x) \Vert p(y))$ in M2.

    Args:
        model: M2, or M1+M2, where the terms of z1 are those of one draw.
        x: data, (batch, x_dim).
        beta: weight of the KL term; 1 makes it a bound on log p(x).

    Returns:
        Three tensors of shape (batch,), with gradients for the model's parameters.

    Raises:
        ValueError: if `x` has another shape.
    """
    return bound_over_classes(model.class_terms(x), beta)


def labelled_bound(model: M2 | M1M2, x: Tensor, y: Tensor, beta: float = 1.0) -> ElboTerms:
    """Return the bound L(x, y) on log p(x, y) of each data point with its class (Kingma et al. 2014, eq. 6).

    Args:
        model: M2, or M1+M2.
        x: data, (batch, x_dim).
        y: classes in 0, ..., C - 1, int64, (batch,).
        beta: weight of the KL term, of which -log p(y) = log C is a part; 1 makes it a bound on log p(x, y).

    Returns:
        Three tensors of shape (batch,), with gradients for the model's parameters.

    Raises:
        ValueError: if `x` or `y` has another shape.
    """
    if y.shape != x.shape[:1]:
        raise ValueError(f"y must have shape {tuple(x.shape[:1])}, one class a data point, got {tuple(y.shape)}")
    return bound_of_class(model.class_terms(x), y, beta)


def bound_over_classes(terms: ClassTerms, beta: float) -> ElboTerms:
    """Return the bound U from its terms for every class: what `unlabelled_bound` does with a model's `class_terms`."""
    log_q = terms.logits.log_softmax(-1).T  # (C, batch)
    q = log_q.exp()
    reconstruction = (q * terms.reconstruction).sum(0)
    kl = (q * (terms.kl + log_q)).sum(0) + math.log(len(q))
    return ElboTerms(reconstruction - beta * kl, reconstruction, kl)


def bound_of_class(terms: ClassTerms, y: Tensor, beta: float) -> ElboTerms:
    """Return the bound L from its terms for every class: what `labelled_bound` does with a model's `class_terms`."""
    index = y.unsqueeze(0)
    reconstruction = terms.reconstruction.gather(0, index).squeeze(0)
    kl = terms.kl.gather(0, index).squeeze(0) + math.log(len(terms.kl))
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
