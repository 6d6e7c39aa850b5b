"""Table 2's accuracies: the latent space's own metric, balanced labels without repetition, deviation over draws."""

import numpy as np
import pytest

from hvae_tutorial.experiments.knn import knn_accuracies, knn_accuracies_by_axes, knn_accuracies_by_k


def two_classes(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points in two directions and at all distances from the origin: only the angle tells the classes apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    angles = np.where(labels == 0, 0.0, 0.5) + 0.02 * rng.standard_normal(n)
    radii = rng.uniform(0.01, 10, n)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1), labels


def test_separate_classes_are_told_apart() -> None:
    x, labels = two_classes(200)
    result = knn_accuracies(x, labels, *two_classes(100, seed=1), metric="cosine", labels=(20, 50))
    assert result.keys() == {"20", "50"}
    assert result["50"] == {"mean": 1.0, "standard_deviation": 0.0, "draws": 20}


def test_the_metric_matters() -> None:
    arguments = (*two_classes(200), *two_classes(100, seed=1))
    euclidean = knn_accuracies(*arguments, metric="euclidean", labels=(20,))["20"]["mean"]
    cosine = knn_accuracies(*arguments, metric="cosine", labels=(20,))["20"]["mean"]
    assert cosine == 1.0
    assert euclidean < 0.95


def test_labelled_sets_are_balanced_and_come_from_the_training_set(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Spy:
        def __init__(self, neighbours: int, *, metric: str) -> None:
            assert (neighbours, metric) == (5, "euclidean")

        def fit(self, x: np.ndarray, labels: np.ndarray) -> "Spy":
            assert len(np.unique(x)) == 20  # drawn without replacement
            assert np.bincount(labels).tolist() == [10, 10]
            seen.append(frozenset(x[:, 0]))
            return self

        def score(self, x: np.ndarray, labels: np.ndarray) -> float:
            assert len(x) == len(labels) == 7
            return 0.5

    monkeypatch.setattr("sklearn.neighbors.KNeighborsClassifier", Spy)
    train, labels = np.arange(100.0)[:, None], np.repeat([0, 1], [80, 20])
    knn_accuracies(train, labels, np.zeros((7, 1)), np.zeros(7), metric="euclidean", labels=(20,))
    assert len(set(seen)) == len(seen) == 20


def test_a_size_for_which_a_class_is_too_small_is_left_out() -> None:
    train, labels = np.random.default_rng(0).standard_normal((100, 2)), np.repeat([0, 1], [80, 20])
    result = knn_accuracies(train, labels, train, labels, metric="euclidean", labels=(10, 40, 42))
    assert result.keys() == {"10", "40"}


def test_draws_depend_on_the_seed_alone() -> None:
    rng = np.random.default_rng(0)
    arguments = (rng.standard_normal((100, 2)), np.arange(100) % 2, rng.standard_normal((50, 2)), np.arange(50) % 2)
    first, again, other = (
        knn_accuracies(*arguments, metric="euclidean", labels=(20,), seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_mean_and_sample_standard_deviation_over_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten draws with 0.4 and ten with 0.6: the squares about 0.5 add up to 0.2, and are divided by 19."""
    scores = iter([0.4, 0.6] * 10)

    class Stub:
        def __init__(self, *_: object, **__: object) -> None: ...

        def fit(self, *_: object) -> "Stub":
            return self

        def score(self, *_: object) -> float:
            return next(scores)

    monkeypatch.setattr("sklearn.neighbors.KNeighborsClassifier", Stub)
    train, labels = np.zeros((40, 2)), np.repeat([0, 1], 20)
    (found,) = knn_accuracies(train, labels, train, labels, metric="euclidean", labels=(20,)).values()
    assert found == {"mean": pytest.approx(0.5), "standard_deviation": pytest.approx((0.2 / 19) ** 0.5), "draws": 20}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_every_k_agrees_with_scikit_learn_on_the_same_labelled_sets(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties too: with four classes and few neighbours there are many."""
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((300, 2)), rng.standard_normal((200, 2))
    labels, test_labels = np.arange(300) % 4 + 3, np.arange(200) % 4 + 3
    found = knn_accuracies_by_k(train, labels, test, test_labels, metric=metric, size=40, seed=3)
    assert list(found) == [str(k) for k in range(1, 16)]
    for k in (1, 2, 5, 15):
        monkeypatch.setattr("hvae_tutorial.experiments.knn.NEIGHBOURS", k)
        (one,) = knn_accuracies(train, labels, test, test_labels, metric=metric, labels=(40,), seed=3).values()
        assert found[str(k)] == pytest.approx(one["mean"], abs=1e-12), k
    assert len(set(found.values())) > 10


def test_no_accuracy_by_k_where_the_classes_or_the_sets_are_too_small() -> None:
    train, labels = np.random.default_rng(0).standard_normal((100, 2)), np.repeat([0, 1], [80, 20])
    arguments = (train, labels, train, labels)
    assert knn_accuracies_by_k(*arguments, metric="euclidean", size=42) == {}
    assert knn_accuracies_by_k(*arguments, metric="euclidean", size=14) == {}
    assert len(knn_accuracies_by_k(*arguments, metric="euclidean", size=40)) == 15


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_accuracies_by_axes_end_with_that_of_all_coordinates(metric: str) -> None:
    """And axes without a class harm: ten classes in five coordinates, turned among thirty of little noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 10
    centres = 3 * rng.standard_normal((10, 5))
    x = np.hstack([centres[labels] + 0.9 * rng.standard_normal((2000, 5)), 0.8 * rng.standard_normal((2000, 35))])
    x = x @ np.linalg.qr(rng.standard_normal((40, 40)))[0] + (7.0 if metric == "euclidean" else 0.0)
    arguments = (x[:1000], labels[:1000], x[1000:], labels[1000:])
    found = knn_accuracies_by_axes(*arguments, metric=metric, size=100, seed=3)
    assert list(found) == ["2", "5", "10", "20", "30", "40"]
    (whole,) = knn_accuracies(*arguments, metric=metric, labels=(100,), seed=3).values()
    assert found["40"] == pytest.approx(whole["mean"], abs=1e-12)
    assert max(found, key=lambda count: found[count]) == "5"
    assert found["5"] > found["40"] + 0.02
    assert list(knn_accuracies_by_axes(*(a[..., :4] if a.ndim == 2 else a for a in arguments), metric=metric)) == [
        "2",
        "4",
    ]


def test_no_accuracy_by_axes_where_a_class_is_too_small() -> None:
    train, labels = np.random.default_rng(0).standard_normal((100, 2)), np.repeat([0, 1], [80, 20])
    assert knn_accuracies_by_axes(train, labels, train, labels, metric="euclidean", size=42) == {}
