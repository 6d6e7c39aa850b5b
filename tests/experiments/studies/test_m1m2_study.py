"""Table 3: how M1+M2 is trained by either scheme, with which labels, and its accuracy."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_records import example_record

from hvae_tutorial.data import Dataset, balanced_indices, load
from hvae_tutorial.experiments.protocol import binarized
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.studies import m1m2
from hvae_tutorial.models import M1M2, StackedM1M2, mlp_m1m2
from hvae_tutorial.objectives import SemiSupervised, unlabelled_bound
from hvae_tutorial.special import kl_to_uniform


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load("digits")
    assert isinstance(data, Dataset)
    return data


def tiny(**change: Any) -> Run:
    settings = {"data": "digits", "model": "sn", "d": [2, 3], "seed": 0, "hidden": [8], "m2_hidden": 8}
    effort = {"epochs": 2, "warmup_epochs": 1, "patience": 2, "labelled_batch_size": 4}
    return EXPERIMENTS["table3"].run(**settings | effort | change, device="cpu")


@pytest.mark.parametrize(("scheme", "kind"), [("end-to-end", M1M2), ("stacked", StackedM1M2)])
def test_the_scheme_decides_what_is_built(scheme: str, kind: type) -> None:
    assert type(m1m2.build(tiny(scheme=scheme).settings, 64)) is kind
    with pytest.raises(ValueError, match=r"scheme must be one of 'end-to-end', 'stacked', .* got 'joint'"):
        m1m2.build(tiny(scheme="joint").settings, 64)


def test_stacked_trains_m1_first_and_then_leaves_it(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []
    fit = m1m2.fit

    def noted(model: Any, *arguments: Any, **options: Any) -> Any:
        before = [parameter.clone() for parameter in getattr(model, "m1", model).parameters()]
        result = fit(model, *arguments, **options)
        after = list(getattr(model, "m1", model).parameters())
        fits.append((type(model).__name__, all(torch.equal(a, b) for a, b in zip(before, after, strict=True))))
        return result

    monkeypatch.setattr(m1m2, "fit", noted)
    for scheme in ("stacked", "end-to-end"):
        run = tiny(scheme=scheme)
        model = m1m2.build(run.settings, 64)
        m1m2.train(model, digits, run, checkpoint=tmp_path / f"{scheme}.checkpoint", progress=False)
    assert fits == [("VAE", False), ("StackedM1M2", True), ("M1M2", False)]


def test_disjoint_takes_the_labelled_images_from_the_unlabelled_ones(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def noted(model: Any, train: torch.Tensor, *_: Any, objective: SemiSupervised, **__: Any) -> None:
        seen[objective.num_unlabelled] = (train, objective.x)

    monkeypatch.setattr(m1m2, "fit", noted)
    for scheme in ("end-to-end", "disjoint"):
        run = tiny(scheme=scheme)
        m1m2.train(m1m2.build(run.settings, 64), digits, run, checkpoint=tmp_path / "c", progress=False)
    (all_of_them, labelled), (others, again) = seen[1097], seen[997]
    assert torch.equal(labelled, again)
    assert torch.equal(all_of_them, digits.train)
    rest = np.delete(np.arange(1097), balanced_indices(digits.train_labels.numpy(), 100, np.random.default_rng(0)))
    assert torch.equal(others, digits.train[rest])


def test_a_full_prior_counts_z1_in_full_at_every_weight(digits: Dataset) -> None:
    """By hand: beta stands before the divergences of z2 and of y; at 1 the objective is that of the other schemes."""
    torch.manual_seed(0)
    model = m1m2.build(tiny().settings, 64)
    arguments = {"x": digits.train[:20], "y": digits.train_labels[:20], "num_unlabelled": 50, "batch_size": 4}
    plain, full = (kind(**arguments, dynamic_binarization=False) for kind in (SemiSupervised, m1m2.FullPrior))
    x = binarized(digits).test[:30]

    def elbo(objective: SemiSupervised, beta: float) -> torch.Tensor:
        torch.manual_seed(1)
        return objective(model, x, beta).elbo

    assert torch.allclose(elbo(full, 1.0), elbo(plain, 1.0), atol=1e-4)
    torch.manual_seed(1)
    index = torch.randint(20, (4,))
    y = arguments["y"][index]
    q = model.m1.encode(torch.cat([x, arguments["x"][index]]))
    z1 = q.rsample()
    of_x = model.likelihood.log_prob(torch.cat([x, arguments["x"][index]]), model.m1.decoder(z1)) + q.entropy()
    logits, log_prior, kl = model.m2.class_terms(z1)
    of_class = of_x + log_prior - 0.3 * (kl + np.log(10))  # (C, 34)
    q_y = logits.softmax(-1).T
    unlabelled = (q_y * (of_class - 0.3 * q_y.log())).sum(0)[:30]
    labelled = of_class[:, 30:].gather(0, y.unsqueeze(0)).mean()
    log_q = logits.log_softmax(-1)[30:].gather(1, y.unsqueeze(1)).mean()
    expected = unlabelled + 20 / 50 * labelled + 0.1 * (1 + 20 / 50) * log_q
    assert torch.allclose(elbo(full, 0.3), expected, atol=1e-3)
    assert (elbo(full, 0.3) - elbo(plain, 0.3)).abs().min() > 0.1


def test_a_low_floor_lets_a_spherical_z2_say_nothing() -> None:
    """The same weights, and a concentration less by 0.99; a Gaussian z2 has no floor."""
    torch.manual_seed(0)
    usual = m1m2.build(tiny(model="ss").settings, 64)
    low = m1m2.build(tiny(model="ss", scheme="low-floor").settings, 64)
    low.load_state_dict(usual.state_dict())
    h = torch.randn(5, 8)
    torch.testing.assert_close(low.m2.posterior(h).concentration, usual.m2.posterior(h).concentration - 0.99)
    assert torch.equal(low.m2.posterior(h).loc, usual.m2.posterior(h).loc)
    assert type(low.m1.posterior) is type(usual.m1.posterior)
    torch.manual_seed(0)
    again = m1m2.with_low_floor(m1m2.build(tiny(model="ss").settings, 64))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), usual.parameters(), strict=True))
    for scheme in ("low-floor", "circles"):
        with pytest.raises(ValueError, match=rf"scheme '{scheme}' is for a von Mises-Fisher z2.* GaussianPosterior"):
            m1m2.build(tiny(model="sn", scheme=scheme).settings, 64)


def test_circles_have_a_concentration_each(digits: Dataset) -> None:
    """Three circles in the place of S^3, all else as it was; two that say nothing, and one that has kappa = 10."""
    torch.manual_seed(0)
    model = m1m2.build(tiny(model="ss", scheme="circles").settings, 64)
    torch.manual_seed(0)
    usual = m1m2.build(tiny(model="ss").settings, 64)
    for part in ("m1", "m2.classifier", "m2.encoder", "m2.likelihood"):
        pairs = zip(model.get_submodule(part).parameters(), usual.get_submodule(part).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    head = model.m2.posterior
    assert (head.d, head.ambient_dim) == (3, 6)
    q = head(torch.randn(5, 8))
    assert all((part.concentration >= 0.01).all() and part.m == 2 for part in q.parts)
    with torch.no_grad():
        for circle, bias in zip(head.heads, (-50.0, 9.99, -50.0), strict=True):
            circle.raw_concentration.weight.zero_()
            circle.raw_concentration.bias.fill_(bias)
    of_ten = kl_to_uniform(torch.tensor(10.0, dtype=torch.float64), 2).item()
    found = m1m2.measure(model, digits, tiny(model="ss"))
    assert found["kl_z2"] == pytest.approx(of_ten, abs=1e-3)
    assert found["kl_z2_by_coordinate"] == pytest.approx({"1": of_ten, "2": 0, "3": 0}, abs=1e-3)


def test_the_objective_has_the_labels_of_the_seed_and_the_numbers_of_the_run(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objectives = []
    monkeypatch.setattr(m1m2, "fit", lambda *_, objective, **__: objectives.append(objective))
    for seed in (0, 1):
        run = tiny(seed=seed, labels=50, alpha=0.3)
        m1m2.train(m1m2.build(run.settings, 64), digits, run, checkpoint=tmp_path / "c", progress=False)
    first, second = objectives
    index = balanced_indices(digits.train_labels.numpy(), 50, np.random.default_rng(0))
    assert torch.equal(first.x, digits.train[index])
    assert torch.equal(first.y, digits.train_labels[index])
    assert not torch.equal(first.x, second.x)
    for objective in objectives:
        assert torch.equal(objective.y.bincount(), torch.full((10,), 5))
        assert objective.num_unlabelled == len(digits.train) == 1097
        assert (objective.batch_size, objective.alpha) == (4, 0.3)


def test_accuracy_is_that_of_the_classifier(digits: Dataset) -> None:
    """A classifier that always says 7 is right where the label is 7, and its class entropy is 0."""
    model = mlp_m1m2("nn", 2, 2, x_dim=64, hidden=(8,), m2_hidden=8)
    with torch.no_grad():
        model.m2.classifier[-1].weight.zero_()
        model.m2.classifier[-1].bias.copy_(torch.eye(10)[7] * 1e4)
    data = dataclasses.replace(digits, validation_labels=digits.validation_labels.clamp(min=7))
    measured = m1m2.measure(model, data, tiny())
    assert measured["accuracy"] == pytest.approx((data.test_labels == 7).float().mean().item())
    assert measured["accuracy_by_class"] == {str(c): float(c == 7) for c in range(10)}
    assert measured["validation_accuracy"] == pytest.approx((data.validation_labels == 7).float().mean().item())
    assert measured["validation_accuracy"] > 0.7 > measured["accuracy"]
    assert measured["class_entropy"] == pytest.approx(0, abs=1e-6)


def test_the_accuracy_on_labelled_images_is_on_those_that_the_run_has(digits: Dataset) -> None:
    run = tiny(labels=50, seed=3)
    index = balanced_indices(digits.train_labels.numpy(), 50, np.random.default_rng(3))
    torch.manual_seed(0)
    model = m1m2.build(run.settings, 64)
    with torch.no_grad():
        right = model.class_logits(binarized(digits).train).argmax(-1) == digits.train_labels
    assert m1m2.measure(model, digits, run)["labelled_accuracy"] == pytest.approx(right[index].float().mean().item())
    assert right[index].float().mean() != pytest.approx(right.float().mean())


def test_the_divergence_of_z2_is_that_of_the_class_that_the_model_sees() -> None:
    """An encoder of z2 that looks at the class alone, and a classifier that says 7, or nothing."""
    torch.manual_seed(0)
    model = mlp_m1m2("sn", 2, 3, x_dim=64, hidden=(8,), m2_hidden=8)
    digits = load("digits")
    with torch.no_grad():
        model.m2.encoder.hidden.weight[:, :3] = 0
        q = model.m2.posterior(model.m2.encoder(torch.zeros(1, 3), torch.eye(10)))
        of_class = model.m2.posterior.kl(q)
        for bias, expected in ((torch.eye(10)[7] * 1e4, of_class[7]), (torch.zeros(10), of_class.mean())):
            model.m2.classifier[-1].weight.zero_()
            model.m2.classifier[-1].bias.copy_(bias)
            assert m1m2.measure(model, digits, tiny())["kl_z2"] == pytest.approx(expected.item(), rel=1e-5)
    assert of_class[7] != pytest.approx(of_class.mean().item(), rel=0.01)


def test_a_gaussian_z2_has_its_divergence_by_coordinate(digits: Dataset) -> None:
    """Of three coordinates two are at the prior; the third has mean 2 and scale 1, which is 2 nats."""
    model = mlp_m1m2("sn", 2, 3, x_dim=64, hidden=(8,), m2_hidden=8)
    head = model.m2.posterior
    with torch.no_grad():
        for part in (head.mean, head.raw_scale):
            part.weight.zero_()
        head.mean.bias.copy_(torch.tensor([0.0, 2.0, 0.0]))
        head.raw_scale.bias.fill_(math.log(math.e - 1))
    found = m1m2.measure(model, digits, tiny())
    assert found["kl_z2_by_coordinate"] == pytest.approx({"1": 2, "2": 0, "3": 0}, abs=1e-5)
    assert found["kl_z2"] == pytest.approx(2, abs=1e-5)
    assert "kl_z2_by_coordinate" not in m1m2.measure(mlp_m1m2("ss", 2, 3, x_dim=64, hidden=(8,)), digits, tiny())


def test_the_concentration_of_the_prior_is_that_of_the_class_that_the_model_sees(digits: Dataset) -> None:
    """A decoder that looks at the class alone, and a classifier that says 7; a flat z1 has no concentration."""
    torch.manual_seed(0)
    model = mlp_m1m2("sn", 2, 3, x_dim=64, hidden=(8,), m2_hidden=8)
    with torch.no_grad():
        model.m2.decoder.hidden.weight[:, :3] = 0
        of_class = model.m2.likelihood(model.m2.decoder(torch.zeros(1, 3), torch.eye(10))).concentration
        model.m2.classifier[-1].weight.zero_()
        model.m2.classifier[-1].bias.copy_(torch.eye(10)[7] * 1e4)
    assert m1m2.measure(model, digits, tiny())["prior_concentration"] == pytest.approx(of_class[7].item(), rel=1e-5)
    assert of_class[7] != pytest.approx(of_class.mean().item(), rel=0.01)
    flat = mlp_m1m2("ns", 2, 3, x_dim=64, hidden=(8,), m2_hidden=8)
    assert "prior_concentration" not in m1m2.measure(flat, digits, tiny())


def test_a_spherical_z2_that_says_nothing_has_the_least_divergence() -> None:
    """kappa = softplus + 1 cannot go below 1: at m = 6 that is 0.0808 nats, by which a dead z2 is known."""
    model = mlp_m1m2("ss", 5, 5, x_dim=64, hidden=(8,), m2_hidden=8)
    with torch.no_grad():
        model.m2.posterior.raw_concentration.weight.zero_()
        model.m2.posterior.raw_concentration.bias.fill_(-50)
    assert m1m2.measure(model, load("digits"), tiny())["kl_z2"] == pytest.approx(0.0808, abs=1e-4)


def test_the_images_are_binarised_before_they_are_classified(digits: Dataset) -> None:
    run = tiny()
    torch.manual_seed(0)
    model = m1m2.build(run.settings, 64)
    with torch.no_grad():
        logits = model.class_logits(binarized(digits).test)
    expected = (logits.argmax(-1) == digits.test_labels).float().mean().item()
    assert m1m2.measure(model, digits, run)["accuracy"] == pytest.approx(expected)


def test_the_bound_is_measured_on_the_test_images(digits: Dataset) -> None:
    run = tiny()
    torch.manual_seed(0)
    model = m1m2.build(run.settings, 64)
    torch.manual_seed(1)
    found = m1m2.measure(model, digits, run)
    torch.manual_seed(1)
    with torch.no_grad():
        passes = [unlabelled_bound(model, binarized(digits).test) for _ in range(10)]
    for name in ("elbo", "reconstruction", "kl"):
        assert found[name] == pytest.approx(sum(getattr(terms, name).mean().item() for terms in passes) / 10, rel=1e-5)


def test_a_picture_has_the_curves_of_its_pair_of_dimensions(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m1m2.plotting, "learning_curves", lambda curves, title: (curves, title))
    runs = [tiny(model=model, d=d) for d in ([2, 3], [2, 4], [3, 2]) for model in ("sn", "nn")]
    records = [
        example_record(experiment="table3", history={"epoch": [1], "validation_elbo": [float(i)]}, **run.settings)
        for i, run in enumerate(runs)
    ]
    pictures: dict[str, Any] = m1m2.draw(digits, runs, records, pytest.fail)
    assert list(pictures) == ["learning-curves-d2+3", "learning-curves-d2+4", "learning-curves-d3+2"]
    for i, (curves, title) in enumerate(pictures.values()):
        assert title == ("digits, M1+M2, d = 2, 3", "digits, M1+M2, d = 2, 4", "digits, M1+M2, d = 3, 2")[i]
        numbers = [(name, [history["validation_elbo"] for history in histories]) for name, histories in curves.items()]
        assert numbers == [("N+N", [[2 * i + 1]]), ("S+N", [[2 * i]])]  # in the order of the table
