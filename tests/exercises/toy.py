"""A small exercise, to test the machinery with: the variance of numbers."""

from collections.abc import Iterator

import torch
from numpy.random import Generator
from torch import Tensor

from hvae_tutorial.exercises._cases import Case, gradient, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise


def library_variance(x: Tensor) -> Tensor:
    return ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1)


def scaled(x: Tensor, factor: float) -> Tensor:
    """Return factor * x."""
    return factor * x


def spread(x: Tensor, factor: float) -> Tensor:
    """Variance of factor * x.

    Args:
        x: Numbers, shape (..., n).
        factor: Not zero.
    """
    y = scaled(x, factor)
    return (y**2).mean(-1) - y.mean(-1) ** 2


def cases(rng: Generator) -> Iterator[Case]:
    for dtype in (torch.float64, torch.float32):
        for shape in ((4,), (2, 5), (3, 2, 6)):
            x = torch.from_numpy(rng.uniform(1, 2, shape)).to(dtype)
            factor = float(rng.uniform(1, 2))
            truth = factor**2 * x.double().var(-1, correction=0).to(dtype)
            yield value((x, factor), truth, rtol=1e-3, atol=1e-5)
    x = torch.from_numpy(rng.uniform(1, 2, 5))
    truth = 2 * (x - x.mean()) / 5 * 1.5**2
    yield gradient((x, 1.5), 0, torch.tensor(2.0, dtype=torch.float64), 2 * truth, rtol=1e-6)


TOY = Exercise(
    id="ch99.1",
    title="A toy",
    topic="Toys",
    difficulty=2,
    importance=3,
    minutes=5,
    question="Write `spread`.",
    solution=spread,
    explanation="The mean of the square less the square of the mean.",
    hints=("First.", "Second."),
    cases=cases,
    checked="shapes and dtypes",
    mistakes=(
        Mistake(lambda x, factor: factor**2 * x.var(-1), "n - 1 stands where n should."),
        Mistake(lambda x, factor: x.var(-1, correction=0), "the factor is missing."),
        Mistake(lambda x, factor: 1 // 0, "a division by zero."),
    ),
    replaces=(library_variance,),
    given=(scaled,),
)
