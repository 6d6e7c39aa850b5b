"""What every loader returns."""

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set with a fixed split. All tensors are on the CPU.

    Attributes:
        name: The name it was loaded by.
        train: Training data, float32 of shape (n_train, x_dim); pixel intensities in [0, 1] for images.
        validation: Validation data, likewise (n_validation, x_dim).
        test: Test data, likewise (n_test, x_dim).
        train_labels: Classes of the training data, int64 of shape (n_train,), counted from 0.
        validation_labels: Classes of the validation data, likewise (n_validation,).
        test_labels: Classes of the test data, likewise (n_test,).
        image_shape: Height and width of the images that the vectors hold row by row; None for data that are no images.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor
    validation_labels: Tensor
    test_labels: Tensor
    image_shape: tuple[int, int] | None

    @property
    def x_dim(self) -> int:
        """The number of coordinates of a point."""
        return self.train.shape[1]

    @property
    def sizes(self) -> str:
        """The sizes of the parts, for people."""
        sizes = "/".join(str(len(part)) for part in (self.train, self.validation, self.test))
        return f"{sizes} for training/validation/test"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of all the tensors with their names and shapes: two runs with the same value saw the same data."""
        return sha256_of_tensors(self)


def sha256_of_tensors(dataset: Any) -> str:
    """Return the SHA-256 of the tensors among the fields of a dataclass, with their names, dtypes and shapes."""
    digest = hashlib.sha256()
    for field in fields(dataset):
        value = getattr(dataset, field.name)
        if isinstance(value, Tensor):
            digest.update(f"{field.name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.contiguous().numpy().data)
    return digest.hexdigest()
