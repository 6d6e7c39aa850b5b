import math
from pathlib import Path

import pytest
import torch

from hvae_tutorial.data import load as load_data
from hvae_tutorial.experiments import figure1
from hvae_tutorial.experiments.figure1 import circular_correlation
from hvae_tutorial.experiments.presets import Preset
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.models.vae import mlp_vae
from hvae_tutorial.records import load
from hvae_tutorial.training import TrainingSettings

TINY = Preset(epochs=2, warmup_epochs=0, patience=2, seeds=2, importance_samples=5)


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
    dataset = load_data("circle")
    angles = dataset.validation_angles
    shifted = 5 + torch.stack([angles.cos(), -angles.sin()], dim=-1)  # mirrored, too
    monkeypatch.setattr(figure1, "latent_means", lambda *_: shifted)
    run = Run("figure1", "circle", model, d, TrainingSettings(), importance_samples=2)
    vae = mlp_vae(model, d, x_dim=100, hidden=(32,), likelihood="gaussian")
    correlation = figure1.evaluate(vae, dataset, run)["circular_correlation"]
    assert (correlation > 0.99) == recovered


def test_figure1_end_to_end(tmp_path: Path) -> None:
    report = figure1.reproduce(preset=TINY, device="cpu", out=tmp_path, jobs=1)
    (table,) = report.tables
    assert [row[:2] for row in table.rows] == [
        ["autoencoder", "2"],
        ["N-VAE, β = 0.1", "2"],
        ["N-VAE, β = 1", "2"],
        ["S-VAE", "2"],
    ]
    assert [path.name for path in report.files] == ["figure1.md", "figure1.png"]
    assert all(path.stat().st_size > 0 for path in report.files)

    records = load(folder=tmp_path / "figure1")
    assert len(records) == 8
    for record in records:
        assert record.settings["hidden"] == [32]
        assert record.settings["likelihood"] == "gaussian"
        assert record.settings["d"] == (1 if record.settings["model"] == "s" else 2)
        assert set(record.history["beta"]) == {record.settings["beta"]}  # constant: no warm-up
        assert 0 <= record.results["circular_correlation"] <= 1
        assert ("elbo" in record.results) == (record.settings["model"] != "ae")
