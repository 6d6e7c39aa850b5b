r"""The mean of ``log(1 + beta (1 - mu2 . z))`` when z has the Power Spherical law about another direction ``mu1``.

This is the logarithm of a spherical Cauchy density about ``mu2``. Let ``h = (m-1)/2``, ``c = (1 + mu1 . mu2) / 2`` and
``x = (1 + mu2 . z) / 2``, so that ``1 + beta (1 - mu2 . z) = (1 + 2 beta) (1 - xi x)``, ``xi = 2 beta / (1 + 2 beta)``.
The moments of x are known (see `hvae_tutorial.distributions._logarithm`),

$$E x^k = \frac{(h)_k}{(\kappa + 2h)_k}\; {}_2F_1(-k, -\kappa; h; c) ,$$

and with them the binomial series of ``(1 - xi x)^epsilon``, whose double sum is Appell's function

$$E \bigl(1 + \beta (1 - \mu_2 \cdot z)\bigr)^\epsilon
    = F_1(-\epsilon;\, -\kappa,\, \kappa + h;\, \kappa + 2h;\, -2 \beta c,\, -2 \beta)$$

(for the inner sum, Pfaff's transformation, DLMF 15.8.1). Its derivative at ``epsilon = 0``, from Euler's integral (DLMF
16.15.1), is

$$E \log\bigl(1 + \beta (1 - \mu_2 \cdot z)\bigr) = \int_0^1 \frac{(1 - u)^{\kappa + 2h - 1}}{u}
    \Bigl(1 - \frac{(1 + 2 \beta c u)^\kappa}{(1 + 2 \beta u)^{\kappa + h}}\Bigr)\, du .$$

The integrand is positive and grows as the directions part. In the odds ``u / (1 - u) = e^g`` it is analytic and falls
off exponentially at both ends, as those of `hvae_tutorial.distributions._logarithm`, whose nodes it shares.
"""

import torch
from torch import Tensor

from hvae_tutorial.distributions._logarithm import log_odds


def power_spherical_log_mean(kappa: Tensor, sine2: Tensor, twice_beta: Tensor, m: int) -> Tensor:
    """``E log(1 + beta (1 - mu2 . z))``, never negative.

    Args:
        kappa: Concentrations (...), float64.
        sine2: ``(1 - mu1 . mu2) / 2``, the squared sine of half the angle, broadcast against them.
        twice_beta: Non-negative factors ``2 beta``, broadcast against them.
        m: Dimension of the ambient space.

    Returns:
        The means, of the broadcast shape.
    """
    half = (m - 1) / 2
    g, weights = log_odds(twice_beta * (half + kappa * sine2), kappa + 2 * half)
    kappa, sine2, twice_beta = kappa.unsqueeze(-1), sine2.unsqueeze(-1), twice_beta.unsqueeze(-1)
    u = twice_beta * torch.sigmoid(g)
    log_ratio = kappa * torch.log1p(u * sine2 / (1 + u * (1 - sine2))) + half * torch.log1p(u)
    log_power = (kappa + 2 * half) * torch.nn.functional.softplus(g)
    return (torch.exp(-log_power) * -torch.expm1(-log_ratio) * weights).sum(-1)
