r"""Means of ``log((1 + mu2 . z) / 2)`` when z has a law about another direction ``mu1``, as one integral.

Let ``h = (m-1)/2`` and ``c = (1 + mu1 . mu2) / 2``. Under the Power Spherical law,

$$E\Bigl(\frac{1 + \mu_2 \cdot z}{2}\Bigr)^{\epsilon}
   = \frac{B(\kappa + h, h + \epsilon)}{B(\kappa + h, h)}\; {}_2F_1(-\epsilon, -\kappa; h; c) .$$

(The law of the log-odds ``log((1 + w) / (1 - w))``, ``w = mu1 . z``, has the Fourier transform
``Gamma(kappa + h + i t) Gamma(h - i t)``; integrated over tangent directions, the power is a function of the difference
between this and the log-odds of ``-mu2``, whose transform is a ratio of Gamma functions too. Parseval's formula is then
Barnes' integral for 2F1, DLMF 15.6.6.) The derivative at ``epsilon = 0``, with the series of 2F1 summed by Euler's Beta
integral, is

$$-E \log\frac{1 + \mu_2 \cdot z}{2}
   = \int_0^1 v^{h-1}\, \frac{M(1 - c\,(1-v)) - v^h M(v)}{1 - v}\, dv , \qquad M(v) = v^\kappa . $$

A von Mises-Fisher law is a mixture of Power Spherical laws of concentrations 0, 1, 2, ... (expand ``exp(2 kappa x)``
in powers of ``x = (1 + w) / 2``), so the same holds for it, with M the generating function of the mixture,

$$\log M(v) = \log E_U e^{2 \kappa v x} - \log E_U e^{2 \kappa x}
            = \phi_m(\kappa v) - \phi_m(\kappa) - \kappa (1 - v) .$$

The integrand is positive and so is its growth as the directions part (c falls from one): nothing cancels. In the odds
``q = (1 - v) / v = e^g`` it is analytic and falls off exponentially at both ends, and the trapezoidal rule converges
exponentially (Trefethen and Weideman 2014, section 5).
"""

import torch
from torch import Tensor

from hvae_tutorial import special

# Error 1e-12 for m from 2 to 1024 and concentrations to 1e6, relative to the divergence where that exceeds one.
_NODES = 128
# The ends of the rule, in units in which both tails fall off doubly exponentially.
_LEFT, _RIGHT = 3.6, 4.3


def power_spherical_excess(kappa: Tensor, sine2: Tensor, m: int) -> Tensor:
    r"""``E log((1 + mu1 . z) / 2) - E log((1 + mu2 . z) / 2)``, never negative, for z of the Power Spherical law.

    Args:
        kappa: Concentrations (...), float64.
        sine2: ``(1 - mu1 . mu2) / 2``, the squared sine of half the angle, broadcast against them.
        m: Dimension of the ambient space.

    Returns:
        The differences, of the broadcast shape; zero for ``sine2 = 0``.
    """
    half = (m - 1) / 2
    g, weights = log_odds(kappa + half, kappa.new_full((), half))
    kappa, sine2 = kappa.unsqueeze(-1), sine2.unsqueeze(-1)
    y, v = torch.sigmoid(g), torch.sigmoid(-g)
    # M(1 - c y) and, of it, the share that M(v) lacks
    near = torch.log1p(-((1 - sine2) * y).clamp(max=0.5))
    far = torch.log((sine2 + (1 - sine2) * v).clamp(max=0.5))
    log_m = kappa * torch.where((1 - sine2) * y < 0.5, near, far)
    growth = -torch.expm1(-kappa * torch.log1p(sine2 * torch.exp(g)))
    return (torch.exp(log_m - half * torch.nn.functional.softplus(g)) * growth * weights).sum(-1)


def von_mises_fisher_mean(kappa: Tensor, sine2: Tensor, m: int) -> Tensor:
    """``-E log((1 + mu2 . z) / 2)``, positive, for z of the von Mises-Fisher law about mu1; as above."""
    half = (m - 1) / 2
    g, weights = log_odds(2 * kappa + half, kappa.new_full((), half))
    kappa, sine2 = kappa.unsqueeze(-1), sine2.unsqueeze(-1)
    at_one = special.log_partition_complement(kappa, m)
    slope = kappa * (special.mean_resultant_length_complement(kappa, m) - 2)
    curvature = kappa.square() * special.mean_resultant_length_derivative(kappa, m)

    def log_generating(y: Tensor) -> Tensor:
        """``log M(1 - y)``, by the complements ``k - phi(k)``, which are small, or where y is, by Taylor's formula."""
        difference = at_one - special.log_partition_complement(kappa * (1 - y), m) - 2 * kappa * y
        return torch.where(y < 1e-5, y * (slope + curvature * y / 2), difference)

    y, log_v = torch.sigmoid(g), -torch.nn.functional.softplus(g)
    moved = torch.exp(log_generating((1 - sine2) * y) + half * log_v)
    return ((moved - torch.exp(log_generating(y) + 2 * half * log_v)) * weights).sum(-1)


def log_odds(rise: Tensor, fall: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes (..., n) in ``g`` and their weights, without a gradient: they do not change the sum.

    They are for integrands that rise like ``rise * e^g`` and fall off like ``(1 + e^g)^(-fall)``. In between the nodes
    are equally far apart, beyond exponentially farther.

    Args:
        rise: Scale of the rise, not negative, float64.
        fall: Power of the fall, positive, broadcast against it.
    """
    rise, fall = rise.detach().unsqueeze(-1), fall.detach().unsqueeze(-1)
    left = -torch.log1p(torch.maximum(rise, fall))  # it may fall before it has risen
    right = 1 - torch.log(fall)
    fraction = torch.linspace(0, 1, _NODES, dtype=left.dtype, device=left.device)
    length = right - left + (_LEFT + _RIGHT)
    step = fraction * length
    falling, rising = torch.exp(_LEFT - step), torch.exp(step - length + _RIGHT)
    return left - _LEFT + step - falling + rising, length / (_NODES - 1) * (1 + falling + rising)
