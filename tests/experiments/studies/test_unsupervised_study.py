"""What is trained on and what stops training, in all studies of points; what Tables 1 and 2 measure and draw."""

from typing import Any

import numpy as np
import pytest
import torch
from example_records import example_record

from hvae_tutorial.data import Dataset, load
from hvae_tutorial.experiments.protocol import active_units, binarized, kl_by_images, latent_means, measure_vae
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.studies import barrier, circle, m1m2, unsupervised

EFFORT = {"epochs": 1, "warmup_epochs": 0, "patience": 1}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load("digits")
    assert isinstance(data, Dataset)
    return data


def tiny(**change: Any) -> Run:
    settings = {"data": "digits", "model": "s", "d": 2, "seed": 0, "hidden": [8], "importance_samples": 7, **EFFORT}
    return EXPERIMENTS["table1"].run(**settings | change, device="cpu")


@pytest.mark.parametrize(
    ("study", "experiment", "cell"),
    [
        (unsupervised, "table1", {"data": "digits", "model": "n", "d": 2}),
        (circle, "figure1", {"data": "circle", "model": "n", "d": 2}),
        (m1m2, "table3", {"data": "digits", "model": "nn", "d": [2, 2]}),
        (m1m2, "table3", {"data": "digits", "model": "nn", "d": [2, 2], "scheme": "stacked"}),
        (barrier, "barrier", {"data": "digits", "model": "s-clip", "d": 2}),
    ],
)
def test_the_test_data_decide_nothing_while_training(
    study: Any, experiment: str, cell: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """`fit` gets the training data as they are, and the validation data, binarised if they are images."""
    data = load(cell["data"])
    seen = []
    monkeypatch.setattr(study, "fit", lambda _, train, validation, *a, **k: seen.append((train, validation)))
    run = EXPERIMENTS[experiment].run(**cell, seed=0, hidden=[8], device="cpu")
    study.train(study.build(run.settings, data.x_dim), data, run, checkpoint=tmp_path / "c", progress=False)
    assert len(seen) == (2 if "scheme" in cell else 1)  # stacked, M1 and then M2
    expected = data.validation if cell["data"] == "circle" else binarized(data).validation
    for train, validation in seen:
        assert train is data.train
        assert torch.equal(validation, expected)
        assert validation.shape != data.test.shape or not torch.equal(validation, data.test)


def test_images_are_binarised_once_and_each_part_for_itself(digits: Dataset) -> None:
    once, again = binarized(digits), binarized(digits)
    for part in ("train", "validation", "test"):
        images = getattr(once, part)
        assert torch.equal(images, getattr(again, part))
        assert set(images.unique().tolist()) == {0.0, 1.0}
        assert images.mean() == pytest.approx(getattr(digits, part).mean().item(), abs=0.01)
    # three generators: the same intensities would not give the same pixels in two parts
    noise = [getattr(once, part)[:100] != (getattr(digits, part)[:100] > 0.5) for part in ("train", "validation")]
    assert not torch.equal(*noise)


def test_the_test_images_are_measured_with_the_samples_that_were_asked_for(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny(seed=5)
    model = unsupervised.build(run.settings, 64)
    seen: dict[str, Any] = {}

    def noted(
        train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, labels: np.ndarray, **options: Any
    ) -> dict:
        seen.update(train=train, train_labels=train_labels, test=test, labels=labels, **options)
        return {"100": {"mean": 0.5, "standard_deviation": 0.1, "draws": 20}}

    def noted_by_k(*arrays: np.ndarray, **options: Any) -> dict:
        seen.update(by_k=arrays, options_by_k=options)
        return {"1": 0.25}

    monkeypatch.setattr(unsupervised, "knn_accuracies", noted)

    def noted_by_axes(*arrays: np.ndarray, **options: Any) -> dict:
        seen.update(by_axes=arrays, options_by_axes=options)
        return {"2": 0.125}

    monkeypatch.setattr(unsupervised, "knn_accuracies_by_k", noted_by_k)
    monkeypatch.setattr(unsupervised, "knn_accuracies_by_axes", noted_by_axes)
    torch.manual_seed(1)
    results = unsupervised.measure(model, digits, run)
    images = binarized(digits)
    torch.manual_seed(1)
    assert results == {
        **measure_vae(model, images.test, importance_samples=7),
        "knn": results["knn"],
        "knn_by_axes": {"2": 0.125},
        "knn_by_k": {"1": 0.25},
        "kl_by_images": kl_by_images(model, digits),
        "active_units": active_units(latent_means(model, images.test).numpy()),
    }
    for other in ("by_k", "by_axes"):
        for name, array in zip(("train", "train_labels", "test", "labels"), seen[other], strict=True):
            assert seen[name] is array
        assert seen[f"options_{other}"] == {"metric": "cosine", "seed": 5}
    assert results["log_likelihood"]["samples"] == 7
    assert results["log_likelihood_10"]["samples"] == 10
    assert results["knn"]["100"]["mean"] == 0.5
    np.testing.assert_array_equal(seen["train"], latent_means(model, images.train).numpy())
    np.testing.assert_array_equal(seen["test"], latent_means(model, images.test).numpy())
    np.testing.assert_array_equal(seen["labels"], digits.test_labels.numpy())
    np.testing.assert_array_equal(seen["train_labels"], digits.train_labels.numpy())
    assert (seen["metric"], seen["seed"]) == ("cosine", 5)


def test_pictures_are_of_the_first_seed_and_show_the_test_images_with_their_labels(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [tiny(model=model, d=d, seed=seed) for seed in (4, 2) for d in (2, 3) for model in ("n", "s")]
    models = {run.key: unsupervised.build(run.settings, 64) for run in runs}
    asked, drawn = [], []

    def trained(run: Run) -> Any:
        asked.append(run)
        return models[run.key]

    def latent(z: torch.Tensor, labels: torch.Tensor, *, title: str) -> str:
        drawn.append((z, labels, title))
        return title

    monkeypatch.setattr(unsupervised, "_LATENT_PICTURES", {("euclidean", 2): latent, ("cosine", 3): latent})
    monkeypatch.setattr(unsupervised.plotting, "learning_curves", lambda curves, title: (curves, title))
    records = [
        example_record(history={"epoch": [1], "validation_elbo": [float(i)]}, **run.settings)
        for i, run in enumerate(runs)
    ]
    pictures: dict[str, Any] = unsupervised.draw(digits, runs, records, trained)
    assert {run.seed for run in asked} == {4}
    for d, first in ((2, 0), (3, 2)):  # each model's two seeds are four runs apart
        curves, title = pictures[f"learning-curves-d{d}"]
        numbers = {name: [history["validation_elbo"] for history in histories] for name, histories in curves.items()}
        assert numbers == {"N-VAE": [[first], [first + 4]], "S-VAE": [[first + 1], [first + 5]]}
        assert title == f"digits, d = {d}"
    assert list(pictures) == [
        "learning-curves-d2",
        "reconstructions-d2",
        "samples-d2",
        "latent-n-d2",
        "latent-s-d2",
        "learning-curves-d3",
        "reconstructions-d3",
        "samples-d3",
    ]
    z, labels, title = drawn[1]
    assert title.startswith("S-VAE, digits, d = 2")
    assert torch.equal(labels, digits.test_labels)
    assert torch.equal(z, latent_means(models[runs[1].key], binarized(digits).test))
