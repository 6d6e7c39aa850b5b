"""A graph has one form: each undirected edge once, its smaller end first; its hash sees every tensor."""

import dataclasses
import re

import pytest
import torch

from hvae_tutorial.data import GraphDataset, undirected_edges


@pytest.fixture
def graph() -> GraphDataset:
    return GraphDataset("four nodes", torch.tensor([[0, 0], [1, 3]]), torch.rand(4, 2), torch.tensor([0, 1, -1, 0]))


def test_sizes(graph: GraphDataset) -> None:
    assert (graph.num_nodes, graph.num_edges) == (4, 2)
    assert (graph.x_dim, graph.sizes) == (2, "4 nodes, 2 edges, 2 features")


def test_hash_sees_every_tensor(graph: GraphDataset) -> None:
    assert dataclasses.replace(graph, features=graph.features.t().contiguous().t()).sha256 == graph.sha256
    changes = (
        {"edges": torch.tensor([[0, 0], [1, 2]])},
        {"features": graph.features + 1},
        {"labels": torch.tensor([0, 1, 0, 0])},
        {"labels": None},
    )
    assert len({graph.sha256, *(dataclasses.replace(graph, **change).sha256 for change in changes)}) == 5


@pytest.mark.parametrize(
    "edges",
    [[[1], [0]], [[1], [1]], [[0, 0], [1, 1]], [[0, 0], [3, 1]]],
    ids=["direction", "self-loop", "repeated", "order"],
)
def test_edges_have_one_form(edges: list[list[int]], graph: GraphDataset) -> None:
    with pytest.raises(ValueError, match=r"edges must hold each edge once.*use undirected_edges"):
        dataclasses.replace(graph, edges=torch.tensor(edges))


@pytest.mark.parametrize("count", [3, 5])
def test_labels_must_fit(graph: GraphDataset, count: int) -> None:
    with pytest.raises(ValueError, match=f"labels must have one entry a node, 4, got {count}"):
        dataclasses.replace(graph, labels=torch.zeros(count, dtype=torch.int64))


def test_undirected_edges() -> None:
    pairs = torch.tensor([[3, 0, 2, 1, 1, 3], [1, 1, 2, 0, 3, 2]])
    assert undirected_edges(pairs, 4).tolist() == [[0, 1, 2], [1, 3, 3]]
    assert undirected_edges(torch.empty(2, 0, dtype=torch.int64), 4).shape == (2, 0)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (torch.tensor([[0], [4]]), "nodes must be in 0 to 3, got 0 to 4"),
        (torch.tensor([[-1], [2]]), "nodes must be in 0 to 3, got -1 to 2"),
        (torch.tensor([[0, 1, 2]]), "pairs must be int64 of shape (2, n), got torch.int64 of shape (1, 3)"),
        (torch.tensor([[0.0], [1.0]]), "pairs must be int64 of shape (2, n), got torch.float32 of shape (2, 1)"),
    ],
)
def test_pairs_must_be_pairs_of_nodes(pairs: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        undirected_edges(pairs, 4)
