"""`load`: a data set by its name."""

from pathlib import Path
from pkgutil import resolve_name

from hvae_tutorial.data.dataset import Dataset
from hvae_tutorial.data.graph import GraphDataset
from hvae_tutorial.sources import REGISTRY


def names() -> tuple[str, ...]:
    """Return the names that `load` takes."""
    return tuple(REGISTRY)


def load(name: str, *, cache: Path | str | None = None) -> Dataset | GraphDataset:
    """Load a data set: points with their fixed split into training, validation and test data, or a graph.

    The names, with sizes and licences, are in `hvae_tutorial.sources` and in what `hvae data list` prints. Sets that
    are computed or come with a library need no network. The files of the others are looked for in the folder that
    `HVAE_DATA` names, then in the cache, and are downloaded from the first mirror that delivers; progress goes to
    standard error. A graph is split by `split_edges`, with a seed.

    Args:
        name: One of `names()`.
        cache: Where downloads are kept; the user's cache folder for this package by default.

    Returns:
        The data on the CPU, a graph as a `GraphDataset`; images as float32 intensities in [0, 1].

    Raises:
        ValueError: No data set has this name.
        DataError: The files cannot be found, downloaded, stored or read.
    """
    if name not in REGISTRY:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(map(repr, names()))}")
    source = REGISTRY[name]
    loader = resolve_name(source.loader)
    return loader(source, cache=cache) if source.files else loader()
