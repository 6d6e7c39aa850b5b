"""Figure 1: what becomes of a circle in the latent space of an autoencoder, of N-VAEs and of an S-VAE.

The data are three clusters on a circle, bent into R^100 (`data.load("circle")`). The plane has room for the circle but
the Gaussian prior pulls it to the origin; the sphere S^1 has the right shape.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hvae_tutorial import plotting
from hvae_tutorial.data import CircleDataset, Dataset, load
from hvae_tutorial.experiments import results
from hvae_tutorial.experiments.presets import Preset
from hvae_tutorial.experiments.protocol import elbo_terms, latent_means, measure
from hvae_tutorial.experiments.report import Report, save
from hvae_tutorial.experiments.run import Run, execute, trained_model, training_settings
from hvae_tutorial.experiments.sweep import sweep
from hvae_tutorial.models.vae import VAE

# Title, model, d and beta of each panel.
PANELS = (
    ("autoencoder", "ae", 2, 1.0),
    ("N-VAE, β = 1", "n", 2, 1.0),
    ("N-VAE, β = 0.1", "n", 2, 0.1),
    ("S-VAE", "s", 1, 1.0),
)


def reproduce(
    *, preset: Preset, device: str = "auto", out: Path = Path("runs"), jobs: int | None = None, dask: str | None = None
) -> Report:
    """Do the runs that are missing, then make Figure 1 and its table, all in the folder `out/figure1`.

    Args:
        preset: how long to train, and how many seeds; the figure shows the first.
        device: where to train, as `training.resolve_device` takes it.
        out: the folder of all results.
        jobs: number of processes, as `sweep` takes it.
        dask: address of a Dask scheduler, as `sweep` takes it.

    Raises:
        ValueError: a setting is out of range, or a file of an earlier run is damaged.
        SweepError: some runs failed.
    """
    runs = [
        Run(
            experiment="figure1",
            data="circle",
            model=model,
            d=d,
            training=training_settings(preset, seed=seed, device=device, beta=beta, dynamic_binarization=False),
            hidden=(32,),
            likelihood="gaussian",
            importance_samples=preset.importance_samples,
        )
        for seed in range(preset.seeds)
        for _, model, d, beta in PANELS
    ]
    folder = out / "figure1"
    records = sweep(runs, partial(execute, evaluate=evaluate), folder, jobs=jobs, dask=dask)
    table = results.figure1(records)
    dataset = load("circle")
    angles = dataset.train_angles
    panels = {"the circle": torch.stack([angles.cos(), angles.sin()], dim=-1)}
    for (title, *_), run in zip(PANELS, runs, strict=False):
        panels[title] = latent_means(trained_model(run, folder), dataset.train)
    picture = plotting.circle_panels(
        panels,
        angles,
        on_circle={"the circle", "S-VAE"},
        title="Posterior means of the training points, coloured by the angle on the circle that they come from",
    )
    return Report(tables=[table], files=save(folder, {"figure1": table}, {"figure1": picture}))


def evaluate(model: VAE, dataset: Dataset, run: Run) -> dict[str, Any]:
    """Measure the fit to the validation data, and how well the model recovers the circle that they come from.

    The autoencoder defines no density: of its fit only the reconstruction is measured.
    """
    assert isinstance(dataset, CircleDataset)
    x = dataset.validation.to(next(model.parameters()).device)
    if run.model == "ae":
        fit = {"reconstruction": elbo_terms(model, x)["reconstruction"]}
    else:
        fit = measure(model, x, importance_samples=run.importance_samples)
    means = latent_means(model, x).cpu()
    if model.posterior.metric == "euclidean":
        means = means - means.mean(0)  # a plane has no centre of its own
    latent_angles = torch.atan2(means[:, 1], means[:, 0])
    return {**fit, "circular_correlation": abs(circular_correlation(latent_angles, dataset.validation_angles))}


def circular_correlation(a: Tensor, b: Tensor) -> float:
    r"""Correlation of two angles over pairs of points.

    $$\rho = \frac{\sum_{i<j} \sin(a_i - a_j) \sin(b_i - b_j)}
                  {\sqrt{\sum_{i<j} \sin^2(a_i - a_j) \sum_{i<j} \sin^2(b_i - b_j)}}$$

    It is 1 where `b` is `a` rotated and -1 where it is `a` reflected (Fisher and Lee 1983, Biometrika 70, 327-332).

    Args:
        a: angles in radians, `(n,)`.
        b: angles in radians, `(n,)`.

    Returns:
        A number in [-1, 1].
    """
    sin_a, sin_b = (torch.sin(angles[:, None] - angles) for angles in (a.double(), b.double()))  # (n, n)
    return ((sin_a * sin_b).sum() / (sin_a.square().sum() * sin_b.square().sum()).sqrt()).item()
