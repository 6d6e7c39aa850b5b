"""Loaders of image sets: pixels become float32 intensities in [0, 1], one image a row."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hvae_tutorial.data.cache import fetch
from hvae_tutorial.data.dataset import Dataset
from hvae_tutorial.data.errors import DataError
from hvae_tutorial.data.idx import parse_idx
from hvae_tutorial.sources import Source

DIGITS_SPLIT = (1097, 200, 500)  # train, validation, test


def load_digits() -> Dataset:
    """Load scikit-learn's 1,797 digits of 8x8 pixels: 1,097 for training, 200 for validation, 500 for test.

    The split is drawn once with fixed seeds and is stratified: each class has the same share of each part, up to
    rounding. A pixel counts the inked points of a 4x4 block, 0 to 16; it is divided by 16.
    """
    # Here, since it takes half of the time that importing all of this package takes, and training needs none of it.
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    pixels, labels = datasets.load_digits(return_X_y=True)
    num_train, num_validation, num_test = DIGITS_SPLIT
    rest, test = train_test_split(np.arange(len(labels)), test_size=num_test, stratify=labels, random_state=0)
    train, validation = train_test_split(
        rest, train_size=num_train, test_size=num_validation, stratify=labels[rest], random_state=0
    )
    x = torch.from_numpy(pixels.astype(np.float32) / 16)
    y = torch.from_numpy(labels.astype(np.int64))
    return Dataset(
        name="digits",
        train=x[train],
        validation=x[validation],
        test=x[test],
        train_labels=y[train],
        validation_labels=y[validation],
        test_labels=y[test],
        image_shape=(8, 8),
    )


def load_idx_images(source: Source, *, cache: Path | str | None = None) -> Dataset:
    """Load a set in MNIST's format; the last sixth of its training images is the validation set.

    For MNIST and Fashion-MNIST these are the last 10,000 of 60,000: 50,000 / 10,000 / 10,000. A pixel is
    divided by 255.

    Args:
        source: A set whose files are training images, training labels, test images and test labels, in this order.
        cache: The cache folder; the user's cache folder by default.

    Raises:
        DataError: A file cannot be had or is damaged (see `fetch`), or files do not fit one another.
    """
    pixels, labels, test_pixels, test_labels = (
        parse_idx(fetch(source, file, cache=cache), ndim=ndim, where=f"{source.name}/{file.name}")
        for file, ndim in zip(source.files, (3, 1, 3, 1), strict=True)
    )
    for part, images, classes in (("training", pixels, labels), ("test", test_pixels, test_labels)):
        if len(images) != len(classes):
            raise DataError(f"{source.name}: {len(images)} {part} images, but {len(classes)} {part} labels")
    height, width = pixels.shape[1:]
    if test_pixels.shape[1:] != (height, width):
        raise DataError(
            f"{source.name}: training images of {height}x{width} pixels, but test images of"
            f" {test_pixels.shape[1]}x{test_pixels.shape[2]}"
        )
    cut = len(pixels) - len(pixels) // 6
    return Dataset(
        name=source.name,
        train=_intensities(pixels[:cut]),
        validation=_intensities(pixels[cut:]),
        test=_intensities(test_pixels),
        train_labels=_classes(labels[:cut]),
        validation_labels=_classes(labels[cut:]),
        test_labels=_classes(test_labels),
        image_shape=(height, width),
    )


def load_tenth(source: Source, *, cache: Path | str | None = None) -> Dataset:
    """Load a tenth of a set in MNIST's format, as `load_idx_images` and `tenth` have it."""
    return tenth(load_idx_images(source, cache=cache))


def tenth(dataset: Dataset) -> Dataset:
    """Keep the first tenth of the training and of the validation data, rounded up, and all test data."""
    train, validation = math.ceil(len(dataset.train) / 10), math.ceil(len(dataset.validation) / 10)
    return dataclasses.replace(
        dataset,
        train=dataset.train[:train],
        train_labels=dataset.train_labels[:train],
        validation=dataset.validation[:validation],
        validation_labels=dataset.validation_labels[:validation],
    )


def _intensities(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Map (n, height, width) bytes to (n, height * width) numbers in [0, 1]."""
    return torch.from_numpy(np.divide(pixels.reshape(len(pixels), -1), 255, dtype=np.float32))


def _classes(labels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(labels.astype(np.int64))
