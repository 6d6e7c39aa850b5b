"""The citation graphs Cora, Citeseer and Pubmed in the files of Planetoid (Yang, Cohen and Salakhutdinov 2016).

Of the files of a graph, `allx` and `ally` hold features and one-hot classes of all nodes that are not for test, `tx`
and `ty` those of the test nodes, `test.index` says which nodes these are, and `graph` maps each node to its neighbours.
Two more files, `x` and `y`, repeat the first rows of `allx` and `ally` and are not read.
"""

import io
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from hvae_tutorial.data.cache import fetch
from hvae_tutorial.data.errors import DataError
from hvae_tutorial.data.graph import UNKNOWN, GraphDataset, undirected_edges
from hvae_tutorial.sources import Source

# All that these files ask for, under the names that it had when they were written, in Python 2. A pickle can name any
# function and have it called: everything else is refused.
ADMITTED: dict[tuple[str, str], Any] = {
    ("scipy.sparse.csr", "csr_matrix"): scipy.sparse.csr_matrix,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # its module is private today
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "defaultdict"): defaultdict,
    ("__builtin__", "list"): list,
}


class _RestrictedUnpickler(pickle.Unpickler):
    """Loads what is `ADMITTED`, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what the pickle calls `module.name`, if it is admitted."""
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which such files do not need") from None


def unpickle(content: bytes, *, where: str) -> Any:
    """Return the object in a pickle of Planetoid's, without running any code that it may carry.

    Args:
        content: The whole contents of the file.
        where: The name of the file for error messages.

    Raises:
        DataError: The pickle is damaged, or asks for something that such files do not need.
    """
    try:
        return _RestrictedUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{where}: not a pickle of Planetoid's ({error})") from error


def load_planetoid(source: Source, *, cache: Path | str | None = None) -> GraphDataset:
    """Load a graph from Planetoid's files: all its nodes in their published order, isolated ones included.

    Self-loops and repeated edges are dropped. Test nodes that `test.index` leaves out (15 in Citeseer) have zeros as
    features, no class, and their edges.

    Args:
        source: A set whose files are `allx`, `ally`, `tx`, `ty`, `graph` and `test.index`, in this order.
        cache: The cache folder; the user's cache folder by default.

    Raises:
        DataError: A file cannot be had or is damaged (see `fetch`), or files do not fit one another.
    """
    *pickles, index = source.files
    allx, ally, tx, ty, neighbours = (
        unpickle(fetch(source, file, cache=cache), where=f"{source.folder}/{file.name}") for file in pickles
    )
    test = [int(line) for line in fetch(source, index, cache=cache).split()]

    rest = allx.shape[0]
    num_nodes = rest + max(test) - min(test) + 1
    if not (len(ally) == rest == min(test) and len(ty) == tx.shape[0] == len(test) == len(set(test))):
        raise DataError(
            f"{source.name}: the files do not fit: {rest} nodes with {len(ally)} classes, then {tx.shape[0]} test "
            f"nodes with {len(ty)} classes, numbered by {len(test)} lines from {min(test)} to {max(test)}"
        )
    features = np.zeros((num_nodes, allx.shape[1]), dtype=np.float32)
    features[:rest] = allx.toarray()
    features[test] = tx.toarray()
    labels = np.full(num_nodes, UNKNOWN)
    labels[:rest] = ally.argmax(1)
    labels[test] = ty.argmax(1)

    pairs = [(node, neighbour) for node, others in neighbours.items() for neighbour in others]
    try:
        edges = undirected_edges(torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).t(), num_nodes)
    except ValueError as error:
        raise DataError(f"{source.name}: the files do not fit: {error}") from error
    return GraphDataset(source.name, edges, torch.from_numpy(features), torch.from_numpy(labels.astype(np.int64)))
