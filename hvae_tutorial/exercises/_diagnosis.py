"""The likely cause of wrong answers, computed: the mistake, or the simple relation, that explains every one of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hvae_tutorial.exercises._cases import Case, Refused, doubles
from hvae_tutorial.exercises._guard import Raised

CLEAR = 1e-3  # relative: smaller factors and constants are inaccuracies


@dataclass(frozen=True)
class Mistake:
    """A wrong solution that people have really written, and what to say to its author.

    Args:
        function: It takes the arguments of the exercise.
        says: One or two sentences: what is wrong, and why it matters.
    """

    function: Callable[..., Any]
    says: str


def outcome(case: Case, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return a trusted function's answer to a case, or how it fails."""
    try:
        return case.ask(function, args)
    except Exception as error:
        return Raised(type(error), str(error), "")


def same(case: Case, one: Any, other: Any) -> bool:
    """Whether two outcomes agree; two failures do if they are of one kind."""
    if isinstance(one, Raised) or isinstance(other, Raised):
        if not (isinstance(one, Raised) and isinstance(other, Raised) and one.kind is other.kind):
            return False
        return not issubclass(one.kind, Refused) or one.message == other.message
    return case.same(one, other)


def relation(cases: Sequence[Case], answers: Sequence[Any]) -> str | None:
    """Say which simple function of the truth the answers are: the truth negated, times a constant, inverted, ...

    Only values that are one number or tensor are looked at, and only if at least five numbers are not zero.
    """
    wanted, given = [], []
    for case, answer in zip(cases, answers, strict=True):
        if case.truth is None:
            continue
        if not isinstance(case.truth, Tensor | float) or not isinstance(answer, Tensor | float | int):
            return None
        want, got = (doubles(x).flatten() for x in (case.truth, answer))
        if want.shape != got.shape:
            return None
        wanted.append(want)
        given.append(got)
    if not wanted:
        return None
    truth, yours = torch.cat(wanted), torch.cat(given)
    if (truth != 0).sum() < 5 or truth.std() <= 1e-6 * truth.abs().max():
        return None
    sure = truth != 0
    factor = (yours[sure] / truth[sure]).median()
    offset = (yours - truth).median()
    relations = [
        ("the sign: your numbers are the right ones, negated", -truth),
        ("your numbers are the right ones, inverted (1/x)", 1 / truth),
        ("your numbers are the exponentials of the right ones: is a logarithm missing?", truth.exp()),
        ("your numbers are the logarithms of the right ones: is an exponential missing?", truth.log()),
        ("your numbers are the squares of the right ones: is a square root missing?", truth**2),
        ("your numbers are the square roots of the right ones", truth.sqrt()),
    ]
    if math.isfinite(factor) and factor != 0 and abs(factor - 1) > CLEAR:
        relations.append(
            (f"your numbers are the right ones times {factor:.6g}, the same factor everywhere", factor * truth)
        )
    if math.isfinite(offset) and abs(offset) > CLEAR * truth.abs().median():
        relations.append(
            (f"your numbers are the right ones plus {offset:.6g}, the same constant everywhere", truth + offset)
        )
    for says, expected in relations:
        if torch.allclose(yours, expected, rtol=1e-4, atol=0.0):
            return says
    return None
