"""Images are split as stated, the same way every time, from the very files that their entries name."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits
from tiny_set import TinySet, idx_bytes

from hvae_tutorial.data import DataError, Dataset, Source, load
from hvae_tutorial.data.images import load_idx_images, tenth

MNIST = "0bdfc6888a2c81e2863b973eb6ae479ebb5d0d35900f0099e096f4f416f99f1c"
FASHION_MNIST = "3b7656b53f2c4fc4877d8246787c22ce8aec3b04b04cf2391b7f0bf2018515f8"


def rows(data: Dataset) -> torch.Tensor:
    """Return all data with their labels as a last column, the same rows always in the same order."""
    parts = [(data.train, data.train_labels), (data.validation, data.validation_labels), (data.test, data.test_labels)]
    return torch.cat([torch.cat([x.double(), y.double()[:, None]], dim=1) for x, y in parts]).unique(dim=0)


# Digits


def test_digits_shapes() -> None:
    data = load("digits")
    for part, n in (("train", 1097), ("validation", 200), ("test", 500)):
        assert getattr(data, part).shape == (n, 64)
        assert getattr(data, part).dtype == torch.float32
        assert getattr(data, f"{part}_labels").shape == (n,)
        assert getattr(data, f"{part}_labels").dtype == torch.int64
    assert data.image_shape == (8, 8)
    assert data.train.min() == 0
    assert data.train.max() == 1


def test_digits_are_scikit_learns_each_once_with_its_label() -> None:
    pixels, labels = sklearn_digits(return_X_y=True)
    expected = torch.from_numpy(np.column_stack([pixels / 16, labels])).unique(dim=0)
    assert len(expected) == 1797
    torch.testing.assert_close(rows(load("digits")), expected, rtol=0, atol=0)


def test_digits_classes_are_balanced_in_each_part() -> None:
    data = load("digits")
    share = torch.cat([data.train_labels, data.validation_labels, data.test_labels]).bincount() / 1797
    for labels in (data.train_labels, data.validation_labels, data.test_labels):
        assert (labels.bincount() - share * len(labels)).abs().max() < 1.5


def test_digits_split_never_changes() -> None:
    """Records name this hash: a library that splits differently makes them incomparable."""
    expected = "a784ba677d5bccabb8303b7faa40169bd88168e71382681afb789614af64bf5f"
    assert load("digits").sha256 == expected


# Sets in MNIST's format


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_a_tenth_to_learn_from(tiny: TinySet, folder: Path) -> None:
    tiny.write(folder)
    whole = load_idx_images(tiny.source())
    part = tenth(whole)
    torch.testing.assert_close(part.train, whole.train[:2])  # of 17
    assert part.train_labels.tolist() == [0, 1]
    torch.testing.assert_close(part.validation, whole.validation[:1])  # of 3
    assert part.validation_labels.tolist() == [7]
    torch.testing.assert_close(part.test, whole.test)
    assert part.sha256 != whole.sha256


def test_last_sixth_of_the_training_images_is_for_validation(tiny: TinySet, folder: Path) -> None:
    tiny.write(folder)
    data = load_idx_images(tiny.source())
    assert data.name == "mnist"
    assert data.image_shape == (2, 3)
    assert (data.train.shape, data.validation.shape, data.test.shape) == ((17, 6), (3, 6), (4, 6))
    assert data.train.dtype == data.validation.dtype == data.test.dtype == torch.float32
    torch.testing.assert_close(data.train[3], torch.arange(36, 48, 2) / 255)
    torch.testing.assert_close(data.validation[-1], torch.tensor([228, 230, 232, 234, 236, 255]) / 255)
    torch.testing.assert_close(data.test[1], torch.arange(6, 12) / 255)
    assert data.train_labels.tolist() == [*range(10), *range(7)]
    assert data.validation_labels.tolist() == [7, 8, 9]
    assert data.test_labels.tolist() == [0, 1, 2, 3]
    assert data.test_labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("file", "contents", "message"),
    [
        (
            "train-labels-idx1-ubyte",
            idx_bytes(np.zeros(11)),
            "mnist: 20 training images, but 11 training labels",
        ),
        (
            "t10k-images-idx3-ubyte",
            idx_bytes(np.zeros((5, 2, 3))),
            "mnist: 5 test images, but 4 test labels",
        ),
        (
            "t10k-images-idx3-ubyte",
            idx_bytes(np.zeros((4, 3, 2))),
            "mnist: training images of 2x3 pixels, but test images of 3x2",
        ),
        (
            "train-images-idx3-ubyte",
            idx_bytes(np.zeros(12)),
            "mnist/train-images-idx3-ubyte.gz: magic number 0x00000801, expected 0x00000803",
        ),
        (
            "t10k-labels-idx1-ubyte",
            idx_bytes(np.zeros(4))[:-1],
            "mnist/t10k-labels-idx1-ubyte.gz: the header announces shape (4,), that is 4 entries, but 3 follow",
        ),
    ],
    ids=["labels missing", "images too many", "other shape", "labels for images", "cut off"],
)
def test_files_that_do_not_fit(file: str, contents: bytes, message: str, tiny: TinySet, folder: Path) -> None:
    tiny.contents[file] = contents
    tiny.write(folder)
    with pytest.raises(DataError, match=re.escape(message)):
        load_idx_images(tiny.source())


def test_mnist_and_fashion_mnist_side_by_side(
    tiny: TinySet, folder: Path, register: Callable[[Source], Source]
) -> None:
    fashion = TinySet({**tiny.contents, "t10k-images-idx3-ubyte": idx_bytes(np.full((4, 2, 3), 51))})
    for name, files in (("mnist", tiny), ("fashion-mnist", fashion)):
        register(files.source(name=name))
        files.write(folder / name)
    assert load("mnist").test[0, 0] == 0
    assert load("fashion-mnist").test[0, 0] == torch.tensor(51 / 255)
    assert load("fashion-mnist").name == "fashion-mnist"


# The real files, where there are any

HVAE_DATA = Path(os.environ.get("HVAE_DATA", "."))  # read here because each test runs without it


def held(name: str) -> pytest.MarkDecorator:
    files = list((HVAE_DATA / name).glob("train-images-idx3-ubyte*"))
    return pytest.mark.skipif(not files, reason=f"HVAE_DATA names no folder with {name}/train-images-idx3-ubyte(.gz)")


@pytest.mark.parametrize(
    ("name", "mean", "first_labels", "sha256"),
    [
        pytest.param("mnist", 0.1307, [5, 0, 4, 1, 9], MNIST, marks=held("mnist"), id="mnist"),
        pytest.param(
            "fashion-mnist", 0.2860, [9, 0, 0, 3, 0], FASHION_MNIST, marks=held("fashion-mnist"), id="fashion"
        ),
    ],
)
def test_real_files(
    name: str, mean: float, first_labels: list[int], sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean intensity and the first labels are the published ones; the hash is what records name."""
    monkeypatch.setenv("HVAE_DATA", str(HVAE_DATA.resolve()))
    data = load(name, cache=tmp_path)
    assert (data.train.shape, data.validation.shape, data.test.shape) == ((50_000, 784), (10_000, 784), (10_000, 784))
    assert data.image_shape == (28, 28)
    assert torch.cat([data.train, data.validation]).mean().item() == pytest.approx(mean, abs=5e-5)
    assert data.train_labels[:5].tolist() == first_labels
    for part in (data.train, data.validation, data.test):
        assert part.min() == 0
        assert part.max() == 1
    assert data.sha256 == sha256
