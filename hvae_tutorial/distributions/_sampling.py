"""Exact samples of laws that are symmetric about a mean direction.

A point is ``z = w mu + sqrt(1 - w^2) v`` with ``v`` uniform on the unit sphere of the tangent space at ``mu`` and
independent of ``w = mu . z``. All functions carry ``y = 1 - w``: for large concentration it is the small number that
matters, and ``1 - y`` would lose it.
"""

import math

import torch
from torch import Tensor

# Acceptance is at least 0.65 a proposal: a hundred rounds without success (1e-46) mean a concentration that is NaN.
_MAX_ROUNDS = 100
# Few values are left in late rounds, and launching costs more than computing: give each several proposals, up to 8.
_PROPOSALS_A_ROUND = 512
_MAX_PROPOSALS = 8


def sample_complement(kappa: Tensor, m: int, repeats: int = 1) -> tuple[Tensor, int]:
    r"""Draw ``y = 1 - w`` with density of w proportional to ``exp(kappa w) (1 - w^2)^((m-3)/2)``.

    Ulrich's rejection sampler (1984) with Wood's envelope (1994), in the variables of `hvae_tutorial.special`: propose
    ``w = (x0 + x) / (1 + x0 x)``, x a coordinate of a uniform point, and accept with probability
    ``(c e^(1-c))^(m-1)``, ``c = 1 / (1 + x0 x)``. For ``m = 3`` the distribution function is inverted instead.

    Args:
        kappa: Concentrations (n,), float32 or float64, in [0, 1e8]; a NaN gives NaN.
        m: Dimension of the ambient space, at least 2.
        repeats: Number of samples for each concentration.

    Returns:
        Samples (repeats * n,) in (0, 2), in the order of ``kappa.repeat(repeats)``, and the number of rounds. The host
        waits for the device once a round, to learn how many values are left.
    """
    if m == 3:
        return _invert_sphere(repeat(kappa, repeats)), 0
    h = kappa / (m - 1)
    root = torch.hypot(h, torch.full_like(h, 0.5)).add_(0.5)
    x0 = repeat(h / root, repeats)
    mode = repeat(torch.reciprocal(h + root), repeats)  # y of x = 0, which is 1 - x0, without cancellation
    result, left = x0, None  # indices still without a sample; None while it is all of them
    rounds, n = 0, x0.numel()
    while n > 0 and rounds < _MAX_ROUNDS:
        count = min(max(_PROPOSALS_A_ROUND // n, 1), _MAX_PROPOSALS)
        y, accepted = _propose(x0, mode, m, count)
        if count > 1:
            # Which of several accepted proposals is taken depends on the flags alone, so the law is unchanged.
            accepted, which = accepted.max(dim=0, keepdim=True)
            y = y.gather(0, which)
        y, accepted = y[0], accepted[0]
        if left is None:
            result = y
        else:
            result[left] = y
        missing = torch.nonzero(accepted.logical_not_()).squeeze(-1)  # the stop test
        rounds, n = rounds + 1, missing.numel()
        if n > 0:
            left = missing if left is None else left[missing]
            x0, mode = x0[missing], mode[missing]
    if n > 0:
        result[left] = math.nan
    return into_open_interval(result), rounds


def repeat(values: Tensor, repeats: int) -> Tensor:
    """`values` (n,) several times in a row, (repeats * n,): without a copy if n is one."""
    return values if repeats == 1 else values.expand(repeats, *values.shape).reshape(-1)


def _propose(x0: Tensor, mode: Tensor, m: int, count: int) -> tuple[Tensor, Tensor]:
    """Proposals y (count, n), and which of them are accepted; ``mode`` is ``1 - x0``."""
    uniform = torch.rand((2 if m == 2 else 3, count, *x0.shape), dtype=x0.dtype, device=x0.device)
    if m == 2:
        turn, level = uniform.unbind()
        gap = turn.mul_(math.pi).sin_().square_().mul_(2)  # 1 - x, which on the circle is often small
        x = 1 - gap
    else:
        # Ulrich's symmetric Beta variable: x = s cos(2 pi u), s^2 = 1 - u'^(2/(m-2)).
        turn, level, radius = uniform.unbind()
        s = radius.log_().mul_(2 / (m - 2)).expm1_().neg_().sqrt_()
        x = turn.mul_(2 * math.pi).cos_().mul_(s)
        gap = 1 - x
    q = x.mul_(x0)
    c_inverse = q + 1
    log_accept = torch.addcdiv(torch.log1p(q), q, c_inverse, value=-1).mul_(1 - m)
    return gap.mul_(mode).div_(c_inverse), level.log_() < log_accept


def _invert_sphere(kappa: Tensor) -> Tensor:
    """Inverse distribution function for m = 3, where w has density proportional to ``exp(kappa w)``."""
    u = torch.rand_like(kappa)
    y = -torch.log1p(u * torch.expm1(-2 * kappa)) / kappa
    return into_open_interval(torch.where(kappa == 0, 2 * u, y))


def into_open_interval(y: Tensor) -> Tensor:
    """Keep ``y`` inside (0, 2), in place: at the poles, where rounding may put it, meridians have no direction."""
    limits = torch.finfo(y.dtype)
    return y.clamp_(min=limits.tiny, max=2 - limits.eps)


def displacement(loc: Tensor, y: Tensor) -> Tensor:
    r"""``z - mu`` for points z at ``mu . z = 1 - y`` in uniformly random tangent directions, ``sine v - y mu``.

    For large concentrations the difference is small, and ``mu + displacement`` has lost its last digits. A uniform
    direction of R^(m-1) is drawn in the tangent space of the first axis and carried to ``mu`` by the Householder
    reflection through ``mu + sign(mu_1) e_1``, which, as in LAPACK, never vanishes.

    Args:
        loc: Mean directions (..., m).
        y: Complements ``1 - w`` (..., ), of the full sample shape, against which loc broadcasts.

    Returns:
        Differences of unit vectors (..., m).
    """
    m = loc.shape[-1]
    first, rest = loc[..., :1], loc[..., 1:]
    v = torch.randn((*y.shape, m - 1), dtype=y.dtype, device=y.device)
    y = y.unsqueeze(-1)
    sine = torch.addcmul(y, y, 1 - y).sqrt_()  # sqrt(y (2 - y))
    if m == 2:
        v = torch.copysign(sine, v)  # the sign alone: a Gaussian number may be zero
    else:
        v.mul_(sine.div_(torch.linalg.vector_norm(v, dim=-1, keepdim=True)))
    dot = (v @ rest).unsqueeze(-1) if rest.ndim == 1 else (v * rest).sum(-1, keepdim=True)
    result = torch.empty((*y.shape[:-1], m), dtype=y.dtype, device=y.device)
    torch.addcmul(torch.copysign(dot, dot * -first), y, first, value=-1, out=result[..., :1])
    torch.addcmul(v, torch.addcdiv(y, dot, first.abs() + 1), rest, value=-1, out=result[..., 1:])
    return result
