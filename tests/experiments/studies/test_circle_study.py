"""Figure 1: the correlation of angles is the sum over pairs, and angles are taken about the latent space's centre."""

import math
from typing import Any

import pytest
import torch

from hvae_tutorial.data import CircleDataset, load
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.studies import circle
from hvae_tutorial.experiments.studies.circle import circular_correlation


@pytest.fixture
def angles() -> torch.Tensor:
    return 2 * math.pi * torch.rand(50, generator=torch.Generator().manual_seed(0))


def test_circular_correlation_ignores_rotation_and_whole_turns(angles: torch.Tensor) -> None:
    assert circular_correlation(angles, angles) == pytest.approx(1)
    assert circular_correlation(angles, angles + 2.5) == pytest.approx(1, abs=1e-5)
    assert circular_correlation(angles, torch.atan2(angles.sin(), angles.cos())) == pytest.approx(1, abs=1e-5)


def test_circular_correlation_is_minus_one_for_a_reflection(angles: torch.Tensor) -> None:
    assert circular_correlation(angles, 1 - angles) == pytest.approx(-1, abs=1e-5)


def test_circular_correlation_is_the_sum_over_pairs() -> None:
    a, b = [0.1, 1.0, 2.5, 4.0], [0.3, 0.7, 3.0, 5.5]
    pairs = [(i, j) for i in range(4) for j in range(i)]
    top = sum(math.sin(a[i] - a[j]) * math.sin(b[i] - b[j]) for i, j in pairs)
    bottom = math.prod(sum(math.sin(x[i] - x[j]) ** 2 for i, j in pairs) for x in (a, b)) ** 0.5
    assert circular_correlation(torch.tensor(a), torch.tensor(b)) == pytest.approx(top / bottom, rel=1e-5)


def test_circular_correlation_of_independent_angles_is_small() -> None:
    """The standard deviation is about 1 / n = 0.002 for n = 500 uniform angles; 0.02 is ten of them."""
    a, b = 2 * math.pi * torch.rand(2, 500, generator=torch.Generator().manual_seed(0))
    assert abs(circular_correlation(a, b)) < 0.02


@pytest.mark.parametrize(("model", "d", "recovered"), [("n", 2, True), ("ae", 2, True), ("s", 1, False)])
def test_angles_in_a_plane_are_taken_around_the_mean(
    monkeypatch: pytest.MonkeyPatch, model: str, d: int, recovered: bool
) -> None:
    """A circle that does not contain the origin counts as recovered in a plane; a sphere has a centre of its own."""
    data = load("circle")
    assert isinstance(data, CircleDataset)
    angles = data.validation_angles
    shifted = 5 + torch.stack([angles.cos(), -angles.sin()], dim=-1)  # mirrored, too
    monkeypatch.setattr(circle, "latent_means", lambda *_: shifted)
    run = EXPERIMENTS["figure1"].run(data="circle", model=model, d=d, seed=0, importance_samples=2)
    measured = circle.measure(circle.build(run.settings, 100), data, run)
    assert (measured["circular_correlation"] > 0.99) == recovered
    assert ("elbo" in measured) == (model != "ae")


def test_the_figure_shows_the_models_of_the_first_seed_and_spheres_on_a_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("circle")
    experiment = EXPERIMENTS["figure1"]
    runs = experiment.runs(experiment.options(preset="smoke", seed_list=(3, 1)))
    seen: dict[str, Any] = {}
    monkeypatch.setattr(circle.plotting, "circle_panels", lambda panels, *_, **k: seen.update(panels=panels, **k))
    asked = []
    circle.draw(data, runs, [], lambda run: (asked.append(run.seed), circle.build(run.settings, 100))[1])
    assert asked == [3] * 4
    assert list(seen["panels"]) == ["the circle", "autoencoder", "N-VAE, β = 1", "N-VAE, β = 0.1", "S-VAE"]
    assert seen["on_circle"] == {"the circle", "S-VAE"}
    assert all(z.shape == (800, 2) for z in seen["panels"].values())
