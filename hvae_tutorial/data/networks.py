"""Small graphs that come with NetworkX: the embedded default for link prediction."""

from typing import Any

import networkx as nx
import torch

from hvae_tutorial.data.graph import GraphDataset, undirected_edges


def load_karate() -> GraphDataset:
    """Load Zachary's Karate club: 34 members, 78 friendships, and the side each took when the club split (0: Mr. Hi).

    Weights of the edges are left out. There are no features: theirs is the identity matrix.
    """
    graph = nx.karate_club_graph()
    clubs = [club for _, club in graph.nodes(data="club")]
    labels = torch.tensor([("Mr. Hi", "Officer").index(club) for club in clubs])
    return _from_networkx("karate", graph, labels)


def load_les_miserables() -> GraphDataset:
    """Load the 77 characters of Les Misérables and the 254 pairs who meet in a chapter (Knuth 1993).

    Weights of the edges are left out. There are no features, theirs is the identity matrix, and no classes. The nodes
    are in the order of `networkx.les_miserables_graph().nodes`.
    """
    return _from_networkx("les-miserables", nx.les_miserables_graph(), None)


def _from_networkx(name: str, graph: Any, labels: torch.Tensor | None) -> GraphDataset:
    numbers = {node: number for number, node in enumerate(graph.nodes)}
    pairs = torch.tensor([[numbers[u], numbers[v]] for u, v in graph.edges]).t()
    return GraphDataset(name, undirected_edges(pairs, len(numbers)), torch.eye(len(numbers)), labels)
