"""A draw of labels has equally many of each class, no point twice, and follows its generator."""

import re

import numpy as np
import pytest

from hvae_tutorial.data import balanced_indices


def test_balanced_indices():
    labels = np.array([2, 0, 1, 0, 1, 2, 0, 0, 1, 2])
    chosen = balanced_indices(labels, 6, np.random.default_rng(0))
    assert labels[chosen].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(chosen.tolist())) == 6
    assert (chosen == balanced_indices(labels, 6, np.random.default_rng(0))).all()
    assert not (chosen == balanced_indices(labels, 6, np.random.default_rng(1))).all()


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (4, "size must be a multiple of the number of classes, 3, got 4"),
        (0, "size must be a multiple of the number of classes, 3, got 0"),
        (12, "size must be at most 9: a class has 3 points, got 12"),
    ],
)
def test_balanced_indices_of_a_wrong_size(size, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        balanced_indices(np.repeat([0, 1, 2], [3, 4, 5]), size, np.random.default_rng(0))
