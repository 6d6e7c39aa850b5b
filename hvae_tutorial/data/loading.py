"""`load`: a data set by its name."""

from pathlib import Path
from typing import Literal, overload

from hvae_tutorial.data.circle import CircleDataset, load_circle
from hvae_tutorial.data.dataset import Dataset
from hvae_tutorial.data.images import load_digits, load_idx_images
from hvae_tutorial.data.registry import REGISTRY


def names() -> tuple[str, ...]:
    """Return the names that `load` takes."""
    return tuple(REGISTRY)


@overload
def load(name: Literal["circle"], *, cache: Path | str | None = None) -> CircleDataset: ...
@overload
def load(name: str, *, cache: Path | str | None = None) -> Dataset: ...
def load(name: str, *, cache: Path | str | None = None) -> Dataset:
    """Load a data set with its fixed split into training, validation and test data.

    | name | data | split |
    |---|---|---|
    | `circle` | three clusters on a circle, bent into R^100 (Figure 1); real-valued | 800 / 100 / 100 |
    | `digits` | scikit-learn's 8x8 digits | 1,097 / 200 / 500, stratified |
    | `mnist` | 28x28 digits | 50,000 / 10,000 / 10,000; the last 10,000 training images are the validation set |
    | `fashion-mnist` | 28x28 pictures of clothing | as MNIST |

    The first two need no network. The files of the others are looked for in the folder that `HVAE_DATA` names, then in
    the cache, and are downloaded from the first mirror that delivers; progress goes to standard error.

    Args:
        name: One of `names()`.
        cache: Where downloads are kept; the user's cache folder for this package by default.

    Returns:
        The data on the CPU; images as float32 intensities in [0, 1].

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
    raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(map(repr, names()))}")
