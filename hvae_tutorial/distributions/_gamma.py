r"""Differences of log Gamma and its derivatives at ``a`` and ``b = a + h``, for any size of ``a``.

The normaliser of the Power Spherical law is a ratio of Gamma functions at arguments that may be large and are then
nearly equal. From 1000 on, each difference is taken term by term in Stirling's series (DLMF 5.11.1 and its
derivatives), so that nothing cancels: with ``r = 1 / a`` and ``s = 1 / b``,

$$\log\frac{\Gamma(b)}{\Gamma(a)} = (a - \tfrac12) \log(1 + h r) + h \log b - h
    - \frac{r - s}{12} + \frac{r^3 - s^3}{360} - \dots,\qquad r - s = h r s .$$

Below, the functions themselves are subtracted: an absolute error of 1e-12.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hvae_tutorial._autograd import differentiable


def log_gamma_difference(a: Tensor, h: float) -> Tensor:
    """``log Gamma(a + h) - log Gamma(a)`` for ``a > 0`` and ``h > 0``, of a's shape; differentiable."""
    return _log_gamma_difference(a, h)


def digamma_difference(a: Tensor, h: float) -> Tensor:
    """``psi(a + h) - psi(a)``, positive, as in `log_gamma_difference`."""
    return _digamma_difference(a, h)


class _Difference(torch.autograd.Function):
    """A difference with the next one as its derivative: half the operations of differentiating both its forms."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        a, ctx.h = inputs
        ctx.save_for_backward(a)
        ctx.save_for_forward(a)


class _LogGammaDifference(_Difference):
    @staticmethod
    def forward(a: Tensor, h: float) -> Tensor:
        def large(a: Tensor) -> Tensor:
            r, s = 1 / a, 1 / (a + h)
            series = h * r * s * ((r * r + r * s + s * s) / 360 - 1 / 12)
            return (a - 0.5) * torch.log1p(h * r) + h * torch.log(a + h) - h + series

        return _choose(a, lambda a: torch.lgamma(a + h) - torch.lgamma(a), large)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        return grad * digamma_difference(a, ctx.h), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (a,) = ctx.saved_tensors
        return tangent * digamma_difference(a, ctx.h)


class _DigammaDifference(_Difference):
    @staticmethod
    def forward(a: Tensor, h: float) -> Tensor:
        def large(a: Tensor) -> Tensor:
            r, s = 1 / a, 1 / (a + h)
            return torch.log1p(h * r) + h * r * s * (0.5 + (r + s) * (1 / 12 - (r * r + s * s) / 120))

        return _choose(a, lambda a: torch.digamma(a + h) - torch.digamma(a), large)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        return grad * trigamma_difference(a, ctx.h), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (a,) = ctx.saved_tensors
        return tangent * trigamma_difference(a, ctx.h)


_log_gamma_difference = differentiable(_LogGammaDifference)
_digamma_difference = differentiable(_DigammaDifference)


def trigamma_difference(a: Tensor, h: float) -> Tensor:
    """``psi'(a + h) - psi'(a)``, negative, as in `log_gamma_difference`."""

    def large(a: Tensor) -> Tensor:
        r, s = 1 / a, 1 / (a + h)
        r2, s2, rs = r * r, s * s, r * s
        series = (r + s) / 2 + (r2 + rs + s2) / 6 - (r2 * r2 + rs * (r2 + rs + s2) + s2 * s2) / 30
        return -h * rs * (1 + series)

    return _choose(a, lambda a: torch.sub(*_trigamma(torch.stack((a + h, a)))), large)


def _trigamma(x: Tensor) -> Tensor:
    """``psi'(x)`` to rounding (`torch.polygamma`: 5e-10): ten steps up (DLMF 5.15.5), then Stirling's series."""
    steps = torch.arange(10, dtype=x.dtype, device=x.device)
    r = 1 / (x + 10)
    r2 = r * r
    series = 1 / 6 - r2 * (1 / 30 - r2 * (1 / 42 - r2 * (1 / 30 - r2 * (5 / 66 - r2 * (691 / 2730)))))
    return r + r2 / 2 + r * r2 * series + (x.unsqueeze(-1) + steps).reciprocal().square().sum(-1)


def _choose(a: Tensor, small: Callable[[Tensor], Tensor], large: Callable[[Tensor], Tensor]) -> Tensor:
    """Both are evaluated, each where it is good: a branch not taken must not put NaN into gradients."""
    # From 1000 on the first terms that are left out are smaller than rounding. The number stands here, since
    # torch.compile takes a module's floats for variables, which it cannot share with the derivative of a derivative.
    return torch.where(a < 1000.0, small(a.clamp(max=1000.0)), large(a.clamp(min=1000.0)))
