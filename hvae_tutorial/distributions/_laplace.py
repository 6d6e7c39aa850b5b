r"""The mean of ``log(1 + beta (1 - mu2 . z))`` when z has the von Mises-Fisher law about another direction ``mu1``.

This is the logarithm of a spherical Cauchy density about ``mu2``. With Frullani's integral for the logarithm, and the
Laplace transform of ``y = 1 - mu2 . z``, which is known since another exponential factor leaves the law in its family,

$$E \log(1 + \beta y) = \int_0^\infty \frac{e^{-t}}t \bigl(1 - L(\beta t)\bigr)\, dt,\qquad
  \log L(s) = \log E e^{-s y} = \phi_m(|\kappa \mu_1 + s \mu_2|) - \phi_m(\kappa) - s .$$

The integrand is positive. In ``log t`` it is analytic in a strip and falls off exponentially at one end, doubly
exponentially at the other: the trapezoidal rule converges exponentially, whatever the concentrations and directions.
"""

import torch
from torch import Tensor

from hvae_tutorial import special

# Error 1e-12, relative to the result where that exceeds one; half a digit less at m = 128, where phi itself is large.
_NODES = 384
_LEFT, _RIGHT = 40.0, 3.8  # where what is left of either tail is below rounding


def von_mises_fisher_log_mean(kappa: Tensor, sine2: Tensor, beta: Tensor, m: int) -> Tensor:
    """``E log(1 + beta (1 - mu2 . z))``, positive.

    Args:
        kappa: Concentrations (...), float64.
        sine2: ``(1 - mu1 . mu2) / 2``, the squared sine of half the angle, broadcast against them.
        beta: Non-negative factors, broadcast against them.
        m: Dimension of the ambient space.

    Returns:
        The means, of the broadcast shape.
    """
    kappa, sine2, beta = (column.unsqueeze(-1) for column in torch.broadcast_tensors(kappa, sine2, beta))
    left = _LEFT + torch.log1p(2 * beta.detach())
    fraction = torch.linspace(0, 1, _NODES, dtype=kappa.dtype, device=kappa.device)
    t = torch.exp((left + _RIGHT) * fraction - left)
    s = beta * t
    length = torch.sqrt((kappa - s).square() + 4 * kappa * s * (1 - sine2))
    # kappa - phi(kappa), which stays small, in place of phi; and |kappa mu1 + s mu2| - kappa - s without cancellation
    shorter = 4 * kappa * s * sine2 / (length + kappa + s).clamp(min=torch.finfo(s.dtype).tiny)
    at_length, at_kappa = (special.log_partition_complement(k, m) for k in (length, kappa))
    log_transform = (at_kappa - at_length - shorter).clamp(max=0)
    step = (left + _RIGHT) / (_NODES - 1)
    return (torch.exp(-t) * -torch.expm1(log_transform) * step).sum(-1)
