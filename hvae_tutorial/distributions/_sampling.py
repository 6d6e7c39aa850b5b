"""Exact samples of laws that are symmetric about a mean direction.

A point is ``z = w mu + sqrt(1 - w^2) v`` with ``v`` uniform on the unit sphere of the tangent space at ``mu`` and
independent of ``w = mu . z``. All functions carry ``y = 1 - w``: for large concentration it is the small number that
matters, and ``1 - y`` would lose it.

All but the loop over rounds, which `sample_complement` enters for many values alone, have sizes that do not depend on
values: they work under ``torch.vmap``, ``torch.compile``, ``torch.export`` and on fake tensors. Operations in place are
done on results of the same function that depend on the same things, as ``torch.vmap`` demands.
"""

import math

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level

# Acceptance is at least 0.65 a proposal: a hundred rounds without success (1e-46) mean a concentration that is NaN.
_MAX_ROUNDS = 100
# Few values are left in late rounds, and launching costs more than computing: give each several proposals, up to 8.
_PROPOSALS_A_ROUND = 512
_MAX_PROPOSALS = 8
# Up to so many values, all proposals at once are faster than rounds: on the CPU they cross between 512 and 1024, on a
# GPU, where every round makes the host wait, between 2^20 and 2^22.
_FEW_VALUES, _FEW_VALUES_ON_A_DEVICE = 256, 1 << 18


def sample_complement(kappa: Tensor, m: int, repeats: int = 1) -> Tensor:
    r"""Draw ``y = 1 - w`` with density of w proportional to ``exp(kappa w) (1 - w^2)^((m-3)/2)``.

    Ulrich's rejection sampler (1984) with Wood's envelope (1994), in the variables of `hvae_tutorial.special`: propose
    ``w = (x0 + x) / (1 + x0 x)``, x a coordinate of a uniform point, and accept with probability
    ``(c e^(1-c))^(m-1)``, ``c = 1 / (1 + x0 x)``. For ``m = 3`` the distribution function is inverted instead.

    Few values get a fixed number P of proposals each, of which the first accepted one is taken; so do all where shapes
    must not depend on values. As acceptance is at least 0.65, none is accepted with probability below ``0.35^P``. P is
    16 in float32 and 35 in float64: 5e-8 and 1.1e-16, less than half an epsilon, the resolution of a probability. Then
    the first proposal is returned, and the law differs from the exact one by at most this in total variation. Many
    values are drawn in rounds, as long as one is missing.

    Args:
        kappa: Concentrations (n,), float32 or float64, in [0, 1e8]; negative, infinite or NaN ones give NaN.
        m: Dimension of the ambient space, at least 2.
        repeats: Number of samples for each concentration.

    Returns:
        Samples (repeats * n,) in (0, 2), in the order of ``kappa.repeat(repeats)``.
    """
    kappa = torch.threshold(kappa, -torch.finfo(kappa.dtype).tiny, math.nan)
    if m == 3:
        return _invert_sphere(repeat(kappa, repeats))
    x0, mode = (repeat(column, repeats) for column in _envelope(kappa, m))
    few = _FEW_VALUES if kappa.device.type == "cpu" else _FEW_VALUES_ON_A_DEVICE
    if must_not_depend_on_values() or x0.numel() <= few:
        return into_open_interval(_first_accepted(x0, mode, m, 16 if kappa.dtype == torch.float32 else 35))
    return into_open_interval(_in_rounds(x0, mode, m)[0])


def envelope_sample(kappa: Tensor, m: int, repeats: int = 1) -> Tensor:
    r"""Draw ``y = 1 - w`` of the spherical Cauchy law, the envelope: the proposals of `sample_complement`, all kept.

    Here the far tail counts, where ``x`` is near -1. With ``1 - x`` and ``1 + x``, each a sum of positive terms,

    $$y = 2 q\, \frac{1 - x}{(1 + x) + q\, (1 - x)},\qquad q = \frac{1 - x_0}{1 + x_0} .$$

    Arguments and result as in `sample_complement`.
    """
    x0, mode = _envelope(torch.threshold(kappa, -torch.finfo(kappa.dtype).tiny, math.nan), m)
    q = repeat(mode / (1 + x0), repeats)
    if m == 2:
        turn = torch.rand_like(q)
        inner, rest = q.new_ones(()), q.new_zeros(())
    else:
        turn, radius = torch.rand((2, *q.shape), dtype=q.dtype, device=q.device).unbind()
        power = torch.exp(radius.log_() * (2 / (m - 2)))  # 1 - s^2
        inner = (1 - power).sqrt()
        rest = power / (1 + inner)  # 1 - s
    angle = turn * (math.pi / 2)
    near = rest + 2 * inner * torch.sin(angle).square()
    far = rest + 2 * inner * torch.cos(angle).square()
    return into_open_interval(2 * q * near / (far + q * near))


