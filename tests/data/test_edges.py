"""A split has every edge in exactly one part; edges and non-edges are held out with equal probability."""

import dataclasses
from itertools import combinations

import pytest
import torch
from scipy import stats

from hvae_tutorial.data import EdgeSplit, GraphDataset, load, split_edges, undirected_edges

PARTS = [field.name for field in dataclasses.fields(EdgeSplit)]


def graph_of(pairs: list[tuple[int, int]], num_nodes: int) -> GraphDataset:
    return GraphDataset("a graph", undirected_edges(torch.tensor(pairs).t(), num_nodes), torch.eye(num_nodes), None)


def pairs(part: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(pair) for pair in part.t().tolist()}


@pytest.mark.parametrize("name", ["karate", "les-miserables"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_parts_are_disjoint_and_complete(name: str, seed: int) -> None:
    graph = load(name)
    assert isinstance(graph, GraphDataset)
    split = split_edges(graph, seed)
    parts = {part: pairs(getattr(split, part)) for part in PARTS}
    for part, content in parts.items():
        assert getattr(split, part).dtype == torch.int64
        assert getattr(split, part).shape == (2, len(content)), "no pair twice"
        assert all(0 <= u < v < graph.num_nodes for u, v in content)
    assert not any(a & b for a, b in combinations(parts.values(), 2))
    assert parts["train"] | parts["validation"] | parts["test"] == pairs(graph.edges)
    assert len(parts["test"]) == len(parts["test_non_edges"]) == graph.num_edges // 10
    assert len(parts["validation"]) == len(parts["validation_non_edges"]) == graph.num_edges // 20


def test_a_seed_means_one_split() -> None:
    graph = load("karate")
    first, again, other = (split_edges(graph, seed) for seed in (0, 0, 1))
    assert all(torch.equal(getattr(first, part), getattr(again, part)) for part in PARTS)
    assert not any(torch.equal(getattr(first, part), getattr(other, part)) for part in PARTS)
    # Records depend on it: neither a new release of NumPy nor a change of ours may give another split.
    assert first.validation.tolist() == [[31, 15, 23], [32, 32, 25]]
    assert first.validation_non_edges.tolist() == [[13, 17, 5], [20, 21, 27]]


def test_every_non_edge_can_be_drawn_alike() -> None:
    """Chi-square over the 6 non-edges of a graph of 8 nodes, 3 drawn in each of 2,000 splits: error rate 1e-4."""
    everything = list(combinations(range(8), 2))
    missing = everything[::5]
    graph = graph_of([pair for pair in everything if pair not in missing], 8)
    counts = torch.zeros(8, 8)
    for seed in range(2000):
        split = split_edges(graph, seed)
        for u, v in pairs(split.test_non_edges) | pairs(split.validation_non_edges):
            counts[u, v] += 1
    observed = [counts[pair].item() for pair in missing]
    assert sum(observed) == counts.sum() == 6000
    # Draws of one split are without replacement, which only brings the counts nearer to equal.
    assert stats.chisquare(observed).pvalue > 1e-4


def test_edges_are_held_out_alike() -> None:
    """Each of 20 edges is the validation edge of 2,000 splits with probability 1/20: chi-square, error rate 1e-4."""
    graph = graph_of([(0, v) for v in range(1, 21)], 21)
    counts = sum(torch.bincount(split_edges(graph, seed).validation[1], minlength=21)[1:] for seed in range(2000))
    assert stats.chisquare(counts).pvalue > 1e-4


def test_isolated_nodes_take_part_in_non_edges() -> None:
    graph = graph_of([(0, v) for v in range(1, 21)], 40)
    drawn = torch.cat([split_edges(graph, seed).test_non_edges.flatten() for seed in range(100)])
    assert set(range(21, 40)) <= set(drawn.tolist())


def test_too_few_edges() -> None:
    with pytest.raises(ValueError, match="needs at least 20 edges, got 19"):
        split_edges(graph_of([(0, v) for v in range(1, 20)], 20), 0)


def test_too_few_non_edges() -> None:
    with pytest.raises(ValueError, match="the graph has 0 pairs that are no edges, but 3 are needed"):
        split_edges(graph_of(list(combinations(range(7), 2)), 7), 0)


def test_a_graph_with_just_enough_non_edges_is_split() -> None:
    """Eight nodes, 25 of their 28 pairs: two test edges and one for validation need the three pairs that are left."""
    pairs = torch.combinations(torch.arange(8), 2).t()
    graph = GraphDataset("full", pairs[:, :25], torch.eye(8), None)
    split = split_edges(graph, 0)
    drawn = torch.cat([split.test_non_edges, split.validation_non_edges], dim=1)
    assert torch.equal(undirected_edges(drawn, 8), pairs[:, 25:])
    fuller = GraphDataset("fuller", pairs[:, :26], torch.eye(8), None)
    with pytest.raises(ValueError, match="the graph has 2 pairs that are no edges, but 3 are needed"):
        split_edges(fuller, 0)
