"""The bounds with classes are sums over the classes, term by term."""

import math

import pytest
import torch

from hvae_tutorial.models import ClassTerms
from hvae_tutorial.objectives import bound_of_class, bound_over_classes


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_bounds_with_classes_are_sums_over_the_classes(beta):
    generator = torch.Generator().manual_seed(0)
    logits, reconstruction, kl = (
        torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((5, 3), (3, 5), (3, 5))
    )
    terms = ClassTerms(logits, reconstruction, kl)
    labelled = [bound_of_class(terms, torch.full((5,), y), beta) for y in range(3)]
    over_all = bound_over_classes(terms, beta)
    for point in range(5):
        weights = [math.exp(value) for value in logits[point].tolist()]
        q = [weight / sum(weights) for weight in weights]
        bounds = [(reconstruction[y, point] - beta * (kl[y, point] + math.log(3))).item() for y in range(3)]
        assert [terms.elbo[point].item() for terms in labelled] == pytest.approx(bounds, rel=1e-12)
        entropy = -sum(p * math.log(p) for p in q)
        expected = sum(p * bound for p, bound in zip(q, bounds, strict=True)) + beta * entropy
        assert over_all.elbo[point].item() == pytest.approx(expected, rel=1e-12)