def _envelope(kappa: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Wood's constant x0, and ``1 - x0``, the y of ``x = 0``, without cancellation."""
    h = kappa / (m - 1)
    root = torch.hypot(h, torch.full_like(h, 0.5)) + 0.5
    return h / root, torch.reciprocal(h + root)


def must_not_depend_on_values() -> bool:
    """Whether torch is compiling, exporting or transforming this function, or its tensors are fake."""
    return torch.compiler.is_compiling() or maybe_current_level() is not None or type(torch.empty(0)) is not Tensor


def _first_accepted(x0: Tensor, mode: Tensor, m: int, count: int) -> Tensor:
    """The first accepted of `count` proposals for each value."""
    y, accepted = _propose(x0, mode, m, count)
    # Which of several accepted proposals is taken depends on the flags alone, so the law is unchanged.
    return y.gather(0, accepted.max(0, keepdim=True).indices).squeeze(0)


def _in_rounds(x0: Tensor, mode: Tensor, m: int) -> tuple[Tensor, int]:
    """Propose until every value has a sample; also the number of rounds.

    The host waits for the device once a round, to learn how many values are left.
    """
    result, left = x0, None  # indices still without a sample; None while it is all of them
    rounds, n = 0, x0.numel()
    while n > 0 and rounds < _MAX_ROUNDS:
        count = min(max(_PROPOSALS_A_ROUND // n, 1), _MAX_PROPOSALS)
        y, accepted = _propose(x0, mode, m, count)
        if count > 1:
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
    return result, rounds


def repeat(values: Tensor, repeats: int) -> Tensor:
    """`values` (n,) several times in a row, (repeats * n,): without a copy if n is one."""
    return values if repeats == 1 else values.expand(repeats, *values.shape).reshape(-1)


def _propose(x0: Tensor, mode: Tensor, m: int, count: int) -> tuple[Tensor, Tensor]:
    """Proposals y (count, n), and which of them are accepted; ``mode`` is ``1 - x0``."""
    uniform = torch.rand((2 if m == 2 else 3, count, *x0.shape), dtype=x0.dtype, device=x0.device)
    if m == 2:
        turn, level = uniform.unbind()
        gap = turn.mul_(math.pi).sin_().pow(2).mul_(2)  # 1 - x, which on the circle is often small
        x = 1 - gap
    else:
        # Ulrich's symmetric Beta variable: x = s cos(2 pi u), s^2 = 1 - u'^(2/(m-2)).
        turn, level, radius = uniform.unbind()
        s = radius.log_().mul_(2 / (m - 2)).expm1_().neg_().sqrt_()
        x = turn.mul_(2 * math.pi).cos_().mul_(s)
        gap = 1 - x
    q = x * x0
    c_inverse = q + 1
    log_accept = torch.addcdiv(torch.log1p(q), q, c_inverse, value=-1).mul_(1 - m)
    return gap * mode / c_inverse, level.log_() < log_accept


def _invert_sphere(kappa: Tensor) -> Tensor:
    """Inverse distribution function for m = 3, where w has density proportional to ``exp(kappa w)``."""
    u = torch.rand_like(kappa)
    y = -torch.log1p(u * torch.expm1(-2 * kappa)) / kappa
    y = torch.where(kappa == 0, 2 * u, y)
    return into_open_interval(torch.where(kappa == math.inf, math.nan, y))


def into_open_interval(y: Tensor) -> Tensor:
    """Keep ``y`` inside (0, 2): at the poles, where rounding may put it, meridians have no direction."""
    limits = torch.finfo(y.dtype)
    return y.clamp(min=limits.tiny, max=2 - limits.eps)


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
    v = torch.randn((*y.shape, m - 1), dtype=y.dtype, device=y.device)
    y = y.unsqueeze(-1)
    sine = torch.addcmul(y, y, 1 - y).sqrt_()  # sqrt(y (2 - y))
    if m == 2:  # the tangent is one line; of v counts the sign alone, as a Gaussian number may be zero
        tangent = torch.stack((-loc[..., 1], loc[..., 0]), dim=-1)
        return torch.addcmul(torch.copysign(sine, v) * tangent, y, loc, value=-1)
    first, rest = loc[..., :1], loc[..., 1:]
    v = v * (sine / torch.linalg.vector_norm(v, dim=-1, keepdim=True))
    dot = _inner_products(v, rest)
    along = torch.addcmul(torch.copysign(dot, dot * -first), y, first, value=-1)
    across = torch.addcmul(v, torch.addcdiv(y, dot, first.abs() + 1), rest, value=-1)
    return torch.cat((along, across), dim=-1)


def _inner_products(v: Tensor, u: Tensor) -> Tensor:
    """``v . u`` along the last axis, which is kept. A matrix product under autocast would be in half precision."""
    if u.ndim > 1:
        return (v * u).sum(-1, keepdim=True)
    with torch.autocast(v.device.type, enabled=False):
        return (v @ u).unsqueeze(-1)  # one vector for all is the most frequent large case, and this three times faster
