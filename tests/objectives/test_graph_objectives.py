"""The objective of a VGAE against Kipf and Welling's formula on the whole matrix, and its estimate against itself.

Statistical checks fix the seed and allow 4.5 standard errors: each fails by chance with probability 7e-6, and there are
four.
"""

import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hvae_tutorial.data import load, split_edges
from hvae_tutorial.models.vgae import VGAE, gcn_vgae, normalized_adjacency
from hvae_tutorial.objectives import all_pairs, graph_elbo, held_out_elbo, terms_of_pairs, uniform_pairs

STANDARD_ERRORS = 4.5
GRAPH = load("karate")
N = GRAPH.num_nodes
SPLIT = split_edges(GRAPH, 0)
ADJACENCY = normalized_adjacency(SPLIT.train, N, dtype=torch.float64)
X = GRAPH.features.double()


def model_of(kind: str) -> VGAE:
    torch.manual_seed(0)
    model = gcn_vgae(kind, 3, x_dim=N).double()
    with torch.no_grad():  # as after some training
        model.decoder.log_scale.fill_(0.7)
        model.decoder.offset.fill_(-0.4)
    return model


def matrix() -> Tensor:
    a = torch.zeros(N, N, dtype=torch.float64)
    a[SPLIT.train[0], SPLIT.train[1]] = a[SPLIT.train[1], SPLIT.train[0]] = 1
    return a


@pytest.mark.parametrize("kind", ["n", "s"])
def test_all_pairs_give_kipf_and_wellings_loss(kind: str) -> None:
    """Their code: weighted cross-entropy of A + I, with weight and norm of A, plus the mean KL of a node over N."""
    model = model_of(kind)
    torch.manual_seed(1)
    terms = graph_elbo(model, X, ADJACENCY, SPLIT.train, all_pairs(N))

    torch.manual_seed(1)
    q = model.encode(X, ADJACENCY)
    z = q.rsample()
    a = matrix()
    positive_weight = (N * N - a.sum()) / a.sum()
    norm = N * N / (2 * (N * N - a.sum()))
    logits = model.decoder.scale * z @ z.T + model.decoder.offset
    cost = norm * F.binary_cross_entropy_with_logits(logits, a + torch.eye(N), pos_weight=positive_weight)
    kl = model.posterior.kl(q).mean() / N
    torch.testing.assert_close(terms.reconstruction, -cost)
    torch.testing.assert_close(terms.kl, kl)
    torch.testing.assert_close(terms.elbo, -cost - kl)
    assert all(term.shape == () for term in terms)


def test_times_the_pairs_it_is_the_elbo_with_edges_counted_often() -> None:
    """What the module's docstring says about it."""
    model = model_of("n")
    torch.manual_seed(1)
    terms = graph_elbo(model, X, ADJACENCY, SPLIT.train, all_pairs(N))
    torch.manual_seed(1)
    q = model.encode(X, ADJACENCY)
    z = q.rsample()
    a = matrix() + torch.eye(N)
    s = matrix().sum()
    logits = model.decoder.scale * z @ z.T + model.decoder.offset
    ones, zeros = a * F.logsigmoid(logits), (1 - a) * F.logsigmoid(-logits)
    expected = 0.5 * (N * N / s * ones.sum() + N * N / (N * N - s) * zeros.sum()) - model.posterior.kl(q).sum()
    torch.testing.assert_close(N * N * terms.elbo, expected)


@pytest.mark.parametrize("kind", ["n", "s"])
def test_uniform_pairs_give_an_unbiased_estimate_and_gradient(kind: str) -> None:
    """The mean over 800 sets of 60 pairs is that of all pairs, for the value and for its slope as all z grow alike."""
    model = model_of(kind)
    torch.manual_seed(2)
    z = model.encode(X, ADJACENCY).sample().requires_grad_()
    kl = torch.zeros((), dtype=torch.float64)

    def value_and_slope(pairs: Tensor) -> Tensor:
        value = terms_of_pairs(model, z, kl, SPLIT.train, pairs).reconstruction
        (gradient,) = torch.autograd.grad(value, z)
        return torch.stack([value.detach(), (gradient * z.detach()).sum()])

    exact = value_and_slope(all_pairs(N))
    estimates = torch.stack([value_and_slope(uniform_pairs(N, 60)) for _ in range(800)])
    standard_errors = estimates.std(0) / len(estimates) ** 0.5
    assert ((estimates.mean(0) - exact).abs() < STANDARD_ERRORS * standard_errors).all()
    assert (standard_errors < 0.02 * exact.abs()).all()  # sharp enough to see a bias of a tenth


def test_pairs() -> None:
    pairs = all_pairs(3)
    assert pairs.dtype == torch.int64
    assert pairs.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2, 0, 1, 2]]
    drawn = uniform_pairs(3, 1000)
    assert drawn.dtype == torch.int64
    assert drawn.shape == (2, 1000)
    assert {tuple(pair) for pair in drawn.T.tolist()} == {tuple(pair) for pair in pairs.T.tolist()}


def test_held_out_pairs_count_alike() -> None:
    model = model_of("s")
    torch.manual_seed(3)
    q = model.encode(X, ADJACENCY)
    terms = held_out_elbo(model, q, SPLIT.validation, SPLIT.test_non_edges)
    torch.manual_seed(3)
    z = q.rsample()
    edges, non_edges = (model.decode(z, pairs) for pairs in (SPLIT.validation, SPLIT.test_non_edges))
    reconstruction = 0.5 * (edges.log().mean() + (1 - non_edges).log().mean())
    torch.testing.assert_close(terms.reconstruction, reconstruction)
    torch.testing.assert_close(terms.kl, model.posterior.kl(q).sum() / N**2)
    torch.testing.assert_close(terms.elbo, reconstruction - model.posterior.kl(q).sum() / N**2)


def test_gradients_reach_the_network_through_every_term() -> None:
    for kind in ("n", "s"):
        for term in (1, 2):
            model = model_of(kind)
            graph_elbo(model, X, ADJACENCY, SPLIT.train, uniform_pairs(N, 100))[term].backward()
            assert model.weight.grad is not None
            assert model.weight.grad.abs().sum() > 0


def test_edges_and_pairs_in_another_form() -> None:
    edges, x = torch.tensor([[0, 1], [1, 2]]), torch.eye(3, 4)
    model, adjacency = gcn_vgae("s", 2, x_dim=4), normalized_adjacency(edges, 3)
    for given, message in (
        ((torch.tensor([[0, 1], [1, 2], [0, 2]]), all_pairs(3)), "edges must have shape (2, n) with n >= 1"),
        ((edges[:, :0], all_pairs(3)), "edges must have shape (2, n) with n >= 1, a pair in each column, got (2, 0)"),
        ((edges, all_pairs(3)[:, :0]), "pairs must have shape (2, n) with n >= 1"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            graph_elbo(model, x, adjacency, *given)
    with pytest.raises(TypeError, match="non_edges must be a tensor of int64"):
        held_out_elbo(model, model.encode(x, adjacency), edges, edges.float())
