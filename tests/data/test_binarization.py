"""Binarised pixels are Bernoulli draws with the grey values as probabilities, and come from torch's generator alone."""

import pytest
import torch

from hvae_tutorial.data import binarize


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_binarize_draws_bernoulli(dtype):
    n = 200_000
    probability = torch.tensor([0.0, 1 / 255, 0.25, 0.5, 254 / 255, 1.0], dtype=dtype)
    x = probability.expand(n, 6)
    drawn = binarize(x, torch.Generator().manual_seed(0))
    assert drawn.shape == x.shape
    assert drawn.dtype == dtype
    assert ((drawn == 0) | (drawn == 1)).all()
    deviation = (drawn.mean(0) - probability).abs()
    assert (deviation <= 4.5 * (probability * (1 - probability) / n).sqrt()).all()  # exact at 0 and 1
    # Pixels are independent: the sums of two columns vary as a sum of independent ones does.
    correlation = torch.corrcoef(drawn[:, 1:5].T) - torch.eye(4, dtype=dtype)
    assert correlation.abs().max() < 5 / n**0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_binarize_in_half_precision(dtype):
    """Uniform numbers of eight or eleven bits would make dark pixels three to twenty times as bright."""
    n, probability = 400_000, torch.tensor([1e-4, 1e-3, 0.99], dtype=dtype)
    drawn = binarize(probability.expand(n, 3), torch.Generator().manual_seed(0))
    assert drawn.dtype == dtype
    p = probability.double()
    assert ((drawn.double().mean(0) - p).abs() <= 4.5 * (p * (1 - p) / n).sqrt()).all()


def test_binarize_refuses_integers():
    with pytest.raises(TypeError, match=r"^x must be a floating-point tensor of probabilities, got .* torch\.uint8$"):
        binarize(torch.zeros(3, dtype=torch.uint8))


def test_binarize_is_exact_where_the_uniform_number_is_zero(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **arguments: torch.zeros(shape))
    assert binarize(torch.tensor([0.0, 2**-24, 1.0])).tolist() == [0.0, 1.0, 1.0]


def test_binarize_follows_the_generator():
    x = torch.rand(30, 10)
    before = x.clone()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    draws = [binarize(x, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(x, before)
    binarize(x)
    assert not torch.equal(torch.get_rng_state(), state)
