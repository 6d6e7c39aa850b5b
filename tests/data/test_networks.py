"""The two small networks are NetworkX's own, edge by edge and label by label."""

import networkx as nx
import torch

from hvae_tutorial.data import load


def test_karate_is_networkxs() -> None:
    graph = load("karate")
    expected = nx.karate_club_graph()
    assert (graph.num_nodes, graph.num_edges) == (34, 78)
    assert {tuple(edge) for edge in graph.edges.t().tolist()} == {tuple(sorted(edge)) for edge in expected.edges}
    assert graph.labels is not None
    assert graph.labels.tolist() == [int(club == "Officer") for _, club in expected.nodes(data="club")]
    torch.testing.assert_close(graph.features, torch.eye(34))


def test_les_miserables_is_networkxs() -> None:
    graph = load("les-miserables")
    expected = nx.les_miserables_graph()
    names = list(expected.nodes)
    assert (graph.num_nodes, graph.num_edges) == (77, 254)
    assert {frozenset(names[node] for node in edge) for edge in graph.edges.t().tolist()} == {
        frozenset(edge) for edge in expected.edges
    }
    assert graph.labels is None
    torch.testing.assert_close(graph.features, torch.eye(77))


def test_they_never_change() -> None:
    """Records name these hashes: another order of the nodes makes them incomparable."""
    assert load("karate").sha256 == "e87227ece8bd1a21f6d48f50d08b8f8bce4242f77be2b7243077f88633084779"
    assert load("les-miserables").sha256 == "47098fa5b8898959bc8a5282b385d9dd4ed6b8001028419e11534ca7311bd5be"
