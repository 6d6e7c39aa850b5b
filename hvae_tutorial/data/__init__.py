"""The data sets of the paper and of the course, by name: `load("digits")`.

`circle`, `digits` and the graphs `karate` and `les-miserables` need no network. `mnist`, `fashion-mnist` and the
citation graphs `cora`, `citeseer` and `pubmed` are looked for in the folder named by the environment variable
`HVAE_DATA`, then in the user's cache, and are downloaded otherwise. Their bytes are checked wherever they come from.
"""

from hvae_tutorial.data.binarization import binarize
from hvae_tutorial.data.circle import CircleDataset
from hvae_tutorial.data.dataset import Dataset
from hvae_tutorial.data.edges import EdgeSplit, split_edges
from hvae_tutorial.data.errors import DataError
from hvae_tutorial.data.graph import GraphDataset, undirected_edges
from hvae_tutorial.data.labels import balanced_indices
from hvae_tutorial.data.loading import load, names
from hvae_tutorial.sources import REGISTRY, RemoteFile, Source

__all__ = [
    "REGISTRY",
    "CircleDataset",
    "DataError",
    "Dataset",
    "EdgeSplit",
    "GraphDataset",
    "RemoteFile",
    "Source",
    "balanced_indices",
    "binarize",
    "load",
    "names",
    "split_edges",
    "undirected_edges",
]
