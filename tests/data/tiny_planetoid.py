"""A graph in Planetoid's files that is small enough to be made in a test, pickled as Python 2 did."""

import hashlib
import io
import pickle
import struct
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from hvae_tutorial.data import REGISTRY, RemoteFile, Source

PARTS = ("allx", "ally", "tx", "ty", "graph", "test.index")


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as the strings of Python 2; today's pickler would ask the reader for `_codecs.encode`."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, data: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(data)) + data)

    dispatch[bytes] = save_bytes  # type: ignore[assignment]


def python2_pickle(value: Any) -> bytes:
    """Return the pickle of a value with the module names of Python 2 and of the libraries of its time."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(value)
    names = {
        scipy.sparse.csr_matrix.__module__: "scipy.sparse.csr",
        np.empty(0).__reduce__()[0].__module__: "numpy.core.multiarray",
    }
    content = buffer.getvalue()
    for today, then in names.items():
        content = content.replace(f"c{today}\n".encode(), f"c{then}\n".encode())  # the opcode that names a global
    return content


def tiny_files(**replaced: Any) -> dict[str, bytes]:
    """Return the files of a graph of seven nodes, by their parts; `replaced` values are pickled, bytes kept.

    Nodes 0 to 2 are for training. Node 5 is left out by the test index, which is not in order, and has an edge; node 3
    is isolated; node 0 has a self-loop, and edges are given from both ends, from one, or twice.
    """
    parts = {
        "allx": scipy.sparse.csr_matrix(np.array([[1, 0], [0, 2], [0, 0]], dtype=np.float32)),
        "ally": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.int32),
        "tx": scipy.sparse.csr_matrix(np.array([[0, 6], [3, 0], [4, 4]], dtype=np.float32)),
        "ty": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=np.int32),
        "graph": defaultdict(list, {0: [0, 1, 1, 6], 1: [0], 2: [4], 3: [], 4: [2], 5: [6], 6: [0, 5]}),
        "test_index": b"6\n3\n4\n",
        **replaced,
    }
    parts["test.index"] = parts.pop("test_index")
    return {part: parts[part] if isinstance(parts[part], bytes) else python2_pickle(parts[part]) for part in PARTS}


def source(files: dict[str, bytes], *mirrors: str, name: str = "cora") -> Source:
    """Return a source of these files as the registry has them."""
    tiny = tuple(RemoteFile(f"ind.{name}.{part}", hashlib.sha256(files[part]).hexdigest()) for part in PARTS)
    return replace(REGISTRY[name], files=tiny, mirrors=mirrors)


def write(files: dict[str, bytes], folder: Path, *, name: str = "cora") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in files.items():
        (folder / f"ind.{name}.{part}").write_bytes(content)
