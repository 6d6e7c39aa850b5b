"""k-nearest-neighbour classification of latent means: the paper's Table 2."""

import numpy as np

from hvae_tutorial.data import balanced_indices
from hvae_tutorial.experiments.choices import AXES, DRAWS, LABELS, MOST_NEIGHBOURS, NEIGHBOURS


def knn_accuracies(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    metric: str,
    labels: tuple[int, ...] = LABELS,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Classify the test points by their nearest labelled training points, with few labels.

    For each number of labels a labelled set with equally many points of each class is drawn from the training set,
    `DRAWS` times, and the accuracy is measured on the whole test set.

    Args:
        train: latent means, `(n, m)`.
        train_labels: classes, `(n,)`.
        test: latent means, `(n_test, m)`.
        test_labels: classes, `(n_test,)`.
        metric: `"euclidean"`, or `"cosine"`, which ranks neighbours on a sphere as the geodesic distance does.
        labels: sizes of the labelled set; a size for which a class has too few points is left out.
        seed: of the draws.

    Returns:
        For each size, as a string: `mean` and `standard_deviation` of the accuracy over the draws, in [0, 1], and the
        number of `draws`.
    """
    from sklearn.neighbors import KNeighborsClassifier  # a second to load

    rng = np.random.default_rng(seed)
    per_class = np.unique(train_labels, return_counts=True)[1]
    result = {}
    for size in labels:
        if size > per_class.min() * len(per_class):
            continue
        accuracies = []
        for _ in range(DRAWS):
            chosen = balanced_indices(train_labels, size, rng)
            classifier = KNeighborsClassifier(NEIGHBOURS, metric=metric).fit(train[chosen], train_labels[chosen])
            accuracies.append(classifier.score(test, test_labels))
        result[str(size)] = {
            "mean": float(np.mean(accuracies)),
            "standard_deviation": float(np.std(accuracies, ddof=1)),
            "draws": DRAWS,
        }
    return result


def knn_accuracies_by_k(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    metric: str,
    size: int = LABELS[0],
    seed: int = 0,
) -> dict[str, float]:
    """Classify the test points by k = 1, ..., `MOST_NEIGHBOURS` neighbours, among the same labelled sets.

    The sets are the first that `knn_accuracies` draws with this seed, so that the numbers for its k agree. Where
    classes have equally many neighbours, the one that comes first wins, as in scikit-learn.

    Args:
        train: latent means, `(n, m)`.
        train_labels: classes, `(n,)`.
        test: latent means, `(n_test, m)`.
        test_labels: classes, `(n_test,)`.
        metric: as in `knn_accuracies`.
        size: of the labelled sets.
        seed: of the draws.

    Returns:
        For each k, as a string, the mean accuracy over the draws, in [0, 1]; nothing where a class has too few points.
    """
    from sklearn.neighbors import NearestNeighbors  # a second to load

    classes, per_class = np.unique(train_labels, return_counts=True)
    if size > per_class.min() * len(classes) or size < MOST_NEIGHBOURS:
        return {}
    rng = np.random.default_rng(seed)
    right = np.zeros(MOST_NEIGHBOURS)
    for _ in range(DRAWS):
        chosen = balanced_indices(train_labels, size, rng)
        nearest = NearestNeighbors(n_neighbors=MOST_NEIGHBOURS, metric=metric).fit(train[chosen])
        found = train_labels[chosen][nearest.kneighbors(test, return_distance=False)]
        votes = (found[:, :, None] == classes).cumsum(axis=1)  # (n_test, k, class)
        right += (classes[votes.argmax(axis=2)] == test_labels[:, None]).mean(axis=0)
    return {str(k): float(share) for k, share in enumerate(right / DRAWS, start=1)}


def knn_accuracies_by_axes(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    metric: str,
    size: int = LABELS[0],
    seed: int = 0,
) -> dict[str, float]:
    """Classify the test points by what they are along the first principal axes of the training points alone.

    The axes are those of the covariance; for the cosine, which has an origin, those of the second moments about it. All
    axes together have the accuracy of `knn_accuracies`, with the same labelled sets.

    Args:
        train: latent means, `(n, m)`.
        train_labels: classes, `(n,)`.
        test: latent means, `(n_test, m)`.
        test_labels: classes, `(n_test,)`.
        metric: as in `knn_accuracies`.
        size: of the labelled sets.
        seed: of the draws.

    Returns:
        For each number of axes in `AXES` below m, and for m, as a string, the mean accuracy over the draws, in [0, 1];
        nothing where a class has too few points.
    """
    centre = train.mean(axis=0) if metric == "euclidean" else np.zeros(train.shape[1])
    axes = np.linalg.svd(train - centre, full_matrices=False)[2].T
    turned_train, turned_test = (train - centre) @ axes, (test - centre) @ axes
    found = {}
    for count in (*(count for count in AXES if count < train.shape[1]), train.shape[1]):
        kept = turned_train[:, :count], train_labels, turned_test[:, :count], test_labels
        for accuracy in knn_accuracies(*kept, metric=metric, labels=(size,), seed=seed).values():
            found[str(count)] = accuracy["mean"]
    return found
