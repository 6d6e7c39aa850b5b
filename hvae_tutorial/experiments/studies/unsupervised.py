"""VAEs on images, measured by their likelihood and by the nearest neighbours of their latent means: Tables 1 and 2."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hvae_tutorial import plotting
from hvae_tutorial.data import Dataset
from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.knn import knn_accuracies, knn_accuracies_by_axes, knn_accuracies_by_k
from hvae_tutorial.experiments.protocol import (
    active_units,
    binarized,
    curves,
    kl_by_images,
    latent_means,
    measure_vae,
    seeded,
    training_settings,
)
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.models.vae import VAE, mlp_vae
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record
from hvae_tutorial.training import TrainingResult, fit

# How to draw a latent space, by its metric and number of coordinates.
_LATENT_PICTURES = {
    ("euclidean", 2): plotting.latent_plane,
    ("cosine", 2): plotting.latent_circle,
    ("cosine", 3): plotting.latent_sphere,
}
# A picture of a latent space shows at most this many test images.
POINTS = 5000


def build(settings: Mapping[str, Any], x_dim: int) -> VAE:
    """Return the VAE, with the paper's network."""
    return mlp_vae(
        settings["model"],
        settings["d"],
        x_dim=x_dim,
        hidden=settings["hidden"],
        likelihood=settings["likelihood"],
    )


def train(model: VAE, data: Dataset, run: Run, *, checkpoint: Path, progress: bool) -> TrainingResult:
    """Train on intensities, binarised anew for every batch; stop by the validation images, binarised once."""
    return fit(
        model,
        data.train,
        binarized(data).validation,
        training_settings(run),
        checkpoint=checkpoint,
        progress=progress,
        description=run.title,
    )


def measure(model: VAE, data: Dataset, run: Run) -> dict[str, Any]:
    """Measure a model on the test images, and classify these by the nearest neighbours of their latent means."""
    images = binarized(data)
    device = next(model.parameters()).device
    test = images.test.to(device)
    means = (
        latent_means(model, images.train.to(device)).cpu().numpy(),
        data.train_labels.numpy(),
        latent_means(model, test).cpu().numpy(),
        data.test_labels.numpy(),
    )
    metric = model.posterior.metric
    return {
        **measure_vae(model, test, importance_samples=run.settings["importance_samples"]),
        "knn": knn_accuracies(*means, metric=metric, seed=run.seed),
        "knn_by_axes": knn_accuracies_by_axes(*means, metric=metric, seed=run.seed),
        "knn_by_k": knn_accuracies_by_k(*means, metric=metric, seed=run.seed),
        "kl_by_images": kl_by_images(model, data),
        "active_units": active_units(means[2]),
    }


def sample(model: VAE, n: int) -> Tensor:
    """Return E[x|z] at `n` draws of z from the prior, (n, x_dim)."""
    return model.sample(n)


def draw(
    data: Dataset, runs: Sequence[Run], records: Sequence[Record], trained: Callable[[Run], VAE]
) -> dict[str, Figure]:
    """Draw the learning curves for each d; and for the first seed reconstructions, samples and latent spaces."""
    pictures: dict[str, Figure] = {}
    for d in dict.fromkeys(run.settings["d"] for run in runs):
        found = curves([record for record in records if record.settings["d"] == d], names.vae)
        pictures[f"learning-curves-d{d}"] = plotting.learning_curves(found, title=f"{data.name}, d = {d}")
        first = [run for run in runs if run.settings["d"] == d and run.seed == runs[0].seed]
        pictures |= _draw_models(data, d, {run.settings["model"]: trained(run) for run in first})
    return pictures


@torch.no_grad()
def _draw_models(data: Dataset, d: int, models: Mapping[str, VAE]) -> dict[str, Figure]:
    """Draw reconstructions and samples of models with the same d, and the latent spaces that a picture can show."""
    assert data.image_shape is not None
    height, width = data.image_shape
    images, labels = binarized(data).test, data.test_labels
    one_of_each = torch.cat([images[labels == label][:1] for label in labels.unique()])
    title = f"{data.name}, d = {d}"
    rows, samples, pictures = {"test image": one_of_each.reshape(-1, height, width)}, {}, {}
    for kind, model in models.items():
        name = names.vae(kind)
        rows[name] = model.reconstruct(one_of_each).reshape(-1, height, width)
        with seeded(0, torch.device("cpu")):
            samples[name] = model.sample(50).reshape(-1, height, width)
        space = (model.posterior.metric, model.posterior.ambient_dim)
        if space in _LATENT_PICTURES:
            z = latent_means(model, images[:POINTS])
            pictures[f"latent-{kind}-d{d}"] = _LATENT_PICTURES[space](
                z, labels[:POINTS], title=f"{name}, {title}: posterior means of test images"
            )
    return {
        f"reconstructions-d{d}": plotting.reconstructions(
            rows, title=f"{title}: reconstructions from the mode of the posterior"
        ),
        f"samples-d{d}": plotting.samples(samples, title=f"{title}: draws from the prior"),
        **pictures,
    }
