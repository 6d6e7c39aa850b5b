r"""Means of ``log(1 + beta (1 - mu2 . z))`` when z has a law about another direction ``mu1``.

This is the logarithm of a spherical Cauchy density about ``mu2``. With ``y = 1 - mu1 . z`` and
``s = (1 - mu1 . mu2) / 2``, the mean over the tangent directions of z, whose coordinate c is one of a uniform point of
R^(m-1), is

$$E \log(a - b c) = \tfrac12 E \log\bigl(a^2 - b^2 + b^2 (1 - c^2)\bigr),\qquad
  a^2 - b^2 = 1 + 2 \beta (y + 2 s - 2 y s) + \beta^2 (2 s - y)^2,\quad b^2 = 4 \beta^2 y (2 - y) s (1 - s) ,$$

a sum of positive terms, smooth in all its variables. Two trapezoidal rules take the means, over c as in
`hvae_tutorial.distributions._moebius` and over the log-odds of ``y / 2``.
"""

import torch
from torch import Tensor

from hvae_tutorial.distributions._moebius import sech2_rule

_NODES = 256


def von_mises_fisher_interior(kappa: Tensor, sine2: Tensor, beta: Tensor, m: int) -> Tensor:
    """``E log(1 + beta (1 - mu2 . z))`` for z of the von Mises-Fisher law about mu1.

    Args:
        kappa: Concentrations (...), float64.
        sine2: ``(1 - mu1 . mu2) / 2``, the squared sine of half the angle, broadcast against them.
        beta: Non-negative factors, broadcast against them.
        m: Dimension of the ambient space.

    Returns:
        The means, positive, of the broadcast shape.
    """
    half = (m - 1) / 2
    g = _log_odds(2 * kappa, half)
    log_density = -half * (_softplus(-g) + _softplus(g)) - 2 * kappa.unsqueeze(-1) * torch.sigmoid(g)
    return _mean(g, log_density, sine2, beta, m)


def power_spherical_interior(kappa: Tensor, sine2: Tensor, beta: Tensor, m: int) -> Tensor:
    """The same for z of the Power Spherical law about mu1."""
    half = (m - 1) / 2
    g = _log_odds(kappa, half)
    log_density = -half * _softplus(-g) - (kappa.unsqueeze(-1) + half) * _softplus(g)
    return _mean(g, log_density, sine2, beta, m)


def _mean(g: Tensor, log_density: Tensor, sine2: Tensor, beta: Tensor, m: int) -> Tensor:
    y = 2 * torch.sigmoid(g)
    s, beta = sine2.unsqueeze(-1), beta.unsqueeze(-1)
    excess = 2 * beta * (y + 2 * s - 2 * y * s) + (beta * (2 * s - y)).square()  # a^2 - b^2 - 1
    slope2 = 4 * beta.square() * y * (2 - y) * s * (1 - s)
    sech2, weights = sech2_rule(m - 1, g)
    inner = torch.log1p(excess.unsqueeze(-1) + slope2.unsqueeze(-1) * sech2) @ weights / 2
    return (torch.softmax(log_density, dim=-1) * inner).sum(-1)


def _log_odds(kappa: Tensor, half: float) -> Tensor:
    """Equidistant log-odds (..., n), without a gradient: they do not change the sum.

    The density of the log-odds rises like ``e^(h g)`` and falls off like ``e^(-(kappa + h) g)``; between the tails it
    is about as wide as ``h^(-1/2)``.
    """
    kappa = kappa.detach().unsqueeze(-1)
    peak = torch.log(half / (kappa + half))
    left, right = 40 / half + 9 / half**0.5, 40 / (kappa + half) + 9 / half**0.5
    fraction = torch.linspace(0, 1, _NODES, dtype=kappa.dtype, device=kappa.device)
    return peak - left + (left + right) * fraction


_softplus = torch.nn.functional.softplus
