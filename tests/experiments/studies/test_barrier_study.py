"""The barrier: which samplers are trained, what ends a run, and what is measured by which law."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hvae_tutorial import special
from hvae_tutorial.data import Dataset, load
from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.experiments.execute import execute, trained_model
from hvae_tutorial.experiments.foils import PathwiseVonMisesFisher, PublicVonMisesFisher
from hvae_tutorial.experiments.protocol import binarized
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.studies import barrier
from hvae_tutorial.models import VAE


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load("digits")
    assert isinstance(data, Dataset)
    return data


def tiny(**change: Any) -> Run:
    settings = {"data": "digits", "model": "s-clip", "d": 40, "seed": 0, "hidden": [8], "importance_samples": 20}
    effort = {"epochs": 2, "warmup_epochs": 1, "patience": 2, "test_images": 60}
    return EXPERIMENTS["barrier"].run(**settings | effort | change, device="cpu")


def built(**change: Any) -> VAE:
    torch.manual_seed(0)
    return barrier.build(tiny(**change).settings, 64)


def test_a_seed_gives_all_samplers_the_same_initial_weights(digits: Dataset) -> None:
    families = {"s": VonMisesFisher, "s-path": PathwiseVonMisesFisher, "s-clip": PublicVonMisesFisher}
    weights = {name: built(model=name).state_dict() for name in families}
    for name, family in families.items():
        assert type(built(model=name).encode(digits.test)) is family
        assert all(torch.equal(weights[name][part], tensor) for part, tensor in weights["s"].items())
    with pytest.raises(ValueError, match="model must be one of 's', 's-path', 's-clip', got 'n'"):
        built(model="n")


def test_the_initial_bias_sets_where_kappa_starts(digits: Dataset) -> None:
    for bias, kappa in ((0.0, 1 + torch.log(torch.tensor(2.0)).item()), (20.0, 21.0)):
        found = built(initial_bias=bias).encode(torch.zeros(1, 64)).concentration
        assert found.item() == pytest.approx(kappa, rel=1e-5)


def test_a_run_is_past_the_barrier_at_the_divergence_of_kappa_22() -> None:
    threshold = barrier.past_barrier(40)
    assert threshold == pytest.approx(special.kl_to_uniform(torch.tensor(22.0, dtype=torch.float64), 41).item())
    assert not barrier.is_past({"validation_kl": [9.0, threshold - 1e-6]}, threshold=threshold)
    assert barrier.is_past({"validation_kl": [0.0, threshold]}, threshold=threshold)
    for m in (21, 31, 41, 61):  # past it the samples are more concentrated than where the blend begins
        kappa = torch.tensor([10.0, barrier.PAST], dtype=torch.float64)
        before, after = PublicVonMisesFisher(torch.eye(m).double()[0], kappa).sampled_mean_resultant_length
        assert after > before


def test_a_run_ends_when_it_is_decided_if_that_is_asked(digits: Dataset, tmp_path: Path) -> None:
    epochs = {}
    for until in ("decided", "end"):
        run = tiny(until=until, initial_bias=30.0, model="s")  # past the barrier from the first epoch on
        model = barrier.build(run.settings, 64)
        epochs[until] = barrier.train(model, digits, run, checkpoint=tmp_path / until, progress=False).epochs
    assert epochs == {"decided": 1, "end": 2}


@pytest.mark.parametrize("bias", [0.0, 11.0])
def test_what_is_reported_and_what_is_sampled_differ_where_the_laws_do(bias: float, digits: Dataset) -> None:
    """kappa is near 1.7, and near 12, where at m = 41 the public law has little divergence left."""
    run = tiny(initial_bias=bias)
    torch.manual_seed(0)
    model = barrier.build(run.settings, 64)
    found = barrier.measure(model, digits, run)
    kappa = model.encode(binarized(digits).test[:60]).concentration
    assert found["median_concentration"] == pytest.approx(kappa.median().item())
    assert found["kl"] == pytest.approx(special.kl_to_uniform(kappa, 41).mean().item(), rel=1e-4)
    assert found["elbo"] == pytest.approx(found["reconstruction"] - found["kl"], abs=1e-3)
    assert found["sampled_elbo"] == pytest.approx(found["reconstruction"] - found["sampled_kl"], abs=1e-3)
    if bias == 0:
        assert found["sampled_kl"] == pytest.approx(found["kl"], rel=1e-3)
        assert found["reported_log_likelihood"]["mean"] == pytest.approx(found["log_likelihood"]["mean"], abs=0.05)
    else:
        assert found["sampled_kl"] < 0.3 < 1.2 < found["kl"]
    assert found["log_likelihood"]["samples"] == 20


def test_the_exact_sampler_reports_what_it_samples(digits: Dataset) -> None:
    run = tiny(model="s", initial_bias=11.0)
    torch.manual_seed(0)
    found = barrier.measure(barrier.build(run.settings, 64), digits, run)
    assert found["sampled_kl"] == pytest.approx(found["kl"])
    assert found["sampled_elbo"] == pytest.approx(found["elbo"])


def test_likelihood_is_measured_at_the_end_alone_and_kappa_by_class(digits: Dataset) -> None:
    run = tiny(until="decided", test_images=500)
    model = built()
    found = barrier.measure(model, digits, run)
    assert not {"log_likelihood", "reported_log_likelihood"} & found.keys()
    assert [*found["class_concentration"]] == [str(label) for label in range(10)]
    kappa = model.encode(binarized(digits).test).concentration
    for label in range(10):
        chosen = kappa[digits.test_labels == label]
        assert found["class_concentration"][str(label)] == pytest.approx(chosen.median().item())


def test_the_elbo_at_a_concentration_sees_the_barrier(digits: Dataset) -> None:
    """A decoder that rewards w = mu.z, for one direction: E log p(x|z) - KL by the mean of w of either law."""
    run = tiny(model="s")
    model = barrier.build(run.settings, 64)
    x = binarized(digits).test[:1].repeat(4000, 1)
    mu = model.encode(x).mode[0].detach()

    class Reward(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return 100 * (z @ mu)

    model.decoder = Reward()
    model.likelihood.log_prob = lambda x, value: value  # type: ignore[assignment, method-assign]
    torch.manual_seed(0)
    kappa = torch.tensor(12.0, dtype=torch.float64)
    law = PublicVonMisesFisher(mu.double(), kappa)
    means = {VonMisesFisher: law.mean_resultant_length, PublicVonMisesFisher: law.sampled_mean_resultant_length}
    for family, mean in means.items():
        found = barrier.elbo_at(model, x, 12.0, family)
        assert found == pytest.approx(100 * mean.item() - law.kl_to_uniform().item(), abs=1.0)  # standard error 0.23
    assert means[VonMisesFisher] - means[PublicVonMisesFisher] > 0.18


def test_pictures_are_drawn_for_each_d(digits: Dataset, tmp_path: Path) -> None:
    runs = [tiny(d=d, model=model) for d in (3, 40) for model in ("s", "s-clip")]
    records = [execute(run, folder=tmp_path, progress=False) for run in runs]
    pictures = barrier.draw(digits, runs, records, lambda run: trained_model(run, tmp_path, x_dim=64))
    assert [*pictures] == ["learning-curves-d3", "barrier-d3", "learning-curves-d40", "barrier-d40"]
    mean, _ = pictures["barrier-d40"].axes
    exact, public = (line.get_ydata() for line in mean.get_lines())
    assert (np.diff(exact) > 0).all()
    assert (np.diff(public) < 0).any()
    for d, chosen in ((3, records[:2]), (40, records[2:])):  # one line a run, named by its sampler
        axes = pictures[f"learning-curves-d{d}"].axes[0]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["exact", "public law and gradient"]
        drawn = [line.get_ydata() for line in axes.get_lines()]
        np.testing.assert_array_equal(drawn, [record.history["validation_elbo"] for record in chosen])


def test_the_reported_likelihood_is_no_bound(digits: Dataset) -> None:
    """A decoder that ignores z has log p(x) = log p(x|z): one estimate is below it, the other two nats above."""
    run = tiny(initial_bias=11.0, importance_samples=200)
    torch.manual_seed(0)
    model = barrier.build(run.settings, 64)
    torch.nn.init.zeros_(model.decoder[-1].weight)
    found = barrier.measure(model, digits, run)
    truth = found["reconstruction"]
    assert truth - 0.1 < found["log_likelihood"]["mean"] < truth
    assert found["reported_log_likelihood"]["mean"] > truth + 1
