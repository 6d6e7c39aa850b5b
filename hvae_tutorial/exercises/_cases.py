"""Questions to a learner's function, and how the answers are judged.

A `Case` holds arguments, and two comparisons of the same accuracy: with the truth, and with what a known mistake gives.
`value` makes those of functions, `gradient` those of derivatives by autograd, `law` those of samplers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

ERROR_RATE = 1e-7  # the probability that one Kolmogorov-Smirnov test refuses a right sampler
KS_LIMIT = math.sqrt(math.log(2 / ERROR_RATE) / 2)  # of sqrt(n) D (Massart 1990)


def value_of(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call a function: what most cases look at."""
    return function(*args)


@dataclass(frozen=True)
class Case:
    """One question.

    Args:
        args: What the function is called with; each call gets copies.
        judge: Says what is wrong with an answer; None if nothing is.
        same: Whether two answers agree, as closely as `judge` looks.
        ask: Calls the function; a case may look at a gradient in place of the value.
        truth: The right value of the function, where there is one.
    """

    args: tuple[Any, ...]
    judge: Callable[[Any], str | None]
    same: Callable[[Any, Any], bool]
    ask: Callable[[Callable[..., Any], tuple[Any, ...]], Any] = value_of
    truth: Any = None


class Refused(Exception):
    """An answer that cannot be looked at further; the message says why."""


def log_uniform(rng: Generator, low: float, high: float, size: int | tuple[int, ...] | None = None) -> Any:
    """Return numbers whose logarithms are uniform."""
    return np.exp(rng.uniform(math.log(low), math.log(high), size))


def unit_vectors(rng: Generator, n: int, m: int) -> Tensor:
    """Return n uniform points of the unit sphere of R^m, in float64."""
    g = rng.standard_normal((n, m))
    return torch.from_numpy(g / np.linalg.norm(g, axis=1, keepdims=True))


def value(args: tuple[Any, ...], truth: Any, *, rtol: float, atol: float = 0.0) -> Case:
    """Return a case whose answer is a number, a tensor, or a tuple or list of such.

    Args:
        args: Arguments.
        truth: The right answer; an answer must have its type and, for tensors, its shape and dtype. For a tuple any
            sequence of as many will do.
        rtol: Relative accuracy.
        atol: Absolute accuracy.
    """
    return Case(
        args,
        judge=lambda answer: misfit(answer, truth) or _difference(answer, truth, rtol, atol),
        same=lambda one, other: misfit(one, other) is None and _difference(one, other, rtol, atol) is None,
        truth=truth,
    )


def gradient(args: tuple[Any, ...], of: int, weights: Tensor, truth: Tensor, *, rtol: float, atol: float = 0.0) -> Case:
    """Return a case that looks at the gradient of `(weights * answer).sum()` by the argument numbered `of`."""

    def ask(function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        variable = given[of].requires_grad_()
        answer = function(*given)
        problem = None if isinstance(answer, Tensor) else misfit(answer, weights)
        if problem:
            raise Refused(problem)
        if not answer.requires_grad:
            raise Refused("the result is detached: no gradient flows through it (.detach(), .item(), NumPy, no_grad?)")
        (slope,) = torch.autograd.grad((answer * weights).sum(), variable, allow_unused=True)
        if slope is None:
            raise Refused("the result has a gradient, but none that reaches this argument")
        return slope

    plain = value(args, truth, rtol=rtol, atol=atol)

    def judge(slope: Any) -> str | None:
        found = plain.judge(slope)
        return f"gradient: {found}" if found else None

    return Case(args, judge, plain.same, ask)


def law(
    args: tuple[Any, ...],
    cdf: Callable[[np.ndarray], np.ndarray],
    *,
    shape: tuple[int | None, ...],
    of: Callable[[Tensor], Tensor] = lambda answer: answer,
    name: str = "w",
    conditions: Callable[[Tensor], str | None] = lambda answer: None,
) -> Case:
    """Return a case whose answer is a tensor of random draws; wrong are those refused by a Kolmogorov-Smirnov test.

    Args:
        args: Arguments.
        cdf: Distribution function of the numbers `of(answer)`.
        shape: What the answer's shape must be; None where any size will do.
        of: The numbers to test.
        name: What they are called.
        conditions: What each draw must fulfil: says what is wrong, or None.
    """

    def judge(answer: Any) -> str | None:
        problem = _draws_misfit(answer, shape)
        if problem is None and not answer.isfinite().all():
            problem = f"{(~answer.isfinite()).sum()} of {answer.numel()} numbers are not finite"
        if problem is None:
            problem = conditions(answer)
        return problem or _ks_problem(np.asarray(of(answer.detach().double())), cdf, name)

    def same(one: Any, other: Any) -> bool:
        if _draws_misfit(one, shape) or _draws_misfit(other, shape):
            return False
        if not (one.isfinite().all() and other.isfinite().all()):
            return False
        first, second = (np.sort(np.asarray(of(answer.detach().double()))) for answer in (one, other))
        both = np.concatenate([first, second])
        shares = [np.searchsorted(points, both, side="right") / len(points) for points in (first, second)]
        distance = np.abs(shares[0] - shares[1]).max()
        clean = [conditions(answer) is None for answer in (one, other)]
        size = len(first) * len(second) / (len(first) + len(second))
        return clean[0] == clean[1] and distance * math.sqrt(size) <= KS_LIMIT

    return Case(args, judge, same)


def _draws_misfit(answer: Any, shape: tuple[int | None, ...]) -> str | None:
    if not isinstance(answer, Tensor):
        return misfit(answer, torch.empty(0))
    if not answer.is_floating_point():
        return f"the result has dtype {_dtype(answer)}, should be a floating-point tensor"
    fits = answer.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, answer.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        return f"the result has shape {tuple(answer.shape)}, should be ({wanted}{',' if len(shape) == 1 else ''})"
    return "the result is empty" if answer.numel() == 0 else None


def _ks_problem(values: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray], name: str) -> str | None:
    values = np.sort(values)
    n, exact = len(values), cdf(values)
    gaps = np.stack([np.arange(1, n + 1) / n - exact, exact - np.arange(n) / n])
    worst = np.unravel_index(gaps.argmax(), gaps.shape)
    distance = gaps[worst]
    if distance * math.sqrt(n) <= KS_LIMIT:
        return None
    at = int(worst[1])
    share = (at + 1) / n if worst[0] == 0 else at / n
    return (
        f"wrong law: the share of samples with {name} <= {values[at]:.4g} is {share:.3f}, should be {exact[at]:.3f} "
        f"(n = {n}; sqrt(n) D = {distance * math.sqrt(n):.1f}, limit {KS_LIMIT:.1f})"
    )


