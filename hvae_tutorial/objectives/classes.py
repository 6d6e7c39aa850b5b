r"""The bounds of models with classes, M2 and M1+M2: for a point whose class is known, and for one whose is not.

With the bound $\mathcal{L}$ on $\log p(x, y)$ and $\mathcal{U}$ on $\log p(x)$ as in `models.m2`
(Kingma, Rezende, Mohamed and Welling 2014, equations 6 and 7).
"""

import math

import torch
from torch import Tensor

from hvae_tutorial.models import M1M2, M2, ClassTerms
from hvae_tutorial.objectives.vae import ElboTerms


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

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import mlp_m2
        >>> from hvae_tutorial.objectives import unlabelled_bound
        >>> unlabelled_bound(mlp_m2("s", 2, x_dim=64), torch.zeros(5, 64)).elbo.shape
        torch.Size([5])
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
        TypeError: if `y` is not int64.
        ValueError: if `x` or `y` has another shape.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import mlp_m2
        >>> from hvae_tutorial.objectives import labelled_bound
        >>> labelled_bound(mlp_m2("s", 2, x_dim=64), torch.zeros(2, 64), torch.tensor([7, 3])).elbo.shape
        torch.Size([2])
    """
    check_classes(y)
    if y.shape != x.shape[:1]:
        raise ValueError(f"y must have shape {tuple(x.shape[:1])}, one class a data point, got {tuple(y.shape)}")
    return bound_of_class(model.class_terms(x), y, beta)


def check_classes(y: Tensor) -> None:
    """Raise a TypeError unless `y` is a tensor of int64; whether a class exists, a GPU could only say by waiting."""
    if not isinstance(y, Tensor) or y.dtype != torch.int64:
        kind = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"y must be a tensor of int64, a class for each data point, got {kind}")


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
