"""Citation graphs have their features and classes at their nodes and every edge once; a pickle can run no code."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from tiny_planetoid import python2_pickle, source, tiny_files, write

from hvae_tutorial.data import DataError, GraphDataset, Source, load
from hvae_tutorial.data.planetoid import load_planetoid, unpickle


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def loaded(folder: Path, **replaced: Any) -> GraphDataset:
    files = tiny_files(**replaced)
    write(files, folder / "planetoid")
    return load_planetoid(source(files))


def test_features_and_classes_stand_at_their_nodes(folder: Path) -> None:
    """The rows of tx are in the order of test.index; the node that it leaves out has neither."""
    graph = loaded(folder)
    assert graph.name == "cora"
    assert graph.features.dtype == torch.float32
    assert graph.features.tolist() == [[1, 0], [0, 2], [0, 0], [3, 0], [4, 4], [0, 0], [0, 6]]
    assert graph.labels is not None
    assert graph.labels.dtype == torch.int64
    assert graph.labels.tolist() == [0, 1, 2, 0, 1, -1, 2]


def test_edges_stand_once_without_self_loops_and_isolated_nodes_stay(folder: Path) -> None:
    graph = loaded(folder)
    assert graph.edges.tolist() == [[0, 0, 2, 5], [1, 6, 4, 6]]
    assert graph.num_nodes == 7
    assert 3 not in graph.edges


def test_two_graphs_share_a_folder_of_the_cache(
    folder: Path, register: Callable[[Source], Source], tmp_path: Path
) -> None:
    folder.mkdir()  # without the files
    for name, replaced in (("cora", {}), ("pubmed", {"graph": {0: [2]}})):
        files = tiny_files(**replaced)
        register(source(files, name=name))
        write(files, tmp_path / "cache" / "planetoid", name=name)
    assert load("cora", cache=tmp_path / "cache").num_edges == 4
    assert load("pubmed", cache=tmp_path / "cache").num_edges == 1


# Pickles that are none of Planetoid's


class Malicious:
    """Unpickled without restrictions, this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_code_is_refused(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({0: [Malicious(tmp_path / "made")]}, protocol=protocol)
    with pytest.raises(DataError, match=r"graph: not a pickle of Planetoid's \(it asks for (posix|nt)\.mkdir"):
        unpickle(content, where="graph")
    assert not (tmp_path / "made").exists()
    pickle.loads(content)  # the pickle is one that does it
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"cos\nsystem\n(S'true'\ntR.", id="os.system"),
        pytest.param(b"c__builtin__\neval\n(S'1'\ntR.", id="eval"),
        pytest.param(b"cbuiltins\nlist\n.", id="list under the name of Python 3"),
        pytest.param(b"cnumpy\nload\n(S'x'\ntR.", id="another function of NumPy"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", id="an attribute of what is admitted"),
    ],
)
def test_nothing_else_is_admitted(content: bytes) -> None:
    with pytest.raises(DataError, match=r"where: not a pickle of Planetoid's \(it asks for .*, which such files"):
        unpickle(content, where="where")


@pytest.mark.parametrize("content", [b"", b"<html></html>", python2_pickle([1, 2, 3])[:-3]])
def test_damaged_pickles_are_named(content: bytes, folder: Path) -> None:
    with pytest.raises(DataError, match=re.escape("planetoid/ind.cora.graph: not a pickle of Planetoid's (")):
        loaded(folder, graph=content)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"ally": np.eye(3)[:2]}, "3 nodes with 2 classes"),
        ({"ty": np.eye(3)[:2]}, "then 3 test nodes with 2 classes, numbered by 3 lines from 3 to 6"),
        ({"test_index": b"6\n3\n"}, "numbered by 2 lines from 3 to 6"),
        ({"test_index": b"6\n3\n3\n"}, "numbered by 3 lines from 3 to 6"),
        ({"test_index": b"6\n5\n4\n"}, "numbered by 3 lines from 4 to 6"),
        ({"tx": scipy.sparse.csr_matrix((2, 2))}, "then 2 test nodes with 3 classes"),
        ({"graph": {0: [7]}}, "nodes must be in 0 to 6, got 0 to 7"),
    ],
)
def test_files_that_do_not_fit(replaced: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=rf"cora: the files do not fit: .*{message}"):
        loaded(folder, **replaced)


# The real files, where there are any

HVAE_DATA = Path(os.environ.get("HVAE_DATA", "."))  # read here because each test runs without it


@pytest.mark.skipif(
    not (HVAE_DATA / "planetoid" / "ind.cora.graph").is_file(),
    reason="HVAE_DATA names no folder with planetoid/ind.cora.graph and so on",
)
@pytest.mark.parametrize(
    ("name", "nodes", "features", "classes", "edges", "isolated", "unknown", "sha256"),
    [
        ("cora", 2708, 1433, 7, 5278, 0, 0, "105078a5f809a3245dcf976eac2030112b32e233cdb62a4f04a87d02a60cac0f"),
        ("citeseer", 3327, 3703, 6, 4552, 48, 15, "4b580c50dfb264ff4fc94b0f3509b59894eeee4bce83208dfccf9ab62f6ffe9a"),
        ("pubmed", 19717, 500, 3, 44324, 0, 0, "ee34c82deebdad10f528fc9efb1e2a2c8a83226b53105290bbb60597b7440844"),
    ],
)
def test_real_files(
    name: Any,
    nodes: int,
    features: int,
    classes: int,
    edges: int,
    isolated: int,
    unknown: int,
    sha256: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sizes are the published ones; the hash is what records name."""
    monkeypatch.setenv("HVAE_DATA", str(HVAE_DATA.resolve()))
    graph = load(name, cache=tmp_path)
    assert (graph.num_nodes, graph.features.shape[1], graph.num_edges) == (nodes, features, edges)
    assert (torch.bincount(graph.edges.flatten(), minlength=nodes) == 0).sum() == isolated
    assert graph.labels is not None
    assert len(graph.labels[graph.labels >= 0].bincount()) == classes
    assert (graph.labels == -1).sum() == unknown
    assert ((graph.features == 0).all(1)).sum() == unknown
    assert graph.sha256 == sha256
