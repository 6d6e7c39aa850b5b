"""The VGAE against Kipf and Welling's formulas, written with dense matrices."""

import re

import networkx as nx
import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from hvae_tutorial.data import load, split_edges, undirected_edges
from hvae_tutorial.models import GaussianPosterior, PowerSphericalPosterior, VonMisesFisherPosterior
from hvae_tutorial.models.vgae import VGAE, InnerProductDecoder, gcn_vgae, normalized_adjacency
from hvae_tutorial.objectives import all_pairs, uniform_pairs

EDGES = torch.tensor([[0, 0, 1, 3], [1, 2, 2, 4]])  # and node 5 is isolated
NODES = 6
X = torch.rand(NODES, 7, generator=torch.Generator().manual_seed(0))


def dense_adjacency(edges: Tensor, num_nodes: int) -> Tensor:
    a = torch.zeros(num_nodes, num_nodes)
    a[edges[0], edges[1]] = a[edges[1], edges[0]] = 1
    return a


# The normalised adjacency


def test_adjacency_is_the_formula() -> None:
    with_loops = dense_adjacency(EDGES, NODES) + torch.eye(NODES)
    root = torch.diag(with_loops.sum(1) ** -0.5)
    adjacency = normalized_adjacency(EDGES, NODES)
    assert adjacency.is_sparse
    assert adjacency.is_coalesced()
    assert adjacency.dtype == torch.float32
    assert adjacency._nnz() == 2 * EDGES.shape[1] + NODES
    torch.testing.assert_close(adjacency.to_dense(), root @ with_loops @ root)


def test_adjacency_of_a_graph_is_that_of_networkx() -> None:
    """NetworkX's normalised Laplacian is I - D^-1/2 A D^-1/2; with self-loops in A, its second term is ours."""
    graph = nx.karate_club_graph()
    graph.add_edges_from((node, node) for node in graph.nodes)
    nodes = range(len(graph))
    adjacency = nx.to_scipy_sparse_array(graph, nodelist=nodes, weight=None, dtype=float)
    root = sparse.diags(adjacency.sum(axis=1) ** -0.5)
    expected = torch.from_numpy((root @ adjacency @ root).toarray())
    ours = normalized_adjacency(load("karate").edges, 34, dtype=torch.float64)
    torch.testing.assert_close(ours.to_dense(), expected)


def test_isolated_nodes_and_graphs_without_edges() -> None:
    adjacency = normalized_adjacency(EDGES, NODES).to_dense()
    torch.testing.assert_close(adjacency[5], torch.eye(NODES)[5])
    none = torch.empty(2, 0, dtype=torch.int64)
    torch.testing.assert_close(normalized_adjacency(none, 3).to_dense(), torch.eye(3))


