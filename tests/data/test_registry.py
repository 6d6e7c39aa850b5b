"""Every data set says whose it is and on which terms; every download has its hash, and mirrors, of which the first is
https.
"""

import re
from pkgutil import resolve_name

import pytest

from hvae_tutorial.data import REGISTRY, GraphDataset, Source, load

DOWNLOADED = [source for source in REGISTRY.values() if source.files]


@pytest.mark.parametrize("source", REGISTRY.values(), ids=REGISTRY)
def test_entry_says_what_it_is_and_on_which_terms(source: Source) -> None:
    assert REGISTRY[source.name] is source
    assert source.description
    assert source.licence


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("circle", "1,000 100 800 100 100"),
        ("digits", "1,797 8 8 1,097 200 500"),
        ("mnist", "70,000 28 28 50,000 10,000 10,000"),
        ("mnist-5k", "5,000 1,000"),
        ("fashion-mnist", "70,000 28 28"),
        ("karate", "34 78 2"),
        ("les-miserables", "77 254"),
        ("cora", "2,708 1,433 7 5,278"),
        ("citeseer", "3,327 3,703 6 4,552"),
        ("pubmed", "19,717 500 3 44,324"),
    ],
)
def test_the_numbers_of_a_description(name: str, numbers: str) -> None:
    """Typed a second time."""
    assert re.findall(r"\d[\d,]*\d|\d", REGISTRY[name].description) == numbers.split()


@pytest.mark.parametrize("name", [source.name for source in REGISTRY.values() if not source.files])
def test_a_description_has_the_sizes_of_the_data(name: str) -> None:
    """Of those that need no network."""
    data = load(name)
    sizes = (
        [data.num_nodes, data.num_edges]
        if isinstance(data, GraphDataset)
        else [len(data.train), len(data.validation), len(data.test)]
    )
    described = REGISTRY[name].description.replace(",", "")
    assert {str(size) for size in sizes} <= set(re.findall(r"\d+", described))


@pytest.mark.parametrize("source", DOWNLOADED, ids=[source.name for source in DOWNLOADED])
def test_downloads_have_hashes_and_more_than_one_mirror(source: Source) -> None:
    assert len(set(source.mirrors)) >= 2
    assert all(re.fullmatch(r"https?://[^ ]+/", mirror) for mirror in source.mirrors)
    assert all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in source.files)


def test_no_two_files_have_the_same_hash_but_those_that_are_one_file() -> None:
    hashes = {(source.folder, file.name): file.sha256 for source in DOWNLOADED for file in source.files}
    assert len(set(hashes.values())) == len(hashes)
    assert REGISTRY["mnist-5k"].files == REGISTRY["mnist"].files
    assert REGISTRY["mnist-5k"].folder == REGISTRY["mnist"].folder


def test_the_first_mirror_is_asked_over_tls() -> None:
    assert all(source.mirrors[0].startswith("https://") for source in DOWNLOADED)


@pytest.mark.parametrize("source", REGISTRY.values(), ids=REGISTRY)
def test_the_loader_is_there(source: Source) -> None:
    assert callable(resolve_name(source.loader))


def test_the_publishers_mirrors_come_first() -> None:
    """Typed a second time: another order would ask another server first, in every installation."""
    assert {source.mirrors[0] for source in DOWNLOADED} == {
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://github.com/kimiyoung/planetoid/raw/master/data/",
    }
