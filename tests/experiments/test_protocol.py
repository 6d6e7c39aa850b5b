"""How a trained model is measured: modes as means, averages over points and passes, the standard error of a mean."""

import dataclasses

import numpy as np
import pytest
import torch
from example_records import example_record

from hvae_tutorial.data import load
from hvae_tutorial.experiments import names, protocol
from hvae_tutorial.experiments.knn import knn_accuracies
from hvae_tutorial.experiments.protocol import (
    active_units,
    binarized,
    curves,
    elbo_terms,
    kl_by_images,
    latent_means,
    log_likelihood,
    measure_vae,
    training_settings,
)
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.models import (
    VAE,
    BernoulliLikelihood,
    GaussianPosterior,
    ProductPosterior,
    VonMisesFisherPosterior,
    mlp_product_vae,
    mlp_vae,
)
from hvae_tutorial.objectives import ElboTerms, elbo, iwae_bound
from hvae_tutorial.training import TrainingSettings


def test_means_are_directions_on_a_sphere_and_means_in_the_plane():
    torch.manual_seed(0)
    x = torch.rand(20, 12)
    for kind in ("n", "ae"):
        model = mlp_vae(kind, 3, x_dim=12, hidden=(8,))
        assert torch.equal(latent_means(model, x), model.encode(x).mean)
    for kind in ("s", "ps"):
        model = mlp_vae(kind, 3, x_dim=12, hidden=(8,))
        expected = torch.nn.functional.normalize(model.encode(x).mean, dim=-1)  # the mean lies inside the ball
        torch.testing.assert_close(latent_means(model, x), expected)
        assert not latent_means(model, x).requires_grad