def test_a_constant_vector_scaled_by_degrees_is_kept() -> None:
    """The vector sqrt(degree) is an eigenvector with eigenvalue 1, the largest: convolutions do not explode."""
    adjacency = normalized_adjacency(EDGES, NODES, dtype=torch.float64)
    degrees = (dense_adjacency(EDGES, NODES) + torch.eye(NODES)).sum(1).double()
    torch.testing.assert_close(adjacency @ degrees.sqrt(), degrees.sqrt())
    assert torch.linalg.eigvalsh(adjacency.to_dense()).abs().max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("edges", "error", "message"),
    [
        (EDGES.T, ValueError, "edges must have shape (2, n), a pair in each column, got (4, 2)"),
        (EDGES.float(), TypeError, "edges must be a tensor of int64, got a tensor of torch.float32"),
        ([[0], [1]], TypeError, "edges must be a tensor of int64, got list"),
        (EDGES + 2, ValueError, "edges must name nodes from 0 to 5, got 2 to 6"),
        (EDGES - 1, ValueError, "edges must name nodes from 0 to 5, got -1 to 3"),
        (torch.tensor([[0, 2], [1, 2]]), ValueError, "edges must join different nodes, got 2 and itself"),
        (torch.cat([EDGES, EDGES.flip(0)], 1), ValueError, "each undirected edge once, but 4 of 8 are there already"),
    ],
)
def test_edges_in_another_form(edges, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        normalized_adjacency(edges, NODES)


# The encoder


def test_encoder_is_two_graph_convolutions() -> None:
    """Kipf and Welling (2016), section 2: the second layer is a convolution for the means and one for the scales."""
    torch.manual_seed(0)
    model = gcn_vgae("n", 3, x_dim=7, hidden=5)
    head = model.posterior
    assert isinstance(head, GaussianPosterior)
    nn.init.normal_(head.mean.bias)
    a = normalized_adjacency(EDGES, NODES).to_dense()
    hidden = torch.relu(a @ X @ model.weight)
    q = model.encode(X, normalized_adjacency(EDGES, NODES))
    assert (q.batch_shape, q.event_shape) == ((NODES,), (3,))
    torch.testing.assert_close(q.mean, a @ (hidden @ head.mean.weight.T) + head.mean.bias)
    torch.testing.assert_close(q.stddev, F.softplus(a @ (hidden @ head.raw_scale.weight.T) + head.raw_scale.bias))


def test_features_may_be_sparse() -> None:
    """The same draws drop the same features: every entry of X is nonzero and stands in the same order."""
    for dropout in (0.0, 0.4):
        model = gcn_vgae("s", 3, x_dim=7, dropout=dropout)
        adjacency = normalized_adjacency(EDGES, NODES)
        means = []
        for x in (X, X.to_sparse()):
            torch.manual_seed(0)
            means.append(model.encode(x, adjacency).mean)
        torch.testing.assert_close(*means)


def test_models_differ_only_in_their_heads() -> None:
    n, s, ps = (gcn_vgae(kind, 2, x_dim=7) for kind in ("n", "s", "ps"))
    assert [type(model.posterior) for model in (n, s, ps)] == [
        GaussianPosterior,
        VonMisesFisherPosterior,
        PowerSphericalPosterior,
    ]
    assert n.weight.shape == s.weight.shape == (7, 32)
    assert type(n.decoder) is type(s.decoder) is InnerProductDecoder
    assert [model.decoder.scale.item() for model in (n, s, ps)] == pytest.approx([1, 3, 3])
    assert all(model.decoder.offset == 0 for model in (n, s, ps))


def test_weights_start_as_glorots() -> None:
    torch.manual_seed(0)
    weight = gcn_vgae("n", 2, x_dim=1433).weight
    bound = (6 / (1433 + 32)) ** 0.5
    assert 0.999 * bound < weight.abs().max() <= bound
    assert weight.mean().abs() < 1e-3


def test_a_node_hears_of_nodes_two_steps_away_and_no_further() -> None:
    """On a path 0-1-2-3, two convolutions carry the features of node 2 to node 0, but not those of node 3."""
    edges = undirected_edges(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    torch.manual_seed(0)
    model = gcn_vgae("n", 2, x_dim=4)
    x = torch.eye(4, requires_grad=True)
    model.encode(x, normalized_adjacency(edges, 4)).mean[0].sum().backward()
    assert x.grad is not None
    assert [bool(row.any()) for row in x.grad] == [True, True, True, False]


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(0)
    model = gcn_vgae("n", 2, x_dim=7, dropout=0.5)
    adjacency = normalized_adjacency(EDGES, NODES)
    assert not torch.equal(model.encode(X, adjacency).mean, model.encode(X, adjacency).mean)
    model.eval()
    expected = model.encode(X, adjacency).mean
    torch.testing.assert_close(model.encode(X, adjacency).mean, expected)
    model.dropout = 0.0
    torch.testing.assert_close(model.train().encode(X, adjacency).mean, expected)


# The decoder


def test_decoder_is_the_formula() -> None:
    decoder = InnerProductDecoder(scale=2.5)
    with torch.no_grad():
        decoder.offset.fill_(-1)
    z = torch.randn(NODES, 4)
    expected = (2.5 * z @ z.T - 1)[EDGES[0], EDGES[1]]
    torch.testing.assert_close(decoder(z, EDGES), expected)
    model = VGAE(7, 5, VonMisesFisherPosterior(5, 3), decoder)
    torch.testing.assert_close(model.decode(z, EDGES), expected.sigmoid())


def test_decoder_does_not_see_the_direction_of_an_edge() -> None:
    decoder, z = InnerProductDecoder(), torch.randn(NODES, 4)
    torch.testing.assert_close(decoder(z, EDGES), decoder(z, EDGES.flip(0)))


def test_the_scale_stays_positive() -> None:
    """Whatever the optimiser does, more alike never means less likely."""
    decoder = InnerProductDecoder()
    with torch.no_grad():
        decoder.log_scale.fill_(-20)
    assert decoder.scale > 0


def test_every_parameter_is_trained() -> None:
    graph = load("karate")
    split = split_edges(graph, 0)
    for kind in ("n", "s", "ps"):
        model = gcn_vgae(kind, 2, x_dim=34)
        q = model.encode(graph.features, normalized_adjacency(split.train, 34))
        (model.decoder(q.rsample(), split.train).sum() + model.posterior.kl(q).sum()).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "x"}, "kind must be one of 's', 'n', 'ps', 'c', got 'x'"),
        ({"kind": "ae"}, "kind must be one of 's', 'n', 'ps', 'c', got 'ae'"),
        ({"d": 0}, "d must be an integer >= 1, got 0"),
        ({"x_dim": 0}, "x_dim must be an integer >= 1, got 0"),
        ({"hidden": 2.5}, "hidden must be an integer >= 1, got 2.5"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
        ({"dropout": -0.1}, "dropout must be a finite number >= 0, got -0.1"),
        ({"dropout": "x"}, "dropout must be a finite number >= 0, got 'x'"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        gcn_vgae(**{"kind": "n", "d": 2, "x_dim": 7, **change})


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), "x"])
def test_a_scale_that_is_not_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="scale must be a finite number > 0"):
        InnerProductDecoder(scale)


