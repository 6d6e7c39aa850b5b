"""The data sets of the paper and of the course, by name: `load("digits")`.

`circle` and `digits` need no network. `mnist` and `fashion-mnist` are looked for in the folder named by the environment
variable `HVAE_DATA`, then in the user's cache, and are downloaded otherwise. Their bytes are checked wherever they come
from.
"""

from hvae_tutorial.data.circle import CircleDataset
from hvae_tutorial.data.dataset import Dataset
from hvae_tutorial.data.errors import DataError
from hvae_tutorial.data.loading import load, names
from hvae_tutorial.data.registry import REGISTRY, RemoteFile, Source

__all__ = ["REGISTRY", "CircleDataset", "DataError", "Dataset", "RemoteFile", "Source", "load", "names"]
