"""VAEs and an autoencoder on a circle bent into R^100, measured by how well they recover it: Figure 1."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hvae_tutorial import plotting
from hvae_tutorial.data import CircleDataset
from hvae_tutorial.experiments.figure1 import panel_name
from hvae_tutorial.experiments.protocol import elbo_terms, latent_means, measure_vae, training_settings
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.studies.unsupervised import build
from hvae_tutorial.models.vae import VAE
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record
from hvae_tutorial.training import TrainingResult, fit

__all__ = ["build", "circular_correlation", "draw", "measure", "train"]


def train(model: VAE, data: CircleDataset, run: Run, *, checkpoint: Path, progress: bool) -> TrainingResult:
    """Train on the points as they are."""
    return fit(
        model,
        data.train,
        data.validation,
        training_settings(run),
        checkpoint=checkpoint,
        progress=progress,
        description=run.title,
    )


def measure(model: VAE, data: CircleDataset, run: Run) -> dict[str, Any]:
    """Measure the fit to the validation data, and how well the model recovers the circle that they come from.

    The autoencoder defines no density: of its fit only the reconstruction is measured.
    """
    x = data.validation.to(next(model.parameters()).device)
    if run.settings["model"] == "ae":
        measured: dict[str, Any] = {"reconstruction": elbo_terms(model, x)["reconstruction"]}
    else:
        measured = measure_vae(model, x, importance_samples=run.settings["importance_samples"])
    means = latent_means(model, x).cpu()
    if model.posterior.metric == "euclidean":
        means = means - means.mean(0)  # a plane has no centre of its own
    latent_angles = torch.atan2(means[:, 1], means[:, 0])
    return {**measured, "circular_correlation": abs(circular_correlation(latent_angles, data.validation_angles))}


def draw(
    data: CircleDataset, runs: Sequence[Run], records: Sequence[Record], trained: Callable[[Run], VAE]
) -> dict[str, Figure]:
    """Draw the circle, and what the models with the first seed make of it."""
    angles = data.train_angles
    panels = {"the circle": torch.stack([angles.cos(), angles.sin()], dim=-1)}
    spheres = set()
    for run in (run for run in runs if run.seed == runs[0].seed):
        name = panel_name(run.settings["model"], run.settings["beta"])
        model = trained(run)
        panels[name] = latent_means(model, data.train)
        spheres |= {name} if model.posterior.metric == "cosine" else set()
    picture = plotting.circle_panels(
        panels,
        angles,
        on_circle={"the circle", *spheres},
        title="Posterior means of the training points, coloured by the angle on the circle that they come from",
    )
    return {"figure1": picture}


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