def misfit(answer: Any, like: Any) -> str | None:
    """Say how the type, shape or dtype of an answer differs from those wanted."""
    if answer is None:
        return "it returns None: is the return statement missing?"
    if isinstance(like, Tensor):
        if isinstance(answer, np.ndarray | np.generic):
            return f"it returns NumPy ({type(answer).__name__}), should be a torch.Tensor"
        if not isinstance(answer, Tensor):
            return f"it returns {_type(answer)}, should be a torch.Tensor"
        if answer.shape != like.shape:
            return f"the result has shape {tuple(answer.shape)}, should be {tuple(like.shape)}"
        if answer.dtype != like.dtype:
            return f"the result has dtype {_dtype(answer)}, should be {_dtype(like)}, that of the arguments"
        return None
    if isinstance(like, tuple | list):
        sequence = isinstance(answer, tuple | list) or (isinstance(answer, np.ndarray) and answer.ndim == 1)
        if not sequence or len(answer) != len(like):
            length = f" of {len(answer)}" if sequence else ""
            return f"it returns {_type(answer)}{length}, should be a {type(like).__name__} of {len(like)}"
        for number, (part, wanted) in enumerate(zip(answer, like, strict=True), start=1):
            found = misfit(part, wanted)
            if found:
                return f"part {number} of the result: {found}"
        return None
    if isinstance(like, bool | int):
        return None if isinstance(answer, int | np.integer) else f"it returns {_type(answer)}, should be an integer"
    if isinstance(answer, Tensor) and answer.numel() == 1:
        return None
    number = isinstance(answer, int | float | np.floating | np.integer)
    return None if number else f"it returns {_type(answer)}, should be a number"


def _difference(answer: Any, truth: Any, rtol: float, atol: float) -> str | None:
    """Say where an answer, whose type and shape are right, differs most."""
    if isinstance(truth, tuple | list):
        for number, (part, wanted) in enumerate(zip(answer, truth, strict=True), start=1):
            found = _difference(part, wanted, rtol, atol)
            if found:
                return f"part {number} of the result: {found}"
        return None
    got, want = doubles(answer), doubles(truth)
    near = want.isfinite() & ((got - want).abs() <= atol + rtol * want.abs())
    good = near | (got == want) | (got.isnan() & want.isnan())
    if good.all():
        return None
    worst = torch.where(good, -1.0, ((got - want).abs() / want.abs()).nan_to_num(1e300, 1e300)).flatten().argmax()
    yours, right = got.flatten()[worst].item(), want.flatten()[worst].item()
    where = f" at index {tuple(int(i) for i in np.unravel_index(int(worst), got.shape))}" if got.ndim else ""
    if isinstance(truth, int):
        return f"yours {yours:.0f}, should be {right:.0f}"
    if not math.isfinite(yours):
        return f"yours is {yours:g}{where}, should be {right:.6g}"
    ratio = f", ratio to the truth {yours / right:.4g}" if right else f", off by {yours - right:.2g}"
    if right and abs(yours / right - 1) < 1e-3:
        ratio = f", relative error {abs(yours / right - 1):.1e}, allowed {rtol + atol / abs(right):.0e}"
    return f"yours {yours:.6g}{where}, should be {right:.6g}{ratio}"


def doubles(value: Any) -> Tensor:
    """Return a number or tensor as a tensor of float64; a number is not rounded to float32 on the way."""
    return value.detach().double() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)


def small(value: Any) -> str:
    """Return an argument in few characters."""
    if isinstance(value, Tensor):
        if value.ndim == 0:
            return f"{value.item():.4g} ({_dtype(value)})"
        numbers = ", ".join(f"{x:.4g}" for x in value.detach().flatten()[:3].tolist())
        dots = ", ..." if value.numel() > 3 else ""
        return f"[{numbers}{dots}] (shape {tuple(value.shape)}, {_dtype(value)})"
    if isinstance(value, float):
        return f"{value:.4g}"
    if callable(value):
        return getattr(value, "__name__", "a function")
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _type(value: Any) -> str:
    return f"a {type(value).__name__}"


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
