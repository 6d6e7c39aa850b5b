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
    t = kappa * (2 / (m - 1))
    root = torch.hypot(t, torch.ones_like(t)).add_(1)
    x0 = t / root
    twice_mode = 4 / torch.addcmul(root, root, x0)  # 2 (1 - x0) without cancellation
    x0, twice_mode = repeat(x0, repeats), repeat(twice_mode, repeats)
    result, left = x0, None  # indices still without a sample; None while it is all of them
    rounds, n = 0, x0.numel()
    while n > 0 and rounds < _MAX_ROUNDS:
        count = min(max(_PROPOSALS_A_ROUND // n, 1), _MAX_PROPOSALS)
        y, accepted = _propose(x0, twice_mode, m, count)
        if count == 1:
            y, accepted = y[0], accepted[0]
        else:
            # Which of several accepted proposals is taken depends on the flags alone, so the law is unchanged.
            first = accepted.to(torch.uint8).argmax(dim=0, keepdim=True)
            y, accepted = y.gather(0, first)[0], accepted.gather(0, first)[0]
        if left is None:
            result = y
        else:
            result[left] = y
        missing = torch.nonzero(accepted.logical_not_()).squeeze(-1)  # the stop test
        rounds, n = rounds + 1, missing.numel()
        if n > 0:
            left = missing if left is None else left[missing]
            x0, twice_mode = x0[missing], twice_mode[missing]
    if n > 0:
        result[left] = math.nan
    return into_open_interval(result), rounds


def repeat(values: Tensor, repeats: int) -> Tensor:
    """`values` (n,) several times in a row, (repeats * n,): without a copy if n is one."""
    return values.expand(repeats, *values.shape).reshape(-1)


def _propose(x0: Tensor, twice_mode: Tensor, m: int, count: int) -> tuple[Tensor, Tensor]:
    """Proposals y (count, n), and which of them are accepted."""
    shape = (count, *x0.shape)
    # Ulrich's symmetric Beta variable: x = s cos(2 pi u2), s^2 = 1 - u1^(2/(m-2)), and e = (1 - x) / 2 > 0 accurately.
    sin2 = torch.rand(shape, dtype=x0.dtype, device=x0.device).mul_(math.pi).sin_().square_()
    if m == 2:
        x, e = 1 - 2 * sin2, sin2
    else:
        log_a = torch.rand(shape, dtype=x0.dtype, device=x0.device).log_().mul_(2 / (m - 2))
        s = torch.expm1(log_a).neg_().sqrt_()
        e = sin2.mul_(s)  # s (1 - cos) / 2
        x = torch.sub(s, e, alpha=2)
        e = torch.addcdiv(e, log_a.exp_(), s.add_(1), value=0.5)
    q = x.mul_(x0)
    c = (q + 1).reciprocal_()
    log_accept = (q * c).sub_(q.log1p_()).mul_(m - 1)
    y = e.mul_(c).mul_(twice_mode)
    return y, torch.rand_like(y) < log_accept.exp_()


def _invert_sphere(kappa: Tensor) -> Tensor:
    """Inverse distribution function for m = 3, where w has density proportional to ``exp(kappa w)``."""
    u = torch.rand_like(kappa)
    y = -torch.log1p(u * torch.expm1(-2 * kappa)) / kappa
    return into_open_interval(torch.where(kappa == 0, 2 * u, y))


def into_open_interval(y: Tensor) -> Tensor:
    """Keep ``y`` inside (0, 2), in place: at the poles, where rounding may put it, meridians have no direction."""
    limits = torch.finfo(y.dtype)
    return y.clamp_(min=limits.tiny, max=2 - limits.eps)


def rotate_to(loc: Tensor, y: Tensor) -> Tensor:
    r"""Points at ``mu . z = 1 - y`` in uniformly random tangent directions.

    A uniform direction ``v`` of R^(m-1) is drawn in the tangent space of the first axis and carried to ``mu`` by the
    Householder reflection through ``mu + sign(mu_1) e_1``, which, as in LAPACK, never vanishes.

    Args:
        loc: Mean directions (..., m).
        y: Complements ``1 - w`` (..., ), of the full sample shape, against which loc broadcasts.

    Returns:
        Unit vectors (..., m).
    """
    m = loc.shape[-1]
    first, rest = loc[..., :1], loc[..., 1:]
    v = torch.randn((*y.shape, m - 1), dtype=y.dtype, device=y.device)
    y = y.unsqueeze(-1)
    w = 1 - y
    sine = torch.addcmul(y, y, w).sqrt_()  # sqrt(y (2 - y))
    if m == 2:
        v = torch.copysign(sine, v)  # the sign alone: a Gaussian number may be zero
    else:
        v.mul_(sine / torch.linalg.vector_norm(v, dim=-1, keepdim=True))
    dot = v @ rest if rest.ndim == 1 else (v * rest).sum(-1)
    dot = dot.unsqueeze(-1)
    z = torch.empty((*y.shape[:-1], m), dtype=y.dtype, device=y.device)
    torch.sub(w * first, torch.copysign(dot, first * dot), out=z[..., :1])
    torch.addcmul(v, w - dot / (1 + first.abs()), rest, out=z[..., 1:])
    return z