def test_means_of_a_product_are_taken_part_by_part():
    torch.manual_seed(0)
    x = torch.rand(20, 12)
    posterior = ProductPosterior(
        [VonMisesFisherPosterior(12, 2), GaussianPosterior(12, 2), VonMisesFisherPosterior(12, 1)]
    )
    model = VAE(torch.nn.Identity(), torch.nn.Linear(7, 12), posterior, BernoulliLikelihood(12))
    sphere, plane, circle = latent_means(model, x).split([3, 2, 2], dim=-1)
    torch.testing.assert_close(sphere.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(circle.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(plane, posterior.heads[1](x).mean)
    assert model.encode(x).mean[:, :3].norm(dim=-1).max() < 0.9  # a mean would not have been on the sphere


@pytest.mark.parametrize("d", [3, (2, 2)])
def test_a_model_is_measured(d):
    """The numbers are those of the objectives, in this order, from the generator as it stands."""
    torch.manual_seed(0)
    build = mlp_vae if isinstance(d, int) else mlp_product_vae
    model = build("s", d, x_dim=12, hidden=(8,))
    x = torch.rand(60, 12).round()
    torch.manual_seed(1)
    found = measure_vae(model, x, importance_samples=5)
    torch.manual_seed(1)
    passes = [elbo(model, x) for _ in range(10)]
    many, few = iwae_bound(model, x, 5), iwae_bound(model, x, 10)
    for name in ("elbo", "reconstruction", "kl"):
        assert found[name] == pytest.approx(sum(getattr(terms, name).mean().item() for terms in passes) / 10, rel=1e-5)
    assert found["log_likelihood"]["mean"] == many.mean().item()
    assert found["log_likelihood_10"]["mean"] == few.mean().item()
    assert ("mean_concentration" in found) == (d == 3)  # a product has several


@pytest.mark.parametrize(("kind", "right"), [("s", 1.0), ("n", 0.0)])
def test_the_neighbours_of_a_latent_space_are_those_of_its_own_metric(kind, right):
    """Points of two directions at two distances from the origin: classes by angle, or by distance, as one asks."""
    metric = mlp_vae(kind, 1, x_dim=12).posterior.metric
    directions = np.array([[1.0, 0.0], [1.0, 0.5]])
    train = np.concatenate([np.repeat(directions[:1], 20, axis=0), 10 * np.repeat(directions[1:], 20, axis=0)])
    test = np.array([10 * directions[0], directions[1]])
    found = knn_accuracies(train, np.repeat([0, 1], 20), test, np.array([0, 1]), metric=metric, labels=(20,))
    assert found["20"]["mean"] == right


def test_a_log_likelihood_has_the_standard_error_of_a_mean(monkeypatch):
    asked = []
    bound = torch.tensor([-1.0, -2.0, -3.0, -6.0])
    monkeypatch.setattr(protocol, "iwae_bound", lambda *arguments: (asked.append(arguments), bound)[1])
    found = log_likelihood("a model", "data", 7)
    assert asked == [("a model", "data", 7)]
    deviation = ((4 + 1 + 0 + 9) / 3) ** 0.5  # about the mean, -3
    assert found == {"mean": -3.0, "standard_error": pytest.approx(deviation / 2), "samples": 7}


def test_the_terms_are_means_over_points_and_passes(monkeypatch):
    passes = []

    def elbo(*_):
        passes.append(1)
        reconstruction, kl = torch.tensor([-1.0, -3.0]) * len(passes), torch.tensor([1.0, 2.0])
        return ElboTerms(reconstruction - kl, reconstruction, kl)

    monkeypatch.setattr(protocol, "elbo", elbo)
    found = elbo_terms("a model", "data")
    assert len(passes) == 10
    assert found == {"elbo": -12.5, "reconstruction": -11.0, "kl": 1.5}  # -2 times the mean of 1, ..., 10


def test_both_log_likelihoods_have_their_own_number_of_samples(monkeypatch):
    monkeypatch.setattr(protocol, "log_likelihood", lambda model, x, samples: {"mean": -1.0, "samples": samples})
    torch.manual_seed(0)
    found = measure_vae(mlp_vae("s", 2, x_dim=12, hidden=(8,)), torch.rand(5, 12).round(), importance_samples=33)
    assert found["log_likelihood"]["samples"] == 33
    assert found["log_likelihood_10"]["samples"] == 10
    assert found["mean_concentration"] >= 1


def test_the_kl_of_other_images_is_that_of_the_images_it_names():
    data = load("digits")
    model = mlp_vae("n", 2, x_dim=64, hidden=(8,))
    found = kl_by_images(model, data)
    once = binarized(data)

    def kl(images):
        return elbo(model, images).kl.mean().item()

    assert found["intensities"] == pytest.approx(kl(data.test), rel=1e-5)
    assert found["thresholded"] == pytest.approx(kl((data.test > 0.5).float()), rel=1e-5)
    assert found["validation"] == pytest.approx(kl(once.validation), rel=1e-5)
    assert found["train"] == pytest.approx(kl(once.train), rel=1e-5)
    anew = found.pop("binarized_anew")
    assert anew == pytest.approx(kl(once.test), rel=0.05)
    assert anew not in (kl(once.test), *found.values())
    assert kl_by_images(model, data)["binarized_anew"] == pytest.approx(anew, rel=1e-6)  # the same in every run


def test_curves_are_those_of_each_models_records_in_the_order_of_the_tables():
    records = [
        example_record(model=model, seed=i, history={"epoch": [1], "validation_elbo": [float(i)]})
        for i, model in enumerate(["s", "ps", "n", "s", "n"])
    ]
    found = [
        (name, [history["validation_elbo"] for history in runs]) for name, runs in curves(records, names.vae).items()
    ]
    assert found == [("N-VAE", [[2], [4]]), ("S-VAE", [[0], [3]]), ("PS-VAE", [[1]])]


def test_training_has_the_settings_of_the_run_and_its_device():
    """None is left at a default of `TrainingSettings`: another device would train where nobody asked for it."""
    chosen = {
        "epochs": 7,
        "batch_size": 8,
        "learning_rate": 0.5,
        "warmup_epochs": 3,
        "patience": 4,
        "beta": 0.25,
        "seed": 6,
        "dynamic_binarization": False,
    }
    run = EXPERIMENTS["table1"].run(data="digits", model="n", d=2, **chosen, device="cuda:1")
    found = dataclasses.asdict(training_settings(run))
    assert found == {**chosen, "device": "cuda:1"}
    assert not found.items() & dataclasses.asdict(TrainingSettings()).items()


def test_active_units_are_those_whose_means_vary() -> None:
    """Far from zero is not active, and the threshold is of the variance."""
    n = np.linspace(-1, 1, 1001)  # variance 1/3
    means = np.stack([n, 0.18 * n, 0.17 * n, 5 + 0 * n, 0 * n], axis=1)
    assert 0.17**2 / 3 < 0.01 < 0.18**2 / 3
    assert active_units(means) == 2
