"""The registry of the data sets: where each comes from, what its files must contain, who loads it, on which terms.

It stands apart from `data` and imports nothing, so that a command can name the data sets without loading PyTorch.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set.

    Attributes:
        name: Canonical file name, with `.gz` where the publisher compresses it; `HVAE_DATA` may hold it without `.gz`.
        sha256: SHA-256 of the *uncompressed* bytes, since mirrors compress the same bytes differently.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        name: The name that `load` takes.
        kind: "images" and "points" are loaded as a `Dataset`, "graphs" as a `GraphDataset`.
        description: One line for people.
        licence: The terms of use and who set them.
        loader: Who loads it, as "module:function": a function of this entry and of the cache folder where there are
            files, of nothing where there are none. It is imported when the set is first asked for.
        files: The files to fetch; empty for a set that is embedded or computed.
        mirrors: Base addresses, ending in a slash, tried in this order; a file is at `mirror + file.name`.
        collection: The collection it was published in, whose sets share a folder; None for a set of its own.
    """

    name: str
    kind: Literal["images", "points", "graphs"]
    description: str
    licence: str
    loader: str
    files: tuple[RemoteFile, ...] = ()
    mirrors: tuple[str, ...] = ()
    collection: str | None = None

    @property
    def folder(self) -> str:
        """The name of its folder in `HVAE_DATA` and in the cache."""
        return self.collection or self.name


def _mnist_files(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[RemoteFile, ...]:
    """Give the hashes of a set in MNIST's format their file names, in the order that `load_idx_images` expects."""
    return (
        RemoteFile("train-images-idx3-ubyte.gz", train_images),
        RemoteFile("train-labels-idx1-ubyte.gz", train_labels),
        RemoteFile("t10k-images-idx3-ubyte.gz", test_images),
        RemoteFile("t10k-labels-idx1-ubyte.gz", test_labels),
    )


def _planetoid(name: str, description: str, hashes: dict[str, str]) -> Source:
    """Return a graph of Planetoid's, whose files `load_planetoid` expects in the order of the hashes."""
    return Source(
        name=name,
        kind="graphs",
        description=description,
        loader="hvae_tutorial.data.planetoid:load_planetoid",
        licence="MIT (the files: Z. Yang, https://github.com/kimiyoung/planetoid); the papers are their authors'",
        files=tuple(RemoteFile(f"ind.{name}.{part}", sha256) for part, sha256 in hashes.items()),
        mirrors=(
            "https://github.com/kimiyoung/planetoid/raw/master/data/",
            "https://github.com/tkipf/gcn/raw/master/gcn/data/",
        ),
        collection="planetoid",
    )


_MNIST_LICENCE = "CC BY-SA 3.0 (Y. LeCun and C. Cortes; derived from NIST's special databases 1 and 3)"
_MNIST_FILES = _mnist_files(
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

_SOURCES = (
    Source(
        name="circle",
        kind="points",
        loader="hvae_tutorial.data.circle:load_circle",
        description="1,000 points of three von Mises-Fisher clusters on a circle in R^100, 800/100/100; computed",
        licence="none needed: computed by this package",
    ),
    Source(
        name="digits",
        kind="images",
        loader="hvae_tutorial.data.images:load_digits",
        description="1,797 handwritten digits of 8x8 pixels, 1,097/200/500, stratified; comes with scikit-learn",
        licence="CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, doi:10.24432/C50P49)",
    ),
    Source(
        name="mnist",
        kind="images",
        loader="hvae_tutorial.data.images:load_idx_images",
        description="70,000 handwritten digits of 28x28 pixels, 50,000/10,000/10,000 as published",
        licence=_MNIST_LICENCE,
        files=_MNIST_FILES,
        mirrors=_MNIST_MIRRORS,
    ),
    Source(
        name="mnist-5k",
        kind="images",
        loader="hvae_tutorial.data.images:load_tenth",
        description="the first 5,000 training and 1,000 validation images of MNIST, and all of its test images",
        licence=_MNIST_LICENCE,
        files=_MNIST_FILES,
        mirrors=_MNIST_MIRRORS,
        collection="mnist",
    ),
    Source(
        name="fashion-mnist",
        kind="images",
        loader="hvae_tutorial.data.images:load_idx_images",
        description="70,000 pictures of clothing of 28x28 pixels, in MNIST's format and parts",
        licence="MIT (Zalando SE, https://github.com/zalandoresearch/fashion-mnist)",
        files=_mnist_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        mirrors=(
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
    ),
    Source(
        name="karate",
        kind="graphs",
        loader="hvae_tutorial.data.networks:load_karate",
        description="Zachary's Karate club: 34 members, 78 friendships, 2 sides, no features; comes with NetworkX",
        licence="none stated (W. W. Zachary 1977, J. Anthropological Research 33, 452-473); NetworkX is BSD-3-Clause",
    ),
    Source(
        name="les-miserables",
        kind="graphs",
        loader="hvae_tutorial.data.networks:load_les_miserables",
        description="77 characters of Les Misérables, 254 pairs who meet, no features; comes with NetworkX",
        licence="free to use unchanged (D. E. Knuth, The Stanford GraphBase, 1993); NetworkX is BSD-3-Clause",
    ),
    _planetoid(
        "cora",
        "2,708 machine-learning papers with 1,433 words and 7 topics, 5,278 citations",
        {
            "allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
            "ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
            "tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
            "ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
            "graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
            "test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
        },
    ),
    _planetoid(
        "citeseer",
        "3,327 computer-science papers with 3,703 words and 6 topics, 4,552 citations",
        {
            "allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
            "ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
            "tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
            "ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
            "graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
            "test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
        },
    ),
    _planetoid(
        "pubmed",
        "19,717 papers on diabetes with 500 words and 3 kinds of diabetes, 44,324 citations",
        {
            "allx": "508e538e2abdccdd54c4d3e9f49d638b4af7107d85845f66ddea5a5152658b7e",
            "ally": "0c37bbe3b5014ec365e9d393cf4791925e5ed94fb194305d74f064a8d7b50f0e",
            "tx": "4eb5f5d0f30f26497eb0ac6ac9719d09c67e284f1ed0385c93f3ef27a671da3d",
            "ty": "ee2e0d4819d9fbcc403689c3bf2e49face401b605932f093bc58ab6461130fdd",
            "graph": "5b89f0036ca22909471f1e6558eb42fa06e0c730a577bde5b058b40638f81dc9",
            "test.index": "b101d421688bbaecbd82e8a18f1e282378d6830f3a37666f28ebc47f844341b5",
        },
    ),
)

REGISTRY: dict[str, Source] = {source.name: source for source in _SOURCES}
"""Every data set that this package knows, by name."""
