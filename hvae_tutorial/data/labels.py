"""Which points keep their labels."""

import numpy as np


def balanced_indices(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `size` indices of points without replacement, equally many of each class.

    Args:
        labels: classes, (n,).
        size: a multiple of the number of classes, >= 1.
        rng: source of the draws.

    Returns:
        Indices, (size,), class after class.

    Raises:
        ValueError: if `size` is not such a multiple, or a class has too few points.
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    per_class, rest = divmod(size, len(members))
    if per_class < 1 or rest:
        raise ValueError(f"size must be a multiple of the number of classes, {len(members)}, got {size}")
    fewest = min(map(len, members))
    if per_class > fewest:
        raise ValueError(f"size must be at most {fewest * len(members)}: a class has {fewest} points, got {size}")
    return np.concatenate([rng.choice(indices, per_class, replace=False) for indices in members])
