"""The hash of a data set is that of its values: it sees every tensor and where the split is, and nothing else."""

import dataclasses
import pickle

import pytest
import torch
from installed import unpickles_tensors

from hvae_tutorial.data import Dataset


@pytest.fixture
def data() -> Dataset:
    return Dataset(
        name="six points",
        train=torch.rand(3, 4),
        validation=torch.rand(2, 4),
        test=torch.rand(1, 4),
        train_labels=torch.tensor([0, 1, 2]),
        validation_labels=torch.tensor([0, 1]),
        test_labels=torch.tensor([2]),
        image_shape=(2, 2),
    )


@unpickles_tensors
def test_hash_is_of_the_values(data: Dataset) -> None:
    copy = dataclasses.replace(data, train=data.train.t().contiguous().t())  # other strides, the same values
    assert copy.sha256 == data.sha256 == pickle.loads(pickle.dumps(data)).sha256


@pytest.mark.parametrize("part", ["train", "validation", "test", "train_labels", "validation_labels", "test_labels"])
def test_hash_sees_every_tensor(data: Dataset, part: str) -> None:
    changed = getattr(data, part).clone()
    changed.view(-1)[-1] += 1
    assert dataclasses.replace(data, **{part: changed}).sha256 != data.sha256


def test_hash_sees_where_the_split_is(data: Dataset) -> None:
    everything = torch.cat([data.train, data.validation])
    moved = dataclasses.replace(data, train=everything[:2], validation=everything[2:])
    assert moved.sha256 != data.sha256


def test_fields_cannot_be_replaced_in_place(data: Dataset) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.train = data.test
