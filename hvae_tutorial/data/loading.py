"""`load`: a data set by its name."""

import dataclasses
from pathlib import Path
from typing import Literal, overload

from hvae_tutorial.data.circle import CircleDataset, load_circle
from hvae_tutorial.data.dataset import Dataset
from hvae_tutorial.data.graph import GraphDataset
from hvae_tutorial.data.images import load_digits, load_idx_images, tenth
from hvae_tutorial.data.networks import load_karate, load_les_miserables
from hvae_tutorial.data.planetoid import load_planetoid
from hvae_tutorial.data.registry import REGISTRY

GraphName = Literal["karate", "les-miserables", "cora", "citeseer", "pubmed"]


def names() -> tuple[str, ...]:
    """Return the names that `load` takes."""
    return tuple(REGISTRY)


@overload
def load(name: Literal["circle"], *, cache: Path | str | None = None) -> CircleDataset: ...
@overload
def load(  # type: ignore[overload-overlap]  # a variable may hold any name: who loads a graph by it says GraphName
    name: GraphName, *, cache: Path | str | None = None
) -> GraphDataset: ...
@overload
def load(name: str, *, cache: Path | str | None = None) -> Dataset: ...
def load(name: str, *, cache: Path | str | None = None) -> Dataset | GraphDataset:
    """Load a data set: points with their fixed split into training, validation and test data, or a graph.

    | name | data | split |
    |---|---|---|
    | `circle` | three clusters on a circle, bent into R^100 (Figure 1); real-valued | 800 / 100 / 100 |
    | `digits` | scikit-learn's 8x8 digits | 1,097 / 200 / 500, stratified |
    | `mnist` | 28x28 digits | 50,000 / 10,000 / 10,000; the last 10,000 training images are the validation set |
    | `mnist-5k` | a tenth of MNIST to learn from | 5,000 / 1,000 / 10,000: the first of each part, all test images |
    | `fashion-mnist` | 28x28 pictures of clothing | as MNIST |

    | graph | nodes | edges | features | classes |
    |---|---|---|---|---|
    | `karate` | 34 members of a club | 78 | none: identity | 2 |
    | `les-miserables` | 77 characters | 254 | none: identity | |
    | `cora` | 2,708 papers | 5,278 | 1,433 words, 0 or 1 | 7 |
    | `citeseer` | 3,327 papers, 48 of them isolated | 4,552 | 3,703 words, 0 or 1 | 6 |
    | `pubmed` | 19,717 papers | 44,324 | 500 words, TF-IDF | 3 |

    A graph is split by `split_edges`, with a seed. `circle`, `digits`, `karate` and `les-miserables` need no network.
    The files of the others are looked for in the folder that `HVAE_DATA` names, then in
    the cache, and are downloaded from the first mirror that delivers; progress goes to standard error.

    Args:
        name: One of `names()`.
        cache: Where downloads are kept; the user's cache folder for this package by default.

    Returns:
        The data on the CPU, a graph as a `GraphDataset`; images as float32 intensities in [0, 1].

    Raises:
        ValueError: No data set has this name.
        DataError: The files cannot be found, downloaded, stored or read.
    """
    match name:
        case "circle":
            return load_circle()
        case "digits":
            return load_digits()
        case "mnist" | "fashion-mnist":
            return load_idx_images(REGISTRY[name], cache=cache)
        case "mnist-5k":
            return dataclasses.replace(tenth(load_idx_images(REGISTRY["mnist"], cache=cache)), name=name)
        case "karate":
            return load_karate()
        case "les-miserables":
            return load_les_miserables()
        case "cora" | "citeseer" | "pubmed":
            return load_planetoid(REGISTRY[name], cache=cache)
    raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(map(repr, names()))}")
