"""`load` knows every name, hands its arguments on, and asks for a downloader only where there is something to fetch."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_planetoid
from tiny_set import Mirrors, TinySet

from hvae_tutorial.data import REGISTRY, CircleDataset, Dataset, GraphDataset, Source, load, names

GRAPHS = [name for name, source in REGISTRY.items() if source.kind == "graphs"]


@pytest.mark.parametrize("name", [name for name in names() if name not in GRAPHS])
def test_every_name_loads(
    name: str, tiny: TinySet, mirrors: Mirrors, register: Callable[[Source], Source], tmp_path: object
) -> None:
    if REGISTRY[name].files:
        register(tiny.source(mirrors["good"], name=name))
    data = load(name, cache=str(tmp_path))
    assert isinstance(data, Dataset)
    assert data.name == name
    assert len(data.train) == len(data.train_labels) > 0
    assert len(data.validation) == len(data.validation_labels) > 0
    assert len(data.test) == len(data.test_labels) > 0
    assert isinstance(data, CircleDataset) == (name == "circle")
    assert (data.image_shape is not None) == (REGISTRY[name].kind == "images")
    assert data.x_dim == data.train.shape[1]
    assert data.sizes == f"{len(data.train)}/{len(data.validation)}/{len(data.test)} for training/validation/test"


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_loads(name: str, mirrors: Mirrors, register: Callable[[Source], Source], tmp_path: object) -> None:
    if REGISTRY[name].files:
        files = tiny_planetoid.tiny_files()
        source = register(tiny_planetoid.source(files, mirrors["good"], name=name))
        mirrors.contents = {file.name: files[file.name.removeprefix(f"ind.{name}.")] for file in source.files}
    data = load(name, cache=str(tmp_path))
    assert isinstance(data, GraphDataset)
    assert data.name == name
    assert data.num_edges > 0


def test_graphs_and_points_are_all() -> None:
    assert GRAPHS == ["karate", "les-miserables", "cora", "citeseer", "pubmed"]
    assert set(GRAPHS) < set(names())


@pytest.mark.parametrize("name", ["fashion_mnist", "MNIST", ""])
def test_unknown_name(name: str) -> None:
    message = f"unknown data set {name!r}; choose one of 'circle', 'digits', 'mnist', 'mnist-5k', 'fashion-mnist'"
    with pytest.raises(ValueError, match=re.escape(message)):
        load(name)


def test_data_stand_on_no_other_floor() -> None:
    """Loading needs no distribution, model or plot: nothing else of the library is imported but the registry."""
    program = (
        "import sys, hvae_tutorial.data; "
        "print([m for m in sys.modules if m.startswith('hvae_tutorial.') and not m.startswith('hvae_tutorial.data')])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['hvae_tutorial.sources']"
    assert result.stderr == ""


def test_embedded_data_need_no_downloader() -> None:
    """Importing it makes a notebook without widgets warn."""
    program = "import sys; from hvae_tutorial.data import load; load('digits'); print('pooch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_cache_is_handed_to_the_loader(
    tiny: TinySet, mirrors: Mirrors, register: Callable[[Source], Source], tmp_path: Path
) -> None:
    """A cache that is named is used, and the user's is left alone."""
    register(tiny.source(mirrors["good"]))
    load("mnist", cache=tmp_path / "named")
    assert len(list((tmp_path / "named" / "mnist").iterdir())) == 4
    assert not (tmp_path / "user-cache").exists()


def test_a_tenth_shares_the_files_of_the_whole(
    tiny: TinySet, mirrors: Mirrors, register: Callable[[Source], Source], tmp_path: Path
) -> None:
    for name in ("mnist", "mnist-5k"):
        register(tiny.source(mirrors["good"], name=name))
    whole, part = load("mnist", cache=tmp_path), load("mnist-5k", cache=tmp_path)
    assert len(mirrors.requests) == 4
    assert (len(whole.train), len(part.train), len(part.test)) == (17, 2, len(whole.test))
