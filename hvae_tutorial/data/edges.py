"""The split of a graph's edges for link prediction, after Kipf and Welling (2016, arXiv 1611.07308, section 3)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hvae_tutorial.data.graph import GraphDataset

TEST_SHARE = 10  # one edge in so many
VALIDATION_SHARE = 20


@dataclass(frozen=True, eq=False)
class EdgeSplit:
    """Edges of a graph in three parts, and pairs of nodes that are no edges; pairs (u, v) have u < v.

    Attributes:
        train: The edges to learn from, int64 of shape (2, E_train).
        validation: Edges held out, int64 of shape (2, E_validation).
        test: Edges held out, int64 of shape (2, E_test).
        validation_non_edges: As many pairs that are no edges of the graph.
        test_non_edges: As many others.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    validation_non_edges: Tensor
    test_non_edges: Tensor


def split_edges(graph: GraphDataset, seed: int) -> EdgeSplit:
    """Hold out 10% of the edges for test and 5% for validation, rounded down, and draw as many non-edges for each.

    Non-edges are drawn uniformly from the pairs of different nodes that no edge of the graph joins, and no pair is
    drawn twice. The same seed always gives the same split.

    Args:
        graph: The graph.
        seed: Of the shuffling and of the draws, >= 0.

    Raises:
        ValueError: The graph has too few edges to hold one out for validation, or not enough non-edges.
    """
    num_test, num_validation = graph.num_edges // TEST_SHARE, graph.num_edges // VALIDATION_SHARE
    if num_validation == 0:
        raise ValueError(f"a graph to be split needs at least {VALIDATION_SHARE} edges, got {graph.num_edges}")
    # RandomState, not default_rng: NumPy promises that its stream never changes.
    random = np.random.RandomState(seed)
    shuffled = graph.edges[:, torch.from_numpy(random.permutation(graph.num_edges))]
    test, validation, train = shuffled.split([num_test, num_validation, graph.num_edges - num_test - num_validation], 1)
    non_edges = _non_edges(graph, num_test + num_validation, random)
    test_non_edges, validation_non_edges = non_edges.split([num_test, num_validation], 1)
    return EdgeSplit(train, validation, test, validation_non_edges, test_non_edges)


def _non_edges(graph: GraphDataset, count: int, random: np.random.RandomState) -> Tensor:
    """Draw `count` different pairs (u, v), u < v, that are no edges: (2, count)."""
    n = graph.num_nodes
    available = n * (n - 1) // 2 - graph.num_edges
    if count > available:
        raise ValueError(f"the graph has {available} pairs that are no edges, but {count} are needed")
    edges = (graph.edges[0] * n + graph.edges[1]).numpy()
    chosen: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # pairs as numbers u n + v, in the order of the draws
    while len(chosen) < count:
        u, v = random.randint(n, size=(2, 2 * count), dtype=np.int64)
        drawn = (np.minimum(u, v) * n + np.maximum(u, v))[u != v]
        chosen = np.concatenate([chosen, drawn[~np.isin(drawn, edges)]])
        chosen = chosen[np.sort(np.unique(chosen, return_index=True)[1])]
    return torch.from_numpy(np.stack(np.divmod(chosen[:count], n)))
