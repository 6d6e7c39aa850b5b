"""A graph with features, as loaders return it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hvae_tutorial.data.dataset import sha256_of_tensors

UNKNOWN = -1  # the label of a node whose class is not known


@dataclass(frozen=True, eq=False)
class GraphDataset:
    """An undirected graph without self-loops. All tensors are on the CPU.

    Attributes:
        name: The name it was loaded by.
        edges: Each edge once, as (u, v) with u < v, in increasing order: int64 of shape (2, E).
        features: One row a node, float32 of shape (N, F): a bag of words as published, not normalised; the identity
            matrix for a graph without features, so that a linear map of them is a free vector for each node.
        labels: Classes of the nodes, int64 of shape (N,), counted from 0, `UNKNOWN` (-1) where there is none; None for
            a graph without classes.

    Raises:
        ValueError: `edges` is not in this form, names a node without features, or there are not as many labels as
            nodes.
    """

    name: str
    edges: Tensor
    features: Tensor
    labels: Tensor | None

    def __post_init__(self) -> None:
        """Check that the parts fit."""
        canonical = undirected_edges(self.edges, self.num_nodes)
        if not torch.equal(canonical, self.edges):
            raise ValueError(
                "edges must hold each edge once, as (u, v) with u < v, in increasing order and without self-loops: "
                "use undirected_edges"
            )
        if self.labels is not None and len(self.labels) != self.num_nodes:
            raise ValueError(f"labels must have one entry a node, {self.num_nodes}, got {len(self.labels)}")

    @property
    def num_nodes(self) -> int:
        """N, isolated nodes included."""
        return len(self.features)

    @property
    def num_edges(self) -> int:
        """E, each undirected edge counted once."""
        return self.edges.shape[1]

    @property
    def x_dim(self) -> int:
        """The number of coordinates of the features of a node."""
        return self.features.shape[1]

    @property
    def sizes(self) -> str:
        """The numbers of nodes, edges and features, for people."""
        return f"{self.num_nodes} nodes, {self.num_edges} edges, {self.features.shape[1]} features"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of all the tensors with their names and shapes: two runs with the same value saw the same data."""
        return sha256_of_tensors(self)


def undirected_edges(pairs: Tensor, num_nodes: int) -> Tensor:
    """Return the undirected edges among pairs of nodes: each once, as (u, v) with u < v, in increasing order.

    Args:
        pairs: int64 of shape (2, n), in any order and direction; repeated pairs count once, self-loops not at all.
        num_nodes: N; the nodes are 0 to N - 1.

    Returns:
        int64 of shape (2, E).

    Raises:
        ValueError: `pairs` has another shape or dtype, or names a node that is not there.
    """
    if pairs.ndim != 2 or pairs.shape[0] != 2 or pairs.dtype != torch.int64:
        raise ValueError(f"pairs must be int64 of shape (2, n), got {pairs.dtype} of shape {tuple(pairs.shape)}")
    if pairs.numel() and not (pairs.min() >= 0 and pairs.max() < num_nodes):
        raise ValueError(f"nodes must be in 0 to {num_nodes - 1}, got {pairs.min().item()} to {pairs.max().item()}")
    low, high = pairs.amin(0), pairs.amax(0)
    codes = (low * num_nodes + high)[low != high].unique()  # sorted
    return torch.stack([codes // num_nodes, codes % num_nodes])
