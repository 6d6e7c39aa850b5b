"""The registry: where each data set comes from, what its files must contain, and on which terms it may be used."""

from dataclasses import dataclass


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
        name: The name that `load` takes, and the name of its folder in `HVAE_DATA` and in the cache.
        description: One line for people.
        licence: The terms of use and who set them.
        files: The files to fetch; empty for a set that is embedded or computed.
        mirrors: Base addresses, ending in a slash, tried in this order; a file is at `mirror + file.name`.
    """

    name: str
    description: str
    licence: str
    files: tuple[RemoteFile, ...] = ()
    mirrors: tuple[str, ...] = ()


def _mnist_files(train_images: str, train_labels: str, test_images: str, test_labels: str) -> tuple[RemoteFile, ...]:
    """Give the hashes of a set in MNIST's format their file names, in the order that `load_idx_images` expects."""
    return (
        RemoteFile("train-images-idx3-ubyte.gz", train_images),
        RemoteFile("train-labels-idx1-ubyte.gz", train_labels),
        RemoteFile("t10k-images-idx3-ubyte.gz", test_images),
        RemoteFile("t10k-labels-idx1-ubyte.gz", test_labels),
    )


_SOURCES = (
    Source(
        name="circle",
        description="1,000 points of three von Mises-Fisher clusters on a circle bent into R^100 (Figure 1); computed",
        licence="none needed: computed by this package",
    ),
    Source(
        name="digits",
        description="1,797 handwritten digits of 8x8 pixels; comes with scikit-learn",
        licence="CC BY 4.0 (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, doi:10.24432/C50P49)",
    ),
    Source(
        name="mnist",
        description="70,000 handwritten digits of 28x28 pixels",
        licence="CC BY-SA 3.0 (Y. LeCun and C. Cortes; derived from NIST's special databases 1 and 3)",
        files=_mnist_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    Source(
        name="fashion-mnist",
        description="70,000 pictures of clothing of 28x28 pixels, in MNIST's format",
        licence="MIT (Zalando SE, https://github.com/zalandoresearch/fashion-mnist)",
        files=_mnist_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
    ),
)

REGISTRY: dict[str, Source] = {source.name: source for source in _SOURCES}
"""Every data set that this package knows, by name."""