def test_shapes_that_do_not_fit() -> None:
    model = gcn_vgae("n", 2, x_dim=7)
    adjacency = normalized_adjacency(EDGES, NODES)
    with pytest.raises(ValueError, match=re.escape("x must have shape (N, 7), got (6, 6)")):
        model.encode(X[:, :6], adjacency)
    with pytest.raises(ValueError, match=re.escape("adjacency must have shape (5, 5), got (6, 6)")):
        model.encode(X[:5], adjacency)


def test_integers_of_numpy():
    model = gcn_vgae("s", np.int64(3), x_dim=np.int32(7), hidden=np.uint8(8))
    assert repr(model) == repr(gcn_vgae("s", 3, x_dim=7, hidden=8))
    adjacency = normalized_adjacency(EDGES, np.int64(NODES))
    torch.testing.assert_close(adjacency.to_dense(), normalized_adjacency(EDGES, NODES).to_dense())
    assert model.encode(X, adjacency).batch_shape == (NODES,)
    assert uniform_pairs(np.int64(NODES), np.int64(4)).shape == (2, 4)
    assert all_pairs(np.int64(NODES)).shape == (2, NODES**2)


@pytest.mark.parametrize("kind", ["n", "s"])
def test_a_model_may_be_built_without_memory(kind: str) -> None:
    torch.manual_seed(0)
    source = gcn_vgae(kind, 2, x_dim=7)
    with torch.device("meta"):
        model = gcn_vgae(kind, 2, x_dim=7)
    model.to_empty(device="cpu").load_state_dict(source.state_dict())
    adjacency = normalized_adjacency(EDGES, NODES)
    assert torch.equal(model.encode(X, adjacency).mean, source.encode(X, adjacency).mean)
    assert model.decoder.scale == source.decoder.scale
