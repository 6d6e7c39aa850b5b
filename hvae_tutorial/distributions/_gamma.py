r"""Differences of log Gamma and its derivatives at ``a`` and ``a + h``, for any size of ``a``.

The normaliser of the Power Spherical law is a ratio of Gamma functions at arguments that may be large and are then
nearly equal. From 16 on, each difference is taken term by term in Stirling's series (DLMF 5.11.1 and its derivatives),
so that nothing cancels; below, the functions themselves are subtracted.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_LARGE = 16.0
# B_2k / (2k (2k - 1)), DLMF 5.11.1: at 16 the first that is left out is 1e-18.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def log_gamma_difference(a: Tensor, h: float) -> Tensor:
    """``log Gamma(a + h) - log Gamma(a)`` for ``a > 0`` and ``h > 0``, of a's shape; differentiable."""

    def large(a: Tensor) -> Tensor:
        leading = (a - 0.5) * torch.log1p(h / a) + h * torch.log(a + h) - h
        return leading + _series(a, h, [(c, -(2 * k + 1)) for k, c in enumerate(_STIRLING)])

    return _choose(a, lambda a: torch.lgamma(a + h) - torch.lgamma(a), large)


def digamma_difference(a: Tensor, h: float) -> Tensor:
    """``psi(a + h) - psi(a)``, positive, as in `log_gamma_difference`."""

    def large(a: Tensor) -> Tensor:
        leading = torch.log1p(h / a) + h / (2 * a * (a + h))
        return leading + _series(a, h, [(-(2 * k + 1) * c, -(2 * k + 2)) for k, c in enumerate(_STIRLING)])

    return _choose(a, lambda a: torch.digamma(a + h) - torch.digamma(a), large)


def trigamma_difference(a: Tensor, h: float) -> Tensor:
    """``psi'(a + h) - psi'(a)``, negative, as in `log_gamma_difference`."""

    def large(a: Tensor) -> Tensor:
        leading = -h / (a * (a + h)) * (1 + 0.5 / a + 0.5 / (a + h))
        terms = [((2 * k + 1) * (2 * k + 2) * c, -(2 * k + 3)) for k, c in enumerate(_STIRLING)]
        return leading + _series(a, h, terms)

    return _choose(a, lambda a: torch.polygamma(1, a + h) - torch.polygamma(1, a), large)


def _choose(a: Tensor, small: Callable[[Tensor], Tensor], large: Callable[[Tensor], Tensor]) -> Tensor:
    """Both are evaluated, each where it is good: a branch not taken must not put NaN into gradients."""
    return torch.where(a < _LARGE, small(a.clamp(max=_LARGE)), large(a.clamp(min=_LARGE)))


def _series(a: Tensor, h: float, terms: list[tuple[float, int]]) -> Tensor:
    """Sum of ``c ((a + h)^p - a^p)`` over the pairs (c, p); the terms are small, and what cancels in them too."""
    b = a + h
    return torch.stack([c * (b**p - a**p) for c, p in terms]).sum(0)
