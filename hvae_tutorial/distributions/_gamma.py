r"""Differences of log Gamma and its derivatives at ``a`` and ``b = a + h``, for any size of ``a``.

The normaliser of the Power Spherical law is a ratio of Gamma functions at arguments that may be large and are then
nearly equal. From 1000 on, each difference is taken term by term in Stirling's series (DLMF 5.11.1 and its
derivatives), so that nothing cancels: with ``r = 1 / a`` and ``s = 1 / b``,

$$\log\frac{\Gamma(b)}{\Gamma(a)} = (a - \tfrac12) \log(1 + h r) + h \log b - h
    - \frac{r - s}{12} + \frac{r^3 - s^3}{360} - \dots,\qquad r - s = h r s .$$

Below, the functions themselves are subtracted: an absolute error of 1e-12.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_LARGE = 1000.0  # here the first terms that are left out are smaller than rounding


def log_gamma_difference(a: Tensor, h: float) -> Tensor:
    """``log Gamma(a + h) - log Gamma(a)`` for ``a > 0`` and ``h > 0``, of a's shape; differentiable."""

    def large(a: Tensor) -> Tensor:
        r, s = 1 / a, 1 / (a + h)
        series = h * r * s * ((r * r + r * s + s * s) / 360 - 1 / 12)
        return (a - 0.5) * torch.log1p(h * r) + h * torch.log(a + h) - h + series

    return _choose(a, lambda a: torch.lgamma(a + h) - torch.lgamma(a), large)


def digamma_difference(a: Tensor, h: float) -> Tensor:
    """``psi(a + h) - psi(a)``, positive, as in `log_gamma_difference`."""

    def large(a: Tensor) -> Tensor:
        r, s = 1 / a, 1 / (a + h)
        return torch.log1p(h * r) + h * r * s * (0.5 + (r + s) * (1 / 12 - (r * r + s * s) / 120))

    return _choose(a, lambda a: torch.digamma(a + h) - torch.digamma(a), large)


def trigamma_difference(a: Tensor, h: float) -> Tensor:
    """``psi'(a + h) - psi'(a)``, negative, as in `log_gamma_difference`."""

    def large(a: Tensor) -> Tensor:
        r, s = 1 / a, 1 / (a + h)
        r2, s2, rs = r * r, s * s, r * s
        series = (r + s) / 2 + (r2 + rs + s2) / 6 - (r2 * r2 + rs * (r2 + rs + s2) + s2 * s2) / 30
        return -h * rs * (1 + series)

    return _choose(a, lambda a: torch.polygamma(1, a + h) - torch.polygamma(1, a), large)


def _choose(a: Tensor, small: Callable[[Tensor], Tensor], large: Callable[[Tensor], Tensor]) -> Tensor:
    """Both are evaluated, each where it is good: a branch not taken must not put NaN into gradients."""
    return torch.where(a < _LARGE, small(a.clamp(max=_LARGE)), large(a.clamp(min=_LARGE)))
